"""The walk of ONE item: a file or a report goes down the corridor once and comes out as rows, or as a reason.

What belongs here: reading, cleaning, encoding one item, and filling its rows. What does not: the order of items, what is
a duplicate, where rows are written (delivery), how workers are kept (engine).
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any
from uuid import UUID

from curation import finding, frames
from curation.deid.cut import cut_of
from curation.deid.encapsulated import read_document
from curation.deid.header import Clean, Identity, clean_header
from curation.deid.members import mapped, plan_files
from curation.deid.pixels import Look, PixelRules, Plan, Region, load_pixel_rules, triage
from curation.deid.policy import Policy, compile_policy, load_profile
from curation.deid.pseudonyms import Pseudonyms
from curation.deid.sealed import seal
from curation.deid.text import clean_text
from curation.instance import describe, to_number
from curation.linkage import NORM_PROFILE, Tokenizer
from curation.records import DeidLog, Finding, Frame, Instance, Outcome, PersonToken, Refused, Report
from curation.site import Site


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
    rules: PixelRules


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
class Deferred:
    """One DICOM file whose pixels must be looked at together with those of its series."""

    source_digest: bytes
    instance_id: UUID
    series_id: UUID


@dataclass(frozen=True, slots=True)
class Planned:
    """A file whose pixels were looked at, and what becomes of them."""

    path: Path
    plan: Plan


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
class TakenDocument:
    """The text of a document inside a DICOM object, before it is cleaned as a report of its study. RESTRICTED."""

    source_digest: bytes
    text: str
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


def take_instance(context: Context, path: Path) -> TakenInstance | TakenDocument | Withheld | Deferred:
    """One DICOM file as its rows; Withheld where the data are bad, Deferred where its series must be seen whole. A bug raises."""
    return _take(context, path, None)


def take_planned(context: Context, planned: Planned) -> TakenInstance | Withheld:
    """One deferred file as its rows, its pixels as planned."""
    taken = _take(context, planned.path, planned.plan)
    assert isinstance(taken, TakenInstance | Withheld)
    return taken


def look_at_series(context: Context, paths: Sequence[Path]) -> list[Plan | str]:
    """The plan for each deferred file of one series, or the reason why it is withheld.

    Plans come back and not rows: a long series' frames would not fit into one answer.
    """
    return plan_files(paths, context.policy, context.pseudonyms, context.stamp.site, context.rules)


def _take(
    context: Context, path: Path, plan: Plan | None
) -> TakenInstance | TakenDocument | Withheld | Deferred:
    with mapped(path) as data:
        digest = context.pseudonyms.digest(data)
        if len(data) > context.max_file_bytes:
            return Withheld(digest, "read", "too_large")
        step = "deidentify"
        try:
            clean = clean_header(data, context.policy, context.pseudonyms, context.stamp.site)
            step = "pixels"
            decision = plan or triage(clean, context.policy, context.rules)
            if isinstance(decision, Look):
                return Deferred(digest, clean.instance_id, clean.series_id)
            clean = seal(clean, decision, context.policy)
            payloads = list(_payloads(data, clean, decision))
        except Refused as refusal:
            if refusal.reason == "document":
                return _take_document(context, data, digest)
            return Withheld(digest, step, refusal.reason)
        size = len(data)
    return _taken(context, clean, decision, digest, size, payloads)


def _take_document(context: Context, data: mmap.mmap | bytes, digest: bytes) -> TakenDocument | Withheld:
    """The text of an encapsulated document; it is linked and cleaned with the other reports."""
    try:
        about, text, identity = read_document(data, context.policy, context.pseudonyms, context.stamp.site)
    except Refused as refusal:
        return Withheld(digest, "deidentify", refusal.reason)
    return TakenDocument(digest, text, about.study_id, about.patient_id, identity)


def _payloads(data: mmap.mmap | bytes, clean: Clean, plan: Plan) -> Iterator[frames.Payload]:
    if clean.pixels is None:
        return
    layout = frames.read_layout(clean.header, frames.FLOATS.get(clean.pixels.keyword))
    yield from frames.iter_payloads(data, clean, cut=cut_of(plan, layout, clean.transfer_syntax))


def _taken(
    context: Context, clean: Clean, plan: Plan, digest: bytes, size: int, payloads: list[frames.Payload]
) -> TakenInstance:
    instance = describe(
        clean,
        [p.pixel_sha256 for p in payloads],
        burned_in_regions=_regions(plan.regions),
        source_digest=digest,
        bytes=size,
        policy_version=context.policy.version,
        key_id=context.pseudonyms.key_id,
        **_stamp(context),
    )
    log = _log(
        context,
        digest,
        "instance",
        clean.actions,
        instance_id=clean.instance_id,
        study_id=clean.study_id,
        regions=plan.regions,
    )
    return TakenInstance(digest, instance, _frames(instance, payloads), log, clean.identity)


def make_context(
    key: bytes, profile: str, stamp: Stamp, max_file_bytes: int, site: Site | None = None
) -> Context:
    """What a worker needs, from what can be sent to it. Raises ConfigurationError where the profile is wrong."""
    policy = compile_policy(load_profile(profile))
    return Context(policy, Pseudonyms(key), Tokenizer(key), stamp, max_file_bytes, load_pixel_rules(site))


def digest_of_file(context: Context, path: Path) -> bytes:
    """Keyed digest of a file's bytes."""
    with mapped(path) as data:
        return context.pseudonyms.digest(data)


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


def _regions(regions: Sequence[Region]) -> list[dict[str, Any]]:
    return [{**asdict(region.box), "source": region.source} for region in regions]


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
    regions: Sequence[Region] = (),
) -> DeidLog:
    return DeidLog(
        source_digest=digest,
        kind=kind,
        instance_id=instance_id,
        report_id=report_id,
        study_id=study_id,
        actions=[{"tag": tag, "action": action} for tag, action in actions],
        regions=_regions(regions),
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
