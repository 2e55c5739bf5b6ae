"""A breast ultrasound: one B-mode cine with a banner that names the patient in its pixels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from pydicom.dataset import Dataset

from curation.synth.case import Case, Draft, Frames, Made, finish, start_series
from curation.synth.encoding import JPEG_BASELINE
from curation.synth.identity import Planted, dicom_date
from curation.synth.lettering import burn
from curation.synth.phantoms.ultrasound import BANNER_SHARE, DEPTH_MM, cine

US_MULTIFRAME = "1.2.840.10008.5.1.4.1.1.3.1"


def make(case: Case) -> Iterator[Made]:
    """The one cine of the study."""
    device = case.dialect.us
    rows, columns = case.profile.us_px
    draft = start_series(
        case, device, sop_class=US_MULTIFRAME, modality="US", number=1,
        description=str(device.series), body_part="BREAST",
    )  # fmt: skip
    frames = _frames(case, draft)
    draft.set(
        ImageType=["ORIGINAL", "PRIMARY", "SMALL PARTS", "0001"],
        NumberOfFrames=len(frames),
        FrameTime="40",
        FrameIncrementPointer=0x00181063,
        PhotometricInterpretation=_photometric(case),
        BitsStored=8,
        LossyImageCompression="01" if device.transfer_syntax == JPEG_BASELINE else "00",
        SequenceOfUltrasoundRegions=[_region(rows, columns)],
    )
    if device.color:
        draft.set(PlanarConfiguration=0)
    if device.burned_in:
        draft.set(BurnedInAnnotation=device.burned_in)
    yield from finish(case, device, draft, iter([({}, frames)]))


def _photometric(case: Case) -> str:
    if not case.dialect.us.color:
        return "MONOCHROME2"
    return "YBR_FULL_422" if case.dialect.us.transfer_syntax == JPEG_BASELINE else "RGB"


def _frames(case: Case, draft: Draft) -> Frames:
    rows, columns = case.profile.us_px
    mass_mm = case.person.disease.mass_mm * case.study.growth
    grey = cine(case.stream("cine"), rows, columns, case.profile.us_frames, mass_mm, case.dialect.us.noise)
    name = f"{case.person.name.family} {case.person.name.given}"
    day = dicom_date(case.study.day)
    for frame in grey:
        burn(frame, 1, 2, f"{name} {case.person.patient_id} {day}", value=230, scale=2 if rows >= 400 else 1)
    draft.planted += [
        Planted("pixels", "person_name", name),
        Planted("pixels", "patient_id", case.person.patient_id),
    ]
    return [np.repeat(f[:, :, None], 3, 2) if case.dialect.us.color else f for f in grey]


def _region(rows: int, columns: int) -> Dataset:
    region = Dataset()
    top = int(rows * BANNER_SHARE)
    region.RegionSpatialFormat, region.RegionDataType, region.RegionFlags = 1, 1, 0
    region.RegionLocationMinX0, region.RegionLocationMinY0 = 0, top
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = columns - 1, rows - 1
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3  # cm
    region.PhysicalDeltaX = region.PhysicalDeltaY = DEPTH_MM / 10 / (rows - top)
    return region
