"""A run that draws: masks of structures, by a decoder on patch tokens, judged on the grid of the tiles.

What belongs here: targets from the lake's segmentations, both arms of every fold, and what overlaps how well. What does not:
masks of the lake (curation.masks), the task (tasks/segmentation), the decoder (decoder), the loop (loop).

The untuned arm of `probe` is one linear layer on each frozen patch, its tuned arm the decoder on the same frozen tokens; of every
other method the untuned arm is that decoder, and the tuned one starts from it.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation.lake import Lake
from curation.masks import UNKNOWN, find_masks
from curation.pack import Pack
from curation.records import ConfigurationError, Metric
from training import batches, cache, checkpoint, metrics
from training.audit import Item, Scores
from training.job import Fold, Job, plan_folds
from training.overlap import Overlap, overlap_of_slices

if TYPE_CHECKING:
    from training.backbone import Backbone

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

TOLERANCE_MM = 2.0
"""How far two boundaries may lie apart and still count as one."""

OVERLAP = "overlap.parquet"
_EXTRA = ("nsd", "hd95_mm", "area_error")


@dataclass(frozen=True)
class Drawn:
    """Both arms judged (Dice), frozen features [N, 2D], and one row a series, structure and arm."""

    scores: Scores
    features: NDArray[np.float32]
    rows: list[dict[str, Any]]


def fit_all(
    job: Job, lake_root: Path, backbone: Backbone, pack: Pack, tiles: batches.Tiles
) -> tuple[Job, Drawn]:
    """Both arms of every fold, and the job with its targets.

    Raises ConfigurationError where no segmentation knows a structure, the train split has none of it, or the spec asks for
    what a decoder has not.
    """
    if job.spec.method.head != "linear" or job.spec.method.warm_start != "probe":
        raise ConfigurationError(
            "segmentation has its own decoder: leave out method.head and method.warm_start."
        )
    whole = find_masks(Lake(lake_root), pack.path, job.names)
    left_out = set(pack.left_out["member_index"].to_pylist())
    seats = np.array([n for n in range(pack.n_members) if n not in left_out])
    job, n_patches = _with_targets(job, backbone, tiles, whole, seats)
    spacing = _spacing(pack)[seats]
    cached = cache.frozen(
        backbone, tiles, job.device, job.precision, tokens=True,
        progress=lambda n, of: job.beat("patch tokens", 0.15 + 0.2 * n / of),
    )  # fmt: skip
    found, rows = [], []
    folds = plan_folds(job.examples, job.spec.split.policy)
    for number, fold in enumerate(folds):
        done = 0.35 + 0.55 * number / len(folds)
        job.beat(f"fitting {fold.name}", done)
        arms = _fit(job, fold, backbone, tiles, cached, n_patches, len(folds), done)
        part, overlaps = _judge(job, fold, arms, whole, seats, spacing)
        found.append(part)
        rows += overlaps
    return job, Drawn(Scores.concatenate(found), cached.features, rows)


def _with_targets(
    job: Job, backbone: Backbone, tiles: batches.Tiles, whole: NDArray[np.uint8], seats: Ints
) -> tuple[Job, int]:
    """The job with truth [N, C], targets [N, C, T, g, g] and weights; and how many patches an image has."""
    import torch

    from training.decoder import SCALE

    with torch.inference_mode():
        device = next(backbone.model.parameters()).device
        n_patches = int(backbone.embed(backbone.blank(device))[1].shape[1])
    grid = SCALE * round(n_patches**0.5)
    n, n_structures = len(seats), len(job.names)
    targets = np.empty((n, n_structures, tiles.n_tiles, grid, grid), dtype=np.float32)
    truth = np.full((n, n_structures), np.nan)
    for row, member in enumerate(seats):
        masks = np.asarray(whole[member]).transpose(1, 0, 2, 3)  # [T, C, S, S] -> [C, T, S, S]
        targets[row] = _shares(masks, grid)
        is_there = (masks == 1).any((1, 2, 3))
        truth[row, is_there] = 1.0
    train = job.examples.split == "train"
    for c, name in enumerate(job.names):
        if not (truth[train, c] == 1).any():
            raise ConfigurationError(
                f"No series of the train split has a mask of {name!r}. Give the cohort's split a train share, or bring in "
                "segmentations of its series."
            )
    weights = np.zeros((n, n_structures, 1, 1, 1))
    weights[train] = 1.0
    return dataclasses.replace(job, truth=truth, watched=targets, targets=targets, weights=weights), n_patches


def _shares(masks: NDArray[np.uint8], grid: int) -> NDArray[np.float32]:
    """[..., S, S] of 0, 1 and UNKNOWN -> [..., grid, grid] share of each cell that is covered; NaN where any of it is unknown."""
    import torch
    from torch.nn import functional

    known = torch.from_numpy((masks != UNKNOWN).astype(np.float32))
    ones = torch.from_numpy((masks == 1).astype(np.float32))
    share = functional.interpolate(ones, size=(grid, grid), mode="area")
    looked = functional.interpolate(known, size=(grid, grid), mode="area") > 0.999
    return np.asarray(torch.where(looked, share, torch.nan).numpy(), dtype=np.float32)


def _fit(
    job: Job, fold: Fold, backbone: Backbone, tiles: batches.Tiles, cached: cache.Cached, n_patches: int, n_folds: int, done: float
) -> dict[str, Any]:  # fmt: skip
    """arm -> what predicts: the learner of each, at its best state."""
    from training.decoder import Decoder
    from training.heads import HeadLearner
    from training.loop import learn, load_moving
    from training.method import Learner

    method, width = job.spec.method, int(cached.features.shape[1]) // 2

    def frozen(name: str, *, is_linear: bool) -> HeadLearner:
        made = Decoder(
            width, n_patches, tiles.n_tiles, len(job.names), is_linear=is_linear, seed=job.spec.seed
        )
        learner = HeadLearner(method, made, tiles, cached, job.device)
        own = fold if name == "" else dataclasses.replace(fold, name=f"{fold.name}-{name}")
        state = learn(job, own, learner, n_folds, done)
        load_moving(learner, state.best)
        if name == "" and fold.name == "cohort":
            job.run.write_json("loop.json", checkpoint.counters(state))
        return learner

    if method.kind == "probe":
        linear, decoder = frozen("linear", is_linear=True), frozen("", is_linear=False)
        if fold.name == "cohort":
            _export(job, backbone, decoder.head, n_patches)
        return {"untuned": linear, "tuned": decoder}
    decoder = frozen("decoder", is_linear=False)
    own = dataclasses.replace(backbone, model=copy.deepcopy(backbone.model))
    at_cut = cached if method.kind != "cut" else cache.frozen(
        backbone, tiles, job.device, job.precision, moving_blocks=method.blocks,
        views=method.views if job.spec.data.augment != "none" else 1, seed=job.spec.seed,
        progress=lambda n, of: job.beat("hidden states", done),
    )  # fmt: skip
    # masks do not move with an augmented picture: it is shown as it is
    spec = job.spec.model_copy(update={"data": job.spec.data.model_copy(update={"augment": "none"})})
    learner = Learner(spec, own, tiles, at_cut, copy.deepcopy(decoder.head), job.device)
    state = learn(job, fold, learner, n_folds, done)
    load_moving(learner, state.best)
    if fold.name == "cohort":
        job.run.write_json("loop.json", checkpoint.counters(state))
        _export(job, own, learner.head, n_patches, learner)
    return {"untuned": decoder, "tuned": learner}


def _export(job: Job, backbone: Backbone, decoder: Any, n_patches: int, learner: Any = None) -> None:
    from training.export import export_head, export_learner
    from training.heads import to_arrays

    if learner is None:
        export_head(job.run, job.spec, backbone, to_arrays(decoder), job.names, {})
    else:
        export_learner(job.run, job.spec, backbone, learner, job.names, {}, {})


def _judge(
    job: Job, fold: Fold, arms: dict[str, Any], whole: NDArray[np.uint8], seats: Ints, spacing: Floats
) -> tuple[Scores, list[dict[str, Any]]]:
    """Dice of the judged by arm, and one row a series, structure and arm. Those of the train split are not judged."""
    from training.loop import predict

    asked = fold.judged[np.isin(fold.split, ("tune", "test", "holdout"))]
    split = fold.split[np.isin(fold.split, ("tune", "test", "holdout"))]
    dices: dict[str, Floats] = {}
    rows: list[dict[str, Any]] = []
    for arm, learner in arms.items():
        found = np.full((len(asked), len(job.names)), np.nan)
        for start in range(0, len(asked), 32):
            part = asked[start : start + 32]
            drawn = drawn_masks(predict(job, learner, part, None), whole.shape[-1])
            for place, (member, masks) in enumerate(zip(part, drawn, strict=True), start):
                reference = np.asarray(whole[seats[member]])  # [T, C, S, S]
                for c, name in enumerate(job.names):
                    known = (reference[:, c] != UNKNOWN).all((1, 2))
                    if not known.any():
                        continue
                    one = overlap_of_slices(
                        masks[c][known], reference[known, c] == 1, tuple(spacing[member]), TOLERANCE_MM
                    )
                    if one.reference_volume > 0 or not np.isfinite(one.dice):
                        found[place, c] = one.dice
                    rows.append(_row(job, member, str(split[place]), fold.name, arm, name, one))
        dices[arm] = found
    points = {arm: np.full_like(values, np.nan) for arm, values in dices.items()}
    return Scores(asked, split, dices, points, np.full(len(asked), fold.name), {}), rows


def drawn_masks(logits: Floats, size: int) -> NDArray[np.bool_]:
    """Logits [N, C, T, g, g] -> masks [N, C, T, size, size], cut at one half after drawing finer (bilinear)."""
    import torch
    from torch.nn import functional

    n, c, t, g, _ = logits.shape
    flat = torch.from_numpy(np.asarray(logits, dtype=np.float32)).reshape(n * c * t, 1, g, g)
    fine = functional.interpolate(flat, size=(size, size), mode="bilinear", align_corners=False)
    return np.asarray((fine > 0).reshape(n, c, t, size, size).numpy())


def _row(job: Job, member: int, split: str, fold: str, arm: str, name: str, one: Overlap) -> dict[str, Any]:
    e = job.examples
    return {
        "run_id": job.run.run_id,
        "study_id": e.study_id[member].bytes,
        "series_id": e.series_id[member].bytes,
        "patient_id": e.patient_id[member].bytes,
        "patient": int(e.patient[member]),
        "site": str(e.site[member]),
        "split": split,
        "fold": fold,
        "arm": arm,
        "structure": name,
        "dice": one.dice,
        "nsd": one.nsd,
        "hd95_mm": one.hd95_mm,
        "area_mm2": one.volume,
        "reference_area_mm2": one.reference_volume,
    }


def table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    """overlap.parquet: one row a series, structure and arm; areas are sums over the tiles of a series."""
    uuids, texts = (
        ("study_id", "series_id", "patient_id"),
        ("run_id", "site", "split", "fold", "arm", "structure"),
    )
    numbers = ("dice", "nsd", "hd95_mm", "area_mm2", "reference_area_mm2")
    schema = pa.schema(
        [("run_id", pa.string())]
        + [(name, pa.uuid()) for name in uuids]
        + [(name, pa.string()) for name in texts[1:]]
        + [(name, pa.float64()) for name in numbers]
    )
    return pa.Table.from_arrays([pa.array([r[f.name] for r in rows], f.type) for f in schema], schema=schema)


def beyond_dice(job: Job, rows: Sequence[dict[str, Any]]) -> Iterator[Metric]:
    """NSD, HD95 and the error of the area of series whose reference is not empty: means with patient-cluster intervals, both
    arms and the paired gain, each split as a whole and each of its sites.
    """
    for split in ("test", "holdout", "tune"):
        here = [r for r in rows if r["split"] == split and r["reference_area_mm2"] > 0]
        for site in ["all", *sorted({r["site"] for r in here})]:
            for name in job.names:
                own = [r for r in here if r["structure"] == name and site in ("all", r["site"])]
                if own:
                    yield from _estimates(job, own, split, site, name)


def _estimates(
    job: Job, rows: Sequence[dict[str, Any]], split: str, site: str, name: str
) -> Iterator[Metric]:
    by_arm = {arm: [r for r in rows if r["arm"] == arm] for arm in ("untuned", "tuned")}
    _, patients = np.unique([r["patient"] for r in by_arm["tuned"]], return_inverse=True)
    n_draws = 0 if split == "tune" else job.spec.report.bootstrap
    weights = metrics.cluster_draws(patients, n_draws, job.spec.seed)[:, patients].astype(np.float64)
    for metric in _EXTRA:
        means = {
            arm: _mean(np.array([_value(r, metric) for r in own]), weights) for arm, own in by_arm.items()
        }
        means["gain"] = means["tuned"] - means["untuned"]
        for arm, replicates in means.items():
            e = metrics.estimate(replicates)
            yield Metric(job.run.run_id, arm, split, site, "all", name, metric, e.value, e.low, e.high,
                         len(by_arm["tuned"]), len(by_arm["tuned"]))  # fmt: skip


def _value(row: dict[str, Any], metric: str) -> float:
    if metric == "area_error":
        return abs(float(row["area_mm2"]) - float(row["reference_area_mm2"])) / float(
            row["reference_area_mm2"]
        )
    return float(row[metric])


def _mean(values: Floats, weights: Floats) -> Floats:
    known = np.isfinite(values)
    total = weights[:, known].sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, weights[:, known] @ values[known] / total, np.nan)


def lines(rows: Sequence[dict[str, Any]]) -> Iterator[Item]:
    """Of the section `segmentation`: how many series have no reference, and what was drawn where nothing is."""
    tuned = [r for r in rows if r["arm"] == "tuned" and r["split"] in ("test", "holdout")]
    empty = [r for r in tuned if r["reference_area_mm2"] == 0]
    false = sum(r["area_mm2"] > 0 for r in empty)
    if not empty:
        text = "every judged series has a mask that is not empty"
        yield Item("segmentation", "drawn where nothing is", "not_applicable", None, text)
        return
    text = f"{false} of {len(empty)} judged series without the structure have something drawn"
    yield Item("segmentation", "drawn where nothing is", "computed", false / len(empty), text)


def _spacing(pack: Pack) -> Floats:
    """[M, 2] mm between rows and columns of each member's tiles; NaN where the source does not say."""
    found = np.full((pack.n_members, 2), np.nan)
    facts = pack.tiles.facts
    for member, spacing in zip(
        facts["member_index"].to_pylist(), facts["spacing_mm"].to_pylist(), strict=True
    ):
        if spacing and None not in spacing[1:]:
            found[member] = spacing[1:]
    return found
