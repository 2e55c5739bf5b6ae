"""Single-frame and simple multi-frame images: CT, MR, US, CR, DX, MG, XA, PT, NM, SC.

What belongs here: attributes and pixels of these types, realistic and conformant. What does not: functional groups
(objects_multiframe) and planting beyond the common header (places).
"""

from __future__ import annotations

from pydicom.dataset import Dataset

from benchmarks.deid.corpus.canary import Mint
from benchmarks.deid.corpus.common import acquired, code, frame_of_reference, image
from benchmarks.deid.corpus.draft import Burned, Draft, private_block
from curation.synth.lettering import burn, ink

CLASSES = {
    "CT": ("1.2.840.10008.5.1.4.1.1.2", "CT"),
    "MR": ("1.2.840.10008.5.1.4.1.1.4", "MR"),
    "US": ("1.2.840.10008.5.1.4.1.1.6.1", "US"),
    "US cine": ("1.2.840.10008.5.1.4.1.1.3.1", "US"),
    "CR": ("1.2.840.10008.5.1.4.1.1.1", "CR"),
    "DX": ("1.2.840.10008.5.1.4.1.1.1.1", "DX"),
    "MG": ("1.2.840.10008.5.1.4.1.1.1.2", "MG"),
    "XA": ("1.2.840.10008.5.1.4.1.1.12.1", "XA"),
    "PT": ("1.2.840.10008.5.1.4.1.1.128", "PT"),
    "NM": ("1.2.840.10008.5.1.4.1.1.20", "NM"),
    "SC": ("1.2.840.10008.5.1.4.1.1.7", "OT"),
}


def _geometry(draft: Draft) -> None:
    ds = draft.ds
    frame_of_reference(draft)
    ds.ImagePositionPatient, ds.ImageOrientationPatient = (
        [-170.5, -170.5, 2.5 * int(ds.InstanceNumber)],
        [1, 0, 0, 0, 1, 0],
    )
    ds.PixelSpacing, ds.SliceThickness, ds.SliceLocation = [0.666, 0.666], "2.5", 2.5 * int(ds.InstanceNumber)
    ds.PatientPosition = "HFS"


def ct(draft: Draft, mint: Mint) -> None:
    ds = draft.ds
    acquired(draft, mint, "CHEST", "CT Thorax")
    _geometry(draft)
    ds.KVP, ds.XRayTubeCurrent, ds.ExposureTime, ds.Exposure, ds.FilterType = "120", 210, 500, 105, "WEDGE"
    ds.ConvolutionKernel, ds.ReconstructionDiameter, ds.DataCollectionDiameter = "B31f", "341", "500"
    ds.GantryDetectorTilt, ds.TableHeight, ds.RotationDirection = "0", "151", "CW"
    ds.SingleCollimationWidth, ds.TotalCollimationWidth, ds.SpiralPitchFactor = 0.6, 38.4, 1.2
    ds.CTDIvol, ds.ScanOptions, ds.FocalSpots = 7.31, "HELIX", "1.2"
    ds.DistanceSourceToDetector, ds.DistanceSourceToPatient, ds.GeneratorPower = "1040", "570", 25
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "-1024", "1", "HU"
    ds.WindowCenter, ds.WindowWidth = ["40", "-600"], ["400", "1200"]
    image(draft, mint)


def mr(draft: Draft, mint: Mint) -> None:
    ds = draft.ds
    acquired(draft, mint, "BRAIN", "T2 AX FLAIR")
    _geometry(draft)
    ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions = ["SE", "IR"], ["SK", "SP"], "FS"
    ds.MRAcquisitionType, ds.RepetitionTime, ds.EchoTime, ds.InversionTime = "2D", "9000", "93", "2500"
    ds.EchoTrainLength, ds.EchoNumbers, ds.FlipAngle, ds.NumberOfAverages = 16, 1, "150", "1"
    ds.MagneticFieldStrength, ds.ImagingFrequency, ds.ImagedNucleus = "3", "123.25", "1H"
    ds.PixelBandwidth, ds.SpacingBetweenSlices, ds.PercentSampling = "285", "3.3", "75"
    ds.PercentPhaseFieldOfView, ds.AcquisitionMatrix, ds.InPlanePhaseEncodingDirection = (
        "87.5",
        [0, 256, 180, 0],
        "ROW",
    )
    ds.NumberOfPhaseEncodingSteps, ds.VariableFlipAngleFlag, ds.SAR = 180, "N", "0.61"
    ds.ReceiveCoilName, ds.TransmitCoilName, ds.SequenceName = "HEAD_32", "BODY", "*tir2d1_16"
    ds.WindowCenter, ds.WindowWidth = "700", "1500"
    # b-values of private elements that Table E.3.10-1 calls safe
    if draft.site.maker == "SIEMENS":
        ds.add_new(private_block(ds, 0x0019, "SIEMENS MR HEADER") | 0x0C, "IS", "1000")
    elif draft.site.maker == "Philips":
        ds.add_new(private_block(ds, 0x2001, "Philips Imaging DD 001") | 0x03, "FL", 1000.0)
    image(draft, mint)


def us(draft: Draft, mint: Mint) -> None:
    _us(draft, mint, 1)


def us_cine(draft: Draft, mint: Mint) -> None:
    _us(draft, mint, 4)
    draft.ds.FrameTime, draft.ds.CineRate, draft.ds.FrameIncrementPointer = "33.3", 30, 0x00181063


def _us(draft: Draft, mint: Mint, n_frames: int) -> None:
    ds = draft.ds
    acquired(draft, mint, "ABDOMEN", "US Abdomen")
    ds.ImageType = ["ORIGINAL", "PRIMARY", "ABDOMINAL", "0001"]
    ds.LossyImageCompression, ds.TransducerData, ds.UltrasoundColorDataPresent = "00", "C5-1", 0
    region = Dataset()
    region.RegionSpatialFormat, region.RegionDataType, region.RegionFlags = 1, 1, 0
    # the sound field begins below the band where the machine writes who is examined
    (
        region.RegionLocationMinX0,
        region.RegionLocationMinY0,
        region.RegionLocationMaxX1,
        region.RegionLocationMaxY1,
    ) = 0, 32, 191, 191
    region.PhysicalUnitsXDirection, region.PhysicalUnitsYDirection = 3, 3
    region.PhysicalDeltaX, region.PhysicalDeltaY = 0.05, 0.05
    ds.SequenceOfUltrasoundRegions = [region]
    image(draft, mint, 192, bits=8, n_frames=n_frames)
    ds.BurnedInAnnotation = "YES"
    burn_in(draft, mint.name().text.split("^")[0], 8, 8)


def burn_in(draft: Draft, text: str, row: int, column: int) -> None:
    """Write the text into all frames and the key."""
    for frame in draft.frames:
        top = 255 if frame.dtype.itemsize == 1 else 4095
        for plane in (frame,) if frame.ndim == 2 else tuple(frame[..., n] for n in range(3)):
            burn(plane, row, column, text, top)
    height, width = ink(text).shape
    draft.burned.append(Burned(text, (row, column, height, width)))


def _projection(draft: Draft, mint: Mint, body_part: str, description: str) -> None:
    ds = draft.ds
    acquired(draft, mint, body_part, description)
    ds.ImageType, ds.KVP, ds.ExposureTime, ds.Exposure, ds.XRayTubeCurrent = (
        ["ORIGINAL", "PRIMARY"],
        "110",
        8,
        2,
        250,
    )
    ds.DistanceSourceToDetector, ds.DistanceSourceToPatient, ds.FocalSpots = "1800", "1700", "0.6"
    ds.ViewPosition, ds.ImagerPixelSpacing, ds.RelativeXRayExposure = "PA", [0.143, 0.143], 320
    ds.WindowCenter, ds.WindowWidth, ds.PatientOrientation = "2048", "4096", ["L", "F"]
    image(draft, mint)


def cr(draft: Draft, mint: Mint) -> None:
    _projection(draft, mint, "CHEST", "Chest PA")
    draft.ds.Sensitivity, draft.ds.PlateType = "200", "IP"


def dx(draft: Draft, mint: Mint) -> None:
    ds = draft.ds
    _projection(draft, mint, "KNEE", "Knee AP lateral")
    ds.PresentationIntentType, ds.PixelIntensityRelationship, ds.PixelIntensityRelationshipSign = (
        "FOR PRESENTATION",
        "LOG",
        -1,
    )
    ds.ImageLaterality, ds.DetectorType, ds.Grid, ds.BurnedInAnnotation = (
        "L",
        "SCINTILLATOR",
        "PARALLEL",
        "NO",
    )
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType, ds.PresentationLUTShape = "0", "1", "US", "IDENTITY"
    ds.LossyImageCompression = "00"
    ds.AnatomicRegionSequence = [code("72696002", "SCT", "Knee region")]
    ds.AcquisitionContextSequence = []


def mg(draft: Draft, mint: Mint) -> None:
    ds = draft.ds
    dx(draft, mint)
    ds.BodyPartExamined, ds.PositionerType, ds.ViewPosition = "BREAST", "MAMMOGRAPHIC", "MLO"
    ds.CompressionForce, ds.BodyPartThickness, ds.OrganDose, ds.OrganExposed = "98", "52", "0.0131", "BREAST"
    ds.AnodeTargetMaterial, ds.FilterMaterial, ds.BreastImplantPresent = "TUNGSTEN", "RHODIUM", "NO"
    view = code("399368009", "SCT", "medio-lateral oblique")
    view.ViewModifierCodeSequence = []
    ds.ViewCodeSequence = [view]
    ds.AnatomicRegionSequence = [code("76752008", "SCT", "Breast")]


def xa(draft: Draft, mint: Mint) -> None:
    ds = draft.ds
    acquired(draft, mint, "HEART", "Coronary angiography")
    ds.ImageType = ["ORIGINAL", "PRIMARY", "SINGLE PLANE"]
    ds.PositionerPrimaryAngle, ds.PositionerSecondaryAngle, ds.PositionerMotion = "30", "-15", "STATIC"
    ds.KVP, ds.XRayTubeCurrent, ds.AveragePulseWidth, ds.RadiationSetting = "80", 600, "7", "GR"
    ds.DistanceSourceToDetector, ds.DistanceSourceToPatient, ds.IntensifierSize = "1000", "750", "200"
    ds.PixelIntensityRelationship, ds.FrameTime, ds.FrameIncrementPointer = "LIN", "66.7", 0x00181063
    image(draft, mint, n_frames=3)


def pt(draft: Draft, mint: Mint) -> None:
    ds = draft.ds
    acquired(draft, mint, "WHOLEBODY", "PET Whole Body")
    _geometry(draft)
    ds.Units, ds.CountsSource, ds.SeriesType, ds.DecayCorrection = (
        "BQML",
        "EMISSION",
        ["WHOLE BODY", "IMAGE"],
        "START",
    )
    ds.CorrectedImage, ds.CollimatorType, ds.NumberOfSlices = ["DECY", "ATTN", "SCAT"], "NONE", 1
    ds.FrameReferenceTime, ds.ActualFrameDuration, ds.DecayFactor, ds.ImageIndex = (
        "120000",
        "180000",
        "1.013",
        1,
    )
    ds.DoseCalibrationFactor, ds.ScatterCorrectionMethod, ds.AttenuationCorrectionMethod = (
        "1.0",
        "Model-based",
        "CT",
    )
    dose = Dataset()
    dose.RadionuclideTotalDose, dose.RadionuclideHalfLife, dose.RadionuclidePositronFraction = (
        "370000000",
        "6586.2",
        "0.967",
    )
    dose.RadiopharmaceuticalVolume, dose.Radiopharmaceutical, dose.RadiopharmaceuticalStartTime = (
        "5",
        "Fluorodeoxyglucose F^18^",
        "091500",
    )
    ds.RadiopharmaceuticalInformationSequence = [dose]
    draft.plant(
        0x00181078, "DT", draft.study.day, "nested", value=f"{draft.study.day.text}091500", into=dose,
        steps=((ds.data_element("RadiopharmaceuticalInformationSequence").tag, 0),),
    )  # fmt: skip
    ds.RescaleIntercept, ds.RescaleSlope = "0", "1.73"
    image(draft, mint)


def nm(draft: Draft, mint: Mint) -> None:
    ds = draft.ds
    acquired(draft, mint, "BONE", "Bone scan")
    ds.ImageType = ["ORIGINAL", "PRIMARY", "WHOLE BODY", "EMISSION"]
    window, detector, energy = Dataset(), Dataset(), Dataset()
    window.EnergyWindowLowerLimit, window.EnergyWindowUpperLimit = "126", "154"
    energy.EnergyWindowName, energy.EnergyWindowRangeSequence = "Tc99m", [window]
    detector.CollimatorType = "PARA"
    ds.EnergyWindowInformationSequence, ds.DetectorInformationSequence = [energy], [detector]
    ds.NumberOfEnergyWindows, ds.NumberOfDetectors, ds.ActualFrameDuration = 1, 1, "600000"
    ds.EnergyWindowVector, ds.DetectorVector = [1, 1], [1, 1]
    ds.FrameIncrementPointer = [0x00540010, 0x00540020]
    ds.WholeBodyTechnique, ds.CountsAccumulated = "1PS", 1200000
    image(draft, mint, n_frames=2)


def sc(draft: Draft, mint: Mint) -> None:
    ds = draft.ds
    ds.ConversionType, ds.BodyPartExamined, ds.StudyDescription = "WSD", "CHEST", "CT Thorax"
    ds.ImageType = ["DERIVED", "SECONDARY"]
    draft.plant("DateOfSecondaryCapture", None, draft.study.day, "header")
    image(draft, mint, 96, bits=8, color=True)


BUILDERS = {
    "CT": ct, "MR": mr, "US": us, "US cine": us_cine, "CR": cr, "DX": dx, "MG": mg, "XA": xa, "PT": pt, "NM": nm, "SC": sc,
}  # fmt: skip
