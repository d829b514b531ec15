"""Versions beside the champion: a shadow, which answers unseen, and a canary, which answers some clients."""
