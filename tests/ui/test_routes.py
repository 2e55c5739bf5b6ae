"""The routes give pixels of the lake, and nothing else."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.testclient import TestClient

from tests.ui import tiny
from ui.catalog import Catalog
from ui.routes import SecurityHeaders, routes

CT = tiny.uid("st-elsewhere", 0, "series")
XRAY = tiny.uid("st-elsewhere", 1, "series")
ULTRASOUND = tiny.uid("st-elsewhere", 2, "series")


@pytest.fixture(scope="module")
def client(catalog: Catalog) -> Iterator[TestClient]:
    with TestClient(
        Starlette(routes=routes(lambda: catalog), middleware=[Middleware(SecurityHeaders)])
    ) as client:
        yield client


def test_raw_slices_are_the_stored_values_in_order_along_the_normal(client: TestClient) -> None:
    for at in range(8):
        answer = client.get(f"/api/series/{CT}/{at}.raw")
        assert answer.headers["X-Slice-Type"] == "int16"
        assert np.array_equal(np.frombuffer(answer.content, "<i2").reshape(64, 64), tiny.pixels("CT", at))


def test_frames_of_a_cine_come_as_colour(client: TestClient) -> None:
    answer = client.get(f"/api/series/{ULTRASOUND}/3.raw")
    assert answer.headers["X-Slice-Type"] == "rgb8"
    assert np.array_equal(np.frombuffer(answer.content, np.uint8).reshape(64, 64, 3), tiny.pixels("US", 3))


def test_a_reduced_slice_is_half_as_large(client: TestClient) -> None:
    answer = client.get(f"/api/series/{CT}/0.raw?reduce=1")
    assert (answer.headers["X-Slice-Rows"], answer.headers["X-Slice-Columns"]) == ("32", "32")


def test_blanked_regions_come_with_the_slice_in_its_own_pixels(client: TestClient) -> None:
    whole = client.get(f"/api/series/{ULTRASOUND}/0.raw").headers["X-Slice-Regions"]
    half = client.get(f"/api/series/{ULTRASOUND}/0.raw?reduce=1").headers["X-Slice-Regions"]
    assert (whole, half) == ("8.0,4.0,40.0,6.0", "4.0,2.0,20.0,3.0")
    assert client.get(f"/api/series/{CT}/0.raw").headers["X-Slice-Regions"] == ""


def test_monochrome1_is_shown_with_high_values_dark(client: TestClient) -> None:
    assert client.get(f"/api/series/{XRAY}/0.raw").headers["X-Slice-Inverted"] == "1"
    shown = np.asarray(Image.open(io.BytesIO(client.get(f"/api/series/{XRAY}/0.webp").content)).convert("L"))
    assert shown[32, 32] < 60 < 200 < shown[2, 2]


def test_thumbnails_are_small_pictures(client: TestClient) -> None:
    answer = client.get(f"/api/thumb/{CT}.webp")
    assert answer.headers["content-type"] == "image/webp"
    assert max(Image.open(io.BytesIO(answer.content)).size) <= 256


@pytest.mark.parametrize(
    "address",
    [
        f"/api/series/{CT}/8.raw",
        f"/api/series/{CT}/-1.raw",
        f"/api/series/{CT}/1e0.raw",
        f"/api/series/{CT}/99999999999999999999.raw",
        f"/api/series/{CT}/%C2%B2.raw",
        f"/api/series/{CT}/0.raw?reduce=-1",
        f"/api/series/{CT}/0.raw?reduce=99",
        f"/api/series/{str(CT).upper()}/0.raw",
        f"/api/series/{{{CT}}}/0.raw",
        f"/api/series/{tiny.uid('nobody')}/0.raw",
        "/api/series/..%2f..%2frestricted%2fkey/0.raw",
        "/api/series/../../restricted/key",
        "/api/thumb/..%2f..%2f..%2frestricted%2fkey.webp",
        "/api/thumb/' OR 1=1 --.webp",
        "/api/run/..%2f..%2frestricted/report.html",
        "/api/run/0123456789abcdef/report.html",
        "/api/run/ABCDEF0000000001/report.html",
        f"/api/run/{tiny.LIVE_RUN}/report.html",
    ],
)
def test_what_is_no_known_id_is_not_found(client: TestClient, address: str) -> None:
    answer = client.get(address)
    assert answer.status_code == 404
    assert len(answer.content) < 100


def test_the_routes_open_nothing_outside_the_lake(
    lake: tiny.Lake, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    restricted = lake.root.parent / "restricted"
    restricted.mkdir(exist_ok=True)
    (restricted / "key").write_text("00" * 32)
    for address in (
        "/api/series/..%2f..%2frestricted%2fkey/0.raw",
        "/api/run/..%2f..%2f..%2frestricted%2fkey/report.html",
    ):
        assert "00" * 32 not in client.get(address).text


def test_a_report_may_draw_itself_and_nothing_else(client: TestClient) -> None:
    answer = client.get(f"/api/run/{tiny.RUN}/report.html")
    assert "A report." in answer.text
    assert answer.headers["Content-Security-Policy"].startswith("sandbox")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_every_answer_forbids_other_servers(client: TestClient) -> None:
    policy = client.get("/api/thumb/nobody.webp").headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "http" not in policy


def test_pictures_are_kept_by_the_browser_alone_and_not_for_long(client: TestClient) -> None:
    assert client.get(f"/api/thumb/{CT}.webp").headers["Cache-Control"] == "private, max-age=3600"


def test_a_broken_frame_is_said_not_raised(catalog: Catalog) -> None:
    class Broken(Catalog):
        def frame(self, series_id: object, index: int | None) -> dict[str, object] | None:
            found = super().frame(series_id, index)
            return None if found is None else {**found, "payload": b"no frame at all"}

    broken = Broken(catalog.lake, catalog.number)
    with TestClient(Starlette(routes=routes(lambda: broken))) as client:
        assert client.get(f"/api/series/{CT}/0.raw").status_code == 422
