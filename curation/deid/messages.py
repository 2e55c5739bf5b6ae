"""Identity from an HL7 v2 message: who its segments name, as they were sent.

What belongs here: which fields of which segments name persons, places and numbers. What does not: the text of OBX-5
(sources.hl7), FHIR (resources), looking for what was found (known).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from curation.deid.identity import Identity
from curation.records import Refused

# HL7 v2.5.1 chapters 3, 4, 6, 7: field numbers by what they hold. XPN and XCN are names, XON and PL places, CX numbers.
_NAMES: Mapping[str, tuple[int, ...]] = {
    "PID": (5, 6, 9), "NK1": (2, 26, 30), "IN1": (16,), "GT1": (3, 4), "MRG": (7,), "PD1": (),
}  # fmt: skip
_STAFF: Mapping[str, tuple[int, ...]] = {
    "PV1": (7, 8, 9, 17, 52), "ORC": (10, 11, 12, 19), "OBR": (10, 16, 28, 32, 33, 34, 35), "OBX": (16, 25), "PD1": (4,),
    "ROL": (4,), "TXA": (5, 9, 10, 11, 22, 23), "PR1": (8, 11, 12), "DG1": (16,), "EVN": (5,), "AIP": (3,), "PRD": (2,), "PRT": (5,),
}  # fmt: skip
_NUMBERS: Mapping[str, tuple[int, ...]] = {
    "PID": (2, 4, 18, 19, 20, 21), "PV1": (5, 19, 50), "ORC": (2, 3, 4, 8), "OBR": (2, 3, 18, 19, 20, 21), "IN1": (2, 36, 49),
    "IN2": (1, 2, 6, 8, 61), "MRG": (1, 2, 3, 4, 5), "NK1": (33, 37), "GT1": (2, 19), "TXA": (12, 13, 14, 15), "ZDS": (1,), "IPC": (1, 2, 3),
}  # fmt: skip
_PHONES: Mapping[str, tuple[int, ...]] = {
    "PID": (13, 14, 40), "NK1": (5, 6, 31, 40, 41), "ORC": (14, 23), "OBR": (17,), "IN1": (7,), "GT1": (6, 7, 18), "PRD": (5,),
}  # fmt: skip
_PLACES: Mapping[str, tuple[int, ...]] = {
    "PID": (11, 12, 23), "NK1": (4, 13, 32), "PV1": (3, 6, 11, 37, 39, 42, 43), "ORC": (13, 17, 21, 22, 24), "OBX": (15, 23, 24),
    "IN1": (4, 5, 19, 44), "GT1": (5, 17, 21), "MSH": (4, 6), "PD1": (3,), "PRD": (3, 4),
}  # fmt: skip
_ESCAPES = {"F": "|", "S": "^", "T": "&", "R": "~", "E": "\\", ".br": "\n", "H": "", "N": ""}
_NONE = frozenset(['""', ""])


class Message:
    """Segments of one HL7 v2 message with its own separators. RESTRICTED. Raises Refused where it is none."""

    def __init__(self, text: str) -> None:
        start = text.find("MSH")
        if start < 0 or len(text) < start + 9:
            raise Refused("unreadable_report")
        head = text[start:]
        self.field, self.component, self.repeat, self.escape, self.sub = (
            head[3],
            head[4],
            head[5],
            head[6],
            head[7],
        )
        lines = re.split(r"[\r\n\x0b\x1c]+", head)
        self.segments = [line.split(self.field) for line in lines if len(line) > 3]

    def values(self, kind: str, number: int) -> Iterator[list[str]]:
        """Components of every repetition of one field of every segment of a kind."""
        for segment in self.segments:
            # MSH-1 is the separator itself
            position = number - 1 if kind == "MSH" else number
            if segment[0] == kind and position < len(segment):
                for value in segment[position].split(self.repeat):
                    if value not in _NONE:
                        yield [self._plain(c) for c in value.split(self.component)]

    def first(self, kind: str, number: int) -> str:
        """First component of a field's first repetition; empty where there is none."""
        return next((components[0] for components in self.values(kind, number)), "")

    @property
    def accession(self) -> str:
        """The order number under which the images are filed (IHE RAD TF-2: OBR-18, IPC-1, else OBR-3, ORC-3)."""
        return self.first("OBR", 18) or self.first("IPC", 1) or self.first("OBR", 3) or self.first("ORC", 3)

    @property
    def study_uid(self) -> str:
        """The study's UID (IPC-3, ZDS-1); empty where the message does not say it."""
        return self.first("ZDS", 1) or self.first("IPC", 3)

    def lines(self, field: str) -> list[str]:
        """A text field as lines: repetitions and line break escapes begin a new one."""
        whole = [self._plain(value) for value in field.split(self.repeat)]
        return [line.strip() for value in whole for line in value.split("\n")]

    def _plain(self, component: str) -> str:
        """A component with its escapes undone; subcomponents become words."""
        escape = re.escape(self.escape)
        text = component.replace(self.sub, " ")
        text = re.sub(rf"{escape}([A-Za-z.]+){escape}", lambda m: _ESCAPES.get(m[1], " "), text)
        return text.strip()


def identity_of_message(message: str, site: str) -> Identity:
    """What an HL7 v2 message says of its patient, relatives, staff and places (ADT, ORM, ORU, OMI, MDM and others).

    Raises Refused (unreadable_report) where it is no HL7 v2 message.
    """
    parsed = Message(message)
    names: dict[str, None] = {}
    other: dict[str, None] = {}
    for kind, fields in _NAMES.items():
        for number in fields:
            for components in parsed.values(kind, number):
                names[_person(components)] = None
    for kind, fields in _STAFF.items():
        for number in fields:
            for components in parsed.values(kind, number):
                names[_staff(components)] = None
                if any(c.isdigit() for c in components[0]):
                    other[components[0].split(" ")[0]] = None
    for table in (_NUMBERS, _PHONES, _PLACES):
        for kind, fields in table.items():
            for number in fields:
                for components in parsed.values(kind, number):
                    other.update(dict.fromkeys(_said(components, table)))
    ids = [c[0] for c in parsed.values("PID", 3)]
    other.update(dict.fromkeys(ids[1:]))
    return Identity(
        site=site,
        patient_id=ids[0] if ids else parsed.first("PID", 2),
        issuer=next((c[3] for c in parsed.values("PID", 3) if len(c) > 3), ""),
        names=tuple(n for n in names if n.strip("^ ")),
        birth_date=parsed.first("PID", 7)[:8],
        sex=parsed.first("PID", 8),
        accession=parsed.accession,
        study_uid=parsed.study_uid,
        other=tuple(o for o in other if o),
        patient_name=next((_person(c) for c in parsed.values("PID", 5)), ""),
    )


def _person(components: list[str]) -> str:
    """An XPN (family, given, middle, suffix, prefix) as a DICOM name, whose prefix comes before the suffix."""
    family, given, middle, suffix, prefix = [*components, "", "", "", "", ""][:5]
    return "^".join((family, given, middle, prefix, suffix)).rstrip("^")


def _staff(components: list[str]) -> str:
    """An XCN (id, family, given, ...), or a CNN written with & inside its first component, or a name alone."""
    if len(components) > 1:
        return _person(components[1:])
    words = components[0].split(" ")
    return "^".join(words[1:3] if words and any(c.isdigit() for c in words[0]) else words[:2])


def _said(components: list[str], table: Mapping[str, tuple[int, ...]]) -> Iterator[str]:
    """The parts of a number, telephone, address or place worth looking for in a text."""
    if table is _NUMBERS:
        yield components[0]
    elif table is _PHONES:
        yield components[0]
        # country, area and local number of an XTN in components 5 to 7, and its mail address in 4
        yield "".join(components[5:7])
        yield components[3] if len(components) > 3 else ""
    else:
        yield from (part for part in components if len(part) > 2)
