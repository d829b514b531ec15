"""`ferops score`: any model on any file of labelled pictures. Nothing is trained, nothing is written.

What `score` returns, and `--json` prints. An *interval* is {"value", "low", "high"}, numbers or null, with "reason"
where one is null (`ferops.evaluation.bootstrap`); shares lie in 0-1; classes stand in the model's order.

- `accuracy`, `macro_f1` (mean F1 of the classes that occur): of the `n` pictures that gave a face.
- `accuracy_end_to_end`: of `n_end_to_end` pictures: one in which no face was found is a wrong answer.
- `per_class`: class -> `n`, `precision`, `recall`, `f1` (null where undefined).
- `confusion`: rows true, columns predicted.
- `chance`: the most frequent class as constant `answer`: `accuracy`, `macro_f1`; `uniform_accuracy`: 1/6.
- `intervals`: `accuracy`, `macro_f1`, `accuracy_end_to_end` and `per_class` again, as intervals; `level`, `samples`,
  `seed`; `by`: what was drawn (person, cluster, picture), and `clusters`, how many there are.
- `left_out`: reason -> rows: `no_label`, `other_label` (neutral, contempt, and what is no label at all),
  `undecodable`, `small_face`, `no_face`. With `n` they add up to the rows of the file.
- `framing`: `asked`; `aligned` and `whole`, the judged pictures by how their face was made; `settings`: the model's.
- `model`: `given`, `kind` (weights, export), `version` (of the registry, or null), `file`, `sha256`, `architecture`,
  `size_px`, and of its training `sources`, `data_version`, `split_hash`, `git_commit`, `seed`.
- `data`: `file`, `sha256`, `rows`; `labels`, `sources`, `usage`: rows by value, of the file as it is, null as "";
  `renamed`: synonym -> class; `duplicates`: labelled pictures that repeat the pixels of an earlier one, and
  `conflicting`, those of them whose copies do not all have one label.
- `notes`: sentences on what limits the figures.
"""
