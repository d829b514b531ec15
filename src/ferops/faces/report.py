"""The report of the preprocess stage: counts, a contact sheet, and the images held back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image as PilImage
from PIL import ImageDraw, ImageFont

from ferops.faces.detection import Image
from ferops.faces.shard import THUMBNAIL_PX
from ferops.faces.status import HELD_BACK, KEPT_WHOLE
from ferops.records import Provenance
from ferops.records.preprocess import Detection, DetectionRate, PreprocessSpeed, PreprocessSummary

_COLUMNS = 12
_GAP_PX = 6
_EDGE_PX = 24
_TITLE_PX = 64
_LABEL_PX = 130
_INK, _PALE = (32, 33, 36), (110, 115, 120)


def write_report(
    folder: Path,
    *,
    provenance: Provenance,
    classes: tuple[str, ...],
    faces: pd.DataFrame,
    arrays: Mapping[str, Image],
    other_faces: int,
    quarantine: pd.DataFrame,
    thumbnails: Mapping[str, Sequence[Image]],
    speed: PreprocessSpeed,
) -> PreprocessSummary:
    """Write summary.json, contact_sheet.png and, for each reason to hold images back, <reason>.png to `folder`.

    Args:
        classes: in the order of the contact sheet's rows.
        faces: the rows of faces.parquet.
        arrays: split -> uint8 `(N, S, S, 3)`.
        other_faces: number of faces found besides the chosen ones.
        quarantine: the rows of quarantine.parquet.
        thumbnails: reason -> some of the images held back, uint8 `(THUMBNAIL_PX, THUMBNAIL_PX, 3)`.

    Returns:
        the summary.
    """
    detection = _detection(faces)
    reasons = quarantine["reason"].value_counts()
    summary = PreprocessSummary(
        provenance=provenance,
        images=len(faces),
        quarantined={reason: int(reasons.get(reason, 0)) for reason in HELD_BACK},
        kept_whole={status: int((faces["status"] == status).sum()) for status in KEPT_WHOLE},
        detection_rate=detection.rate,
        several_faces=int((faces["faces_found"] > 1).sum()),
        other_faces=other_faces,
        splits=_counts(faces, "split"),
        labels=_counts(faces, "label"),
        detection=detection,
        speed=speed,
    )
    contact_sheet(faces, arrays, classes).save(folder / "contact_sheet.png")
    for reason, shown in thumbnails.items():
        if shown:
            _thumbnail_sheet(shown, _caption(reason, int(reasons[reason]), shown=len(shown))).save(
                folder / f"{reason}.png"
            )
    summary.write(folder / "summary.json")
    return summary


def _caption(reason: str, count: int, *, shown: int) -> str:
    what = {"no_face": "without a face", "small_face": "with a face smaller than preprocess.min_face_px"}[reason]
    return f"{count:,} images {what}, {shown} shown; they are not used for training"


def _counts(faces: pd.DataFrame, by: str) -> dict[str, dict[str, int]]:
    statuses = ["ok", *KEPT_WHOLE, *HELD_BACK]
    table = pd.crosstab(faces[by], faces["status"]).reindex(columns=statuses, fill_value=0)
    return {str(name): {str(k): int(v) for k, v in row.items()} for name, row in table.iterrows()}


def _detection(faces: pd.DataFrame) -> Detection:
    """Detection rates of the images in which faces were searched for."""
    tried = faces[faces["searched"]]
    groups = [column for column in tried.columns if column.startswith("group_")]
    by = {
        column: {str(value): _rate(rows) for value, rows in tried.groupby(column)}
        for column in ["source", "label", *groups]
    }
    return Detection(**dict(_rate(tried)), by=by)


def _rate(tried: pd.DataFrame) -> DetectionRate:
    found = int(tried["status"].isin(["ok", "small_face"]).sum())
    return DetectionRate(tried=len(tried), found=found, rate=found / len(tried) if len(tried) else None)


def contact_sheet(faces: pd.DataFrame, arrays: Mapping[str, Image], classes: Sequence[str]) -> PilImage.Image:
    """Draw up to twelve faces of each class, evenly spaced through the data, one class a row."""
    side = THUMBNAIL_PX
    sheet, draw = _blank(rows=len(classes), left=_LABEL_PX, title="The faces as the network sees them")
    kept = faces[faces["row"] >= 0]
    for i, label in enumerate(classes):
        rows = kept[kept["label"] == label]
        y = _TITLE_PX + i * (side + _GAP_PX)
        draw.text((_EDGE_PX, y + side / 2 - 12), label, fill=_INK, font=ImageFont.load_default(18), anchor="lm")
        draw.text(
            (_EDGE_PX, y + side / 2 + 12), f"{len(rows):,}", fill=_PALE, font=ImageFont.load_default(14), anchor="lm"
        )
        picks = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), _COLUMNS)).round().astype(int))
        for j, (split, row) in enumerate(rows.iloc[picks][["split", "row"]].itertuples(index=False)):
            _paste(sheet, np.asarray(arrays[split][row]), x=_EDGE_PX + _LABEL_PX + j * (side + _GAP_PX), y=y)
    return sheet


def _thumbnail_sheet(thumbnails: Sequence[Image], caption: str) -> PilImage.Image:
    sheet, _ = _blank(rows=-(-len(thumbnails) // _COLUMNS), left=0, title=caption)
    for i, thumbnail in enumerate(thumbnails):
        row, column = divmod(i, _COLUMNS)
        step = THUMBNAIL_PX + _GAP_PX
        _paste(sheet, thumbnail, x=_EDGE_PX + column * step, y=_TITLE_PX + row * step)
    return sheet


def _blank(*, rows: int, left: int, title: str) -> tuple[PilImage.Image, ImageDraw.ImageDraw]:
    step = THUMBNAIL_PX + _GAP_PX
    size = (2 * _EDGE_PX + left + _COLUMNS * step - _GAP_PX, _TITLE_PX + rows * step - _GAP_PX + _EDGE_PX)
    sheet = PilImage.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((_EDGE_PX, _TITLE_PX / 2), title, fill=_INK, font=ImageFont.load_default(22), anchor="lm")
    return sheet, draw


def _paste(sheet: PilImage.Image, pixels: Image, *, x: int, y: int) -> None:
    method = PilImage.Resampling.LANCZOS
    sheet.paste(PilImage.fromarray(pixels).resize((THUMBNAIL_PX, THUMBNAIL_PX), method), (x, y))
