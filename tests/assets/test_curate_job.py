import dataclasses
from pathlib import Path

import dagster as dg
import pytest

import curation.delivery
from assets.guarded import guarded, place_of
from assets.launch import ChecksFailedError, RunFailedError, launch
from curation.lake import Lake
from curation.records import CATALOGUED, DELIVERED, ConfigurationError

CANARY = "ZZCANARYZZ^PATIENT"


def newest(instance: dg.DagsterInstance, asset: str) -> dict[str, object]:
    event = instance.get_latest_materialization_event(dg.AssetKey(asset))
    assert event is not None
    assert event.asset_materialization is not None
    return {name: value.value for name, value in event.asset_materialization.metadata.items()}


def test_every_table_of_a_delivery_is_materialized_with_its_counts(
    instance: dg.DagsterInstance, home: Path
) -> None:
    lake = Lake(home / "lake")
    with lake.connect() as con:
        for table in (*DELIVERED, *CATALOGUED):
            shown = newest(instance, table)
            assert shown["dagster/row_count"] == con.sql(f"SELECT count(*) FROM {table}").fetchall()[0][0]
            assert {"bytes", "seconds", "dagster/column_schema"} <= set(shown)
    assert newest(instance, "studies")["snapshot"] == 1


def test_all_checks_of_a_delivery_are_recorded_and_hold(instance: dg.DagsterInstance) -> None:
    run = instance.get_runs()[0]
    found = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    verdicts = {e.dagster_event.asset_check_evaluation_data.check_name: e.dagster_event for e in found}
    assert {"arrivals_add_up", "ids_are_pseudonyms", "studies_refer_to_patients"} <= set(verdicts)
    assert all(event.asset_check_evaluation_data.passed for event in verdicts.values())


def test_a_failing_check_blocks_publication(
    instance: dg.DagsterInstance, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = curation.delivery.curate

    def lose_one(*args: object, **kwargs: object) -> object:
        became = honest(*args, **kwargs)  # type: ignore[arg-type]
        return dataclasses.replace(became, arrivals=became.arrivals + 1)

    monkeypatch.setattr(curation.delivery, "curate", lose_one)
    _register_again(home)
    with pytest.raises(ChecksFailedError, match="arrivals_add_up") as told:
        launch(instance, "curate_delivery", "deliveries", "second")
    assert told.value.names == ["arrivals_add_up"]
    assert set(Lake(home / "lake").snapshot().deliveries) == {"first"}

    # nor can it be published by hand, past the checks
    with pytest.raises(RunFailedError, match="arrivals_add_up"):
        launch(instance, "curate_delivery", "deliveries", "second", assets=list(CATALOGUED))
    assert set(Lake(home / "lake").snapshot().deliveries) == {"first"}


def test_what_an_exception_says_reaches_no_file_of_dagster(
    instance: dg.DagsterInstance,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def break_down(*args: object, **kwargs: object) -> object:
        try:
            raise KeyError(CANARY)
        except KeyError as first:
            raise ValueError(f"cannot read {CANARY}") from first

    monkeypatch.setattr(curation.delivery, "curate", break_down)
    with pytest.raises(RunFailedError) as told:
        launch(instance, "curate_delivery", "deliveries", "first")
    assert "ValueError" in str(told.value)
    assert "withheld" in str(told.value)
    captured = capfd.readouterr()
    assert CANARY not in captured.out + captured.err + str(told.value)
    files = [path for path in (home / "dagster").rglob("*") if path.is_file()]
    assert any(path.suffix == ".db" and b"ValueError" in path.read_bytes() for path in files)
    assert [path.name for path in files if CANARY.encode() in path.read_bytes()] == []


def test_a_wrong_configuration_passes_in_its_own_words(instance: dg.DagsterInstance) -> None:
    with pytest.raises(ConfigurationError, match="is not registered"):
        launch(instance, "curate_delivery", "deliveries", "nobody-registered-this")


def test_guarded_gives_back_what_the_function_gives() -> None:
    assert guarded(divmod, 7, 2) == (3, 1)


def test_guarded_failures_hold_no_chain() -> None:
    with pytest.raises(dg.Failure) as told:
        guarded(int, CANARY)
    assert told.value.__cause__ is None
    assert told.value.__context__ is None
    assert CANARY not in str(told.value.description)


def test_a_place_names_file_and_line_of_our_own_code() -> None:
    with pytest.raises(AttributeError) as told:
        curation.delivery.register(None, None, None)  # type: ignore[arg-type]
    assert place_of(told.value).startswith("curation/settings.py:")
    assert " in register" in place_of(told.value)


def _register_again(home: Path) -> None:
    from curation.restricted import read_delivery
    from curation.settings import load_settings

    settings = load_settings(home)
    first = read_delivery(settings.places, "first")
    curation.delivery.register(settings, first.source, first.site, "second")
