"""Which lake the pages look at: opened once a snapshot, shared by every browser session and by the pixel routes.

What belongs here: finding the home and opening catalogs. What does not: queries (catalog). Pages are given the lake alone;
nothing here opens restricted/.
"""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from curation.lake import Lake
from curation.settings import load_settings
from ui.catalog import Catalog


def lake_root() -> Path:
    """The lake of this home (RWID_HOME, else ./rwid-home)."""
    return load_settings().places.lake


def recipe_folders() -> list[Path]:
    """Where the user's own TuneSpecs lie."""
    return [load_settings().places.recipes]


def open_head() -> Catalog:
    """The newest snapshot; of an empty lake a catalog without rows."""
    root = lake_root()
    numbers = Lake(root).numbers()
    return _open(str(root), numbers[-1] if numbers else None)


def open_at(number: int) -> Catalog:
    """One snapshot, or the newest where that one is gone."""
    root = lake_root()
    return _open(str(root), number) if number in Lake(root).numbers() else open_head()


@st.cache_resource(max_entries=4, show_spinner=False)
def _open(root: str, number: int | None) -> Catalog:
    return Catalog(Lake(Path(root)), number)
