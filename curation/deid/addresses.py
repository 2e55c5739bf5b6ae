"""Streets and what stands around them: number, floor, post code and town, boxes and country roads.

What belongs here: the forms of an address in each country. What does not: towns and institutions (places), post codes
by themselves (rules/text/any.toml), the words for streets (rules/text/, section addresses).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from curation.deid.calendar_words import calendar
from curation.deid.lexicon import iter_books, words_of
from curation.deid.spans import CONTEXT, Span

_SHORT_LETTERS = 4
_FLOOR = r"(?:[ ]*[,.-]?[ ]*(?:\d{1,2}[ ]?[ºª°]?[ ]?[A-Za-z]?(?!\w|[.,]\d)|[A-Z](?!\w)|\d?(?i:izda|izq|dcha|dch|der|drcha|bajo|ático|atico|piso|puerta|pta|portal|esc|escalera|bloque|planta|local|chalet|edf|edificio)\.?(?:[ ]\w{1,4}(?!\w))?)){0,5}"
_CAP = r"(?:(?:Jr|Sr|St|Ste|Dr|Dra|Av|Gen|Gral|Sta|Sto|Mt|Ft|Prof|[A-Z])\.|[A-ZÀ-ÖØ-Þ][\w'’-]{0,30})"
_NUMBER = r"\d{1,5}(?:[ ]?[a-zA-Z](?!\w))?(?:[ ]?[-/][ ]?\d{1,4})?"


@cache
def _street_patterns(code: str) -> tuple[re.Pattern[str], ...]:
    found = []
    for book in iter_books(code):
        found += [re.compile(p) for p in _street_forms(book)]
    return tuple(found)


def _street_forms(book: Mapping[str, Any]) -> Iterator[str]:
    after = "|".join(w for w in book["addresses"].get("street_after", "").split("|") if w)
    words = [w for w in book["addresses"].get("street_before", "").split("|") if w]
    # a dot after a short word shortens it; after a whole one it ends a sentence
    before = "|".join(
        re.escape(w) + (r"\.?" if len(w) <= _SHORT_LETTERS else "")
        for w in sorted(words, key=len, reverse=True)
    )
    if book["code"] == "en":
        unit = r"(?:,?[ ]*(?:(?i:apt|apartment|suite|ste|unit|flat|floor|room|rm|bldg)\.?[ ]*|\#[ ]?)[\w-]{1,6})?"
        yield rf"\b(?P<x>(?:(?i:flat|apt|apartment|suite|unit)[ ]\w{{1,5}},?[ ])?\d{{1,5}}(?:-?[A-Za-z])?,?[ ]+(?:(?:N|S|E|W|NE|NW|SE|SW|North|South|East|West)\.?[ ]+)?(?:(?:{_CAP}|\d{{1,3}}(?:st|nd|rd|th))[ ]+){{1,4}}(?i:{after})\b\.?{unit}(?:,[ ]*{_CAP}(?:[ ]{_CAP}){{0,2}}(?:,[ ]*[A-Z]{{2}})?(?:[ ]+\d{{5}}(?:-\d{{4}})?)?)?)"
        yield r"(?P<x>\b(?i:rural route|county road|county highway|state route|highway|hwy|route|rr|fm)[ ]\d{1,4},?[ ]+(?i:box|lot|mile|unit)[ ]\d{1,5}[A-Za-z]?)\b"
        yield r"(?P<x>\b(?i:county road|county highway|state route|rural route)[ ]\d{1,4})\b"
        yield rf"\b(?P<x>\d{{1,5}}[ ]+(?i:via|calle|rue|camino|el camino|avenida|paseo|rancho)(?:[ ](?i:del|de|la|las|los|el)){{0,2}}(?:[ ]{_CAP}){{1,3}}{unit})"
        yield rf"\b(?P<x>\d{{1,5}}[ ]+(?:(?i:north|south|east|west|n|s|e|w)\.?[ ]+)?\d{{1,3}}(?i:st|nd|rd|th)[ ]+(?i:{after})\b\.?{unit})"
        yield rf"\b(?P<x>\d{{1,5}}[ ]+(?i:(?:state |county |us |u\.s\. )?(?:highway|hwy|route|road|interstate))[ ]\d{{1,4}}(?:[ ](?i:north|south|east|west|n|s|e|w)\b)?{unit})"
        yield rf"\b(?i:on|at|near|in|of|off|from|address:)[ ](?P<x>(?:{_CAP}[ ]){{1,3}}(?:Street|Road|Avenue|Lane|Boulevard|Drive|Terrace|Crescent|Close|Parkway|St\.|Rd\.?|Ave\.?|Blvd\.?)(?!\w)(?:,[ ]{_CAP}(?:[ ]{_CAP})?)?)"
        yield rf"(?P<x>\b(?:{_CAP}[ ]){{1,2}}(?:Cottage|House|Lodge|Farm|Court|Manor),[ ](?:{_CAP}[ ]){{1,3}}(?i:{after})\b(?:,[ ]{_CAP}(?:[ ]{_CAP})?)?)"
        yield rf"(?P<x>\b{_CAP},?[ ](?:NSW|VIC|QLD|WA|SA|TAS|ACT|NT)[ ]\d{{4}})\b"
    if book["code"] == "de":
        yield r"(?i:wohnhaft|wohnt|wohnend|adresse:|anschrift:)[ ](?:in[ ]|im[ ])?(?P<x>[A-ZÄÖÜ][\wäöüß.-]{1,30}(?:[ ][A-ZÄÖÜa-zäöü][\wäöüß.-]{1,30}){0,3}[ ]\d{1,4}[ ]?[a-z]?(?!\w))"
        yield r"(?P<x>\b(?:[A-ZÄÖÜ][\wäöüß]{0,20}\.?-){1,4}(?:Straße|Strasse|Str\.|Platz|Weg|Allee|Ring|Ufer|Damm|Gasse)[ ]?\d{1,4}(?:[ ]?[-/][ ]?\d{1,4})?(?:[ ]?[a-z](?!\w))?)"
        yield r"(?P<x>\b(?:Straße|Platz|Allee|Weg)[ ](?:des|der|am|zum|zur)[ ](?:\d{1,2}\.[ ])?[A-ZÄÖÜ][\wäöüß]{1,30}[ ]\d{1,4}(?:[ ]?[a-z](?!\w))?)"
        yield r"(?P<x>\b[A-ZÄÖÜ][a-zäöüß-]{3,30}(?:stra(?:ß|ss)e|gasse|allee)(?!\w)(?:[ ]\d{1,4}[a-z]?(?!\w))?)"
        yield r"(?P<x>\b[A-ZÄÖÜ][\wäöüß-]{2,30}er[ ](?:Straße|Strasse|Str\.|Platz|Weg|Allee|Ring|Ufer|Damm|Gürtel|Kai|Lände|Chaussee|Landstraße|Landstr\.)[ ]\d{1,4}(?:[ ]?[-/][ ]?\d{1,4})?(?:[ ]?[a-z](?!\w))?)"
        yield rf"(?P<x>\b(?:{_CAP}[ ]){{1,3}}\d{{1,4}}[ ]?[a-z]?,[ ](?:(?:D|A|CH)-)?\d{{4,5}}[ ]{_CAP})"
        yield r"(?:(?i:straße|str\.|weg|platz|allee|gasse|ring|gürtel)[ ]\d{1,4}[ ]?[a-z]?|\d{1,4}[a-z]?),[ ]*(?P<x>(?:(?:Hinterhaus|Vorderhaus|HH|VH|Hofgebäude|Seitenflügel|\d\.[ ]?(?:OG|UG|Stock|Etage|Obergeschoss)|EG|DG|Whg\.?[ ]?\d*|Wohnung[ ]\d+|Top[ ]\d+|OT[ ][A-ZÄÖÜ]\w+)(?:,[ ]*)?){1,3})"
        yield rf"(?P<x>\b(?:(?:[Aa]m|[Aa]n der|[Ii]m|[Zz]um|[Zz]ur|[Aa]uf der|[Aa]uf dem|[Ii]n der|[Uu]nter den|[Aa]lte[r]?|[Nn]eue[r]?)[ ]{_CAP}(?:[ ]{_CAP})?|[A-ZÄÖÜ][\wäöüß-]{{1,30}}(?i:{after})\b\.?|(?:{_CAP}[ -]){{1,3}}(?i:straße|strasse|str|weg|platz|allee|gasse|ring|ufer|damm)\b\.?)[ ]+\d{{1,4}}[ ]?[a-z]?(?!\w)(?!\.\d)(?![ ]?(?:mm|cm|ml))(?:,?[ ]+(?:in[ ]+)?(?:(?:D|A|CH)[- ]?)?\d{{4,5}}[ ]+{_CAP}(?:[ ](?:am|an der|im)[ ]{_CAP})?)?)"
    if book["code"] == "es":
        yield rf"(?P<x>(?<!\w)(?i:{before})(?:[ ]+|(?<=[/.])|(?<=/[ ]))(?:(?:de|del|la|las|los|el|D\.|Dr\.|Dra\.|San|Santa)[ ]+){{0,3}}{_CAP}(?:[ ]+(?:(?:de|del|la|las|los|y|e)[ ]+){{0,2}}{_CAP}){{0,4}}(?:[ ]*,?[ ]*(?:(?i:nº|n°|n\.º|núm\.?|número|no\.?|s/n)[ ]*)?(?:{_NUMBER}))?(?:[ ]*[,-][ ]*(?:\d{{1,2}}[ºª°]?[ ]?(?:[A-Za-z]{{0,3}}|[Dd]cha|[Ii]zda|[Ii]zq|[Dd]er)\.?(?!\w)|(?i:piso|bajo|ático|puerta|esc(?:alera)?\.?|izda\.?|dcha\.?|portal|bloque)[ ]?\w{{0,4}}\.?)){{0,4}}(?:,?[ ]+\d{{5}}(?:[ ]+{_CAP}(?:[ ]{_CAP}){{0,2}})?)?)"
        yield r"(?P<x>(?<!\w)(?:Calle|C/|Avenida|Avda?\.?|Av\.|Paseo|Pso\.?|Plaza|Pza\.?|Ronda|Travesía|Carretera|Ctra\.?)[ ]?(?:[^\W\d_]{1,20}\.?[ ]){1,5}(?:,[ ]?|nº[ ]?)?\d{1,4}(?!\w|[.,]\d|[ ]?(?:mm|cm)))"
        yield rf"(?P<x>(?<!\w)(?:(?:[Cc]alle|CALLE|[Cc]/[ ]?|[Aa]v(?:en)?i?da?\.?|[Aa]v\.?|[Pp]aseo|P(?:so|\.?º)\.?|[Pp]laza|Pza\.?|Pl\.|[Rr]onda|[Tt]ravesía|[Cc]arretera|Ctra\.?|[Cc]amino|[Cc]tra\.?|Gran Vía|[Rr]úa|[Pp]asaje|[Rr]ambla|[Cc]arrer|[Uu]rbanización|Urb\.|[Pp]araje|[Pp]artida|[Bb]arrio|[Aa]lameda|[Cc]uesta|[Gg]lorieta|[Cc]arrera|[Cc]alzada)[ /]{{0,2}})(?:(?:[^\W\d_]|['’´])[\w'’´-]{{0,25}}\.?[ ]){{0,7}}[^\W\d_][\w'’´-]{{0,25}}\.?(?:,?[ ]|,)(?:(?:nº|n°|n\.º|núm\.?|número|numero|no\.?|km\.?)[ ]*)?(?:\d{{1,4}}(?:[.,]\d{{1,3}})?(?!\d)(?:[ ]?[-/][ ]?\d{{1,4}})?[A-Za-z]?(?!\w)|s/n){_FLOOR})"
        yield r"(?P<x>(?<!\w)(?:[Cc]alle|[Cc]arrera|[Cc]ra\.?|[Cc]l\.?|[Dd]iagonal|[Tt]ransversal)[ ]\d{1,3}[A-Za-z]?[ ](?:#|[Nn]o\.?|[Nn]úmero|[Nn]umero|[Nn]º)[ ]?\d{1,3}[A-Za-z]?[ ]?-[ ]?\d{1,4})"
    if book["code"] == "fr":
        yield rf"(?P<x>\b(?:[Ll]ieu[ -]dit|LIEU[ -]DIT)[ ]{_CAP}(?:[ -]{_CAP}){{0,3}}(?:,[ ]\d{{5}}[ ]{_CAP}(?:[ -]{_CAP}){{0,3}})?)"
        yield rf"(?P<x>\b(?:[Bb]ât(?:iment|\.)?|[Ee]sc(?:alier|\.)|[Aa]pp(?:artement|t|t\.|\.)|[ÉEée]tage|[Rr]ésidence)[ ]\w{{1,12}},[ ](?:(?:[Bb]ât(?:iment|\.)?|[Ee]sc(?:alier|\.)|[Aa]pp(?:artement|t|t\.|\.)|[Éée]tage)[ ]\w{{1,4}},?[ ])?(?=\d|{_CAP}))"
        yield rf"(?P<x>\b{_CAP}(?:[ -](?:les|des|du|de|la)?[ ]?{_CAP}){{0,3}}(?:,[ ](?:[Bb]ât|[Ee]sc|[Aa]pp)\w*\.?[ ]\w{{1,4}}){{1,3}}(?:,[ ]\d{{5}}[ ]{_CAP})?)"
        yield rf"(?P<x>\b\d{{1,4}}(?:[ ]?(?i:bis|ter|quater))?,?[ ]+(?i:{before})[ ]+(?:(?:de|du|des|la|le|les|l['’]|d['’]|et|aux?|en|sur|Saint|Sainte|St|Ste|\d{{1,2}})[ -]?){{0,4}}{_CAP}(?:[ -](?:(?:de|du|des|la|le|les|sous|sur|et|l['’]|d['’])[ -]?){{0,2}}{_CAP}){{0,4}}(?:,?[ ]+\d{{5}}(?:[ ]+{_CAP}(?:[ -](?:(?:sur|sous|en|le|la|les|de|du)[ -])?{_CAP}){{0,3}})?)?)"
        yield rf"(?P<x>\b(?i:rue|avenue|boulevard|place|chemin|impasse|allée|quai|route)[ ]+(?:(?:de|du|des|la|le|les|l['’]|d['’])[ ]?){{0,3}}{_CAP}(?:[ -]{_CAP}){{0,3}}(?:[ ]\d{{1,3}}[a-z]?(?!\w|[.,]\d|[ ]?(?:mm|cm|ml))(?:,[ ](?:CH-|L-|B-)?\d{{4}}[ ]{_CAP}(?:[ -]{_CAP})?)?)?)"


# a post code: before a town, or behind a house number
_POST_CODE = re.compile(
    r"(?<![\w./-])(?:[A-Z]{1,2}-)?\d{5}(?:(?=[ .,–-]{1,3}[A-ZÄÖÜÉÁ][\wäöüßéáíóú'’-]{2})|(?=\.?(?:[ ,]|$)))(?![.,]\d)"
)
_HOUSE = re.compile(
    r"(?:(?<![\d.])\d{1,4}[ºª°]?[ ]?[A-Za-z]{0,3}(?:[ ]?[-/][ ]?\w{1,3})?|s/n|S/N|[Ii]zq\w*|[Dd]cha|[Bb]ajo|(?<=[ ,])[A-Z])[ ,.–-]{0,4}\n?[ ]{0,8}$"
)
_BREAK = re.compile(
    r"(?<![ .](?:[A-Z]|n))(?<!(?:St|Dr|Av|C/|Pl|nº))\.[ ]|[:;\t\n]|[ ]{3}|(?<=[^\W\d]),[ ](?=[a-zà-ÿ]{3,}[ ])|(?<=[a-zà-ÿ]),[ ](?=(?:[A-Z]\w+[ ]){0,3}[A-Z][\w]+,[ ]\d)"
)
_LEAD = re.compile(
    r"(?:(?!calle|rue|avenida|plaza|paseo|chemin|place|avenue|allée|c/)[a-zà-ÿ]{2,20}[ ]){1,4}(?=[A-ZÀ-Þ\d])"
)
_MEASURE = re.compile(r"\d[ ]?(?:mm|cm|ml|mg|hu|kv|mas|%)\b", re.IGNORECASE)
_LONGEST = 70


def _before_post_codes(text: str) -> Iterator[Span]:
    """What stands before a post code and ends in a house number is a street, whatever it is called."""
    for match in _POST_CODE.finditer(text):
        low = max(match.start() - _LONGEST, 0)
        house = _HOUSE.search(text, low, match.start())
        if house is None:
            continue
        start = max((m.end() for m in _BREAK.finditer(text, low, house.start())), default=low)
        # `wohnhaft Lindenweg 4, 12345 …`: what leads to the street is no part of it
        lead = _LEAD.match(text, start, house.start())
        start = lead.end() if lead else start
        before = text[start : match.start()]
        if (start == low and low) or _MEASURE.search(before) or not before[:1].strip().isalnum():
            continue
        yield Span(start, match.end(), "ADDRESS", CONTEXT)


_YEAR = re.compile(r"(?:19|20)\d\d")


def find_addresses(text: str, code: str) -> Iterator[Span]:
    """Spans of addresses."""
    months = calendar(code).months
    for pattern in _street_patterns(code):
        for match in pattern.finditer(text):
            words = words_of(match["x"])
            # am Juli 2014, im Frühjahr 2018
            is_date = any(w in months for w in words[:2]) or (len(words) < 4 and _YEAR.fullmatch(words[-1]))
            if not is_date:
                yield Span(*match.span("x"), "ADDRESS", CONTEXT)
    yield from _before_post_codes(text)
