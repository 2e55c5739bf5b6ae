"""Every kind of object: cleaned and still valid for its class, its references leading to released objects, or withheld."""

import warnings
from io import BytesIO

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.sr.codedict import codes

from curation.deid.policy import Act, read_rows
from curation.deid.pseudonyms import dicom_uid
from curation.deid.release import file_meta
from curation.part10 import EXPLICIT_LITTLE
from curation.records import Refused
from tests.curation.deid.iods import STEP, filled
from tests.curation.deid.objects import clean, ct, policy, pseudonyms, read, to_bytes

SECRET = "Zq00001canary"
CLASSES = {row["sop_class"]: row for row in read_rows("classes.csv")}
PLAIN = {d.keyword for d in policy().decisions if d.act is Act.PLAIN}


def released(ds: Dataset) -> Dataset:
    """The object after cleaning, as a file that another program reads."""
    found = clean(to_bytes(ds))
    whole = pydicom.dcmread(BytesIO(file_meta(found, EXPLICIT_LITTLE) + found.header))
    assert b"canary" not in found.header.lower()
    return whole


def image_uid() -> str:
    return dicom_uid(clean(to_bytes(source())).instance_id)


def source(**changes: object) -> Dataset:
    """A CT that highdicom accepts as a source."""
    return pydicom.dcmread(
        BytesIO(
            to_bytes(
                ct(
                    PatientPosition="HFS",
                    StudyID="1",
                    SeriesNumber="1",
                    PositionReferenceIndicator="",
                    ContentDate="20190305",
                    ContentTime="101500",
                    **changes,
                )
            )
        )
    )


COMMON = {
    "series_instance_uid": "1.2.826.0.1.3680043.8.498.901",
    "series_number": 9,
    "sop_instance_uid": "1.2.826.0.1.3680043.8.498.902",
    "instance_number": 1,
    "manufacturer": "Maker",
}


def test_a_segmentation_keeps_its_segments_and_leads_to_its_source() -> None:
    segment = hd.seg.SegmentDescription(
        segment_number=1,
        segment_label=f"{SECRET} liver",
        segmented_property_category=codes.SCT.Organ,
        segmented_property_type=codes.SCT.Liver,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.MANUAL,
        tracking_id=SECRET,
        tracking_uid="1.2.826.0.1.3680043.8.498.905",
    )
    seg = hd.seg.Segmentation(
        [source()], np.ones((1, 4, 4), np.uint8), hd.seg.SegmentationTypeValues.BINARY, [segment],
        manufacturer_model_name="Model", software_versions="1", device_serial_number="1",
        content_creator_name=f"{SECRET}^Eva", content_description=f"liver of {SECRET}", **COMMON,
    )  # fmt: skip
    got = released(seg)
    assert got.SegmentSequence[0].SegmentLabel == "liver"
    assert got.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0].CodeMeaning.startswith("Liver")
    groups = got.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0]
    assert groups.SourceImageSequence[0].ReferencedSOPInstanceUID == image_uid()


def test_a_measurement_report_is_parsed_by_highdicom_and_leads_to_its_image() -> None:
    image = source()
    observer = hd.sr.ObserverContext(
        codes.DCM.Person, hd.sr.PersonObserverIdentifyingAttributes(f"{SECRET}^Eva", organization_name=SECRET)
    )
    context = hd.sr.ObservationContext(observer_person_context=observer)
    group = hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier("1.2.826.0.1.3680043.8.498.906", SECRET),
        measurements=[hd.sr.Measurement(codes.SCT.Diameter, 12.5, codes.UCUM.Millimeter)],
        source_images=[hd.sr.SourceImageForMeasurementGroup.from_source_image(image)],
    )
    content = hd.sr.MeasurementReport(context, codes.LN.CTUnspecifiedBodyRegion, imaging_measurements=[group])
    report = hd.sr.Comprehensive3DSR(
        [image], content, institution_name=SECRET, is_verified=True, verifying_observer_name=f"{SECRET}^Eva",
        verifying_organization=SECRET, **COMMON,
    )  # fmt: skip
    found = clean(to_bytes(report))
    assert b"canary" not in found.header.lower()
    parsed = hd.sr.srread(BytesIO(file_meta(found, EXPLICIT_LITTLE) + found.header))
    (kept,) = (
        parsed.content.get_image_measurement_groups() or parsed.content.get_planar_roi_measurement_groups()
    )
    assert kept.get_measurements()[0].value == 12.5
    assert parsed.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    (observer_left,) = parsed.VerifyingObserverSequence
    assert (observer_left.VerifyingObserverName, observer_left.VerifyingOrganization) == (
        "REMOVED",
        "REMOVED",
    )
    assert f"{SECRET}^Eva" in found.identity.names
    evidence = parsed.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
    assert evidence.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == image_uid()


def test_a_key_object_selection_leads_to_its_images() -> None:
    content = hd.ko.KeyObjectSelection(codes.DCM.OfInterest, [source()], description=f"{SECRET} left lung")
    got = released(hd.ko.KeyObjectSelectionDocument([source()], content, **COMMON))
    images = [i for i in got.ContentSequence if i.ValueType == "IMAGE"]
    assert images[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID == image_uid()
    assert [i.TextValue for i in got.ContentSequence if i.ValueType == "TEXT"] == ["left lung"]


def test_a_presentation_state_keeps_its_shapes_and_safe_words() -> None:
    layer = hd.pr.GraphicLayer(SECRET.upper(), 1, description=f"{SECRET} reading")
    line = hd.pr.GraphicObject(
        hd.pr.GraphicTypeValues.POLYLINE, np.array([[1.0, 1.0], [3.0, 2.0]]), units="PIXEL"
    )
    texts = [
        hd.pr.TextObject(text, units="PIXEL", anchor_point=(1.0, 2.0))
        for text in (f"left lung {SECRET}", SECRET)
    ]
    annotation = hd.pr.GraphicAnnotation([source()], layer, graphic_objects=[line], text_objects=texts)
    state = hd.pr.GrayscaleSoftcopyPresentationState(
        [source()], manufacturer_model_name="Model", software_versions="1", device_serial_number="1",
        content_label="LABEL", graphic_layers=[layer], graphic_annotations=[annotation],
        content_creator_name=f"{SECRET}^Eva", content_description=SECRET, **COMMON,
    )  # fmt: skip
    got = released(state)
    (kept,) = got.GraphicAnnotationSequence
    assert kept.GraphicLayer == got.GraphicLayerSequence[0].GraphicLayer == "LAYER1"
    assert [list(s.GraphicData) for s in kept.GraphicObjectSequence] == [[1.0, 1.0, 3.0, 2.0]]
    assert [t.UnformattedTextValue for t in kept.TextObjectSequence] == ["left lung"]
    series = got.ReferencedSeriesSequence[0]
    assert series.ReferencedImageSequence[0].ReferencedSOPInstanceUID == image_uid()


def test_an_annotation_of_nothing_but_a_name_goes_whole() -> None:
    layer = hd.pr.GraphicLayer("NOTES", 1)
    text = hd.pr.TextObject(SECRET, units="PIXEL", anchor_point=(1.0, 2.0))
    annotation = hd.pr.GraphicAnnotation([source()], layer, text_objects=[text])
    state = hd.pr.GrayscaleSoftcopyPresentationState(
        [source()], manufacturer_model_name="Model", software_versions="1", device_serial_number="1",
        content_label="LABEL", graphic_layers=[layer], graphic_annotations=[annotation], **COMMON,
    )  # fmt: skip
    assert "GraphicAnnotationSequence" not in released(state)


def test_an_ecg_keeps_its_samples_and_loses_its_labels() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds = pydicom.dcmread(get_testdata_file("waveform_ecg.dcm"))
    samples = bytes(ds.WaveformSequence[0].WaveformData)
    ds.WaveformSequence[0].MultiplexGroupLabel = SECRET
    ds.WaveformSequence[0].ChannelDefinitionSequence[0].ChannelLabel = SECRET
    note = Dataset()
    note.UnformattedTextValue, note.ReferencedWaveformChannels, note.AnnotationGroupNumber = SECRET, [1, 0], 0
    ds.WaveformAnnotationSequence = Sequence([note])
    got = released(ds)
    assert bytes(got.WaveformSequence[0].WaveformData) == samples
    first = got.WaveformSequence[0].ChannelDefinitionSequence[0]
    assert first.ChannelSourceSequence[0].CodeMeaning.endswith("I")
    assert (
        first.ChannelSourceSequence[0].CodeValue
        == ds.WaveformSequence[0].ChannelDefinitionSequence[0].ChannelSourceSequence[0].CodeValue
    )


def rt_structures() -> Dataset:
    ds = Dataset()
    image = source()
    for keyword in ("StudyInstanceUID", "PatientID", "PatientName", "FrameOfReferenceUID", "StudyDate"):
        setattr(ds, keyword, image.get(keyword))
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.481.3", "1.2.826.0.1.3680043.8.498.910"
    ds.SeriesInstanceUID, ds.Modality, ds.StructureSetLabel = (
        "1.2.826.0.1.3680043.8.498.911",
        "RTSTRUCT",
        SECRET,
    )
    ds.StructureSetName = SECRET
    roi, contour, outline = Dataset(), Dataset(), Dataset()
    roi.ROINumber, roi.ROIName, roi.ROIDescription = 1, f"Liver {SECRET}", SECRET
    roi.ReferencedFrameOfReferenceUID, roi.ROIGenerationAlgorithm = image.FrameOfReferenceUID, ""
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = (
        image.SOPClassUID,
        image.SOPInstanceUID,
    )
    outline.ContourImageSequence, outline.ContourGeometricType = Sequence([reference]), "CLOSED_PLANAR"
    outline.NumberOfContourPoints, outline.ContourData = 3, [0, 0, 0, 1, 0, 0, 1, 1, 0]
    contour.ReferencedROINumber, contour.ContourSequence = 1, Sequence([outline])
    seen = Dataset()
    seen.ObservationNumber, seen.ReferencedROINumber, seen.RTROIInterpretedType = 1, 1, "ORGAN"
    seen.ROIInterpreter, seen.ROIObservationLabel = f"{SECRET}^Eva", SECRET
    ds.StructureSetROISequence, ds.ROIContourSequence = Sequence([roi]), Sequence([contour])
    ds.RTROIObservationsSequence = Sequence([seen])
    return ds


def test_structures_keep_their_outlines_and_lead_to_the_ct() -> None:
    got = released(rt_structures())
    outline = got.ROIContourSequence[0].ContourSequence[0]
    assert outline.ContourImageSequence[0].ReferencedSOPInstanceUID == image_uid()
    assert list(outline.ContourData) == [0, 0, 0, 1, 0, 0, 1, 1, 0]
    assert got.StructureSetROISequence[0].ROIName == "Liver"
    assert got.FrameOfReferenceUID == read(clean(to_bytes(source()))).FrameOfReferenceUID


@pytest.mark.parametrize(
    ("changes", "is_released"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"], "SpecimenLabelInImage": "NO"}, True),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LABEL", "NONE"], "SpecimenLabelInImage": "YES"}, False),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "OVERVIEW", "NONE"], "SpecimenLabelInImage": "NO"}, False),
        ({"ImageType": ["DERIVED", "PRIMARY", "VOLUME", "NONE"], "SpecimenLabelInImage": "YES"}, False),
    ],
)
def test_slides_are_released_without_their_labels(changes: dict[str, object], is_released: bool) -> None:
    ds = ct(SOPClassUID="1.2.840.10008.5.1.4.1.1.77.1.6", Modality="SM", **changes)
    ds.ContainerIdentifier, ds.BarcodeValue, ds.LabelText = SECRET, SECRET, SECRET
    specimen = Dataset()
    specimen.SpecimenIdentifier, specimen.SpecimenUID = SECRET, "1.2.826.0.1.3680043.8.498.913"
    specimen.SpecimenShortDescription = SECRET
    ds.SpecimenDescriptionSequence = Sequence([specimen])
    if is_released:
        got = released(ds)
        assert got.ContainerIdentifier and got.SpecimenDescriptionSequence[0].SpecimenIdentifier
        assert got.SpecimenDescriptionSequence[0].SpecimenUID.startswith("2.25.")
    else:
        with pytest.raises(Refused, match="identity_suspected"):
            clean(to_bytes(ds))


@pytest.mark.parametrize("sop_class", [u for u, row in CLASSES.items() if row["status"] != "released"])
def test_what_is_withheld_is_withheld_with_a_reason(sop_class: str) -> None:
    assert CLASSES[sop_class]["why"]
    with pytest.raises(Refused) as caught:
        clean(to_bytes(ct(SOPClassUID=sop_class)))
    assert caught.value.reason == (
        "document" if CLASSES[sop_class]["road"] == "report" else "unsupported_class"
    )


def test_a_directory_is_withheld_as_one() -> None:
    data = to_bytes(ct())
    at = data.index(b"\x08\x00\x05\x00CS")
    directory = data[:at] + b"\x04\x00\x30\x11CS\x04\x00NAME" + data[at:]
    with pytest.raises(Refused, match="directory"):
        clean(directory)


# one class of each road and family; benchmarks/deid/validity.py puts all of them to the same test
FAMILIES = [
    "1.2.840.10008.5.1.4.1.1.2.1",
    "1.2.840.10008.5.1.4.1.1.4.2",
    "1.2.840.10008.5.1.4.1.1.9.1.1",
    "1.2.840.10008.5.1.4.1.1.11.1",
    "1.2.840.10008.5.1.4.1.1.13.1.3",
    "1.2.840.10008.5.1.4.1.1.66.1",
    "1.2.840.10008.5.1.4.1.1.66.5",
    "1.2.840.10008.5.1.4.1.1.67",
    "1.2.840.10008.5.1.4.1.1.77.1.6",
    "1.2.840.10008.5.1.4.1.1.88.33",
    "1.2.840.10008.5.1.4.1.1.91.1",
    "1.2.840.10008.5.1.4.1.1.481.4",
    "1.2.840.10008.5.1.4.1.1.481.5",
]


@pytest.mark.parametrize("sop_class", FAMILIES)
def test_nothing_planted_is_left_in_any_attribute_of_the_class(sop_class: str) -> None:
    ds, planted = filled(sop_class)
    if CLASSES[sop_class]["needs"] == "pixels":
        ds.PixelData = bytes(16)
        ds["PixelData"].VR = "OW"
    assert len(planted) > 80
    found = clean(to_bytes(ds))
    assert pseudonyms().offset_days(found.patient_id) % STEP
    told = found.header.lower()
    left = {p for p, value in planted.items() if value.lower().encode() in told}
    assert {".".join(p) for p in left if p[-1] not in PLAIN} == set()


def test_a_class_newer_than_the_dictionary_keeps_its_uid() -> None:
    labels = "1.2.840.10008.5.1.4.1.1.66.7"  # label map segmentation, in rules/classes.csv
    released = read(clean(to_bytes(ct(SOPClassUID=labels, Modality="SEG"))))
    assert released.SOPClassUID == labels
