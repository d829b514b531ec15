"""`python deploy/team/dashboard.py`: write Grafana's dashboard of the service, grafana/dashboards/ferops.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parent / "grafana" / "dashboards" / "ferops.json"
SOURCE = {"type": "prometheus", "uid": "prometheus"}
REQUESTS = 'bentoml_service_request_total{endpoint=~"/predict.*"}'
LATENCY = 'sum by (le) (rate(bentoml_service_request_duration_seconds_bucket{endpoint="/predict"}[5m]))'

PANELS: list[tuple[str, str, str, dict[str, str]]] = [
    (
        "Requests a second",
        "timeseries",
        "reqps",
        {"{{http_response_code}}": f"sum by (http_response_code) (rate({REQUESTS}[5m]))"},
    ),
    (
        "Time to answer /predict",
        "timeseries",
        "s",
        {f"p{share * 100:g}": f"histogram_quantile({share}, {LATENCY})" for share in (0.5, 0.95, 0.99)},
    ),
    (
        "Requests in progress",
        "timeseries",
        "short",
        {"{{endpoint}}": "sum by (endpoint) (bentoml_service_request_in_progress)"},
    ),
    ("Images by status", "timeseries", "short", {"{{status}}": "sum by (status) (increase(ferops_images_total[5m]))"}),
    ("Faces by label", "timeseries", "short", {"{{label}}": "sum by (label) (increase(ferops_labels_total[5m]))"}),
    (
        "Mean confidence",
        "timeseries",
        "percentunit",
        {"confidence": "sum(rate(ferops_confidence_sum[15m])) / sum(rate(ferops_confidence_count[15m]))"},
    ),
    (
        "Images for a person to review",
        "timeseries",
        "percentunit",
        {
            "low_confidence": 'sum(rate(ferops_images_total{status="low_confidence"}[15m])) '
            "/ sum(rate(ferops_images_total[15m]))"
        },
    ),
    ("Uploads refused", "timeseries", "short", {"{{code}}": "sum by (code) (increase(ferops_refused_total[5m]))"}),
    (
        "Served",
        "stat",
        "none",
        {"{{service_version}}": "count by (service_version) (bentoml_service_last_request_timestamp_seconds)"},
    ),
]


def dashboard() -> dict[str, Any]:
    """Return the dashboard as Grafana stores it: three panels in a row."""
    return {
        "uid": "ferops",
        "title": "ferops: the service",
        "schemaVersion": 39,
        "timezone": "browser",
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "panels": [_panel(number, *panel) for number, panel in enumerate(PANELS)],
    }


def _panel(number: int, title: str, kind: str, unit: str, queries: dict[str, str]) -> dict[str, Any]:
    return {
        "id": number + 1,
        "title": title,
        "type": kind,
        "datasource": SOURCE,
        "gridPos": {"x": number % 3 * 8, "y": number // 3 * 8, "w": 8, "h": 8},
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + place), "datasource": SOURCE, "expr": query, "legendFormat": legend}
            for place, (legend, query) in enumerate(queries.items())
        ],
    }


if __name__ == "__main__":
    TARGET.write_text(json.dumps(dashboard(), indent=1) + "\n", encoding="utf-8")
