"""What became of every identifier and every clinical word of a report, from the original, its answer key and the cleaned text.

Belongs here: alignment and counting, the same for every tool. Does not: running tools, writing results.
The cleaned text alone is judged, so that a tool cannot claim a span which it then leaves in its output.

A span is removed when none of its identifying words is left where it stood: words of three letters or digits and more (all
words where it has no longer ones; initials together and in their order), without generic ones (Street, Hospital, de la). A date that reads by its own pattern counts
as removed when it has changed. A clinical word is touched when the alignment does not find it again.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.deid.text.test_side_dates import calendar, fold, read, write

TOKEN = re.compile(r"\d+|[^\W\d_]+|[^\w\s]|_")
NOT_SCORED = frozenset(["neutral"])
_WORDS = tomllib.loads(Path(__file__).with_name("scoring_words.toml").read_text(encoding="utf-8"))
GENERIC, TITLES = frozenset(_WORDS["generic"]), frozenset(_WORDS["titles"])
MONTH_NAMES = frozenset(
    fold(w) for kind in ("months", "short_months") for names in calendar()[kind].values() for w in names
)
NUMBERS = frozenset(["id", "phone", "device", "age"])


@dataclass
class Score:
    """Counts over reports of one tool."""

    spans: Counter[str] = field(default_factory=Counter)
    removed: Counter[str] = field(default_factory=Counter)
    n_reports: int = 0
    n_withheld: int = 0
    n_clean: int = 0
    n_clean_direct: int = 0
    words: int = 0
    words_touched: int = 0
    dates: int = 0
    dates_same_format: int = 0
    dates_right_interval: int = 0
    weekdays: int = 0
    weekdays_right: int = 0
    neutral: Counter[str] = field(default_factory=Counter)
    milliseconds: list[float] = field(default_factory=list)
    stand_ins: dict[tuple[str, str, str], set[str]] = field(default_factory=lambda: defaultdict(set))
    uses: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    touched: Counter[str] = field(default_factory=Counter)
    missed: list[tuple[str, str, str, str]] = field(default_factory=list)
    """Report id, category, original, what stood there instead; for the development side only, never published."""


DIRECT = frozenset(["name", "id", "phone", "mail", "birth_date", "address"])


def words_of(text: str) -> list[str]:
    return [fold(w) for w in re.findall(r"\w+", text)]


def align(left: Sequence[str], weights: Sequence[int], right: Sequence[str]) -> list[int]:
    """For each left token the place of its equal on the right, -1 for none: the heaviest common subsequence.

    Words outside identifiers weigh most, so that a number that happens to stand in two dates pulls nothing out of place.
    """
    numbers = {t: n for n, t in enumerate(dict.fromkeys([*left, *right]))}
    there = np.array([numbers[t] for t in right], dtype=np.int64)
    best = np.zeros(
        (len(left) + 1, len(right) + 1), dtype=np.int32
    )  # [left tokens taken, right tokens taken]
    for i, token in enumerate(left):
        taken = best[i, :-1] + np.where(there == numbers[token], weights[i], 0)
        best[i + 1, 1:] = np.maximum.accumulate(np.maximum(best[i, 1:], taken))
    image = [-1] * len(left)
    i, j = len(left), len(right)
    while i and j:
        if best[i, j] == best[i, j - 1]:
            j -= 1
        elif best[i, j] == best[i - 1, j]:
            i -= 1
        else:
            i, j = i - 1, j - 1
            image[i] = j
    return image


def segments(
    text: str, spans: Sequence[dict[str, Any]], cleaned: str
) -> tuple[list[str], list[bool], list[str], int]:
    """For each span what stands in its place, and whether it alone; the clinical words that are gone; how many there were."""
    left: list[str] = []
    counted: list[bool] = []
    places: list[tuple[int, int]] = []
    at = 0
    for start, stop in [*((s["start"], s["end"]) for s in spans), (len(text), len(text))]:
        outside = TOKEN.findall(text[at:start])
        inside = TOKEN.findall(text[start:stop])
        left += map(fold, outside + inside)
        counted += [t[0].isalnum() and fold(t) not in TITLES for t in outside]
        counted += [False] * len(inside)
        places.append((len(left) - len(inside), len(left)))
        at = stop
    places.pop()
    owned = {
        i
        for span, (first, last) in zip(spans, places, strict=True)
        if span["category"] not in NOT_SCORED
        for i in range(first, last)
    }
    found = list(TOKEN.finditer(cleaned))
    right = [fold(m.group()) for m in found]
    weights = [
        (3 if t[0].isalnum() else 1) if i in owned else (10 if t[0].isalnum() else 2)
        for i, t in enumerate(left)
    ]
    image = align(left, weights, right)
    gone = [left[i] for i, counts in enumerate(counted) if counts and image[i] < 0]
    pieces: list[str] = []
    alone: list[bool] = []
    for first, last in places:
        before = next((image[k] for k in range(first - 1, -1, -1) if image[k] >= 0 and k not in owned), -1)
        after = next(
            (image[k] for k in range(last, len(left)) if image[k] >= 0 and k not in owned), len(right)
        )
        start = found[before].end() if before >= 0 else 0
        stop = found[after].start() if after < len(right) else len(cleaned)
        pieces.append(cleaned[start:stop].strip())
        beside = [image[k] for k in (first - 1, last) if 0 <= k < len(left)]
        alone.append(min(beside, default=0) >= 0)
    return pieces, alone, gone, sum(counted)


def is_left(original: str, instead: str, category: str) -> bool:
    """Does an identifying word of the original still stand in its place?"""
    words = words_of(original)
    inner = set(words_of(instead))
    if category in NUMBERS or category == "birth_date":
        numbers = [w for w in words if any(c.isdigit() for c in w)] or words
        kept = [w for w in numbers if w in inner]
        return any(len(w) >= 3 for w in kept) or len("".join(kept)) > 0.4 * len("".join(numbers))
    own = [w for w in words if w not in GENERIC] or words
    own = [w for w in own if len(w) >= 3] or own
    if all(len(w) == 1 for w in words):
        # J.S. that became S.M. shares a letter by chance: initials name somebody together, and in their order
        return f" {' '.join(words)} " in f" {' '.join(words_of(instead))} "
    folded = fold(instead)
    return any(w in inner or (len(w) >= 5 and w in folded) for w in own)


def same_words(one: str, other: str) -> bool:
    return fold(" ".join(one.split())) == fold(" ".join(other.split()))


def is_day_left(original: str, instead: str) -> bool:
    """Is the month's name or most of the numbers of a date still there? A year alone names no day."""
    words, inner = words_of(original), set(words_of(instead))
    months = [w for w in words if w.isalpha() and w in MONTH_NAMES]
    numbers = [w for w in words if w[0].isdigit() and not (len(w) == 4 and w.isdigit())]
    return any(w in inner for w in months) or sum(w in inner for w in numbers) > 0.5 * len(numbers)


def score_date(
    score: Score, span: dict[str, Any], original: str, instead: str, language: str, days: int
) -> bool:
    """True where the date is removed: changed, or nothing of it is left. Counts format and interval."""
    if not span.get("pattern"):
        return not same_words(original, instead)
    pattern, day = span["pattern"], date.fromisoformat(span["day"])
    shifted = day + timedelta(days=days)
    before, after = read(original, pattern, language, day), read(instead, pattern, language, shifted)
    is_event = span["category"] == "date"
    score.dates += is_event
    if after is None or before is None:
        return not is_day_left(original, instead)
    is_whole = any(code in pattern for code in ("%d", "%e", "%o"))
    if is_event:
        shared = before.month_styles & after.month_styles
        score.dates_same_format += bool(shared) or not before.month_styles
        score.dates_right_interval += abs((after.day - shifted).days) <= (0 if is_whole else 31)
        if "%A" in pattern or "%a" in pattern:
            score.weekdays += 1
            score.weekdays_right += after.weekday_fits
    should = read(write(shifted, pattern, language), pattern, language, shifted)
    stays = should is not None and should.said == before.said  # 3 May, a whole number of years earlier
    return stays or after.said != before.said


def score_report(score: Score, row: dict[str, Any], cleaned: str | None, days: int) -> None:
    """Adds one report; `cleaned` is None where the tool withheld it; `days` is the patient's date offset."""
    score.n_reports += 1
    if cleaned is None:
        score.n_withheld += 1
        return
    pieces, alone, gone, n_words = segments(row["text"], row["spans"], cleaned)
    score.words += n_words
    score.words_touched += len(gone)
    score.touched.update(gone)
    leaks: set[str] = set()
    for span, instead, is_alone in zip(row["spans"], pieces, alone, strict=True):
        original, category = row["text"][span["start"] : span["end"]], span["category"]
        if category in NOT_SCORED:
            same = f" {' '.join(words_of(original))} " in f" {' '.join(words_of(instead))} "
            score.neutral["kept" if same else "changed"] += 1
            continue
        if category in ("date", "birth_date"):
            is_removed = score_date(score, span, original, instead, row["language"], days)
        else:
            is_removed = not is_left(original, instead, category)
        keys = (
            "all",
            f"category/{category}",
            f"language/{row['language']}",
            "known" if span["known"] else "unknown",
        )
        both = (f"{row['language']}/{category}",)
        score.spans.update((*keys, *both))
        if is_removed:
            score.removed.update((*keys, *both))
        else:
            leaks.add(category)
            score.missed.append((row["id"], category, original, instead))
        if span.get("form") and category == "name" and is_removed and is_alone:
            key = (row["patient"], span["entity"], f"{span['form']}/{' '.join(words_of(original))}")
            score.stand_ins[key].add(fold(" ".join(instead.split())))
            score.uses[key] += 1
    score.n_clean += not leaks
    score.n_clean_direct += not leaks & DIRECT


def rate(part: float, whole: float) -> float | None:
    return round(part / whole, 5) if whole else None


def wilson(part: int, whole: int) -> list[float] | None:
    """95 % interval of a share."""
    if not whole:
        return None
    z, p = 1.96, part / whole
    middle = (p + z * z / (2 * whole)) / (1 + z * z / whole)
    half = z * math.sqrt(p * (1 - p) / whole + z * z / (4 * whole * whole)) / (1 + z * z / whole)
    return [round(max(0.0, middle - half), 5), round(min(1.0, middle + half), 5)]


def quantile(values: Iterable[float], share: float) -> float | None:
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 3) if ordered else None


def summary(score: Score) -> dict[str, Any]:
    """The published figures of one tool; no text of any report."""
    released = score.n_reports - score.n_withheld
    repeated = [key for key, n in score.uses.items() if n > 1]
    by = {key: rate(score.removed[key], n) for key, n in sorted(score.spans.items())}
    return {
        "reports": score.n_reports,
        "withheld": score.n_withheld,
        "spans": score.spans["all"],
        "span_recall": by.get("all"),
        "span_recall_95": wilson(score.removed["all"], score.spans["all"]),
        "reports_without_leak": rate(score.n_clean, released),
        "reports_without_direct_leak": rate(score.n_clean_direct, released),
        "clinical_words": score.words,
        "clinical_words_touched": rate(score.words_touched, score.words),
        "times_and_titles_kept": rate(score.neutral["kept"], sum(score.neutral.values())),
        "dates": score.dates,
        "dates_same_format": rate(score.dates_same_format, score.dates),
        "dates_right_interval": rate(score.dates_right_interval, score.dates),
        "weekdays_right": rate(score.weekdays_right, score.weekdays),
        "names_repeated": len(repeated),
        "stand_ins_consistent": rate(sum(len(score.stand_ins[k]) == 1 for k in repeated), len(repeated)),
        "ms_median": quantile(score.milliseconds, 0.5),
        "ms_p95": quantile(score.milliseconds, 0.95),
        "recall_by": by,
        "spans_by": dict(sorted(score.spans.items())),
    }
