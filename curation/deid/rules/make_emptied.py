"""Make emptied_go.csv: coded sequences that no module has as Type 2: better none than an empty one.

Run: python curation/deid/rules/make_emptied.py   (with highdicom installed)
Source: the module tables of PS3.3 as the package highdicom (MIT) carries them in `_standard`. A sequence of
Type 1 or 3 that is there holds one item or more; only one of Type 2 may be empty (PS3.5 section 7.4).
"""

from __future__ import annotations

import csv
import json
import sys
from collections import defaultdict
from importlib.util import find_spec
from pathlib import Path


def main(folder: Path) -> None:
    """Write the table beside the others."""
    spec = find_spec("highdicom")
    if spec is None or spec.origin is None:
        sys.exit("highdicom is not installed: pip install highdicom")
    path = Path(spec.origin).parent / "_standard" / "module_attribute_map.json"
    types: dict[str, set[str]] = defaultdict(set)
    coded: set[str] = set()
    for rows in json.loads(path.read_text(encoding="utf-8")).values():
        for row in rows:
            types[row["keyword"]].add(row["type"])
            if row["keyword"] == "CodeMeaning":
                coded.add(row["path"][-1])
    names = sorted(k for k in coded if types[k].isdisjoint({"2", "2C"}))
    with (folder / "emptied_go.csv").open("w", newline="", encoding="utf-8") as out:
        csv.writer(out, lineterminator="\n").writerows([["keyword"], *([name] for name in names)])
    sys.stdout.write(f"{len(names)} of {len(coded)} coded sequences\n")


if __name__ == "__main__":
    main(Path(__file__).parent)
