"""Objects of other data: radiotherapy, waveforms, encapsulated documents.

What belongs here: these types, with content that names people where such objects do. What does not: images, and what speaks
about them (objects_report).
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from benchmarks.deid.corpus.canary import Mint
from benchmarks.deid.corpus.common import code, frame_of_reference
from benchmarks.deid.corpus.draft import Draft

CLASSES = {
    "RTSTRUCT": ("1.2.840.10008.5.1.4.1.1.481.3", "RTSTRUCT"),
    "RTPLAN": ("1.2.840.10008.5.1.4.1.1.481.5", "RTPLAN"),
    "RTDOSE": ("1.2.840.10008.5.1.4.1.1.481.2", "RTDOSE"),
    "ECG": ("1.2.840.10008.5.1.4.1.1.9.1.1", "ECG"),
    "PDF": ("1.2.840.10008.5.1.4.1.1.104.1", "DOC"),
    "CDA": ("1.2.840.10008.5.1.4.1.1.104.2", "DOC"),
}


def structure_set(draft: Draft, mint: Mint) -> None:
    ds = draft.ds
    frame_of_reference(draft)
    draft.plant("StructureSetLabel", None, mint.host(), "radiotherapy")
    draft.plant("StructureSetDate", None, draft.study.day, "header")
    ds.StructureSetTime = "110000"
    roi, contour, observation, line = Dataset(), Dataset(), Dataset(), Dataset()
    roi.ROINumber, roi.ROIGenerationAlgorithm = 1, "MANUAL"
    ds.StructureSetROISequence = [roi]
    who = mint.spoken_name()
    steps = ((Tag(0x30060020), 0),)
    draft.plant(0x30060026, "LO", who, "radiotherapy", value=f"Lung {who.text}", into=roi, steps=steps)
    draft.plant(0x30060028, "ST", mint.spoken_name(), "radiotherapy", into=roi, steps=steps)
    draft.plant(0x30060024, "UI", draft.study.frame_of_reference, "nested", into=roi, steps=steps)
    line.ContourGeometricType, line.NumberOfContourPoints, line.ContourData = (
        "CLOSED_PLANAR",
        3,
        [0, 0, 0, 10, 0, 0, 0, 10, 0],
    )
    contour.ReferencedROINumber, contour.ROIDisplayColor, contour.ContourSequence = 1, [255, 0, 0], [line]
    ds.ROIContourSequence = [contour]
    observation.ObservationNumber, observation.ReferencedROINumber, observation.RTROIInterpretedType = (
        1,
        1,
        "ORGAN",
    )
    ds.RTROIObservationsSequence = [observation]
    draft.plant(
        0x300600A6, "PN", mint.name(), "radiotherapy", into=observation, steps=((Tag(0x30060080), 0),)
    )


def plan(draft: Draft, mint: Mint) -> None:
    ds = draft.ds
    frame_of_reference(draft)
    ds.RTPlanTime, ds.RTPlanGeometry, ds.ApprovalStatus, ds.PlanIntent = (
        "110000",
        "TREATMENT_DEVICE",
        "APPROVED",
        "CURATIVE",
    )
    draft.plant("RTPlanLabel", None, mint.short_number(), "radiotherapy")
    draft.plant("RTPlanName", None, mint.spoken_name(), "radiotherapy")
    draft.plant("RTPlanDescription", None, mint.spoken_name(), "radiotherapy")
    draft.plant("RTPlanDate", None, draft.study.day, "header")
    draft.plant("ReviewDate", None, draft.study.day, "header")
    draft.plant("ReviewerName", None, mint.name(), "radiotherapy")
    beam = Dataset()
    beam.BeamNumber, beam.BeamType, beam.RadiationType, beam.PrimaryDosimeterUnit = (
        1,
        "STATIC",
        "PHOTON",
        "MU",
    )
    beam.SourceAxisDistance, beam.NumberOfControlPoints, beam.TreatmentDeliveryType = "1000", 0, "TREATMENT"
    ds.BeamSequence = [beam]
    draft.plant(
        0x300A00C2, "LO", mint.spoken_name(), "radiotherapy", into=beam, steps=((Tag(0x300A00B0), 0),)
    )
    beam.TreatmentMachineName = "LINAC2"
    fraction = Dataset()
    fraction.FractionGroupNumber, fraction.NumberOfFractionsPlanned, fraction.NumberOfBeams = 1, 30, 1
    ds.FractionGroupSequence = [fraction]


def dose(draft: Draft, mint: Mint) -> None:
    ds = draft.ds
    frame_of_reference(draft)
    ds.DoseUnits, ds.DoseType, ds.DoseSummationType, ds.DoseGridScaling = "GY", "PHYSICAL", "PLAN", "0.0001"
    ds.ImagePositionPatient, ds.ImageOrientationPatient, ds.PixelSpacing = (
        [0, 0, 0],
        [1, 0, 0, 0, 1, 0],
        [2, 2],
    )
    ds.GridFrameOffsetVector, ds.FrameIncrementPointer = [0, 2], 0x3004000C
    draft.plant("DoseComment", None, mint.spoken_name(), "radiotherapy")
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.Rows, ds.Columns, ds.NumberOfFrames = (
        1,
        "MONOCHROME2",
        32,
        32,
        2,
    )
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 0
    noise = np.random.default_rng(mint.random.getrandbits(32))
    draft.frames = [noise.integers(0, 60000, (32, 32)).astype(np.uint16) for _ in range(2)]


def electrocardiogram(draft: Draft, mint: Mint) -> None:
    ds = draft.ds
    draft.plant("AcquisitionDateTime", None, draft.study.day, "header", value=f"{draft.study.day.text}102105")
    group, channel = Dataset(), Dataset()
    group.WaveformOriginality, group.NumberOfWaveformChannels, group.NumberOfWaveformSamples = (
        "ORIGINAL",
        1,
        200,
    )
    group.SamplingFrequency, group.WaveformBitsAllocated, group.WaveformSampleInterpretation = "500", 16, "SS"
    channel.ChannelSourceSequence, channel.WaveformBitsStored = [code("2:1", "MDC", "Lead I")], 16
    channel.ChannelSensitivity, channel.ChannelSensitivityUnitsSequence = "1", [code("uV", "UCUM", "uV")]
    group.ChannelDefinitionSequence = [channel]
    ds.WaveformSequence = [group]
    waveform, channels = Tag(0x54000100), Tag(0x003A0200)
    draft.plant(0x003A0203, "SH", mint.host(), "waveform", into=channel, steps=((waveform, 0), (channels, 0)))
    draft.plant(0x003A0020, "SH", mint.host(), "waveform", into=group, steps=((waveform, 0),))
    group.add_new(0x54001010, "OW", struct.pack("<200h", *(int(900 * np.sin(n / 9)) for n in range(200))))
    annotation = Dataset()
    ds.WaveformAnnotationSequence = [annotation]
    draft.plant(
        0x00700006, "ST", mint.spoken_name(), "waveform", into=annotation, steps=((Tag(0x0040B020), 0),)
    )


def pdf(draft: Draft, mint: Mint) -> None:
    _document(
        draft,
        mint,
        "application/pdf",
        lambda name: b"%PDF-1.4\n1 0 obj<</Title(" + name + b")>>endobj\n%%EOF\n",
    )


def cda(draft: Draft, mint: Mint) -> None:
    _document(
        draft,
        mint,
        "text/XML",
        lambda name: (
            b'<?xml version="1.0"?><ClinicalDocument xmlns="urn:hl7-org:v3"><title>'
            + name
            + b"</title></ClinicalDocument>"
        ),
    )


def _document(draft: Draft, mint: Mint, kind: str, make: Callable[[bytes], bytes]) -> None:
    ds = draft.ds
    ds.MIMETypeOfEncapsulatedDocument, ds.BurnedInAnnotation, ds.ConceptNameCodeSequence = (
        kind,
        "YES",
        [code("18748-4", "LN", "Diagnostic imaging study")],
    )
    draft.plant("DocumentTitle", None, mint.spoken_name(), "document")
    draft.plant("AcquisitionDateTime", None, draft.study.day, "header", value=f"{draft.study.day.text}102105")
    canary = mint.name()
    body = make(canary.text.encode())
    ds.EncapsulatedDocumentLength = len(body)
    draft.plant(0x00420011, "OB", canary, "document", value=body + b"\0" * (len(body) % 2))
    # our rules release no document, only its text
    draft.may_withhold = True


BUILDERS = {
    "RTSTRUCT": structure_set, "RTPLAN": plan, "RTDOSE": dose, "ECG": electrocardiogram, "PDF": pdf, "CDA": cda,
}  # fmt: skip
