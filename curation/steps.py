"""The walk of ONE item: a file or a report goes down the corridor once and comes out as rows, or as a reason.

What belongs here: reading, cleaning, encoding one item, and filling its rows. What does not: the order of items, what is
a duplicate, where rows are written (delivery), how workers are kept (engine).
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any
from uuid import UUID

from curation import finding, frames
from curation.deid.header import Identity, clean_header
from curation.deid.pixels import SOURCE as REGION_SOURCE
from curation.deid.pixels import Box, blanker, boxes_to_blank
from curation.deid.policy import Policy, compile_policy, load_profile
from curation.deid.pseudonyms import Pseudonyms
from curation.deid.text import clean_text
from curation.instance import describe, to_number
from curation.linkage import NORM_PROFILE, Tokenizer
from curation.part10 import NATIVE
from curation.records import DeidLog, Finding, Frame, Instance, Outcome, PersonToken, Refused, Report


@dataclass(frozen=True, slots=True)
class Stamp:
    """What every row of one delivery carries."""

    site: str
    delivery: str
    code_version: str


@dataclass(frozen=True, slots=True)
class Context:
    """What a worker needs for every item: made once a process, since compiling a policy takes a moment."""

    policy: Policy
    pseudonyms: Pseudonyms
    tokenizer: Tokenizer
    stamp: Stamp
    max_file_bytes: int


@dataclass(frozen=True, slots=True)
class TakenInstance:
    """What one DICOM file became. `identity` is RESTRICTED."""

    source_digest: bytes
    instance: Instance
    frames: list[Frame]
    log: DeidLog
    identity: Identity


@dataclass(frozen=True, slots=True)
class Withheld:
    """One input that gave no data: where and why."""

    source_digest: bytes
    step: str
    reason: str


@dataclass(frozen=True, slots=True)
class Linked:
    """A report or a table row together with the study it belongs to. RESTRICTED."""

    text: str | None
    fields: Mapping[str, str]
    source_digest: bytes
    study_id: UUID
    patient_id: UUID
    identity: Identity


@dataclass(frozen=True, slots=True)
class TakenReport:
    """What one report or table row became."""

    source_digest: bytes
    report: Report | None
    findings: list[Finding]
    outcomes: list[Outcome]
    log: DeidLog | None


def take_instance(context: Context, path: Path) -> TakenInstance | Withheld:
    """One DICOM file as its rows; Withheld where the data are bad. A bug raises."""
    with _buffer(path) as data:
        digest = context.pseudonyms.digest(data)
        if len(data) > context.max_file_bytes:
            return Withheld(digest, "read", "too_large")
        step = "deidentify"
        try:
            clean = clean_header(data, context.policy, context.pseudonyms, context.stamp.site)
            step = "pixels"
            boxes = boxes_to_blank(clean)
            blank = blanker(boxes, is_ybr=b"YBR_" in clean.header and clean.transfer_syntax in NATIVE)
            payloads = list(frames.iter_payloads(data, clean, blank=blank)) if clean.pixels else []
        except Refused as refusal:
            return Withheld(digest, step, refusal.reason)
        size = len(data)
    instance = describe(
        clean,
        [p.pixel_sha256 for p in payloads],
        burned_in_regions=_regions(boxes),
        source_digest=digest,
        bytes=size,
        policy_version=context.policy.version,
        key_id=context.pseudonyms.key_id,
        **_stamp(context),
    )
    return TakenInstance(
        digest,
        instance,
        _frames(instance, payloads),
        _log(
            context,
            digest,
            "instance",
            clean.actions,
            instance_id=clean.instance_id,
            study_id=clean.study_id,
            boxes=boxes,
        ),
        clean.identity,
    )


def make_context(key: bytes, profile: str, stamp: Stamp, max_file_bytes: int) -> Context:
    """What a worker needs, from what can be sent to it. Raises ConfigurationError where the profile is wrong."""
    policy = compile_policy(load_profile(profile))
    return Context(policy, Pseudonyms(key), Tokenizer(key), stamp, max_file_bytes)


def digest_of_file(context: Context, path: Path) -> bytes:
    """Keyed digest of a file's bytes."""
    with _buffer(path) as data:
        return context.pseudonyms.digest(data)


@contextmanager
def _buffer(path: Path) -> Iterator[mmap.mmap | bytes]:
    """The file's bytes, mapped: what is not looked at takes no memory."""
    with path.open("rb") as file:
        if path.stat().st_size == 0:
            yield b""
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield data


def _frames(instance: Instance, payloads: list[frames.Payload]) -> list[Frame]:
    return [
        Frame(
            instance_id=instance.instance_id,
            frame_index=index,
            series_id=instance.series_id,
            codec=payload.codec,
            payload=payload.payload,
            pixel_sha256=payload.pixel_sha256,
            site=instance.site,
            delivery=instance.delivery,
            code_version=instance.code_version,
        )
        for index, payload in enumerate(payloads)
    ]


def _regions(boxes: Sequence[Box]) -> list[dict[str, Any]]:
    return [{**asdict(box), "source": REGION_SOURCE} for box in boxes]


def _stamp(context: Context) -> dict[str, str]:
    return {f.name: getattr(context.stamp, f.name) for f in fields(Stamp)}


def _log(
    context: Context,
    digest: bytes,
    kind: str,
    actions: tuple[tuple[str, str], ...],
    *,
    instance_id: UUID | None = None,
    report_id: UUID | None = None,
    study_id: UUID | None = None,
    boxes: Sequence[Box] = (),
) -> DeidLog:
    return DeidLog(
        source_digest=digest,
        kind=kind,
        instance_id=instance_id,
        report_id=report_id,
        study_id=study_id,
        actions=[{"tag": tag, "action": action} for tag, action in actions],
        regions=_regions(boxes),
        withheld=None,
        policy_version=context.policy.version,
        key_id=context.pseudonyms.key_id,
        **_stamp(context),
    )


def take_report(context: Context, linked: Linked) -> TakenReport | Withheld:
    """One report or table row as its rows; Withheld where something identifying would be left."""
    stamp = _stamp(context)
    labels, outcomes = _labels(linked.fields), _outcomes(linked, stamp)
    findings = finding.findings_of_labels(linked.study_id, labels, **stamp)
    if linked.text is None:
        return TakenReport(linked.source_digest, None, findings, outcomes, None)
    try:
        clean = clean_text(
            linked.text, linked.identity, context.policy, context.pseudonyms, linked.patient_id
        )
    except Refused as refusal:
        return Withheld(linked.source_digest, "deidentify", refusal.reason)
    report = Report(
        report_id=context.pseudonyms.identifier("report", linked.source_digest.hex()),
        study_id=linked.study_id,
        patient_id=linked.patient_id,
        language=clean.language,
        text=clean.text,
        sections=finding.find_sections(clean.text),
        n_redactions=clean.n_redactions,
        source_digest=linked.source_digest,
        policy_version=context.policy.version,
        key_id=context.pseudonyms.key_id,
        **stamp,
    )
    log = _log(
        context,
        linked.source_digest,
        "report",
        clean.actions,
        report_id=report.report_id,
        study_id=linked.study_id,
    )
    return TakenReport(linked.source_digest, report, finding.findings_of(report) + findings, outcomes, log)


def _labels(columns: Mapping[str, str]) -> dict[str, float]:
    """Label columns of a table row: `label_<finding>` with 1 present, 0 absent, -1 uncertain; empty says nothing."""
    named = {
        k.removeprefix("label_"): to_number(v)
        for k, v in columns.items()
        if k.startswith("label_") and v.strip()
    }
    return {k: v for k, v in named.items() if v is not None}


def _outcomes(linked: Linked, stamp: dict[str, str]) -> list[Outcome]:
    """Outcome columns of a table row: `outcome_<event>_days` and `outcome_<event>_observed`."""
    outcomes = []
    for key, value in sorted(linked.fields.items()):
        match = re.fullmatch(r"outcome_(\w+)_days", key)
        days = to_number(value) if match and value.strip() else None
        if match is None or days is None:
            continue
        observed = linked.fields.get(f"outcome_{match[1]}_observed", "").strip().lower() in (
            "1",
            "1.0",
            "true",
            "yes",
        )
        outcomes.append(Outcome(linked.patient_id, linked.study_id, match[1], days, observed, **stamp))
    return outcomes


def person_tokens(context: Context, patient_id: UUID, identity: Identity) -> list[PersonToken]:
    """Linkage tokens of one person from what the header says: name, birth date, sex."""
    tokens = context.tokenizer.tokens(identity.patient_name, identity.birth_date, identity.sex)
    stamp = _stamp(context)
    return [
        PersonToken(patient_id, rule, NORM_PROFILE, context.tokenizer.ring, token, **stamp)
        for rule, token in tokens.items()
    ]
