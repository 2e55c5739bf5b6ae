"""Character sets: text is read by the declared set, bytes that contradict it go, and no set hides a name."""

import pytest
from pydicom.charset import encode_string

from curation.deid.charset import codecs_of, decode, readings
from tests.curation.deid.objects import clean, ct, read, to_bytes

NAMES = [
    ("ISO_IR 192", "Müller^Jürgen", "utf-8"), ("ISO_IR 100", "Müller^Jürgen", "iso8859-1"),
    ("ISO_IR 144", "Люкceмбypг^Пётр", "iso8859-5"), ("ISO_IR 126", "Διονυσιος^Κώστας", "iso8859-7"),
    ("ISO_IR 127", "قباني^نزار", "iso8859-6"), ("ISO_IR 138", "שרון^דבורה", "iso8859-8"), ("ISO_IR 166", "สมหมาย^ใจดี", "tis-620"),
    ("GB18030", "王小东^朝", "gb18030"), ("GBK", "王小东^朝", "gbk"), ("ISO_IR 13", "ﾔﾏﾀﾞ^ﾀﾛｳ", "shift_jis"),
]  # fmt: skip


def with_bytes(charset: str, name: bytes, description: bytes) -> bytes:
    """A CT whose name and description are these bytes, whatever the character set."""
    mark = "X" * (len(name) + len(name) % 2), "Thorax " + "Y" * (len(description) - 7 + len(description) % 2)
    data = to_bytes(ct(SpecificCharacterSet="ISO_IR 100", PatientName=mark[0], StudyDescription=mark[1]))
    data = data.replace(mark[0].encode(), name.ljust(len(mark[0]))).replace(
        mark[1].encode(), description.ljust(len(mark[1]))
    )
    plain = charset.encode() + b" " * (len(charset) % 2)
    return data.replace(b"CS\x0a\x00ISO_IR 100", b"CS" + len(plain).to_bytes(2, "little") + plain)


@pytest.mark.parametrize(("charset", "name", "codec"), NAMES)
def test_a_name_is_known_in_its_set_and_goes_from_descriptions(charset: str, name: str, codec: str) -> None:
    raw = name.encode(codec)
    found = clean(with_bytes(charset, raw, b"Thorax " + raw))
    assert name in found.identity.names and found.identity.patient_name == name
    for part in raw.split(b"^"):
        assert part not in found.header
    description = read(found).get("StudyDescription", "")
    assert description in ("", "Thorax")


ESCAPED = [
    ("\\ISO 2022 IR 87", "Yamada^Tarou=山田^太郎=やまだ^たろう", ["iso8859", "iso2022_jp"]),
    ("\\ISO 2022 IR 149", "Hong^Gildong=洪^吉洞=홍^길동", ["iso8859", "euc_kr"]),
    ("ISO 2022 IR 100\\ISO 2022 IR 144", "Müller=Люк", ["latin_1", "iso_ir_144"]),
]


@pytest.mark.parametrize(("charset", "name", "codecs"), ESCAPED)
def test_code_extensions_are_read(charset: str, name: str, codecs: list[str]) -> None:
    # written part by part, since each component group starts anew in the first set
    raw = b"=".join(
        b"^".join(encode_string(p, codecs) for p in group.split("^")) for group in name.split("=")
    )
    assert b"\x1b" in raw
    known = codecs_of(charset.encode())
    assert known is not None and decode(raw, known) == name
    found = clean(with_bytes(charset, raw, b"Thorax " + raw))
    assert found.identity.patient_name == name
    for part in raw.replace(b"=", b"^").split(b"^"):
        assert part.lower() not in found.header.lower() or len(part) < 4


def test_chinese_code_extensions_are_read() -> None:
    raw = b"Zhang^XiaoDong=\x1b$)A" + "张^小东".encode("gb2312")
    assert decode(raw, codecs_of(b"\\ISO 2022 IR 58")) == "Zhang^XiaoDong=张^小东"


def test_an_escape_that_no_declared_set_explains_is_identifying() -> None:
    raw = "山田".encode("iso2022_jp")
    assert decode(raw, ("ascii",)) is None and decode(b"\x1b%/A abc", ("utf-8",)) is None
    assert list(readings(raw, ("ascii",))) == ["山田"]  # but a name is known all the same
    found = clean(with_bytes("ISO_IR 100", b"Smithson^John", b"Thorax " + raw))
    assert not read(found).StudyDescription


@pytest.mark.parametrize(
    ("charset", "raw"),
    [
        ("ISO_IR 192", b"Thorax M\xfcller"),
        ("GB18030", b"Thorax \xff\xff"),
        ("ISO_IR 13", b"Thorax \x81"),
        ("", b"Thorax \xe4"),
    ],
)
def test_bytes_that_contradict_the_set_are_identifying(charset: str, raw: bytes) -> None:
    assert not read(clean(with_bytes(charset, b"Smithson^John", raw))).StudyDescription
