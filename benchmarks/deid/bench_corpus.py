"""The MIDI-B-style score and the planted identities, on the generated corpus: rwid, controls that must fail, and peers.

Run: python -m benchmarks.deid.bench_corpus [--side dev|test] [--seed 1] [--patients 5] [--peers] [--failures FILE]
Writes benchmarks/results/deid_corpus_SIDE.json, and from both sides the page deid_corpus.md. `--failures` writes each failed check and leak, for the development
side alone: what the test side finds is published as figures and as nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from benchmarks.deid.corpus.answer_key import Check, File, Planted, read_rows
from benchmarks.deid.corpus.draft import DIRECT, LOSSY
from benchmarks.deid.corpus.generate import NATIVE, write_corpus
from benchmarks.deid.corpus_page import write_page
from benchmarks.deid.leak_search import LeakSearch
from benchmarks.deid.score import Pair, Scorer, Verdict, read, summary
from benchmarks.deid.systems import CONTROLS, Release, rwid

RESULTS = Path(__file__).parents[1] / "results"


def judge(corpus: Path, release: Release) -> tuple[dict[str, object], list[Verdict], list[dict[str, str]]]:
    """Figures, verdicts, leaks of one release."""
    files: list[File] = read_rows(corpus / "files.parquet", File)
    checks: list[Check] = read_rows(corpus / "key.parquet", Check)
    planted: list[Planted] = read_rows(corpus / "planted.parquet", Planted)
    pairs = {
        f.file: Pair(
            f,
            read(corpus / "files" / f.file),
            read(release.paths[f.file]) if f.file in release.paths else None,
            release.regions.get(f.file, []),
        )
        for f in files
    }
    verdicts = list(Scorer(pairs, checks).verdicts())
    search = LeakSearch(planted)
    mine = {(p.file, piece): p for p in planted for piece in p.pieces}
    leaks = []
    for file, path in sorted(release.paths.items()):
        for piece, form in search.in_file(path).items():
            own = mine.get((file, piece))
            # a date moved by another tool may land on one that was planted elsewhere: it counts in its own file alone
            if own is None and search.planted[piece].kind == "date":
                continue
            own = own or search.planted[piece]
            leaks.append(
                {"file": file, "kind": pairs[file].file.kind, "syntax": pairs[file].file.syntax, "form": form,
                 "place": own.place, "path": own.path, "of": own.kind, "piece": piece}
            )  # fmt: skip
    for piece, form in search.in_bytes(release.besides).items():
        of = search.planted[piece]
        leaks.append({"file": "names and log", "kind": "", "syntax": "", "form": form, "place": of.place, "path": "", "of": of.kind, "piece": piece})  # fmt: skip
    figures = summary(verdicts, pairs)
    figures["planted"] = len(search.planted)
    figures["planted_in_released"] = len({piece for (file, piece) in mine if file in release.paths})
    figures["leaked_direct"] = len({leak["piece"] for leak in leaks if leak["of"] in DIRECT})
    figures["leaked"] = len({leak["piece"] for leak in leaks})
    figures["leaked_by_kind_of_value"] = dict(Counter({leak["piece"]: leak["of"] for leak in leaks}.values()))
    figures["leaked_by_place"] = dict(Counter({leak["piece"]: leak["place"] for leak in leaks}.values()))
    figures["withheld_reasons"] = dict(Counter(release.withheld.values()).most_common(8))
    figures["ms_per_file"] = round(1000 * release.seconds / len(files), 2) if release.seconds else None
    figures["note"] = release.note
    return figures, verdicts, leaks


def systems(with_peers: bool, folder: Path) -> dict[str, Callable[[Path, list[File], Path], Release]]:
    known = {"rwid research": rwid("research"), **CONTROLS}
    if with_peers:
        from benchmarks.deid.peers import peer_systems

        known |= peer_systems(folder)
    return known


def write_failures(
    path: Path, verdicts: list[Verdict], leaks: list[dict[str, str]], files: dict[str, File], release: Release
) -> None:
    with path.open("w", encoding="utf-8") as out:
        for name, reason in sorted(release.withheld.items()):
            if not files[name].may_withhold:
                out.write(
                    json.dumps(
                        {
                            "withheld": reason,
                            "valid": files[name].is_valid,
                            "kind": files[name].kind,
                            "syntax": files[name].syntax,
                            "file": name,
                        }
                    )
                    + "\n"
                )
        for leak in leaks:
            out.write(json.dumps({"leak": leak}, ensure_ascii=False) + "\n")
        for v in verdicts:
            if not v.passed and v.found != "withheld":
                c = v.check
                out.write(json.dumps({"failed": c.action, "found": v.found, "path": c.path, "text": c.text, "place": c.place, "kind": files[c.file].kind, "syntax": files[c.file].syntax, "file": c.file}, ensure_ascii=False) + "\n")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", choices=("dev", "test"), default="dev")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--patients", type=int, default=5)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--only", default="", help="names of systems that begin so")
    parser.add_argument("--failures", type=Path)
    parser.add_argument(
        "--keep", type=Path, help="a folder for the corpus and the peers' environments; a temporary one else"
    )
    parser.add_argument("--no-result", action="store_true")
    arguments = parser.parse_args()
    # what is planted is odd on purpose, and pydicom says so
    warnings.simplefilter("ignore")
    if arguments.failures and arguments.side == "test":
        parser.error("failures of the test side are not written out; leave --failures away")
    with tempfile.TemporaryDirectory() as name:
        folder = arguments.keep or Path(name)
        corpus = folder / f"{arguments.side}-{arguments.seed}-{arguments.patients}"
        if not (corpus / "files.parquet").exists():
            write_corpus(corpus, arguments.side, arguments.seed, arguments.patients)
        files: list[File] = read_rows(corpus / "files.parquet", File)
        book = {}
        for system, run in systems(arguments.peers, folder).items():
            if not system.startswith(arguments.only):
                continue
            with tempfile.TemporaryDirectory() as out:
                release = run(corpus, files, Path(out))
                book[system], verdicts, leaks = judge(corpus, release)
            figures = book[system]
            print(
                system,
                {
                    k: figures[k]
                    for k in (
                        "checks",
                        "score",
                        "score_of_released",
                        "direct_identifiers_of_released",
                        "planted",
                        "leaked",
                        "withheld",
                        "ms_per_file",
                    )
                },
            )
            if arguments.failures and system == "rwid research":
                write_failures(arguments.failures, verdicts, leaks, {f.file: f for f in files}, release)
        if not arguments.no_result:
            write_result(arguments, corpus, files, book)


def write_result(
    arguments: argparse.Namespace,
    corpus: Path,
    files: list[File],
    book: dict[str, dict[str, object]],
    results: Path = RESULTS,
) -> None:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    result = {
        "what": "synthetic corpus with an answer key: MIDI-B-style checks in percent, planted identities found in released files",
        "command": f"python -m benchmarks.deid.bench_corpus --side {arguments.side} --seed {arguments.seed} --patients {arguments.patients}"
        + (" --peers" if arguments.peers else ""),
        "commit": commit,
        "load": os.getloadavg(),
        "corpus": {
            "side": arguments.side,
            "files": len(files),
            "kinds": len({f.kind for f in files}),
            "syntaxes": sorted({f.syntax for f in files}),
            "patients": len({(f.site, f.patient) for f in files}),
            "sites": len({f.site for f in files}),
            "valid": sum(f.is_valid and not f.may_withhold for f in files),
            "bent": sum(not f.is_valid and not f.may_withhold for f in files),
            "class_never_released": sum(f.may_withhold for f in files),
        },
        "planted": planted_over(read_rows(corpus / "planted.parquet", Planted), files),
        "systems": book,
    }  # fmt: skip
    path = results / f"deid_corpus_{arguments.side}.json"
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    write_page(results)


def planted_over(planted: list[Planted], files: list[File]) -> dict[str, object]:
    """Where the planted values lie: kinds of objects, families of transfer syntaxes, kinds of places."""
    of = {file.file: file for file in files}
    return {
        "values": len({p.text for p in planted}),
        "pieces": len({piece for p in planted for piece in p.pieces}),
        "by_kind_of_object": dict(sorted(Counter(of[p.file].kind for p in planted).items())),
        "by_family_of_syntax": dict(sorted(Counter(family(of[p.file].syntax) for p in planted).items())),
        "by_place": dict(sorted(Counter(p.place for p in planted).items())),
        "by_kind_of_value": dict(sorted(Counter(p.kind for p in planted).items())),
    }


def family(syntax: str) -> str:
    """Which family a transfer syntax belongs to."""
    if syntax in NATIVE:
        return "deflated" if syntax.endswith(".99") else "native"
    return "lossy" if syntax in LOSSY or syntax.endswith((".4.50", ".4.51")) else "lossless"


if __name__ == "__main__":
    main()
