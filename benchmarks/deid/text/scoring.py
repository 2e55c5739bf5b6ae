"""What became of every identifier and every clinical word of a report, from the original, its answer key and the cleaned text.

Belongs here: alignment and counting, the same for every tool. Does not: running tools, writing results.
The cleaned text alone is judged, so that a tool cannot claim a span which it then leaves in its output.

A span is removed when none of its identifying words is left where it stood: words of three letters or digits and more (all
words where it has no longer ones), without generic ones (Street, Hospital, de la). A date that reads by its own pattern counts
as removed when it has changed. A clinical word is touched when the alignment does not find it again.
"""

from __future__ import annotations

import difflib
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from benchmarks.deid.text.test_side_dates import fold, read

TOKEN = re.compile(r"\w+|[^\w\s]")
SPAN = "\0"
"""Stands for a whole span in the alignment: equal to nothing."""
NOT_SCORED = frozenset(["neutral"])
GENERIC = frozenset(
    "hospital hospitals clinic clinica clinique klinik klinikum universitatsklinikum krankenhaus medical center centre centro "
    "university universitario general regional memorial health system trust foundation infirmary community county district nhs "
    "royal practice surgery praxis centros salud servicio hopital polyclinique cabinet imagerie imaging radiologie radiology "
    "group associates the and und of von der den zu for de del la las los du des le les el al y et am an im st san saint "
    "street str strasse road ave avenue lane ln blvd boulevard court terrace close drive dr calle avda paseo plaza ronda "
    "camino rue quai place impasse chemin allee weg gasse allee station www http https com org net edu html gmail "
    "medicine school inc ltd llc gmbh company shl usa".split()
)
TITLES = frozenset(
    "dr dra drs doctor docteur doctora mr mrs ms miss prof pr pd med md phd do rn np pa herr herrn frau fr don dona d dna sr sra "
    "m mme monsieur madame monsieur mlle oa prim univ doz sig".split()
)
"""Words beside a name that may go with it; not counted as clinical."""
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


def segments(text: str, spans: Sequence[dict[str, Any]], cleaned: str) -> tuple[list[str], list[str], int]:
    """For each span what stands in its place; the clinical words that are gone; how many there were."""
    left: list[str] = []
    counted: list[bool] = []
    at_span: list[int] = []
    at = 0
    for span in spans:
        outside = TOKEN.findall(text[at : span["start"]])
        left += [fold(t) for t in outside]
        counted += [t[0].isalnum() and fold(t) not in TITLES for t in outside]
        at_span.append(len(left))
        left.append(SPAN)
        counted.append(False)
        at = span["end"]
    outside = TOKEN.findall(text[at:])
    left += [fold(t) for t in outside]
    counted += [t[0].isalnum() and fold(t) not in TITLES for t in outside]
    found = list(TOKEN.finditer(cleaned))
    right = [fold(m.group()) for m in found]
    image: list[int] = [-1] * len(left)
    for block in difflib.SequenceMatcher(None, left, right, autojunk=False).get_matching_blocks():
        for k in range(block.size):
            image[block.a + k] = block.b + k
    gone = [left[i] for i, counts in enumerate(counted) if counts and image[i] < 0]
    pieces = []
    for i in at_span:
        before = next((image[k] for k in range(i - 1, -1, -1) if image[k] >= 0), -1)
        after = next((image[k] for k in range(i + 1, len(left)) if image[k] >= 0), len(right))
        start = found[before].end() if before >= 0 else 0
        stop = found[after].start() if after < len(right) else len(cleaned)
        pieces.append(cleaned[start:stop].strip())
    return pieces, gone, sum(counted)


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
    folded = fold(instead)
    return any(w in inner or (len(w) >= 5 and w in folded) for w in own)


def score_date(score: Score, span: dict[str, Any], original: str, instead: str, language: str, days: int) -> bool:
    """True where the date is removed: changed, or nothing of it is left. Counts format and interval."""
    if not span["pattern"]:
        return fold(original) != fold(instead) if re.search(r"\d", instead) else not is_left(original, instead, "id")
    day = date.fromisoformat(span["day"])
    shifted = day + timedelta(days=days)
    reading = read(instead, span["pattern"], language, shifted)
    is_event = span["category"] == "date"
    score.dates += is_event
    if reading is None:
        return not is_left(original, instead, "id")
    found, weekday_fits = reading
    is_whole = any(code in span["pattern"] for code in ("%d", "%e", "%o"))
    if is_event:
        score.dates_same_format += 1
        score.dates_right_interval += abs((found - shifted).days) <= (0 if is_whole else 31)
        if "%A" in span["pattern"] or "%a" in span["pattern"]:
            score.weekdays += 1
            score.weekdays_right += weekday_fits
    return fold(re.sub(r"\s+", " ", instead)) != fold(re.sub(r"\s+", " ", original)) or days == 0


def score_report(score: Score, row: dict[str, Any], cleaned: str | None, days: int) -> None:
    """Adds one report; `cleaned` is None where the tool withheld it; `days` is the patient's date offset."""
    score.n_reports += 1
    if cleaned is None:
        score.n_withheld += 1
        return
    pieces, gone, n_words = segments(row["text"], row["spans"], cleaned)
    score.words += n_words
    score.words_touched += len(gone)
    score.touched.update(gone)
    leaks: set[str] = set()
    for span, instead in zip(row["spans"], pieces, strict=True):
        original, category = row["text"][span["start"] : span["end"]], span["category"]
        if category in NOT_SCORED:
            same = words_of(original) == words_of(instead)
            score.neutral["kept" if same else "changed"] += 1
            continue
        if category in ("date", "birth_date") and "pattern" in span:
            is_removed = score_date(score, span, original, instead, row["language"], days)
        else:
            is_removed = not is_left(original, instead, category)
        keys = ("all", f"category/{category}", f"language/{row['language']}", "known" if span["known"] else "unknown")
        both = (f"{row['language']}/{category}",)
        score.spans.update((*keys, *both))
        if is_removed:
            score.removed.update((*keys, *both))
        else:
            leaks.add(category)
            score.missed.append((row["id"], category, original, instead))
        if span.get("form") and category == "name" and is_removed:
            key = (row["patient"], span["entity"], f"{span['form']}/{' '.join(words_of(original))}")
            score.stand_ins[key].add(fold(re.sub(r"\s+", " ", instead)))
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
