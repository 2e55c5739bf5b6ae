"""A chest film: Computed Radiography or Digital X-Ray, one object."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from curation.synth.case import Case, Draft, Frames, Made, finish, start_series
from curation.synth.phantoms.canvas import Grid
from curation.synth.phantoms.radiograph import FIELD_MM, film
from curation.synth.phantoms.thorax import make_thorax
from curation.synth.planting import Oddities

SOP_CLASS = {"CR": "1.2.840.10008.5.1.4.1.1.1", "DX": "1.2.840.10008.5.1.4.1.1.1.1"}


def make(case: Case) -> Iterator[Made]:
    """The one film of the study; every fourth carries identities in odd places."""
    device = case.dialect.radiograph
    draft = start_series(
        case, device, sop_class=SOP_CLASS[device.sop], modality=device.sop, number=1,
        description=str(device.series), body_part="CHEST",
    )  # fmt: skip
    px = round(case.profile.radiograph_px * device.resolution / 8) * 8
    grid = Grid(px, px, FIELD_MM / px)
    _describe(draft, case, grid)
    odd = case.number % 4 == 1
    oddities = Oddities(overlay=case.number % 8 == 1) if odd else None
    yield from finish(case, device, draft, iter([({}, _picture(case, grid))]), oddities=oddities)


def _describe(draft: Draft, case: Case, grid: Grid) -> None:
    device = case.dialect.radiograph
    spacing = [f"{grid.spacing_mm:.5f}"] * 2
    full = 2**device.bits - 1
    frail = case.person.age_years(case.study.day) > 80
    draft.set(
        ImageType=["ORIGINAL", "PRIMARY"],
        Rows=grid.rows,
        Columns=grid.columns,
        ViewPosition="AP" if frail else "PA",
        PatientOrientation=["L", "F"],
        KVP="120",
        Exposure="3",
        ImagerPixelSpacing=spacing,
        PhotometricInterpretation=device.photometric,
        BitsStored=device.bits,
        WindowCenter=str(full // 2),
        WindowWidth=str(round(full * device.window_habit)),
        BurnedInAnnotation="NO",
        LossyImageCompression="00",
    )
    if device.sop == "DX":
        draft.set(
            PresentationIntentType="FOR PRESENTATION",
            AnatomicRegionSequence=[],
            ImageLaterality="U",
            PixelIntensityRelationship="LOG",
            PixelIntensityRelationshipSign=-1 if device.photometric == "MONOCHROME2" else 1,
            RescaleIntercept="0",
            RescaleSlope="1",
            RescaleType="US",
            PresentationLUTShape="IDENTITY" if device.photometric == "MONOCHROME2" else "INVERSE",
            DetectorType="SCINTILLATOR",
            AcquisitionContextSequence=[],
        )


def _picture(case: Case, grid: Grid) -> Frames:
    device = case.dialect.radiograph
    thorax = make_thorax(case.anatomy(), case.person.disease, case.person.sex, case.study.growth)
    image = film(thorax, case.stream("film"), grid, device.noise, device.contrast)
    if device.photometric == "MONOCHROME1":
        image = 1 - image
    return [np.round(image * (2**device.bits - 1)).astype(np.uint16)]
