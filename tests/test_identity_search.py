"""The byte search finds what is planted in each encoding and each packing, and nothing else."""

from __future__ import annotations

import base64
import gzip
import json
import os
import sqlite3
import tarfile
import zipfile

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.identity_search import IdentitySearch, search

NAME = "Quomvothorp^Zelmarikjo"
NUMBER = "ZQPM7731048W"
DAY = "20230412"


def values_in(folder, planted=(NAME, NUMBER, DAY)):
    return {hit.value for hit in search(planted, folder)}


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"..ZQPM7731048W..", NUMBER),
        (b"..zqpm7731048w..", NUMBER),
        ("x" + NUMBER, NUMBER),
        (NUMBER.encode("utf-16-le"), NUMBER),
        (b"\0" + NUMBER.encode("utf-16-be"), NUMBER),
        (b"QUOMVOTHORP", NAME),
        (b"zelmarikjo was seen", NAME),
        (b"Zelmarikjo Quomvothorp", NAME),
        (b"quomvothorp, zelmarikjo", NAME),
        ("Quomvothorp".encode("utf-16-le"), NAME),
        (b"2023-04-12T10:00", DAY),
        (b"on April 12, 2023 we", DAY),
        (b"12.04.2023", DAY),
        (b"04/12/2023", DAY),
        (b"20230412101500.000000", DAY),
        (b'{"a": "20230412"}', DAY),
    ],
)
def test_a_value_is_found_however_it_is_written(tmp_path, data, value):
    (tmp_path / "file").write_bytes(data if isinstance(data, bytes) else data.encode())
    assert values_in(tmp_path) == {value}


@pytest.mark.parametrize("before", [b"", b"a", b"ab", b"abc", b"abcd"])
@pytest.mark.parametrize("after", [b"", b"x", b"xy", b"xyz"])
def test_base64_is_found_at_every_offset(tmp_path, before, after):
    (tmp_path / "file").write_bytes(base64.b64encode(before + NUMBER.encode() + after))
    assert values_in(tmp_path) == {NUMBER}


def test_a_date_inside_a_longer_number_is_no_date(tmp_path):
    (tmp_path / "file").write_bytes(b"2.25.9920230412557, 120230412")
    assert values_in(tmp_path) == set()


def test_a_value_is_found_at_every_byte_offset(tmp_path):
    finder = IdentitySearch([NUMBER])
    for offset in range(17):
        assert {v for v, _ in finder.in_bytes(b"-" * offset + NUMBER.encode() + b"---")} == {NUMBER}


def test_a_value_across_two_pieces_of_a_big_file_is_found():
    finder = IdentitySearch([NUMBER])
    border = 4 << 20
    data = bytes(border - 5) + NUMBER.encode() + bytes(1000)
    assert NUMBER in {v for v, _ in finder.in_bytes(data)}


def test_random_bytes_hold_nothing():
    planted = [f"ZQAB{n:08d}W" for n in range(3000)] + [
        f"2023{m:02d}{d:02d}" for m in range(1, 13) for d in range(1, 29)
    ]
    assert list(IdentitySearch(planted).in_bytes(os.urandom(3 << 20))) == []


def test_parquet_columns_are_decoded_whatever_their_type_and_compression(tmp_path):
    padding = ["nothing here"] * 3000
    columns = {
        "text": pa.array([*padding, NUMBER]),
        "binary": pa.array([b""] * 3000 + [b"\0\1" + b"Quomvothorp"]),
        "day": pa.array([None] * 3000 + [19459], pa.date32()),
    }
    for name, column in columns.items():
        for encoding in (True, False):
            folder = tmp_path / f"{name}{encoding}"
            folder.mkdir()
            table = pa.table({"c": column})
            pq.write_table(table, folder / "x.parquet", compression="zstd", use_dictionary=encoding)
            assert len(values_in(folder)) == 1, name


def test_parquet_lists_structs_dictionaries_and_metadata_are_searched(tmp_path):
    nested = pa.array([[{"tag": "a", "action": NUMBER}], []])
    coded = pa.array(["Quomvothorp", "x"]).dictionary_encode()
    pq.write_table(pa.table({"n": nested, "d": coded}), tmp_path / "x.parquet", compression="zstd")
    assert values_in(tmp_path) == {NUMBER, NAME}
    noted = pa.table({"c": [1]}).replace_schema_metadata({"by": NUMBER})
    pq.write_table(noted, tmp_path / "x.parquet")
    assert NUMBER in values_in(tmp_path)


def test_archives_are_opened_and_their_member_names_are_read(tmp_path):
    (tmp_path / "a.gz").write_bytes(gzip.compress(NUMBER.encode()))
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("QUOMVOTHORP/1.dcm", b"nothing")
    (tmp_path / "day.txt").write_text(DAY)
    with tarfile.open(tmp_path / "c.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "day.txt", "inner.txt")
    (tmp_path / "day.txt").unlink()
    assert values_in(tmp_path) == {NUMBER, NAME, DAY}


def test_databases_json_and_file_names_are_searched(tmp_path):
    with duckdb.connect(str(tmp_path / "x.duckdb")) as con:
        con.execute("CREATE VIEW v AS SELECT 'ZQPM7731048W' AS a")
    base = sqlite3.connect(tmp_path / "x.sqlite")
    base.execute("CREATE TABLE t (a TEXT)")
    base.execute("INSERT INTO t VALUES ('Quomvothorp')")
    base.commit()
    base.close()
    (tmp_path / "x.json").write_text(json.dumps({"day": "2023-04-12"}))
    assert values_in(tmp_path) == {NUMBER, NAME, DAY}
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / f"{NUMBER}.txt").write_text("nothing")
    assert values_in(tmp_path / "more") == {NUMBER}


def test_a_deflated_dicom_file_is_inflated(tmp_path):
    import pydicom
    from pydicom.dataset import Dataset, FileMetaDataset

    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID, ds.PatientComments = (
        "1.2.840.10008.5.1.4.1.1.7",
        "1.2.3",
        f"see {NUMBER}",
    )
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
    pydicom.dcmwrite(tmp_path / "x.dcm", ds, enforce_file_format=True)
    assert NUMBER.encode() not in (tmp_path / "x.dcm").read_bytes()
    assert values_in(tmp_path) == {NUMBER}
