"""Lines of the evaluation that need no resampling: DeLong's interval of the gain, and how probabilities mean what they say.

What belongs here: which studies each line is about, and its words. What does not: the arithmetic (delong, calibration),
the bootstrap (evaluate).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from training import delong, metrics
from training.audit import Item, Scores
from training.calibration import at_temperature, calibration_line, fit_temperature
from training.examples import Examples

Floats = NDArray[np.float64]
JUDGED = ("test", "holdout")


def gains(examples: Examples, names: Sequence[str], truth: Floats, scores: Scores) -> Iterator[Item]:
    """Section `discrimination`: tuned minus untuned AUROC of each label, its interval and p by DeLong over patients."""
    for split in JUDGED:
        here = scores.split == split
        for c, label in enumerate(names) if here.any() else ():
            y = truth[scores.index[here], c]
            known = np.isfinite(y)
            first, second = (scores.probability[arm][here, c][known] for arm in ("untuned", "tuned"))
            where = f"DeLong, {split}: {label}"
            try:
                found = delong.compare(y[known], first, second, examples.patient[scores.index[here]][known])
            except ValueError as why:
                yield Item("discrimination", where, "not_applicable", None, str(why))
                continue
            text = (
                f"AUROC tuned minus untuned {found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}], patients as "
                f"clusters; p = {found.p_value:.3g}"
            )
            yield Item("discrimination", where, "computed", found.p_value, text)


def calibration(
    examples: Examples, names: Sequence[str], truth: Floats, scores: Scores, min_cell: int
) -> Iterator[Item]:
    """Section `calibration`: the tuned arm's temperature from the tune split, and what it mends at each site."""
    for c, label in enumerate(names):
        judge = scores.split == "tune"
        y, p = _known(truth, scores, judge, c)
        try:
            temperature = fit_temperature(y, p)
        except ValueError:
            yield Item(
                "calibration", label, "not_applicable", None, "the tune split has one class of known labels"
            )
            continue
        text = f"temperature {temperature:.2f}, from {len(y)} studies of the tune split; 1 is none, above 1 overconfident"
        yield Item("calibration", f"{label}: temperature", "computed", temperature, text)
        for split in JUDGED:
            in_split = scores.split == split
            sites = examples.site[scores.index]
            for site in ("all", *sorted(set(sites[in_split].tolist()))):
                cell = in_split if site == "all" else in_split & (sites == site)
                y, p = _known(truth, scores, cell, c)
                where = f"{label}: {split}, {'all sites' if site == 'all' else site}"
                if len(y) >= min_cell and 0 < y.sum() < len(y):
                    yield _line(where, y, p, temperature)
                elif cell.any():
                    yield Item(
                        "calibration",
                        where,
                        "not_applicable",
                        None,
                        f"fewer than {min_cell} studies, or one class",
                    )


def _line(where: str, y: Floats, p: Floats, temperature: float) -> Item:
    ones = np.ones((1, len(y)))
    before = float(metrics.ece(y, p, ones)[0])
    after = float(metrics.ece(y, at_temperature(p, temperature), ones)[0])
    intercept, slope = calibration_line(y, p)
    text = (
        f"ECE {before:.3f}, with the temperature {after:.3f}; line: intercept {intercept:+.2f} (0 is right), slope "
        f"{slope:.2f} (1 is right); {len(y)} studies"
    )
    return Item("calibration", where, "computed", after - before, text)


def _known(truth: Floats, scores: Scores, rows: NDArray[np.bool_], c: int) -> tuple[Floats, Floats]:
    y, p = truth[scores.index[rows], c], scores.probability["tuned"][rows, c]
    known = np.isfinite(y)
    return y[known], p[known]
