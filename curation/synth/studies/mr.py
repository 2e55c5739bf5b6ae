"""A brain MR: T1, T2, FLAIR and diffusion, each one axial series."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from curation.synth.case import Case, Frames, Made, finish, start_series
from curation.synth.phantoms.brain import FIELD_MM, Head, make_head, stack
from curation.synth.phantoms.canvas import Grid

MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
FULL_SCALE = 1500
GAP_MM = 6.0

SEQUENCES: Mapping[str, Mapping[str, object]] = {
    "t1": {"ScanningSequence": "SE", "EchoTime": "12", "RepetitionTime": "520", "EchoTrainLength": 1},
    "t2": {"ScanningSequence": "SE", "EchoTime": "98", "RepetitionTime": "4200", "EchoTrainLength": 15},
    "flair": {
        "ScanningSequence": ["SE", "IR"], "EchoTime": "110", "RepetitionTime": "9000",
        "InversionTime": "2500", "EchoTrainLength": 17,
    },
    "dwi": {
        "ScanningSequence": "EP", "EchoTime": "84", "RepetitionTime": "5100",
        "EchoTrainLength": 1, "DiffusionBValue": 1000.0,
    },
}  # fmt: skip
"""What the console sets for each sequence."""


def make(case: Case) -> Iterator[Made]:
    """All files of the study, series by series."""
    profile = case.profile
    grid = Grid(profile.mr_px, profile.mr_px, FIELD_MM / profile.mr_px)
    head = make_head(case.anatomy(), grid, case.person.disease.lesion_mm * case.study.growth)
    for number, sequence in enumerate(SEQUENCES, start=1):
        yield from _series(case, grid, head, number, sequence)


def _series(case: Case, grid: Grid, head: Head, number: int, sequence: str) -> Iterator[Made]:
    device, n = case.dialect.mr, case.profile.mr_slices
    assert not isinstance(device.series, str)
    draft = start_series(
        case, device, sop_class=MR_IMAGE, modality="MR", number=number,
        description=device.series[sequence], body_part="BRAIN",
    )  # fmt: skip
    draft.plant("FrameOfReferenceUID", "uid", f"{case.study.uid}.0")
    draft.set(
        ImageType=["ORIGINAL", "PRIMARY", "DIFFUSION"] if sequence == "dwi" else ["ORIGINAL", "PRIMARY", "M"],
        PositionReferenceIndicator="",
        PatientPosition="HFS",
        SequenceVariant="SK",
        ScanOptions="",
        MRAcquisitionType="2D",
        MagneticFieldStrength=str(device.field_T),
        FlipAngle="90",
        PhotometricInterpretation="MONOCHROME2",
        BitsStored=12,
        PixelSpacing=[f"{grid.spacing_mm:.5f}"] * 2,
        ImageOrientationPatient=["1", "0", "0", "0", "1", "0"],
        SliceThickness="5",
        SpacingBetweenSlices=str(GAP_MM),
        WindowCenter=str(FULL_SCALE // 2),
        WindowWidth=str(FULL_SCALE),
        **SEQUENCES[sequence],
    )
    if sequence == "dwi" and device.private_creator == "SIEMENS MR HEADER":
        # on the standard's own list of safe private elements (PS3.15 E.3.10): may be kept
        draft.ds.private_block(0x0019, device.private_creator).add_new(0x0C, "IS", "1000")
    heights = (np.arange(n) - (n - 1) / 2) * GAP_MM
    volume = stack(head, case.stream(sequence), grid, heights, sequence, device.noise)
    corner = f"{float(grid.x[0, 0]):.3f}", f"{float(grid.y[0, 0]):.3f}"

    def pictures() -> Iterator[tuple[dict[str, object], Frames]]:
        for k, z in enumerate(heights):
            stored = np.clip(np.round(volume[k] * FULL_SCALE), 0, 4095).astype(np.uint16)
            place = [*corner, f"{z:.3f}"]
            yield {"ImagePositionPatient": place, "SliceLocation": place[2]}, [stored]

    yield from finish(case, device, draft, pictures())
