"""`python whole_dag.py ROOT`: every stage but `register` on a few images of coloured disks, in a project made there."""

from __future__ import annotations

import sys
from contextlib import chdir
from pathlib import Path

from ruamel.yaml import YAML

import blobs
from ferops.classes import DEFAULT_CLASSES
from ferops.cli import stages
from ferops.datasets import manifest, versioning
from ferops.layout import Layout
from sample_images import encoded, noise_png


def make(root: Path) -> None:
    """Write data/, data.dvc and params.yaml; some of the images are copies, blank, or no images."""
    layout = Layout(root)
    layout.data.mkdir(parents=True)
    images, labels = blobs.blobs(14, seed=5)
    rows = [
        manifest.make_row(
            encoded(image), source="made", label=DEFAULT_CLASSES[label], group_age="old" if i % 3 else "young"
        )
        for i, (image, label) in enumerate(zip(images, labels, strict=True))
    ]
    odd = [b"no image", rows[0]["image"], noise_png(1, size_px=20)]
    rows += [manifest.make_row(image, source="made", label=rows[0]["label"], group_age=None) for image in odd]
    manifest.write(layout.source("made"), rows, source="made")
    text = f"outs:\n- md5: {versioning.folder_md5(layout.data)}.dir\n  path: data\n"
    layout.data_dvc.write_text(text, encoding="utf-8")
    tree = blobs.params_tree()
    tree["data"] |= {"sources": ["made"]}
    tree["validate"] |= {"min_rows_per_class": 2, "label_review_folds": 2, "min_side_px": 24}
    tree["split"] |= {"test_share": 0.3, "val_share": 0.2}
    tree["preprocess"] |= {"tight_sources": ["made"], "tight": "whole"}
    tree["export"] |= {"calibration_images": 16, "max_disagreement": 1.0}
    tree["evaluate"] |= {"bootstrap_samples": 100, "min_slice_samples": 2}
    tree["explain"] |= {"map_faces": 20, "heat_faces": 10}
    tree["robustness"] |= {"faces": 12, "seconds": 600}
    tree["fairness"] |= {"pairs": 1, "seconds": 600}
    YAML().dump(tree, layout.params_file)


def run(root: Path) -> None:
    with chdir(root):
        stages.validate()
        stages.split()
        stages.preprocess()
        stages.train("baseline")
        stages.train("candidate")
        stages.export()
        stages.evaluate()
        stages.explain()
        stages.robustness()
        stages.fairness()


if __name__ == "__main__":
    make(Path(sys.argv[1]))
    run(Path(sys.argv[1]))
