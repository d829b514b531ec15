"""Decides which rows may enter: duplicates, quarantine, and the expectations that the whole must meet."""
