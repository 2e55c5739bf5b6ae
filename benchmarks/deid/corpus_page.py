"""The figures of bench_corpus as a page: both sides, rwid beside controls and peers.

What belongs here: from the results of the sides to results/deid_corpus.md. What does not: measuring (bench_corpus).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SIDES = {
    "test": "Test side: templates and seed that no rule was tuned on",
    "dev": "Development side: rules were mended by what it found",
}

HEAD = """# De-identification on the generated corpus

Everything here is **synthetic**: objects of a generator with an answer key (`benchmarks/deid/corpus`), names and numbers made up. No real
patient, no real scanner; it measures what the rules do with what is planted, not what a hospital's data hold. The corpus is ours, and peers
are measured by a key that expects what our profile `research` promises (Clean Descriptors, Modified Dates, Patient Characteristics, Device
Identity, Safe Private): a peer that removes more by design loses in *had to stay*, one that keeps more by design in *had to go*.

* **score**: checks passed, in percent, with the semantics of the MIDI-B challenge and stricter rules of our own (dates must keep their
  intervals, references must not vanish). A withheld file that conforms fails all of its checks. One that bends the standard on purpose
  (wrong VR, wrong character set, trailing bytes) leaves the count when it is withheld, and is counted in the last column.
* **had to go / had to stay**: the same checks of released files, split by what they ask for; an object without content passes the first.
* **direct**: checks of direct identifiers in released files: names, numbers, addresses, phones, mail, URLs, UIDs, text in pixels.
* **science / intervals / pixels**: attributes kept for science, distances between a patient's dates, pixels outside of planted boxes.
* **leaked**: distinct planted values, or parts of names, found in any released file, file name or log, in any coding.
* **withheld**: valid of all valid / bent of all bent / of classes that our rules never release (documents).
"""

COLUMNS = ("system", "checks", "score", "had to go", "had to stay", "direct", "science / intervals / pixels", "leaked of planted", "withheld", "ms a file")  # fmt: skip


def write_page(results: Path) -> None:
    """Write deid_corpus.md from the results that are there."""
    lines = [HEAD]
    for side in SIDES:
        path = results / f"deid_corpus_{side}.json"
        if path.exists():
            lines += list(_side(side, json.loads(path.read_text(encoding="utf-8"))))
    (results / "deid_corpus.md").write_text("\n".join(lines), encoding="utf-8")


def _side(side: str, result: dict[str, Any]) -> Iterator[str]:
    corpus, planted = result["corpus"], result["planted"]
    yield f"## {SIDES[side]}"
    yield ""
    yield (
        f"{corpus['files']} files of {corpus['kinds']} kinds in {len(corpus['syntaxes'])} transfer syntaxes, {corpus['patients']} patients at "
        f"{corpus['sites']} sites; {corpus['valid']} files conform, {corpus['bent']} bend the standard, {corpus['class_never_released']} are "
        f"documents. {planted['values']} planted values ({planted['pieces']} pieces to search for) over "
        f"{len(planted['by_kind_of_object'])} kinds of objects; by family of syntax: {_counts(planted['by_family_of_syntax'])}; by place: "
        f"{_counts(planted['by_place'])}."
    )
    yield ""
    yield f"`{result['command']}`, commit {result['commit']}, load {result['load'][0]:.1f}, one process; peers in environments of their own."
    yield ""
    yield f"| {' | '.join(COLUMNS)} |"
    yield "|---" * len(COLUMNS) + "|"
    for name, figures in result["systems"].items():
        yield _row(name, figures)
    yield ""
    for name, figures in result["systems"].items():
        if figures["note"]:
            yield f"* {name}: {figures['note']}"
    ours = result["systems"].get("rwid research")
    if ours:
        yield ""
        yield from _ours(ours)
    yield ""


def _row(name: str, f: dict[str, Any]) -> str:
    w = f["withheld"]
    kept = " / ".join(
        _percent(f[word])
        for word in (
            "kept_for_science_of_released",
            "intervals_of_released",
            "pixels_retained_of_released",
        )
    )
    cells = (
        name,
        f["checks"],
        _percent(f["score"]),
        _percent(f["had_to_go_of_released"]),
        _percent(f["had_to_stay_of_released"]),
        _percent(f["direct_identifiers_of_released"]),
        kept,
        f"{f['leaked']} of {f['planted']}",
        f"{w['valid']} of {w['of_valid']} / {w['bent']} of {w['of_bent']} / {w['class_never_released']}",
        f["ms_per_file"] or "",
    )
    return f"| {' | '.join(map(str, cells))} |"


def _ours(f: dict[str, Any]) -> Iterator[str]:
    listed = f["published_list"]
    gone = f", not kept: {', '.join(listed['not_kept'])}" if listed["not_kept"] else ""
    missing = f" (not met: {', '.join(listed['not_met'])})" if listed["not_met"] else ""
    yield (
        f"rwid: {f['passed']} of {f['checks']} checks passed; {f['direct_checks_of_released']} checks of direct identifiers; bent files that it "
        f"withholds counted as failures, the score would be {_percent(f['score_with_bent_withheld_as_failed'])}. Of the published list of "
        f"{listed['attributes']} acquisition attributes {listed['met']} were met{missing} in {listed['checks_of_released']} checks, "
        f"{_percent(listed['kept_of_released'])} kept{gone}. {f['planted_in_released']} of the pieces lie in objects that were released. Reasons of "
        f"what was withheld: {_counts(f['withheld_reasons'])}."
    )


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.3f}".rstrip("0").rstrip(".")


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in counts.items())
