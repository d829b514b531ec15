"""Groups of the statuses that an image can have in faces.parquet (docs/files.md)."""

HELD_BACK = ("no_face", "small_face")
"""The statuses of images that give no face to learn from: artifacts/preprocess/quarantine.parquet."""

KEPT_WHOLE = ("tight", "whole")
"""The statuses of images that are their own face: no detection, no alignment."""
