"""Homes for the pages: one with the tiny lake, one with nothing in it, one where something moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

import ui
from tests.ui import tiny
from ui.catalog import Catalog

APP = Path(ui.__file__).with_name("app.py")
OFF = "http://127.0.0.1:9"  # the discard port: nothing answers there
Draw = Callable[..., AppTest]


@pytest.fixture(scope="session", autouse=True)
def _close_catalogs() -> Iterator[None]:
    yield
    st.cache_resource.clear()


@pytest.fixture(scope="session")
def lake(tmp_path_factory: pytest.TempPathFactory) -> tiny.Lake:
    return tiny.build(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def catalog(lake: tiny.Lake) -> Catalog:
    return Catalog(lake, lake.numbers()[-1])


@pytest.fixture
def draw(lake: tiny.Lake, monkeypatch: pytest.MonkeyPatch) -> Draw:
    """Draws one page of the tiny home; query parameters by name."""
    monkeypatch.setenv("RWID_HOME", str(lake.root.parent))
    monkeypatch.setenv("RWID_DAGSTER_URL", OFF)
    tiny.mark_alive(lake, tiny.LIVE_RUN)
    return _draw


@pytest.fixture
def draw_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Draw:
    """Draws one page of a home where nothing has arrived."""
    monkeypatch.setenv("RWID_HOME", str(tmp_path))
    monkeypatch.setenv("RWID_DAGSTER_URL", OFF)
    return _draw


def _draw(view: str, **query: str | list[str]) -> AppTest:
    page = AppTest.from_file(str(APP), default_timeout=60)
    for name, value in query.items():
        page.query_params[name] = value
    page.switch_page(f"views/{view}.py").run()
    assert not page.exception, [e.value for e in page.exception]
    return page
