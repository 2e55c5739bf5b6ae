"""DICOM Part 10 bytes, read with exact length accounting: what is it, how is it encoded, where do things end.

What belongs here: preamble, file meta, transfer syntax, lengths, nesting, where the pixel data lie. What does not: what
an attribute means or what becomes of it (deid), decoding pixels (frames).
"""

from __future__ import annotations

_VRS = frozenset(
    b"AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN UR US UT UV".split()
)


def sniff(head: bytes) -> bool:
    """Whether these first bytes (132 or more, fewer where the file is shorter) begin a DICOM file.

    With preamble and `DICM` (PS3.10 7.1), or without: then the first element must be one of group 0002 or 0008 with a
    known VR (explicit) or a small length (implicit little endian).
    """
    if head[128:132] == b"DICM":
        return True
    return _starts_dataset(head)


def _starts_dataset(head: bytes) -> bool:
    if len(head) < 8:
        return False
    group, element = int.from_bytes(head[0:2], "little"), int.from_bytes(head[2:4], "little")
    if group in (0x0002, 0x0008) and element <= 0x0080:
        return head[4:6] in _VRS or int.from_bytes(head[4:8], "little") <= 1024
    # explicit big endian (retired): group 0008 reads as 00 08
    return head[0:2] == b"\x00\x08" and head[2] == 0 and head[4:6] in _VRS
