"""The image viewer: one canvas that fetches slices from the slice route. No pixel travels through a widget."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import streamlit as st

from curation.modality import windows_of

_HERE = Path(__file__).parent
_MOUNT = st.components.v2.component(
    "rwid_viewer",
    html='<div class="root"></div>',
    css=(_HERE / "viewer.css").read_text(),
    js=(_HERE / "viewer.js").read_text(),
)

FPS = 12.0


def show(series: Mapping[str, Any], n_slices: int, *, version: int | None, reduce: int = 0) -> None:
    """Draws the viewer of one series: a row of `Catalog.series_of`, with the number of slices it has."""
    frame_time = series.get("frame_time_ms")
    _MOUNT(
        key=f"viewer-{series['series_id']}",
        data={
            "series": str(series["series_id"]),
            "base": f"/api/series/{series['series_id']}",
            "n": n_slices,
            "start": 0 if frame_time else n_slices // 2,
            "version": version,
            "reduce": reduce,
            "unit": "HU" if series["modality"] == "CT" else "",
            "fps": min(60.0, 1000 / frame_time) if frame_time else FPS,
            "title": f"{series['modality']} {str(series['kind'] or '').replace('_', ' ')}".strip(),
            "alt": f"{series['modality']} series of {series['body_part'] or 'unknown body part'}",
            "presets": [{"name": "Default window"}]
            + [
                {
                    "name": w.name.replace("_", " ").capitalize(),
                    "center": (w.low + w.high) / 2,
                    "width": w.high - w.low,
                }
                for w in windows_of(series["modality"], series["kind"], series["body_part"])
                if w.source == "fixed"
            ],
        },
    )
