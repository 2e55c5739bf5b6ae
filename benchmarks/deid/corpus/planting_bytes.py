"""Ways to plant an identity where no ordinary attribute is: padding, surplus, codestreams, file meta, overlays, tables, profiles.

What belongs here: those ways, and on which objects each makes sense. What does not: text, items and private blocks (planting).
"""

from __future__ import annotations

import struct

from pydicom.dataset import Dataset
from pydicom.tag import Tag

from benchmarks.deid.corpus.canary import Mint
from benchmarks.deid.corpus.draft import Draft
from benchmarks.deid.corpus.planting import Plant
from curation.synth import encoding


def after_nul(keyword: str, word: str) -> Plant:
    """Behind the padding of a harmless value."""

    def plant(draft: Draft, mint: Mint) -> None:
        draft.is_valid = False
        canary = mint.name()
        draft.plant(keyword, None, canary, "trailing", value=f"{word}\0{canary.text}")

    return plant


def trailing_padding(draft: Draft, mint: Mint) -> None:
    """(FFFC,FFFC) holds more than zeros."""
    draft.plant(0xFFFCFFFC, "OB", mint.name(), "trailing")


def surplus_pixels(draft: Draft, mint: Mint) -> None:
    """Bytes behind the last pixel."""
    canary = mint.name()
    raw = canary.text.encode()
    draft.surplus = raw + b"\0" * (len(raw) % 2)
    draft.note("pixel surplus", "trailing", canary)


def behind_the_file(draft: Draft, mint: Mint) -> None:
    """Bytes behind the last element: no part of any data set."""
    canary = mint.name()
    draft.is_valid = False
    draft.tail = canary.text.encode()
    draft.note("behind the last element", "trailing", canary)


def stream_segment(marker: int, prefix: bytes = b"") -> Plant:
    """A segment of a JPEG or JPEG 2000 codestream that no decoder needs."""

    def plant(draft: Draft, mint: Mint) -> None:
        canary = mint.name()
        text = prefix + canary.text.encode()
        draft.segments += struct.pack(">HH", marker, len(text) + 2) + text
        draft.note("codestream", "codestream", canary)

    return plant


def jpeg2000_comment(draft: Draft, mint: Mint) -> None:
    """A COM segment behind SIZ, where JPEG 2000 allows it."""
    canary = mint.name()
    text = struct.pack(">H", 1) + canary.text.encode()
    draft.segments += struct.pack(">HH", 0xFF64, len(text) + 2) + text
    draft.note("codestream", "codestream", canary)


def preamble(draft: Draft, mint: Mint) -> None:
    canary = mint.name()
    draft.preamble = b"II*\0" + canary.text.encode()
    draft.note("preamble", "file meta", canary)


def file_meta(keyword: str, kind: str) -> Plant:
    """An element of the file meta information."""

    def plant(draft: Draft, mint: Mint) -> None:
        canary = mint.of_kind(kind)
        value: object = canary.text
        if keyword == "PrivateInformation":
            draft.meta["PrivateInformationCreatorUID"] = mint.uid().text
            value = canary.text.encode() + b"\0" * (len(canary.text.encode()) % 2)
        draft.meta[keyword] = value  # type: ignore[assignment]
        draft.note(f"file meta {keyword}", "file meta", canary)

    return plant


def overlay(group: int, tag: int, vr: str) -> Plant:
    """An overlay plane of 8 x 8 with a description, or bits, that name somebody."""

    def plant(draft: Draft, mint: Mint) -> None:
        ds, canary = draft.ds, mint.name()
        base = group << 16
        if base | 0x3000 in ds:
            return
        ds.add_new(base | 0x10, "US", 8)
        ds.add_new(base | 0x11, "US", 8)
        ds.add_new(base | 0x40, "CS", "G")
        ds.add_new(base | 0x50, "SS", [1, 1])
        ds.add_new(base | 0x100, "US", 1)
        ds.add_new(base | 0x102, "US", 0)
        ds.add_new(base | 0x3000, "OW", b"\0" * 8)
        draft.plant(base | tag, vr, canary, "overlay")

    return plant


def curve(group: int) -> Plant:
    """A retired curve with a label and data of somebody's name."""

    def plant(draft: Draft, mint: Mint) -> None:
        ds, base, canary = draft.ds, group << 16, mint.name()
        ds.add_new(base | 0x05, "US", 1)
        ds.add_new(base | 0x10, "US", 1)
        ds.add_new(base | 0x20, "CS", "ECG")
        draft.plant(base | 0x22, "LO", mint.spoken_name(), "curve")
        draft.plant(base | 0x3000, "OW", canary, "curve")

    return plant


def icon(draft: Draft, mint: Mint) -> None:
    """An icon whose pixels hold bytes of a name."""
    item, canary = Dataset(), mint.name()
    item.SamplesPerPixel, item.PhotometricInterpretation, item.Rows, item.Columns = 1, "MONOCHROME2", 8, 8
    item.BitsAllocated, item.BitsStored, item.HighBit, item.PixelRepresentation = 8, 8, 7, 0
    draft.ds.IconImageSequence = [item]
    draft.plant(
        0x7FE00010,
        "OB",
        canary,
        "icon",
        value=canary.text.encode().ljust(64, b"\0")[:64],
        into=item,
        steps=((Tag(0x00880200), 0),),
    )


def lut_explanation(sequence: str) -> Plant:
    """The explanation of a look-up table."""

    def plant(draft: Draft, mint: Mint) -> None:
        if sequence in draft.ds:
            return
        item = Dataset()
        item.LUTDescriptor, item.LUTData = [2, 0, 16], struct.pack("<2H", 0, 65535)
        item["LUTDescriptor"].VR, item["LUTData"].VR = "US", "OW"
        item.ModalityLUTType = "US"
        setattr(draft.ds, sequence, [item])
        draft.plant(
            0x00283003, "LO", mint.spoken_name(), "LUT", into=item, steps=((draft.ds[sequence].tag, 0),)
        )

    return plant


def icc_profile(draft: Draft, mint: Mint) -> None:
    """A colour profile with a name in its description."""
    canary = mint.name()
    body = b"desc\0\0\0\0" + canary.text.encode()
    raw = (struct.pack(">L4s", 128 + len(body), b"test").ljust(36, b"\0") + b"acsp").ljust(128, b"\0") + body
    draft.plant(0x00282000, "OB", canary, "ICC profile", value=raw + b"\0" * (len(raw) % 2))


def code_meaning(sequence: str, value: str, scheme: str) -> Plant:
    """Somebody's name as the meaning of a code."""

    def plant(draft: Draft, mint: Mint) -> None:
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator = value, scheme
        setattr(draft.ds, sequence, [item])
        draft.plant(
            0x00080104,
            "LO",
            mint.spoken_name(),
            "code meaning",
            into=item,
            steps=((draft.ds[sequence].tag, 0),),
        )

    return plant


def signature(draft: Draft, mint: Mint) -> None:
    """A digital signature with a certificate that names its owner."""
    item, canary = Dataset(), mint.name()
    item.MACIDNumber, item.DigitalSignatureUID, item.CertificateType = 1, mint.uid().text, "X509_1993_SIG"
    item.DigitalSignatureDateTime = mint.day().text
    draft.ds.add_new(0xFFFAFFFA, "SQ", [item])
    draft.plant(0x04000115, "OB", canary, "signature", into=item, steps=((Tag(0xFFFAFFFA), 0),))


def directory_element(draft: Draft, mint: Mint) -> None:
    """An element of group 0004, which belongs to directories."""
    draft.is_valid = False
    canary = mint.host()
    draft.plant(0x00041130, "CS", canary, "group 0004")


def is_jpeg(draft: Draft) -> bool:
    return (
        draft.syntax.startswith("1.2.840.10008.1.2.4")
        and draft.syntax.split(".")[-1] in ("50", "51", "57", "70", "80", "81")
        and bool(draft.frames)
    )


def is_jpeg2000(draft: Draft) -> bool:
    return (
        draft.syntax.split(".")[-1] in ("90", "91", "201", "202", "203")
        and draft.syntax.startswith("1.2.840.10008.1.2.4")
        and bool(draft.frames)
    )


def is_native_image(draft: Draft) -> bool:
    return draft.syntax in encoding.NATIVE and bool(draft.frames)


def is_image(draft: Draft) -> bool:
    return bool(draft.frames)
