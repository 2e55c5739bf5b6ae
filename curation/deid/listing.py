"""What lies in a folder: the files to read, and everything that is not read, counted.

What belongs here: walking, and sweeping up what a killed run left. What does not: reading a file (folder).
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

REPORTS = frozenset(
    ".txt .pdf .rtf .doc .docx .odt .htm .html .xml .csv .tsv .xlsx .json .hl7".split()  # noqa: SIM905
)


@dataclass(frozen=True, slots=True)
class Listing:
    """The regular files of a folder in order, and by kind how many entries are not read."""

    files: Sequence[Path]
    skipped: Mapping[str, int]
    """link, special (pipes, sockets, devices), unreadable, folder (unreadable ones)."""
    largest: int
    """Bytes of the largest file."""


def list_files(src: Path) -> Listing:
    """Every entry under SRC, links not followed."""
    files: list[Path] = []
    skipped: Counter[str] = Counter()
    largest = 0
    for folder, folders, names in os.walk(
        src, onerror=lambda error: skipped.update([_folder_kind(error, src)])
    ):
        skipped["link"] += sum(Path(folder, name).is_symlink() for name in folders)
        for name in names:
            path = Path(folder, name)
            try:
                found = path.lstat()
            except OSError:
                skipped["unreadable"] += 1
                continue
            if stat.S_ISLNK(found.st_mode):
                skipped["link"] += 1
            elif not stat.S_ISREG(found.st_mode):
                skipped["special"] += 1
            elif not os.access(path, os.R_OK):
                skipped["unreadable"] += 1
            else:
                files.append(path)
                largest = max(largest, found.st_size)
    return Listing(sorted(files), {kind: n for kind, n in skipped.items() if n}, largest)


def _folder_kind(error: OSError, src: Path) -> str:
    if error.filename and Path(error.filename) == src:
        raise error
    return "folder"


def looks_like_report(path: Path) -> bool:
    """Whether a file that is no DICOM has a name like a report or a table."""
    return path.suffix.lower() in REPORTS


def sweep(dst: Path) -> None:
    """Removes the unfinished files of a run that was killed."""
    for folder, _, names in os.walk(dst):
        for name in names:
            if name.startswith(".") and name.endswith(".part"):
                Path(folder, name).unlink(missing_ok=True)
