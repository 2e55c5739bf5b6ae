"""Pseudonyms: a keyed function of the original identifier, without memory, the same in any process and any order.

What belongs here: ids, date offset, split bucket, content digest, all HMAC-SHA256 under one secret key with one domain
a use. What does not: where the key comes from (settings) or what is replaced by what (policy).
"""

from __future__ import annotations

import hashlib
import hmac
from mmap import mmap
from uuid import UUID

OFFSET_DAYS_MIN = 365
OFFSET_DAYS_MAX = 3650
SPLIT_BUCKETS = 1000
_MEMO_ENTRIES = 65536


def dicom_uid(id: UUID) -> str:  # noqa: A002 - the row's word
    """The released DICOM UID of an id: its 128 bits under the root 2.25 (PS3.5 B.2); at most 44 characters."""
    return f"2.25.{id.int}"


def _uuid(digest: bytes) -> UUID:
    # version 8 of RFC 9562: content is the maker's own; 122 bits of the digest remain
    value = int.from_bytes(digest[:16], "big")
    value = (value & ~(0xF << 76)) | (8 << 76)
    return UUID(int=(value & ~(0x3 << 62)) | (0x2 << 62))


def _plain(value: str) -> str:
    """Without the padding that DICOM allows around a value (PS3.5 6.2)."""
    return value.strip(" \0")


class Pseudonyms:
    """Keyed pseudonyms of one project. The key is at least 16 bytes and never shown; `key_id` names it."""

    __slots__ = ("_key", "_uids", "key_id")

    def __init__(self, key: bytes) -> None:
        if len(key) < 16:
            raise ValueError(f"The key has {len(key)} bytes; at least 16 are needed.")
        self._key = hmac.digest(key, b"rwid pseudonyms 1", "sha256")
        self._uids: dict[str, UUID] = {}
        self.key_id = hmac.digest(self._key, b"key check value", "sha256")[:4].hex()

    def __repr__(self) -> str:
        return f"Pseudonyms(key_id={self.key_id!r})"

    def __getstate__(self) -> tuple[bytes, str]:
        return self._key, self.key_id

    def __setstate__(self, state: tuple[bytes, str]) -> None:
        self._key, self.key_id = state
        self._uids = {}

    def _mac(self, domain: str, *fields: str) -> bytes:
        # each field carries its length: ("a", "bc") and ("ab", "c") must differ
        parts = [domain.encode()]
        for field in fields:
            raw = field.encode("utf-8", "surrogateescape")
            parts += [b"\0", len(raw).to_bytes(4, "big"), raw]
        return hmac.digest(self._key, b"".join(parts), "sha256")

    def uid(self, original: str) -> UUID:
        """Id for any DICOM UID (study, series, instance, frame of reference), the same at every site."""
        found = self._uids.get(original)
        if found is None:
            if len(self._uids) >= _MEMO_ENTRIES:
                self._uids.clear()
            found = self._uids[original] = _uuid(self._mac("uid", _plain(original)))
        return found

    def patient(self, site: str, patient_id: str, issuer: str = "") -> UUID:
        """Id of one person at one site; the same number at another site is another person."""
        return _uuid(self._mac("patient", site, _plain(patient_id), _plain(issuer)))

    def accession(self, site: str, accession: str) -> UUID:
        """Id of one order at one site."""
        key = f"{site}\0{accession}"  # no UID holds a zero byte
        found = self._uids.get(key)
        if found is None:
            found = self._uids[key] = _uuid(self._mac("accession", site, _plain(accession)))
        return found

    def identifier(self, domain: str, value: str) -> UUID:
        """Id of any other identifier; `domain` keeps different kinds of identifier apart."""
        return _uuid(self._mac("identifier", domain, _plain(value)))

    def offset_days(self, patient_id: UUID) -> int:
        """Days added to every date of this person: -3650 to -365, never 0, so that intervals survive."""
        span = OFFSET_DAYS_MAX - OFFSET_DAYS_MIN + 1
        number = int.from_bytes(self._mac("offset", patient_id.hex)[:8], "big")
        return -(OFFSET_DAYS_MIN + number % span)

    def split_bucket(self, patient_id: UUID) -> int:
        """0 to 999; says in which split this person falls, for ever."""
        return int.from_bytes(self._mac("split", patient_id.hex)[:8], "big") % SPLIT_BUCKETS

    def digest(self, data: bytes | bytearray | memoryview | mmap) -> bytes:
        """32-byte keyed digest of the content: equal bytes are recognised, and nobody without the key can test a guess."""
        return self.digest_of(hashlib.sha256(data).digest())

    def digest_of(self, sha256: bytes) -> bytes:
        """The same digest from the content's SHA-256, for content that is read piece by piece."""
        return hmac.digest(self._key, b"content\0" + sha256, "sha256")
