"""Ways to plant an identity: one function a way, each made for certain tags, creators or codecs by the template sets.

What belongs here: the ways. What does not: which tags and words they are used with (places_dev, places_test_side), places
outside of text and items (planting_bytes) and what every
object holds anyway (common). A way that bends the standard marks the draft as invalid, so that withholding it is no loss.
"""

from __future__ import annotations

import base64
import binascii
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pydicom.datadict import DicomDictionary, dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from benchmarks.deid.corpus.canary import Canary, Mint
from benchmarks.deid.corpus.draft import Draft, private_block
from curation.synth import encoding

Plant = Callable[[Draft, Mint], None]


@dataclass(frozen=True, slots=True)
class Place:
    """A way to plant, and on which objects it makes sense. `share`: how often it is taken, against the others."""

    category: str
    plant: Plant
    only: Callable[[Draft], bool] = lambda draft: True
    share: float = 1.0


CODECS: Mapping[str, Callable[[str], bytes]] = {
    "base64": lambda text: base64.b64encode(b"ref " + text.encode()),
    "hex": lambda text: binascii.hexlify(text.encode()),
    "percent": lambda text: urllib.parse.quote(
        "q=" + "".join(f"%{b:02X}" for b in text.encode()), safe="%="
    ).encode(),
    "utf-16": lambda text: text.encode("utf-16-le"),
    "utf-16 big endian": lambda text: text.encode("utf-16-be"),
    "html": lambda text: "".join(f"&#{ord(sign)};" for sign in text).encode(),
}


def attribute(keyword: str, kind: str, retained: str = "") -> Plant:
    """A top-level attribute holds the value, after words that are worth keeping where there are any."""

    def plant(draft: Draft, mint: Mint) -> None:
        tag = tag_for_keyword(keyword)
        assert tag is not None
        canary = mint.of_kind(kind, dictionary_VR(tag))
        value = f"{retained} {canary.text}" if retained else canary.text
        draft.plant(keyword, None, canary, "standard", value=value, retained=retained)

    return plant


def registered(names: Mapping[str, str]) -> Plant:
    """Any registered attribute of a VR that can hold text, chosen by chance. `names`: VR to kind of canary."""
    free = [
        (tag, entry[0])
        for tag, entry in sorted(DicomDictionary.items())
        if entry[0] in names and (tag >> 16) % 2 == 0 and 0x0008 <= tag >> 16 < 0x7FE0 and entry[4] not in NOT_FOR_NAMES
        and "Class" not in entry[4] and "Syntax" not in entry[4]
    ]  # fmt: skip

    def plant(draft: Draft, mint: Mint) -> None:
        for _ in range(20):
            tag, vr = mint.random.choice(free)
            if tag not in draft.ds:
                draft.plant(tag, vr, mint.of_kind(names[vr], vr), "any attribute")
                return

    return plant


NOT_FOR_NAMES = {
    "SpecificCharacterSet", "TimezoneOffsetFromUTC", "ConvolutionKernel", "ManufacturerModelName", "SoftwareVersions", "Manufacturer",
    "TransducerData", "RescaleType", "ModalityLUTType",
    # Retain Device Identity, which `research` claims, keeps these
    "DeviceSerialNumber", "DeviceID", "PlateID", "GeneratorID", "CassetteID", "GantryID", "DetectorID", "UniqueDeviceIdentifier",
    "TreatmentMachineName", "XRaySourceID", "XRayDetectorID", "XRayDetectorLabel", "ScheduledStationAETitle", "PerformedStationAETitle",
    "DigitalSubtractionDeviceID", "DeviceSettingDescription", "SourceSerialNumber", "TransducerIdentification", "LensSerialNumber",
    "DeviceLabel", "DeviceAlternateIdentifier",
    # names of sequences and coils follow no vocabulary
    "SequenceName", "PulseSequenceName", "ReceiveCoilName", "TransmitCoilName",
    # another issuer means another person
    "IssuerOfPatientID",
}  # fmt: skip
"""Attributes that the acquisition itself fills and `research` keeps by the standard, or that mean more than they say."""


def nested(sequences: tuple[str, ...], keyword: str, kind: str) -> Plant:
    """The attribute in the last of sequences that lie one in the other."""

    def plant(draft: Draft, mint: Mint) -> None:
        target, steps = draft.ds, []
        for sequence in sequences:
            if sequence not in target:
                setattr(target, sequence, [Dataset()])
            element = target[sequence]
            if not element.value:
                element.value.append(Dataset())
            target = element.value[0]
            steps.append((element.tag, 0))
        tag = tag_for_keyword(keyword)
        assert tag is not None
        draft.plant(
            tag,
            dictionary_VR(tag),
            mint.of_kind(kind, dictionary_VR(tag)),
            "nested",
            into=target,
            steps=tuple(steps),
        )

    return plant


def private(group: int, creator: str, element: int, vr: str, kind: str) -> Plant:
    """An element of a private block."""

    def plant(draft: Draft, mint: Mint) -> None:
        base = private_block(draft.ds, group, creator)
        draft.plant(base | element, vr, mint.of_kind(kind, vr), "private")

    return plant


def private_sequence(group: int, creator: str, element: int, keyword: str, kind: str) -> Plant:
    """A standard attribute in an item of a private sequence."""

    def plant(draft: Draft, mint: Mint) -> None:
        base, item = private_block(draft.ds, group, creator), Dataset()
        draft.ds.add_new(base | element, "SQ", [item])
        draft.plant(
            keyword, None, mint.of_kind(kind), "private", into=item, steps=((Tag(base | element), 0),)
        )

    return plant


def orphan(tag: int, vr: str, kind: str) -> Plant:
    """A private element whose block no creator owns, or an even element that no edition registers."""

    def plant(draft: Draft, mint: Mint) -> None:
        draft.plant(tag, vr, mint.of_kind(kind), "unknown element")

    return plant


def wrong_vr(keyword: str, vr: str, kind: str) -> Plant:
    """An attribute written with a VR that is not its own; implicit syntaxes cannot say so."""

    def plant(draft: Draft, mint: Mint) -> None:
        tag = tag_for_keyword(keyword)
        assert tag is not None
        canary = mint.of_kind(kind)
        if draft.syntax == encoding.IMPLICIT:
            draft.plant("PatientComments", None, canary, "standard")
            return
        draft.is_valid = False
        draft.ds.pop(tag, None)
        draft.plant(tag, vr, canary, "wrong VR")

    return plant


def encoded(keyword: str, codec: str, kind: str) -> Plant:
    """A text attribute, or one of bytes, holds the value in another coding."""

    def plant(draft: Draft, mint: Mint) -> None:
        canary = mint.of_kind(kind)
        tag = tag_for_keyword(keyword)
        assert tag is not None
        raw = CODECS[codec](canary.text)
        vr = dictionary_VR(tag)
        if codec.startswith("utf-16"):
            draft.is_valid = draft.is_valid and vr in ("OB", "UN")
            draft.ds.add_new(tag, "UN" if vr != "OB" else vr, raw + b"\0" * (len(raw) % 2))
        else:
            draft.ds.add_new(tag, vr, raw.decode() if vr != "OB" else raw + b" " * (len(raw) % 2))
        path = f"<({tag >> 16:04x},{tag & 0xFFFF:04x})>"
        draft.forget(path)
        draft.note(path, "encoded", canary, raw.decode("latin-1"))

    return plant


def other_charset(keyword: str, text: str, charset: str) -> Plant:
    """The bytes of the text are of another character set than the object declares."""

    def plant(draft: Draft, mint: Mint) -> None:
        canary = mint.script_name(text, text)
        tag = tag_for_keyword(keyword)
        assert tag is not None
        draft.is_valid = False
        raw = canary.text.encode(charset)
        draft.ds.add_new(tag, "UN", raw + b" " * (len(raw) % 2))
        path = f"<({tag >> 16:04x},{tag & 0xFFFF:04x})>"
        draft.forget(path)
        draft.note(path, "encoded", canary)

    return plant


def split_values(keyword: str) -> Plant:
    """A name's halves are two values of one attribute."""

    def plant(draft: Draft, mint: Mint) -> None:
        canary = mint.split("\\")
        one, two = canary.pieces
        draft.plant(keyword, None, canary, "split", value=[one, two])

    return plant


def split_elements(first: str, second: str) -> Plant:
    """A name's halves are in two attributes."""

    def plant(draft: Draft, mint: Mint) -> None:
        canary = mint.split(" ")
        for keyword, piece in zip((first, second), canary.pieces, strict=True):
            draft.plant(keyword, None, Canary(piece, "name", (piece,)), "split")

    return plant
