"""A run that reads: report text to findings, TF-IDF as the untuned arm, a text encoder as the tuned one, the lexicon beside.

What belongs here: both arms of every fold, what is released and the way back, the lines of the section `text_extraction`. What
does not: texts and encoders (text), the task (tasks/text_extraction), the loop (loop). TF-IDF with logistic regression knows no
medicine and is hard to beat on few reports; a run says so where it was not beaten.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from curation.finding import lexicon
from curation.records import ConfigurationError
from training import checkpoint, metrics, probe
from training.audit import ARMS, Item, Scores
from training.extraction import read_lexicon
from training.job import Fold, Job, named, plan_folds
from training.judged import judge
from training.spec import parse_spec
from training.task import Task, find_task
from training.text import BAG, Bag, Folder, TextEncoder, Texts, make_encoder, read_texts

if TYPE_CHECKING:
    import torch
    from torch import nn

    from training.text_models import TextLearner

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

JUDGED = ("test", "holdout")
ENCODER = "encoder.safetensors"
_BATCH = 64
DEFAULT_LR = {True: 1e-2, False: 3e-5}
"""Peak learning rate of the bag, and of a transformers model."""


@dataclass(frozen=True)
class Read:
    """What fitting gave: both arms judged, the encoder's features [N, F], and the texts."""

    scores: Scores
    features: NDArray[np.float32]
    texts: Texts


def fit_all(job: Job, lake_root: Path) -> Read:
    """Both arms of every fold. A member without a report is neither learned from nor judged.

    Raises ConfigurationError where the method is neither probe nor full, or there are no reports.
    """
    from training.export import write_environment

    if job.spec.method.kind not in ("probe", "full") or job.spec.method.head == "attentive":
        raise ConfigurationError(
            "text_extraction is tuned by method.kind probe or full, with a linear or mlp head."
        )
    write_environment(job.run, job.device, job.precision)
    texts = read_texts(lake_root, job.examples)
    for values in (job.truth, job.watched, job.targets):
        values[~texts.is_there] = np.nan
    job.weights[~texts.is_there] = 0
    train = (job.examples.split == "train") & texts.is_there
    taught = [text for text, is_taught in zip(texts.text, train, strict=True) if is_taught]
    encoder = make_encoder(job.spec.model.id, job.spec.model.revision, taught, job.spec.seed)
    ids = encoder.ids(texts.text)
    job.beat("reading", 0.1)
    features = embed(encoder.module().to(job.device), ids, job.device)
    found = []
    folds = plan_folds(job.examples, job.spec.split.policy)
    for number, fold in enumerate(folds):
        done = 0.35 + 0.55 * number / len(folds)
        job.beat(f"fitting {fold.name}", done)
        untuned = tfidf_logits(texts.text, job.targets, fold.train)
        tuned = _fit(job, fold, encoder, ids, features, len(folds), done)
        found.append(judge(job, fold, untuned, tuned))
    return Read(Scores.concatenate(found), features, texts)


def embed(module: nn.Module, ids: Ints, device: torch.device) -> NDArray[np.float32]:
    """Features [N, F] of token ids [N, L]."""
    import torch

    with torch.inference_mode():
        parts = [
            module(torch.from_numpy(ids[n : n + _BATCH]).to(device)).float().cpu().numpy()
            for n in range(0, len(ids), _BATCH)
        ]
    return np.concatenate(parts)


def tfidf_logits(texts: Sequence[str], targets: Floats, train: Ints) -> Floats:
    """[N, C] of balanced logistic regression on words and pairs of words of the train split, as training.extraction has it."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    words.fit([texts[i] for i in train if texts[i]])
    x = words.transform(texts)
    logits = np.zeros(targets.shape)
    for c in range(targets.shape[1]):
        known = train[np.isfinite(targets[train, c])]
        y = targets[known, c] >= 0.5
        if y.any() and not y.all():
            model = LogisticRegression(C=10.0, class_weight="balanced", max_iter=1000)
            logits[:, c] = model.fit(x[known], y).decision_function(x)
    return logits


def _fit(
    job: Job,
    fold: Fold,
    encoder: TextEncoder,
    ids: Ints,
    features: NDArray[np.float32],
    n_folds: int,
    done: float,
) -> Floats:
    """Logits [N, C] of the tuned arm: a probe on the encoder as it came, and where asked all of it learned from there."""
    from training.heads import head_module
    from training.loop import learn, load_moving, predict
    from training.text_models import TextLearner

    def log(step: int, values: dict[str, float]) -> None:
        if job.spec.method.kind == "probe":
            job.run.log(step, 0, named(fold, values))

    seats = probe.Seats(fold.train, fold.tune, job.examples.patient)
    head = job.task.fit_probe(features, job.targets, job.weights, job.watched, seats, log)
    module = head_module(head, job.spec.method)
    lr = job.spec.method.lr or DEFAULT_LR[job.spec.model.id == BAG]
    learner = TextLearner(job.spec.method, copy.deepcopy(encoder.module()), ids, module, lr, job.device)
    if job.spec.method.kind == "full" or job.spec.method.head != "linear":
        state = learn(job, fold, learner, n_folds, done)
        load_moving(learner, state.best)
        if fold.name == "cohort":
            job.run.write_json("loop.json", checkpoint.counters(state))
    if fold.name == "cohort":
        _export(job, encoder, learner)
    return predict(job, learner, np.arange(len(ids)), done)


def _export(job: Job, encoder: TextEncoder, learner: TextLearner) -> None:
    """encoder.safetensors, tokenizer.json, head.safetensors and preprocess.json: all that a reader needs."""
    from safetensors.numpy import save
    from safetensors.torch import save as save_tensors

    from training.heads import to_arrays

    tensors = {k: v.detach().cpu().contiguous() for k, v in learner.encoder.state_dict().items()}
    job.run.write_bytes(ENCODER, save_tensors(tensors, metadata={"format": "pt"}))
    job.run.write_bytes("tokenizer.json", encoder.tokenizer_json.encode())
    job.run.write_bytes("head.safetensors", save(to_arrays(learner.head), metadata={"format": "pt"}))
    facts = {
        "backbone": job.spec.model.id,
        "revision": encoder.revision,
        "features": "mean over tokens",
        "outputs": list(job.names),
        "task": job.spec.task.kind,
        "task_state": dict(job.task.state()),
        "method": job.spec.method.kind,
        "head": job.spec.method.head,
        "warm_start": "probe",
    }
    job.run.write_json("preprocess.json", facts)


@dataclass(frozen=True)
class Reader:
    """A released reader of reports."""

    outputs: tuple[str, ...]
    encoder: TextEncoder
    learner: TextLearner
    task: Task

    def predict(self, texts: Sequence[str]) -> Floats:
        """[N, C] probabilities that each report says each finding is present."""
        import torch

        self.learner.ids = self.encoder.ids(texts)
        with torch.inference_mode():
            logits = [
                self.learner(np.arange(n, min(n + _BATCH, len(texts))), None)
                for n in range(0, len(texts), _BATCH)
            ]
        return np.asarray(self.task.answers(torch.cat(logits).double()).numpy())


def load_reader(run_dir: Path) -> Reader:
    """The reader of a finished run. Raises ConfigurationError where a file is missing, or the model here is another one."""
    import torch
    from safetensors.torch import load_file

    from training.export import load_head
    from training.text_models import TextLearner

    if missing := [n for n in (ENCODER, "tokenizer.json", "head.safetensors", "preprocess.json") if
                   not (run_dir / n).is_file()]:  # fmt: skip
        raise ConfigurationError(
            f"Run {run_dir.name} has no {missing[0]}: it reads no text, or did not finish."
        )
    spec = parse_spec(json.loads((run_dir / "spec.json").read_text()), source=f"run {run_dir.name}")
    facts = json.loads((run_dir / "preprocess.json").read_text())
    tokenizer = (run_dir / "tokenizer.json").read_text()
    encoder: TextEncoder = (
        Bag(tokenizer, spec.seed) if spec.model.id == BAG else Folder(Path(spec.model.id), facts["revision"])
    )
    try:
        encoder.module().load_state_dict(load_file(run_dir / ENCODER))
    except RuntimeError as error:
        raise ConfigurationError(f"{ENCODER} of run {run_dir.name} does not fit its model: {error}") from None
    head = load_head(run_dir, spec.method.head)
    learner = TextLearner(
        spec.method, encoder.module(), np.zeros((0, 1), np.int64), head, 1.0, torch.device("cpu")
    )
    return Reader(tuple(facts["outputs"]), encoder, learner, find_task(spec.task, facts["task_state"]))


def lines(job: Job, read: Read) -> Iterator[Item]:
    """Section `text_extraction`: F1, omissions and hallucinations of three readers of the same reports, and gains over both."""
    for split in JUDGED:
        here = np.flatnonzero(read.scores.split == split)
        member = read.scores.index[here]
        for c, label in enumerate(job.names) if len(here) else ():
            y = job.truth[member, c]
            known = np.isfinite(y)
            where = f"{split}: {label}"
            if not 0 < y[known].sum() < known.sum():
                yield Item(
                    "text_extraction", where, "not_applicable", None, "one class, or no report of known truth"
                )
                continue
            said = {
                arm: read.scores.probability[arm][here, c] >= read.scores.threshold[arm][here, c]
                for arm in ARMS
            }
            if label in lexicon():
                said["lexicon"] = _lexicon(read.texts, member, label)
            yield from _readers(job, where, y[known], {k: v[known] for k, v in said.items()}, member[known])


def _lexicon(texts: Texts, member: Ints, label: str) -> NDArray[np.bool_]:
    said = np.zeros(len(member), dtype=np.bool_)
    for language in sorted({texts.language[i] for i in member}):
        rows = [row for row, i in enumerate(member) if texts.language[i] == language]
        said[rows] = read_lexicon([texts.text[member[row]] for row in rows], [label], language)[:, 0]
    return said


def _readers(
    job: Job, where: str, y: Floats, said: dict[str, NDArray[np.bool_]], member: Ints
) -> Iterator[Item]:
    """A line a reader, and what the tuned one gains over each other, under the same draws of patients."""
    _, patient = np.unique(job.examples.patient[member], return_inverse=True)
    draws = metrics.cluster_draws(patient, job.spec.report.bootstrap, job.spec.seed)[:, patient].astype(
        np.float64
    )
    f1 = {}
    for reader, says in said.items():
        name = {"untuned": "TF-IDF", "tuned": "text encoder"}.get(reader, reader)
        hits, n_said, n_there = draws @ (says * y), draws @ says.astype(np.float64), draws @ y
        f1[reader] = 2 * hits / np.maximum(n_said + n_there, 1e-12)
        found = metrics.estimate(f1[reader])
        n_hits, wrong, missed = int((says * y).sum()), int((says * (1 - y)).sum()), int((~says * y).sum())
        text = f"F1{_interval(found)}; {n_hits} found, {wrong} hallucinated, {missed} omitted of {int(y.sum())} in {len(y)} reports"
        if reader == "lexicon" and not wrong and not missed:
            text += "; it agrees with every label, which it may have made itself"
        yield Item("text_extraction", f"{where}, {name}", "computed", found.value, text)
    for other in said.keys() - {"tuned"}:
        gain = metrics.estimate(f1["tuned"] - f1[other])
        name = {"untuned": "TF-IDF"}.get(other, other)
        beaten = gain.low is not None and gain.low > 0
        text = f"F1 of the text encoder minus that of {name}{_interval(gain)}" + (
            "" if beaten else "; not beaten"
        )
        yield Item("text_extraction", f"{where}, gain over {name}", "computed", gain.value, text)


def _interval(found: metrics.Estimate) -> str:
    return "" if found.low is None else f" [{found.low:.3f}, {found.high:.3f}]"
