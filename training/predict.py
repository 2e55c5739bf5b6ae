"""A finished run's model on DICOM: predictions as Parquet, and as DICOM SR that points to the images that were judged.

What belongs here: which series are judged, and what is written. What does not: how files become tiles (curation.scratch,
curation.pack: the road of every delivery, so that a file gives the prediction that its lake would give), the model
(export), the document (structured_report).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydicom import dcmread

from curation.cohort_folder import find_cohort
from curation.lake import Lake
from curation.pack import read_tiles
from curation.records import REASONS, ConfigurationError
from curation.scratch import Scratch, scratch_lake
from curation.settings import Settings
from training.export import Tuned, load_tuned
from training.runs import RunFolder, replace_file

Progress = Callable[[str, int, int], None]

BATCH = 32
NO_DICOM = {"not_dicom", "directory", "unreadable_report", "unlinked_report"}
"""Reasons of refusal of what is no DICOM object."""
PREDICTIONS, REFUSED = "predictions.parquet", "refused.parquet"

MEANINGS = {
    **REASONS,
    "not_tuned_on": "A modality or kind of series that the run was not tuned on.",
    "in_archive": "A series in an archive: unpack it, for what is written points to files.",
    "no_segmentation_object": "Judged, but its masks have no place in space, so no SEG object was written.",
}
"""What each reason in refused.parquet means."""

SCHEMA = pa.schema(
    [
        ("study_instance_uid", pa.string()),
        ("series_instance_uid", pa.string()),
        ("sop_instance_uids", pa.list_(pa.string())),
        ("frame_indices", pa.list_(pa.int32())),
        ("pixel_sha256", pa.list_(pa.binary())),
        ("label", pa.string()),
        ("score", pa.float64()),
        ("threshold", pa.float64()),
        ("is_positive", pa.bool_()),
        ("run_id", pa.string()),
        ("model_sha256", pa.string()),
    ],
    metadata={"note": "UIDs are those of the source: keep this file where the source may lie."},
)
"""One row a series and label. The instances and frames (from 0) are those that the model saw; hashes are of stored values."""


@dataclass(frozen=True)
class Judged:
    """One series: its scores [C], and the (file, frame from 0, hash of the stored values) of every tile."""

    scores: NDArray[np.float64]
    shown: tuple[tuple[Path, int, bytes], ...]
    logits: NDArray[np.float64] | None = None
    """[C, T, g, g] of a run that draws; its scores are the shares of the tiles that are covered."""


@dataclass(frozen=True)
class Summary:
    """What was written: series judged, documents, and how many series or files were not judged, by reason."""

    run_id: str
    series: int
    documents: int
    refused: Mapping[str, int]
    out: Path


def predict(
    settings: Settings, run_id: str, src: Path, out: Path, *, site: str | None = None,
    with_reports: bool = True, backbone_cache: Path | None = None, progress: Progress | None = None,
) -> Summary:  # fmt: skip
    """Judges every series under SRC that is of a modality and kind the run was tuned on; writes OUT/predictions.parquet,
    OUT/refused.parquet and OUT/sr/*.dcm, of a run that draws OUT/seg/*.dcm. The same again writes the same rows.

    Raises ConfigurationError where nothing lies at SRC, the run is not there or not finished, its model lacks a part, OUT lies in
    SRC, no DICOM image is under SRC, or (after refused.parquet is written) none of its series could be judged.
    """
    if out.resolve() == src.resolve() or out.resolve().is_relative_to(src.resolve()):
        raise ConfigurationError(f"{out} lies in {src}; name a folder outside of it.")
    if not src.exists():
        raise ConfigurationError(f"Nothing lies at {src}. Give a DICOM file or a folder of them.")
    run = RunFolder(settings.places.lake, run_id)
    if not run.path.is_dir():
        raise ConfigurationError(f"There is no run {run_id}. rwid runs lists those there are.")
    tuned = load_tuned(run.path, backbone_cache)
    wanted = _tuned_on(Lake(settings.places.lake), tuned.spec.cohort)
    with scratch_lake(settings, src, site, progress) as scratch:
        if not _has_dicom(scratch.curated.refusals, scratch.curated.instances):
            raise ConfigurationError(_no_image(src, scratch))
        judged, refused = _judge(tuned, scratch, wanted, progress)
    facts = {
        "run_id": run_id,
        "model_sha256": model_digest(run.path),
        "points": run.read_json("operating_points.json") or {},
    }
    rows = [row for one in judged for row in _rows(one, tuned.outputs, facts)]
    _write_parquet(out / PREDICTIONS, pa.Table.from_pylist(rows, schema=SCHEMA))
    documents = 0
    if tuned.task.reads == "masks":
        documents = _write_segmentations(judged, tuned, facts, out / "seg", progress)
        refused["no_segmentation_object"] += len(judged) - documents
    elif with_reports and tuned.task.has_probabilities:  # a document says how certain a finding is
        documents = _write_reports(judged, tuned, facts, out / "sr", progress)
    reasons = [{"reason": why, "n": n} for why, n in sorted((+refused).items())]
    _write_parquet(
        out / REFUSED, pa.Table.from_pylist(reasons, pa.schema([("reason", pa.string()), ("n", pa.int64())]))
    )
    if not judged:
        raise ConfigurationError(_none_judged(src, refused, wanted, out / REFUSED))
    return Summary(run_id, len(judged), documents, dict(sorted((+refused).items())), out)


def _has_dicom(refusals: Mapping[str, int], instances: int) -> bool:
    """Whether anything that arrived was a DICOM object, taken or refused."""
    return bool(instances) or bool(set(refusals) - NO_DICOM)


def _no_image(src: Path, scratch: Scratch) -> str:
    n = scratch.curated.arrivals
    seen = f"no file in it is one ({n} looked at)" if n else "nothing in it could be one"
    return (
        f"No DICOM image lies under {src}: {seen}. Looked for are DICOM files by their content, whatever their name, in all "
        "folders below. Give the folder that holds them."
    )


def _none_judged(
    src: Path, refused: Mapping[str, int], wanted: set[tuple[str, str | None]], told: Path
) -> str:
    reasons = "; ".join(
        f"{why} {n} ({MEANINGS.get(why, 'no tile could be made')})" for why, n in sorted(refused.items()) if n
    )
    kinds = ", ".join(sorted({f"{modality} {kind or ''}".strip() for modality, kind in wanted}))
    return (
        f"No series under {src} could be judged: {reasons}. The run was tuned on {kinds}: give images of that kind, or a run that was "
        f"tuned on these. The counts are in {told}."
    )


def model_digest(run_dir: Path) -> str:
    """SHA-256 over every released tensor file of a run, hex: which model a prediction is of."""
    digest = hashlib.sha256()
    for name in ("head.safetensors", "adapter.safetensors", "base.safetensors"):
        path = run_dir / name
        if path.is_file():
            digest.update(name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _tuned_on(lake: Lake, cohort: str) -> set[tuple[str, str | None]]:
    """(modality, kind) of the series that the run's cohort holds."""
    members = pq.read_table(find_cohort(lake, cohort) / "members.parquet", columns=["series_id"])
    with lake.connect() as con:
        con.register("of_cohort", members)
        rows = con.execute(
            "SELECT DISTINCT modality, kind FROM series WHERE series_id IN (SELECT series_id FROM of_cohort)"
        )
        return {(modality, kind) for modality, kind in rows.fetchall()}


def _judge(
    tuned: Tuned, scratch: Scratch, wanted: set[tuple[str, str | None]], progress: Progress | None
) -> tuple[list[Judged], Counter[str]]:
    refused = Counter(scratch.curated.refusals)
    snapshot = scratch.lake.snapshot()
    with scratch.lake.connect(snapshot.number) as con:
        found = con.execute(
            "SELECT series_id, study_id, patient_id, modality, kind FROM series ORDER BY series_id"
        ).fetchall()
        sources = con.execute("SELECT instance_id, source_digest, series_id FROM instances").fetchall()
        hashes = con.execute("SELECT instance_id, frame_index, pixel_sha256 FROM frames").fetchall()
    members = [
        dict(zip(("series_id", "study_id", "patient_id"), row[:3], strict=True))
        for row in found
        if (row[3], row[4]) in wanted
    ]
    refused["not_tuned_on"] += len(found) - len(members)
    packed = {series for _, digest, series in sources if bytes(digest) not in scratch.files}
    refused["in_archive"] += sum(m["series_id"] in packed for m in members)
    members = [m for m in members if m["series_id"] not in packed]
    files = {
        instance: scratch.files[bytes(digest)]
        for instance, digest, _ in sources
        if bytes(digest) in scratch.files
    }
    sums = {(instance, index): bytes(digest) for instance, index, digest in hashes}
    judged: list[Judged] = []
    for start in range(0, len(members), BATCH):
        part = members[start : start + BATCH]
        arrays, shown, unreadable = read_tiles(scratch.lake, snapshot, part, tuned.recipe)
        refused.update(unreadable.values())
        ids = sorted(arrays)
        if ids:
            answers = tuned.predict(np.stack([arrays[i] for i in ids]))
            judged += [
                _judged(one, _shown(shown[i], files, sums)) for i, one in zip(ids, answers, strict=True)
            ]
        if progress:
            progress("predict", min(start + BATCH, len(members)), len(members))
    return judged, +refused


def _judged(answers: NDArray[np.float64], shown: tuple[tuple[Path, int, bytes], ...]) -> Judged:
    if answers.ndim == 1:
        return Judged(answers, shown)
    return Judged((answers > 0).mean((1, 2, 3)), shown, answers)


def _shown(
    keys: Sequence[tuple[UUID, int]], files: Mapping[UUID, Path], sums: Mapping[tuple[UUID, int], bytes]
) -> tuple[tuple[Path, int, bytes], ...]:
    return tuple((files[instance], index, sums[instance, index]) for instance, index in keys)


def _header(path: Path) -> Any:
    return dcmread(path, stop_before_pixels=True, force=True)


def _rows(one: Judged, outputs: Sequence[str], facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    headers = {path: _header(path) for path, _, _ in one.shown}
    first = headers[one.shown[0][0]]
    where = {
        "study_instance_uid": str(first.StudyInstanceUID),
        "series_instance_uid": str(first.SeriesInstanceUID),
        "sop_instance_uids": [str(headers[path].SOPInstanceUID) for path, _, _ in one.shown],
        "frame_indices": [index for _, index, _ in one.shown],
        "pixel_sha256": [digest for _, _, digest in one.shown],
        "run_id": facts["run_id"],
        "model_sha256": facts["model_sha256"],
    }
    rows = []
    for label, score in zip(outputs, one.scores, strict=True):
        threshold = facts["points"].get(label)
        is_positive = None if threshold is None else bool(score >= threshold)
        rows.append(
            {
                **where,
                "label": label,
                "score": float(score),
                "threshold": threshold,
                "is_positive": is_positive,
            }
        )
    return rows


def _write_reports(
    judged: Sequence[Judged], tuned: Tuned, facts: Mapping[str, Any], folder: Path, progress: Progress | None
) -> int:
    from training.structured_report import document

    for n, one in enumerate(judged, 1):
        headers = {path: _header(path) for path, _, _ in one.shown}
        findings = [
            (label, float(score), facts["points"].get(label))
            for label, score in zip(tuned.outputs, one.scores, strict=True)
        ]
        shown = [(headers[path], index) for path, index, _ in one.shown]
        sr, content = document(shown, findings, facts["run_id"], facts["model_sha256"])
        replace_file(folder / f"{sr.SOPInstanceUID}.dcm", content)
        if progress:
            progress("structured reports", n, len(judged))
    return len(judged)


def _write_segmentations(
    judged: Sequence[Judged], tuned: Tuned, facts: Mapping[str, Any], folder: Path, progress: Progress | None
) -> int:
    """One SEG object a series, on those of its images that the model saw; what cannot be placed has none."""
    from training.segmentation_object import on_image, segmentation

    size, written = tuned.spec.model.input.size, 0
    for n, one in enumerate(judged, 1):
        assert one.logits is not None
        images = {path: dcmread(path, force=True) for path, _, _ in one.shown}
        masks: dict[tuple[Path, int], NDArray[np.bool_]] = {}
        for tile, (path, index, _) in enumerate(one.shown):  # the same frame may stand for two tiles
            image = images[path]
            masks[path, index] = on_image(one.logits[:, tile], size, int(image.Rows), int(image.Columns))
        many = next((i for i in images.values() if int(i.get("NumberOfFrames", 1) or 1) > 1), None)
        if many is None:
            sources, drawn = list(images.values()), [masks[path, 0] for path in images]
        else:  # every frame of the object has a place, drawn or not
            sources, blank = [many], np.zeros_like(next(iter(masks.values())))
            by_index = {index: mask for (_, index), mask in masks.items()}
            drawn = [by_index.get(i, blank) for i in range(int(many.NumberOfFrames))]
        stack = np.stack(drawn).transpose(0, 2, 3, 1)  # [F, C, rows, columns] -> [F, rows, columns, C]
        try:
            made, content = segmentation(
                sources, stack, tuned.outputs, facts["run_id"], facts["model_sha256"]
            )
        except (AttributeError, KeyError, TypeError, ValueError):  # highdicom wants what this source lacks
            continue
        replace_file(folder / f"{made.SOPInstanceUID}.dcm", content)
        written += 1
        if progress:
            progress("segmentations", n, len(judged))
    return written


def _write_parquet(path: Path, table: pa.Table) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    replace_file(path, sink.getvalue().to_pybytes())
