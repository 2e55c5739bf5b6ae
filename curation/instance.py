"""What the row of one instance says, read from its clean header.

What belongs here: how a DICOM attribute becomes a column. What does not: cleaning (deid) and what a series is (modality).
The columns themselves, with the DICOM keyword each stems from, stand in records.py.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from datetime import date
from io import BytesIO
from typing import Any
from uuid import UUID

from pydicom import Dataset
from pydicom.filereader import read_dataset

from curation.bitstream import stored_photometric
from curation.deid.faces import may_show_face
from curation.deid.header import Clean
from curation.modality import body_part_of, maker_of
from curation.records import Instance

DAYS_PER_YEAR = 365.25
OLDEST_AGE = 90.0


def describe(clean: Clean, frame_hashes: Sequence[bytes], **stamps: Any) -> Instance:
    """The row of one object: a column that names a DICOM keyword takes that keyword's value.

    `frame_hashes` are the SHA-256 of the frames in order; `stamps` the columns that are not in the header (burned_in_regions,
    source_digest, bytes, policy_version, key_id, site, delivery, code_version).
    """
    header: Dataset = read_dataset(BytesIO(clean.header), is_implicit_VR=False, is_little_endian=True)
    facts: dict[str, Any] = {}
    for f in fields(Instance):
        if keyword := f.metadata["dicom"]:
            read: Callable[[Any], Any] = READERS.get(f.name, _text)
            facts[f.name] = read(_find(header, keyword))
    facts |= _derived(header, facts)
    facts |= {
        "instance_id": clean.instance_id,
        "series_id": clean.series_id,
        "study_id": clean.study_id,
        "patient_id": clean.patient_id,
        "accession_id": clean.accession_id,
        "sop_class": clean.sop_class,
        "transfer_syntax": clean.transfer_syntax,
        "photometric": stored_photometric(clean.transfer_syntax, facts["photometric"] or "") or None,
        "n_frames": len(frame_hashes),
        "header": clean.header,
        "pixel_sha256": hashlib.sha256(b"".join(frame_hashes)).digest() if frame_hashes else None,
    }
    return Instance(**facts, **stamps)


def _derived(header: Dataset, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Columns that take more than one attribute."""
    words = [_text(_find(header, k)) or "" for k in ("StudyDescription", "SeriesDescription", "ProtocolName")]
    spacing = _floats(_find(header, "PixelSpacing")) or _floats(_find(header, "ImagerPixelSpacing")) or []
    born = _date(_find(header, "PatientBirthDate"))
    return {
        "modality": facts["modality"] or "OT",
        "body_part": body_part_of(facts["body_part"], *words),
        "manufacturer": maker_of(facts["manufacturer"]),
        "laterality": facts["laterality"] or _text(_find(header, "Laterality")),
        "image_type": facts["image_type"] or [],
        "pixel_spacing_row_mm": spacing[0] if len(spacing) == 2 else None,
        "pixel_spacing_column_mm": spacing[1] if len(spacing) == 2 else None,
        "birth_year": born.year if born else None,
        "age_years": _age(_text(_find(header, "PatientAge")), born, facts["study_date"]),
        "contrast": bool(_text(_find(header, "ContrastBolusAgent"))),
        "may_show_face": may_show_face(header) and header.get("RecognizableVisualFeatures") != "NO",
        "frame_of_reference_id": _uid(_find(header, "FrameOfReferenceUID")),
    }


def _find(header: Dataset, keyword: str) -> Any:
    """An attribute's value: at the top, else in the shared functional groups, else in those of the first frame."""
    if keyword in header:
        return header.get(keyword)
    for groups in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for item in (header.get(groups) or [])[:1]:
            for element in item:
                if element.VR == "SQ" and element.value and keyword in element.value[0]:
                    return element.value[0].get(keyword)
    return None


def _text(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) and hasattr(value, "__iter__"):
        value = "\\".join(map(str, value))
    return str(value).strip() or None


def _strings(value: Any) -> list[str] | None:
    text = _text(value)
    return [part.strip() for part in text.split("\\")] if text else None


def _floats(value: Any) -> list[float] | None:
    numbers = [to_number(part) for part in _strings(value) or []]
    present = [n for n in numbers if n is not None]
    return present if present and len(present) == len(numbers) else None


def to_number(text: str) -> float | None:
    """A finite number, or None where the text is none."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) < 1e300 else None


def _float(value: Any) -> float | None:
    numbers = _floats(value)
    return numbers[0] if numbers else None


def _int(value: Any) -> int | None:
    number = _float(value)
    return int(number) if number is not None and abs(number) < 2**31 else None


def _date(value: Any) -> date | None:
    text = _text(value)
    if not text or not re.fullmatch(r"\d{8}.*", text):
        return None
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:8]))
    except ValueError:
        return None


def _uid(value: Any) -> UUID | None:
    text = _text(value)
    number = text.removeprefix("2.25.") if text else ""
    return UUID(int=int(number)) if number.isdecimal() and int(number) < 1 << 128 else None


def _age(stated: str | None, born: date | None, studied: date | None) -> float | None:
    """Age in years, 90 and over as 90: as stated (PS3.5 6.2 AS), else from birth and study, shifted by the same offset."""
    if stated and (match := re.fullmatch(r"(\d{1,3})([DWMY])", stated.upper())):
        per_year = {"D": DAYS_PER_YEAR, "W": DAYS_PER_YEAR / 7, "M": 12.0, "Y": 1.0}[match[2]]
        return min(round(int(match[1]) / per_year, 3), OLDEST_AGE)
    if born and studied and studied >= born:
        return min(round((studied - born).days / DAYS_PER_YEAR, 3), OLDEST_AGE)
    return None


READERS: Mapping[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("study_date", "acquisition_date"), _date),
    **dict.fromkeys(("instance_number", "rows_px", "columns_px", "samples_per_pixel", "bits_stored"), _int),
    **dict.fromkeys(("image_type", "scanning_sequence"), _strings),
    **dict.fromkeys(("window_center", "window_width", "image_position", "image_orientation"), _floats),
    **dict.fromkeys(
        (
            "rescale_slope",
            "rescale_intercept",
            "slice_thickness_mm",
            "spacing_between_slices_mm",
            "kvp",
            "exposure_mas",
            "echo_time_ms",
            "repetition_time_ms",
            "inversion_time_ms",
            "flip_angle_deg",
            "b_value",
            "frame_time_ms",
        ),
        _float,
    ),
    "is_signed": lambda value: None if value is None else _int(value) == 1,
    "was_lossy": lambda value: None if value is None else _text(value) == "01",
    "sex": lambda value: text if (text := (_text(value) or "").upper()) in ("F", "M", "O") else None,
}
"""How a column is read from its attribute; text where nothing else is said."""
