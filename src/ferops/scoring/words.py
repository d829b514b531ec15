"""The figures of `ferops.scoring` as text for a terminal."""

from __future__ import annotations

from typing import Any

from ferops.classes import DEFAULT_CLASSES
from ferops.formats import interval as with_interval
from ferops.formats import percent
from ferops.records.metrics import Interval

_REASONS = {
    "no_label": "without a label",
    "other_label": "labelled as none of the six classes",
    "undecodable": "not decodable",
    "small_face": "with a face that is too small",
    "no_face": "without a face",
}


def text(result: dict[str, Any]) -> str:
    """Return the figures as a page of text; shares are percentages."""
    return "\n".join([*_head(result), "", *_summary(result), "", *_classes(result), "", *_remarks(result)])


def _head(result: dict[str, Any]) -> list[str]:
    model, data = result["model"], result["data"]
    return [
        f"model  {model['file']}",
        f"       {model['architecture']} at {model['size_px']} px, SHA-256 {model['sha256'][:16]}..., "
        f"trained on {', '.join(model['sources'] or ['?'])}",
        f"data   {data['file']}",
        f"       {data['rows']} rows, SHA-256 {data['sha256'][:16]}...",
    ]


def _summary(result: dict[str, Any]) -> list[str]:
    intervals, chance = result["intervals"], result["chance"]
    rows = [
        ("accuracy", "accuracy", result["n"], "accuracy"),
        ("macro-F1", "macro_f1", result["n"], "macro_f1"),
        ("accuracy, no face is wrong", "accuracy_end_to_end", result["n_end_to_end"], "accuracy"),
    ]
    lines = [f"{'%':<28}{'figure':<24}{'n':>7}   chance"]
    lines += [
        f"{name:<28}{with_interval(Interval.model_validate(intervals[key])):<24}{n:>7}   {100 * chance[by]:.1f}"
        for name, key, n, by in rows
    ]
    return [
        *lines,
        f"intervals: {percent(intervals['level'], 0)}, {intervals['samples']} resamples by {intervals['by']} "
        f"({intervals['clusters']}); chance: always {chance['answer']}",
    ]


def _classes(result: dict[str, Any]) -> list[str]:
    per_class = result["intervals"]["per_class"]
    lines = [f"{'class':<11}{'n':>6}  {'precision':<22}{'recall':<22}F1"]
    for name in DEFAULT_CLASSES:
        precision, recall, f1 = (_short(per_class[name][figure]) for figure in ("precision", "recall", "f1"))
        lines.append(f"{name:<11}{result['per_class'][name]['n']:>6}  {precision:<22}{recall:<22}{f1}")
    return lines


def _short(interval: dict[str, Any]) -> str:
    return "n/a" if interval["value"] is None else with_interval(Interval.model_validate(interval))


def _remarks(result: dict[str, Any]) -> list[str]:
    framing, data = result["framing"], result["data"]
    left_out = [f"{count} {_REASONS[reason]}" for reason, count in result["left_out"].items() if count]
    lines = [
        f"faces: {framing['aligned']} found and aligned, {framing['whole']} kept whole (--framing {framing['asked']}, "
        f"{framing['settings']['detector']})",
        f"left out: {', '.join(left_out) or 'nothing'}",
    ]
    if data["duplicates"]:
        lines.append(
            f"copies: {data['duplicates']} pictures repeat an earlier one pixel by pixel, {data['conflicting']} of "
            "them with conflicting labels; all count"
        )
    if data["renamed"]:
        renamed = ", ".join(f"{found} as {label}" for found, label in data["renamed"].items())
        lines.append(f"labels: {renamed}")
    return [*lines, *(f"note: {note}" for note in result["notes"])]
