"""Which data would help a finished run next: more patients, which site, which appearances and groups.

What belongs here: asking each part on one run's cached features, and its sentences. What does not: the arithmetic
(learning_curve, site_value, coverage). The probes are ridge probes on frozen features, whatever method the run used: they say
where data lack, not what the run's own method would reach.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from curation.cohort_folder import read_facts
from curation.records import ConfigurationError
from training import learning_curve
from training.coverage import Coverage, Part, coverage
from training.groups import read_strata
from training.learning_curve import Curve
from training.metrics import Estimate
from training.run_features import RunFeatures
from training.site_value import SiteValue, site_values

DRAWS = 8
REPLICATES = 200
DISTANT = 1.1
"""A part whose median study lies this much farther from the train split than the median is told of."""


@dataclass(frozen=True)
class NextData:
    """What would help, for one run."""

    run_id: str
    n_patients: int
    """Patients of the train and tune split, who teach and judge here."""
    curve: Curve
    sites: Sequence[SiteValue]
    coverage: Coverage
    sentences: Sequence[str]


def next_data(of: RunFeatures, *, n_draws: int = DRAWS, n_replicates: int = REPLICATES) -> NextData:
    """What would help this run next. Raises ConfigurationError where nobody of the train and tune split has a certain label."""
    e = of.examples
    known = np.isfinite(of.truth).any(1)
    rows = np.isin(e.split, ("train", "tune")) & known
    if not rows.any():
        raise ConfigurationError(
            "No study of the train and tune split has a certain label: there is nothing to learn a curve from."
        )
    draws = learning_curve.draw(
        of.features[rows],
        of.truth[rows],
        e.patient[rows],
        n_draws=n_draws,
        n_replicates=n_replicates,
        seed=of.spec.seed,
    )
    gap = np.abs(of.answers() - of.truth)
    error = np.where(
        np.isfinite(gap).any(1), np.nansum(gap, 1) / np.maximum(np.isfinite(gap).sum(1), 1), np.nan
    )
    strata, _ = read_strata(of.lake_root, e, of.spec)
    min_cell = max(of.spec.report.min_cell, int(read_facts(e.folder)["min_cell"]))
    curve = learning_curve.learning_curve(draws)
    sites = site_values(draws, e.site[rows], of.spec.seed)
    found = coverage(
        of.features, e.split, e.site, e.patient, error, strata, min_cell=min_cell, seed=of.spec.seed
    )
    sentences = [*_of_curve(curve, draws.n_patients), *_of_sites(sites), *_of_coverage(found)]
    return NextData(of.run_id, draws.n_patients, curve, sites, found, sentences)


def _of_curve(curve: Curve, n_patients: int) -> list[str]:
    if curve.exponent is None:
        return [f"No learning curve can be followed: {curve.reason}."]
    measured = [p for p in curve.points if p.is_measured and p.auroc.value is not None]
    now, ahead = measured[-1], next(p for p in curve.points if not p.is_measured)
    words = f"With {now.n_patients} patients teaching, AUROC {_said(now.auroc)}; with {ahead.n_patients}, the law says {_said(ahead.auroc)}."
    if ahead.auroc.low is None or now.auroc.value is None:
        return [words]
    return [f"{words} " + ("More of the same would help." if ahead.auroc.low > now.auroc.value else
                           "More of the same is not shown to help.")]  # fmt: skip


def _of_sites(sites: Sequence[SiteValue]) -> list[str]:
    told = sorted((s for s in sites if s.left_out.value is not None), key=lambda s: -(s.left_out.value or 0))
    if not told:
        return []
    words = [
        f"Without {s.site}, AUROC changes by {_signed(s.left_out)}." for s in told if _is_shown(s.left_out)
    ]
    return words or ["No site is shown to be missed by the others when it is left out."]


def _of_coverage(found: Coverage) -> list[str]:
    words = []
    if found.quarters:
        near, far = found.quarters[0], found.quarters[-1]
        if near.error.high is not None and far.error.low is not None and far.error.low > near.error.high:
            words.append(
                f"Studies that look least like the train split are judged worse: error {_said(far.error)} against {_said(near.error)}."
            )
    far_groups = [g for g in found.groups if g.distance is not None and g.distance > DISTANT]
    for part in sorted(far_groups, key=_by_distance)[:3]:
        words.append(
            f"{part.name} lies {part.distance:.2f} times as far from the train split as the median study: "
            f"{part.share_train:.0%} of the patients who teach, {part.share_judged:.0%} of those judged."
        )
    return words


def _by_distance(part: Part) -> float:
    return -(part.distance or 0)


def _is_shown(e: Estimate) -> bool:
    return e.low is not None and e.high is not None and (e.low > 0 or e.high < 0)


def _said(e: Estimate) -> str:
    return f"{e.value:.3f}" + (f" [{e.low:.3f}, {e.high:.3f}]" if e.low is not None else "")


def _signed(e: Estimate) -> str:
    value, low, high = (-(v or 0) for v in (e.value, e.high, e.low))
    return f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"
