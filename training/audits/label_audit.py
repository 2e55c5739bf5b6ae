"""Which labels are likely wrong: those that the images of other patients contradict, and those that the report contradicts.

What belongs here: confident learning (Northcutt, Jiang, Chuang 2021, JAIR 70) for yes/no labels, conflicts of report and
label, the rows of label_issues and the lines of the section `labels`. What does not: out-of-fold probabilities (crossfit),
the table in which a person corrects (ui). numpy, no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from curation.cohort_folder import read_facts
from curation.lake import Lake
from curation.records import LabelIssue
from training.audit import Item
from training.audits.crossfit import out_of_fold
from training.examples import Examples

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

Said = Mapping[tuple[UUID, str], tuple[str, str]]
"""(study, label) -> (present or absent, the sentence)."""


def suspects(given: Floats, probability: Floats) -> Bools:
    """[N] whether a label 0 or 1 is likely wrong, by confident learning, pruned by noise rate.

    probability [N]: out of fold, of 1. A study counts in the joint of given and true label where its probability reaches
    the mean of that class (class-wise thresholds, so that a shy model condemns nobody); the joint, scaled to the class
    sizes, says how many labels of each class are wrong, and those with the largest margin are they. Unknown ones (NaN) are
    no suspects.
    """
    known = np.flatnonzero(np.isfinite(given) & np.isfinite(probability))
    found = np.zeros(len(given), dtype=bool)
    y, share = given[known].astype(np.int64), np.stack([1 - probability[known], probability[known]], axis=1)
    if len(set(y.tolist())) < 2:
        return found
    threshold = np.array([share[y == side, side].mean() for side in (0, 1)])
    confident = share >= threshold
    likely = np.where(confident.any(1), np.where(confident, share, -1.0).argmax(1), -1)
    for side in (0, 1):
        own = y == side
        n_kept, n_moved = int((own & (likely == side)).sum()), int((own & (likely == 1 - side)).sum())
        n_wrong = round(own.sum() * n_moved / max(n_kept + n_moved, 1))
        margin = np.where(own, share[:, 1 - side] - share[:, side], -np.inf)
        worst = np.argsort(-margin, kind="stable")[:n_wrong]
        found[known[worst[margin[worst] > 0]]] = True
    return found


def said_by_reports(lake_root: Path, examples: Examples, names: Sequence[str]) -> Said | None:
    """What the reports of these studies assert of findings that bear a label's name; None where the snapshot is not here."""
    number = int(read_facts(examples.folder)["snapshot"])
    lake = Lake(lake_root)
    if number not in lake.numbers():
        return None
    connection = lake.connect(number)
    try:
        rows: list[Any] = connection.execute(
            "SELECT study_id, finding, assertion, evidence FROM findings WHERE source = 'report' "
            "AND assertion IN ('present', 'absent') AND list_contains(?, finding) ORDER BY ALL",
            [list(names)],
        ).fetchall()
    finally:
        connection.close()
    wanted, found = set(examples.study_id), dict[tuple[UUID, str], tuple[str, str]]()
    both = set()
    for study, finding, assertion, evidence in rows:
        key = (study, finding)
        if study in wanted and found.setdefault(key, (assertion, evidence))[0] != assertion:
            both.add(key)  # present in one sentence, absent in another: the report takes no side
    return {key: value for key, value in found.items() if key not in both}


def label_audit(
    examples: Examples,
    names: Sequence[str],
    truth: Floats,
    features: NDArray[np.float32],
    said: Said | None,
    run_id: str,
    seed: int,
) -> tuple[list[LabelIssue], list[Item]]:
    """Suspected labels, the most suspect first, and one line a label and kind of suspicion."""
    probability = out_of_fold(features, truth, examples.patient, seed)
    issues: list[tuple[float, tuple[Any, ...]]] = []  # doubt, and what a row says behind its rank
    items: list[Item] = []
    for c, label in enumerate(names):
        odd = suspects(truth[:, c], probability[:, c])
        items += [
            _odd_line(label, truth[:, c], probability[:, c], odd),
            _conflict_line(label, truth[:, c], examples, said),
        ]
        told = {study: side for (study, name), side in (said or {}).items() if name == label}
        is_told = np.array([study in told for study in examples.study_id]) if told else np.zeros_like(odd)
        for i in np.flatnonzero(np.isfinite(truth[:, c]) & (odd | is_told)):
            assertion, evidence = told.get(examples.study_id[i], (None, None))
            is_conflict = assertion is not None and (assertion == "present") != bool(truth[i, c])
            if odd[i] or is_conflict:
                share = None if np.isnan(probability[i, c]) else float(probability[i, c])
                doubt = (0.5 if share is None else abs(float(truth[i, c]) - share)) + is_conflict
                fields = (
                    examples.study_id[i], examples.series_id[i], examples.patient_id[i], str(examples.site[i]),
                    str(examples.split[i]), label, float(truth[i, c]), share, assertion, bool(odd[i]), is_conflict,
                    evidence or None,
                )  # fmt: skip
                issues.append((doubt, fields))
    issues.sort(key=lambda found: (-found[0], found[1][5], found[1][0]))
    return [LabelIssue(run_id, rank, *fields) for rank, (_, fields) in enumerate(issues, 1)], items


def _odd_line(label: str, truth: Floats, probability: Floats, odd: Bools) -> Item:
    n = int(np.isfinite(probability).sum())
    if not n:
        return Item(
            "labels",
            f"{label}: likely wrong by the image",
            "not_applicable",
            None,
            "too few patients of either class",
        )
    text = f"{int(odd.sum())} of {n} labels contradict what the images of other patients teach (confident learning)"
    return Item("labels", f"{label}: likely wrong by the image", "computed", float(odd.sum() / n), text)


def _conflict_line(label: str, truth: Floats, examples: Examples, said: Said | None) -> Item:
    name = f"{label}: report says the opposite"
    if said is None:
        return Item(
            "labels", name, "missing", None, "the cohort's snapshot is not in this lake; tune where it lies"
        )
    told = [
        (said[study, label][0] == "present") != bool(y)
        for study, y in zip(examples.study_id, truth, strict=True)
        if np.isfinite(y) and (study, label) in said
    ]
    if not told:
        return Item(
            "labels", name, "not_applicable", None, "no report asserts or denies a finding of that name"
        )
    text = f"{sum(told)} of {len(told)} labels whose report takes a side"
    return Item("labels", name, "computed", sum(told) / len(told), text)
