"""The shortcut audit: is it the finding, or something that happens to go with it?

What belongs here: which lines the section `shortcut` has, in which order, and the word on the run. What does not: the figures
(reliance, pairs, site_probe, blanking) and the rule (verdict). No torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from training import metrics
from training.audit import ARMS, COHORT, Item, Scores
from training.audits import pairs
from training.audits.blanking import Looked, lost_by_blanking
from training.audits.columns import RECORDED
from training.audits.crossfit import principal
from training.audits.reliance import Judged, Reliance, association, reliance
from training.audits.site_probe import site_probe
from training.audits.verdict import LEVELS, PERSONAL, judge, read_rule
from training.cells import UNKNOWN
from training.examples import Examples

Floats = NDArray[np.float64]
Strings = NDArray[np.str_]
Ints = NDArray[np.int64]

VERDICT = "verdict"
"""The item that holds the word on the run; its value is the place in LEVELS."""

READ_FROM = 0.1
"""Association from which a column is looked for in the features: a probe each costs time."""

MATCHED_BY = ("site", "view")


def shortcut_audit(
    examples: Examples,
    names: Sequence[str],
    truth: Floats,
    scores: Scores,
    features: NDArray[np.float32],
    recorded: Mapping[str, Strings] | None,
    looked: Looked | None,
    seed: int,
) -> tuple[list[Item], list[dict[str, str]]]:
    """Lines of the section `shortcut`, and a row a label: label, level, sentence.

    truth [N, C] of yes/no labels; features [N, F] frozen; recorded: what columns.read_columns gives; looked: what
    blanking.look gives.
    """
    columns = {"site": examples.site, **(recorded or {})}
    items = [] if recorded is not None or not names else [_missing(name) for name in RECORDED]
    features = np.nan_to_num(features)  # of a member that has nothing to show
    shown = principal(features, seed) if names else None
    items += _encoded(examples, features, looked, seed)
    rule, verdicts, matching = read_rule(), {}, _matching(columns)
    for c, label in enumerate(names):
        arms = {arm: _judged(examples, truth[:, c], scores, arm, c) for arm in ARMS}
        lines, found = _columns(label, columns, arms, shown, seed)
        items += lines
        items += _metadata_alone(label, columns, arms["tuned"])
        items += [_matched(label, matching, arm, arms[arm]) for arm in ARMS]
        parts = [] if looked is None else lost_by_blanking(looked, c, truth[:, c], examples.patient)
        items += [_part(label, part.part, part.lost, part.changed, part.low) for part in parts]
        verdicts[label] = judge(label, found, parts, rule)
        level = verdicts[label].level
        items.append(
            Item(
                "shortcut",
                f"{label}: {VERDICT}",
                "computed",
                float(LEVELS.index(level)),
                f"{level}: {verdicts[label].sentence}",
            )
        )
    if looked is None and names:
        text = "the released model was not asked; tune again where its tiles lie"
        items.append(Item("shortcut", "borders and corners blanked", "missing", None, text))
    return items, [{"label": name, "level": v.level, "sentence": v.sentence} for name, v in verdicts.items()]


def _judged(examples: Examples, truth: Floats, scores: Scores, arm: str, c: int) -> Judged:
    """One output's scores in the order of the cohort, of the fold that saw the cohort's own train split."""
    own = np.isin(scores.split, ["tune", "test"]) & (scores.folds() == COHORT)
    score = np.full(len(truth), np.nan)
    score[scores.index[own]] = scores.probability[arm][own, c]
    return Judged(truth, score, examples.split, examples.patient)


def _columns(
    label: str,
    columns: Mapping[str, Strings],
    arms: Mapping[str, Judged],
    shown: NDArray[np.float32] | None,
    seed: int,
) -> tuple[list[Item], list[Reliance]]:
    items, found = [], []
    train = arms["tuned"].split == "train"
    for column, values in columns.items():
        name = f"{label}: goes with {column}" if column != "site" else f"{label}: goes with site, corrected"
        strength = association(values[train], arms["tuned"].truth[train])
        if strength is None:
            items.append(
                Item("shortcut", name, "not_applicable", None, "one value, or one class, on the train split")
            )
            continue
        items.append(
            Item(
                "shortcut", name, "computed", strength, "Cramer's V on the train split, corrected for chance"
            )
        )
        for arm in ARMS:
            one = reliance(
                column, values, arms[arm], shown if arm == "tuned" and strength >= READ_FROM else None, seed
            )
            if isinstance(one, str):
                items.append(
                    Item("shortcut", f"{label}: {arm}, {column} turned round", "not_applicable", None, one)
                )
                continue
            items += _turned(label, arm, one)
            if arm == "tuned":
                found.append(one)
    return items, found


def _turned(label: str, arm: str, one: Reliance) -> Iterator[Item]:
    text = f"of two studies of the same label, how often the one whose {one.column} goes with it scores higher; 0.5 is no reliance, z {one.z:+.1f}"
    if not np.isnan(one.readable):
        text += f"; read from the features among them with z {one.readable:+.1f}"
    yield Item("shortcut", f"{label}: {arm} follows {one.column}", "computed", one.follows, text)
    name = f"{label}: {arm}, {one.column} turned round"
    if one.turned is None or one.drop is None:
        yield Item(
            "shortcut",
            name,
            "not_applicable",
            None,
            "the test split has no study that goes against the association",
        )
        return
    text = (
        f"AUROC on test [{one.turned.low:.3f}, {one.turned.high:.3f}] under weights that turn the association round, worth "
        f"{one.n_effective:.0f} studies; {one.drop.value:.3f} [{one.drop.low:.3f}, {one.drop.high:.3f}] below the plain one"
    )
    yield Item("shortcut", name, "computed", one.turned.value, text)


def _metadata_alone(label: str, columns: Mapping[str, Strings], judged: Judged) -> Iterator[Item]:
    """AUROC on test of a logistic model that sees no image: all columns together, and the acquisition's alone."""
    for name, used in (
        ("metadata alone", list(columns)),
        ("site alone", ["site"]),
        ("acquisition alone", [c for c in columns if c not in PERSONAL]),
    ):
        item = f"{label}: {name}"
        if name == "acquisition alone" and len(used) in (1, len(columns)):
            continue
        known = np.isfinite(judged.truth)
        train, test = known & (judged.split == "train"), known & (judged.split == "test")
        if not 0 < judged.truth[train].sum() < train.sum() or not 0 < judged.truth[test].sum() < test.sum():
            yield Item(
                "shortcut", item, "not_applicable", None, "the train or the test split holds one class"
            )
            continue
        guess = _guess([columns[c] for c in used], train, test, judged.truth)
        share = pairs.pair_share(
            judged.truth[test], guess, np.ones(int(test.sum())), np.zeros(int(test.sum()), np.int64)
        )
        assert share is not None
        low, high = pairs.interval(share, judged.patient[test])
        own = float(metrics.auroc(judged.truth[test], judged.score[test], np.ones((1, int(test.sum()))))[0])
        text = f"AUROC on test [{low:.3f}, {high:.3f}] of {', '.join(used)} and no image; the tuned model has {own:.3f}"
        yield Item("shortcut", item, "computed", share.value, text)


def _guess(
    columns: Sequence[Strings], train: NDArray[np.bool_], test: NDArray[np.bool_], truth: Floats
) -> Floats:
    from sklearn.linear_model import LogisticRegression

    shown = [
        values[:, None] == np.unique(values[train]) for values in columns
    ]  # a value never taught is all zeros
    x = np.concatenate(shown, axis=1).astype(np.float64)
    return np.asarray(
        LogisticRegression(C=1.0, max_iter=500).fit(x[train], truth[train]).decision_function(x[test])
    )


def _matching(columns: Mapping[str, Strings]) -> tuple[str, Ints]:
    """By which columns studies are matched, and the stratum [N] of each study."""
    used = [c for c in MATCHED_BY if c in columns and len(set(columns[c].tolist()) - {UNKNOWN}) > 0]
    n = len(columns["site"])
    keys = np.array(["\t".join(str(columns[c][i]) for c in used) for i in range(n)], dtype=np.str_)
    return " and ".join(used), np.unique(keys, return_inverse=True)[1]


def _matched(label: str, matching: tuple[str, Ints], arm: str, judged: Judged) -> Item:
    used, stratum = matching
    name = f"{label}: {arm}, matched pairs"
    rows = np.flatnonzero(np.isfinite(judged.truth) & np.isfinite(judged.score) & (judged.split == "test"))
    y = judged.truth[rows]
    share = pairs.pair_share(y, judged.score[rows], np.ones(len(rows)), stratum[rows])
    if share is None:
        text = f"no positive and negative of test share {used}"
        return Item("shortcut", name, "not_applicable", None, text)
    low, high = pairs.interval(share, judged.patient[rows])
    text = f"AUROC on test [{low:.3f}, {high:.3f}] over pairs of the same {used}"
    return Item("shortcut", name, "computed", share.value, text)


def _encoded(
    examples: Examples, features: NDArray[np.float32], looked: Looked | None, seed: int
) -> list[Item]:
    rows = np.flatnonzero(np.isin(examples.split, ["tune", "test"])) if looked is None else looked.index
    site, patient = examples.site[rows], examples.patient[rows]
    items = [site_probe("frozen features", features[rows], site, patient, seed)]
    if looked is not None:
        items.append(site_probe("tuned features", looked.features, site, patient, seed))
    return items


def _part(label: str, part: str, lost: float, changed: float, low: float) -> Item:
    words = "" if np.isnan(changed) else f"; {changed:.0%} of answers at the operating point change"
    text = f"AUROC lost where {part} of every tile are blanked, at least {low:+.3f} (95 %){words}"
    return Item("shortcut", f"{label}: {part} blanked", "computed", lost, text)


def _missing(column: str) -> Item:
    return Item(
        "shortcut",
        f"goes with {column}",
        "missing",
        None,
        "the cohort's snapshot is not in this lake; tune where it lies",
    )
