"""Report text -> token ids, by the tokenizer a user gives, or by one trained on the cohort's own training split.

What belongs here: training and applying a byte-level tokenizer, deterministically. What does not: finding the reports
of a cohort (pack), report findings (finding).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curation.records import ConfigurationError

VOCABULARY_SIZE = 8192
MAX_VOCABULARY = 1 << 16  # ids are uint16
SPECIAL = ("<pad>", "<bos>", "<eos>")


@dataclass(frozen=True, slots=True)
class TokenizedText:
    """Token ids of one text, and the sections as token positions [start, end)."""

    ids: list[int]
    sections: list[dict[str, Any]]


def train_tokenizer(texts: Iterable[str]) -> str:
    """tokenizer.json of a byte-level BPE of at most VOCABULARY_SIZE entries; the same texts give the same file."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        min_frequency=2,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return str(tokenizer.to_str(pretty=True)) + "\n"


def read_tokenizer(path: Path) -> str:
    """A user's tokenizer.json. Raises ConfigurationError where it is none, or has more ids than uint16 holds."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise ConfigurationError(
            f"Tokenizer {path} cannot be read. Give the path of a tokenizer.json, or leave it out to have one trained."
        ) from None
    if (n := _load(text, str(path)).get_vocab_size()) > MAX_VOCABULARY:
        raise ConfigurationError(
            f"Tokenizer {path} has {n} entries; ids are 16 bits, at most {MAX_VOCABULARY} fit."
        )
    return text


def hash_of(tokenizer_json: str) -> str:
    """SHA-256 of a tokenizer.json, hex: what token ids are keyed by."""
    return hashlib.sha256(tokenizer_json.encode()).hexdigest()


def tokenize(
    tokenizer_json: str, texts: Sequence[str], sections: Sequence[Sequence[dict[str, Any]]]
) -> list[TokenizedText]:
    """Token ids of whole texts, without added special tokens; sections (name, start, end in characters) in tokens.

    What a tokenizer.json says of cutting and filling up is for batches of a model, and not heeded here.
    """
    tokenizer = _load(tokenizer_json, "tokenizer.json")
    tokenizer.no_truncation()
    tokenizer.no_padding()
    encodings = tokenizer.encode_batch(list(texts), add_special_tokens=False)
    return [
        TokenizedText(list(e.ids), [_in_tokens(section, e.offsets) for section in listed])
        for e, listed in zip(encodings, sections, strict=True)
    ]


def _load(tokenizer_json: str, name: str) -> Any:
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_str(tokenizer_json)
    except Exception:  # the library raises bare Exception for every kind of malformed file
        raise ConfigurationError(f"{name} is no tokenizer file that the tokenizers package reads.") from None


def _in_tokens(section: dict[str, Any], offsets: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """Tokens that begin inside the section; a token of blanks before its first word belongs to it or to its head."""
    start = sum(1 for _, end in offsets if end <= section["start"])
    stop = sum(1 for begin, _ in offsets if begin < section["end"])
    return {"name": section["name"], "start": start, "end": max(start, stop)}
