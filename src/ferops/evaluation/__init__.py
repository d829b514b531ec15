"""Judge the exported classifier: metrics with intervals, slices, comparison, calibration, report, model card."""
