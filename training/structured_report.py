"""One series' predictions as a DICOM Comprehensive SR: TID 1500 Measurement Report (PS3.16), written by highdicom.

What belongs here: the document. What does not: predicting, files (predict). The document carries the patient and study
of its source images, as every object of the same study does: it belongs where they belong. The same images and scores
give the same bytes, so that judging twice does not double a study.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Sequence
from typing import Any

from pydicom.uid import UID

SCHEME = "99RWID"
Finding = tuple[str, float, float | None]
"""Label, probability in 0..1, and the probability from which it counts as present; None where none was chosen."""


def document(
    shown: Sequence[tuple[Any, int]], findings: Sequence[Finding], run_id: str, model_sha256: str
) -> tuple[Any, bytes]:
    """The document and its bytes as a DICOM file, from the headers and frames (from 0) that the model saw.

    Each label is one measurement group: the finding, its certainty in per cent (DCM 111012), present or absent where
    the run has an operating point, and the images it was read from.
    """
    from highdicom import sr
    from pydicom.sr.codedict import codes

    sources = {str(header.SOPInstanceUID): header for header, _ in shown}
    first = shown[0][0]
    seed = [
        model_sha256,
        *(f"{header.SOPInstanceUID}/{index}" for header, index in shown),
        *(f"{label}={score!r}" for label, score, _ in findings),
    ]
    observer = sr.ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
            uid=uid("device", model_sha256),
            name="rwid",
            manufacturer_name="rwid",
            model_name=f"run {run_id}",
        ),
    )
    algorithm = sr.AlgorithmIdentification(
        name="rwid", version=run_id, parameters=[f"model sha256 {model_sha256}"]
    )
    groups = [
        _group(finding, number, list(sources.values()), algorithm, seed)
        for number, finding in enumerate(findings)
    ]
    content = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=observer),
        procedure_reported=sr.CodedConcept("imaging", SCHEME, "Imaging procedure"),
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
    )
    # highdicom warns of odd person names by writing them out
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = sr.ComprehensiveSR(
            evidence=list(sources.values()),
            content=content[0],
            series_instance_uid=uid("series", *seed),
            series_number=9000,
            sop_instance_uid=uid("document", *seed),
            instance_number=1,
            manufacturer="rwid",
            series_description="rwid predictions, not for diagnosis",
            is_complete=True,
            is_verified=False,
        )
    still(made, first)
    target = io.BytesIO()
    made.save_as(target, enforce_file_format=True)
    return made, target.getvalue()


def _group(finding: Finding, number: int, sources: Sequence[Any], algorithm: Any, seed: Sequence[str]) -> Any:
    from highdicom import sr
    from pydicom.sr.codedict import codes

    label, score, threshold = finding
    certainty = sr.Measurement(
        name=codes.DCM.CertaintyOfFinding,
        value=round(100 * score, 4),
        unit=codes.UCUM.Percent,
        algorithm_id=algorithm,
    )
    judged = [] if threshold is None else [
        sr.QualitativeEvaluation(
            name=sr.CodedConcept("presence", SCHEME, "Presence at the run's operating point"),
            value=sr.CodedConcept("present", SCHEME, "Present") if score >= threshold else sr.CodedConcept("absent", SCHEME, "Absent"),
        )
    ]  # fmt: skip
    return sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(
            uid=uid("group", str(number), *seed), identifier=label[:64]
        ),
        finding_type=sr.CodedConcept(label[:16], SCHEME, label[:64]),
        measurements=[certainty],
        qualitative_evaluations=judged,
        source_images=[sr.SourceImageForMeasurementGroup.from_source_image(header) for header in sources],
    )


def uid(*parts: str) -> UID:
    """A UID made from a hash of what it names (PS3.5 B.2)."""
    digest = hashlib.sha256("\0".join(["rwid structured report", *parts]).encode()).digest()
    return UID(f"2.25.{int.from_bytes(digest[:16], 'big')}")


def still(made: Any, first: Any) -> None:
    """The day of the source in place of the clock's, so that the same predictions are the same document."""
    day = str(getattr(first, "StudyDate", "") or "19000101")
    for keyword in ("ContentDate", "InstanceCreationDate"):
        if keyword in made:
            setattr(made, keyword, day)
    for keyword in ("ContentTime", "InstanceCreationTime"):
        if keyword in made:
            setattr(made, keyword, "000000")
    for item in made.get("ContributingEquipmentSequence", ()):
        if "ContributionDateTime" in item:
            item.ContributionDateTime = f"{day}000000"
