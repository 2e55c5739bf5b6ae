"""A folder de-identified into a folder, without a lake: one pass over the files, one over series whose pixels are looked at.

What belongs here: the order of the work, what becomes of each file of SRC, the counts. What does not: how a released file is
taken (take), what an earlier run did (journal), how workers are kept (engine).
"""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

from curation.deid.journal import Journal
from curation.deid.listing import Entry, Listing, list_source, looks_like_report, sweep
from curation.deid.log import LOG_NAME, stamp_of, write_log
from curation.deid.pixels import Plan, load_pixel_rules
from curation.deid.policy import Policy
from curation.deid.pseudonyms import Pseudonyms
from curation.deid.take import Job, Taken, Task, aside_of, digest_of, look_at_series, make_job, take_task
from curation.engine import Crew, Outcome, map_items
from curation.records import ConfigurationError
from curation.site import Site
from curation.sources.archive import is_archive
from curation.sources.archive import sweep as sweep_spool

__all__ = ["LOG_NAME", "deidentify_folder"]

SERIES_DEADLINE_FILES, MEMBER_S = 10, 3.0
"""A series that is looked at whole has the deadline of that many files, and so many seconds more a file of the longest one."""

Progress = Callable[[str, int, int], None]
"""Called with what is done, how many are done, and of how many."""


def deidentify_folder(
    src: Path,
    dst: Path,
    policy: Policy,
    pseudonyms: Pseudonyms,
    site: str,
    *,
    site_rules: Site | None = None,
    workers: int = 0,
    progress: Progress | None = None,
    deadline_s: float = 600.0,
    memory_mib: int = 2048,
    spool: Path | None = None,
) -> dict[str, Any]:
    """Release SRC's objects, a folder's or an archive's (zip, tar), under DST, its tree mirrored under pseudonymous names, with DST/deid_log.parquet.

    Gives {read, released, kept, withheld: {reason: files}, faults: {place: files}, reports, skipped: {what: entries}, strays, is_foreign}: every
    regular file of SRC is read once and counted once; `kept` of the released were there from an earlier run under the same
    policy, key and code; `faults` are the places in the code where rwid itself broke; `reports` of the withheld look like reports; `skipped` are no readable files; `strays` are files in
    DST that this run knows nothing of. With 0 workers all is done in this process, and a decoder that breaks breaks it.
    Archives are read as the folders that they are; `spool` is where their members lie meanwhile, a private temporary folder
    by default. Raises ConfigurationError where SRC is neither folder nor archive, or DST lies in SRC.
    """
    src, dst = Path(src).resolve(), Path(dst).resolve()
    if not src.is_dir() and not (src.is_file() and is_archive(src, _head(src))):
        raise ConfigurationError(
            f"{src} is not a folder and no zip or tar archive; name what holds the DICOM files."
        )
    if dst == src or src in dst.parents:
        raise ConfigurationError(f"{dst} lies in {src}; name a folder outside of it.")
    dst.mkdir(parents=True, exist_ok=True)
    job = Job(src, dst, policy, pseudonyms, site, load_pixel_rules(site_rules))
    with tempfile.TemporaryDirectory(prefix="rwid-") as own:
        room = spool or Path(own)
        try:
            listing = list_source(src, room)
            return _Run(job, listing, site_rules, workers, deadline_s, memory_mib, progress).go()
        finally:
            sweep_spool(room)


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(512)


def _name(job: Job, entry: Entry) -> str:
    """What the journal calls a source file."""
    return job.pseudonyms.identifier("path", entry.name).hex


class _Run:
    """One run over one folder."""

    def __init__(
        self,
        job: Job,
        listing: Listing,
        site: Site | None,
        workers: int,
        deadline_s: float,
        memory_mib: int,
        progress: Progress | None,
    ) -> None:
        self.job, self.listing, self.entries = job, listing, listing.files
        self._site, self._workers, self._deadline_s = site, workers, deadline_s
        self._crew = Crew(workers)
        # a mapped file counts as address space, though not as memory
        self._memory_mib = memory_mib + 3 * (listing.largest >> 20)
        self._progress = progress or (lambda what, done, total: None)
        self.rows: list[Taken | None] = [None] * len(self.entries)
        self._seen: dict[UUID, bytes] = {}
        self._actions: dict[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]] = {}
        self._deferred: dict[UUID, list[int]] = {}
        self._faults: Counter[str] = Counter()

    def go(self) -> dict[str, Any]:
        """All passes, the log, the counts."""
        sweep(self.job.dst)
        self.journal = Journal(self.job.dst, stamp_of(self.job.policy, self.job.pseudonyms, self.job.site))
        try:
            with self._crew:
                self._first_pass()
                self._second_pass()
        finally:
            self.journal.close()
            sweep(self.job.dst)
        self._unrelease()
        write_log(self.job.dst, self.rows, self.job.policy, self.job.pseudonyms, self.job.site)
        return self._counts()

    def _first_pass(self) -> None:
        names = [_name(self.job, entry) for entry in self.entries]
        tasks = [
            Task(entry.path, self.journal.known.get(name), name=entry.name, refused=entry.refused)
            for entry, name in zip(self.entries, names, strict=True)
        ]
        for at, taken in enumerate(self._take(tasks)):
            self._settle(at, taken)
            self._progress("files", at + 1, len(tasks))

    def _settle(self, at: int, taken: Taken) -> None:
        """Publishes what is released; the same object a second time is withheld, the first stays."""
        if taken.released:
            # most files of a device have the same actions done to them: one tuple for all
            actions = self._actions.setdefault(taken.released.actions, taken.released.actions)
            taken = replace(taken, released=replace(taken.released, actions=actions))
        ids = taken.deferred or (taken.released and (None, taken.released.instance_id))
        if ids:
            first = self._seen.setdefault(ids[1], taken.digest)
            if first is not taken.digest:
                self._drop(taken)
                reason = "duplicate" if first == taken.digest else "uid_conflict"
                self.rows[at] = Taken(taken.digest, withheld=reason)
                return
        if taken.deferred:
            self._deferred.setdefault(taken.deferred[0], []).append(at)
        self.rows[at] = taken
        if taken.released and not taken.deferred:
            self._publish(at, taken)

    def _second_pass(self) -> None:
        """Files whose series must be seen whole; a series of the same files as last time is left as it is."""
        series = []
        for group in self._deferred.values():
            digest = _group_of([self._row(at).digest for at in group])
            if all(self._is_done(self._row(at), digest) for at in group):
                for at in group:
                    self._publish(at, self._row(at))
            else:
                series.append((digest, group))
        planned = sorted(self._plans(series), key=lambda pair: pair[0])
        groups = {at: digest for digest, group in series for at in group}
        tasks = [Task(self.entries[at].path, plan=plan, name=self.entries[at].name) for at, plan in planned]
        for n, ((at, _), taken) in enumerate(zip(planned, self._take(tasks), strict=True), 1):
            if taken.released and (deferred := self._row(at).deferred):
                taken = replace(
                    taken, released=replace(taken.released, series_id=deferred[0], group=groups[at])
                )
            self.rows[at] = taken
            self._publish(at, taken)
            self._progress("looked-at files", n, len(tasks))

    def _plans(self, series: Sequence[tuple[str, list[int]]]) -> Iterator[tuple[int, Plan]]:
        """Which file and what becomes of its pixels; a series that cannot be looked at is withheld, and no other."""
        items = [[self.entries[at].path for at in group] for _, group in series]
        deadline_s = self._deadline_s * SERIES_DEADLINE_FILES + MEMBER_S * max(map(len, items), default=0)
        outcomes = self._map(look_at_series, items, deadline_s)
        for n, ((_, group), outcome) in enumerate(zip(series, outcomes, strict=True), 1):
            self._faults.update([outcome.fault] if outcome.fault else [])
            plans = outcome.value or [outcome.refused or "internal_fault"] * len(group)
            for at, plan in zip(group, plans, strict=True):
                if isinstance(plan, str):
                    self.rows[at] = Taken(self._row(at).digest, withheld=plan)
                else:
                    yield at, plan
            self._progress("series", n, len(series))

    def _is_done(self, taken: Taken, group: str) -> bool:
        return taken.is_kept and taken.released is not None and taken.released.group == group

    def _row(self, at: int) -> Taken:
        taken = self.rows[at]
        assert taken is not None
        return taken

    def _publish(self, at: int, taken: Taken) -> None:
        """Renames the released file into place, then remembers it: never the other way round."""
        if taken.released is None or taken.is_kept:
            return
        target = self.job.dst / taken.released.path
        aside_of(target, taken.digest).rename(target)
        self.journal.add(_name(self.job, self.entries[at]), taken.released)

    def _unrelease(self) -> None:
        """Removes what an earlier run released and this one withholds, such as a series that has grown by a telling picture."""
        released = {row.released.path for row in self.rows if row and row.released}
        for entry, row in zip(self.entries, self.rows, strict=True):
            known = self.journal.known.get(_name(self.job, entry))
            if known and row and not row.released and known.path not in released:
                (self.job.dst / known.path).unlink(missing_ok=True)

    def _drop(self, taken: Taken) -> None:
        if taken.released and not taken.is_kept:
            aside_of(self.job.dst / taken.released.path, taken.digest).unlink(missing_ok=True)

    def _take(self, tasks: Sequence[Task]) -> Iterator[Taken]:
        for task, outcome in zip(tasks, self._map(take_task, tasks, self._deadline_s), strict=True):
            if outcome.value is not None:
                yield outcome.value
            else:
                self._faults.update([outcome.fault] if outcome.fault else [])
                yield Taken(digest_of(self.job, task.path), withheld=outcome.refused)

    def _map(
        self, step: Callable[[Job, Any], Any], items: Iterable[Any], deadline_s: float
    ) -> Iterator[Outcome]:
        if self._workers < 1:
            return (Outcome(n, step(self.job, item), None) for n, item in enumerate(items))
        job = self.job
        return map_items(
            step,
            items,
            workers=self._workers,
            deadline_s=deadline_s,
            memory_mib=self._memory_mib,
            initializer=make_job,
            initargs=(job.src, job.dst, job.policy.profile, job.pseudonyms, job.site, self._site),
            crew=self._crew,
        )

    def _counts(self) -> dict[str, Any]:
        rows = [row for row in self.rows if row is not None]
        withheld = Counter(row.withheld for row in rows if row.withheld)
        released = {row.released.path for row in rows if row.released}
        unreadable = sum(not row.withheld and not row.released for row in rows)
        skipped = Counter(self.listing.skipped) + Counter({"unreadable": unreadable})
        reports = sum(
            row.withheld == "not_dicom" and looks_like_report(entry.name)
            for entry, row in zip(self.entries, rows, strict=True)
        )
        lying = {str(p.relative_to(self.job.dst)) for p in self.job.dst.rglob("*.dcm")}
        return {
            "read": len(rows) - unreadable,
            "released": len(released),
            "kept": sum(row.is_kept for row in rows),
            "withheld": dict(sorted(withheld.items())),
            "faults": dict(sorted(self._faults.items())),
            "reports": reports,
            "skipped": dict(sorted(skipped.items())),
            "strays": len(lying - released),
            "is_foreign": self.journal.is_foreign,
        }


def _group_of(digests: Iterable[bytes]) -> str:
    return hashlib.sha256(b"".join(sorted(digests))).hexdigest()[:32]
