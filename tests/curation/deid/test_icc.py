"""ICC profiles keep their colours and lose their words."""

import io
import struct

import numpy as np
import pytest

from curation.deid.icc import neutral_profile
from curation.records import Refused

cms = pytest.importorskip("PIL.ImageCms")
SECRET = b"Quackenbush Microscope 7"


def srgb() -> bytes:
    return bytes(cms.ImageCmsProfile(cms.createProfile("sRGB")).tobytes())


def with_tag(profile: bytes, name: bytes, value: bytes) -> bytes:
    """The profile with one more tag at its end."""
    (count,) = struct.unpack_from(">L", profile, 128)
    entries = [list(struct.unpack_from(">4sLL", profile, 132 + 12 * i)) for i in range(count)]
    moved = [struct.pack(">4sLL", n, start + 12, size) for n, start, size in entries]
    body = profile[132 + 12 * count :]
    entry = struct.pack(">4sLL", name, 132 + 12 * (count + 1) + len(body), len(value))
    whole = profile[:128] + struct.pack(">L", count + 1) + b"".join(moved) + entry + body + value
    return struct.pack(">L", len(whole)) + whole[4:]


def transformed(profile: bytes) -> np.ndarray:
    from PIL import Image

    image = Image.fromarray(np.random.default_rng(1).integers(0, 256, (32, 32, 3), np.uint8))
    source, lab = cms.ImageCmsProfile(io.BytesIO(profile)), cms.createProfile("LAB")
    return np.asarray(cms.applyTransform(image, cms.buildTransform(source, lab, "RGB", "LAB")))


def test_the_colours_stay_and_the_words_go() -> None:
    dirty = with_tag(srgb(), b"dmnd", b"text\0\0\0\0" + SECRET + b"\0")
    dirty = dirty[:48] + b"QUACKENB" + dirty[56:80] + b"QUAC" + dirty[84:]
    found = neutral_profile(dirty)
    assert SECRET not in found and b"QUAC" not in found
    assert np.array_equal(transformed(found), transformed(srgb()))
    assert neutral_profile(found) == found
    assert found[24:36] == bytes(12)  # no date


def test_words_behind_a_table_leave() -> None:
    profile = srgb()
    (count,) = struct.unpack_from(">L", profile, 128)
    names = {profile[132 + 12 * i : 136 + 12 * i] for i in range(count)}
    assert b"bkpt" not in names
    value = b"XYZ " + SECRET[:4] + bytes(12) + SECRET
    found = neutral_profile(with_tag(profile, b"bkpt", value))
    assert b"bkpt" in found and SECRET not in found and SECRET[:4] not in found


@pytest.mark.parametrize(
    "profile",
    [
        b"",
        SECRET * 20,
        srgb()[:200],
        srgb()[:16] + b"John" + srgb()[20:],
        srgb()[:128] + struct.pack(">L", 1 << 31),
    ],
)
def test_what_is_no_profile_is_refused(profile: bytes) -> None:
    with pytest.raises(Refused, match="malformed"):
        neutral_profile(profile)


def test_a_lookup_profile_keeps_its_cube() -> None:
    lut = b"mft1" + SECRET[:4] + bytes([3, 3, 2, 0]) + struct.pack(">9l", *[0] * 9)
    lut += bytes(256 * 3) + bytes(range(24)) + bytes(256 * 3)
    profile = with_tag(srgb(), b"A2B0", lut + SECRET)
    found = neutral_profile(profile)
    assert bytes(range(24)) in found and SECRET[:4] not in found
