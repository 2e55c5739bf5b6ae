"""One file of a folder: released under its final name's shadow, deferred, withheld, or left as an earlier run released it.

What belongs here: what a worker does with one file or one series. What does not: order, duplicates and names (folder).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from mmap import ACCESS_READ, mmap
from pathlib import Path, PurePosixPath
from uuid import UUID

from curation.deid.header import Clean, clean_header
from curation.deid.journal import Released
from curation.deid.members import plan_files
from curation.deid.pixels import Look, PixelRules, Plan, load_pixel_rules, triage
from curation.deid.policy import Policy, Profile, compile_policy
from curation.deid.pseudonyms import Pseudonyms
from curation.deid.release import SMALL_BYTES, write_object
from curation.deid.sealed import seal
from curation.records import Refused
from curation.site import Site


@dataclass(frozen=True, slots=True)
class Job:
    """What every file of one folder shares."""

    src: Path
    dst: Path
    policy: Policy
    pseudonyms: Pseudonyms
    site: str
    rules: PixelRules = field(default_factory=lambda: load_pixel_rules(None))


@dataclass(frozen=True, slots=True)
class Task:
    """One file to take: what an earlier run released of it, and the plan for its pixels, where they were looked at."""

    path: Path
    known: Released | None = None
    plan: Plan | None = None
    name: str | None = None
    """Where it lies below SRC, where its path does not say so: in an archive."""
    refused: str | None = None
    """Why an archive was not opened."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of one file: released (it still lies aside, unless kept), deferred, withheld, or not readable (none)."""

    digest: bytes
    released: Released | None = None
    is_kept: bool = False
    """An earlier run released it: nothing was written."""
    deferred: tuple[UUID, UUID] | None = None
    """Series and instance, where the pixels of the series must be looked at first."""
    withheld: str | None = None


def make_job(
    src: Path, dst: Path, profile: Profile, pseudonyms: Pseudonyms, name: str, site: Site | None
) -> Job:
    """What a worker needs, from what can be sent to it."""
    return Job(src, dst, compile_policy(profile), pseudonyms, name, load_pixel_rules(site))


def digest_of(job: Job, path: Path) -> bytes:
    """Keyed digest of a file, read piece by piece: a mapping would count as resident memory. Empty where it is gone."""
    try:
        with path.open("rb") as file:
            return job.pseudonyms.digest_of(hashlib.file_digest(file, "sha256").digest())
    except OSError:
        return b""


def aside_of(target: Path, digest: bytes) -> Path:
    """The unfinished name of a released file: its own for every source, and swept up where a run is killed."""
    return target.with_name(f".{target.name}.{digest[:8].hex()}.part")


def look_at_series(job: Job, paths: Sequence[Path]) -> list[Plan | str]:
    """A plan for each deferred file of one series, or the reason why it is withheld."""
    return plan_files(paths, job.policy, job.pseudonyms, job.site, job.rules)


def take_task(job: Job, task: Task) -> Taken:
    """One file as `take_file` gives it; one that the system does not let us read is neither released nor withheld."""
    if task.refused:
        return Taken(digest_of(job, task.path), withheld=task.refused)
    try:
        return take_file(job, task.path, task.known, task.plan, task.name)
    except (FileNotFoundError, PermissionError):
        return Taken(b"")


def take_file(
    job: Job, path: Path, known: Released | None = None, plan: Plan | None = None, name: str | None = None
) -> Taken:
    """One file released (it lies aside), deferred, or withheld with a reason; left alone where it is `known` to be released."""
    name = name or path.relative_to(job.src).as_posix()
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= SMALL_BYTES:
            data = file.read()
            digest = job.pseudonyms.digest(data)
            if _is_there(job, known, digest):
                return _kept(digest, known)
            return _take(job, name, data, digest, file.fileno(), plan)
        digest = digest_of(job, path)
        if _is_there(job, known, digest):
            return _kept(digest, known)
        with mmap(file.fileno(), 0, access=ACCESS_READ) as mapped:
            return _take(job, name, mapped, digest, file.fileno(), plan)


def _is_there(job: Job, known: Released | None, digest: bytes) -> bool:
    if known is None or known.digest != digest:
        return False
    target = job.dst / known.path
    return target.is_file() and target.stat().st_size == known.size


def _kept(digest: bytes, known: Released | None) -> Taken:
    assert known is not None
    deferred = (known.series_id, known.instance_id) if known.series_id else None
    return Taken(digest, known, is_kept=True, deferred=deferred)


def _take(job: Job, name: str, data: bytes | mmap, digest: bytes, source_fd: int, plan: Plan | None) -> Taken:
    try:
        clean = clean_header(data, job.policy, job.pseudonyms, job.site)
        decision = plan or triage(clean, job.policy, job.rules)
        if isinstance(decision, Look):
            return Taken(digest, deferred=(clean.series_id, clean.instance_id))
        clean = seal(clean, decision, job.policy)
        target = _target(job, name, clean)
        size = write_object(data, clean, decision, aside_of(job.dst / target, digest), source_fd)
    except Refused as refusal:
        return Taken(digest, withheld=refusal.reason)
    return Taken(
        digest,
        Released(digest, target, size, clean.instance_id, clean.study_id, clean.actions, decision.regions),
    )


def _target(job: Job, name: str, clean: Clean) -> str:
    """Where the released file lies: each folder name of SRC under a keyed name, the file under its own id."""
    folders = PurePosixPath(name).parts[:-1]
    names = [job.pseudonyms.identifier("folder", folder).hex[:12] for folder in folders]
    return "/".join([*names, f"{clean.instance_id}.dcm"])
