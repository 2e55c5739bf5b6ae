"""A chest CT: one axial series, a localizer before it, sometimes a coronal reformat, a dose screen after it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from curation.synth.case import Case, Draft, Frames, Made, finish, start_series
from curation.synth.chance import spread
from curation.synth.dialect import Device
from curation.synth.encoding import EXPLICIT, NATIVE
from curation.synth.identity import Planted
from curation.synth.lettering import burn
from curation.synth.phantoms import ct as phantom
from curation.synth.phantoms.canvas import Grid, Image
from curation.synth.phantoms.radiograph import film
from curation.synth.phantoms.thorax import Thorax, make_thorax
from curation.synth.planting import Oddities

CT_IMAGE, SECONDARY = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.7"
PADDING = -2000
AXIAL, CORONAL = ["1", "0", "0", "0", "1", "0"], ["1", "0", "0", "0", "0", "-1"]


def make(case: Case) -> Iterator[Made]:
    """All files of the study, series by series."""
    device, profile = case.dialect.ct, case.profile
    px = round(profile.ct_px * device.resolution / 8) * 8
    grid = Grid(px, px, phantom.FIELD_MM / px)
    thorax = make_thorax(case.anatomy(), case.person.disease, case.person.sex, case.study.growth)
    heights = (np.arange(profile.ct_slices) - (profile.ct_slices - 1) / 2) * device.spacing_mm
    volume = phantom.stack(thorax, case.stream("stack"), grid, heights, device.noise, device.thickness_mm)
    yield from _localizer(case, device, thorax)
    yield from _axial(case, device, grid, heights, volume)
    if spread(case.number, start=0.5) < profile.reformat_share:
        yield from _reformat(case, device, grid, volume, float(heights[-1]))
    yield from _dose(case, device)


def _start(case: Case, device: Device, number: int, description: str, kind: list[str]) -> Draft:
    draft = start_series(
        case,
        device,
        sop_class=CT_IMAGE,
        modality="CT",
        number=number,
        description=description,
        body_part="CHEST",
    )
    draft.plant("FrameOfReferenceUID", "uid", f"{case.study.uid}.0")
    draft.set(
        PositionReferenceIndicator="",
        ImageType=kind,
        PatientPosition="HFS",
        KVP="120",
        Exposure="95",
        AcquisitionNumber="1",
        PhotometricInterpretation="MONOCHROME2",
        RescaleSlope="1",
        RescaleIntercept="0" if device.signed else "-1024",
        RescaleType="HU",
        BitsStored=16 if device.signed else 12,
        WindowCenter=str(device.window[0]),
        WindowWidth=str(device.window[1]),
    )
    if device.contrast_agent:
        draft.set(ContrastBolusAgent=device.contrast_agent)
    return draft


def _stored(device: Device, hu: Image) -> Frames:
    if device.signed:
        return [np.round(hu).astype(np.int16)]
    return [np.clip(np.round(hu) + 1024, 0, 4095).astype(np.uint16)]


def _axial(case: Case, device: Device, grid: Grid, heights: np.ndarray, volume: Image) -> Iterator[Made]:
    draft = _start(case, device, 2, device.axial, ["ORIGINAL", "PRIMARY", "AXIAL"])
    draft.set(
        PixelSpacing=[f"{grid.spacing_mm:.5f}"] * 2,
        ImageOrientationPatient=AXIAL,
        SliceThickness=str(device.thickness_mm),
        SpacingBetweenSlices=str(device.spacing_mm),
        ConvolutionKernel=device.kernel,
    )
    corner = f"{float(grid.x[0, 0]):.3f}", f"{float(grid.y[0, 0]):.3f}"
    outside = grid.x**2 + grid.y**2 > (phantom.FIELD_MM / 2) ** 2
    if device.signed:
        draft.set(PixelPaddingValue=PADDING)
        draft.ds["PixelPaddingValue"].VR = "SS"

    def pictures() -> Iterator[tuple[dict[str, object], Frames]]:
        # the device numbers from head to feet: instance order is not slice order
        for k in range(len(heights) - 1, -1, -1):
            z = f"{heights[k]:.3f}"
            frames = _stored(device, volume[k])
            if device.signed:
                frames[0][outside] = PADDING
            yield {"ImagePositionPatient": [*corner, z], "SliceLocation": z}, frames

    yield from finish(case, device, draft, pictures())


def _localizer(case: Case, device: Device, thorax: Thorax) -> Iterator[Made]:
    px = max(64, case.profile.ct_px // 2)
    grid = Grid(px, px, 400 / px)
    draft = _start(case, device, 1, device.localizer, ["ORIGINAL", "PRIMARY", "LOCALIZER"])
    corner = float(grid.x[0, 0])
    elements: dict[str, object] = {
        "PixelSpacing": [f"{grid.spacing_mm:.5f}"] * 2,
        "ImageOrientationPatient": CORONAL,
        "ImagePositionPatient": [f"{corner:.3f}", "0", f"{-corner:.3f}"],
        "SliceThickness": "0.6",
    }
    image = film(thorax, case.stream("localizer"), grid, 1.5, 0.8) * 1100 - 500
    yield from finish(case, device, draft, iter([(elements, _stored(device, image))]))


def _reformat(case: Case, device: Device, grid: Grid, volume: Image, top: float) -> Iterator[Made]:
    draft = _start(case, device, 3, device.reformat, ["DERIVED", "SECONDARY", "REFORMATTED"])
    cuts = phantom.coronal(volume, grid.spacing_mm, device.spacing_mm, 3)
    gap = cuts[1][0] - cuts[0][0]
    draft.set(
        PixelSpacing=[f"{grid.spacing_mm:.5f}"] * 2,
        ImageOrientationPatient=CORONAL,
        SliceThickness=f"{gap:.3f}",
        ConvolutionKernel=device.kernel,
    )
    corner = f"{float(grid.x[0, 0]):.3f}"

    def pictures() -> Iterator[tuple[dict[str, object], Frames]]:
        for y, cut in cuts:
            yield {"ImagePositionPatient": [corner, f"{y:.3f}", f"{top:.3f}"]}, _stored(device, cut)

    yield from finish(case, device, draft, pictures())


def _dose(case: Case, device: Device) -> Iterator[Made]:
    """A screen with the dose and the patient's name, burned in: a secondary capture, no image of the body."""
    screen = replace(
        device, transfer_syntax=device.transfer_syntax if device.transfer_syntax in NATIVE else EXPLICIT
    )
    draft = start_series(
        case,
        screen,
        sop_class=SECONDARY,
        modality="CT",
        number=99,
        description=device.dose,
        body_part="CHEST",
    )
    draft.set(
        ConversionType="WSD",
        ImageType=["DERIVED", "SECONDARY", "OTHER", "DOSE"],
        PhotometricInterpretation="MONOCHROME2",
        BurnedInAnnotation="YES",
    )
    image = np.zeros((96, 200), np.uint8)
    name = f"{case.person.name.family} {case.person.name.given}"
    for line, text in enumerate((name, case.person.patient_id, "CTDIVOL 6.2", "DLP 210")):
        burn(image, 6 + 20 * line, 4, text, value=220)
    draft.planted += [
        Planted("pixels", "person_name", name),
        Planted("pixels", "patient_id", case.person.patient_id),
    ]
    # bytes behind the pixels may cost an object its release: here that costs a screen and not a study
    odd = Oddities(preamble=False, wrong_vr=False, padding=False, unregistered=False, surplus=True)
    oddities = odd if case.number % 3 == 0 else None
    yield from finish(case, screen, draft, iter([({}, [image])]), oddities=oddities)
