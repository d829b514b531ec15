"""Evaluate the exported classifier: metrics with intervals, slices, comparison, calibration, report, model card.

What is measured is described by the fields of `ferops.records.metrics.Metrics`.
"""
