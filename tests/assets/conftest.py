"""Homes with a tiny synthetic lake, made once."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from assets.cli import main
from assets.instance import opened
from curation.settings import load_settings, open_home
from curation.synth import generate

SITE = "st-elsewhere"


@pytest.fixture(autouse=True)
def no_home_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither a home nor a Dagster of whoever runs the tests is touched, and nothing stays set."""
    for name in ("RWID_HOME", "DAGSTER_HOME"):
        monkeypatch.setenv(name, "unset")
        monkeypatch.delenv(name)
    monkeypatch.setenv("RWID_WORKERS", "1")
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def deliveries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one tiny synthetic hospital hands over: `<site>/`."""
    folder = tmp_path_factory.mktemp("synthetic") / "all"
    generate(folder, sites=1, patients=3, seed=7, profile="tiny")
    return folder


@pytest.fixture(scope="session")
def ingested(deliveries: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home into which that delivery was ingested by the command. Tests that change a home copy it."""
    home = tmp_path_factory.mktemp("homes") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RWID_HOME", str(home))
        patch.setenv("DAGSTER_HOME", "set by the command")
        patch.setenv("RWID_WORKERS", "1")
        assert main(["ingest", str(deliveries / SITE), "--site", SITE, "--delivery", "first", "--json"]) == 0
    return home


@pytest.fixture
def home(ingested: Path, tmp_path: Path) -> Path:
    """A copy of the ingested home, to be changed."""
    return Path(shutil.copytree(ingested, tmp_path / "home"))


@pytest.fixture
def instance(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """Dagster's instance of the copied home."""
    monkeypatch.setenv("RWID_HOME", str(home))
    monkeypatch.setenv("DAGSTER_HOME", str(home / "dagster"))
    with opened(open_home(load_settings(home))) as found:
        yield found
