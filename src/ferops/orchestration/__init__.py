"""The DAG run as a whole, and what is said of it."""
