"""Rows are read from their place in the file where they have one, and decoded where not: the same bytes either way."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation import fixed_rows
from curation.fixed_rows import FixedRows

WIDTH = 300


def write(path: Path, n: int = 200, **how: object) -> np.ndarray:
    values = np.random.default_rng(n).integers(0, 256, (n, WIDTH), dtype=np.uint8)
    table = pa.table(
        {
            "number": pa.array(range(n), pa.int32()),
            "tile": pa.array([v.tobytes() for v in values], pa.binary(WIDTH)),
        }
    )
    said = {"compression": "none", "use_dictionary": False, "write_statistics": ["number"], **how}
    pq.write_table(table, path, row_group_size=64, **said)
    return values


@pytest.mark.parametrize(
    ("how", "is_plain"),
    [
        ({}, True),
        ({"data_page_version": "2.0"}, True),
        ({"compression": "zstd"}, False),
        ({"use_dictionary": True}, False),
        ({"data_page_size": 1000, "write_batch_size": 3}, False),
    ],
)
def test_rows_are_those_of_the_table(tmp_path: Path, how: dict[str, object], is_plain: bool) -> None:
    values = write(tmp_path / "rows.parquet", **how)
    rows = FixedRows(tmp_path / "rows.parquet", "tile")
    assert (len(rows), rows.width, rows.starts.tolist()) == (200, WIDTH, [0, 64, 128, 192, 200])
    assert rows.is_plain is is_plain
    rows.advise(range(4))
    for first, n in ((0, 1), (63, 2), (10, 190), (199, 1)):
        out = np.empty((n, WIDTH), np.uint8)
        rows.read_into(first, out)
        assert (out == values[first : first + n]).all()


def test_two_small_pages_are_not_taken_for_one(tmp_path: Path) -> None:
    """Their two headers together are no larger than one may be: only looking at the values tells."""
    values = write(tmp_path / "rows.parquet", data_page_size=32 * WIDTH, write_batch_size=32)
    rows = FixedRows(tmp_path / "rows.parquet", "tile")
    assert not rows.is_plain
    out = np.empty((200, WIDTH), np.uint8)
    rows.read_into(0, out)
    assert (out == values).all()


def test_decoded_row_groups_do_not_pile_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = write(tmp_path / "rows.parquet", compression="zstd")
    monkeypatch.setattr(fixed_rows, "KEPT_BYTES", 2 * 64 * WIDTH)
    rows, out = FixedRows(tmp_path / "rows.parquet", "tile"), np.empty((1, WIDTH), np.uint8)
    for row in (0, 64, 128, 192, 0, 199):
        rows.read_into(row, out)
        assert (out[0] == values[row]).all()
        assert len(rows._kept) <= 3


def test_a_file_cut_short_is_told(tmp_path: Path) -> None:
    write(tmp_path / "rows.parquet")
    rows = FixedRows(tmp_path / "rows.parquet", "tile")
    with (tmp_path / "rows.parquet").open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(OSError, match="Delete the pack"):
        rows.read_into(100, np.empty((1, WIDTH), np.uint8))
