"""Stand-ins: what takes the place of a name, number or place, so that the text reads on and nobody real is meant.

What belongs here: the choice of a stand-in, keyed by the patient, in the form of the original. What does not: finding
what is replaced (text), moved dates (dates).

The same word of the same patient gets the same stand-in in every report; another patient's gets another. A leak that
escaped the rules then stands among stand-ins and cannot be told from them (hiding in plain sight).
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping
from functools import cache
from uuid import UUID

from curation.deid.actions import RULES
from curation.deid.lexicon import LANGUAGES, Kind, Lexicon, book, words_of
from curation.deid.pseudonyms import Pseudonyms
from curation.deid.spelling import fold, variants

_WORD = re.compile(r"[^\W\d_]+")
_DIGIT_OR_LETTER = re.compile(r"[^\W_]")
_TRIES = 20
_CHAIN = re.compile(r"[^\W_]+(?:-[^\W_]+)*")
_TEST_NET = "192.0.2."  # RFC 5737: addresses of nobody


@cache
def _lists() -> Mapping[str, tuple[str, ...]]:
    book = tomllib.loads((RULES / "text" / "names.toml").read_text(encoding="utf-8"))
    found = {
        f"{code} {kind}": tuple(text.split())
        for code, kinds in book["stand_ins"].items()
        for kind, text in kinds.items()
    }
    found |= {f"{code} given": found[f"{code} female"] + found[f"{code} male"] for code in book["stand_ins"]}
    return found | {
        key: tuple(book["towns"]["stand_ins" if key == "towns" else key].split())
        for key in ("towns", "streets")
    }


class StandIns:
    """Stand-ins of one patient in one language. `real` are folded words that no stand-in may be."""

    def __init__(
        self,
        pseudonyms: Pseudonyms,
        patient_id: UUID,
        lexicon: Lexicon,
        given: Mapping[str, str],
        real: frozenset[str],
    ) -> None:
        self._pseudonyms, self._patient = pseudonyms, patient_id.hex
        self._lexicon, self._given, self._real = lexicon, given, real
        self._language = lexicon.code if lexicon.code in LANGUAGES else "en"
        self._memo: dict[tuple[str, str], str] = {}

    def of(self, category: str, found: str) -> str:
        """What takes the place of a span of that category."""
        if category == "NAME":
            return self._name(found)
        if category == "INSTITUTION":
            return self._institution(found)
        if category in ("PLACE", "ADDRESS"):
            return self._place(found, category)
        if category == "EMAIL":
            return f"{self._pick('en female', found).lower()}.{self._pick('en family', found).lower()}@example.org"
        if category == "URL":
            return f"https://example.org/{self._digest('url', found).hex()[:8]}"
        if category == "IP":
            return f"{_TEST_NET}{1 + self._digest('ip', found)[0] % 254}"
        return self._number(found, category)

    def _digest(self, kind: str, value: str) -> bytes:
        return self._pseudonyms.identifier(f"stand-in {kind} {self._patient}", value).bytes

    def _pick(self, name: str, word: str) -> str:
        """One of a list, the same for every spelling of a word; never a word that is real here."""
        key = min(variants(word) or {word})
        found = self._memo.get((name, key))
        if found is None:
            choices = _lists()[name]
            digest = hashlib.shake_128(self._digest(name, key)).digest(4 * _TRIES)
            picks = [
                choices[int.from_bytes(digest[n : n + 4], "big") % len(choices)]
                for n in range(0, len(digest), 4)
            ]
            found = next((p for p in picks if self._is_free(fold(p), key)), picks[0])
            self._memo[name, key] = found
        return found

    def _is_free(self, low: str, key: str) -> bool:
        """Whether a stand-in neither is a real word of this text nor holds one: Santamaría for a María."""
        return low != key and not any(word == low or (len(word) > 3 and word in low) for word in self._real)

    def _name(self, found: str) -> str:
        """Each word of a name by its own stand-in: order, commas, case and initials stay."""
        words = list(_WORD.finditer(found))
        if not words:
            return self._pick(f"{self._language} family", found)
        if all(len(w.group()) == 1 for w in words) and len(words) > 3:  # a name set apart: S m i t h
            return self._cased(
                self._pick(f"{self._language} family", "".join(w.group() for w in words)), found
            )
        out, pos = [], 0
        for word in words:
            out += [
                self._between(found[pos : word.start()]),
                self._name_word(word.group(), found, word.start()),
            ]
            pos = word.end()
        return "".join([*out, self._between(found[pos:])])

    def _between(self, gap: str) -> str:
        """What stands between the words of a name; a house number that became part of it is another number."""
        return self._number(gap, "ID") if any(c.isdigit() for c in gap) else gap

    def _name_word(self, word: str, whole: str, position: int) -> str:
        low = fold(word)
        if low in self._lexicon.particles and not word.isupper() and word[:1].islower():
            return word
        if low in self._lexicon.titles and len(low) > 1:
            return word
        if low == "s" and position and whole[position - 1] in "'’":
            return word
        if len(word) == 1:
            known = self._given.get(low)
            stand_in = self._given_name(known) if known else self._pick(f"{self._language} given", low)
            return stand_in[0] if word.isupper() else stand_in[0].lower()
        is_given = low in self._given.values() or (
            low in self._lexicon.given and low not in self._lexicon.names
        )
        chosen = self._given_name(low) if is_given else self._pick(f"{self._language} family", word)
        return self._cased(chosen, word)

    def _given_name(self, low: str) -> str:
        sex = self._lexicon.given.get(low, "x")
        kind = {"f": "female", "m": "male"}.get(sex, "given")
        return self._pick(f"{self._language} {kind}", low)

    @staticmethod
    def _cased(chosen: str, like: str) -> str:
        if like.isupper() and len(like) > 1:
            return chosen.upper()
        return chosen.lower() if like.islower() else chosen

    def _place(self, found: str, category: str) -> str:
        """Proper words by a town or street of nowhere, digits by others; the nouns (Hospital, Street) stay."""
        out, pos = [], 0
        for word in _CHAIN.finditer(found):
            out += [found[pos : word.start()], self._chain(word.group(), category)]
            pos = word.end()
        return "".join([*out, found[pos:]])

    def _institution(self, found: str) -> str:
        """What it is stays (hospital, practice); a word of nowhere takes the place of all that says which.

        `General Universitario` or `Regional` beside a stand-in would tell the one hospital of a town.
        """
        words = [w.group() for w in _CHAIN.finditer(found)]
        nouns = [w for w in words if fold(w) in _institution_nouns()]
        name = self._pick("towns", fold(" ".join(words)))
        name = self._cased(name, found) if found.isupper() else name
        if not nouns:
            ending = next((e for e in _ENDINGS[-4:] if fold(found).endswith(e)), "")
            return name + ending
        is_last = fold(words[-1]) in _institution_nouns() and fold(words[0]) not in _institution_nouns()
        noun = nouns[-1] if is_last else nouns[0]
        return f"{name} {noun}" if is_last else f"{noun} {name}"

    def _chain(self, words: str, category: str) -> str:
        """Villefranche-sur-Mer by one word; St.-Elisabeth-Krankenhaus word by word."""
        parts = words.split("-")
        if (
            len(parts) > 1
            and words.replace("-", "").isalpha()
            and not any(fold(p) in self._lexicon.nouns for p in parts)
        ):
            return self._cased(self._pick("towns", fold(words)), parts[0])
        return "-".join(self._place_word(part, category) for part in parts)

    def _place_word(self, word: str, category: str) -> str:
        low = fold(word)
        if any(c.isdigit() for c in word):
            return self._number(word, category)
        known = self._lexicon
        if low in known.street_nouns and category == "ADDRESS":
            return self._cased(known.street_nouns[low], word)
        is_linked = low in known.joiners or low in known.particles
        if category == "ADDRESS":
            is_linked = len(low) < _WORD_LETTERS or (is_linked and len(low) == _WORD_LETTERS)
        else:
            is_linked = is_linked or known.kind(low) <= Kind.COMMON
        if (word.islower() and is_linked) or low in _institution_nouns():
            return word
        ending = next((e for e in _ENDINGS if low.endswith(e) and len(low) > len(e)), "")
        chosen = self._pick("streets" if category == "ADDRESS" else "towns", low)
        return self._cased(chosen + ending, word)

    def _number(self, found: str, category: str) -> str:
        """Another number of the same form: digits for digits, letters for letters, separators kept."""
        plain = "".join(_DIGIT_OR_LETTER.findall(found))
        for attempt in range(_TRIES):
            stream = hashlib.shake_128(
                self._digest(f"{category if category != 'PHONE' else 'ID'} {attempt}", fold(plain))
            ).digest(len(found))
            written = "".join(map(_like, found, stream))
            groups = {g for g in re.findall(r"\w+", written) if len(g) > 1}
            if groups.isdisjoint(re.findall(r"\w+", found)) and fold(plain) != fold(
                "".join(_DIGIT_OR_LETTER.findall(written))
            ):
                return written
        return f"[{category}]"


@cache
def _institution_nouns() -> frozenset[str]:
    return frozenset(words_of(book("any")["institution_nouns"]))


_WORD_LETTERS = 3  # the words of a street may be ordinary ones: Calle de los Olivos, calle de los olivos
_ENDINGS = (
    "strasse",
    "str",
    "weg",
    "platz",
    "allee",
    "gasse",
    "hospital",
    "krankenhaus",
    "klinik",
    "klinikum",
)


def _like(char: str, byte: int) -> str:
    if char.isdigit():
        return char if char == "0" and byte < 16 else str(1 + byte % 9)
    if char.isalpha():
        letter = chr(ord("a") + byte % 26)
        return letter.upper() if char.isupper() else letter
    return char
