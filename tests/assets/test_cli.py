import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import typer.main

from assets.cli import app, hoist, main
from assets.commands.deid import REMEDIES
from curation.records import REASONS
from tests.assets.conftest import SITE
from tests.curation.deid.objects import ct, to_bytes


def ask(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, object]]:
    """Exit code and the one JSON object on standard output."""
    capsys.readouterr()
    code = main([*words, "--json"])
    return code, json.loads(capsys.readouterr().out)


def every_command() -> Iterator[tuple[str, ...]]:
    def walk(command: object, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        children = getattr(command, "commands", {})
        if path:
            yield path
        for name, child in children.items():
            yield from walk(child, (*path, name))

    return walk(typer.main.get_command(app), ())


@pytest.mark.parametrize("path", list(every_command()), ids=" ".join)
def test_the_help_of_every_command_has_an_example(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*path, "--help"]) == 0
    assert f"Example: rwid {path[0]}" in capsys.readouterr().out


def test_home_and_json_stand_anywhere() -> None:
    assert hoist(["sql", "SELECT 1", "--json", "--home", "x"]) == ["--json", "--home", "x", "sql", "SELECT 1"]
    assert hoist(["--home=x", "runs"]) == ["--home=x", "runs"]
    assert hoist(["sql", "--", "--json"]) == ["sql", "--", "--json"]


@pytest.mark.parametrize(
    "words",
    [
        ["no-such-command"],
        ["ingest"],
        ["ingest", "nothing-lies-here", "--site", SITE],
        ["ingest", ".", "--site", "nowhere-known"],
        ["cohort", "build", "no-such-spec"],
        ["cohort", "show", "no-such-cohort"],
        ["tune", "no-such-recipe"],
        ["runs", "show", "no-such-run"],
        ["sql"],
        ["sql", "SELECT 1", "--format", "xml"],
        ["sql", "SELECT 1", "--snapshot", "77"],
        ["deid", "only-one-folder"],
        ["deid", "--explain", "no-such-profile"],
        ["synth", "s", "--sites", "0"],
    ],
    ids=" ".join,
)
def test_wrong_use_ends_with_two_and_a_sentence(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--home", str(tmp_path / "home")]) == 2
    told = capsys.readouterr()
    assert len(told.err.strip()) > 20
    assert "Traceback" not in told.err
    assert told.out == ""


@pytest.mark.parametrize(
    ("words", "then"), [(["runs"], "rwid tune"), (["cohort", "list"], "rwid cohort build")]
)
def test_where_there_is_nothing_yet_it_says_how_to_begin(
    words: list[str], then: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--home", str(tmp_path / "home")]) == 0
    assert then in capsys.readouterr().out


def test_wrong_use_with_json_gives_one_object_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, facts = ask(capsys, "--home", str(tmp_path), "ingest", "nothing-lies-here", "--site", SITE)
    assert code == 2
    assert set(facts) == {"error"}


def test_ingest_accounts_for_everything_that_arrived(
    deliveries: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, facts = ask(
        capsys, "ingest", str(deliveries / SITE), "--site", SITE, "--delivery", "first", "--home", str(home)
    )
    assert code == 0
    assert {"delivery", "arrivals", "instances", "reports", "clinical", "refusals", "snapshot"} <= set(facts)
    refusals = facts["refusals"]
    assert isinstance(refusals, dict)
    parts = (facts["instances"], facts["reports"], facts["clinical"], *refusals.values())
    assert facts["arrivals"] == sum(int(str(n)) for n in parts)
    assert facts["snapshot"] == 1


def test_sql_answers_in_every_format(
    ingested: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = ["--home", str(ingested)]
    query = "SELECT site, count(*) AS n FROM studies GROUP BY ALL"
    code, facts = ask(capsys, "sql", query, *home)
    assert code == 0
    assert facts["columns"] == ["site", "n"]
    (row,) = facts["rows"]  # type: ignore[misc]
    assert row[0] == SITE

    assert main(["sql", query, "--format", "csv", *home]) == 0
    assert capsys.readouterr().out == f"site,n\n{SITE},{row[1]}\n"
    assert main(["sql", query, "--format", "json", *home]) == 0
    assert json.loads(capsys.readouterr().out) == [{"site": SITE, "n": row[1]}]
    out = tmp_path / "out.parquet"
    assert main(["sql", query, "--format", "parquet", "--out", str(out), *home]) == 0
    assert pq.read_table(out).to_pylist() == [{"site": SITE, "n": row[1]}]
    assert main(["sql", query, *home]) == 0


def test_sql_with_more_columns_than_fit_tells_row_under_row(
    ingested: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["sql", "SELECT * FROM studies LIMIT 1", "--home", str(ingested)]) == 0
    lines = [line.split("│")[1:-1] for line in capsys.readouterr().out.splitlines() if "│" in line]
    told = {name.strip(): value.strip() for name, value in lines}
    assert told["site"] == SITE
    assert len(told["study_id"]) == 36


def test_sql_views_work_in_a_plain_duckdb_however_long_the_path_of_the_home(
    ingested: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import duckdb

    home = shutil.copytree(ingested, tmp_path / ("deep" * 40) / "home")
    assert main(["sql", "--views", "--home", str(home)]) == 0
    with duckdb.connect() as con:
        con.execute(capsys.readouterr().out)
        assert con.sql("SELECT count(*) FROM studies").fetchall()[0][0] > 0


def test_sql_on_a_home_without_a_lake_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, facts = ask(capsys, "sql", "SELECT count(*) FROM studies", "--home", str(tmp_path / "nothing"))
    assert code == 2
    assert "rwid ingest" in str(facts["error"])


def test_what_was_refused_can_be_followed_up_to_its_file(
    ingested: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = ["--home", str(ingested)]
    code, facts = ask(capsys, "refusals", *home)
    assert code == 0
    counts = facts["refusals"]
    assert isinstance(counts, list) and all(one["meaning"] for one in counts)
    _, facts = ask(capsys, "refusals", "--files", *home)
    files = facts["files"]
    assert isinstance(files, list)
    assert {one["reason"] for one in files} == {one["reason"] for one in counts} != set()
    assert all(one["path"] for one in files)
    assert main(["refusals", "--delivery", "nobody", *home]) == 2
    assert main(["refusals", "--files", "--reason", "bad weather", *home]) == 2


def test_sql_that_would_write_is_refused(ingested: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sql", "COPY (SELECT 1) TO 'x.csv'", "--home", str(ingested)]) == 2


def test_a_folder_is_deidentified_without_a_lake(
    deliveries: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    code, facts = ask(capsys, "deid", str(deliveries / SITE), str(tmp_path / "clean"), "--home", str(home))
    assert code == 0
    assert facts["read"] == facts["released"] + sum(facts["withheld"].values())  # type: ignore[attr-defined, operator]
    assert (tmp_path / "clean" / "deid_log.parquet").is_file()


def test_a_second_deid_goes_on_and_says_what_was_withheld(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    src, home = tmp_path / "raw", tmp_path / "home"
    src.mkdir()
    (src / "one.dcm").write_bytes(to_bytes(ct()))
    (src / "report.txt").write_text("No nodule.")
    words = ["deid", str(src), str(tmp_path / "clean"), "--home", str(home), "--workers", "2"]
    assert main(words) == 0
    first = capsys.readouterr()
    assert "Made a new key" in first.err and str(home / "restricted" / "key") in first.err
    assert "1 look like reports" in first.out and "rwid ingest" in first.out
    code, facts = ask(capsys, *words)
    assert code == 0 and facts["kept"] == 1 and facts["policy"]  # type: ignore[comparison-overlap]
    (tmp_path / "clean" / "old.dcm").write_bytes(b"")
    assert main(words) == 0
    assert "1 files in" in capsys.readouterr().err


def test_every_reason_a_folder_can_give_has_a_remedy() -> None:
    elsewhere = {"unreadable_report", "unlinked_report", "withdrawn"}
    assert set(REMEDIES) == set(REASONS) - elsewhere


def test_a_profile_is_explained_in_sentences(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, facts = ask(capsys, "deid", "--explain", "basic", "--home", str(tmp_path))
    assert code == 0
    assert len(facts["sentences"]) > 100  # type: ignore[arg-type]


def test_doctor_looks_at_packages_machine_and_home(
    ingested: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, facts = ask(capsys, "doctor", "--home", str(ingested))
    assert code == 0
    assert facts["is_well"] is True
    assert {"Python", "duckdb", "key", "lake"} <= {one["what"] for one in facts["findings"]}  # type: ignore[attr-defined]


def test_doctor_ends_with_one_where_restricted_is_open_to_others(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "restricted").chmod(0o755)
    code, facts = ask(capsys, "doctor", "--home", str(home))
    assert code == 1
    assert facts["is_well"] is False


def test_doctor_prints_the_data_dictionary(capsys: pytest.CaptureFixture[str]) -> None:
    from curation.records import dictionary_markdown

    assert main(["doctor", "--dictionary"]) == 0
    assert capsys.readouterr().out == dictionary_markdown()


def test_a_site_that_was_added_is_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = ["--home", str(tmp_path / "home")]
    code, _ = ask(capsys, "sites", "add", "st-mary", "--country", "GB", "--continent", "Europe", *home)
    assert code == 0
    _, facts = ask(capsys, "sites", *home)
    assert "st-mary" in {site["name"] for site in facts["sites"]}  # type: ignore[attr-defined]


def test_a_site_takes_over_its_ctp_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home, script = ["--home", str(tmp_path / "home")], tmp_path / "pixels.script"
    script.write_text('{ Modality.equals("US") } (0,0,640,40)\n{ PatientName.contains("X") } (0,0,9,9)\n')
    ask(capsys, "sites", "add", "st-mary", *home)
    code, facts = ask(capsys, "sites", "import-regions", "st-mary", str(script), *home)
    assert code == 0 and facts["rules"] == 1 and len(facts["left_out"]) == 1  # type: ignore[arg-type]
    _, known = ask(capsys, "sites", *home)
    assert {s["name"]: s["burned_in"] for s in known["sites"]}["st-mary"] == 1  # type: ignore[attr-defined]


def test_the_generator_says_what_it_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, facts = ask(
        capsys, "synth", str(tmp_path / "s"), "--sites", "1", "--patients", "1", "--profile", "tiny"
    )
    assert code == 0
    assert facts["patients"] == 1
    assert (tmp_path / "s" / "answer_key.parquet").is_file()


def test_the_installed_command_is_this_one(tmp_path: Path) -> None:
    if not metadata.entry_points(group="console_scripts", name="rwid"):
        pytest.skip("rwid is not installed here: it is run from its folder")
    command = Path(sys.executable).with_name("rwid")
    found = subprocess.run(
        [command, "runs", "--json", "--home", tmp_path], capture_output=True, text=True, check=False
    )
    assert (found.returncode, json.loads(found.stdout)) == (0, {"runs": []})
