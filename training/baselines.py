"""Section `discrimination`: what would be had without the image, from the majority and from clinical variables alone.

What belongs here: baselines beside both arms on the same studies. What does not: the untuned arm (tune), survival's
clinical baseline (time_to_event), what the site alone would give (audit).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from training import delong, metrics, probe
from training.audit import COHORT, Item, Scores
from training.cells import Question, iter_questions
from training.examples import Examples

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_STRENGTH = 1.0


def majority(examples: Examples, names: Sequence[str], truth: Floats, scores: Scores) -> Iterator[Item]:
    """Accuracy and Brier score of saying the train split's commoner answer, and its share, of everybody."""
    for q in iter_questions(names, truth, scores):
        taught = truth[examples.split == "train", q.c]
        known = taught[np.isfinite(taught)]
        where = f"majority, {q.split}: {q.label}"
        if not known.size:
            yield Item("discrimination", where, "not_applicable", None, "the train split knows no answer")
            continue
        share = float(known.mean())
        right = float((q.y == float(share >= 0.5)).mean())
        brier = float(((share - q.y) ** 2).mean())
        arms = ", ".join(
            f"{arm} {float(((scores.probability[arm][q.rows, q.c] - q.y) ** 2).mean()):.4f}"
            for arm in ("untuned", "tuned")
        )
        text = (
            f"always {'yes' if share >= 0.5 else 'no'}: right in {right:.1%}, AUROC 0.5; Brier score of saying {share:.1%} "
            f"{brier:.4f} ({arms})"
        )
        yield Item("discrimination", where, "computed", brier, text)


def clinical(examples: Examples, names: Sequence[str], truth: Floats, scores: Scores) -> Iterator[Item]:
    """AUROC of logistic regression on the covariates, and how much better tuned is (DeLong, patients as clusters)."""
    if not examples.covariates:
        text = "task.covariates names none; name age, sex, comorbidities"
        yield Item("discrimination", "clinical variables alone", "not_applicable", None, text)
        return
    for q in iter_questions(names, truth, scores):
        where = f"clinical variables alone, {q.split}: {q.label}"
        guess = _guess(examples, truth, scores, q)
        if np.isnan(guess).any() or not q.has_both:
            text = "one class of known labels, here or on the train split"
            yield Item("discrimination", where, "not_applicable", None, text)
            continue
        one = np.ones((1, len(q.y)))
        alone = float(metrics.auroc(q.y, guess, one)[0])
        areas = {
            arm: float(metrics.auroc(q.y, scores.probability[arm][q.rows, q.c], one)[0])
            for arm in ("untuned", "tuned")
        }
        text = f"AUROC of {', '.join(examples.covariates)}: {alone:.3f}; untuned {areas['untuned']:.3f}, tuned {areas['tuned']:.3f}"
        try:
            gain = delong.compare(
                q.y, guess, scores.probability["tuned"][q.rows, q.c], examples.patient[scores.index[q.rows]]
            )
            text += f"; tuned minus clinical {gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"
        except ValueError as why:
            text += f"; no interval: {why}"
        yield Item("discrimination", where, "computed", alone, text)


def clinical_features(examples: Examples, train: Ints) -> NDArray[np.float32]:
    """[N, 2V] covariates with the train split's median where one is unknown, and whether each was unknown."""
    plain = np.stack(list(examples.covariates.values()), axis=1)  # [N, V]
    unknown = ~np.isfinite(plain)
    middle = [
        np.median(column[np.isfinite(column)]) if np.isfinite(column).any() else 0.0
        for column in plain[train].T
    ]
    return np.column_stack([np.where(unknown, middle, plain), unknown]).astype(np.float32)


def _guess(examples: Examples, truth: Floats, scores: Scores, q: Question) -> Floats:
    """[n] logits of a fit that saw the sites which the fold's own fit saw; NaN where it saw one class."""
    folds, found = scores.folds()[q.rows], np.full(len(q.rows), np.nan)
    for fold in sorted(set(folds.tolist())):
        here = folds == fold
        unseen = set() if fold == COHORT else set(examples.site[scores.index[q.rows[here]]].tolist())
        train = np.flatnonzero(
            (examples.split == "train") & ~np.isin(examples.site, sorted(unseen)) & np.isfinite(truth[:, q.c])
        )
        y = truth[train, q.c]
        if 0 < y.sum() < len(y):
            features = clinical_features(examples, train)
            head = probe.fit_head(features[train], y[:, None], _STRENGTH)
            found[here] = head.logits(features[scores.index[q.rows[here]]])[:, 0]
    return found
