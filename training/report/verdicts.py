"""What a report concludes, as yes or no with a sentence: each verdict is a Dagster check of the asset `evaluation`.

What belongs here: conclusions from what is in the report already. What does not: computing it (evaluate), the checks (assets).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from training.metrics import LOWER_IS_BETTER
from training.strata import OPENED, WIDENED

CHANCE = 0.01
"""p below which near-duplicates across splits are more than chance."""


def verdicts(report: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Name of the check -> passed, text."""
    return {
        "tuned_is_better": _is_better(report),
        "report_is_complete": _is_complete(report),
        "gap_not_widened": _not_widened(report),
        "no_shortcut": _no_shortcut(report),
        "no_near_duplicates": _no_near_duplicates(report),
    }


def _is_better(report: Mapping[str, Any]) -> dict[str, Any]:
    judged = list(report["headline"].values())
    passed = bool(judged) and all(_above_zero(found["gain"], found["metric"]) for found in judged)
    return {"passed": passed, "text": report["verdict"]}


def _above_zero(gain: Mapping[str, float | None], metric: str) -> bool:
    """Whether the whole interval of a gain lies on its good side."""
    low, high = gain["low"], gain["high"]
    if low is None or high is None:
        return False
    return high < 0 if metric in LOWER_IS_BETTER else low > 0


def _is_complete(report: Mapping[str, Any]) -> dict[str, Any]:
    silent = [row for row in report["catalogue"] if row["status"] == "missing"]
    by_data = [row["title"] for row in silent if row["by"] == "data"]
    author = [row["title"] for row in silent if row["by"] == "author"]
    text = (
        f"missing: {', '.join(by_data) or 'nothing'}; for the author to say: {', '.join(author) or 'nothing'}"
    )
    return {"passed": not by_data, "text": text}


def _not_widened(report: Mapping[str, Any]) -> dict[str, Any]:
    gaps = report["tables"].get("gaps", [])
    worse = [
        f"{g['covariate']} ({g['split']}, {g['label']})" for g in gaps if g["verdict"] in (OPENED, WIDENED)
    ]
    text = f"{len(gaps)} gaps judged; tuned loses more than untuned beside: {', '.join(worse) or 'none'}"
    return {"passed": not worse, "text": text}


def _no_shortcut(report: Mapping[str, Any]) -> dict[str, Any]:
    judged = report["tables"].get("shortcut", [])
    said = [f"{row['level']}: {row['sentence']}" for row in judged if row["level"] != "ok"]
    text = " ".join(said) or (
        f"{len(judged)} labels judged, none leans" if judged else "no yes/no label to judge"
    )
    return {"passed": not said, "text": text}


def _no_near_duplicates(report: Mapping[str, Any]) -> dict[str, Any]:
    for found in report["tables"].get("near_duplicates", []):
        text = f"{found['n_above']} of {found['n_judged']} judged studies, {found['by_chance']:.1f} by chance, p = {found['p']:.2g}"
        return {"passed": found["p"] >= CHANCE, "text": text}
    return {"passed": True, "text": "not looked for: see the report"}
