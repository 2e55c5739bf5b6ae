"""A folder de-identified into a folder, without a lake: headers rebuilt, pixels copied or scrubbed, one log.

What belongs here: walking SRC, writing released files aside and renaming them, the log. What does not: what is changed
(header, codestream), how workers are kept (engine).
"""

from __future__ import annotations

import array
import hashlib
import importlib.metadata
import os
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path
from uuid import UUID

import numpy as np
import pyarrow.parquet as pq

from curation import part10
from curation.deid.codestream import scrub
from curation.deid.explicit import element
from curation.deid.header import Clean, clean_header
from curation.deid.pixels import SOURCE, Box, blanker, boxes_to_blank
from curation.deid.policy import Policy, Profile, compile_policy
from curation.deid.pseudonyms import Pseudonyms
from curation.engine import map_items
from curation.frames import read_layout
from curation.records import ConfigurationError, DeidLog, Refused, to_table

IMPLEMENTATION_UID = "2.25.237482014786119318027430195478112207734"
SMALL_BYTES = 4 << 20
CHUNK_BYTES = 8 << 20
LOG_NAME = "deid_log.parquet"


@dataclass(frozen=True, slots=True)
class Job:
    """What every file of one folder shares."""

    src: Path
    dst: Path
    policy: Policy
    pseudonyms: Pseudonyms
    site: str


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of one file. `path` is where the released file goes, relative to DST; it still lies aside."""

    digest: bytes
    path: str | None
    instance_id: UUID | None
    study_id: UUID | None
    actions: tuple[tuple[str, str], ...]
    withheld: str | None
    blanked: tuple[Box, ...] = ()


def deidentify_folder(
    src: Path,
    dst: Path,
    policy: Policy,
    pseudonyms: Pseudonyms,
    site: str,
    *,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
    deadline_s: float = 600.0,
    memory_mib: int = 2048,
) -> dict[str, int | dict[str, int]]:
    """Release SRC's objects under DST, its tree mirrored under pseudonymous names, with DST/deid_log.parquet.

    Gives {read, released, withheld: {reason: files}}. Every regular file of SRC is read once and counted once.
    Raises ConfigurationError where SRC is no folder or DST lies in SRC.
    """
    src, dst = Path(src).resolve(), Path(dst).resolve()
    if not src.is_dir():
        raise ConfigurationError(f"{src} is not a folder; name the folder that holds the DICOM files.")
    if dst == src or src in dst.parents:
        raise ConfigurationError(f"{dst} lies in {src}; name a folder outside of it.")
    dst.mkdir(parents=True, exist_ok=True)
    paths = sorted(_regular_files(src))
    job = Job(src, dst, policy, pseudonyms, site)
    rows: list[DeidLog] = []
    withheld: Counter[str] = Counter()
    seen: dict[str, bytes] = {}
    for n, taken in enumerate(_take_all(job, paths, workers, deadline_s, memory_mib), 1):
        taken = _publish(job, taken, seen)
        rows.append(_log(job, taken))
        if taken.withheld:
            withheld[taken.withheld] += 1
        if progress is not None:
            progress(n, len(paths))
    _write_log(dst, rows)
    released = len(rows) - withheld.total()
    return {"read": len(rows), "released": released, "withheld": dict(sorted(withheld.items()))}


def _regular_files(src: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(src):
        for name in names:
            path = Path(folder, name)
            if path.is_file() and not path.is_symlink():
                yield path


def _take_all(
    job: Job, paths: list[Path], workers: int, deadline_s: float, memory_mib: int
) -> Iterator[Taken]:
    if workers <= 1:
        yield from (take_file(job, path) for path in paths)
        return
    # a mapped file counts as address space, though not as memory
    largest = max((path.stat().st_size for path in paths), default=0) >> 20
    outcomes = map_items(
        take_file,
        paths,
        workers=workers,
        deadline_s=deadline_s,
        memory_mib=memory_mib + 3 * largest,
        initializer=_make_job,
        initargs=(job.src, job.dst, job.policy.profile, job.pseudonyms, job.site),
    )
    for path, outcome in zip(paths, outcomes, strict=True):
        if outcome.value is not None:
            yield outcome.value
        else:
            yield Taken(_digest(job, path), None, None, None, (), outcome.refused)


def _make_job(src: Path, dst: Path, profile: Profile, pseudonyms: Pseudonyms, site: str) -> Job:
    return Job(src, dst, compile_policy(profile), pseudonyms, site)


def _digest(job: Job, path: Path) -> bytes:
    """Keyed digest of a file, read piece by piece: a mapping would count as resident memory."""
    with path.open("rb") as file:
        return job.pseudonyms.digest_of(hashlib.file_digest(file, "sha256").digest())


def _publish(job: Job, taken: Taken, seen: dict[str, bytes]) -> Taken:
    """Rename the released file into place; the same object a second time is withheld, the first stays."""
    if taken.path is None:
        return taken
    target = job.dst / taken.path
    aside = _aside(target, taken.digest)
    first = seen.setdefault(taken.path, taken.digest)
    if first is taken.digest:
        aside.rename(target)
        return taken
    aside.unlink(missing_ok=True)
    reason = "duplicate" if first == taken.digest else "uid_conflict"
    return Taken(taken.digest, None, None, taken.study_id, (), reason)


def _aside(target: Path, digest: bytes) -> Path:
    """The unfinished name of a released file: its own for every source."""
    return target.with_name(f".{target.name}.{digest[:8].hex()}.part")


def take_file(job: Job, path: Path) -> Taken:
    """One file released, or withheld with a reason."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= SMALL_BYTES:
            data = file.read()
            return _take(job, path, data, job.pseudonyms.digest(data), file.fileno())
        digest = _digest(job, path)
        with mmap(file.fileno(), 0, access=ACCESS_READ) as mapped:
            return _take(job, path, mapped, digest, file.fileno())


def _take(job: Job, path: Path, data: bytes | mmap, digest: bytes, source_fd: int) -> Taken:
    try:
        clean = clean_header(data, job.policy, job.pseudonyms, job.site)
        boxes = boxes_to_blank(clean)
        target = _target(job, path, clean)
        write_object(data, clean, _aside(job.dst / target, digest), source_fd, boxes)
    except Refused as refusal:
        return Taken(digest, None, None, None, (), refusal.reason)
    return Taken(digest, target, clean.instance_id, clean.study_id, clean.actions, None, boxes)


def _target(job: Job, path: Path, clean: Clean) -> str:
    """Where the released file lies: each folder name of SRC under a keyed name, the file under its own id."""
    folders = path.relative_to(job.src).parts[:-1]
    names = [job.pseudonyms.identifier("folder", name).hex[:12] for name in folders]
    return "/".join([*names, f"{clean.instance_id}.dcm"])


def file_meta(clean: Clean, transfer_syntax: str) -> bytes:
    """Preamble, prefix and file meta information, all rwid's own (PS3.10 7.1)."""
    body = b"".join(
        (
            element(0x00020001, b"OB", b"\x00\x01"),
            element(0x00020002, b"UI", clean.sop_class.encode()),
            element(0x00020003, b"UI", clean.sop_instance.encode()),
            element(0x00020010, b"UI", transfer_syntax.encode()),
            element(0x00020012, b"UI", IMPLEMENTATION_UID.encode()),
            element(0x00020013, b"SH", b"RWID"),
        )
    )
    return bytes(128) + b"DICM" + element(0x00020000, b"UL", struct.pack("<L", len(body))) + body


def write_object(
    data: bytes | mmap, clean: Clean, path: Path, source_fd: int, boxes: tuple[Box, ...] = ()
) -> None:
    """The released object as a file, the boxes of every frame blank.

    Raises Refused where its frames cannot be released, leaving nothing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    out = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        _write(out, data, clean, source_fd, boxes)
    except BaseException:
        with suppress(FileNotFoundError):
            path.unlink()
        raise
    finally:
        os.close(out)


_TAGS = {keyword: tag for tag, keyword in part10.PIXEL_KEYWORDS.items()}


def _write(out: int, data: bytes | mmap, clean: Clean, source_fd: int, boxes: tuple[Box, ...]) -> None:
    pixels = clean.pixels
    native = pixels is None or not pixels.is_encapsulated
    syntax = part10.EXPLICIT_LITTLE if native else clean.transfer_syntax
    head = [file_meta(clean, syntax), clean.header]
    if pixels is None:
        _write_all(out, head)
        return
    tag = _TAGS[pixels.keyword]
    vr = pixels.vr.encode() if pixels.vr != "UN" else b"OW"
    open_head = struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr if native else b"OB", 0)
    if boxes and (not native or pixels.is_big_endian):
        raise Refused("identity_suspected")  # blanking needs a decoder here; importing into the lake has one
    if not native:
        _write_all(out, [*head, open_head, struct.pack("<L", part10.UNDEFINED), _EMPTY_TABLE])
        for frame in _frames(data, clean):
            stream = scrub(frame, clean.transfer_syntax)
            stream += bytes(len(stream) & 1)
            _write_all(out, [b"\xfe\xff\x00\xe0", struct.pack("<L", len(stream)), stream])
        _write_all(out, [b"\xfe\xff\xdd\xe0\0\0\0\0"])
        return
    pad = bytes(pixels.length & 1)
    head += [open_head, struct.pack("<L", pixels.length + len(pad))]
    deflated = clean.transfer_syntax == part10.DEFLATED_LITTLE
    source = part10.open_dataset(data).data if deflated else data
    if boxes:
        _write_all(out, head)
        _write_blanked(out, source, clean, boxes)
        _write_all(out, [pad])
    elif pixels.is_big_endian:
        _write_all(out, head)
        _write_swapped(out, data, pixels)
        _write_all(out, [pad])
    elif deflated or pixels.length <= SMALL_BYTES:
        with memoryview(source) as view, view[pixels.offset : pixels.offset + pixels.length] as body:
            _write_all(out, [*head, body, pad])
    else:
        _write_all(out, head)
        _copy_range(source_fd, out, pixels.offset, pixels.length)
        _write_all(out, [pad])


_EMPTY_TABLE = b"\xfe\xff\x00\xe0\0\0\0\0"


def _write_all(out: int, parts: Sequence[bytes | memoryview]) -> None:
    total = sum(len(part) for part in parts)
    written = os.writev(out, parts)
    if written < total:  # a signal or a full disk: the slow road says which
        rest = memoryview(b"".join(parts))[written:]
        while rest:
            rest = rest[os.write(out, rest) :]


def _copy_range(source: int, out: int, offset: int, length: int) -> None:
    """Bytes from file to file inside the kernel; through a small buffer where it cannot."""
    while length:
        try:
            copied = os.copy_file_range(source, out, min(length, 1 << 30), offset)
        except OSError:
            copied = os.write(out, os.pread(source, min(length, CHUNK_BYTES), offset))
        if not copied:
            raise Refused("truncated")
        offset += copied
        length -= copied


def _write_swapped(out: int, data: bytes | mmap, pixels: part10.Pixels) -> None:
    """Big endian pixel words as little endian, a chunk at a time."""
    code = {"OW": "H", "OF": "I", "OD": "Q"}.get(pixels.vr)
    for start in range(0, pixels.length, CHUNK_BYTES):
        stop = min(start + CHUNK_BYTES, pixels.length)
        whole = stop + (stop & 1)  # an odd length ends in half a word: its pad byte is in the source
        chunk = bytes(data[pixels.offset + start : pixels.offset + whole])
        if code:
            words = array.array(code, chunk)
            words.byteswap()
            chunk = words.tobytes()
        _write_all(out, [chunk[: stop - start]])


def _write_blanked(out: int, source: part10.Source, clean: Clean, boxes: tuple[Box, ...]) -> None:
    """Native little endian frames, one at a time, their boxes blank."""
    layout = read_layout(clean.header)
    pixels, blank = clean.pixels, blanker(boxes, is_ybr=layout.photometric.startswith("YBR"))
    is_interleaved = layout.samples == 1 or not layout.is_planar
    # pixels that share their chroma, planes one after another and bits in bytes are no rectangles of bytes
    is_simple = (
        is_interleaved and layout.bits_allocated in (8, 16) and not layout.photometric.endswith("_422")
    )
    if pixels is None or blank is None or not is_simple:
        raise Refused("identity_suspected")
    shape = (layout.rows, layout.columns, *((layout.samples,) if layout.samples > 1 else ()))
    width = layout.bits_allocated // 8
    size = layout.rows * layout.columns * layout.samples * width
    for start in range(pixels.offset, pixels.offset + pixels.length, size):
        values = np.frombuffer(bytes(source[start : start + size]), dtype=f"<u{width}").reshape(shape)
        _write_all(out, [blank(values).tobytes()])


def _frames(data: bytes | mmap, clean: Clean) -> Iterator[bytes]:
    """Whole compressed frames, one at a time; fragments of one frame are joined (PS3.5 A.4)."""
    pixels = clean.pixels
    if pixels is None:
        return
    table, *parts = part10.fragments(data, pixels.offset, pixels.length)
    starts = _frame_starts(data, table, parts, clean)
    for begin, end in zip(starts, [*starts[1:], len(parts)], strict=True):
        yield b"".join(data[offset : offset + size] for offset, size in parts[begin:end])


_BEGINS = (b"\xff\xd8", b"\xff\x4f", b"\0\0\0\x0c")


def _frame_starts(
    data: bytes | mmap, table: tuple[int, int], parts: list[tuple[int, int]], clean: Clean
) -> list[int]:
    """Index of the first fragment of each frame: by count, by the offset table, or by how codestreams begin."""
    n_frames = clean.n_frames
    if n_frames == len(parts):
        return list(range(n_frames))
    if n_frames == 1:
        return [0]
    if table[1] == 4 * n_frames:
        by_offset = {offset - parts[0][0]: i for i, (offset, _) in enumerate(parts)}
        offsets = struct.unpack(f"<{n_frames}L", data[table[0] : table[0] + table[1]])
        found = [by_offset.get(o) for o in offsets]
    else:
        found = [i for i, (offset, _) in enumerate(parts) if data[offset : offset + 4].startswith(_BEGINS)]
    starts = [i for i in found if i is not None]
    if len(starts) != n_frames or starts[0] != 0 or starts != sorted(set(starts)):
        raise Refused("pixel_mismatch")
    return starts


def _log(job: Job, taken: Taken) -> DeidLog:
    return DeidLog(
        source_digest=taken.digest,
        kind="instance",
        instance_id=taken.instance_id,
        report_id=None,
        study_id=taken.study_id,
        actions=[{"tag": tag, "action": action} for tag, action in taken.actions],
        regions=[{**asdict(box), "source": SOURCE} for box in taken.blanked],
        withheld=taken.withheld,
        policy_version=job.policy.version,
        key_id=job.pseudonyms.key_id,
        site=job.site,
        delivery="",
        code_version=importlib.metadata.version("rwid"),
    )


def _write_log(dst: Path, rows: list[DeidLog]) -> None:
    aside = dst / f".{LOG_NAME}.{os.getpid()}"
    pq.write_table(to_table(DeidLog, rows), aside, compression="zstd")
    aside.rename(dst / LOG_NAME)
