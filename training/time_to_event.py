"""Lines of the evaluation of a survival task: who comes first, how far off the curves are, and what the image adds.

What belongs here: section `survival`, and its concordances as metrics, both arms on the same studies with patient-cluster
intervals. What does not: the arithmetic (survival), the questions by a horizon, which are judged as any other label
(evaluate).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.records import Metric
from training import metrics, probe, survival
from training.audit import ARMS, Item, Scores
from training.examples import Examples
from training.spec import TuneSpec
from training.tasks.survival import hazards_of, horizons_of, seen

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

JUDGED = ("test", "holdout")
EVENTS_A_VARIABLE = 10
"""Peduzzi et al. 1995: with fewer events a variable a model of them says little."""
CONCORDANCE, OVER_CLINICAL = "c_index", "c_index_over_clinical"
"""Metrics: Harrell's concordance of both arms; of clinical variables alone (`untuned`) and with the tuned risk (`tuned`)."""
_STRENGTH = 1.0
_CHUNK = 200
"""Replicates at once."""
_THIRDS = ("lowest", "middle", "highest")
MIN_THIRD = 11
"""Smaller thirds are not shown."""
MIN_CUT_ON = 30
"""Studies of a tune split on which thirds can be cut."""
_POINTS = 200
"""Days at which a curve is drawn."""


@dataclass(frozen=True)
class _Cell:
    """Studies of one split of whom days and event are known."""

    split: str
    rows: Ints
    """[n] rows of the scores."""
    member: Ints
    days: Floats
    event: Bools
    draws: Floats
    """[1 + B, n] weights."""


def lines(
    examples: Examples, scores: Scores, spec: TuneSpec, run_id: str
) -> tuple[list[Item], list[dict[str, Any]], list[Metric]]:
    """Section `survival`, Kaplan-Meier curves by thirds of risk for the page, and concordances as metrics under the event's name.

    Nothing for other tasks.
    """
    items, curves, rows = list[Item](), list[dict[str, Any]](), list[Metric]()
    if spec.task.kind != "survival":
        return items, curves, rows
    ends = horizons_of(examples.labels, spec.task.horizons)
    for split in JUDGED:
        cell = _cell(examples, scores, split, spec)
        if cell is None:
            continue
        if cell.event.sum() < 2:
            text = f"{int(cell.event.sum())} events seen"
            items.append(Item("survival", split, "not_applicable", None, text))
            continue
        found: dict[str, dict[str, Floats]] = {}
        items += _concordance(cell, scores, found)
        items += _at_horizons(cell, scores, ends)
        items += _curves(cell, scores, ends)
        third = _third(cell, scores)
        items += _thirds(cell, third, ends)
        items.append(_differ(cell, third))
        items.append(_beside_clinical(cell, examples, scores, spec, found))
        curves += _kaplan_meier(cell, third)
        rows += _metrics(cell, run_id, spec.task.labels[1], found)
    return items, curves, rows


def _metrics(cell: _Cell, run_id: str, event: str, found: dict[str, dict[str, Floats]]) -> Iterator[Metric]:
    """Both arms and the gain of each metric in `found`: name -> arm -> [1 + B]."""
    for name, by_arm in found.items():
        for arm, values in {**by_arm, "gain": by_arm["tuned"] - by_arm["untuned"]}.items():
            e, n = metrics.estimate(values), int(cell.event.sum())
            yield Metric(run_id, arm, cell.split, "all", "all", event, name, e.value, e.low, e.high, len(cell.days), n)  # fmt: skip


def _cell(examples: Examples, scores: Scores, split: str, spec: TuneSpec) -> _Cell | None:
    days, event, known = seen(examples.labels)
    rows = np.flatnonzero((scores.split == split) & known[scores.index])
    if not len(rows):
        return None
    member = scores.index[rows]
    _, patient = np.unique(examples.patient[member], return_inverse=True)
    draws = metrics.cluster_draws(patient, spec.report.bootstrap, spec.seed)[:, patient].astype(np.float64)
    return _Cell(split, rows, member, days[member], event[member], draws)


def _risk(scores: Scores, rows: Ints, arm: str) -> Floats:
    """[n] expected share of the horizons that see the event: higher comes earlier."""
    return np.asarray(scores.probability[arm][rows].mean(1))


def _replicated(cell: _Cell, metric: Callable[[Floats], Floats]) -> Floats:
    """[1 + B] of a metric of weights, a chunk of replicates at a time."""
    return np.concatenate([metric(cell.draws[n : n + _CHUNK]) for n in range(0, len(cell.draws), _CHUNK)])


def _concordance(cell: _Cell, scores: Scores, found: dict[str, dict[str, Floats]]) -> Iterator[Item]:
    """Harrell's and Uno's; the former is kept in `found` for the metrics."""
    last = float(cell.days[cell.event].max())
    kinds: dict[str, Callable[[Floats, Floats], Floats]] = {
        "Harrell": lambda risk, w: survival.harrell(cell.days, cell.event, risk, w),
        "Uno": lambda risk, w: survival.uno(cell.days, cell.event, risk, w, last),
    }
    for name, metric in kinds.items():
        by_arm = {}
        for arm in ARMS:
            risk = _risk(scores, cell.rows, arm)
            by_arm[arm] = _replicated(cell, lambda w, m=metric, r=risk: m(r, w))  # type: ignore[misc]
        if name == "Harrell":
            found[CONCORDANCE] = by_arm
        yield _gain(
            f"{cell.split}: concordance ({name})",
            by_arm,
            f"{int(cell.event.sum())} events of {len(cell.days)}",
        )


def _curves(cell: _Cell, scores: Scores, ends: Floats) -> Iterator[Item]:
    """Brier scores integrated over the horizons; the same for everybody (Kaplan-Meier) as the measure."""
    where = f"{cell.split}: integrated Brier score"
    columns = np.flatnonzero((ends < cell.days.max()) & (ends >= cell.days.min()))
    ends = ends[columns]
    if len(ends) < 2:
        yield Item(
            "survival",
            where,
            "not_applicable",
            None,
            "fewer than two horizons within the time of observation",
        )
        return
    by_arm = {}
    for arm in ARMS:
        free = 1 - scores.probability[arm][cell.rows][:, columns]
        by_arm[arm] = _replicated(
            cell,
            lambda w, f=free: survival.integrated_brier(cell.days, cell.event, f, w, ends),  # type: ignore[misc]
        )
    times, shares = survival.kaplan_meier(cell.days, cell.event, cell.draws[:1])
    flat = shares[0][np.maximum(np.searchsorted(times, ends, side="right") - 1, 0)]
    same = survival.integrated_brier(
        cell.days, cell.event, np.tile(flat, (len(cell.days), 1)), cell.draws[:1], ends
    )[0]
    yield _gain(where, by_arm, f"lower is better; the same curve for everybody: {same:.3f}")


def _at_horizons(cell: _Cell, scores: Scores, ends: Floats) -> Iterator[Item]:
    """At each horizon: cumulative-dynamic AUC of both arms, and tuned's mean chance beside the share that Kaplan-Meier finds."""
    times, free = survival.kaplan_meier(cell.days, cell.event, cell.draws)
    for column, at in enumerate(ends.tolist()):
        chance = {arm: scores.probability[arm][cell.rows, column] for arm in ARMS}
        by_arm = {}
        for arm in ARMS:

            def area(weights: Floats, risk: Floats = chance[arm], day: float = at) -> Floats:
                return survival.auc_at(cell.days, cell.event, risk, weights, day)

            by_arm[arm] = _replicated(cell, area)
        n = int((cell.event & (cell.days <= at)).sum())
        yield _gain(f"{cell.split}: AUC at day {at:g}", by_arm, f"{n} events by then, weighed for censoring")
        where = f"{cell.split}: calibration at day {at:g}"
        if at > cell.days.max():
            yield Item("survival", where, "not_applicable", None, "nobody was observed for so long")
            continue
        place = int(np.searchsorted(times, at, side="right")) - 1
        found = metrics.estimate(1 - free[:, place] if place >= 0 else np.zeros(len(free)))
        said = {arm: float(chance[arm].mean()) for arm in ARMS}
        text = f"event by then in {_share(found)} (Kaplan-Meier); foretold on average: untuned {said['untuned']:.0%}, tuned {said['tuned']:.0%}"
        yield Item("survival", where, "computed", said["tuned"] - (found.value or 0.0), text)


def _third(cell: _Cell, scores: Scores) -> Ints:
    """[n] third of tuned risk, 0 lowest, cut on the tune split where that holds 30 studies."""
    judge = np.flatnonzero(scores.split == "tune")
    cut_on = judge if len(judge) >= MIN_CUT_ON else cell.rows
    cuts = np.quantile(_risk(scores, cut_on, "tuned"), [1 / 3, 2 / 3])
    return np.asarray(np.searchsorted(cuts, _risk(scores, cell.rows, "tuned"), side="right"), dtype=np.int64)


def _differ(cell: _Cell, third: Ints) -> Item:
    where = f"{cell.split}: thirds of risk differ (log-rank)"
    present, number = np.unique(third, return_inverse=True)
    if len(present) < 2:
        return Item("survival", where, "not_applicable", None, "all studies stand in one third")
    p_value = survival.logrank(cell.days, cell.event, number)
    text = f"p = {p_value:.3g} over {len(present)} thirds; a study each, patients not clustered"
    return Item("survival", where, "computed", p_value, text)


def _kaplan_meier(cell: _Cell, third: Ints) -> Iterator[dict[str, Any]]:
    """One curve a third of at least MIN_THIRD studies: days, share free with a bootstrap band, how many are still observed."""
    for number, name in enumerate(_THIRDS):
        inside = third == number
        if inside.sum() < MIN_THIRD:
            continue
        times, free = survival.kaplan_meier(cell.days[inside], cell.event[inside], cell.draws[:, inside])
        keep = np.unique(np.linspace(0, len(times) - 1, min(len(times), _POINTS)).astype(np.int64))
        low, high = np.quantile(free[:, keep], [0.025, 0.975], axis=0) if len(free) > 1 else (None, None)
        yield {"split": cell.split, "third": name, "n": int(inside.sum()), "events": int(cell.event[inside].sum()),
               "day": times[keep].tolist(), "free": np.round(free[0, keep], 5).tolist(),
               "low": None if low is None else np.round(low, 5).tolist(),
               "high": None if high is None else np.round(high, 5).tolist()}  # fmt: skip


def _thirds(cell: _Cell, third: Ints, ends: Floats) -> Iterator[Item]:
    """Who is still free of the event at the last horizon, by thirds of the tuned risk."""
    at = float(ends[-1])
    for number, name in enumerate(_THIRDS):
        inside = third == number
        where = f"{cell.split}: free of the event at day {at:g}, {name} third of risk"
        if inside.sum() < MIN_THIRD:
            yield Item("survival", where, "not_applicable", None, f"fewer than {MIN_THIRD} studies")
            continue

        def free(weights: Floats, inside: Bools = inside) -> Floats:
            times, shares = survival.kaplan_meier(cell.days[inside], cell.event[inside], weights[:, inside])
            place = int(np.searchsorted(times, at, side="right")) - 1
            return shares[:, place] if place >= 0 else np.ones(len(weights))

        found = metrics.estimate(_replicated(cell, free))
        text = f"{_share(found)}; {int(cell.event[inside].sum())} events of {int(inside.sum())}"
        yield Item("survival", where, "computed", found.value, text)


def _beside_clinical(
    cell: _Cell, examples: Examples, scores: Scores, spec: TuneSpec, found: dict[str, dict[str, Floats]]
) -> Item:
    """Concordance of clinical variables alone, and of the same with the tuned risk; both fitted on the tune split."""
    where = f"{cell.split}: what the image adds to {', '.join(examples.covariates) or 'clinical variables'}"
    if not examples.covariates:
        return Item("survival", where, "not_applicable", None, "task.covariates names none; name age, say")
    judge = np.flatnonzero(scores.split == "tune")
    member = scores.index[judge]
    events = int(seen(examples.labels[member])[1].sum()) if len(member) else 0
    if events < (needed := EVENTS_A_VARIABLE * (len(examples.covariates) + 1)):
        text = f"{events} events on the tune split where {needed} are needed: {EVENTS_A_VARIABLE} a variable, the image's risk is one"
        return Item("survival", where, "not_applicable", None, text)
    plain = np.stack(list(examples.covariates.values()), axis=1)  # [N, V]
    middle = np.nan_to_num(np.nanmedian(plain[member], axis=0))
    clinical = np.where(np.isfinite(plain), plain, middle)
    hazards = hazards_of(examples.labels, spec.task.horizons)[member]
    by_arm = {}
    for name, with_image in (("untuned", False), ("tuned", True)):

        def features(rows: Ints, with_image: bool = with_image) -> NDArray[np.float32]:
            found = clinical[scores.index[rows]]
            if with_image:
                found = np.column_stack([found, _risk(scores, rows, "tuned")])
            return found.astype(np.float32)

        head = probe.fit_head(features(judge), hazards, _STRENGTH)
        free = (1 / (1 + np.exp(head.logits(features(cell.rows))))).cumprod(1)
        risk = 1 - free.mean(1)
        by_arm[name] = _replicated(cell, lambda w, r=risk: survival.harrell(cell.days, cell.event, r, w))  # type: ignore[misc]
    found[OVER_CLINICAL] = by_arm
    return _gain(
        where, by_arm, "Harrell's concordance without and with the image, missing values at the median"
    )


def _gain(where: str, by_arm: dict[str, Floats], note: str) -> Item:
    """One line: both arms and tuned minus untuned under the same draws."""
    first, second = (metrics.estimate(by_arm[arm]) for arm in ARMS)
    gain = metrics.estimate(by_arm["tuned"] - by_arm["untuned"])
    if gain.value is None or first.value is None or second.value is None:
        return Item("survival", where, "not_applicable", None, gain.reason or "no comparable pair")
    interval = "no interval" if gain.low is None else f"[{gain.low:+.3f}, {gain.high:+.3f}]"
    text = f"{first.value:.3f} -> {second.value:.3f}, {gain.value:+.3f} {interval}; {note}"
    return Item("survival", where, "computed", gain.value, text)


def _share(found: metrics.Estimate) -> str:
    if found.value is None:
        return found.reason
    return f"{found.value:.0%}" + ("" if found.low is None else f" [{found.low:.0%}, {found.high:.0%}]")
