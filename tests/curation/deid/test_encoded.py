"""Text in another coding, in attributes whose plain values are kept."""

from __future__ import annotations

import base64
import io

import pydicom
import pytest

from benchmarks.deid.synthetic import ct_slice
from curation.deid.encoded import holds_encoded_text
from curation.deid.header import clean_header
from curation.deid.policy import compile_policy, load_profile
from curation.deid.pseudonyms import Pseudonyms

NAME = b"Zacharias Meyerhold"


@pytest.mark.parametrize(
    "value",
    [
        NAME.hex().encode(),
        NAME.hex().upper().encode(),
        b"id " + NAME.hex().encode()[:21],
        base64.b64encode(NAME),
        base64.b64encode(b"x" + NAME).rstrip(b"="),
        base64.urlsafe_b64encode(b"key " + NAME),
    ],
)
def test_coded_text_is_seen(value):
    assert holds_encoded_text(value)


@pytest.mark.parametrize(
    "value",
    [b"SOMATOM Definition AS+", b"LightSpeed VCT", b"*tfl3d1_16ns", b"epfid2d1_128", b"syngo CT VA44A", b"TrueFISPsegmented",
     b"DERIVED\\SECONDARY\\PROJECTION IMAGE", b"ANGIO_TIME_RESOLVED", b"VB10_2019_STABLE", b"0123456789AB", b"MAGNETOM_Skyra_fit"],
)  # fmt: skip
def test_what_makers_write_is_not(value):
    assert not holds_encoded_text(value)


@pytest.mark.parametrize("keyword", ["SequenceName", "PlateID", "DetectorID", "GantryID"])
def test_a_coded_name_does_not_pass_where_plain_values_do(keyword):
    def released(value: str) -> str:
        ds = ct_slice(1, "1.2.3.1", "1.2.3.2", b"\0" * 8)
        ds.Rows = ds.Columns = 2
        setattr(ds, keyword, value)
        ds.ensure_file_meta()
        ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
        file = io.BytesIO()
        ds.save_as(file, enforce_file_format=True)
        clean = clean_header(
            file.getvalue(), compile_policy(load_profile("research")), Pseudonyms(b"k" * 32), "a"
        )
        out = pydicom.filereader.read_dataset(io.BytesIO(bytes(clean.header)), False, True)
        return str(out.get(keyword, ""))

    coded = NAME[:8].hex()
    assert coded not in released(coded)
    if keyword == "SequenceName":
        assert released("*tfl3d1_16ns") == "*tfl3d1_16ns"
