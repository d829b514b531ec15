"""The Markdown tables that benchmarks/backbones.py prints."""

from __future__ import annotations

from typing import Any

from tables import markdown


def tables(lines: list[dict[str, Any]], settings: dict[str, Any]) -> str:
    """Return two tables, what was measured under which settings, and the backbones that failed."""
    good = [line for line in lines if "failed" not in line]
    parts = [_setting(settings), _what_they_are(good, settings), _how_fast(good)]
    failed = [f"- {_name(line)}: {line['failed']}" for line in lines if "failed" in line]
    if failed:
        parts.append("Could not be measured:\n\n" + "\n".join(failed) + "\n")
    return "\n".join(parts)


def _setting(s: dict[str, Any]) -> str:
    device = "" if s["device"] == "cpu" else f", trained on {s['device']}"
    return (
        f"Measured on {s['cores']} cores of {s['cpu']}{device}: {s['train_faces']} training and {s['val_faces']} "
        f"validation faces of {s['size_px']} px, {s['epochs']} epochs of the recipe `{s['preset']}` (batch "
        f"{s['batch_size']}, learning rate {s['max_lr']:g}, {s['precision']}), seed {s['seed']}.\n"
    )


def _what_they_are(lines: list[dict[str, Any]], settings: dict[str, Any]) -> str:
    rows = [
        [
            _name(line),
            f"{line['parameters'] / 1e6:.1f}",
            f"{line['flops'] / 1e6:.0f}",
            f"{line['size_mb']['fp32']:.1f}",
            f"{line['size_mb']['int8']:.1f}",
            _interval(line["fp32"]["accuracy"]),
            _interval(line["fp32"]["macro_f1"]),
            _interval(line["int8"]["macro_f1"]),
        ]
        for line in lines
    ]
    head = ["backbone", "parameters, M", f"MFLOPs at {settings['size_px']} px", "ONNX FP32, MB", "INT8, MB"]
    return markdown([*head, "accuracy", "macro-F1", "macro-F1 INT8"], rows)


def _how_fast(lines: list[dict[str, Any]]) -> str:
    rows = [
        [
            _name(line),
            *(f"{line[kind]['latency_ms']:.2f}" for kind in ("fp32", "int8")),
            *(f"{line[kind]['images_per_s']:.0f}" for kind in ("fp32", "int8")),
            f"{line['train_images_per_s']:.0f}",
            f"{list(line['peak_memory_mb'].values())[-1]:.0f}",
        ]
        for line in lines
    ]
    head = ["backbone", "one face FP32, ms", "INT8, ms", "16 faces FP32, faces/s", "INT8, faces/s"]
    return markdown([*head, "training, faces/s", "peak memory, MB"], rows)


def _name(line: dict[str, Any]) -> str:
    architecture, _, source = line["backbone"].partition(":")
    return f"`{architecture}`" + (f", from `{source}`" if source else "")


def _interval(found: dict[str, Any]) -> str:
    if found["low"] is None:
        return f"{found['value']:.3f}" if found["value"] is not None else "-"
    return f"{found['value']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"
