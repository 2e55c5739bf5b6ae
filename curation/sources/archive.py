"""Archives inside a delivery: zip and tar, also compressed. Members are laid out under numbers, never by their own names."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from curation.records import Refused

_MAX_MEMBERS = 1_000_000
_MAX_MEMBER_BYTES = 8 << 30
_MAX_RATIO = 200
"""Unpacked to packed bytes of a whole archive; DICOM reaches about 10, a bomb 1,000 and more."""

_RATIO_FREE_BYTES = 64 << 20
"""Below this no archive is called a bomb: a blank image packs 500:1."""


def is_archive(path: Path, head: bytes) -> bool:
    """Whether the file is a zip or tar archive, plain or compressed, by its content."""
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return True
    looks_like_tar = head[257:262] == b"ustar"
    looks_compressed = head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00"))
    return looks_like_tar or (looks_compressed and tarfile.is_tarfile(path))


def unpack(path: Path, spool: Path) -> Iterator[tuple[str, Path]]:
    """Lays every regular member out under `spool`; yields (its name in the archive, where it lies now).

    Raises Refused: encrypted, truncated, malformed, or too_large where it unpacks to more than it should.
    """
    room = spool / f"{sum(1 for _ in spool.iterdir()):06d}" if spool.exists() else spool / "000000"
    room.mkdir(parents=True, mode=0o700)
    budget = max(_RATIO_FREE_BYTES, path.stat().st_size * _MAX_RATIO)
    try:
        if zipfile.is_zipfile(path):
            yield from _unzip(path, room, budget)
        elif _starts_like_zip(path):
            raise Refused("truncated")
        else:
            yield from _untar(path, room, budget)
    except (EOFError, tarfile.ReadError):
        raise Refused("truncated") from None
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, OSError, ValueError, NotImplementedError):
        raise Refused("malformed") from None


def _starts_like_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def _unzip(path: Path, room: Path, budget: int) -> Iterator[tuple[str, Path]]:
    with zipfile.ZipFile(path) as archive:
        members = [m for m in archive.infolist() if not m.is_dir()]
        if len(members) > _MAX_MEMBERS:
            raise Refused("too_large")
        if any(m.flag_bits & 1 for m in members):
            raise Refused("encrypted")
        for number, member in enumerate(members):
            with archive.open(member) as stream:
                budget = _lay(stream, room / f"{number:07d}", budget)
            yield member.filename, room / f"{number:07d}"


def _untar(path: Path, room: Path, budget: int) -> Iterator[tuple[str, Path]]:
    with tarfile.open(path) as archive:
        for number, member in enumerate(archive):
            if number > _MAX_MEMBERS:
                raise Refused("too_large")
            stream = archive.extractfile(member) if member.isreg() else None
            if stream is None:
                continue
            budget = _lay(stream, room / f"{number:07d}", budget)
            yield member.name, room / f"{number:07d}"


def _lay(stream: IO[bytes], target: Path, budget: int) -> int:
    """Copies one member; returns what is left of the archive's byte budget. Raises Refused("too_large")."""
    limit = min(budget, _MAX_MEMBER_BYTES)
    written = 0
    with target.open("wb") as out:
        while chunk := stream.read(1 << 20):
            written += len(chunk)
            if written > limit:
                raise Refused("too_large")
            out.write(chunk)
    return budget - written


def sweep_orphans(root: Path) -> None:
    """Removes what killed processes had laid out below `root`, in folders that end with -PID: raw files must not stay."""
    for room in root.glob("*-*") if root.is_dir() else ():
        pid = room.name.rpartition("-")[2]
        if pid.isdecimal() and not Path(f"/proc/{pid}").exists():
            sweep(room)


def sweep(spool: Path) -> None:
    """Removes what was laid out for one delivery."""
    shutil.rmtree(spool, ignore_errors=True)
