"""A delivery in which something is left never becomes visible: planted by breaking the de-identifier, found by other code."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import curation.steps
from assets.cli import main
from curation.lake import Lake
from curation.restricted import read_residuals
from curation.settings import load_settings
from tests.curation.in_process import stay

SITE = "st-elsewhere"


def element(tag: int, vr: bytes, value: bytes) -> bytes:
    value += b" " * (len(value) & 1)
    head = (tag >> 16).to_bytes(2, "little") + (tag & 0xFFFF).to_bytes(2, "little") + vr
    long = vr in (b"OB", b"UN", b"SQ")
    return (
        head
        + (b"\0\0" + len(value).to_bytes(4, "little") if long else len(value).to_bytes(2, "little"))
        + value
    )


def private(name: bytes) -> bytes:
    return element(0xFFFE - 0xFFFE + 0x7FDF1010, b"OB", name)


def nested(name: bytes) -> bytes:
    inner = element(0x00080104, b"LO", name)
    item = b"\xfe\xff\x00\xe0" + len(inner).to_bytes(4, "little") + inner
    return element(0x7FDE0010, b"SQ", item)


PLANTS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "private": (private, "(7fdf,1010)"),
    "nested": (nested, "(7fde,0010)[0].(0008,0104)"),
    "encoded": (lambda name: private(name.hex().encode()), "(7fdf,1010)"),
    "utf-16": (lambda name: private(name.decode("latin-1").encode("utf-16-le")), "(7fdf,1010)"),
}


@pytest.mark.parametrize("how", PLANTS)
def test_a_planted_residual_blocks_the_delivery(
    how: str,
    home: Path,
    deliveries: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plant, place = PLANTS[how]
    honest = curation.steps.clean_header
    planted: list[bytes] = []

    def careless(*args: Any) -> Any:
        clean = honest(*args)
        family = max(clean.identity.patient_name.split("^"), key=len)
        planted.append(family.encode("latin-1", "replace"))
        return dataclasses.replace(clean, header=clean.header + plant(planted[-1]))

    monkeypatch.setattr(curation.steps, "clean_header", careless)
    stay(monkeypatch)  # the broken de-identifier lives here, and workers are fresh interpreters
    monkeypatch.setenv("RWID_HOME", str(home))
    monkeypatch.setenv("RWID_VERIFY_SAMPLE", "0")
    with Lake(home / "lake").connect() as con:
        before = con.sql("SELECT count(*) FROM instances").fetchall()
    code = main(["ingest", str(deliveries / SITE), "--site", SITE, "--delivery", "first", "--json"])
    told = capsys.readouterr()
    assert code == 1
    assert json.loads(told.out)["checks"] == ["nothing_identifying_is_left"]
    assert len(Lake(home / "lake").numbers()) == 1
    with Lake(home / "lake").connect() as con:
        assert con.sql("SELECT count(*) FROM instances").fetchall() == before

    rows = read_residuals(load_settings(home).places, "first")
    assert rows
    assert {(r.place, r.rule) for r in rows} >= {(place, "identity")}
    said = (told.out + told.err + repr(rows)).lower()
    long = {name.decode("latin-1").lower() for name in planted if len(name) > 4}
    assert long
    assert not [name for name in long if name in said]
    dagster = b"".join(p.read_bytes().lower() for p in (home / "dagster").rglob("*") if p.is_file())
    assert not [name for name in long if name.encode("latin-1") in dagster]


def test_verify_looks_at_the_head_and_is_quiet(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RWID_HOME", str(home))
    stay(monkeypatch)
    assert main(["verify", "--json", "--sample", "0"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["found"] == 0
    assert facts["instances"] == facts["rules"]["marker"]["looked_at"] > 0
    assert facts["residuals"] == []


def test_verify_tells_what_is_left_in_a_published_lake(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A hash that does not fit, and somebody else's key: rows whose pseudonyms are not those of this home."""
    monkeypatch.setenv("RWID_HOME", str(home))
    arrivals = home / "restricted" / "arrivals" / "first.parquet"
    import pyarrow.parquet as pq

    table = pq.read_table(arrivals)
    pq.write_table(table.slice(0, 1), arrivals)
    stay(monkeypatch)
    assert main(["verify", "--json", "--sample", "0"]) == 1
    facts = json.loads(capsys.readouterr().out)
    assert {r["rule"] for r in facts["residuals"]} == {"hash"}


def test_wrong_use_is_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RWID_HOME", str(home))
    assert main(["verify", "--source", str(tmp_path)]) == 2
    assert main(["verify", str(tmp_path / "nowhere")]) == 2
    assert main(["verify", "--sample", "few"]) == 2
    assert main(["verify", "--delivery", "unheard-of"]) == 2
    assert "rwid" in capsys.readouterr().err
