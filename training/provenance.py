"""Section `provenance`: from which studies, under which rules, by whose labels, and what may have leaked.

What belongs here: lines about the cohort and its snapshot. What does not: the pre-check that refuses (precheck), the
search for near-duplicates (neighbours).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from curation.cohort_folder import read_facts
from curation.lake import Connection, Lake
from curation.view import quote_text
from training.audit import Item
from training.examples import SPLITS, Examples
from training.spec import TuneSpec

_UNCERTAIN = {
    "ignore": "left out of training",
    "ones": "counted as present in training",
    "zeros": "counted as absent in training",
    "soft": "counted as one half in training",
}


def lines(lake_root: Path, examples: Examples, spec: TuneSpec) -> Iterator[Item]:
    """Every line of the section that the cohort's folder and snapshot can give."""
    facts = read_facts(examples.folder)
    yield _item("cohort", examples.cohort_id)
    yield from _snapshot(facts)
    yield from _rules(facts)
    yield from _exclusions(facts)
    yield from _splits(examples)
    yield from _labels(facts, spec)
    yield _item("uncertain labels", f"{_UNCERTAIN[spec.task.uncertain]}; always left out of evaluation")
    yield from _from_the_lake(lake_root, facts, examples)


def _snapshot(facts: Mapping[str, Any]) -> Iterator[Item]:
    if "snapshot_sha256" in facts:
        text = f"number {facts['snapshot']}, sha256 {facts['snapshot_sha256']}, erasure epoch {facts['erasure_epoch']}"
        yield _item("snapshot", text, float(facts["snapshot"]))


def _rules(facts: Mapping[str, Any]) -> Iterator[Item]:
    if spec := facts.get("spec"):
        said = [
            f"{kind} {rule['name']}: {rule['where']}"
            for kind in ("include", "exclude")
            for rule in spec[kind]
        ]
        said += [f"index: {spec['index']}", f"series: {spec['series']['keep']} by {spec['series']['order']}"]
        yield _item("rules", "; ".join(said))


def _exclusions(facts: Mapping[str, Any]) -> Iterator[Item]:
    for row in exclusions(facts):
        text = f"{row['studies']} studies of {row['patients']} patients, {row['sites']} sites"
        if row["hides"]:
            text = (
                f"fewer than {facts['min_cell']} studies or patients less than before, {row['sites']} sites"
            )
        yield _item(f"left after {row['rule']}", text)


def exclusions(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Attrition as text, a row a rule: a small count, and a small loss that two counts would tell, is not shown."""
    small, rows, before = int(facts["min_cell"]), list[dict[str, Any]](), dict[str, int]()
    for step in facts.get("attrition", ()):
        counts = {unit: int(step[unit]) for unit in ("studies", "patients")}
        hides = any(0 < before.get(unit, n) - n < small for unit, n in counts.items())
        shown = {unit: f"<{small}" if 0 < n < small else f"fewer than {small} less" if hides else f"{n:,}"
                 for unit, n in counts.items()}  # fmt: skip
        rows.append(
            {"rule": step["rule"], "kind": step["kind"], **shown, "sites": step["sites"], "hides": hides}
        )
        before = before if hides else counts
    return rows


def _splits(examples: Examples) -> Iterator[Item]:
    seen: dict[int, set[str]] = {}
    for patient, split in zip(examples.patient.tolist(), examples.split.tolist(), strict=True):
        seen.setdefault(patient, set()).add(split)
    twice = sum(len(of) > 1 for of in seen.values())
    yield _item(
        "patients in two splits",
        f"of {len(seen)} patients, counted here; a run with any is refused",
        float(twice),
    )
    for split in SPLITS:
        here = examples.split == split
        text = ", ".join(f"{site} {int((here & (examples.site == site)).sum())}" for site in examples.sites)
        yield _item(f"studies in {split}", text, float(here.sum()))


def _labels(facts: Mapping[str, Any], spec: TuneSpec) -> Iterator[Item]:
    for name in spec.task.labels:
        if expression := facts.get("spec", {}).get("labels", {}).get(name):
            yield _item(f"label {name}", expression)


def _from_the_lake(lake_root: Path, facts: Mapping[str, Any], examples: Examples) -> Iterator[Item]:
    number = int(facts["snapshot"])
    if not (lake_root / "snapshots" / f"{number:08d}.json").is_file():
        return
    with Lake(lake_root).connect(number) as con:
        members = quote_text(str(examples.folder / "members.parquet"))
        con.execute(f"CREATE TEMP TABLE own AS SELECT DISTINCT study_id FROM read_parquet({members})")
        yield _item("de-identification policy", ", ".join(_policies(con)) or "none recorded")
        said = con.execute(
            """SELECT source, count(DISTINCT study_id) FROM findings WHERE study_id IN (SELECT study_id FROM own)
            GROUP BY ALL ORDER BY ALL"""
        ).fetchall()
        small = int(facts["min_cell"])
        told = ", ".join(
            f"{source} in {f'<{small}' if n < small else f'{n:,}'} studies" for source, n in said
        )
        yield _item(
            "label sources",
            f"findings asserted by: {told or 'none'}; a reader outranks a label, a label a report",
        )


def _policies(con: Connection) -> Sequence[str]:
    rows = con.execute(
        """SELECT DISTINCT policy_version FROM instances WHERE study_id IN (SELECT study_id FROM own)
        UNION SELECT DISTINCT policy_version FROM reports WHERE study_id IN (SELECT study_id FROM own) ORDER BY 1"""
    ).fetchall()
    return [str(policy) for (policy,) in rows]


def _item(name: str, text: str, value: float | None = None) -> Item:
    return Item("provenance", name, "computed", value, text)
