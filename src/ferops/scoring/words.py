"""A score as text for a terminal."""

from __future__ import annotations

from ferops import formats
from ferops.escape import inline
from ferops.records.metrics import Interval
from ferops.records.score import LeftOut, Score, ScoreFigures

_REASONS = {
    "no_label": "without a label",
    "other_label": "with a label that the model has no class for",
    "undecodable": "not decodable",
    "small_face": "with a face that is too small",
    "no_face": "without a face",
}
assert set(_REASONS) == set(LeftOut.model_fields)


def text(score: Score) -> str:
    """Return the figures as a page of text; shares are percentages."""
    blocks = [_head(score), [*_summary(score), _draws(score)], _classes(score)]
    if score.renormalised:
        title = f"over the classes of the data alone ({', '.join(score.renormalised.classes)}), renormalised:"
        blocks += [[title, *_summary(score.renormalised)], _classes(score.renormalised)]
    return "\n\n".join("\n".join(lines) for lines in [*blocks, _remarks(score)])


def _head(score: Score) -> list[str]:
    model, data = score.model, score.data
    return [
        f"model  {inline(model.file)}",
        f"       {inline(model.architecture)} at {model.size_px} px, tta {model.tta}, SHA-256 {model.sha256[:16]}..., "
        f"trained on {inline(', '.join(model.sources))}",
        f"       answers {', '.join(model.classes)}",
        f"data   {inline(data.file)}",
        f"       {data.rows} rows, SHA-256 {data.sha256[:16]}...",
    ]


def _summary(found: ScoreFigures) -> list[str]:
    intervals, chance = found.intervals, found.chance
    rows = [
        ("accuracy", intervals.accuracy, found.n, chance.accuracy),
        ("macro-F1", intervals.macro_f1, found.n, chance.macro_f1),
        ("accuracy, no face is wrong", intervals.accuracy_end_to_end, found.n_end_to_end, chance.accuracy),
    ]
    return [
        f"{'%':<28}{'figure':<24}{'n':>7}   chance",
        *(f"{name:<28}{formats.interval(of):<24}{n:>7}   {100 * by:.1f}" for name, of, n, by in rows),
    ]


def _draws(score: Score) -> str:
    intervals = score.intervals
    return (
        f"intervals: {formats.percent(intervals.level, 0)}, {intervals.samples} resamples by {intervals.by} "
        f"({intervals.clusters}); chance: always {score.chance.answer}"
    )


def _classes(found: ScoreFigures) -> list[str]:
    lines = [f"{'class':<11}{'n':>6}  {'precision':<22}{'recall':<22}F1"]
    for name in found.classes:
        of = found.intervals.per_class[name]
        precision, recall, f1 = (_short(figure) for figure in (of.precision, of.recall, of.f1))
        lines.append(f"{name:<11}{found.per_class[name].n:>6}  {precision:<22}{recall:<22}{f1}")
    return lines


def _short(found: Interval) -> str:
    return formats.NO_VALUE if found.value is None else formats.interval(found)


def _remarks(score: Score) -> list[str]:
    framing, data = score.framing, score.data
    left_out = [f"{count} {_REASONS[reason]}" for reason, count in score.left_out if count]
    lines = [
        f"faces: {framing.aligned} found and aligned, {framing.whole} kept whole (--framing {framing.asked}, "
        f"{framing.settings.detector})",
        f"left out: {', '.join(left_out) or 'nothing'}",
    ]
    if data.duplicates:
        lines.append(
            f"copies: {data.duplicates} images repeat an earlier one pixel by pixel, {data.conflicting} of them with "
            "conflicting labels; all count"
        )
    if data.renamed:
        lines.append(
            f"labels: {', '.join(f'{inline(found)} as {inline(label)}' for found, label in data.renamed.items())}"
        )
    return [*lines, *(f"note: {inline(note)}" for note in score.notes)]
