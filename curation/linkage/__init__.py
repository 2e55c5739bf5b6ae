"""Linkage tokens: one person across sites without identity. Rules T1 to T5 of Open Link Token, keyed, binary."""

from curation.linkage.normalise import NORM_PROFILE, normal_birth_date, normal_first, normal_last, normal_sex
from curation.linkage.tokens import RULES, Tokenizer

__all__ = [
    "NORM_PROFILE",
    "RULES",
    "Tokenizer",
    "normal_birth_date",
    "normal_first",
    "normal_last",
    "normal_sex",
]
