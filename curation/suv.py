"""PET activity as standardised uptake value by body weight.

What belongs here: the factor from a series' headers. What does not: the pixels (volume). Source: PS3.3 C.8.9.1 (PET
series), C.8.9.2 (isotope); the vendor-neutral part of QIBA's SUV computation (FDG-PET/CT profile, annex G).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from pydicom import Dataset

from curation.modality import Unreadable

UNIT = "SUV"
G_PER_KG = 1000.0
_HALF_DAY = timedelta(hours=12)


def suv_factor(headers: Sequence[Dataset]) -> float:
    """What to multiply rescaled values of a PET series by, to get SUV by body weight, in g/ml.

    Units GML are such values already; BQML need weight, dose, and for decay correction to the start of the scan also
    half-life and times. Raises Unreadable('no_suv') where something is missing or senseless, or the units are others
    (counts need a maker's private factor).
    """
    first = headers[0]
    units = _text(first, "Units")
    if units == "GML" and (_text(first, "SUVType") or "BW") == "BW":
        return 1.0
    if units != "BQML":
        raise _missing(f"Its units are {units or 'not stated'}")
    isotope = (first.get("RadiopharmaceuticalInformationSequence") or [Dataset()])[0]
    weight = _positive(first, "PatientWeight")
    dose = _positive(isotope, "RadionuclideTotalDose")
    correction = _text(first, "DecayCorrection")
    if correction == "ADMIN":
        return G_PER_KG * weight / dose
    if correction != "START":
        raise _missing("It is not corrected for decay")
    decay = _scan_start(headers) - _injected(first, isotope)
    if not timedelta(0) <= decay <= timedelta(days=2):
        raise _missing("The scan does not follow the injection")
    half_lives = decay.total_seconds() / _positive(isotope, "RadionuclideHalfLife")
    return float(G_PER_KG * weight / (dose * 2.0**-half_lives))


def _scan_start(headers: Sequence[Dataset]) -> datetime:
    """The series' time, which is that of the decay correction unless the series was made after the scan."""
    series = _moment(headers[0], "SeriesDate", "SeriesTime")
    acquired = [_moment(h, "AcquisitionDate", "AcquisitionTime") for h in headers]
    return min([series, *acquired])


def _injected(first: Dataset, isotope: Dataset) -> datetime:
    """When the dose was given; where only the hour is stated, the last such hour before the series."""
    if stated := _text(isotope, "RadiopharmaceuticalStartDateTime"):
        return _parsed(stated[:8], stated[8:].split("+")[0].split("-")[0])
    series = _moment(first, "SeriesDate", "SeriesTime")
    hour = _text(isotope, "RadiopharmaceuticalStartTime")
    found = _parsed(series.strftime("%Y%m%d"), hour)
    return found - timedelta(days=1) if found - series > _HALF_DAY else found


def _moment(dataset: Dataset, date: str, time: str) -> datetime:
    return _parsed(_text(dataset, date) or _text(dataset, "StudyDate"), _text(dataset, time))


def _parsed(date: str, time: str) -> datetime:
    whole, _, part = time.partition(".")
    try:
        found = datetime.strptime(date + whole.replace(":", "").ljust(6, "0"), "%Y%m%d%H%M%S")
        return found + timedelta(seconds=float(f"0.{part or 0}")) if whole else _raise()
    except ValueError:
        raise _missing("A time is missing") from None


def _raise() -> datetime:
    raise ValueError


def _positive(dataset: Dataset, keyword: str) -> float:
    value = dataset.get(keyword)
    try:
        number = float(value) if value is not None else 0.0
    except (TypeError, ValueError):
        number = 0.0
    if not 0 < number < 1e30:
        raise _missing(f"{keyword} is missing")
    return number


def _text(dataset: Dataset, keyword: str) -> str:
    value: Any = dataset.get(keyword)
    return "" if value is None else str(value).strip()


def _missing(words: str) -> Unreadable:
    return Unreadable(f"No SUV: {words}.", "no_suv")
