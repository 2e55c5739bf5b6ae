"""How numbers, sizes, dates and ids are written on the pages: one way each. No drawing here."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from datetime import UTC, date, datetime

DASH = "–"
_METRICS = {
    "auroc": "AUROC", "auprc": "AUPRC", "ece": "ECE", "brier": "Brier score", "mae": "MAE", "rmse": "RMSE", "r2": "R²",
    "pearson": "Pearson r", "spearman": "Spearman ρ", "c_index": "C-index", "c_index_over_clinical": "C-index over covariates",
    "dice": "Dice", "nsd": "surface Dice (NSD)", "hd95_mm": "HD95 (mm)", "f1": "F1",
}  # fmt: skip


def count(value: float | None) -> str:
    """A whole number with thin groups: 12,480. Nothing known: a dash."""
    return DASH if _is_missing(value) else f"{int(value or 0):,}"


def share(part: float, whole: float) -> str:
    """A percentage without false precision: 12 %, 0.4 %; a dash where the whole is 0."""
    if not whole:
        return DASH
    percent = 100 * part / whole
    return f"{percent:.1f} %" if 0 < percent < 10 else f"{percent:.0f} %"


def size(n_bytes: float | None) -> str:
    """Bytes in binary units: 812 B, 3.4 MiB."""
    if _is_missing(n_bytes):
        return DASH
    value = float(n_bytes or 0)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(value) < 1024 or unit == "TiB":
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError("the last unit always returns")


def duration(seconds: float | None) -> str:
    """Seconds as 0.8 s, 42 s, 3 min 05 s, 2 h 10 min."""
    if _is_missing(seconds):
        return DASH
    value = float(seconds or 0)
    if value < 10:
        return f"{value:.1f} s"
    if value < 60:
        return f"{value:.0f} s"
    if value < 3600:
        return f"{int(value // 60)} min {int(value % 60):02d} s"
    return f"{int(value // 3600)} h {int(value % 3600 // 60):02d} min"


def metric(value: float | None, digits: int = 3) -> str:
    """A score such as an AUROC: 0.873; a dash where it could not be computed."""
    return DASH if _is_missing(value) else f"{value:.{digits}f}"


def interval(value: float | None, low: float | None, high: float | None) -> str:
    """An estimate with its 95 % interval: 0.873 (0.841 to 0.902)."""
    if _is_missing(value):
        return DASH
    if _is_missing(low) or _is_missing(high):
        return metric(value)
    return f"{metric(value)} ({metric(low)} to {metric(high)})"


def day(value: date | datetime | None) -> str:
    """A date as 2024-03-09; a dash where it is unknown."""
    return DASH if value is None or value != value else f"{value:%Y-%m-%d}"


def moment(value: datetime | str | None) -> str:
    """A time as 2024-03-09 14:05 UTC. Text is read as ISO 8601."""
    if value is None or value == "":
        return DASH
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if value.tzinfo is not None:
        value = value.astimezone(UTC)
    return f"{value:%Y-%m-%d %H:%M} UTC"


def ago(value: datetime | None, now: datetime) -> str:
    """How long ago: just now, 4 min ago, 3 h ago, 12 days ago."""
    if value is None:
        return DASH
    seconds = (now - value).total_seconds()
    if seconds < 60:
        return "just now"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min ago"
    if seconds < 2 * 86400:
        return f"{seconds // 3600:.0f} h ago"
    return f"{seconds // 86400:.0f} days ago"


def short(identifier: object) -> str:
    """The first eight characters of an id: enough to recognise it, too few to copy."""
    return str(identifier)[:8]


def words(name: str | None) -> str:
    """A machine name as words: pleural_effusion becomes pleural effusion."""
    return DASH if not name else name.replace("_", " ")


def metric_name(name: str) -> str:
    """A metric as papers write it: auroc becomes AUROC, c_index becomes C-index."""
    return _METRICS.get(name, words(name))


def in_order(names: Iterable[str]) -> list[str]:
    """Names sorted as people count: day 90 before day 365."""
    return sorted(
        names,
        key=lambda n: [(not p.isdigit(), int(p) if p.isdigit() else 0, p) for p in re.split(r"(\d+)", n)],
    )


def plural(n: float, noun: str, many: str | None = None) -> str:
    """A count with its noun: 1 study, 12 studies."""
    return f"{count(n)} {noun if n == 1 else many or noun + 's'}"


def _is_missing(value: float | None) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
