"""Make iod_types.csv: the Type (1, 1C, 2, 2C, 3) of every attribute with a compound code, by SOP class.

Run: python curation/deid/rules/make_types.py   (with highdicom installed)
Source: the module tables of PS3.3 and the SOP classes of PS3.4 as the package highdicom (MIT) carries them in `_standard`.
`top` is the Type in the dataset itself, `nested` the strictest Type in any of its sequences; empty: not in the IOD there.
"""

from __future__ import annotations

import csv
import json
import sys
from importlib.util import find_spec
from pathlib import Path

from pydicom.datadict import keyword_for_tag

STRICTEST = ("1", "1C", "2", "2C", "3")


def stricter(one: str, other: str) -> str:
    """The Type that allows less; empty allows everything."""
    return min(one, other, key=lambda t: STRICTEST.index(t) if t in STRICTEST else len(STRICTEST))


def main(folder: Path) -> None:
    """Write the table beside the others."""
    spec = find_spec("highdicom")
    if spec is None or spec.origin is None:
        sys.exit("highdicom is not installed: pip install highdicom")
    standard = Path(spec.origin).parent / "_standard"
    classes, modules, attributes = (
        json.loads((standard / name).read_text(encoding="utf-8"))
        for name in ("sop_class_iod_map.json", "iod_module_map.json", "module_attribute_map.json")
    )
    with (folder / "ps315_2026d.csv").open(newline="", encoding="utf-8") as file:
        tags = [row["tag"] for row in csv.DictReader(file) if "/" in row["basic"]]
    wanted = {keyword_for_tag(int(tag, 16)): tag for tag in tags}
    rows = []
    for sop_class, iod in sorted(classes.items()):
        found: dict[str, list[str]] = {}
        for module in modules[iod]:
            for attribute in attributes.get(module["key"], []):
                tag = wanted.get(attribute["keyword"])
                if tag:
                    places = found.setdefault(tag, ["", ""])
                    where = 1 if attribute["path"] else 0
                    places[where] = stricter(places[where], attribute["type"])
        rows += [(sop_class, tag, *found[tag]) for tag in sorted(found)]
    grouped: dict[tuple[str, str, str], list[str]] = {}
    for sop_class, tag, top, nested in rows:
        grouped.setdefault((tag, top, nested), []).append(sop_class)
    with (folder / "iod_types.csv").open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["tag", "top", "nested", "sop_classes"])
        writer.writerows([*key, " ".join(classes)] for key, classes in sorted(grouped.items()))
    sys.stdout.write(f"{len(rows)} Types of {len(tags)} attributes in {len(classes)} SOP classes\n")


if __name__ == "__main__":
    main(Path(__file__).parent)
