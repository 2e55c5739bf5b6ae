"""What was released into a folder, file by file, so that a run goes on where another ended.

What belongs here: remembering released files under keyed names, and forgetting what another policy or key made. What does not:
what becomes of a file (folder), the log that people read (deid_log.parquet).

One line of JSON a released file, written after the file has its final name: a run that is killed loses at most the line of a
file that is then released again with the same bytes. No line holds a path or a value of the source.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from curation.deid.pixels import Box, Region

NAME = ".deid_journal.jsonl"

Actions = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Released:
    """One file that was released: where it lies under DST, and what its row of the log says."""

    digest: bytes
    path: str
    size: int
    instance_id: UUID
    study_id: UUID
    actions: Actions
    regions: tuple[Region, ...] = ()
    series_id: UUID | None = None
    """Set where the pixels were looked at together with those of the series."""
    group: str = ""
    """Which files that series then had, as a digest of their digests."""


class Journal:
    """The released files of one folder by the keyed name of their source; appends while a run goes on."""

    def __init__(self, dst: Path, stamp: dict[str, str]) -> None:
        """`stamp` is what must be the same for a file to be left as it is: policy, key, site, version of the code."""
        self._path = dst / NAME
        self._stamp = stamp
        self._ids: dict[Actions, int] = {}
        self.is_foreign = False
        """Whether the folder's journal speaks of another policy, key, site or version."""
        self.known = self._read()
        self._fd = self._rewrite()

    def add(self, name: str, released: Released) -> None:
        """Remembers one released file."""
        os.write(self._fd, "".join(self._lines(name, released)).encode())

    def close(self) -> None:
        """Ends the writing."""
        os.close(self._fd)

    def _read(self) -> dict[str, Released]:
        if not self._path.exists():
            return {}
        actions: dict[int, Actions] = {}
        known: dict[str, Released] = {}
        with self._path.open(encoding="utf-8") as file:
            for number, line in enumerate(file):
                try:
                    row = json.loads(line)
                except ValueError:  # the last line of a run that was killed
                    break
                if number == 0:
                    if row != self._stamp:
                        self.is_foreign = True
                        return {}
                elif "actions" in row:
                    actions[row["id"]] = tuple((tag, action) for tag, action in row["actions"])
                else:
                    known[row["name"]] = _released(row, actions)
        return known

    def _rewrite(self) -> int:
        """The journal anew, without torn lines and double ones; open for appending."""
        aside = self._path.with_name(f"{NAME}.{os.getpid()}.part")
        with aside.open("w", encoding="utf-8") as file:
            file.write(json.dumps(self._stamp) + "\n")
            for name, released in self.known.items():
                file.writelines(self._lines(name, released))
        aside.rename(self._path)
        return os.open(self._path, os.O_WRONLY | os.O_APPEND)

    def _lines(self, name: str, released: Released) -> Iterator[str]:
        if released.actions not in self._ids:
            number = self._ids[released.actions] = len(self._ids)
            yield json.dumps({"id": number, "actions": released.actions}) + "\n"
        yield json.dumps(_row(name, released, self._ids[released.actions])) + "\n"


def _row(name: str, released: Released, actions: int) -> dict[str, Any]:
    boxes = [(r.box.x, r.box.y, r.box.width, r.box.height, r.source) for r in released.regions]
    return {
        "name": name,
        "digest": released.digest.hex(),
        "path": released.path,
        "size": released.size,
        "instance": released.instance_id.hex,
        "study": released.study_id.hex,
        "done": actions,
        "regions": boxes,
        "series": released.series_id.hex if released.series_id else "",
        "group": released.group,
    }


def _released(row: dict[str, Any], actions: dict[int, Actions]) -> Released:
    return Released(
        digest=bytes.fromhex(row["digest"]),
        path=row["path"],
        size=row["size"],
        instance_id=UUID(hex=row["instance"]),
        study_id=UUID(hex=row["study"]),
        actions=actions[row["done"]],
        regions=tuple(Region(Box(x, y, w, h), source) for x, y, w, h, source in row["regions"]),
        series_id=UUID(hex=row["series"]) if row["series"] else None,
        group=row["group"],
    )
