"""Settings: arguments win over the environment, the environment over rwid.toml; the key is made once and kept close."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from curation.records import ConfigurationError
from curation.settings import load_key, load_settings, open_home


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "WORKERS", "KEY_FILE", "KEY_COMMAND", "PROFILE"):
        monkeypatch.delenv(f"RWID_{name}", raising=False)


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rwid.toml").write_text("workers = 3\nprofile = 'basic'\n")
    monkeypatch.setenv("RWID_WORKERS", "5")
    settings = load_settings(tmp_path)
    assert (settings.workers, settings.profile) == (5, "basic")


def test_the_home_may_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RWID_HOME", str(tmp_path / "elsewhere"))
    assert load_settings().home == tmp_path / "elsewhere"


def test_a_wrong_setting_names_its_key(tmp_path: Path) -> None:
    (tmp_path / "rwid.toml").write_text("wrokers = 3\n")
    with pytest.raises(ConfigurationError, match="wrokers"):
        load_settings(tmp_path)


def test_the_shipped_rwid_toml_is_valid_when_its_lines_are_uncommented(tmp_path: Path) -> None:
    open_home(load_settings(tmp_path))
    lines = (tmp_path / "rwid.toml").read_text().splitlines()
    values = [line.removeprefix("# ") for line in lines if " = " in line and not line.startswith("# The")]
    (tmp_path / "rwid.toml").write_text("\n".join(v for v in values if "key_file" not in v))
    assert load_settings(tmp_path).file_deadline_s == 120


def test_raw_data_lie_behind_a_closed_door(tmp_path: Path) -> None:
    places = open_home(load_settings(tmp_path))
    load_key(load_settings(tmp_path))
    assert stat.S_IMODE(places.restricted.stat().st_mode) == 0o700
    assert stat.S_IMODE((places.restricted / "key").stat().st_mode) == 0o600


def test_many_at_once_get_one_key(tmp_path: Path) -> None:
    settings = load_settings(tmp_path)
    open_home(settings)
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: load_key(settings), range(16)))
    assert len(keys) == 1


def test_a_key_may_come_from_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RWID_KEY_COMMAND", "echo " + "ab" * 32)
    assert load_key(load_settings(tmp_path)) == bytes.fromhex("ab" * 32)


@pytest.mark.parametrize("key", ["abcd", "not hex"])
def test_a_bad_key_stops_at_once_and_is_not_quoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    (tmp_path / "key").write_text(key)
    monkeypatch.setenv("RWID_KEY_FILE", str(tmp_path / "key"))
    with pytest.raises(ConfigurationError) as error:
        load_key(load_settings(tmp_path))
    assert key not in str(error.value)
