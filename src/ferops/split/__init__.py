"""Assigns every accepted image to train, val or test (and to a fold) by duplicates and people, never by row."""
