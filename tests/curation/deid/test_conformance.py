"""The conformance statement says what the rules say."""

from pathlib import Path

from curation.deid.conformance import BLOCKS, ROADS, with_blocks
from curation.deid.policy import read_rows

PAGE = Path(__file__).parents[3] / "docs" / "conformance.md"


def test_the_page_equals_the_rules() -> None:
    page = PAGE.read_text()
    assert with_blocks(page) == page, "run: python -m curation.deid.conformance docs/conformance.md"
    assert all(f"<!-- {name}: begin -->" in page for name in BLOCKS)


def test_every_class_has_a_road_or_a_reason() -> None:
    for row in read_rows("classes.csv"):
        assert row["road"] in ROADS
        assert row["why"] or row["status"] == "released", row["name"]
        assert (row["status"] == "released") == (row["road"] not in ("", "report")), row["name"]
