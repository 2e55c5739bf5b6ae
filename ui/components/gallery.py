"""Thumbnails: one grid of lazily loaded pictures, each a link to its study."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

import streamlit as st

_STYLE = """<style>
.rwid-grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(132px, 1fr)); gap: 10px; }
.rwid-grid a { display: block; text-decoration: none; color: inherit; border-radius: 8px; overflow: hidden;
  border: 1px solid color-mix(in srgb, currentColor 16%, transparent); }
.rwid-grid a:hover, .rwid-grid a:focus-visible { border-color: #2C8CA3; outline: none; box-shadow: 0 0 0 2px #2C8CA355; }
.rwid-grid img { display: block; width: 100%; aspect-ratio: 1; object-fit: contain; background: #000; }
.rwid-grid span { display: block; padding: 5px 8px 6px; font-size: 12px; line-height: 1.35; white-space: nowrap;
  overflow: hidden; text-overflow: ellipsis; }
.rwid-grid span small { opacity: .75; font-size: 11px; }
</style>"""


def show(tiles: Iterable[Mapping[str, Any]], *, version: int | None) -> None:
    """A grid; each tile has series_id, study_id, title and note. Pictures come from the thumbnail route."""
    links = "".join(
        f'<a href="/study?study={escape(str(t["study_id"]))}" target="_self">'
        f'<img loading="lazy" src="/api/thumb/{escape(str(t["series_id"]))}.webp?v={version or 0}" '
        f'alt="{escape(str(t["title"]))}" width="132" height="132">'
        f"<span>{escape(str(t['title']))}<br><small>{escape(str(t['note']))}</small></span></a>"
        for t in tiles
    )
    st.html(f'{_STYLE}<div class="rwid-grid">{links}</div>')
