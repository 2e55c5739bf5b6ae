"""What a word of a report is: ordinary, a name, both, an eponym, or unknown; and the cues of each language.

What belongs here: rules/text/*.toml read and compiled, kinds of words, language detection. What does not: looking at a
text's words in their context (naming, places, numbers, dates).
"""

from __future__ import annotations

import gzip
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from importlib.util import find_spec
from itertools import compress
from pathlib import Path
from typing import Any

from curation.deid.actions import RULES, vocabulary
from curation.deid.spelling import fold, fold_letter
from curation.records import ConfigurationError

LANGUAGES = ("en", "de", "es", "fr")
ANY = "any"
"""Key of the rules of all languages together, for a text that is too short to show its language."""

# How often a word must stand in the general word list to count as ordinary. The English list holds many names.
_COMMON_MIN = {"en": 3000, "de": 0, "es": 0, "fr": 0}
_PART_LETTERS = 4


class Kind(IntEnum):
    """What one word is, apart from its context."""

    ORDINARY = 0
    """A word of reports."""
    COMMON = 1
    """In the general word list only, or of a form that such words have; rare surnames stand in it too."""
    EPONYM = 2
    AMBIGUOUS = 3
    """An ordinary word that is a name as well."""
    UNKNOWN = 4
    NAME = 5


Phrases = Mapping[str, tuple[tuple[tuple[str, ...], str], ...]]
"""Cues by their first word: (words, kind of cue), longest first."""

_TOKEN = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Words and cues of one language, or of all together, folded."""

    code: str
    cues: Phrases
    titles: frozenset[str]
    credentials: frozenset[str]
    particles: frozenset[str]
    not_names: frozenset[str]
    verbs: frozenset[str]
    auxiliaries: frozenset[str]
    participles: frozenset[str]
    given: Mapping[str, str]
    """Given name: f, m, or x where both."""
    names: frozenset[str]
    ambiguous: frozenset[str]
    eponyms: frozenset[str]
    eponym_nouns: frozenset[str]
    clinical: frozenset[str]
    common: frozenset[str]
    towns: frozenset[str]
    kept_places: frozenset[str]
    generic: frozenset[str]
    joiners: frozenset[str]
    departments: frozenset[str]
    nouns: frozenset[str]
    """Words of institutions that name none."""
    street_nouns: Mapping[str, str]
    prepositions: frozenset[str]
    """Before a place, in languages whose sentences have capitals for proper words only."""
    institution_endings: tuple[str, ...]
    suffixes: tuple[str, ...]
    verb_endings: tuple[str, ...]
    """Of words that begin a sentence."""
    surname_endings: tuple[str, ...]
    nobody: frozenset[str]
    has_compounds: bool
    memo: dict[str, Kind]

    def kind(self, word: str) -> Kind:
        """Kind of one folded word."""
        found = self.memo.get(word)
        if found is None:
            if len(self.memo) > 200_000:
                self.memo.clear()
            found = self.memo[word] = self._kind(word)
        return found

    def _kind(self, word: str) -> Kind:
        is_name = word in self.names or word in self.given
        if word in self.eponyms and word not in self.given:
            return Kind.EPONYM
        is_ordinary = word in self.clinical or (word in self.common and not is_name)
        if word in self.ambiguous or (is_name and is_ordinary):
            return Kind.AMBIGUOUS
        if is_name or word in self.towns:
            return Kind.NAME
        if word in self.clinical:
            return Kind.ORDINARY
        is_formed = len(word) > 5 and word.endswith(self.suffixes)
        return Kind.COMMON if is_ordinary or is_formed or self._is_made_of_words(word) else Kind.UNKNOWN

    def lists(self, word: str) -> bool:
        """Whether a word stands in the lists of ordinary words itself, and is not only built like one."""
        return word in self.clinical or word in self.common

    def knows(self, word: str) -> bool:
        """Whether a word may be part of a compound."""
        return len(word) >= _PART_LETTERS and self.lists(word)

    def _is_made_of_words(self, word: str) -> bool:
        """Whether a word is a plural of a known one, or a German compound of known ones."""
        if word.endswith("s") and word[:-1] in self.clinical:
            return True
        if not self.has_compounds or len(word) < 2 * _PART_LETTERS or word.endswith(self.surname_endings):
            return False
        return _is_compound(word, self, 0)


def _is_compound(word: str, lexicon: Lexicon, depth: int) -> bool:
    """Whether a word is a chain of known words of four letters or more, joined by s, n or nothing."""
    for cut in range(len(word) - _PART_LETTERS, _PART_LETTERS - 1, -1):
        head, tail = word[:cut], word[cut:]
        if not (lexicon.knows(head) or (head[-1] in "sn" and lexicon.knows(head[:-1]))):
            continue
        if lexicon.knows(tail) or (len(tail) > 5 and tail.endswith(lexicon.suffixes)):
            return True
        if depth < 2 and len(tail) >= 2 * _PART_LETTERS and _is_compound(tail, lexicon, depth + 1):
            return True
    return False


@cache
def _book(name: str) -> dict[str, Any]:
    return tomllib.loads((RULES / "text" / f"{name}.toml").read_text(encoding="utf-8"))


def words_of(text: str) -> list[str]:
    """The folded words of a text."""
    return _TOKEN.findall(fold(text))


def phrases_of(text: str) -> list[tuple[str, ...]]:
    """Phrases separated by bars or lines, as folded words."""
    return [words for phrase in re.split(r"[|\n]", text) if (words := tuple(words_of(phrase)))]


_CUES = (
    ("names", "labels", "label"), ("names", "weak_labels", "weak_label"), ("names", "said_by", "said_by"), ("names", "near", "near"),
    ("institutions", "before", "institution_head"), ("institutions", "after", "institution_lead"),
    ("institutions", "brands", "institution_lead"), ("institutions", "insurers", "institution_brand"),
    ("institutions", "sure", "institution_sure"), ("institutions", "sure_labels", "institution_sure_label"),
    ("places", "sure", "place_sure"), ("places", "names", "place_name"),
    ("institutions", "labels", "institution_label"), ("institutions", "near", "institution_near"),
    ("places", "before", "place_near"), ("places", "labels", "place_label"),
    ("numbers", "ids", "id"), ("numbers", "phones", "phone"), ("dates", "birth_cues", "birth"),
)  # fmt: skip


_PROPER = frozenset(["institution_brand", "place_name"])
"""Kinds of cues that are proper words themselves."""


def _cues(books: Sequence[Mapping[str, Any]]) -> Phrases:
    found: dict[str, dict[tuple[tuple[str, ...], str], None]] = {}
    for book in books:
        for section, key, kind in _CUES:
            for words in phrases_of(book[section].get(key, "")):
                found.setdefault(words[0], {})[words, kind] = None
        for kind, key in (("title", "titles"), ("relative", "relatives")):
            for word in words_of(book["names"][key]):
                found.setdefault(word, {})[(word,), kind] = None
    return {first: tuple(sorted(rows, key=lambda r: -len(r[0]))) for first, rows in found.items()}


@cache
def _given() -> Mapping[str, str]:
    sexes: dict[str, str] = {}
    for lists in _book("names")["given"].values():
        for sex, text in lists.items():
            for name in words_of(text):
                sexes[name] = "x" if sexes.get(name, sex[0]) != sex[0] else sex[0]
    return sexes


# animals, places and people: Norwich terrier, Wiltshire horn sheep (organism), Friedman method, Dodd's vein
_PROPER_MEANING = re.compile(
    r"\b(?:breed|terrier|hound|setter|organism|sheep|cattle|zebu|poultry|country)\b|^\w+['’]s\b|"
    r"^[A-Z]\w+(?:[- ][A-Z]\w+)* (?:method|projection|view|position|technique|maneuver)\b"
)


@cache
def _concept_words() -> frozenset[str]:
    """Words of the code meanings that pydicom ships: SNOMED CT as DICOM uses it, DCM, RadLex and others."""
    from pydicom.sr._concepts_dict import concepts

    schemes: Any = concepts
    meanings = [
        entry[0] for scheme in schemes.values() for codes in scheme.values() for entry in codes.values()
    ]
    found: set[str] = set()
    for meaning in meanings:
        if _PROPER_MEANING.search(meaning):
            continue
        words = _TOKEN.findall(meaning)
        # a capital inside a meaning is an eponym's: May-Grünwald stain
        found.update(
            fold(w) for n, w in enumerate(words) if len(w) > 2 and w.isalpha() and (n == 0 or w.islower())
        )
    return frozenset(found)


@cache
def _finding_words() -> frozenset[str]:
    """Words of the findings lexicon, in all its languages."""
    folder = RULES.parent.parent / "findings"
    text = " ".join(path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.toml")))
    return frozenset(word for word in words_of(text) if len(word) > 2 and word.isalpha())


@cache
def _common(code: str) -> frozenset[str]:
    """Words of the general list of one language.

    Read as text and folded whole: a worker needs the lists at its first report, and pyspellchecker's own loading of
    {"word": count, …} takes a second, for an index of misspellings that nobody asks here.
    """
    spec = find_spec("spellchecker")
    path = Path(spec.origin or "").parent / "resources" / f"{code}.json.gz" if spec else None
    if path is None or not path.is_file():
        raise ConfigurationError("The general word lists are missing: pip install pyspellchecker==0.9.0")
    text = gzip.decompress(path.read_bytes()).decode().lower()
    for letter in sorted(set(text)):
        if not letter.isascii():
            text = text.replace(letter, fold_letter(letter))
    words, counts = text.split('"')[1::2], text.split('"')[2::2]
    least = _COMMON_MIN[code]
    if least:
        words = list(compress(words, (int(n.strip(": ,\r\n\t}")) > least for n in counts)))
    return frozenset(filter(str.isalpha, words))


def _street_nouns(books: Sequence[Mapping[str, Any]]) -> Mapping[str, str]:
    """Words for streets, folded, and the plainest of their language: a stand-in for 5 Kings Crescent is in a Street."""
    found: dict[str, str] = {}
    for book in books:
        addresses = book["addresses"]
        nouns = [
            n for key in ("street_after", "street_before") for n in addresses.get(key, "").split("|") if n
        ]
        found |= {word: nouns[0].capitalize() for noun in nouns for word in words_of(noun)}
    return found


@cache
def lexicon(code: str) -> Lexicon:
    """Words and cues of one of LANGUAGES, or of all together under ANY."""
    codes = LANGUAGES if code == ANY else (code,)
    books = [_book(c) for c in codes]
    general, names = _book("any"), _book("names")

    def gather(section: str, key: str) -> frozenset[str]:
        return frozenset(w for book in books for w in words_of(book.get(section, {}).get(key, "")))

    cues = _cues(books)
    own = (
        gather("words", "clinical")
        | gather("words", "parts")
        | gather("dates", "months")
        | gather("dates", "weekdays")
    )
    own |= frozenset(w for book in books for w in words_of(book["function_words"]))
    own |= frozenset(words_of(general["drugs"]))
    safe = frozenset(fold(word) for word in vocabulary().words)
    cue_words = frozenset(
        w for rows in cues.values() for words, kind in rows if kind not in _PROPER for w in words
    )
    surnames = frozenset(w for text in names["surnames"].values() for w in words_of(text) if len(w) > 1)
    given = _given()
    borrowed = (_concept_words() | _finding_words() | safe | cue_words) - surnames - frozenset(given)
    eponyms = frozenset(words_of(general["eponyms"]))
    return Lexicon(
        code=code,
        cues=cues,
        titles=gather("names", "titles"),
        credentials=gather("names", "credentials"),
        particles=gather("names", "particles"),
        not_names=gather("names", "not_names"),
        verbs=gather("names", "verbs"),
        auxiliaries=gather("names", "auxiliaries"),
        participles=gather("names", "participles"),
        given=given,
        names=surnames,
        ambiguous=frozenset(words_of(general["ambiguous"])),
        eponyms=eponyms - own,
        eponym_nouns=frozenset(words_of(general["eponym_nouns"])),
        clinical=own | borrowed,
        common=frozenset().union(*(_common(c) for c in codes)),
        towns=frozenset(words_of(names["towns"]["real"])) - own,
        kept_places=gather("places", "kept"),
        generic=gather("institutions", "generic"),
        joiners=gather("institutions", "joiners"),
        departments=gather("institutions", "departments"),
        nouns=gather("institutions", "before") | gather("institutions", "after"),
        street_nouns=_street_nouns(books),
        prepositions=gather("places", "prepositions"),
        institution_endings=tuple(sorted(gather("institutions", "endings"))),
        verb_endings=tuple(sorted(gather("words", "verb_endings"))) or ("\0",),
        suffixes=tuple(words_of(general["suffixes"])),
        surname_endings=tuple(words_of(general["surname_endings"])),
        nobody=frozenset(words_of(general["nobody"])),
        has_compounds="de" in codes,
        memo={},
    )


_SAMPLE_CHARACTERS = 20_000
_WORDS_MIN = 12  # below this many words a text shows no language
_SHARE_MIN = 0.08  # of function words, below which a text is in none of the known languages


@cache
def _function_words() -> Mapping[str, frozenset[str]]:
    return {code: frozenset(words_of(_book(code)["function_words"])) for code in LANGUAGES}


def detect_language(text: str) -> str | None:
    """One of LANGUAGES, by its function words; ANY where the text is too short to show one; None for another language."""
    sample = text[:_SAMPLE_CHARACTERS]
    words = [word for word in words_of(sample) if word.isalpha()]
    latin = sum(word.isascii() for word in words)
    if words and latin < len(words) * 0.8:
        return None
    hits = {code: sum(word in own for word in words) for code, own in _function_words().items()}
    best = max(hits, key=lambda code: hits[code])
    share = hits[best] / max(len(words), 1)
    if share >= _SHARE_MIN and sorted(hits.values())[-2] < hits[best]:
        return best
    if len(words) < _WORDS_MIN:
        return ANY
    clinical = {code: sum(lexicon(code).kind(w) <= Kind.AMBIGUOUS for w in words) for code in LANGUAGES}
    known = max(clinical, key=lambda code: clinical[code])
    return known if clinical[known] >= len(words) * _KNOWN_MIN else None


_KNOWN_MIN = 0.7  # of words, where a telegraphic text has few function words


def patterns() -> tuple[tuple[str, str, re.Pattern[str]], ...]:
    """Forms of numbers and addresses in any language: category, a character the text must hold, the pattern."""
    return _patterns()


@cache
def _patterns() -> tuple[tuple[str, str, re.Pattern[str]], ...]:
    words = "(?i:" + "|".join(words_of(_book("any")["abbreviations"])) + ")"
    return tuple(
        (row["category"], row.get("needs", ""), re.compile(row["find"].replace("<abbreviations>", words)))
        for row in _book("any")["pattern"]
    )


def book(code: str) -> Mapping[str, Any]:
    """The rules of one language as its file says them."""
    return _book(code)


def iter_books(code: str) -> Iterable[Mapping[str, Any]]:
    """The rules of one language, or of all."""
    return [_book(c) for c in (LANGUAGES if code == ANY else (code,))]
