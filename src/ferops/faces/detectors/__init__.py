"""One module per face detector; `ferops.faces.detector.build` makes them by name."""
