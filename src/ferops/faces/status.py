"""Groups of the statuses of images in faces.parquet (docs/files.md)."""

HELD_BACK = ("no_face", "small_face")
"""Images without a face to train on: artifacts/preprocess/quarantine.parquet."""

KEPT_WHOLE = ("tight", "whole")
"""Images used whole, without detection and alignment."""
