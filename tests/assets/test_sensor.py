import os
from pathlib import Path

import dagster as dg
import pytest

from assets.resources import RwidHome
from assets.sensors import QUIET_S, complete_folders, new_delivery
from curation.settings import Places, load_settings, open_home

NOW = 1_000_000.0


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return open_home(load_settings(tmp_path / "home"))


def deliver(places: Places, site: str, name: str, *, seconds_ago: float, is_marked: bool = False) -> Path:
    folder = places.inbox / site / name
    folder.mkdir(parents=True)
    (folder / "a.dcm").write_bytes(b"x")
    if is_marked:
        (folder / ".complete").touch()
    for path in (*folder.iterdir(), folder):
        os.utime(path, (NOW - seconds_ago,) * 2)
    return folder


def look(places: Places, instance: dg.DagsterInstance) -> object:
    context = dg.build_sensor_context(instance=instance, resources={"rwid": RwidHome(home=str(places.home))})
    return new_delivery(context)


def test_a_quiet_folder_is_complete(places: Places) -> None:
    folder = deliver(places, "dev", "quiet", seconds_ago=QUIET_S + 1)
    deliver(places, "dev", "busy", seconds_ago=QUIET_S - 1)
    assert list(complete_folders(places.inbox, NOW)) == [folder]


def test_a_marked_folder_is_complete_at_once(places: Places) -> None:
    folder = deliver(places, "dev", "marked", seconds_ago=0, is_marked=True)
    assert list(complete_folders(places.inbox, NOW)) == [folder]


def test_an_empty_folder_is_not_complete(places: Places) -> None:
    (places.inbox / "dev" / "empty").mkdir(parents=True)
    assert list(complete_folders(places.inbox, NOW)) == []


def test_the_sensor_registers_a_complete_folder_once_and_asks_for_one_run(places: Places) -> None:
    deliver(places, "dev", "new-one", seconds_ago=0, is_marked=True)
    instance = dg.DagsterInstance.ephemeral()
    result = look(places, instance)
    assert isinstance(result, dg.SensorResult)
    assert [request.partition_key for request in result.run_requests or []] == ["new-one"]
    assert (places.deliveries / "new-one.json").is_file()

    instance.add_dynamic_partitions("deliveries", ["new-one"])
    assert isinstance(look(places, instance), dg.SkipReason)


def test_a_folder_of_an_unknown_site_does_not_hold_up_the_others(places: Places) -> None:
    deliver(places, "nowhere", "stray", seconds_ago=0, is_marked=True)
    deliver(places, "dev", "good", seconds_ago=0, is_marked=True)
    result = look(places, dg.DagsterInstance.ephemeral())
    assert isinstance(result, dg.SensorResult)
    assert [request.partition_key for request in result.run_requests or []] == ["good"]
