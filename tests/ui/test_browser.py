"""What only a browser can tell: nothing leaves this machine, slices follow the hand, a cohort can be tuned from its page."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

import ui
from tests.ui import tiny

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = Path(os.environ.get("RWID_CHROMIUM", "/usr/bin/chromium"))
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--disable-sync",
]
DRAWN = '[data-testid="stApp"][data-test-script-state="notRunning"]'
STUDY = tiny.uid("st-elsewhere", 0, "study")
TINY_RECIPE = {
    "name": "tiny", "cohort": "learnable", "model": {"id": "builtin:tiny-vit", "input": {"size": 28}},
    "task": {"kind": "multilabel", "labels": ["woman"]}, "method": {"kind": "cut", "blocks": 1, "batch_size": 8},
    "budget": {"max_minutes": 2, "max_epochs": 3}, "report": {"subgroups": ["site"], "bootstrap": 50, "min_cell": 2},
    "compute": {"threads": 1, "device": "cpu"},
}  # fmt: skip

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not CHROMIUM.exists(), reason=f"no Chromium at {CHROMIUM}; RWID_CHROMIUM says where one is"
    ),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield browser
        browser.close()


class Reader:
    """One browser page that remembers what it asked for and what went wrong."""

    def __init__(self, browser: sync_api.Browser, url: str) -> None:
        self.url = url
        self.page = browser.new_page(viewport={"width": 1280, "height": 900})
        self.asked: list[str] = []
        self.wrong: list[str] = []
        self.page.on("request", lambda r: self.asked.append(r.url))
        self.page.on("websocket", lambda s: self.asked.append(s.url))
        self.page.on("pageerror", lambda e: self.wrong.append(str(e)))
        self.page.on(
            "console", lambda m: self.wrong.append(m.text) if "Content Security Policy" in m.text else None
        )

    def open(self, address: str) -> sync_api.Page:
        self.page.goto(self.url + address)
        self.page.wait_for_selector(DRAWN, timeout=60_000)
        return self.page

    def outside(self) -> set[str]:
        own = urlsplit(self.url).netloc
        return {
            a for a in self.asked if urlsplit(a).scheme not in ("data", "blob") and urlsplit(a).netloc != own
        }


@pytest.fixture(scope="module")
def pages(lake: tiny.Lake) -> Iterator[str]:
    """The pages alone, over the tiny home, started from somewhere else than the repository."""
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "streamlit",
        "run",
        str(Path(ui.__file__).with_name("asgi_app.py")),
        f"--server.port={port}",
    ]
    environment = {**os.environ, "RWID_HOME": str(lake.root.parent), "RWID_DAGSTER_URL": "http://127.0.0.1:9"}
    process = subprocess.Popen(
        command, cwd="/", env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(f"http://127.0.0.1:{port}/_stcore/health", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=20)


@pytest.fixture
def reader(browser: sync_api.Browser, pages: str) -> Iterator[Reader]:
    reader = Reader(browser, pages)
    yield reader
    reader.page.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(url: str, process: subprocess.Popen[bytes], timeout_s: float = 300.0) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the server ended with exit code {process.returncode}"
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    raise TimeoutError(url)


def test_no_request_leaves_loopback_and_no_page_breaks(reader: Reader) -> None:
    addresses = [
        "/",
        "/studies",
        "/studies?show=Images",
        f"/study?study={STUDY}",
        "/cohorts",
        "/runs",
        "/evidence",
        "/sql?q=SELECT+1",
        "/lineage",
    ]
    addresses += [
        f"/cohort?cohort=chest-nodule&tab={tab}"
        for tab in ("Attrition", "Splits+and+labels", "Images", "Tune", "Versions")
    ]
    addresses += [f"/run?run={tiny.RUN}", f"/lineage?study={STUDY}", f"/lineage?run={tiny.RUN}"]
    for address in addresses:
        page = reader.open(address)
        assert not page.query_selector('[data-testid="stException"]'), address
    assert reader.outside() == set()
    assert reader.wrong == []


def test_slices_follow_wheel_and_keys_and_the_address_remembers(reader: Reader) -> None:
    page = reader.open(f"/study?study={STUDY}")
    viewer = page.locator(".viewer[data-slice]")
    viewer.wait_for(timeout=20_000)
    stage = page.locator(".stage")
    assert viewer.get_attribute("data-slice") == "5"
    stage.focus()
    for key, slice_now in (
        ("Home", "1"),
        ("ArrowDown", "2"),
        ("End", "8"),
        ("ArrowUp", "7"),
        ("PageUp", "1"),
    ):
        page.keyboard.press(key)
        page.wait_for_selector(f'.viewer[data-slice="{slice_now}"]', timeout=5000)
    stage.hover()
    page.mouse.wheel(0, 120)
    page.wait_for_selector('.viewer[data-slice="4"]', timeout=5000)
    page.wait_for_function("new URL(location).searchParams.get('slice') === '4'", timeout=5000)
    address = page.url.removeprefix(reader.url)
    reader.open(address).wait_for_selector('.viewer[data-slice="4"]', timeout=20_000)


def test_dragging_changes_the_window_without_a_request(reader: Reader) -> None:
    page = reader.open(f"/study?study={STUDY}")
    page.locator(".viewer[data-slice]").wait_for(timeout=20_000)
    page.wait_for_timeout(500)  # the other slices are fetched ahead; afterwards nothing is left to ask for
    before, asked = page.locator(".note .window").inner_text(), len(reader.asked)
    box = page.locator(".stage").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 200, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + 260, box["y"] + 230, steps=5)
    page.mouse.up()
    page.wait_for_function(f"document.title && true && {json.dumps(before)}.length > 0")
    page.wait_for_timeout(100)
    assert page.locator(".note .window").inner_text() != before
    assert [a for a in reader.asked[asked:] if "/api/" in a] == []


def test_monochrome1_is_drawn_with_a_dark_middle(reader: Reader) -> None:
    page = reader.open(f"/study?study={tiny.uid('st-elsewhere', 1, 'study')}")
    page.locator(".viewer[data-slice]").wait_for(timeout=20_000)
    grey = """() => { const find = (root) => root.querySelector('.stage canvas') ||
        [...root.querySelectorAll('*')].map((e) => e.shadowRoot && find(e.shadowRoot)).find(Boolean);
        const c = find(document); const at = (x, y) => c.getContext('2d').getImageData(x, y, 1, 1).data[0];
        return [at(c.width / 2, c.height / 2), at(c.width / 2, c.height * 0.1)] }"""
    middle, edge = page.evaluate(grey)
    assert middle < 60 < 200 < edge


def test_a_filter_in_the_address_comes_back_after_reload(reader: Reader) -> None:
    page = reader.open("/studies?modality=CT&site=st-elsewhere")
    assert page.get_by_text("2 studies").is_visible()
    page.reload()
    page.wait_for_selector(DRAWN, timeout=60_000)
    assert page.get_by_text("2 studies").is_visible()
    assert parse_qs(urlsplit(page.url).query) == {"modality": ["CT"], "site": ["st-elsewhere"]}


@pytest.mark.slow
def test_a_cohort_is_tuned_from_its_page(browser: sync_api.Browser, tmp_path: Path) -> None:
    """Dagster, its daemon and the pages as `rwid up` starts them; the tiny backbone, a few seconds of compute."""
    pytest.importorskip("torch")
    home = tmp_path / "home"
    tiny.build(home, n_patients=24)
    (home / "recipes").mkdir()
    (home / "recipes" / "tiny.yaml").write_text(json.dumps(TINY_RECIPE))
    (tmp_path / "dagster_webserver.py").write_text("raise SystemExit('taken from where somebody stands')")
    port_ui, port_dagster = free_port(), free_port()
    command = [sys.executable, "-m", "assets.cli", "--home", str(home), "up"]
    command += ["--port-ui", str(port_ui), "--port-dagster", str(port_dagster)]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(f"http://127.0.0.1:{port_dagster}/server_info", process)
        wait_for(f"http://127.0.0.1:{port_ui}/_stcore/health", process)
        reader = Reader(browser, f"http://127.0.0.1:{port_ui}")
        frames: list[object] = []
        reader.page.on("websocket", lambda socket: socket.on("framereceived", lambda f: frames.append(f)))
        page = reader.open("/cohort?cohort=learnable&recipe=tiny")
        page.get_by_role("button", name="Tune this cohort").first.click()
        page.get_by_role("button", name="Launch").click(timeout=90_000)
        page.wait_for_url(re.compile(r"/run\?run=[0-9a-f]{16}"), timeout=120_000)
        page.get_by_text(re.compile("Dagster has it|epoch|step|running", re.IGNORECASE)).first.wait_for(
            timeout=60_000
        )
        page.get_by_text("What tuning brought").wait_for(timeout=180_000)
        numbers = dict(zip(page.locator('[data-testid="stMetricLabel"]').all_inner_texts(),
                           page.locator('[data-testid="stMetricValue"]').all_inner_texts(), strict=True))  # fmt: skip
        for arm in ("Untuned", "Tuned"):
            assert re.fullmatch(r"[01]\.\d{3}", numbers[arm]), numbers
        page.wait_for_selector(DRAWN)
        assert frames
        for _ in range(16):  # a live run is looked at every second; a finished one, once drawn, no more
            before = len(frames)
            page.wait_for_timeout(2500)
            if len(frames) == before:
                break
        assert len(frames) == before
        assert reader.outside() == set()
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)


def test_a_row_opens_the_study_that_the_reader_saw(reader: Reader) -> None:
    page = reader.open("/studies?modality=CT&order=by+site")
    table = page.locator('[data-testid="stDataFrame"]').first
    table.wait_for(timeout=20_000)
    page.wait_for_timeout(500)  # the grid paints itself on a canvas after it is there
    box = table.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 35, box["y"] + 36 + 17 + 35)  # the second row, below the header
    page.wait_for_url(re.compile(r"/study\?study="), timeout=20_000)
    ids = sorted(str(tiny.uid("charity-north", n, "study")) for n in (0, 3))
    assert parse_qs(urlsplit(page.url).query)["study"][0] in ids
    page.get_by_text("charity-north").first.wait_for(timeout=20_000)
