"""Planting templates of the test side. Nobody who writes rules reads this file or what it finds; only its figures are published.

What belongs here: which tags, creators, words and codecs the ways of `planting` are used with. What does not: the ways.
"""

from __future__ import annotations

from benchmarks.deid.corpus import planting as by
from benchmarks.deid.corpus import planting_bytes as bytes_by
from benchmarks.deid.corpus.planting import Place

KINDS = {
    "PN": "name", "LO": "place", "SH": "host", "LT": "mail", "ST": "spoken_name", "UT": "address", "UC": "spoken_name",
    "UR": "url", "AE": "host", "DA": "day", "DT": "day", "UI": "uid",
}  # fmt: skip

PLACES = (
    Place("any attribute", by.registered(KINDS), share=14),
    *(Place("standard", by.attribute(keyword, kind)) for keyword, kind in (
        ("OtherPatientIDs", "number"),
        ("ConsultingPhysicianName", "name"), ("RegionOfResidence", "place"), ("BranchOfService", "place"),
        ("PatientInstitutionResidence", "address"), ("Allergies", "spoken_name"), ("MedicalAlerts", "spoken_name"),
        ("SpecialNeeds", "spoken_name"), ("PatientState", "spoken_name"), ("ResponsibleOrganization", "place"),
        ("PersonTelephoneNumbers", "phone"), ("PersonAddress", "address"), ("OrderEnteredBy", "name"), ("OrderCallbackPhoneNumber", "phone"),
        ("OrderEntererLocation", "place"), ("FillerOrderNumberImagingServiceRequest", "number"),
        ("PlacerOrderNumberImagingServiceRequest", "number"), ("NamesOfIntendedRecipientsOfResults", "name"),
        ("HumanPerformerName", "name"), ("HumanPerformerOrganization", "place"), ("VerifyingObserverName", "name"),
        ("VerifyingOrganization", "place"), ("PerformedStationName", "host"),
        ("ScheduledStudyLocation", "place"), ("ScheduledPerformingPhysicianName", "name"), ("ReferringPhysicianAddress", "address"),
        ("ReferringPhysicianTelephoneNumbers", "phone"), ("ClinicalTrialSiteName", "place"), ("ClinicalTrialSponsorName", "place"),
        ("IdentifyingComments", "spoken_name"), ("ReasonForStudy", "spoken_name"), ("DischargeDiagnosisDescription", "spoken_name"),
        ("FrameComments", "mail"),
        ("PerformedProcedureStepStartDate", "day"), ("ScheduledProcedureStepEndDate", "day"), ("StudyReadDate", "day"),
        ("DateOfLastDetectorCalibration", "day"), ("OverlayDate", "day"), ("SynchronizationFrameOfReferenceUID", "uid"),
        ("DeviceUID", "uid"), ("StorageMediaFileSetUID", "uid"), ("ContactDisplayName", "name"), ("ContactURI", "url"),
    )),
    *(Place("standard", by.attribute(keyword, kind, words)) for keyword, kind, words in (
        ("ScheduledProcedureStepDescription", "spoken_name", "MR Knee"), ("StudyDescription", "address", "CT Head"),
        ("AcquisitionProtocolName", "name", "Abdomen"), ("SeriesDescription", "phone", "T1 SAG"),
    )),
    *(Place("nested", by.nested(path, keyword, kind), share=2) for path, keyword, kind in (
        (("PerformedProtocolCodeSequence", "ProtocolContextSequence"), "TextValue", "spoken_name"),
        (("ReferencedPatientSequence",), "ReferencedSOPInstanceUID", "uid"),
        (("RequestAttributesSequence", "ReferencedStudySequence"), "ReferencedSOPInstanceUID", "uid"),
        (("RequestAttributesSequence",), "ReasonForTheRequestedProcedure", "spoken_name"),
        (("OtherPatientIDsSequence",), "PatientID", "number"),
        (("PhysiciansReadingStudyIdentificationSequence",), "InstitutionName", "place"),
        (("OperatorIdentificationSequence", "InstitutionCodeSequence"), "CodeMeaning", "place"),
        (("ContributingEquipmentSequence",), "InstitutionAddress", "address"),
        (("ContributingEquipmentSequence",), "ContributionDateTime", "day"),
        (("ReferencedImageSequence", "PurposeOfReferenceCodeSequence"), "CodeMeaning", "spoken_name"),
        (("AcquisitionContextSequence",), "PersonName", "name"),
    )),
    *(Place("private", by.private(*row), share=1.5) for row in (
        (0x0019, "GEMS_ACQU_01", 0x9E, "LO", "spoken_name"), (0x0029, "SIEMENS CSA NON-IMAGE", 0x10, "OB", "name"),
        (0x0009, "SPI RELEASE 1", 0x10, "LT", "spoken_name"), (0x2005, "Philips MR Imaging DD 001", 0x33, "UN", "name"),
        (0x0033, "MITRA OBJECT UTF8 ATTRIBUTES 1.0", 0x13, "PN", "name"), (0x7053, "Philips PET Private Group", 0x01, "DS", "bare_number"),
        (0x0903, "GEIIS PACS", 0x11, "LO", "name"),
        (0x01E1, "ELSCINT1", 0x50, "CS", "host"), (0x0055, "VOLCANO", 0x08, "UT", "mail"),
    )),
    Place("private", by.private_sequence(0x0051, "SIEMENS MR SDS 01", 0x19, "OtherPatientNames", "name"), share=2),
    Place("private", by.private_sequence(0x0077, "AGFA PACS Archive Mirroring 1.0", 0x30, "InstitutionAddress", "address")),
    *(Place("unknown element", by.orphan(*row)) for row in (
        (0x00230042, "UN", "name"), (0x00114321, "LO", "place"), (0x00089FFE, "LT", "mail"), (0x00209F0E, "UC", "spoken_name"),
        (0x00407FF2, "PN", "name"), (0x22007772, "ST", "address"),
        # attributes of the newest editions
        (0x00100013, "UT", "spoken_name"), (0x00100047, "LT", "mail"), (0x00100041, "UT", "name"),
    )),
    *(Place("wrong VR", by.wrong_vr(*row)) for row in (
        ("RepetitionTime", "LT", "name"), ("SpacingBetweenSlices", "PN", "name"), ("ExposureTime", "SH", "host"),
        ("PatientSex", "LO", "name"), ("Laterality", "UT", "spoken_name"), ("RescaleType", "OB", "name"), ("TableHeight", "UN", "name"),
        ("StudyTime", "LO", "spoken_name"),
    )),
    *(Place("encoded", by.encoded(*row)) for row in (
        ("FrameComments", "hex", "name"), ("AdditionalPatientHistory", "base64", "number"), ("StudyDescription", "base64", "name"),
        ("ImageComments", "percent", "mail"), ("MedicalAlerts", "html", "name"), ("DerivationDescription", "utf-16", "name"),
        ("GreenPaletteColorLookupTableData", "utf-16", "name"), ("RetrieveURI", "percent", "name"), ("PatientState", "hex", "number"),
    )),
    Place("encoded", by.other_charset("AdditionalPatientHistory", "Χαράλαμπος", "iso8859_7")),
    Place("encoded", by.other_charset("StudyDescription", "欧阳娜娜", "gb18030")),
    *(Place("split", by.split_values(keyword)) for keyword in ("OtherPatientNames", "ImageType", "PhysiciansOfRecord", "AdmittingDiagnosesDescription")),
    Place("split", by.split_elements("SeriesDescription", "PerformedProcedureStepDescription")),
    Place("split", by.split_elements("ContentLabel", "RequestedProcedureDescription")),
    Place("trailing", bytes_by.after_nul("ScanOptions", "FS")),
    Place("trailing", bytes_by.after_nul("StudyDescription", "Head")),
    Place("trailing", bytes_by.trailing_padding, share=2),
    Place("trailing", bytes_by.surplus_pixels, bytes_by.is_native_image, share=2),
    Place("trailing", bytes_by.behind_the_file),
    Place("codestream", bytes_by.stream_segment(0xFFFE), bytes_by.is_jpeg, share=6),
    Place("codestream", bytes_by.stream_segment(0xFFE2, b"ICC_PROFILE\0\1\1"), bytes_by.is_jpeg, share=6),
    Place("codestream", bytes_by.stream_segment(0xFFED, b"Photoshop 3.0\0"), bytes_by.is_jpeg, share=6),
    Place("codestream", bytes_by.jpeg2000_comment, bytes_by.is_jpeg2000, share=12),
    Place("file meta", bytes_by.preamble),
    *(Place("file meta", bytes_by.file_meta(*row)) for row in (
        ("ReceivingApplicationEntityTitle", "host"), ("SourceApplicationEntityTitle", "host"), ("PrivateInformation", "name"),
        ("ReceivingPresentationAddress", "url"),
    )),
    Place("group 0004", bytes_by.directory_element),
    *(Place("overlay", bytes_by.overlay(*row), bytes_by.is_image) for row in ((0x6000, 0x1500, "LO"), (0x6006, 0x0022, "LO"), (0x6010, 0x3000, "OW"))),
    Place("curve", bytes_by.curve(0x5002), share=2),
    Place("icon", bytes_by.icon, share=2),
    Place("LUT", bytes_by.lut_explanation("VOILUTSequence"), bytes_by.is_image),
    Place("LUT", bytes_by.lut_explanation("ModalityLUTSequence"), lambda draft: draft.kind in ("CR", "XA")),
    Place("ICC profile", bytes_by.icc_profile, bytes_by.is_image),
    Place("code meaning", bytes_by.code_meaning("RequestedProcedureCodeSequence", "Q9951", "I10")),
    Place("code meaning", bytes_by.code_meaning("PrimaryAnatomicStructureSequence", "A-1", "L")),
    Place("code meaning", bytes_by.code_meaning("ProcedureCodeSequence", "77477000", "SCT")),
    Place("signature", bytes_by.signature, share=2),
)  # fmt: skip
"""Where identities are planted beyond what every object holds."""
