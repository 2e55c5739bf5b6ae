"""How one name or number may be written: folded letters, other scripts in Latin letters, set apart or run together.

What belongs here: spellings and the text in which they are looked for. What does not: what is known of a person (known).
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice, product

from curation.deid.actions import RULES

MAX_SPELLINGS = 64
_WORD = re.compile(r"[^\W_]+")
_SPELLED = {"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "å": "aa", "ø": "oe", "æ": "ae"}
# letters that Unicode does not decompose
_PLAIN = {
    "ß": "ss", "ø": "o", "Ø": "o", "æ": "ae", "Æ": "ae", "œ": "oe", "Œ": "oe", "ł": "l", "Ł": "l",
    "đ": "d", "Đ": "d", "ð": "d", "Ð": "d", "þ": "th", "Þ": "th", "ı": "i",
}  # fmt: skip


@cache
def fold_letter(letter: str) -> str:
    """One character in lower case without diacritics; may be none or several characters."""
    if letter < "\x80":
        return letter.lower()
    if letter in _PLAIN:
        return _PLAIN[letter]
    plain = unicodedata.normalize("NFKD", letter)
    return "".join(c for c in plain if not unicodedata.combining(c)).lower()


def fold(text: str) -> str:
    """The text in lower case without diacritics."""
    return text.lower() if text.isascii() else "".join(map(fold_letter, text))


@cache
def _letters() -> dict[str, tuple[str, ...]]:
    book = tomllib.loads((RULES / "text" / "scripts.toml").read_text(encoding="utf-8"))
    return {letter: tuple(latin.split("|")) for script in book.values() for letter, latin in script.items()}


def variants(word: str) -> set[str]:
    """A word as it may be written in another place, folded: Müller, Mueller, Muller; Иванов, Ivanov, Iwanow."""
    low = unicodedata.normalize("NFC", word).lower()
    folded = fold(low)
    spelled = fold("".join(_SPELLED.get(c, c) for c in low))
    # the e of a spelled umlaut goes only between consonants: Mueller, but not Bauer
    bare = re.sub("(?<=[^aeiou])([aou])e(?=[^aeiou])", r"\1", folded)
    found = {folded, spelled, bare}
    letters = _letters()
    if any(c in letters for c in folded):
        choices = [letters.get(c, (c,)) for c in folded]
        found |= {"".join(spelling) for spelling in islice(product(*choices), MAX_SPELLINGS)}
        found.add("".join(c[-1] for c in choices))
    return {re.sub(r"[\W_]+", "", f) for f in found} - {""}


def is_ideographic(word: str) -> bool:
    """Whether a word is written without spaces around it: Chinese, Japanese, Korean."""
    return any(
        "\u3040" <= c <= "\u30ff" or "\u3400" <= c <= "\u9fff" or "\uac00" <= c <= "\ud7af" for c in word
    )


@dataclass(frozen=True, slots=True)
class Place:
    """Where a spelling stands: characters start to end of the text, and whether words begin and end there."""

    start: int
    end: int
    is_whole: bool


class Compact:
    """A text reduced to its folded letters and digits, so that no gap, hyphen or line break hides a word.

    str.find runs over it: linear in the text for each spelling, whatever lies between the letters.
    """

    __slots__ = ("_at", "_ends", "_lengths", "_starts", "_text", "letters")

    def __init__(self, text: str) -> None:
        self._text = text
        words: list[str] = []
        self._at: list[int] = []  # where each word begins among the letters
        self._starts: list[int] = []  # and in the text
        self._lengths: list[int] = []
        length = 0
        for match in _WORD.finditer(text):
            word = match.group()
            folded = word.lower() if word.isascii() else "".join(c for c in fold(word) if c.isalnum())
            if folded:
                words.append(folded)
                self._at.append(length)
                self._starts.append(match.start())
                self._lengths.append(match.end() - match.start())
                length += len(folded)
        self.letters = "".join(words)
        self._ends = frozenset((*self._at[1:], length))

    def find(self, spelling: str) -> Iterator[Place]:
        """Every place of a spelling of folded letters and digits."""
        at = self.letters.find(spelling)
        while at >= 0:
            after = at + len(spelling)
            first, last = bisect_right(self._at, at) - 1, bisect_right(self._at, after - 1) - 1
            is_whole = self._at[first] == at and after in self._ends
            yield Place(self._position(first, at), self._position(last, after - 1) + 1, is_whole=is_whole)
            at = self.letters.find(spelling, at + 1)

    def _position(self, word: int, at: int) -> int:
        """Where in the text the letter stands that is at this place among the letters of a word."""
        offset = at - self._at[word]
        start, length = self._starts[word], self._lengths[word]
        after = self._at[word + 1] if word + 1 < len(self._at) else len(self.letters)
        if after - self._at[word] == length:
            return start + offset
        # a letter of this word folds into none or several
        seen = 0
        for position in range(start, start + length):
            seen += sum(c.isalnum() for c in fold_letter(self._text[position]))
            if seen > offset:
                return position
        return start + length - 1
