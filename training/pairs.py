"""A run on images and their reports: projections of both into one space, a ridge between them as the untuned arm.

What belongs here: both arms, prompts, retrieval of every split and site, what is released and the way back. What does not: the
loss (tasks/contrastive), texts and encoders (text), ranks (retrieval). The image encoder stays frozen; a bag of tokens learns
with the projections, a transformers text model stays frozen. The untuned arm is the ridge that tells the text's frozen features
from the image's, in closed form, its strength chosen on the tune split: what pairing gives without any of this.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from curation.records import ConfigurationError, Metric
from training import batches, cache, checkpoint, metrics, probe, retrieval
from training.audit import ARMS, Item, Scores
from training.job import Fold, Job, plan_folds
from training.judged import judge
from training.reading import embed
from training.spec import parse_spec
from training.text import BAG, Bag, Folder, TextEncoder, Texts, make_encoder, read_texts

if TYPE_CHECKING:
    from training.backbone import Backbone
    from training.text_models import PairLearner

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

RELEASE = "pairs.safetensors"
DEFAULT_LR = {True: 1e-2, False: 0.0}
"""Peak learning rate of the text encoder: the bag's, and that of a frozen one."""


@dataclass(frozen=True)
class Paired:
    """What fitting gave: zero-shot scores of both arms, and the rows and lines of retrieval."""

    scores: Scores
    rows: list[Metric]
    items: list[Item]


def fit_all(
    job: Job, lake_root: Path, backbone: Backbone, tiles: batches.Tiles, cached: cache.Cached
) -> Paired:
    """Both arms, judged by prompts and by retrieval. Raises ConfigurationError where there are no reports."""
    if job.spec.split.policy != "cohort" or job.spec.method.kind != "probe":
        raise ConfigurationError("contrastive is tuned by method.kind probe on the cohort's own split.")
    if job.spec.compute.accumulate != 1 or job.spec.compute.batch == "adapt":
        raise ConfigurationError(
            "contrastive sees a batch whole: set compute.accumulate to 1, and compute.batch not to adapt."
        )
    texts = read_texts(lake_root, job.examples)
    train = (job.examples.split == "train") & texts.is_there
    taught = [text for text, is_taught in zip(texts.text, train, strict=True) if is_taught]
    encoder = make_encoder(job.spec.task.text_encoder, None, taught, job.spec.seed)
    (whole,) = plan_folds(job.examples, "cohort")
    fold = dataclasses.replace(
        whole, train=_with_text(whole.train, texts), tune=_with_text(whole.tune, texts)
    )
    prompts = [f"{p}{label.replace('_', ' ')}." for label in job.names for p in ("", "no ")]
    ids = encoder.ids([*texts.text, *prompts])
    untuned = _ridge(
        job, fold, cached.features, embed(encoder.module().to(job.device), ids, job.device), texts
    )
    tuned = _learn(job, fold, encoder, ids, tiles, cached, texts)
    _export(job, backbone, encoder, tuned[2])
    n = len(texts.text)
    scores = judge(job, fold, *(_zero_shot(image, text[n:]) for image, text in (untuned, tuned[:2])))
    arms = {"untuned": (untuned[0], untuned[1][:n]), "tuned": (tuned[0], tuned[1][:n])}
    rows, items = _retrieval(job, fold, arms, texts)
    return Paired(scores, rows, items)


def _with_text(rows: Ints, texts: Texts) -> Ints:
    return rows[texts.is_there[rows]]


def _wording(texts: Texts) -> Floats:
    """[N] number of each member's wording; NaN without a report."""
    numbers: dict[str, int] = {}
    found = [numbers.setdefault(text, len(numbers)) if text else np.nan for text in texts.text]
    return np.array(found, dtype=np.float64)


def _unit(rows: Floats) -> Floats:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))


def _ridge(
    job: Job, fold: Fold, features: NDArray[np.float32], text: NDArray[np.float32], texts: Texts
) -> tuple[Floats, Floats]:
    """Image embeddings [N, E] and text embeddings [N + prompts, E] of the untuned arm, of length 1."""
    mean, std = probe.standardise(text[fold.train])
    wanted = (text - mean) / std
    n = len(texts.text)
    target = np.where(texts.is_there[:, None], wanted[:n], np.nan)
    weights = np.isfinite(target).astype(np.float64)
    solver = probe.ridge(lambda logits, truth: float(((logits - truth)[np.isfinite(truth)] ** 2).mean()))
    seats = probe.Seats(fold.train, fold.tune, job.examples.patient)
    head = probe.fit_probe(
        features, target, weights, target, seats, solver=solver, log=lambda step, values: None
    )
    return _unit(head.logits(features)), _unit(np.asarray(wanted, dtype=np.float64))


def _learn(
    job: Job,
    fold: Fold,
    encoder: TextEncoder,
    ids: Ints,
    tiles: batches.Tiles,
    cached: cache.Cached,
    texts: Texts,
) -> tuple[Floats, Floats, PairLearner]:
    """Image embeddings [N, E], text embeddings [N + prompts, E] and the learner, at its best on the tune split."""
    from training.loop import learn, load_moving
    from training.text_models import PairLearner

    mean, std = probe.standardise(cached.features[fold.train])
    is_bag = job.spec.task.text_encoder == BAG
    lr = job.spec.method.lr or DEFAULT_LR[is_bag]
    shown = ((cached.features - mean) / std).astype(np.float32)
    learner = PairLearner(
        job.spec.method, encoder.module(), shown, ids, lr if is_bag else 0.0, job.device, job.spec.seed
    )
    wording = _wording(texts)[:, None]
    own = dataclasses.replace(job, targets=wording, weights=np.ones_like(wording), watched=wording)
    state = learn(own, fold, learner, 1, 0.35)
    load_moving(learner, state.best)
    job.run.write_json("loop.json", checkpoint.counters(state))
    learner.scale = (mean, std)
    return (*learner.embeddings(), learner)


def _zero_shot(image: Floats, prompts: Floats) -> Floats:
    """Logits [N, C]: how much nearer an image is to `label.` than to `no label.`"""
    from training.tasks.contrastive import SHARPNESS

    near = SHARPNESS * image @ prompts.T
    return np.asarray(near[:, 0::2] - near[:, 1::2])


def _retrieval(
    job: Job, fold: Fold, arms: dict[str, tuple[Floats, Floats]], texts: Texts
) -> tuple[list[Metric], list[Item]]:
    """Rows of every split and site, each a gallery of its own, in both directions; lines that say how large it is."""
    rows, items, wording = [], [], _wording(texts)
    site = job.examples.site
    for split in ("test", "holdout", "tune"):
        in_split = (fold.split == split) & texts.is_there
        for where in ("all", *sorted(set(site[in_split].tolist()))):
            member = np.flatnonzero(in_split & ((site == where) | (where == "all")))
            if len(member) < 2:
                continue
            _, patient = np.unique(job.examples.patient[member], return_inverse=True)
            n_draws = 0 if split == "tune" else job.spec.report.bootstrap
            draws = metrics.cluster_draws(patient, n_draws, job.spec.seed)[:, patient].astype(np.float64)
            for label, turn in (("image to report", False), ("report to image", True)):
                by_arm = {}
                for arm in ARMS:
                    image, text = (part[member] for part in arms[arm])
                    near = text @ image.T if turn else image @ text.T
                    by_arm[arm] = retrieval.measure(retrieval.ranks(near, wording[member]), draws)
                for name in by_arm["tuned"]:
                    values = {arm: by_arm[arm][name] for arm in ARMS}
                    values["gain"] = values["tuned"] - values["untuned"]
                    for arm, replicates in values.items():
                        e = metrics.estimate(replicates)
                        rows.append(Metric(job.run.run_id, arm, split, where, "all", label, name, e.value, e.low, e.high,
                                           len(member), None))  # fmt: skip
            n_words = len(set(wording[member].tolist()))
            chance = f"gallery of {len(member)} with {n_words} wordings; by chance recall@5 is about {min(1, 5 / n_words):.2f}"
            items.append(Item("retrieval", f"{split}: {where}", "computed", float(n_words), chance))
    return rows, items


def _export(job: Job, backbone: Backbone, encoder: TextEncoder, learner: PairLearner) -> None:
    from safetensors.torch import save

    job.run.write_bytes(RELEASE, save(learner.released(), metadata={"format": "pt"}))
    job.run.write_bytes("tokenizer.json", encoder.tokenizer_json.encode())
    facts = {
        "backbone": backbone.id, "revision": backbone.revision, "preprocess": asdict(backbone.preprocess),
        "text_encoder": job.spec.task.text_encoder, "text_revision": encoder.revision, "outputs": list(job.names),
        "task": job.spec.task.kind, "method": job.spec.method.kind, "tiles": job.spec.model.input.tiles,
    }  # fmt: skip
    job.run.write_json("preprocess.json", facts)


@dataclass(frozen=True)
class Matcher:
    """A released pair of encoders: both give rows of length 1, whose product is their similarity."""

    backbone: Backbone
    encoder: TextEncoder
    learner: PairLearner

    def images(self, tiles: NDArray[np.uint8]) -> Floats:
        """[N, E] of uint8 tiles [N, T, H, W]."""
        import torch

        with torch.inference_mode():
            shown = torch.from_numpy(np.ascontiguousarray(tiles)).flatten(0, 1)
            cls, tokens = self.backbone.embed(self.backbone.preprocess(shown))
            return self.learner.image(cache.pool(cls, tokens, tiles.shape[1]).numpy())

    def texts(self, texts: Sequence[str]) -> Floats:
        """[N, E] of texts."""
        return self.learner.text(self.encoder.ids(texts))


def load_matcher(run_dir: Path, backbone_cache: Path | None = None) -> Matcher:
    """The encoders of a finished run. Raises ConfigurationError where a file is missing, or a model here is another one."""
    import torch
    from safetensors.torch import load_file

    from training.backbone import load_backbone
    from training.text_models import PairLearner

    if missing := [n for n in (RELEASE, "tokenizer.json", "preprocess.json") if not (run_dir / n).is_file()]:
        raise ConfigurationError(
            f"Run {run_dir.name} has no {missing[0]}: it pairs nothing, or did not finish."
        )
    spec = parse_spec(json.loads((run_dir / "spec.json").read_text()), source=f"run {run_dir.name}")
    facts = json.loads((run_dir / "preprocess.json").read_text())
    backbone = load_backbone(spec.model.id, spec.model.input.size, facts["revision"], backbone_cache)
    text_id = facts["text_encoder"]
    encoder: TextEncoder = (
        Bag((run_dir / "tokenizer.json").read_text(), spec.seed)
        if text_id == BAG
        else Folder(Path(text_id), facts["text_revision"])
    )
    tensors = load_file(run_dir / RELEASE)
    shown = np.zeros((0, tensors["mean"].shape[0]), np.float32)
    learner = PairLearner(
        spec.method, encoder.module(), shown, np.zeros((0, 1), np.int64), 0.0, torch.device("cpu"), 0
    )
    learner.fill(tensors)
    return Matcher(backbone, encoder, learner)
