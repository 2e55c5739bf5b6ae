"""Planting templates of the development side. Rules may be mended by what these find; the test side has its own.

What belongs here: which tags, creators, words and codecs the ways of `planting` are used with. What does not: the ways.
"""

from __future__ import annotations

from benchmarks.deid.corpus import planting as by
from benchmarks.deid.corpus import planting_bytes as bytes_by
from benchmarks.deid.corpus.planting import Place

KINDS = {
    "PN": "name", "LO": "spoken_name", "SH": "host", "LT": "spoken_name", "ST": "address", "UT": "mail", "UC": "place",
    "UR": "url", "AE": "host", "DA": "day", "DT": "day", "UI": "uid",
}  # fmt: skip

PLACES = (
    Place("any attribute", by.registered(KINDS), share=14),
    *(Place("standard", by.attribute(keyword, kind)) for keyword, kind in (
        ("OtherPatientIDs", "number"), ("OtherPatientNames", "name"), ("PatientBirthName", "name"),
        ("PatientMotherBirthName", "name"), ("MedicalRecordLocator", "number"), ("PatientAddress", "address"),
        ("PatientTelephoneNumbers", "phone"), ("MilitaryRank", "spoken_name"), ("CountryOfResidence", "place"),
        ("Occupation", "spoken_name"), ("AdditionalPatientHistory", "spoken_name"), ("PatientComments", "mail"),
        ("PhysiciansOfRecord", "name"), ("PerformingPhysicianName", "name"), ("NameOfPhysiciansReadingStudy", "name"),
        ("OperatorsName", "name"), ("InstitutionAddress", "address"), ("InstitutionalDepartmentName", "place"),
        ("StationName", "host"), ("RequestingPhysician", "name"), ("RequestingService", "place"), ("AdmissionID", "number"),
        ("CurrentPatientLocation", "place"), ("ResponsiblePerson", "name"),
        ("PatientReligiousPreference", "spoken_name"), ("RetrieveURL", "url"), ("ClinicalTrialSubjectID", "number"),
        ("ImageComments", "spoken_name"), ("DerivationDescription", "spoken_name"),
        ("PerformedLocation", "place"), ("InsurancePlanIdentification", "number"),
        ("StudyVerifiedDate", "day"), ("LastMenstrualDate", "day"), ("DateOfLastCalibration", "day"), ("AdmittingDate", "day"),
        ("IrradiationEventUID", "uid"), ("ConcatenationUID", "uid"), ("StudyComments", "spoken_name"),
    )),
    *(Place("standard", by.attribute(keyword, kind, words)) for keyword, kind, words in (
        ("ProtocolName", "spoken_name", "Thorax"), ("ContrastBolusAgent", "name", "Iohexol"),
        ("RequestedProcedureDescription", "spoken_name", "CT Abdomen"), ("PerformedProcedureStepDescription", "phone", "MR Brain"),
    )),
    *(Place("nested", by.nested(path, keyword, kind), share=2) for path, keyword, kind in (
        (("RequestAttributesSequence",), "ScheduledProcedureStepID", "number"),
        (("RequestAttributesSequence",), "RequestedProcedureDescription", "spoken_name"),
        (("ReferencedStudySequence",), "ReferencedSOPInstanceUID", "uid"),
        (("OtherPatientIDsSequence", "IssuerOfPatientIDQualifiersSequence"), "UniversalEntityID", "number"),
        (("PersonIdentificationCodeSequence",), "CodeMeaning", "spoken_name"),
        (("ReferringPhysicianIdentificationSequence",), "PersonAddress", "address"),
        (("OriginalAttributesSequence", "ModifiedAttributesSequence"), "PatientID", "number"),
        (("OriginalAttributesSequence",), "AttributeModificationDateTime", "day"),
        (("SourceImageSequence", "PurposeOfReferenceCodeSequence", "EquivalentCodeSequence"), "CodeMeaning", "name"),
        (("ReferencedPerformedProcedureStepSequence",), "RetrieveURL", "url"),
    )),
    *(Place("private", by.private(*row), share=1.5) for row in (
        (0x0009, "GEMS_IDEN_01", 0x31, "SH", "host"), (0x0029, "SIEMENS CSA HEADER", 0x10, "OB", "name"),
        (0x0029, "SIEMENS MEDCOM HEADER", 0x20, "LO", "spoken_name"), (0x2001, "Philips Imaging DD 001", 0x6D, "LO", "name"),
        (0x0011, "ACME RIS BRIDGE", 0x01, "PN", "name"), (0x0021, "SIEMENS MR HEADER", 0x1D, "DS", "bare_number"),
        (0x7FE1, "ACME TAIL", 0x10, "UN", "name"), (0x0019, "SIEMENS MR HEADER", 0x0D, "CS", "host"),
        (0x0043, "GEMS_PARM_01", 0x27, "SH", "host"),
    )),
    Place("private", by.private_sequence(0x2005, "Philips MR Imaging DD 005", 0x02, "PatientComments", "spoken_name"), share=2),
    Place("private", by.private_sequence(0x0013, "CTP", 0x20, "PatientName", "name")),
    *(Place("unknown element", by.orphan(*row)) for row in (
        (0x00190099, "LO", "name"), (0x00091234, "UN", "host"), (0x00187FFE, "LO", "spoken_name"), (0x00104FFF, "SH", "host"),
        (0x00327777, "UT", "mail"), (0x40107777, "PN", "name"),
        # Name to Use, Pronoun Comment, SPCU Comment: registered since 2023, but in no older table
        (0x00100012, "LT", "spoken_name"), (0x00100016, "UT", "spoken_name"), (0x00100042, "UT", "spoken_name"),
    )),
    *(Place("wrong VR", by.wrong_vr(*row)) for row in (
        ("SliceThickness", "LO", "name"), ("EchoTime", "ST", "spoken_name"), ("KVP", "UT", "name"),
        ("PatientSize", "PN", "name"), ("ImageType", "LT", "spoken_name"), ("WindowCenter", "OB", "name"), ("PatientAge", "UN", "name"),
    )),
    *(Place("encoded", by.encoded(*row)) for row in (
        ("ImageComments", "base64", "name"), ("PatientComments", "hex", "name"), ("SeriesDescription", "hex", "number"),
        ("StudyComments", "percent", "name"), ("AcquisitionComments", "html", "name"), ("TextComments", "utf-16", "name"),
        ("RedPaletteColorLookupTableData", "utf-16 big endian", "name"), ("PixelDataProviderURL", "percent", "mail"),
        ("ProtocolName", "base64", "number"), ("SequenceName", "base64", "spoken_name"), ("PlateID", "hex", "name"),
    )),
    Place("encoded", by.other_charset("ImageComments", "Владимир", "cp1251")),
    Place("encoded", by.other_charset("PatientComments", "渡邊俊介", "shift_jis")),
    *(Place("split", by.split_values(keyword)) for keyword in ("OtherPatientIDs", "SeriesDescription", "OperatorsName", "ScanOptions")),
    Place("split", by.split_elements("ProtocolName", "SeriesDescription")),
    Place("split", by.split_elements("StudyDescription", "ImageComments")),
    Place("trailing", bytes_by.after_nul("BodyPartExamined", "CHEST")),
    Place("trailing", bytes_by.after_nul("SeriesDescription", "Thorax")),
    Place("trailing", bytes_by.trailing_padding, share=2),
    Place("trailing", bytes_by.surplus_pixels, bytes_by.is_native_image, share=2),
    Place("trailing", bytes_by.behind_the_file),
    Place("codestream", bytes_by.stream_segment(0xFFFE), bytes_by.is_jpeg, share=8),
    Place("codestream", bytes_by.stream_segment(0xFFE1, b"Exif\0\0"), bytes_by.is_jpeg, share=6),
    Place("codestream", bytes_by.stream_segment(0xFFEB, b"JP "), bytes_by.is_jpeg, share=4),
    Place("codestream", bytes_by.jpeg2000_comment, bytes_by.is_jpeg2000, share=12),
    Place("file meta", bytes_by.preamble),
    *(Place("file meta", bytes_by.file_meta(*row)) for row in (
        ("SourceApplicationEntityTitle", "host"), ("SendingApplicationEntityTitle", "host"), ("PrivateInformation", "name"),
        ("SourcePresentationAddress", "url"),
    )),
    Place("group 0004", bytes_by.directory_element),
    *(Place("overlay", bytes_by.overlay(*row), bytes_by.is_image) for row in ((0x6000, 0x0022, "LO"), (0x6002, 0x1500, "LO"), (0x6004, 0x3000, "OW"))),
    Place("curve", bytes_by.curve(0x5000), share=2),
    Place("icon", bytes_by.icon, share=2),
    Place("LUT", bytes_by.lut_explanation("VOILUTSequence"), bytes_by.is_image),
    Place("LUT", bytes_by.lut_explanation("ModalityLUTSequence"), lambda draft: draft.kind in ("CR", "XA")),
    Place("ICC profile", bytes_by.icc_profile, bytes_by.is_image),
    Place("code meaning", bytes_by.code_meaning("ProcedureCodeSequence", "71250", "C4")),
    Place("code meaning", bytes_by.code_meaning("AnatomicRegionSequence", "X77", "99LOCAL")),
    Place("code meaning", bytes_by.code_meaning("AnatomicRegionSequence", "51185008", "SCT")),
    Place("signature", bytes_by.signature, share=2),
)  # fmt: skip
"""Where identities are planted beyond what every object holds."""
