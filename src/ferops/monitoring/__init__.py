"""What the served model meets: the log of the service, and how it differs from the evaluation."""
