"""Numbers of persons, orders and things in report text, by the words before them; measurements beside them stay."""

import pytest

from tests.curation.deid.test_text_dates import cleaned

NUMBERS = [
    ("en", "SSN ending «4471»."),
    ("en", "Film no. «A 4471» seen."),
    ("en", "job «#88412»"),
    ("en", "registration «LK19 XTV»"),
    ("en", "Policy «XJH 882 119 03»"),
    ("en", "employee number «20-881»"),
    ("en", "card «4111 1111 1111 1111»"),
    ("de", "Rö.-Nr. «4471/19»"),
    ("de", "Röntgen-Nr. «R 2019 771»"),
    ("de", "Kennzeichen «HD-AB 4471»"),
    ("de", "Az. «4 O 117/22»"),
    ("de", "Archivnr. «B 4471»"),
    ("de", "Durchwahl «-447»"),
    ("de", "Tel. intern «4471»"),
    ("es", "Nº de placa «4471»"),
    ("es", "Folio «44712»"),
    ("es", "matrícula «4471 KLM»"),
    ("fr", "n° de cliché «4471»"),
    ("fr", "numéro de série : «GLX 4412»"),
    ("fr", "plaque «AB 447 CD»"),
    ("fr", "n° quelconque, soit n° «22/4471»"),
]


@pytest.mark.parametrize(("language", "text"), NUMBERS)
def test_numbers_go_with_the_words_before_them_left(language: str, text: str) -> None:
    before, rest = text.split("«")
    number, after = rest.split("»")
    found = cleaned(language, before + number + after)
    assert found.startswith(before.rstrip("# -")) and found.endswith(after)
    assert not any(
        part in found for part in number.replace("/", " ").replace("-", " ").split() if len(part) > 2
    )


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "Series 5 image 3305. TR 500 TE 15 FOV 240. 120 kVp."),
        ("en", "Image number 93. Order of magnitude. Plate 12 mm. Film of 120 kV."),
        ("de", "Serie 4, Bild 1204. Nr. 3 der Liste. Leitlinie Nr. 2021."),
        ("es", "Placa de 300 mm. Corte nº 93. Muestra de tejido."),
        ("fr", "Plaque de 120 mm. Coupe n° 93. Passage de contraste."),
    ],
)
def test_other_numbers_stay(language: str, text: str) -> None:
    assert cleaned(language, text) == text
