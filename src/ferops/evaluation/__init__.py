"""Judge the exported classifier: metrics with intervals, slices, comparison, calibration, report, model card.

artifacts/evaluate/metrics.json, which the gates read, holds the following. An *interval* is {"value", "low", "high"},
numbers or null; where one is null, "reason" says why. Shares lie in 0-1; classes stand in the record's order.

- `provenance`; `split`: "test"; `n`: test faces; `n_tight`: those of them that are whole pictures in which no face
  was looked for, so that the service's framing was not measured; `n_unfound`: those that are whole pictures because
  no plausible one was found; `n_no_face` and `n_small_face`: test images left out without a face or with one that is
  too small; `clusters`: of the faces; `confidence_level`, `bootstrap_samples`.
- `candidate`, `baseline`, `champion` (null without one): the intervals `accuracy`, `macro_f1`, `balanced_accuracy`,
  `calibration_error`, `brier` (0-2), `log_loss` (nats) and `accuracy_missed_as_wrong` (no face found is an error,
  whether the picture was left out or judged whole; without tight crops, null where nothing else is left);
  `calibration_error_by_chance`: what perfect calibration would show on so many faces; `per_class`: class ->
  intervals `precision`, `recall`, `f1`, and `support`; `confusion`: rows true, columns predicted; `review`:
  `threshold`, `share_flagged`, `n_kept`, `accuracy_kept`; `calibration_bins`: `n`, mean `confidence`, `accuracy`.
  The candidate also has `temperature` and `uncalibrated` (at temperature 1), the champion `version`, `split_hash`,
  `same_split` and `notes` (sentences on what limits the comparison).
- `chance`: the most frequent class as constant `answer`: `accuracy`, `macro_f1`; `uniform_accuracy`: 1/6.
- `candidate_minus_baseline`, `candidate_minus_champion` (null without one), `candidate_minus_chance`: paired
  intervals `accuracy` and `macro_f1`.
- `slices`: `column`, `kind` (source, people, condition), `value`, `n`, `n_no_face` (null for conditions), `clusters`,
  the intervals `accuracy`, `macro_f1` and `accuracy_minus_whole`, `small`; a source or group of people in which no
  face was found has `n` 0 and null figures. `slice_columns`: how each was cut.
  `worst_slices`: the five furthest behind with enough samples.
- `data`: per split `images`, `no_face`, `small_face`, `known_subject` (images whose `subject` the data name),
  `clusters`, `classes`, `sources`.
- `cost`: `parameters`, `file_mb`, `latency_ms` (`p50`, `p95`, `batch`, `repeats`), `images_per_s`,
  `images_per_s_batch`, `cpu`, `cpu_cores`.
"""
