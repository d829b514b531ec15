"""Readers of public data sets, and the synthetic one, to rows of the manifest schema."""
