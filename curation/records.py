"""The nouns of rwid: one frozen dataclass a table; Arrow schemas, view comments and the data dictionary derive from it.

What belongs here: the columns of every table, each with unit, DICOM keyword and a sentence, and the closed list of
refusal reasons. What does not: how rows are made (steps), stored (lake) or folded (catalog).
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from types import NoneType
from typing import Any, TypeAlias
from uuid import UUID

import pyarrow as pa

SCHEMA_VERSION = 1

Blob: TypeAlias = bytes
"""Binary column; an alias because some tables have a column called `bytes`."""

REASONS: Mapping[str, str] = {
    "not_dicom": "No DICOM file and no report this release can read.",
    "truncated": "The file ends before its own lengths say it does.",
    "malformed": "The bytes contradict themselves or the standard.",
    "encrypted": "The content is encrypted.",
    "too_large": "Larger than the limit set for one file, or it asks for more memory than its size allows.",
    "unsupported_syntax": "A transfer syntax this release does not read.",
    "unsupported_class": "A SOP class this release does not release.",
    "directory": "A DICOMDIR: the directory of a medium, with names and file names, and no object.",
    "document": "A document inside a DICOM object: its text may become a report, the object is not released.",
    "pixel_mismatch": "The pixel data do not fit rows, columns, samples, bits and frames.",
    "decoder_failed": "The pixel decoder refused the data, or broke.",
    "timeout": "Took longer than the deadline for one file.",
    "memory": "Took more memory than one worker may have.",
    "duplicate": "The same bytes are in the lake already.",
    "uid_conflict": "The same SOP Instance UID is in the lake with other bytes.",
    "no_patient": "No patient identifier.",
    "identity_suspected": "Something that may identify a person would be left over.",
    "unreadable_report": "A report whose text cannot be read.",
    "unlinked_report": "A report whose study has not arrived; kept aside.",
    "withdrawn": "The person has withdrawn.",
    "internal_fault": "rwid itself broke on this input: a fault to report, not one of the data.",
}
"""The closed list of reasons for which one input becomes a `refusals` row instead of data."""


class Refused(Exception):  # noqa: N818 - a refusal is data, not an error
    """Bad data: becomes one `refusals` row. Carries a reason from REASONS and nothing else: never a value, never a path."""

    def __init__(self, reason: str) -> None:
        if reason not in REASONS:
            raise ValueError(f"{reason!r} is not a refusal reason; add it to curation.records.REASONS first.")
        super().__init__(reason)
        self.reason = reason

    def __reduce__(self) -> tuple[type[Refused], tuple[str]]:
        return (Refused, (self.reason,))


class ConfigurationError(Exception):
    """Bad configuration: raised at start with a sentence that names the remedy. The command exits with 2."""


_ARROW: Mapping[Any, pa.DataType] = {
    UUID: pa.uuid(),
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
    bytes: pa.binary(),
    date: pa.date32(),
    datetime: pa.timestamp("us", tz="UTC"),
}


def column(sentence: str, *, unit: str = "", dicom: str = "", arrow: pa.DataType | None = None) -> Any:
    """A dataclass field that documents itself: sentence, unit, the DICOM keyword it stems from, its Arrow type."""
    return dataclasses.field(metadata={"sentence": sentence, "unit": unit, "dicom": dicom, "arrow": arrow})


_I32 = pa.int32()
_STRINGS = pa.list_(pa.string())
_FLOATS = pa.list_(pa.float64())
_BOXES = pa.list_(
    pa.struct([("x", _I32), ("y", _I32), ("width", _I32), ("height", _I32), ("source", pa.string())])
)
_ACTIONS = pa.list_(pa.struct([("tag", pa.string()), ("action", pa.string())]))


@dataclass(frozen=True, slots=True)
class Instance:
    """One row per DICOM object released."""

    instance_id: UUID = column(
        "Pseudonymous id; the released SOP Instance UID is the same 128 bits.", dicom="SOPInstanceUID"
    )
    series_id: UUID = column("Pseudonymous series.", dicom="SeriesInstanceUID")
    study_id: UUID = column("Pseudonymous study.", dicom="StudyInstanceUID")
    patient_id: UUID = column("One person at one site.", dicom="PatientID")
    accession_id: UUID | None = column(
        "Keyed hash of the order number, by which reports find their study.", dicom="AccessionNumber"
    )
    sop_class: str = column("What kind of object.", dicom="SOPClassUID")
    transfer_syntax: str = column("How the source was encoded.", dicom="TransferSyntaxUID")
    modality: str = column("Kind of equipment.", dicom="Modality")
    study_date: date | None = column("Shifted by the patient's own offset.", dicom="StudyDate")
    acquisition_date: date | None = column("Shifted by the patient's own offset.", dicom="AcquisitionDate")
    birth_year: int | None = column(
        "Year of the shifted birth date; capped so that nobody appears older than 90.",
        dicom="PatientBirthDate",
        arrow=_I32,
    )
    age_years: float | None = column(
        "Age at the study; 90 means 90 and over.", unit="years", dicom="PatientAge"
    )
    sex: str | None = column("F, M or O.", dicom="PatientSex")
    body_part: str | None = column(
        "Upper case; derived from the body part examined or the anatomy words of protocol and series.",
        dicom="BodyPartExamined",
    )
    view: str | None = column("Projection, such as PA, AP, LL, CC, MLO.", dicom="ViewPosition")
    laterality: str | None = column("L, R or B.", dicom="ImageLaterality")
    manufacturer: str | None = column("Maker, one spelling a maker.", dicom="Manufacturer")
    model: str | None = column("Model name.", dicom="ManufacturerModelName")
    station_software: str | None = column("Software version.", dicom="SoftwareVersions")
    image_type: list[str] = column("Value list of the image type.", dicom="ImageType", arrow=_STRINGS)
    series_description: str | None = column(
        "Words of the series description, identifiers cleaned; empty where the profile removes descriptors.",
        dicom="SeriesDescription",
    )
    protocol_name: str | None = column(
        "Words of the protocol name, identifiers cleaned.", dicom="ProtocolName"
    )
    instance_number: int | None = column(
        "Order in the series as the device gave it.", dicom="InstanceNumber", arrow=_I32
    )
    n_frames: int = column(
        "Frames in the object; 0 where it has no pixels.", dicom="NumberOfFrames", arrow=_I32
    )
    rows_px: int | None = column("Height.", unit="px", dicom="Rows", arrow=_I32)
    columns_px: int | None = column("Width.", unit="px", dicom="Columns", arrow=_I32)
    samples_per_pixel: int | None = column("1 grey, 3 colour.", dicom="SamplesPerPixel", arrow=_I32)
    bits_stored: int | None = column(
        "Significant bits of a stored value.", unit="bit", dicom="BitsStored", arrow=_I32
    )
    is_signed: bool | None = column(
        "Whether stored values are two's complement.", dicom="PixelRepresentation"
    )
    photometric: str | None = column(
        "Photometric interpretation of the stored frames.", dicom="PhotometricInterpretation"
    )
    rescale_slope: float | None = column("Stored value to output units, factor.", dicom="RescaleSlope")
    rescale_intercept: float | None = column(
        "Stored value to output units, offset.", dicom="RescaleIntercept"
    )
    window_center: list[float] | None = column(
        "Window centres as the device proposes.", dicom="WindowCenter", arrow=_FLOATS
    )
    window_width: list[float] | None = column(
        "Window widths as the device proposes.", dicom="WindowWidth", arrow=_FLOATS
    )
    pixel_spacing_row_mm: float | None = column(
        "Distance between row centres, vertical.", unit="mm", dicom="PixelSpacing"
    )
    pixel_spacing_column_mm: float | None = column(
        "Distance between column centres, horizontal.", unit="mm", dicom="PixelSpacing"
    )
    slice_thickness_mm: float | None = column("Nominal slice thickness.", unit="mm", dicom="SliceThickness")
    spacing_between_slices_mm: float | None = column(
        "Distance between slices as the device states it.", unit="mm", dicom="SpacingBetweenSlices"
    )
    image_position: list[float] | None = column(
        "x, y, z of the first voxel in the patient system.",
        unit="mm",
        dicom="ImagePositionPatient",
        arrow=_FLOATS,
    )
    image_orientation: list[float] | None = column(
        "Direction cosines of row, then of column.", dicom="ImageOrientationPatient", arrow=_FLOATS
    )
    frame_of_reference_id: UUID | None = column(
        "Which instances share a coordinate system.", dicom="FrameOfReferenceUID"
    )
    kernel: str | None = column("Reconstruction kernel.", dicom="ConvolutionKernel")
    kvp: float | None = column("Tube voltage.", unit="kV", dicom="KVP")
    exposure_mas: float | None = column("Tube current times time.", unit="mAs", dicom="Exposure")
    contrast: bool | None = column("Whether a contrast agent is stated.", dicom="ContrastBolusAgent")
    echo_time_ms: float | None = column("Echo time.", unit="ms", dicom="EchoTime")
    repetition_time_ms: float | None = column("Repetition time.", unit="ms", dicom="RepetitionTime")
    inversion_time_ms: float | None = column("Inversion time.", unit="ms", dicom="InversionTime")
    flip_angle_deg: float | None = column("Flip angle.", unit="degrees", dicom="FlipAngle")
    scanning_sequence: list[str] | None = column(
        "SE, IR, GR, EP, RM.", dicom="ScanningSequence", arrow=_STRINGS
    )
    b_value: float | None = column("Diffusion weighting.", unit="s/mm2", dicom="DiffusionBValue")
    frame_time_ms: float | None = column("Time between frames of a cine.", unit="ms", dicom="FrameTime")
    was_lossy: bool | None = column(
        "Whether the image has been lossily compressed before.", dicom="LossyImageCompression"
    )
    burned_in: str | None = column(
        "What the device says of burned-in annotation: YES, NO or nothing.", dicom="BurnedInAnnotation"
    )
    burned_in_regions: list[dict[str, Any]] = column("Boxes that were blanked.", unit="px", arrow=_BOXES)
    may_show_face: bool = column(
        "A slice of a head whose face was not removed, by anatomy words and field of view: a surface drawn from its series may be recognised."
    )
    header: Blob = column(
        "The clean dataset without its pixels, Explicit VR Little Endian, without file meta."
    )
    pixel_sha256: Blob | None = column("Hash over the frames' hashes in order.")
    source_digest: Blob = column("Keyed hash of the source file's bytes.")
    bytes: int = column("Size of the source file.", unit="B")
    policy_version: str = column("De-identification profile, edition, options and rules, as one name.")
    key_id: str = column("Which key made the pseudonyms; says nothing of the key.")
    site: str = column("Who delivered.")
    delivery: str = column("With which delivery it came.")
    code_version: str = column("Which rwid made the row.")


@dataclass(frozen=True, slots=True)
class Frame:
    """One row per frame: the pixels, losslessly, and nothing else."""

    instance_id: UUID = column("The object this frame belongs to.")
    frame_index: int = column("0 is the first.", arrow=_I32)
    series_id: UUID = column("The series, by which the table is sorted.")
    codec: str = column(
        "How the payload is encoded: htj2k, jpeg (the source's own bitstream) or zstd (a NumPy array file)."
    )
    payload: Blob = column("The encoded frame.")
    pixel_sha256: Blob = column("SHA-256 of the decoded stored values, C order, little endian.")
    site: str = column("Who delivered.")
    delivery: str = column("With which delivery it came.")
    code_version: str = column("Which rwid made the row.")


@dataclass(frozen=True, slots=True)
class Report:
    """One row per report, de-identified."""

    report_id: UUID = column("Pseudonymous id.")
    study_id: UUID = column("The study reported.")
    patient_id: UUID = column("The person at the site.")
    language: str = column("ISO 639-1.")
    text: str = column("De-identified text.")
    sections: list[dict[str, Any]] = column(
        "Where the sections are: name, and start and end as character offsets into the text.",
        arrow=pa.list_(pa.struct([("name", pa.string()), ("start", _I32), ("end", _I32)])),
    )
    n_redactions: int = column("How many spans were replaced.", arrow=_I32)
    source_digest: Blob = column("Keyed hash of the source's bytes (of the row, where a file holds many).")
    policy_version: str = column("De-identification profile, edition, options and rules, as one name.")
    key_id: str = column("Which key made the pseudonyms.")
    site: str = column("Who delivered.")
    delivery: str = column("With which delivery it came.")
    code_version: str = column("Which rwid made the row.")


@dataclass(frozen=True, slots=True)
class Finding:
    """One row per finding in one study, from one source."""

    study_id: UUID = column("The study.")
    finding: str = column("Name in the lexicon, or the label's column name.")
    assertion: str = column("present, absent or uncertain.")
    source: str = column("report, label or reader.")
    evidence: str = column("The de-identified sentence that says so; empty for labels.")
    site: str = column("Who delivered.")
    delivery: str = column("With which delivery it came.")
    code_version: str = column("Which rwid made the row.")


@dataclass(frozen=True, slots=True)
class Outcome:
    """One row per outcome of one patient."""

    patient_id: UUID = column("The person at the site.")
    study_id: UUID | None = column("The study from which time counts, where one is named.")
    event: str = column("What happened, such as death or icu.")
    days_to_event: float = column("From the study to the event, or to the end of observation.", unit="days")
    observed: bool = column("True where the event happened, false where observation ended first (censored).")
    site: str = column("Who delivered.")
    delivery: str = column("With which delivery it came.")
    code_version: str = column("Which rwid made the row.")


@dataclass(frozen=True, slots=True)
class PersonToken:
    """One row per token rule for one patient and one recipient."""

    patient_id: UUID = column("The person at the site.")
    rule: str = column("Token rule of Open Link Token: T1, T2, T3, T4, T5.")
    norm_profile: str = column("Which normalisation made it; tokens of different profiles are never joined.")
    ring: str = column("Epoch of the key.")
    token: Blob | None = column("32 bytes; NULL where the rule lacks data.")
    site: str = column("Who delivered.")
    delivery: str = column("With which delivery it came.")
    code_version: str = column("Which rwid made the row.")


@dataclass(frozen=True, slots=True)
class DeidLog:
    """One row per instance or report that went through de-identification."""

    source_digest: Blob = column("Keyed hash of the source's bytes.")
    kind: str = column("instance or report.")
    instance_id: UUID | None = column("The object released, where one was.")
    report_id: UUID | None = column("The report released, where one was.")
    study_id: UUID | None = column("The study, where known.")
    actions: list[dict[str, str]] = column(
        "What was done: tag (or text category) and action code of PS3.15 Table E.1-1.", arrow=_ACTIONS
    )
    regions: list[dict[str, Any]] = column("Boxes blanked in the pixels.", unit="px", arrow=_BOXES)
    withheld: str | None = column("Refusal reason, where nothing was released.")
    policy_version: str = column("De-identification profile, edition, options and rules, as one name.")
    key_id: str = column("Which key made the pseudonyms.")
    site: str = column("Who delivered.")
    delivery: str = column("With which delivery it came.")
    code_version: str = column("Which rwid made the row.")


@dataclass(frozen=True, slots=True)
class Refusal:
    """One row per input refused. Never a path, a raw value or an exception's text."""

    source_digest: Blob = column("Keyed hash of the source's bytes.")
    kind: str = column("dicom, report, clinical, archive or unknown.")
    step: str = column("Where it was refused: arrive, read, deidentify, pixels, link or commit.")
    reason: str = column("From the closed list.")
    site: str = column("Who delivered.")
    delivery: str = column("With which delivery it came.")
    code_version: str = column("Which rwid made the row.")


@dataclass(frozen=True, slots=True)
class Residual:
    """One row per place where the second look found something that ought not to be there. Never the value itself."""

    instance_id: UUID | None = column("The object, where it is one.")
    report_id: UUID | None = column("The report, where it is one.")
    place: str = column(
        "Where it stands: a tag path such as (0040,a730)[2].(0040,a160), preamble, bytes, frame 3, text, or a column of the row."
    )
    rule: str = column(
        "Which rule found it: identity, hash, date, uid, element, marker, pixel_text or unreadable."
    )
    kind: str = column("What it is: name, id, phone, address, birth_date, original_date and so on.")
    form: str = column("How it is written: plain, part of a word, initials, base64, utf-16 and so on.")
    is_blocking: bool = column(
        "Whether it keeps the delivery from being published; false for text in pixels that names nobody known."
    )
    site: str = column("Who delivered.")
    delivery: str = column("With which delivery it came.")
    code_version: str = column("Which rwid made the row.")


@dataclass(frozen=True, slots=True)
class Verification:
    """One row per rule of the second look at one delivery: what was looked at, what was found, what could not be told."""

    rule: str = column("identity, hash, date, uid, element, marker, pixel_text or unreadable.")
    n_looked_at: int = column(
        "Objects and reports to which the rule was put; of pixel_text the sampled ones."
    )
    n_found: int = column("Rows of residuals.")
    n_unknown: int = column(
        "What could not be told: identifiers too short or too common to search for, dates whose original is not known, frames that no detector read."
    )
    site: str = column("Who delivered.")
    delivery: str = column("With which delivery it came.")
    code_version: str = column("Which rwid made the row.")


@dataclass(frozen=True, slots=True)
class Series:
    """One row per series. What varies inside a series is given as _min and _max."""

    series_id: UUID = column("Pseudonymous series.", dicom="SeriesInstanceUID")
    study_id: UUID = column("Pseudonymous study.", dicom="StudyInstanceUID")
    patient_id: UUID = column("One person at one site.", dicom="PatientID")
    modality: str = column("Kind of equipment.", dicom="Modality")
    body_part: str | None = column("Upper case.", dicom="BodyPartExamined")
    view: str | None = column("Projection.", dicom="ViewPosition")
    laterality: str | None = column("L, R or B.", dicom="ImageLaterality")
    manufacturer: str | None = column("Maker, one spelling a maker.", dicom="Manufacturer")
    model: str | None = column("Model name.", dicom="ManufacturerModelName")
    kind: str = column(
        "What the series is, by the rules of curation/modalities: CT localizer, axial, reformat, projection, dose_report; MR t1, t1c, t2, flair, dwi, adc, swi; US b_mode, color; X-ray the view; other where no rule fits."
    )
    phase: str | None = column("Contrast phase, where known.")
    orientation: str | None = column("axial, coronal, sagittal or oblique, from the direction cosines.")
    is_whole: bool = column("No gap, no duplicate position, one geometry.")
    quality: float | None = column("0 to 1; share of the checks on geometry and pixels that hold.")
    n_instances: int = column("Objects in the series.", arrow=_I32)
    n_frames: int = column("Frames in the series.", arrow=_I32)
    rows_px: int | None = column("Height; NULL where it varies.", unit="px", dicom="Rows", arrow=_I32)
    columns_px: int | None = column("Width; NULL where it varies.", unit="px", dicom="Columns", arrow=_I32)
    pixel_spacing_row_mm: float | None = column(
        "Distance between row centres; NULL where it varies.", unit="mm", dicom="PixelSpacing"
    )
    pixel_spacing_column_mm: float | None = column(
        "Distance between column centres; NULL where it varies.", unit="mm", dicom="PixelSpacing"
    )
    slice_thickness_mm: float | None = column(
        "Nominal slice thickness; NULL where it varies.", unit="mm", dicom="SliceThickness"
    )
    spacing_between_slices_mm: float | None = column(
        "Median distance of neighbouring slice positions along the normal.", unit="mm"
    )
    spacing_between_slices_mm_min: float | None = column("Smallest such distance.", unit="mm")
    spacing_between_slices_mm_max: float | None = column("Largest such distance.", unit="mm")
    kernel: str | None = column("Reconstruction kernel.", dicom="ConvolutionKernel")
    kvp: float | None = column("Tube voltage; NULL where it varies.", unit="kV", dicom="KVP")
    exposure_mas_min: float | None = column("Smallest exposure.", unit="mAs", dicom="Exposure")
    exposure_mas_max: float | None = column("Largest exposure.", unit="mAs", dicom="Exposure")
    contrast: bool | None = column("Whether a contrast agent is stated.", dicom="ContrastBolusAgent")
    echo_time_ms: float | None = column("Echo time; NULL where it varies.", unit="ms", dicom="EchoTime")
    repetition_time_ms: float | None = column(
        "Repetition time; NULL where it varies.", unit="ms", dicom="RepetitionTime"
    )
    bytes: int = column("Size of the source files.", unit="B")
    series_description: str | None = column(
        "Cleaned words of the series description.", dicom="SeriesDescription"
    )
    site: str = column("Who delivered.")
    delivery: str = column("The latest delivery that touched it.")
    code_version: str = column("Which rwid made the row.")


@dataclass(frozen=True, slots=True)
class Study:
    """One row per study."""

    study_id: UUID = column("Pseudonymous study.", dicom="StudyInstanceUID")
    patient_id: UUID = column("One person at one site.", dicom="PatientID")
    site: str = column("Who delivered.")
    country: str | None = column("ISO 3166-1 alpha-2, of the site.")
    continent: str | None = column("Of the site.")
    study_date: date | None = column("Shifted by the patient's own offset.", dicom="StudyDate")
    age_years: float | None = column(
        "Age at the study; 90 means 90 and over.", unit="years", dicom="PatientAge"
    )
    sex: str | None = column("F, M or O.", dicom="PatientSex")
    modality: str = column("The modality of most images of the study.", dicom="Modality")
    modalities: list[str] = column("All modalities, sorted.", dicom="ModalitiesInStudy", arrow=_STRINGS)
    body_part: str | None = column("Upper case; of most images.", dicom="BodyPartExamined")
    manufacturer: str | None = column("Maker, of most images.", dicom="Manufacturer")
    model: str | None = column("Model name, of most images.", dicom="ManufacturerModelName")
    n_series: int = column("Series in the study.", arrow=_I32)
    n_instances: int = column("Objects in the study.", arrow=_I32)
    bytes: int = column("Size of the source files.", unit="B")
    has_report: bool = column("Whether a report is linked.")
    finding_mask: int = column("One bit a finding asserted present, in the order of the lexicon's bits.")
    findings: list[str] = column("Findings asserted present, sorted.", arrow=_STRINGS)
    split_bucket: int = column(
        "0 to 999, from a keyed hash of the person; it never moves when data grow.", arrow=_I32
    )
    delivery: str = column("The latest delivery that touched it.")
    code_version: str = column("Which rwid made the row.")


@dataclass(frozen=True, slots=True)
class Patient:
    """One row per person at one site."""

    patient_id: UUID = column("Pseudonymous id.", dicom="PatientID")
    site: str = column("Who delivered.")
    sex: str | None = column("F, M or O.", dicom="PatientSex")
    birth_year: int | None = column(
        "Capped so that nobody appears older than 90.", dicom="PatientBirthDate", arrow=_I32
    )
    n_studies: int = column("Studies of the person.", arrow=_I32)
    first_study_date: date | None = column("Shifted.", dicom="StudyDate")
    last_study_date: date | None = column("Shifted.", dicom="StudyDate")
    person_id: UUID | None = column("The person across sites; NULL until linkage ran.")
    split_bucket: int = column(
        "0 to 999, from a keyed hash of the person; of the linked person once known.", arrow=_I32
    )
    delivery: str = column("The latest delivery that touched it.")
    code_version: str = column("Which rwid made the row.")


@dataclass(frozen=True, slots=True)
class Cohort:
    """One row per frozen cohort: a view over lake/cohorts/*/cohort.parquet."""

    cohort_id: str = column("First 16 hex digits of the hash over spec, snapshot and engine version.")
    name: str = column("Name in the spec.")
    purpose: str = column("Purpose in the spec.")
    snapshot: int = column("Number of the lake's snapshot it was built from.")
    studies: int = column("Studies in it.")
    patients: int = column("Patients in it.")
    sites: int = column("Sites in it.")
    engine_version: int = column("Changes only when the meaning of a spec changes.", arrow=_I32)


@dataclass(frozen=True, slots=True)
class Member:
    """One row per series that a cohort uses."""

    cohort_id: str = column("The cohort.")
    study_id: UUID = column("The study.")
    series_id: UUID = column("The series the cohort's series rule picked.")
    patient_id: UUID = column("The person at the site.")
    site: str = column("Who delivered.")
    split: str = column("train, tune, test or holdout.")
    labels: list[dict[str, Any]] = column(
        "Label name and value; the value is NULL where the study says nothing.",
        arrow=pa.list_(pa.struct([("name", pa.string()), ("value", pa.float64())])),
    )
    covariates: list[dict[str, Any]] = column(
        "Covariate name and value.",
        arrow=pa.list_(pa.struct([("name", pa.string()), ("value", pa.float64())])),
    )


@dataclass(frozen=True, slots=True)
class Run:
    """One row per tuning run: a view over lake/runs/*/run.parquet."""

    run_id: str = column("First 16 hex digits of the hash over TuneSpec, cohort and tuner version.")
    name: str = column("Name in the TuneSpec.")
    cohort_id: str = column("What it was tuned on.")
    status: str = column("running, done, failed or stopped.")
    model: str = column("Backbone.")
    method: str = column("probe, cut, lora, last_n or full.")
    task: str = column("Task kind.")
    started_at_utc: datetime = column("When it first started.")
    seconds: float = column("Compute time, all attempts.", unit="s")
    device: str = column("cpu, or the GPU's name.")
    seed: int = column("Seed of order, augmentation and initialisation.")


@dataclass(frozen=True, slots=True)
class Metric:
    """One row per metric of one run, per site always: an average hides a hospital."""

    run_id: str = column("The run.")
    arm: str = column("untuned, tuned, or gain (tuned minus untuned, paired).")
    split: str = column("train, tune, test or holdout.")
    site: str = column("A site, or 'all'.")
    subgroup: str = column("'all', or column=value.")
    label: str = column("The label, or 'macro'.")
    name: str = column("auroc, auprc, brier, ece, c_index, c_index_over_clinical and so on.")
    value: float | None = column("The estimate; NULL where it cannot be computed or a cell is too small.")
    low: float | None = column("Lower end of the 95 % patient-cluster bootstrap interval.")
    high: float | None = column("Upper end.")
    n: int = column("Studies it rests on.", arrow=_I32)
    n_positive: int | None = column("Of these, positive.", arrow=_I32)


@dataclass(frozen=True, slots=True)
class Prediction:
    """One row per study, label and arm of one run."""

    run_id: str = column("The run.")
    study_id: UUID = column("The study.")
    series_id: UUID = column("The series shown to the model.")
    patient_id: UUID = column("The person at the site.")
    site: str = column("Who delivered.")
    split: str = column("train, tune, test or holdout.")
    arm: str = column("untuned or tuned.")
    label: str = column("The label.")
    target: float | None = column("Truth; NULL where unknown.")
    score: float = column("Probability, or the prediction itself for regression.")


@dataclass(frozen=True, slots=True)
class LabelIssue:
    """One row per label of one study that one run suspects of being wrong, the most suspect first."""

    run_id: str = column("The run.")
    rank: int = column("1 is the most suspect of the run.", arrow=_I32)
    study_id: UUID = column("The study.")
    series_id: UUID = column("The series shown to the model.")
    patient_id: UUID = column("The person at the site.")
    site: str = column("Who delivered.")
    split: str = column("train, tune, test or holdout.")
    label: str = column("The label.")
    given: float = column("What the cohort says: 1 or 0.")
    probability: float | None = column(
        "Of 1, from the images of other patients alone (out of fold); NULL where there are too few."
    )
    report: str | None = column("What the report says: present or absent; NULL where it says neither.")
    is_odd_image: bool = column("Confident learning: the image looks like the other class.")
    is_report_conflict: bool = column("The report says the opposite of the label.")
    evidence: str | None = column(
        "The de-identified sentence of the report; NULL where the image alone speaks."
    )


@dataclass(frozen=True, slots=True)
class Relabel:
    """One row per correction of one label of one study. Only ever added to; of a study and label the latest stands."""

    study_id: UUID = column("The study.")
    patient_id: UUID = column("The person at the site.")
    site: str = column("Who delivered.")
    label: str = column("The label, as the cohort calls it.")
    value: float = column("What the reader says: 1 present, 0 absent, -1 uncertain.")
    given: float | None = column("What the cohort said before; NULL where unknown.")
    role: str = column("What the reader is, from a closed list; never who.")
    reason: str = column("Why, from a closed list.")
    cohort_id: str = column("The cohort whose label was looked at.")
    run_id: str | None = column("The run whose result led to the look; NULL where none did.")
    at_utc: datetime = column("When it was recorded.")
    code_version: str = column("Which rwid made the row.")


@dataclass(frozen=True, slots=True)
class Arrival:
    """One row per input seen. Restricted: lives under restricted/, never in the lake."""

    path: str = column("Where it lay, inside the delivery.")
    kind: str = column("dicom, report, clinical, archive or unknown.")
    source_digest: Blob = column("Keyed hash of the source's bytes.")
    bytes: int = column("Size.", unit="B")
    site: str = column("Who delivered.")
    delivery: str = column("With which delivery it came.")
    received_at_utc: datetime = column("When rwid first saw it.")


Row = (
    Instance
    | Frame
    | Report
    | Finding
    | Outcome
    | PersonToken
    | DeidLog
    | Refusal
    | Residual
    | Verification
    | Series
    | Study
    | Patient
    | Cohort
    | Member
    | Run
    | Metric
    | Prediction
    | LabelIssue
    | Relabel
    | Arrival
)

DELIVERED: Mapping[str, type] = {
    "instances": Instance,
    "frames": Frame,
    "reports": Report,
    "findings": Finding,
    "outcomes": Outcome,
    "person_tokens": PersonToken,
    "deid_log": DeidLog,
    "refusals": Refusal,
    "residuals": Residual,
    "verifications": Verification,
}
"""Bulk tables: written once a delivery, listed in the delivery's part list."""

CATALOGUED: Mapping[str, type] = {"studies": Study, "series": Series, "patients": Patient}
"""Catalogue tables: folded from the bulk tables, kept sorted, listed in the snapshot manifest itself."""

DECIDED: Mapping[str, type] = {"relabels": Relabel}
"""Tables of what people decided: listed in the manifest, carried from snapshot to snapshot, only ever added to."""

FOLDERS: Mapping[str, tuple[type, str]] = {
    "cohorts": (Cohort, "cohorts/*/cohort.parquet"),
    "members": (Member, "cohorts/*/members.parquet"),
    "runs": (Run, "runs/*/run.parquet"),
    "metrics": (Metric, "runs/*/metrics.parquet"),
    "predictions": (Prediction, "runs/*/predictions.parquet"),
    "label_issues": (LabelIssue, "runs/*/label_issues.parquet"),
}
"""Views over files that cohorts and runs write: table -> (row class, glob under the lake)."""

TABLES: Mapping[str, type] = {
    **DELIVERED,
    **CATALOGUED,
    **DECIDED,
    **{name: cls for name, (cls, _) in FOLDERS.items()},
}
"""Every table of the lake by name."""


def _arrow_type(hint: Any, declared: pa.DataType | None) -> tuple[pa.DataType, bool]:
    arguments = typing.get_args(hint)
    nullable = NoneType in arguments
    if declared is not None:
        return declared, nullable
    plain = next(a for a in arguments if a is not NoneType) if nullable else hint
    return _ARROW[plain], nullable


def schema_of(row_class: type) -> pa.Schema:
    """Arrow schema of a row class; field metadata carries sentence, unit and DICOM keyword."""
    # a column may be called `bytes`: hints are resolved against the module, never against the class
    hints = typing.get_type_hints(row_class, localns={})
    fields = []
    for f in dataclasses.fields(row_class):
        kind, nullable = _arrow_type(hints[f.name], f.metadata["arrow"])
        facts = {k: f.metadata[k] for k in ("sentence", "unit", "dicom") if f.metadata[k]}
        fields.append(pa.field(f.name, kind, nullable=nullable, metadata=facts))
    return pa.schema(fields)


def _plain(value: Any) -> Any:
    return value.bytes if isinstance(value, UUID) else value


def to_table(row_class: type, rows: Iterable[Any]) -> pa.Table:
    """Rows of one class as an Arrow table with `schema_of(row_class)`; an empty iterable gives an empty table."""
    schema = schema_of(row_class)
    rows = list(rows)
    columns = [pa.array([_plain(getattr(r, f.name)) for r in rows], type=f.type) for f in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def dictionary_markdown() -> str:
    """The data dictionary: every table with its grain, every column with type, unit, DICOM keyword and sentence."""
    lines = [
        "# Data dictionary",
        "",
        "Made from `curation/records.py` by `rwid doctor --dictionary`; a test says when this page is stale.",
        "Asset key = table = folder = DuckDB view. Dates are shifted by one secret offset a patient; ids are keyed.",
    ]
    for name, row_class in TABLES.items():
        lines += [
            "",
            f"## {name}",
            "",
            (row_class.__doc__ or "").strip(),
            "",
            "| column | type | unit | DICOM | |",
            "|---|---|---|---|---|",
        ]
        for f in schema_of(row_class):
            facts = {k.decode(): v.decode() for k, v in (f.metadata or {}).items()}
            kind = "uuid" if f.type == pa.uuid() else str(f.type)
            null = "" if not f.nullable else ", may be NULL"
            lines.append(
                f"| `{f.name}` | {kind}{null} | {facts.get('unit', '')} | {facts.get('dicom', '')} | {facts['sentence']} |"
            )
    return "\n".join(lines) + "\n"
