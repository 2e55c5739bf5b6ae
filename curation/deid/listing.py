"""What lies in a folder or an archive: the files to read, and everything that is not read, counted.

What belongs here: walking, having archives laid out, and sweeping up what a killed run left. What does not: reading a file
(take), unpacking (sources.archive).
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from curation.part10 import sniff
from curation.records import Refused
from curation.sources.archive import is_archive, unpack

REPORTS = frozenset(
    ".txt .pdf .rtf .doc .docx .odt .htm .html .xml .csv .tsv .xlsx .json .hl7".split()  # noqa: SIM905
)


_SNIFF_BYTES = 512
_MAX_ARCHIVE_DEPTH = 3


@dataclass(frozen=True, slots=True)
class Entry:
    """One file to read. RESTRICTED: both are raw."""

    path: Path
    name: str
    """Where it lies below SRC; a member of an archive as if the archive were a folder."""
    refused: str | None = None
    """Why an archive was not opened."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The regular files of a folder or an archive in order of their names, and by kind how many entries are not read."""

    files: Sequence[Entry]
    skipped: Mapping[str, int]
    """link, special (pipes, sockets, devices), unreadable, folder (unreadable ones)."""
    largest: int
    """Bytes of the largest file."""


def list_source(src: Path, spool: Path) -> Listing:
    """Every entry under SRC, links not followed, or in it, where it is an archive; members are laid out in `spool`."""
    if src.is_file():
        found, skipped = [src], Counter[str]()
    else:
        found, skipped = list_files(src)
    files = [
        entry
        for path in found
        for entry in _opened(path, "" if path == src else path.relative_to(src).as_posix(), spool, depth=0)
    ]
    files.sort(key=lambda entry: PurePosixPath(entry.name))
    largest = max((_size(entry.path) for entry in files), default=0)
    return Listing(files, {kind: n for kind, n in skipped.items() if n}, largest)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _opened(path: Path, name: str, spool: Path, depth: int) -> Iterator[Entry]:
    """The file itself, or the members of the archive that it is, those of archives in it too."""
    try:
        with path.open("rb") as file:
            head = file.read(_SNIFF_BYTES)
    except OSError:  # whoever takes it says so
        head = b""
    if sniff(head) or not is_archive(path, head):
        yield Entry(path, name)
        return
    try:
        if depth >= _MAX_ARCHIVE_DEPTH:
            raise Refused("too_large")
        members = list(unpack(path, spool))
    except Refused as refusal:
        # all or nothing, as at ingest: who gets half an archive does not look for the other half
        yield Entry(path, name or path.name, refusal.reason)
        return
    for member, laid in members:
        parts = [
            *PurePosixPath(name).parts,
            *(p for p in PurePosixPath(member).parts if p not in ("/", "..")),
        ]
        yield from _opened(laid, "/".join(parts), spool, depth + 1)


def list_files(src: Path) -> tuple[list[Path], Counter[str]]:
    """Every regular file under SRC, links not followed; and by kind how many entries are not read."""
    files: list[Path] = []
    skipped: Counter[str] = Counter()
    for folder, folders, names in os.walk(
        src, onerror=lambda error: skipped.update([_folder_kind(error, src)])
    ):
        skipped["link"] += sum(Path(folder, name).is_symlink() for name in folders)
        for name in names:
            path = Path(folder, name)
            kind = _kind(path)
            if kind:
                skipped[kind] += 1
            else:
                files.append(path)
    return files, skipped


def _kind(path: Path) -> str | None:
    """Why an entry is not read; None for a regular file."""
    try:
        mode = path.lstat().st_mode
    except OSError:
        return "unreadable"
    if stat.S_ISLNK(mode):
        return "link"
    if not stat.S_ISREG(mode):
        return "special"
    return None if os.access(path, os.R_OK) else "unreadable"


def _folder_kind(error: OSError, src: Path) -> str:
    if error.filename and Path(error.filename) == src:
        raise error
    return "folder"


def looks_like_report(name: str) -> bool:
    """Whether a file that is no DICOM has a name like a report or a table."""
    return PurePosixPath(name).suffix.lower() in REPORTS


def sweep(dst: Path) -> None:
    """Removes the unfinished files of a run that was killed."""
    for folder, _, names in os.walk(dst):
        for name in names:
            if name.startswith(".") and name.endswith(".part"):
                Path(folder, name).unlink(missing_ok=True)
