"""Compare two versions of the data."""
