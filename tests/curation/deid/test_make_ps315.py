"""The tables can be made again from the DocBook source of PS3.15. The sample here is made by hand: its rows are invented."""

import csv
import runpy
import sys
from pathlib import Path

import pytest

RULES = Path(__file__).parents[3] / "curation/deid/rules"
OPTION_HEADS = ("Rtn. Safe Priv. Opt.", "Rtn. UIDs Opt.", "Rtn. Dev. Id. Opt.", "Rtn. Inst. Id. Opt.",
                "Rtn. Pat. Chars. Opt.", "Rtn. Long. Full Dates Opt.", "Rtn. Long. Modif. Dates Opt.",
                "Clean Desc. Opt.", "Clean Struct. Cont. Opt.", "Clean Graph. Opt.")  # fmt: skip
ATTRIBUTES = [
    ["Sample\u200b Date", "(0009,1001)", "N", "Y", "X/D", "", "", "", "", "", "K", "C", "", "", ""],
    ["Sample Overlay", "(60xx,3000)", "Y", "N", "X", "", "", "", "", "", "", "", "", "", "C"],
    ["Sample References", "(0008,F140)", "N", "Y", "X/Z/U*", "", "K", "", "", "", "", "", "", "", ""],
    ["Private Attributes", "(gggg,eeee) where gggg is odd", "N", "N", "X", "C", *[""] * 9],
]
ITEMS = [
    ["Sample Comment", "999001", "DCM", "TEXT", "N", "Y", "X", "", "", "", "", "", "", "C"],
    ["Sample Time", "999000", "DCM", "DATETIME", "N", "Y", "X/D", "", "", "", "", "K", "C", ""],
]
PRIVATE = [["(0019,xx0C)", "SAMPLE HEADER", "IS", "1", "A number"]]


def table(label: str, heads: list[str], rows: list[list[str]]) -> str:
    def line(cells: list[str], kind: str) -> str:
        return "<tr>" + "".join(f"<{kind}><para>{c}</para></{kind}>" for c in cells) + "</tr>"

    body = "".join(line(row, "td") for row in rows)
    return (
        f'<table label="{label}" xml:id="table_{label}"><caption>Sample</caption>'
        f"<thead>{line(heads, 'th')}</thead><tbody>{body}</tbody></table>"
    )


@pytest.fixture
def part15(tmp_path: Path) -> Path:
    """A DocBook sample with the three tables."""
    first = ["Attribute Name", "Tag", "Retd. (from PS3.6)", "In Std. Comp. IOD (from PS3.3)", "Basic Prof."]
    items = [
        "Code Meaning",
        "Code Value",
        "Coding Scheme Designator",
        "Value Type",
        "Retd.",
        "In Std. TID",
        "Basic Prof.",
    ]
    path = tmp_path / "part15.xml"
    path.write_text(
        '<?xml version="1.0"?><book xmlns="http://docbook.org/ns/docbook"><subtitle>DICOM PS3.15 2031a - Sample</subtitle>'
        + table("E.1-1", [*first, *OPTION_HEADS], ATTRIBUTES)
        + table("E.3.4-1", [*items, *OPTION_HEADS[1:8]], ITEMS)
        + table("E.3.10-1", ["Data Element", "Private Creator", "VR", "VM", "Meaning"], PRIVATE)
        + "</book>",
        encoding="utf-8",
    )
    return path


def make(monkeypatch: pytest.MonkeyPatch, source: Path, folder: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["make_ps315.py", str(source), str(folder)])
    runpy.run_path(str(RULES / "make_ps315.py"), run_name="__main__")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_all_three_tables_are_read(
    part15: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make(monkeypatch, part15, tmp_path)
    assert "2031a: 4 attributes, 2 content items, 1 safe private" in capsys.readouterr().out
    known = {row["tag"]: row for row in rows(tmp_path / "ps315_2031a.csv")}
    assert set(known) == {"00091001", "60xx3000", "0008F140", "PRIVATE"}
    date = known["00091001"]
    assert (date["name"], date["basic"], date["in_std_iod"]) == ("Sample Date", "X/D", "yes")
    assert date["retain_longitudinal_full_dates"] == "K" and date["retain_longitudinal_modified_dates"] == "C"
    assert known["60xx3000"]["clean_graphics"] == "C" and known["60xx3000"]["retired"] == "yes"
    assert known["0008F140"]["basic"] == "X/Z/U*" and known["0008F140"]["retain_uids"] == "K"
    assert known["PRIVATE"]["retain_safe_private"] == "C"
    time, comment = rows(tmp_path / "ps315_content_2031a.csv")
    assert (time["code"], time["value_type"], time["retain_longitudinal_modified_dates"]) == (
        "999000", "DATETIME", "C",
    )  # fmt: skip
    assert (comment["code"], comment["basic"], comment["clean_descriptors"]) == ("999001", "X", "C")
    (private,) = rows(tmp_path / "private_safe.csv")
    assert (private["creator"], private["group"], private["element"], private["vr"]) == (
        "SAMPLE HEADER", "0019", "0C", "IS",
    )  # fmt: skip


def test_the_heads_are_those_of_the_shipped_tables(
    part15: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(monkeypatch, part15, tmp_path)
    for made, shipped in (
        ("ps315_2031a", "ps315_2026d"), ("ps315_content_2031a", "ps315_content_2026d"), ("private_safe", "private_safe"),
    ):  # fmt: skip
        assert list(rows(tmp_path / f"{made}.csv")[0]) == list(rows(RULES / f"{shipped}.csv")[0])


def test_private_elements_of_other_lists_stay(
    part15: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "private_safe.csv").write_text((RULES / "private_safe.csv").read_text())
    before = sum(row["source"] == "TCIA" for row in rows(tmp_path / "private_safe.csv"))
    make(monkeypatch, part15, tmp_path)
    after = rows(tmp_path / "private_safe.csv")
    assert sum(row["source"] == "TCIA" for row in after) == before > 2000
    assert sum(row["source"] == "E.3.10-1" for row in after) == 1


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("X/Z/U*", "Q", "no action code"),
        ("E.3.10-1", "E.9", "0 times"),
        ("2031a", "sample", "names no edition"),
    ],
)
def test_a_source_that_is_not_understood_stops(
    part15: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, told: str
) -> None:
    part15.write_text(part15.read_text().replace(old, new))
    with pytest.raises(SystemExit, match=told):
        make(monkeypatch, part15, tmp_path)
