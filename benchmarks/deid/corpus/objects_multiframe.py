"""Multi-frame objects with functional groups: enhanced CT and MR, tomosynthesis, whole slide, segmentation, parametric map.

What belongs here: these types. What does not: classic images (objects_image) and documents (objects_document).
"""

from __future__ import annotations

import numpy as np
from pydicom.dataset import Dataset

from benchmarks.deid.corpus.canary import Mint
from benchmarks.deid.corpus.common import acquired, code, frame_of_reference, image, reference
from benchmarks.deid.corpus.draft import Draft

CLASSES = {
    "enhanced CT": ("1.2.840.10008.5.1.4.1.1.2.1", "CT"),
    "enhanced MR": ("1.2.840.10008.5.1.4.1.1.4.1", "MR"),
    "DBT": ("1.2.840.10008.5.1.4.1.1.13.1.3", "MG"),
    "WSI": ("1.2.840.10008.5.1.4.1.1.77.1.6", "SM"),
    "SEG": ("1.2.840.10008.5.1.4.1.1.66.4", "SEG"),
    "PM": ("1.2.840.10008.5.1.4.1.1.30", "MR"),
}
N_FRAMES = 4
PER_FRAME, SHARED = 0x52009230, 0x52009229


def _item(**values: object) -> Dataset:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def _dimensions(draft: Draft, mint: Mint) -> None:
    ds = draft.ds
    uid = mint.uid()
    ds.DimensionOrganizationSequence, ds.DimensionIndexSequence = [Dataset()], [Dataset()]
    organization, index = ds.DimensionOrganizationSequence[0], ds.DimensionIndexSequence[0]
    for item, tag in ((organization, 0x00209221), (index, 0x00209222)):
        draft.plant(0x00209164, "UI", uid, "nested", into=item, steps=((ds[tag].tag, 0),))
    index.DimensionIndexPointer, index.FunctionalGroupPointer = 0x00209057, 0x00209111


def _groups(draft: Draft, mint: Mint, frame_type: str) -> None:
    """Shared and per-frame groups; each frame has its days, a comment of somebody and a position."""
    ds = draft.ds
    shared = _item(
        PixelMeasuresSequence=[_item(PixelSpacing=[0.7, 0.7], SliceThickness="3")],
        PlaneOrientationSequence=[_item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
        PixelValueTransformationSequence=[_item(RescaleIntercept="0", RescaleSlope="1", RescaleType="US")],
    )
    setattr(shared, frame_type, [_item(FrameType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"])])
    ds.SharedFunctionalGroupsSequence = [shared]
    frames = []
    for n in range(N_FRAMES):
        content = _item(
            FrameAcquisitionNumber=1, DimensionIndexValues=[n + 1], StackID="1", InStackPositionNumber=n + 1
        )
        frames.append(
            _item(
                FrameContentSequence=[content],
                PlanePositionSequence=[_item(ImagePositionPatient=[0, 0, 3.0 * n])],
            )
        )
    ds.PerFrameFunctionalGroupsSequence = frames
    for n, frame in enumerate(frames):
        content = frame.FrameContentSequence[0]
        steps = ((ds[PER_FRAME].tag, n), (frame[0x00209111].tag, 0))
        day = draft.study.day
        for tag in (0x00189074, 0x00189151):
            draft.plant(tag, "DT", day, "nested", value=f"{day.text}10210{n}", into=content, steps=steps)
        draft.plant(0x00209158, "LT", mint.spoken_name(), "nested", into=content, steps=steps)


def enhanced_ct(draft: Draft, mint: Mint) -> None:
    _enhanced(draft, mint, "CT Thorax", "CHEST", "CTImageFrameTypeSequence")
    shared = draft.ds.SharedFunctionalGroupsSequence[0]
    shared.CTExposureSequence = [
        _item(ExposureTimeInms=500.0, XRayTubeCurrentInmA=210.0, ExposureInmAs=105.0, CTDIvol=7.3)
    ]
    shared.CTReconstructionSequence = [
        _item(ConvolutionKernel="B31f", ReconstructionAlgorithm="FILTER_BACK_PROJ")
    ]
    shared.CTXRayDetailsSequence = [_item(KVP="120", FocalSpots="1.2", FilterMaterial="ALUMINUM")]


def enhanced_mr(draft: Draft, mint: Mint) -> None:
    _enhanced(draft, mint, "T1 AX", "BRAIN", "MRImageFrameTypeSequence")
    ds = draft.ds
    ds.MagneticFieldStrength, ds.ResonantNucleus, ds.PulseSequenceName, ds.ContentQualification = (
        3.0,
        "1H",
        "*fl2d1",
        "RESEARCH",
    )
    shared = ds.SharedFunctionalGroupsSequence[0]
    shared.MRTimingAndRelatedParametersSequence = [
        _item(RepetitionTime="500", FlipAngle="70", EchoTrainLength=1)
    ]
    shared.MREchoSequence = [_item(EffectiveEchoTime=9.1)]
    shared.MRDiffusionSequence = [
        _item(
            DiffusionBValue=1000.0,
            DiffusionDirectionality="DIRECTIONAL",
            DiffusionGradientDirectionSequence=[_item(DiffusionGradientOrientation=[0.0, 0.6, 0.8])],
        )
    ]


def _enhanced(draft: Draft, mint: Mint, description: str, body_part: str, frame_type: str) -> None:
    ds = draft.ds
    acquired(draft, mint, body_part, description)
    ds.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    frame_of_reference(draft)
    ds.PixelPresentation, ds.VolumetricProperties, ds.VolumeBasedCalculationTechnique = (
        "MONOCHROME",
        "VOLUME",
        "NONE",
    )
    ds.BurnedInAnnotation, ds.LossyImageCompression, ds.PresentationLUTShape = "NO", "00", "IDENTITY"
    ds.AcquisitionContextSequence = []
    _dimensions(draft, mint)
    _groups(draft, mint, frame_type)
    image(draft, mint, n_frames=N_FRAMES)


def tomosynthesis(draft: Draft, mint: Mint) -> None:
    _enhanced(draft, mint, "DBT MLO", "BREAST", "XRay3DFrameTypeSequence")
    draft.ds.SharedFunctionalGroupsSequence[0].FrameAnatomySequence = [
        _item(FrameLaterality="L", AnatomicRegionSequence=[code("76752008", "SCT", "Breast")])
    ]


def whole_slide(draft: Draft, mint: Mint) -> None:
    ds = draft.ds
    ds.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    frame_of_reference(draft)
    day = draft.study.day
    draft.plant("AcquisitionDateTime", None, day, "header", value=f"{day.text}102105")
    draft.plant("ContainerIdentifier", None, mint.number(), "header")
    specimen = Dataset()
    ds.SpecimenDescriptionSequence = [specimen]
    steps = ((ds[0x00400560].tag, 0),)
    draft.plant(0x00400551, "LO", mint.number(), "nested", into=specimen, steps=steps)
    draft.plant(0x00400554, "UI", mint.uid(), "nested", into=specimen, steps=steps)
    draft.plant(0x00400602, "UT", mint.spoken_name(), "nested", into=specimen, steps=steps)
    specimen.SpecimenPreparationSequence, specimen.IssuerOfTheSpecimenIdentifierSequence = [], []
    ds.IssuerOfTheContainerIdentifierSequence = []
    ds.ContainerTypeCodeSequence = [code("433466003", "SCT", "Microscope slide")]
    ds.AcquisitionContextSequence, ds.VolumetricProperties, ds.SpecimenLabelInImage = [], "VOLUME", "NO"
    ds.ImagedVolumeWidth, ds.ImagedVolumeHeight, ds.ImagedVolumeDepth = 10.0, 10.0, 0.001
    ds.TotalPixelMatrixColumns = ds.TotalPixelMatrixRows = 128
    ds.TotalPixelMatrixOriginSequence = [
        _item(XOffsetInSlideCoordinateSystem="20", YOffsetInSlideCoordinateSystem="40")
    ]
    ds.ImageOrientationSlide, ds.FocusMethod, ds.ExtendedDepthOfField = [0, -1, 0, -1, 0, 0], "AUTO", "NO"
    ds.NumberOfOpticalPaths, ds.TotalPixelMatrixFocalPlanes = 1, 1
    ds.OpticalPathSequence = [
        _item(
            OpticalPathIdentifier="1",
            ObjectiveLensPower="20",
            IlluminationTypeCodeSequence=[code("111744", "DCM", "Brightfield illumination")],
        )
    ]
    ds.BurnedInAnnotation, ds.LossyImageCompression, ds.DimensionOrganizationType = "NO", "00", "TILED_FULL"
    _dimensions(draft, mint)
    ds.SharedFunctionalGroupsSequence = [
        _item(PixelMeasuresSequence=[_item(PixelSpacing=[0.0005, 0.0005], SliceThickness="0.001")])
    ]
    image(draft, mint, 64, bits=8, n_frames=N_FRAMES, color=True)


def segmentation(draft: Draft, mint: Mint) -> None:
    ds = draft.ds
    frame_of_reference(draft)
    ds.ImageType, ds.ContentLabel, ds.SegmentationType = ["DERIVED", "PRIMARY"], "SEG", "BINARY"
    draft.plant("ContentDescription", None, mint.spoken_name(), "descriptor")
    draft.plant("ContentCreatorName", None, mint.name(), "header")
    segment = _item(SegmentNumber=1, SegmentAlgorithmType="MANUAL")
    segment.SegmentedPropertyCategoryCodeSequence = [code("123037004", "SCT", "Anatomical structure")]
    segment.SegmentedPropertyTypeCodeSequence = [code("39607008", "SCT", "Lung")]
    ds.SegmentSequence = [segment]
    steps = ((ds[0x00620002].tag, 0),)
    who = mint.spoken_name()
    draft.plant(0x00620005, "LO", who, "nested", value=f"Lung {who.text}", into=segment, steps=steps)
    draft.plant(0x00620006, "ST", mint.spoken_name(), "nested", into=segment, steps=steps)
    _dimensions(draft, mint)
    _groups(draft, mint, "MRImageFrameTypeSequence")
    del ds.SharedFunctionalGroupsSequence[0].MRImageFrameTypeSequence
    del ds.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence
    for frame in ds.PerFrameFunctionalGroupsSequence:
        frame.SegmentIdentificationSequence = [_item(ReferencedSegmentNumber=1)]
    _referenced_series(draft)
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.Rows, ds.Columns = 1, "MONOCHROME2", 64, 64
    ds.BitsAllocated = ds.BitsStored = 1
    ds.HighBit = ds.PixelRepresentation = 0
    ds.NumberOfFrames, ds.LossyImageCompression = N_FRAMES, "00"
    bits = np.random.default_rng(mint.random.getrandbits(32)).random((N_FRAMES, 64, 64)) > 0.5
    ds.PixelData = np.packbits(bits.ravel(), bitorder="little").tobytes()
    ds["PixelData"].VR = "OB"


def _referenced_series(draft: Draft) -> None:
    series = Dataset()
    draft.ds.ReferencedSeriesSequence = [series]
    first = next(
        (i for i in draft.study.instances if i[1] != draft.ds.SOPInstanceUID), draft.study.instances[0]
    )
    series.ReferencedInstanceSequence = [reference(*first)]
    series.SeriesInstanceUID = next(iter(draft.study.series.values())).text


def parametric_map(draft: Draft, mint: Mint) -> None:
    ds = draft.ds
    frame_of_reference(draft)
    ds.ImageType, ds.ContentLabel, ds.ContentQualification = (
        ["DERIVED", "PRIMARY", "ADC", "NONE"],
        "ADC",
        "RESEARCH",
    )
    draft.plant("ContentDescription", None, mint.spoken_name(), "descriptor")
    draft.plant("ContentCreatorName", None, mint.name(), "header")
    ds.BurnedInAnnotation, ds.LossyImageCompression, ds.PresentationLUTShape = "NO", "00", "IDENTITY"
    ds.AcquisitionContextSequence = []
    _dimensions(draft, mint)
    _groups(draft, mint, "ParametricMapFrameTypeSequence")
    shared = ds.SharedFunctionalGroupsSequence[0]
    del shared.PixelValueTransformationSequence
    mapping = _item(
        RealWorldValueFirstValueMapped=0, RealWorldValueLastValueMapped=4095, RealWorldValueIntercept=0.0,
        RealWorldValueSlope=1.0, MeasurementUnitsCodeSequence=[code("um2/s", "UCUM", "um2/s")], LUTLabel="ADC",
    )  # fmt: skip
    shared.RealWorldValueMappingSequence = [mapping]
    mapping[0x00409216].VR = mapping[0x00409211].VR = "US"
    steps = ((ds[SHARED].tag, 0), (shared[0x00409096].tag, 0))
    draft.plant(0x00283003, "LO", mint.spoken_name(), "nested", into=mapping, steps=steps)
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.Rows, ds.Columns = 1, "MONOCHROME2", 32, 32
    ds.BitsAllocated, ds.NumberOfFrames = 32, N_FRAMES
    values = np.random.default_rng(mint.random.getrandbits(32)).random((N_FRAMES, 32, 32), np.float32)
    ds.FloatPixelData = values.tobytes()


BUILDERS = {
    "enhanced CT": enhanced_ct, "enhanced MR": enhanced_mr, "DBT": tomosynthesis, "WSI": whole_slide,
    "SEG": segmentation, "PM": parametric_map,
}  # fmt: skip
