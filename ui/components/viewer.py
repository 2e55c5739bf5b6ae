"""The image viewer: one canvas that fetches slices from the slice route. No pixel travels through a widget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

_HERE = Path(__file__).parent
_MOUNT = st.components.v2.component(
    "rwid_viewer",
    html='<div class="root"></div>',
    css=(_HERE / "viewer.css").read_text(),
    js=(_HERE / "viewer.js").read_text(),
)

_CT = (("Lung", -600.0, 1500.0), ("Soft tissue", 40.0, 400.0), ("Mediastinum", 50.0, 350.0), ("Bone", 400.0, 1800.0),
       ("Brain", 40.0, 80.0), ("Liver", 60.0, 160.0))  # fmt: skip
FPS = 12.0


@dataclass(frozen=True, slots=True)
class Preset:
    """A named window: centre and width in the unit of the rescaled values."""

    name: str
    center: float
    width: float


def presets_for(modality: str) -> list[Preset]:
    """Window presets of a modality; only CT has a unit that makes them meaningful (Hounsfield)."""
    return [Preset(*p) for p in _CT] if modality == "CT" else []


def show(
    series: Mapping[str, Any], n_slices: int, *, version: int, presets: Sequence[Preset], reduce: int = 0
) -> None:
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
            "presets": [{"name": "As acquired"}]
            + [{"name": p.name, "center": p.center, "width": p.width} for p in presets],
        },
    )
