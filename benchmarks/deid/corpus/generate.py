"""Writes a corpus: files by site, and beside them the answer key, the planted values and the list of files, as Parquet.

What belongs here: which objects in which syntaxes with which planted places, and the checks that follow from an object itself.
What does not: how they look (objects_*), where identities lie (places_*).

Run: python -m benchmarks.deid.corpus.generate OUT [--side dev|test] [--seed 1] [--patients 6]
"""

from __future__ import annotations

import argparse
import csv
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from benchmarks.deid.corpus import (
    objects_image,
    objects_multiframe,
    objects_other,
    objects_report,
    places_dev,
    places_test_side,
)
from benchmarks.deid.corpus.answer_key import Check, File, Planted, Step, path_of, write_rows
from benchmarks.deid.corpus.canary import Mint
from benchmarks.deid.corpus.common import start
from benchmarks.deid.corpus.draft import LOSSY, Draft
from benchmarks.deid.corpus.people import SITES, make_patient
from curation.synth.encoding import BIG_ENDIAN, DEFLATED, EXPLICIT, IMPLICIT, JPEG_BASELINE

PLACES = {"dev": places_dev.PLACES, "test": places_test_side.PLACES}
MODULES = (objects_image, objects_multiframe, objects_report, objects_other)
CLASSES = {kind: entry for module in MODULES for kind, entry in module.CLASSES.items()}
BUILDERS = {kind: build for module in MODULES for kind, build in module.BUILDERS.items()}

NATIVE = (EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED)
LOSSLESS = tuple(f"1.2.840.10008.1.2.{end}" for end in ("5", "4.70", "4.80", "4.90", "4.201"))
SYNTAXES: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(CLASSES, (*NATIVE, *LOSSLESS, *LOSSY)),
    **dict.fromkeys((*objects_report.CLASSES, *objects_other.CLASSES), NATIVE),
    **dict.fromkeys(("US", "US cine"), (*NATIVE, *LOSSLESS, JPEG_BASELINE, JPEG_BASELINE)),
    # the encoder of lossless JPEG knows no colour
    **dict.fromkeys(
        ("WSI", "SC"),
        (*NATIVE, *(s for s in LOSSLESS if not s.endswith(".70")), JPEG_BASELINE, JPEG_BASELINE),
    ),
    **dict.fromkeys(("SEG", "PM"), (EXPLICIT, IMPLICIT, DEFLATED)),
}
INTERVAL = {"StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate", "AcquisitionDateTime", "PatientBirthDate",
            "RadiopharmaceuticalStartDateTime", "FrameAcquisitionDateTime", "FrameReferenceDateTime"}  # fmt: skip
REFERENCES = {
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
    "DimensionOrganizationUID",
}
SAFE_PRIVATE = ('<(0019,"SIEMENS MR HEADER",0c)>', '<(2001,"Philips Imaging DD 001",03)>')
"""Private elements of the builders that Table E.3.10-1 calls safe."""

PLACES_PER_OBJECT = 6


def expectations() -> dict[str, str]:
    """What must have become of an attribute that nothing was planted in, by keyword."""
    with (Path(__file__).parent / "expectations.csv").open(encoding="utf-8") as file:
        return {row["keyword"]: row["action"] for row in csv.DictReader(file)}


def drafts(side: str, seed: int, n_patients: int) -> Iterator[Draft]:
    """All objects of a side, in order: every study has a share of the kinds, every kind takes its syntaxes in turn."""
    mint = Mint(side, seed)
    turns = dict.fromkeys(BUILDERS, 0)
    kinds = list(BUILDERS)
    at = 0
    for site in SITES[side]:
        for _ in range(n_patients):
            patient = make_patient(mint, site, mint.random.randint(1, 3))
            for study in patient.studies:
                # documents refer to images of their study, which come first
                share = sorted((kinds[(at + n) % len(kinds)] for n in range(11)), key=kinds.index)
                at += 11
                for kind in share:
                    syntaxes = SYNTAXES[kind]
                    syntax = syntaxes[(turns[kind] + kinds.index(kind)) % len(syntaxes)]
                    turns[kind] += 1
                    draft = start(mint, site, patient, study, kind, syntax, *CLASSES[kind])
                    BUILDERS[kind](draft, mint)
                    _plant(draft, mint, side)
                    yield draft


def _plant(draft: Draft, mint: Mint, side: str) -> None:
    """Places by chance; those that bend the standard are taken less often."""
    options = [place for place in PLACES[side] if place.only(draft)]
    taken: set[int] = set()
    for _ in range(PLACES_PER_OBJECT):
        number = mint.random.choices(range(len(options)), [place.share for place in options])[0]
        place = options[number]
        if number in taken and place.share < 10:
            continue
        if place.category in BENDING and mint.random.random() > 0.3:
            continue
        taken.add(number)
        place.plant(draft, mint)


BENDING = {"wrong VR", "group 0004"}


def checks_of(draft: Draft, file: str, expected: Mapping[str, str]) -> Iterator[Check]:
    """The checks that follow from what the object holds, beside those of planted values."""
    instance = str(draft.ds.SOPInstanceUID)
    planted = {path: canary for path, _, canary, _, _ in draft.planted}
    for steps, element in _walk(draft.ds, ()):
        path, word = path_of(draft.ds, steps, element.tag), element.keyword
        if path in planted:
            is_header = planted[path].kind in ("date", "uid")
            if word in INTERVAL and is_header:
                yield Check(file, instance, path, "date_interval", planted[path].text, "interval", False)
            if word in REFERENCES and is_header and not _is_planted_in(steps, draft):
                yield Check(file, instance, path, "reference_kept", planted[path].text, "reference", False)
        elif (
            word in expected
            and not element.is_empty
            and not _is_planted_in(steps, draft)
            and not _is_private_code(draft.ds, steps)
        ):
            yield Check(file, instance, path, expected[word], _text(element.value), "science", False)
        elif path in SAFE_PRIVATE:
            yield Check(file, instance, path, "text_retained", _text(element.value), "safe private", False)
        elif word == "ReferencedSOPInstanceUID" and not _is_planted_in(steps, draft):
            for action in ("uid_changed", "uid_consistent", "reference_kept"):
                yield Check(file, instance, path, action, str(element.value), "reference", False)
    yield Check(file, instance, "<(0010,0020)>", "patid_consistent", draft.patient.id.text, "header", True)
    for burned in draft.burned:
        box = " ".join(map(str, burned.box))
        yield Check(file, instance, "<(7fe0,0010)>", "pixels_hidden", box, "pixels", True)
    if "PixelData" in draft.ds or "FloatPixelData" in draft.ds:
        boxes = " ".join(str(n) for burned in draft.burned for n in burned.box)
        yield Check(file, instance, "<(7fe0,0010)>", "pixels_retained", boxes, "pixels", False)


MADE = ("nested", "private", "code meaning", "icon", "signature", "LUT", "graphics")
"""Kinds of places whose sequence exists for the planted value alone: nobody expects it to survive."""

OWN = ("<(5200,9229)", "<(5200,9230)", "<(0062,0002)", "<(0020,9221)", "<(0020,9222)", "<(3006,0020)", "<(0040,a730)",
       "<(0054,0016)", "<(0070,0060)")  # fmt: skip
"""Sequences that the objects themselves need, whatever is planted in them."""


def _is_planted_in(steps: tuple[Step, ...], draft: Draft) -> bool:
    """Whether the item may rightly go with what is planted in it."""
    if not steps:
        return False
    heads = {path.split(">")[0] for path, place, *_ in draft.planted if place in MADE}
    head = f"<({steps[0][0].group:04x},{steps[0][0].element:04x})"
    if head in heads and head not in OWN:
        return True
    # a content item that holds somebody may go as a whole, with all that lies in it
    items = {
        path.rpartition("<(")[0]
        for path, place, _, _, retained in draft.planted
        if place == "content item" and not retained
    }
    here = "".join(f"<({tag.group:04x},{tag.element:04x})>[<{number:04d}>]" for tag, number in steps)
    return any(here.startswith(item) for item in items)


def _is_private_code(top: Dataset, steps: tuple[Step, ...]) -> bool:
    """Whether the item is a code of a private scheme: nobody can say what it stands for."""
    for tag, number in steps:
        top = top[tag].value[number]
    return str(top.get("CodingSchemeDesignator", "")).startswith("99")


def _text(value: object) -> str:
    return "\\".join(map(str, value)) if isinstance(value, list) or hasattr(value, "append") else str(value)


def _walk(ds: Dataset, steps: tuple[Step, ...]) -> Iterator[tuple[tuple[Step, ...], object]]:
    for element in ds:
        if element.VR == "SQ" and not BaseTag(element.tag).is_private:
            for number, item in enumerate(element.value):
                yield from _walk(item, (*steps, (element.tag, number)))
        elif element.VR != "SQ":
            yield steps, element


def write_corpus(out: Path, side: str, seed: int = 1, n_patients: int = 6) -> dict[str, int]:
    """Files below OUT/files/SITE, and OUT/key.parquet, planted.parquet, files.parquet. Gives the counts."""
    expected = expectations()
    checks: list[Check] = []
    planted: list[Planted] = []
    files: list[File] = []
    for draft in drafts(side, seed, n_patients):
        # the name of a file is nobody's: names are tested by the tests of the folder road
        name = hashlib.sha256(str(draft.ds.SOPInstanceUID).encode()).hexdigest()[:16]
        file = f"{draft.site.name}/{name}.dcm"
        path = out / "files" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(draft.to_bytes())
        own_checks, own_planted = draft.rows(file)
        checks += own_checks
        checks += checks_of(draft, file, expected)
        planted += own_planted
        files.append(
            File(file, draft.site.name, draft.patient.id.text, draft.kind, draft.syntax, str(draft.ds.SOPClassUID), draft.is_valid, draft.may_withhold)
        )  # fmt: skip
    write_rows(out / "key.parquet", Check, checks)
    write_rows(out / "planted.parquet", Planted, planted)
    write_rows(out / "files.parquet", File, files)
    return {"files": len(files), "checks": len(checks), "planted": len({p.text for p in planted})}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--side", choices=sorted(SITES), default="dev")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--patients", type=int, default=6)
    arguments = parser.parse_args()
    print(write_corpus(arguments.out, arguments.side, arguments.seed, arguments.patients))


if __name__ == "__main__":
    main()
