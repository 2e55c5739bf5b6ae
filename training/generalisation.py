"""Section `generalisation`: sites never seen, each site left out, one site's probe at another, and time.

What belongs here: the lines and the matrix. What does not: the fits that leave a site out (tune), metrics by site (evaluate).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.records import Metric
from training import delong, metrics, probe
from training.audit import COHORT, Item, Scores
from training.examples import Examples
from training.spec import TuneSpec

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEFT_OUT = "leave_one_site_out"
_STRENGTH = 0.01
_FEW = 2
"""Fewer of either class make no AUROC worth a cell of the matrix."""


def never_seen(rows: Sequence[Metric], headline: str) -> Iterator[Item]:
    """Both arms at each site of the split `holdout`."""
    cells: dict[tuple[str, str], dict[str, Metric]] = {}
    for r in rows:
        if (
            (r.split, r.subgroup, r.name) == ("holdout", "all", headline)
            and r.site != "all"
            and r.value is not None
        ):
            cells.setdefault((r.site, r.label), {})[r.arm] = r
    whole = [(key, arms) for key, arms in cells.items() if {"untuned", "tuned", "gain"} <= set(arms)]
    if not whole:
        yield Item("generalisation", "never seen", "not_applicable", None,
                   "no site was kept out on which it can be judged; set split.holdout_sites or split.policy")  # fmt: skip
    for (site, label), arms in whole:
        gain = arms["gain"]
        interval = "" if gain.low is None else f" [{gain.low:+.3f}, {gain.high:+.3f}]"
        text = f"{headline.upper()} untuned {arms['untuned'].value:.3f}, tuned {arms['tuned'].value:.3f}, {gain.value:+.3f}{interval}; {gain.n} studies"
        yield Item("generalisation", f"never seen, {site}: {label}", "computed", arms["tuned"].value, text)


def left_out(
    examples: Examples, names: Sequence[str], truth: Floats, scores: Scores, spec: TuneSpec
) -> tuple[list[Item], list[dict[str, Any]]]:
    """Tuned AUROC of the same test studies of each site, by the fit that left it out minus by the one that saw it."""
    if spec.split.policy != LEFT_OUT:
        text = f"split.policy is {spec.split.policy}; {LEFT_OUT} gives it"
        return [Item("generalisation", "left out", "not_applicable", None, text)], []
    items, table = list[Item](), list[dict[str, Any]]()
    folds = scores.folds()
    row_of = {
        (f, i): row for row, (f, i) in enumerate(zip(folds.tolist(), scores.index.tolist(), strict=True))
    }
    for fold in sorted(set(folds.tolist()) - {COHORT}):
        site = str(examples.site[scores.index[folds == fold][0]])
        member = np.array(
            [i for i in scores.index[folds == fold].tolist() if examples.split[i] == "test"], dtype=np.int64
        )
        seen, unseen = ([row_of[f, i] for i in member.tolist()] for f in (COHORT, fold))
        for c, label in enumerate(names):
            known = np.isfinite(truth[member, c])
            y = truth[member[known], c]
            by = {
                arm: [
                    scores.probability[arm][np.array(rows, dtype=np.int64)[known], c]
                    for rows in (seen, unseen)
                ]
                for arm in ("untuned", "tuned")
            }
            where = f"left out, {site}: {label}"
            try:
                change = delong.compare(y, by["tuned"][0], by["tuned"][1], examples.patient[member[known]])
            except ValueError as why:
                items.append(
                    Item("generalisation", where, "not_applicable", None, f"on its test studies: {why}")
                )
                continue
            one = np.ones((1, len(y)))
            areas = {arm: [float(metrics.auroc(y, p, one)[0]) for p in of] for arm, of in by.items()}
            text = (
                f"AUROC of {len(y)} test studies, seen {areas['tuned'][0]:.3f}, left out {areas['tuned'][1]:.3f}, "
                f"{change.value:+.3f} [{change.low:+.3f}, {change.high:+.3f}] (untuned {areas['untuned'][0]:.3f}, "
                f"{areas['untuned'][1]:.3f})"
            )
            items.append(Item("generalisation", where, "computed", change.value, text))
            table.append({"site": site, "label": label, "n": len(y), "seen": areas["tuned"][0], "left_out": areas["tuned"][1],
                          "untuned_seen": areas["untuned"][0], "untuned_left_out": areas["untuned"][1],
                          "value": change.value, "low": change.low, "high": change.high})  # fmt: skip
    return items, table


def matrix(
    examples: Examples, names: Sequence[str], truth: Floats, features: NDArray[np.float32], spec: TuneSpec
) -> tuple[list[Item], list[dict[str, Any]]]:
    """AUROC of a probe on frozen features, taught on one site's train studies (rows), at each site's judged ones (columns)."""
    if spec.split.policy != LEFT_OUT:
        text = f"split.policy is {spec.split.policy}; {LEFT_OUT} gives it"
        return [Item("generalisation", "matrix", "not_applicable", None, text)], []
    items, table = list[Item](), list[dict[str, Any]]()
    judged = np.isin(examples.split, ["test", "holdout"])
    for c, label in enumerate(names):
        known = np.isfinite(truth[:, c])
        cells = list[dict[str, Any]]()
        for taught in examples.sites:
            train = np.flatnonzero(known & (examples.site == taught) & (examples.split == "train"))
            if not _has_both(truth[train, c]):
                continue
            head = probe.fit_head(features[train], truth[train, c][:, None], _STRENGTH)
            for at in examples.sites:
                rows = np.flatnonzero(known & (examples.site == at) & judged)
                y = truth[rows, c]
                if _has_both(y):
                    area = float(metrics.auroc(y, head.logits(features[rows])[:, 0], np.ones((1, len(y))))[0])
                    cells.append(
                        {"label": label, "taught_at": taught, "judged_at": at, "auroc": area, "n": len(y)}
                    )
        table += cells
        home = [cell["auroc"] for cell in cells if cell["taught_at"] == cell["judged_at"]]
        away = [cell for cell in cells if cell["taught_at"] != cell["judged_at"]]
        if not home or not away:
            why = "fewer than two sites hold both classes in train and among the judged"
            items.append(Item("generalisation", f"matrix: {label}", "not_applicable", None, why))
            continue
        worst = min(away, key=lambda cell: cell["auroc"])
        abroad = float(np.mean([cell["auroc"] for cell in away]))
        text = (
            f"AUROC at home {np.mean(home):.3f}, elsewhere {abroad:.3f}; lowest {worst['auroc']:.3f}, taught at "
            f"{worst['taught_at']}, judged at {worst['judged_at']}. Probes on frozen features, not the tuned backbone"
        )
        items.append(Item("generalisation", f"matrix: {label}", "computed", abroad, text))
    return items, table


def temporal() -> Item:
    """Why there is no temporal split."""
    text = (
        "each patient's dates are moved by an own secret offset of one to ten years, so studies of different patients have no "
        "order in time; report.subgroups: [delivery] judges by when studies came"
    )
    return Item("generalisation", "temporal split", "not_applicable", None, text)


def _has_both(y: Floats) -> bool:
    return bool(min((y == 1).sum(), (y == 0).sum()) >= _FEW)
