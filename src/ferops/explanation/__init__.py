"""Why a model answers what it answers, where its faces lie, and how far its confidence can be trusted."""
