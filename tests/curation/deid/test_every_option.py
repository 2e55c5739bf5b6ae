"""Every option and every row of Table E.1-1, carried out on a real dataset and judged by the table read anew.

The judge reads the CSV by itself: nothing of the policy's reading, precedence or compiling is used here.
"""

import csv
import json
from functools import cache
from pathlib import Path

import pytest
from pydicom._dicom_dict import DicomDictionary
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from curation.deid.header import clean_header
from curation.deid.policy import Policy, compile_policy, load_profile
from tests.curation.deid.objects import SITE, ct, pseudonyms, read, to_bytes

RULES = Path(__file__).parents[3] / "curation/deid/rules"
OPTIONS = (
    "retain_uids", "retain_device_identity", "retain_institution_identity", "retain_patient_characteristics",
    "retain_longitudinal_full_dates", "retain_longitudinal_modified_dates", "clean_descriptors",
    "clean_structured_content", "clean_graphics", "retain_safe_private",
)  # fmt: skip
SAFE = {
    "AE": "AETITLE", "AS": "045Y", "CS": "AXIAL", "DA": "20190307", "DS": "1.5", "DT": "20190307101112", "IS": "7",
    "LO": "Thorax axial", "LT": "Thorax axial", "PN": "Wexel^Anna", "SH": "Thorax", "ST": "Thorax axial", "TM": "101112",
    "UC": "Thorax axial", "UI": "1.2.826.0.1.3680043.8.498.55", "UR": "https://x.example", "UT": "Thorax axial",
    "AT": 0x00100010, "FD": 1.5, "FL": 1.5, "SL": 7, "SS": 7, "UL": 7, "US": 7, "SV": 7, "UV": 7,
}  # fmt: skip
BINARY = ("OB", "OW", "OF", "OD", "OL", "OV", "UN")

OWN = {
    "PatientName": "the pseudonym", "PatientID": "the pseudonym", "PatientIdentityRemoved": "a marker",
    "DeidentificationMethod": "a marker", "DeidentificationMethodCodeSequence": "a marker",
    "LongitudinalTemporalInformationModified": "a marker", "BurnedInAnnotation": "NO or YES",
}  # fmt: skip
"""Attributes that rwid writes itself."""
STRICTER = {
    "RetrieveURI", "RetrieveURL", "GraphicAnnotationSequence", "ContentSequence", "WaveformAnnotationSequence",
    "TimezoneOffsetFromUTC", "AcquisitionContextSequence", "DigitalSignaturesSequence", "SpecimenPreparationSequence",
    "ContextGroupVersion", "ContextGroupLocalVersion", "ReferencedPatientSequence",
}  # fmt: skip
"""Attributes removed or emptied, or cleaned as a whole, whatever the options say; told in docs/deidentification.md."""
IDENTITY = (
    "PatientID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SOPInstanceUID",
    "SOPClassUID",
    "StudyDate",
)


@cache
def rows() -> dict[int, dict[str, str]]:
    """The table's rows of attributes that may stand in a dataset."""
    with (RULES / "ps315_2026d.csv").open(newline="") as file:
        return {
            int(row["tag"].replace("xx", "00"), 16): row
            for row in csv.DictReader(file)
            if row["tag"] != "PRIVATE" and row["tag"] >= "0008"
        }


def book(folder: Path, *options: str) -> Policy:
    """Basic with these options and nothing else."""
    text = (RULES / "profiles" / "basic.toml").read_text()
    text = text.replace("options = []", f"options = {json.dumps(options)}")
    begin = text.index("by_type")
    path = folder / "one.toml"
    path.write_text(text[:begin] + "by_type = []" + text[text.index("\n", begin) :])
    return compile_policy(load_profile(str(path)))


def vr_of(tag: int) -> str | None:
    entry = DicomDictionary.get(tag)
    return entry[0].split(" or ")[-1] if entry else None


def value_of(tag: int, vr: str, canary: str) -> object:
    """A value of this VR: names somebody (canary given), or nobody."""
    if vr == "SQ":
        item = Dataset()
        item.SliceThickness = "1.25"
        item.PatientComments = canary
        return Sequence([item])
    if vr in BINARY:
        return canary.encode() or b"\1\2\3\4"
    if canary and vr in TEXT:
        return canary
    return SAFE[vr]


TEXT = ("LO", "LT", "SH", "ST", "UC", "UT", "PN", "AE")


def whole(option: str | None = None, *, canary: bool = False) -> Dataset:
    """A CT with every attribute of the table; text that the option does not keep names somebody."""
    ds = ct()
    for n, tag in enumerate(rows()):
        vr, entry = vr_of(tag), DicomDictionary.get(tag)
        if tag >> 16 in (0x5000, 0x6000):
            vr = {0x3000: "OW"}.get(tag & 0xFFFF, "LO")
        if vr is None or (entry and entry[4] in IDENTITY) or tag > 0x7FE00000:
            continue
        is_kept = wanted(rows()[tag], option) == "K" and not canary
        ds[tag] = DataElement(tag, vr, value_of(tag, vr, "" if is_kept else f"Zq{n:05d}can"))
    return ds


def wanted(row: dict[str, str], option: str | None) -> str:
    return (row[option] if option else "") or row["basic"]


def what_became(before: DataElement, after: DataElement | None) -> str:
    if after is None:
        return "X"
    if after.VR == "SQ":
        return "SQ" if after.value else "Z"
    if after.value is None or after.value == "" or after.value == []:
        return "Z"
    return "K" if str(after.value) == str(before.value) else "D"


def verdict(code: str, became: str, vr: str) -> bool:
    """Whether what became of a value is one of the things that the code allows (PS3.15 Table E.1-1a)."""
    allowed = {"X": "X", "Z": "ZD", "D": "D", "K": "K", "U": "D", "U*": "XZD", "C": "XZDK"}
    if vr == "SQ":
        # a dummy item would be an invention: D removes, or keeps the items that a report needs, cleaned, as U and K do
        allowed |= {"D": ("X", "SQ"), "K": ("SQ",), "U*": ("SQ",), "C": ("SQ", "X", "Z"), "U": ("SQ",)}
    elif vr in BINARY:
        allowed |= {"K": "X", "D": "DX"}
    return any(became in allowed[part] for part in code.split("/"))


@pytest.mark.parametrize("option", [None, *OPTIONS])
def test_every_row_is_carried_out_as_the_table_says(tmp_path: Path, option: str | None) -> None:
    policy = book(tmp_path, *([option] if option else []))
    source = whole(option)
    ds = read(clean_header(to_bytes(source), policy, pseudonyms(), SITE))
    wrong, judged = [], 0
    for tag, row in rows().items():
        entry = DicomDictionary.get(tag)
        before, after = source.get(tag), ds.get(tag)
        if entry is None or tag > 0x7FE00000:
            assert after is None, row
            continue
        if before is None or entry[4] in OWN or entry[4] in STRICTER or entry[4] in IDENTITY:
            continue
        judged += 1
        code, became = wanted(row, option), what_became(before, after)
        if not verdict(code, became, before.VR):
            wrong.append((entry[4], before.VR, code, became))
    assert not wrong
    assert judged > 600


@pytest.mark.parametrize("option", [None, *OPTIONS])
def test_no_row_lets_a_name_through_that_it_does_not_keep(tmp_path: Path, option: str | None) -> None:
    policy = book(tmp_path, *([option] if option else []))
    source = whole(canary=True)
    found = clean_header(to_bytes(source), policy, pseudonyms(), SITE)
    for n, (tag, row) in enumerate(rows().items()):
        entry = DicomDictionary.get(tag)
        if "K" not in wanted(row, option) or (entry and entry[4] in STRICTER):
            assert f"Zq{n:05d}can".encode() not in found.header, row


@pytest.mark.parametrize("option", [None, *OPTIONS])
def test_items_are_held_to_the_same_rows(tmp_path: Path, option: str | None) -> None:
    policy = book(tmp_path, *([option] if option else []))
    source, inner = ct(), whole(option)
    del inner[0x7FE00010]
    for tag in [e.tag for e in inner if e.tag not in rows()]:
        del inner[tag]
    source.DerivationImageSequence = Sequence([inner, inner, inner])
    ds = read(clean_header(to_bytes(source), policy, pseudonyms(), SITE))
    wrong = []
    for item in ds.DerivationImageSequence:
        for tag, row in rows().items():
            entry, before = DicomDictionary.get(tag), inner.get(tag)
            if entry is None or before is None or entry[4] in OWN or entry[4] in STRICTER:
                continue
            code, became = wanted(row, option), what_became(before, item.get(tag))
            if not verdict(code, became, before.VR):
                wrong.append((entry[4], before.VR, code, became))
    assert not wrong


def test_pairs_of_options_that_meet_agree_with_the_written_order(tmp_path: Path) -> None:
    with (RULES / "options.csv").open(newline="") as file:
        order = [row["option"] for row in csv.DictReader(file)]
    met = set()
    for tag, row in rows().items():
        named = [o for o in order if row.get(o)]
        met |= {(a, b) for i, a in enumerate(named) for b in named[i + 1 :]}
        # cleaning stands before keeping wherever both are named
        codes = [row[o] for o in named]
        assert codes == sorted(codes), (row["name"], codes, hex(tag))
    assert met == {
        ("retain_longitudinal_modified_dates", "retain_longitudinal_full_dates"),
        ("retain_longitudinal_modified_dates", "retain_device_identity"),
        ("retain_longitudinal_full_dates", "retain_device_identity"),
        ("clean_descriptors", "retain_patient_characteristics"),
        ("retain_device_identity", "retain_uids"),
    }
    for one, other in met - {("retain_longitudinal_modified_dates", "retain_longitudinal_full_dates")}:
        source = whole()
        seen = []
        for pair in ((one, other), (other, one)):
            policy = book(tmp_path, *pair)
            ds = read(clean_header(to_bytes(source), policy, pseudonyms(), SITE))
            seen.append([e for e in ds if e.tag != 0x00120063])
            for tag, row in rows().items():
                entry = DicomDictionary.get(tag)
                if entry and row[one] and row[other] and entry[4] not in STRICTER and source.get(tag):
                    became = what_became(source[tag], ds.get(tag))
                    assert verdict(row[one], became, source[tag].VR), (entry[4], row[one], became)
        assert seen[0] == seen[1]


def with_types() -> list[tuple[str, int, str]]:
    """SOP class, tag and Type of compound attributes at the top level of some common objects."""
    common = {"1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.1.2",
              "1.2.840.10008.5.1.4.1.1.128", "1.2.840.10008.5.1.4.1.1.481.5", "1.2.840.10008.5.1.4.1.1.2.1"}  # fmt: skip
    with (RULES / "iod_types.csv").open(newline="") as file:
        return [
            (sop_class, int(row["tag"], 16), row["top"])
            for row in csv.DictReader(file)
            for sop_class in row["sop_classes"].split()
            if row["top"] and sop_class in common
        ]


def test_compound_codes_leave_what_the_type_demands() -> None:
    policy = compile_policy(load_profile("basic"))
    judged = 0
    for sop_class in sorted({c for c, _, _ in with_types()}):
        source = whole()
        source.SOPClassUID = sop_class
        ds = read(clean_header(to_bytes(source), policy, pseudonyms(), SITE))
        for _, tag, iod_type in (t for t in with_types() if t[0] == sop_class):
            keyword = DicomDictionary[tag][4]
            before, code = source.get(tag), rows()[tag]["basic"]
            if before is None or keyword in OWN or keyword in STRICTER or keyword in IDENTITY:
                continue
            became = what_became(before, ds.get(tag))
            judged += 1
            assert verdict(code, became, before.VR), (sop_class, keyword, code, became)
            if iod_type == "3" and "X" in code.split("/"):
                assert became == "X", (sop_class, keyword)
            if iod_type.startswith("1") and before.VR != "SQ" and "D" in code.split("/"):
                assert became == "D", (sop_class, keyword)
            if iod_type.startswith("2"):
                assert became != "X" or before.VR == "SQ" or code == "X/D", (sop_class, keyword)
    assert judged > 60
