"""One object in the making: its dataset, what was planted in it, and the bytes it becomes.

What belongs here: the draft, planting a value with its note in the key, writing the file. What does not: which objects there
are (the builders) and where values are planted (places).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.tag import BaseTag, Tag

from benchmarks.deid.corpus.answer_key import Check, Planted, Step, path_of
from benchmarks.deid.corpus.canary import Canary
from benchmarks.deid.corpus.people import Patient, Site, Study
from curation.synth import encoding

Frame = NDArray[np.generic]
DIRECT = {"name", "number", "short", "phone", "address", "mail", "url", "uid"}
"""Kinds of planted values that point at one person or study by themselves."""


LOSSY: Mapping[str, Callable[[Frame], bytes]] = {
    "1.2.840.10008.1.2.4.81": lambda f: bytes(imagecodecs.jpegls_encode(f, level=2)),
    "1.2.840.10008.1.2.4.91": lambda f: bytes(
        imagecodecs.jpeg2k_encode(f, level=60, codecformat="j2k", reversible=False)
    ),
    "1.2.840.10008.1.2.4.203": lambda f: bytes(imagecodecs.htj2k_encode(f, reversible=False)),
}
"""Encoders that the generator of hospitals does not have: lossy sisters of its lossless syntaxes."""


@dataclass(frozen=True, slots=True)
class Burned:
    """Text in the pixels: where, [row, column, height, width], in every frame."""

    text: str
    box: tuple[int, int, int, int]


@dataclass(slots=True)
class Draft:
    """An object in the making. `steps` in paths are sequences and item numbers from the top."""

    ds: Dataset
    kind: str
    syntax: str
    site: Site
    patient: Patient
    study: Study
    frames: list[Frame] = field(default_factory=list)
    meta: dict[str, str | bytes] = field(default_factory=dict)
    preamble: bytes = b""
    comment: str = ""
    segments: bytes = b""
    surplus: bytes = b""
    tail: bytes = b""
    burned: list[Burned] = field(default_factory=list)
    planted: list[tuple[str, str, Canary, str, str]] = field(default_factory=list)
    is_valid: bool = True
    may_withhold: bool = False

    def note(self, path: str, place: str, canary: Canary, removed: str = "", retained: str = "") -> None:
        """A canary lies at the path. `removed` is what must go (its pieces), `retained` the words around it that must stay."""
        self.planted.append((path, place, canary, removed or " ".join(canary.pieces), retained))

    def plant(
        self,
        tag: str | int,
        vr: str | None,
        canary: Canary,
        place: str,
        *,
        value: object = None,
        into: Dataset | None = None,
        steps: tuple[Step, ...] = (),
        retained: str = "",
    ) -> None:
        """Put the canary (or `value`, which holds it) into the dataset and the key. `vr` None: as the dictionary says."""
        target = self.ds if into is None else into
        number = Tag(tag)
        value = canary.text if value is None else value
        if vr in ("OB", "OW", "UN") and isinstance(value, str):
            raw = value.encode()
            value = raw + b" " * (len(raw) % 2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if vr is None:
                setattr(target, str(tag), value)
            else:
                target.add(_as_is(number, vr, value))
        path = path_of(self.ds, steps, number)
        self.forget(path)
        self.note(path, place, canary, retained=retained)

    def forget(self, path: str) -> None:
        """What lay at the path was written over."""
        self.planted = [entry for entry in self.planted if entry[0] != path]

    def rows(self, file: str) -> tuple[list[Check], list[Planted]]:
        """The planted values as checks and as search targets."""
        instance = str(self.ds.SOPInstanceUID)
        checks, found = [], []
        for path, place, canary, removed, retained in self.planted:
            found.append(Planted(file, path, place, canary.kind, canary.text, list(canary.pieces)))
            is_direct = canary.kind in DIRECT
            if not path.startswith("<("):
                continue
            if canary.kind == "date":
                checks.append(Check(file, instance, path, "date_shifted", canary.text, place, is_direct))
            elif canary.kind == "uid":
                checks.append(Check(file, instance, path, "uid_changed", canary.text, place, is_direct))
                checks.append(Check(file, instance, path, "uid_consistent", canary.text, place, is_direct))
            else:
                checks.append(Check(file, instance, path, "text_removed", removed, place, is_direct))
            if retained:
                checks.append(Check(file, instance, path, "text_retained", retained, place, False))
        return checks, found

    def to_bytes(self) -> bytes:
        """The file. What lies in no dataset (segments of the stream, surplus, tail) is put in here."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if self.frames:
                self._set_pixels()
            data = encoding.to_bytes(self.ds, self.syntax, self.meta, self.preamble)
        return data + self.tail

    def _set_pixels(self) -> None:
        if self.syntax in LOSSY:
            self._set_streams([LOSSY[self.syntax](frame) for frame in self.frames])
        else:
            encoding.set_pixels(self.ds, self.frames, self.syntax, self.comment, self.surplus)
        if self.syntax == encoding.IMPLICIT:
            self.ds["PixelData"].VR = "OW"
        if self.segments and self.syntax not in encoding.NATIVE:
            streams = list(generate_frames(self.ds.PixelData, number_of_frames=len(self.frames)))
            # JPEG 2000 wants its size marker first
            at = 4 + int.from_bytes(streams[0][4:6], "big") if streams[0].startswith(b"\xff\x4f") else 2
            streams[0] = streams[0][:at] + self.segments + streams[0][at:]
            self._set_streams(streams)

    def _set_streams(self, streams: list[bytes]) -> None:
        self.ds.PixelData = encapsulate([s + b"\0" * (len(s) % 2) for s in streams])
        self.ds["PixelData"].VR = "OB"
        self.ds["PixelData"].is_undefined_length = True


def _as_is(number: BaseTag, vr: str, value: object) -> DataElement:
    """The element with this VR even where that is wrong: pydicom puts its own in place of UN, and refuses a name as a number."""
    plain = {"DS": "LO", "IS": "LO", "UN": "OB"}.get(vr, vr) if isinstance(value, (str, bytes)) else vr
    element = DataElement(number, plain, value)
    element.VR = vr
    return element


def private_block(ds: Dataset, group: int, creator: str) -> int:
    """Base of the creator's block in the odd group, a new one where it has none; its elements are `base | ee`."""
    blocks = range(0x10, 0x100)
    own = next((n for n in blocks if Tag(group, n) in ds and str(ds[group, n].value) == creator), None)
    if own is not None:
        return group << 16 | own << 8
    block = next(n for n in blocks if Tag(group, n) not in ds)
    ds.add_new(BaseTag(group << 16 | block), "LO", creator)
    return group << 16 | block << 8
