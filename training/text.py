"""Report text of a cohort's members, and what encodes it: a bag of tokens made here, or a transformers model by path.

What belongs here: reading the texts, the encoders, their token ids. What does not: what is learned of them (reading,
contrastive), how text becomes ids (curation.vocabulary). The bag is fastText's (Joulin et al. 2016): the mean of the embeddings
of tokens and of hashed pairs of neighbours, so that "no effusion" is another thing than "effusion"; it starts at random and
knows no language. Texts never leave: ids, weights and scores do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from curation import vocabulary
from curation.cohort_folder import read_facts
from curation.lake import Lake
from curation.records import ConfigurationError
from training.examples import Examples

if TYPE_CHECKING:
    from torch import nn

Ints = NDArray[np.int64]

BAG = "builtin:token-bag"
WIDTH = 64
"""Numbers a token or a pair is embedded in by the bag."""

N_PAIRS = 1 << 14
"""Places that pairs of tokens are hashed to."""

N_TOKENS = vocabulary.VOCABULARY_SIZE
"""Entries of the bag's own vocabulary."""

MAX_TOKENS = 512
"""What a text has beyond is not read."""


@dataclass(frozen=True)
class Texts:
    """[N] the reports of each member's study, newest order of ids, joined; empty where there is none. language: ISO 639-1."""

    text: tuple[str, ...]
    language: tuple[str, ...]

    @property
    def is_there(self) -> NDArray[np.bool_]:
        """[N] whether a member has any."""
        return np.array([bool(text) for text in self.text])


def read_texts(lake_root: Path, examples: Examples) -> Texts:
    """The reports at the cohort's snapshot. Raises ConfigurationError where it is not here, or no member has a report."""
    number = int(read_facts(examples.folder)["snapshot"])
    lake = Lake(lake_root)
    if number not in lake.numbers():
        raise ConfigurationError(
            f"Snapshot {number} of this cohort is not in this lake, so its reports are not. Build the cohort again."
        )
    connection = lake.connect(number)
    try:
        rows: list[Any] = connection.execute(
            "SELECT study_id, text, language FROM reports ORDER BY study_id, report_id"
        ).fetchall()
    finally:
        connection.close()
    of_study: dict[Any, list[tuple[str, str]]] = {}
    for study, text, language in rows:
        of_study.setdefault(study, []).append((text, language))
    held = [of_study.get(study, []) for study in examples.study_id]
    if not any(held):
        raise ConfigurationError(
            f"No member of cohort {examples.cohort_id} has a report. Ingest reports first."
        )
    texts = tuple("\n".join(text for text, _ in own) for own in held)
    return Texts(texts, tuple(own[0][1] if own else "en" for own in held))


class TextEncoder(Protocol):
    """Texts to ids, and ids to one vector a text."""

    tokenizer_json: str
    revision: str

    def ids(self, texts: Sequence[str]) -> Ints:
        """[N, L], 0 behind the end of each text; a text of nothing is a row of zeros."""

    def module(self) -> nn.Module:
        """ids [B, L] -> features [B, F]; the same module each time."""


def make_encoder(model_id: str, revision: str | None, texts: Sequence[str], seed: int) -> TextEncoder:
    """The encoder of a spec. texts: of the train split, on which the bag's vocabulary is trained.

    Raises ConfigurationError where a folder holds no text model in safetensors with a tokenizer.json.
    """
    if model_id == BAG:
        return Bag(vocabulary.train_tokenizer(text for text in texts if text), seed)
    if model_id.startswith("builtin:"):
        raise ConfigurationError(
            f"{model_id} reads images; text is read by {BAG} or a folder. Mend model.id."
        )
    return Folder(Path(model_id), revision)


class Bag:
    """The mean of the embeddings of tokens and of hashed pairs."""

    def __init__(self, tokenizer_json: str, seed: int) -> None:
        from training.text_models import Means

        self.tokenizer_json = tokenizer_json
        # of the vocabulary: the weights are random, or a run's own
        self.revision = "sha256:" + hashlib.sha256(tokenizer_json.encode()).hexdigest()
        self._module = Means(N_TOKENS + N_PAIRS, WIDTH, seed)

    def ids(self, texts: Sequence[str]) -> Ints:
        """Tokens, then pairs of neighbours, each past the vocabulary's end; 0 is padding."""
        found = []
        for one in vocabulary.tokenize(self.tokenizer_json, list(texts), [[] for _ in texts]):
            own = np.asarray(one.ids[:MAX_TOKENS], dtype=np.int64)
            pairs = (own[:-1] * 1_000_003 + own[1:]) % (N_PAIRS - 1) + N_TOKENS
            found.append(np.concatenate([own, pairs]))
        return _padded(found)

    def module(self) -> nn.Module:
        """One table of embeddings."""
        return self._module


class Folder:
    """A transformers text model on this machine: mean of its last hidden states over the tokens that are there."""

    def __init__(self, folder: Path, revision: str | None) -> None:
        from training.backbones.folder import digest, load
        from training.text_models import Hidden

        path = folder / "tokenizer.json"
        if not path.is_file():
            raise ConfigurationError(
                f"{folder} has no tokenizer.json. Give the folder of a text model that has one."
            )
        self.tokenizer_json = vocabulary.read_tokenizer(path)
        self.revision = f"sha256:{digest(folder)}"
        if revision and not self.revision.startswith(revision):
            raise ConfigurationError(
                f"{folder} is {self.revision[:19]}, the spec wants {revision[:19]}. Mend model.revision."
            )
        self._module = Hidden(load(folder))

    def ids(self, texts: Sequence[str]) -> Ints:
        """Token ids with the tokenizer's own marks, one up: 0 is padding."""
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_str(self.tokenizer_json)
        tokenizer.no_padding()
        tokenizer.enable_truncation(min(MAX_TOKENS, self._module.max_tokens))
        encoded = tokenizer.encode_batch(list(texts))
        return _padded([np.asarray(one.ids, dtype=np.int64) + 1 for one in encoded])

    def module(self) -> nn.Module:
        """The model."""
        return self._module


def _padded(rows: Sequence[Ints]) -> Ints:
    ids = np.zeros((len(rows), max((len(row) for row in rows), default=1) or 1), dtype=np.int64)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = row
    return ids
