"""The nouns: every column documents itself, and the pages made from them are not stale."""

import dataclasses
import pickle
from pathlib import Path
from uuid import UUID

import pyarrow as pa
import pytest

from curation import records

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("row_class", [*records.TABLES.values(), records.Arrival])
def test_every_column_has_a_sentence_and_a_type(row_class: type) -> None:
    schema = records.schema_of(row_class)
    assert schema.names == [f.name for f in dataclasses.fields(row_class)]
    for f in schema:
        sentence = f.metadata[b"sentence"].decode()
        assert sentence.endswith("."), f"{row_class.__name__}.{f.name}"
    assert (row_class.__doc__ or "").startswith("One row per")


@pytest.mark.parametrize(
    ("ending", "unit"),
    [("_mm", "mm"), ("_px", "px"), ("_ms", "ms"), ("_years", "years"), ("_deg", "degrees")],
)
def test_a_unit_in_the_name_is_the_unit_of_the_column(ending: str, unit: str) -> None:
    for row_class in records.TABLES.values():
        for f in records.schema_of(row_class):
            if f.name.endswith(ending):
                assert f.metadata.get(b"unit", b"").decode() == unit, f"{row_class.__name__}.{f.name}"


def test_the_same_column_has_the_same_type_everywhere() -> None:
    kinds: dict[str, pa.DataType] = {}
    for row_class in records.TABLES.values():
        for f in records.schema_of(row_class):
            assert kinds.setdefault(f.name, f.type) == f.type, f"{row_class.__name__}.{f.name}"


def test_the_data_dictionary_is_not_stale() -> None:
    page = (ROOT / "docs" / "data_dictionary.md").read_text(encoding="utf-8")
    assert page == records.dictionary_markdown(), "run: rwid doctor --dictionary > docs/data_dictionary.md"


def test_rows_become_a_table_with_their_schema() -> None:
    row = records.Refusal(b"\1" * 32, "dicom", "read", "truncated", "dev", "d1", "0")
    table = records.to_table(records.Refusal, [row])
    assert table.schema == records.schema_of(records.Refusal)
    assert table.to_pylist()[0]["reason"] == "truncated"
    assert records.to_table(records.Frame, []).num_rows == 0


def test_ids_are_stored_as_uuids() -> None:
    some = UUID(int=1 << 100)
    row = records.PersonToken(some, "T1", "n", "r", None, "dev", "d1", "0")
    column = records.to_table(records.PersonToken, [row])["patient_id"]
    assert column.type == pa.uuid()
    assert column.to_pylist() == [some]


def test_a_refusal_carries_a_reason_of_the_closed_list_and_nothing_else() -> None:
    refusal = pickle.loads(pickle.dumps(records.Refused("truncated")))
    assert refusal.reason == "truncated"
    assert str(refusal) == "truncated"
    with pytest.raises(ValueError, match="not a refusal reason"):
        records.Refused("because")
