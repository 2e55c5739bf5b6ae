"""An object of any SOP class with every attribute of its IOD filled, from the module tables that highdicom carries."""

import warnings
from collections.abc import Iterator

from highdicom._standard_utils import get_iod_module_map, get_module_attribute_map, get_sop_class_iod_map
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from tests.curation.deid.objects import canary_date, canary_uid

TEXT = frozenset(["AE", "LO", "LT", "SH", "ST", "UC", "UR", "UT"])
BINARY = frozenset(["OB", "OW", "OF", "OD", "OL", "OV", "UN"])
FIXED = {
    "SpecificCharacterSet": "ISO_IR 100",
    "CodeValue": "121311",
    "CodingSchemeDesignator": "DCM",
    "PatientID": "Zq48213377",
    "BurnedInAnnotation": "NO",
    "SpecimenLabelInImage": "NO",
    "ImageType": ["ORIGINAL", "PRIMARY"],
    "Rows": 4,
    "Columns": 4,
    "BitsAllocated": 8,
    "BitsStored": 8,
    "HighBit": 7,
    "SamplesPerPixel": 1,
    "PixelRepresentation": 0,
    "NumberOfFrames": "1",
    "PhotometricInterpretation": "MONOCHROME2",
    "PatientAge": "040Y",
}
STEP = 11  # the test patient's offset is no multiple of it: no moved day is another planted one
PIXELS = frozenset(["PixelData", "FloatPixelData", "DoubleFloatPixelData", "PixelDataProviderURL"])
# bound to a tree of their own, or to other bytes: tested elsewhere
ELSEWHERE = frozenset(["ContentSequence", "LongCodeValue", "URNCodeValue", "TransferSyntaxUID"])
Path = tuple[str, ...]


def attributes_of(sop_class: str) -> dict[Path, str]:
    """Path to Type (1, 1C, 2, 2C, 3) of every attribute of the class's IOD; the strictest where modules differ."""
    found: dict[Path, str] = {}
    for module in get_iod_module_map()[get_sop_class_iod_map()[sop_class]]:
        for attribute in get_module_attribute_map().get(module["key"], []):
            keyword = attribute["keyword"]
            if tag_for_keyword(keyword) is None or keyword in ELSEWHERE | PIXELS:
                continue
            path = (*attribute["path"], keyword)
            if not ELSEWHERE & set(path):
                found[path] = min(found.get(path, "3"), attribute["type"])
    return found


def filled(sop_class: str) -> tuple[Dataset, dict[Path, str]]:
    """The object, and path to the value planted there: text, names, UIDs and dates, each like no other."""
    ds, planted = Dataset(), {}
    for n, path in enumerate(sorted(attributes_of(sop_class), key=len)):
        item = ds
        for keyword in path[:-1]:
            if keyword not in item:
                setattr(item, keyword, Sequence([Dataset()]))
            item = item.get(keyword)[0]
        value, is_secret = _value(path[-1], n)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            setattr(item, path[-1], value)
        vr = dictionary_VR(path[-1])
        if vr in ("US or SS", "US or SS or OW", "US or OW", "OB or OW"):
            item[path[-1]].VR = "OW" if "OW" in vr and isinstance(value, bytes) else "US"
        if is_secret:
            planted[path] = str(value)
    ds.SOPClassUID = sop_class
    return ds, {path: value for path, value in planted.items() if path != ("SOPClassUID",)}


def _value(keyword: str, n: int) -> tuple[object, bool]:
    if keyword in FIXED:
        return FIXED[keyword], keyword == "PatientID"
    vr = dictionary_VR(keyword)
    if vr == "SQ":
        return Sequence([Dataset()]), False
    if vr in TEXT:
        return f"Zq{n:05d}canary"[: 16 if vr in ("SH", "AE") else 64], True
    if vr == "PN":
        return f"Zq{n:05d}canary^Ida", True
    if vr == "UI":
        return canary_uid(n), True
    if vr in ("DA", "DT"):
        return canary_date(n * STEP), True
    if vr in BINARY or vr == "OB or OW":
        return bytes(8), False
    return {"TM": "101500", "AS": "040Y", "CS": "YES", "AT": 0x00080008}.get(vr, 1), False


def broken(ds: Dataset, sop_class: str) -> Iterator[tuple[Path, str]]:
    """Attributes of Type 1 that are missing or empty, and of Type 2 that are missing, where the item they belong to stands."""
    for path, kind in attributes_of(sop_class).items():
        if kind not in ("1", "2"):
            continue
        for item in _items(ds, path[:-1]):
            if path[-1] not in item:
                yield path, f"type {kind} missing"
            elif kind == "1" and item[path[-1]].value in (None, "", b"", [], Sequence()):
                yield path, "type 1 empty"


def _items(ds: Dataset, path: Path) -> list[Dataset]:
    items = [ds]
    for keyword in path:
        items = [below for item in items for below in item.get(keyword) or []]
    return items
