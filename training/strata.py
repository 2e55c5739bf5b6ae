"""Sections `strata` and `subgroups`: how far apart two groups of the same studies are, both arms, under the same draws.

What belongs here: the gap between clean and comorbid studies and what tuning makes of it, each subgroup's gap to all, the
worst of the crossed slices. What does not: which cells there are and which are hidden (cells), the metric (metrics). Every
number of one split shares its bootstrap draws of patients, so differences of differences are paired by construction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from training import metrics, ranks
from training.audit import ARMS, Item, Scores
from training.cells import JUDGED, UNKNOWN, Cell, Key, Question, hidden_cells, iter_questions
from training.examples import Examples
from training.spec import TuneSpec

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Strings = NDArray[np.str_]
Table = list[dict[str, Any]]

MACRO = "macro"
NO_GAP, OPENED, WIDENED = "no gap to narrow is shown", "tuning opened a gap", "tuning widened the gap"
WORST = 5
"""Slices that are shown."""


class Areas:
    """AUROC replicates [1 + B] of any part of one split, each computed once."""

    def __init__(
        self, examples: Examples, questions: Sequence[Question], scores: Scores, spec: TuneSpec, split: str
    ) -> None:
        self.split = split
        self.questions = [q for q in questions if q.split == split]
        self._scores = scores
        self._place = np.full(len(scores.index), -1)
        rows = np.flatnonzero(scores.split == split)
        self._place[rows] = np.arange(len(rows))
        _, self._patient = np.unique(examples.patient[scores.index[rows]], return_inverse=True)
        self._spec = spec
        self._found: dict[tuple[str, str, str], Floats] = {}

    def of(self, name: str, inside: Bools, question: Question, arm: str) -> Floats | None:
        """[1 + B] of the rows `inside` [M] of a question; None with one class. `name` tells this part from others."""
        key = (name, question.label, arm)
        if key not in self._found:
            here = inside[question.rows]
            y, rows = question.y[here], question.rows[here]
            if not 0 < y.sum() < len(y):
                return None
            p = self._scores.probability[arm][rows, question.c]
            curve = ranks.curve(y, p)
            self._found[key] = np.concatenate([curve.areas(weights).auroc for weights in self.weights(rows)])
        return self._found[key]

    def weights(self, rows: Ints) -> Iterator[Floats]:
        """Weights [r, n] of rows [n] of the scores under the split's draws, in chunks, the row of ones first."""
        return metrics.draws_of(self._draws, self._patient[self._place[rows]])

    @cached_property
    def _draws(self) -> NDArray[np.int32]:
        """[1 + B, P]; only where a part is asked for."""
        return metrics.cluster_draws(self._patient, self._spec.report.bootstrap, self._spec.seed)

    def point(self, question: Question, here: Bools) -> float:
        """Tuned AUROC of the rows `here` of a question, without draws."""
        p = self._scores.probability["tuned"][question.rows[here], question.c]
        return float(metrics.auroc(question.y[here], p, np.ones((1, len(p))))[0])

    def both(
        self, first: tuple[str, Bools], second: tuple[str, Bools], label: str
    ) -> dict[str, tuple[Floats, Floats]] | None:
        """arm -> replicates of two parts, of one label or (MACRO) averaged over labels with both classes in both parts."""
        pairs: dict[str, list[tuple[Floats, Floats]]] = {arm: [] for arm in ARMS}
        for q in self.questions:
            if label not in (MACRO, q.label):
                continue
            for arm in ARMS:
                a, b = self.of(*first, q, arm), self.of(*second, q, arm)
                if a is not None and b is not None:
                    pairs[arm].append((a, b))
        if not pairs[ARMS[0]]:
            return None
        return {
            arm: (np.mean([a for a, _ in of], axis=0), np.mean([b for _, b in of], axis=0))
            for arm, of in pairs.items()
        }


def all_areas(
    examples: Examples, names: Sequence[str], truth: Floats, scores: Scores, spec: TuneSpec
) -> list[Areas]:
    """One of each judged split that holds a known answer."""
    questions = list(iter_questions(names, truth, scores))
    there = [split for split in JUDGED if any(q.split == split for q in questions)]
    return [Areas(examples, questions, scores, spec, split) for split in there]


def gaps(
    areas: Sequence[Areas], examples: Examples, scores: Scores, hidden: Mapping[Key, str]
) -> tuple[list[Item], Table]:
    """Each covariate that is yes or no: AUROC without it minus AUROC with it, and by how much tuning narrows that gap."""
    items, table = list[Item](), Table()
    for of in areas:
        labels = [q.label for q in of.questions]
        for name, values in examples.covariates.items():
            known = values[np.isfinite(values)]
            if not set(known.tolist()) <= {0.0, 1.0}:
                continue
            here = values[scores.index]
            in_split = scores.split == of.split
            clean, comorbid = (f"{name}=no", in_split & (here == 0)), (f"{name}=yes", in_split & (here == 1))
            for label in ([MACRO] if len(labels) > 1 else []) + labels:
                where = f"gap by {name}, {of.split}: {label}"
                told = next(
                    (hidden[k] for g, _ in (clean, comorbid) if (k := (of.split, "all", g)) in hidden), ""
                )
                found = None if told else of.both(clean, comorbid, label)
                if found is None:
                    text = f"a stratum {told}" if told else "a stratum holds one class, or nobody"
                    items.append(Item("strata", where, "not_applicable", None, text))
                    continue
                row: dict[str, Any] = {"covariate": name, "split": of.split, "label": label}
                row |= {"n_without": int(clean[1].sum()), "n_with": int(comorbid[1].sum())}
                row |= _gap(found)
                row["verdict"] = _verdict(row)
                table.append(row)
                items.append(Item("strata", where, "computed", row["narrowing"]["value"], _gap_words(row)))
    return items, table


def _gap(found: Mapping[str, tuple[Floats, Floats]]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for arm, (without, with_it) in found.items():
        row[arm] = {"without": _told(without), "with": _told(with_it), "gap": _told(without - with_it)}
    row["gain_without"], row["gain_with"] = (_told(found["tuned"][k] - found["untuned"][k]) for k in (0, 1))
    gap = {arm: without - with_it for arm, (without, with_it) in found.items()}
    row["narrowing"] = _told(gap["untuned"] - gap["tuned"])
    return row


def _gap_words(row: Mapping[str, Any]) -> str:
    parts = [
        f"{arm}: {row[arm]['without']['value']:.3f} without, {row[arm]['with']['value']:.3f} with, gap {said(row[arm]['gap'])}"
        for arm in ARMS
    ]
    return (
        f"{'; '.join(parts)}. Untuned gap minus tuned gap {said(row['narrowing'])}: {row['verdict']}; gain with it "
        f"{said(row['gain_with'])}; {row['n_without']} studies without, {row['n_with']} with"
    )


def _verdict(row: Mapping[str, Any]) -> str:
    """What tuning made of a gap, in words that say no more than the intervals do."""
    untuned, tuned, change = row["untuned"]["gap"], row["tuned"]["gap"], row["narrowing"]
    if any(found["low"] is None for found in (untuned, tuned, change)):
        return "no interval"
    if untuned["low"] <= 0:
        return NO_GAP if change["high"] >= 0 else OPENED
    if change["low"] <= 0 <= change["high"]:
        return "no change of the gap is shown"
    if change["high"] < 0:
        return WIDENED
    left = tuned["value"] / untuned["value"]
    return f"tuning narrowed the gap, {max(left, 0.0):.0%} of it is left"


def to_all(
    areas: Sequence[Areas], cells: Sequence[Cell], hidden: Mapping[Key, str]
) -> tuple[list[Item], Table]:
    """Each shown subgroup: tuned AUROC minus that of all studies of the split, with a paired interval."""
    items, table = list[Item](), Table()
    for of in areas:
        whole = ("all", next(c.rows for c in cells if c.key == (of.split, "all", "all")))
        label = MACRO if len(of.questions) > 1 else of.questions[0].label
        for cell in cells:
            if cell.split != of.split or cell.subgroup == "all" or cell.key in hidden:
                continue
            found = of.both((cell.subgroup, cell.rows), whole, label)
            where = f"gap to all, {of.split}: {cell.subgroup}"
            if found is None:
                items.append(Item("subgroups", where, "not_applicable", None, "one class, or nobody known"))
                continue
            own, every = found["tuned"]
            gap = _told(own - every)
            text = f"{label}: AUROC tuned {own[0]:.3f}, all {every[0]:.3f}, {said(gap)}; {int(cell.rows.sum())} studies"
            items.append(Item("subgroups", where, "computed", gap["value"], text))
            table.append({"split": of.split, "group": cell.subgroup, "n": int(cell.rows.sum()), **gap})
    return items, table


def worst_slices(
    areas: Sequence[Areas], strata: Mapping[str, Strings], examples: Examples, scores: Scores, min_cell: int
) -> tuple[list[Item], Table]:
    """The crossings of two groups in which tuned is furthest below all studies of the split.

    Small crossings are hidden as subgroups are. The interval is normal, from the bootstrap's standard error, and widened for
    the number of slices looked at (Bonferroni): the worst of many is bad by chance.
    """
    items, table = list[Item](), Table()
    groups = {"site": examples.site, **strata}
    for of in areas:
        cells = list(_crossed(of.split, groups, scores))
        hidden = hidden_cells([_whole(of.split, scores), *cells], examples.patient[scores.index], min_cell)
        label = MACRO if len(of.questions) > 1 else of.questions[0].label
        whole = ("all", scores.split == of.split)
        looked: list[tuple[float, Cell]] = []
        for cell in cells:
            quick = None if cell.key in hidden else _point(of, cell.rows, label)
            every = _point(of, whole[1], label)
            if quick is not None and every is not None:
                looked.append((quick - every, cell))
        if not looked:
            why = "no crossing of two groups is large enough and holds both classes"
            items.append(Item("subgroups", f"worst slice, {of.split}", "not_applicable", None, why))
            continue
        looked_at = len(looked)
        looked = [found for found in looked if found[0] < 0] or [min(looked, key=lambda found: found[0])]
        for rank, (_, cell) in enumerate(
            sorted(looked, key=lambda found: (found[0], found[1].key))[:WORST], 1
        ):
            found = of.both((cell.subgroup, cell.rows), whole, label)
            if found is None:
                continue
            gap = found["tuned"][0] - found["tuned"][1]
            reach = (
                float(norm.ppf(1 - 0.025 / looked_at) * np.nanstd(gap[1:], ddof=1)) if len(gap) > 2 else None
            )
            row: dict[str, Any] = {
                "split": of.split,
                "slice": cell.subgroup,
                "n": int(cell.rows.sum()),
                "looked_at": looked_at,
            }
            row |= {"tuned": float(found["tuned"][0][0]), "untuned": float(found["untuned"][0][0]), "value": float(gap[0]),
                    "low": None if reach is None else float(gap[0]) - reach,
                    "high": None if reach is None else float(gap[0]) + reach}  # fmt: skip
            table.append(row)
            text = (
                f"{cell.subgroup}: AUROC tuned {row['tuned']:.3f} (untuned {row['untuned']:.3f}), {said(row)} to all; "
                f"{row['n']} studies; interval widened for {looked_at} slices"
            )
            items.append(Item("subgroups", f"worst slice {rank}, {of.split}", "computed", row["value"], text))
    return items, table


def _crossed(split: str, groups: Mapping[str, Strings], scores: Scores) -> Iterator[Cell]:
    in_split = scores.split == split
    for (a, first), (b, second) in combinations(groups.items(), 2):
        one, other = first[scores.index], second[scores.index]
        for x in sorted(set(one[in_split].tolist()) - {UNKNOWN}):
            for y in sorted(set(other[in_split].tolist()) - {UNKNOWN}):
                rows = in_split & (one == x) & (other == y)
                if rows.any():
                    yield Cell(split, "all", f"{a} and {b}={x}, {y}", rows)


def _whole(split: str, scores: Scores) -> Cell:
    return Cell(split, "all", "all", scores.split == split)


def _point(of: Areas, inside: Bools, label: str) -> float | None:
    """Tuned AUROC, without draws."""
    found = []
    for q in of.questions:
        here = inside[q.rows]
        y = q.y[here]
        if label in (MACRO, q.label) and 0 < y.sum() < len(y):
            found.append(of.point(q, here))
    return float(np.mean(found)) if found else None


def _told(replicates: Floats) -> dict[str, float | None]:
    found = metrics.estimate(replicates)
    return {"value": found.value, "low": found.low, "high": found.high}


def said(found: Mapping[str, float | None]) -> str:
    """A signed number with its interval."""
    if found["value"] is None:
        return "unknown"
    if found["low"] is None or found["high"] is None:
        return f"{found['value']:+.3f}"
    return f"{found['value']:+.3f} [{found['low']:+.3f}, {found['high']:+.3f}]"
