"""Keyed person tokens: which parts make a rule's signature, and how a signature becomes a token.

A token is HMAC-SHA256(secret, hex(SHA-256(signature))), 32 bytes: the PPID of Open Link Token without its transport
wrapping. Unkeyed tokens are not offered: a dictionary reverses most of them within seconds. A rule that lacks a part
has no token at all, never a constant one: joining on a constant would make a cross product.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from curation.linkage.normalise import normal_birth_date, normal_first, normal_last, normal_sex

RULES: Mapping[str, tuple[str, ...]] = {
    "T1": ("last", "initial", "sex", "birth_date"),
    "T2": ("last", "first", "birth_date", "postal3"),
    "T3": ("last", "first", "sex", "birth_date"),
    "T4": ("social_security", "sex", "birth_date"),
    "T5": ("last", "first3", "sex"),
}
"""Rule -> parts of its signature, in order (Open Link Token 2.2). A DICOM header fills T1, T3 and T5."""


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """Makes tokens for one recipient. `key` is the site's secret; `ring` names the epoch of the key."""

    key: bytes
    ring: str = "local"

    def tokens(self, name: str, birth_date: str, sex: str) -> dict[str, bytes | None]:
        """Rule -> 32 bytes, or None where the rule lacks data.

        `name` is a DICOM person name (PS3.5 6.2.1): family^given^middle, of which the group before '=' counts.
        """
        family, _, rest = name.split("=", 1)[0].partition("^")
        first = normal_first(rest.split("^", 1)[0])
        parts: dict[str, str | None] = {
            "last": normal_last(family),
            "first": first,
            "initial": first[:1] if first else None,
            "first3": first[:3] if first else None,
            "sex": normal_sex(sex),
            "birth_date": normal_birth_date(birth_date),
        }
        return {rule: self._token([parts.get(p) for p in names]) for rule, names in RULES.items()}

    def _token(self, parts: list[str | None]) -> bytes | None:
        present = [p for p in parts if p]
        if len(present) < len(parts):
            return None
        digest = hashlib.sha256("|".join(present).encode()).hexdigest()
        secret = hmac.digest(self.key, b"rwid linkage " + self.ring.encode(), "sha256")
        return hmac.digest(secret, digest.encode(), "sha256")
