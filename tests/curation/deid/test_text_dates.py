"""Dates and old ages in report text: each written form, moved by the patient's offset and written back in the same form."""

from datetime import date, timedelta

import pytest

from curation.deid.text import clean_text
from tests.curation.deid.objects import pseudonyms
from tests.curation.deid.test_text import OFFSET, PATIENT, identity, tagged

LANGUAGES = {
    "en": "There is no fracture of the left hip and the lungs are clear. {} The heart is normal in size without effusion.",
    "de": "Es zeigt sich kein Nachweis einer Fraktur und die Lunge ist frei. {} Das Herz ist nicht vergrößert und ohne Erguss.",
    "es": "No se observan signos de fractura en la cadera y el pulmón es normal. {} El corazón es de tamaño normal y sin derrame.",
    "fr": "Il n'y a pas de fracture de la hanche et les poumons sont clairs. {} Le coeur est de taille normale et sans épanchement.",
}
NOBODY = identity(names=(), patient_id="", accession="", other=(), birth_date="", study_uid="")
MONTHS = {
    "en": [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ],
    "de": [
        "Januar",
        "Februar",
        "März",
        "April",
        "Mai",
        "Juni",
        "Juli",
        "August",
        "September",
        "Oktober",
        "November",
        "Dezember",
    ],
    "es": [
        "enero",
        "febrero",
        "marzo",
        "abril",
        "mayo",
        "junio",
        "julio",
        "agosto",
        "septiembre",
        "octubre",
        "noviembre",
        "diciembre",
    ],
    "fr": [
        "janvier",
        "février",
        "mars",
        "avril",
        "mai",
        "juin",
        "juillet",
        "août",
        "septembre",
        "octobre",
        "novembre",
        "décembre",
    ],
}
SHORT = {
    "en": ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"],
    "de": ["Jan", "Feb", "Mär", "Apr", "Mai", "Jun", "Jul", "Aug", "Sep", "Okt", "Nov", "Dez"],
    "es": ["ene", "feb", "mar", "abr", "may", "jun", "jul", "ago", "sep", "oct", "nov", "dic"],
    "fr": ["janv", "févr", "mars", "avr", "mai", "juin", "juil", "août", "sept", "oct", "nov", "déc"],
}
WEEKDAYS = {
    "en": ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"],
    "de": ["Mo", "Di", "Mi", "Do", "Fr", "Sa", "So"],
    "es": ["lunes", "martes", "miércoles", "jueves", "viernes", "sábado", "domingo"],
    "fr": ["lun", "mar", "mer", "jeu", "ven", "sam", "dim"],
}


def cleaned(language: str, piece: str) -> str:
    """The piece of a report of that language, cleaned; what stands around it must stay as it is."""
    before, after = LANGUAGES[language].split("{}")
    found = clean_text(f"{before}{piece}{after}", NOBODY, tagged("research"), pseudonyms(), PATIENT)
    assert found.language == language
    assert found.text.startswith(before) and found.text.endswith(after)
    return found.text[len(before) : len(found.text) - len(after)]


def written(form: str, language: str, day: date) -> str:
    """The day in a form of strftime's codes, with the words of the language; %1 is 1er in French."""
    first = "1er" if day.day == 1 and language == "fr" else str(day.day)
    return (
        form.replace("%B", MONTHS[language][day.month - 1])
        .replace("%b", SHORT[language][day.month - 1])
        .replace("%a", WEEKDAYS[language][day.weekday()])
        .replace("%-d", str(day.day))
        .replace("%-m", str(day.month))
        .replace("%1", first)
        .replace("%d", f"{day.day:02d}")
        .replace("%m", f"{day.month:02d}")
        .replace("%Y", str(day.year))
        .replace("%y", f"{day.year % 100:02d}")
    )


FORMS = [
    ("en", "Scan of %Y-%m-%dT14:30:00, clear."),
    ("en", "Scan of %Y%m%d143000, clear."),
    ("en", "Scan of %b/%d/%Y, clear."),
    ("en", "Scan of %a %b %-d %Y, clear."),
    ("en", "Scan of %Y-%b-%d, clear."),
    ("en", "Scan of %d-%b-%Y, clear."),
    ("en", "Scans of %m/%d/%Y@1430, clear."),
    ("de", "CT vom %-d.%-m.; Datum %d.%m.%Y."),
    ("de", "CT vom %d.%m.%Y/14:30 ohne Befund."),
    ("de", "CT vom %-dten %B %Y ohne Befund."),
    ("de", "CT vom %-d. %B des Jahres %Y ohne Befund."),
    ("de", "CT vom %d.%m.'%y ohne Befund."),
    ("de", "CT vom %a, den %d.%m.%Y ohne Befund."),
    ("es", "TC del %a %-d de %B del año %Y sin cambios."),
    ("es", "TC del %d/%b/%Y sin cambios."),
    ("fr", "Scanner du %1 %B %Y sans changement."),
    ("fr", "Scanner du %a. %d/%m/%Y sans changement."),
    ("fr", "Scanner du %1 %B de l'année %Y sans changement."),
    ("fr", "Scanner du %1 %B, fait le %d/%m/%Y."),
]


@pytest.mark.parametrize(("language", "form"), FORMS)
@pytest.mark.parametrize("day", [date(2019, 3, 25), date(2021, 11, 1), date(2022, 6, 27)])
def test_each_form_moves_and_stays(language: str, form: str, day: date) -> None:
    moved = day + timedelta(days=OFFSET)
    if moved.day < 10 and day.day >= 10 and "%-d" in form:
        pytest.skip("the width of a day above nine shows no leading zero")
    assert cleaned(language, written(form, language, day)) == written(form, language, moved)


@pytest.mark.parametrize("day", [date(2019, 3, 25), date(2016, 6, 2)])
@pytest.mark.parametrize(
    ("language", "form"),
    [
        ("en", "Surgery in %b '%y."),
        ("de", "Operation im %m/%y."),
        ("es", "Cirugía en %b-%y."),
        ("de", "am %B %Y erfolgt."),
    ],
)
def test_months_without_a_day_move(language: str, form: str, day: date) -> None:
    found = cleaned(language, written(form, language, day))
    near = [day + timedelta(days=OFFSET + n) for n in (-16, 0, 16)]
    assert found in [written(form, language, d) for d in near]


def test_widths_follow_the_other_dates_of_the_text() -> None:
    days = [date(2019, 11, 25), date(2019, 5, 3)]
    moved = [d + timedelta(days=OFFSET) for d in days]
    found = cleaned("en", " and ".join(f"{d.month}/{d.day}/{d.year}" for d in days))
    assert found == " and ".join(f"{d.month}/{d.day}/{d.year}" for d in moved)


RANGES = [
    ("en", "Admitted %B %-d", " - %B %-d, %Y."),
    ("en", "Treated %m/%d/%Y", "-%m/%d/%Y."),
    ("de", "Stationär vom %d. %B", " bis %d. %B %Y."),
    ("de", "Stationär am %d.%m.", "/%d.%m.%Y."),
    ("es", "Ingreso entre el %d de %B", " y el %d de %B de %Y."),
    ("fr", "Séjour du %d/%m/%Y", " au %d/%m/%Y."),
]


@pytest.mark.parametrize(("language", "first", "second"), RANGES)
def test_both_ends_of_a_range_move(language: str, first: str, second: str) -> None:
    begin, end = date(2019, 3, 25), date(2019, 3, 29)
    moved = [d + timedelta(days=OFFSET) for d in (begin, end)]
    found = cleaned(language, written(first, language, begin) + written(second, language, end))
    assert found == written(first, language, moved[0]) + written(second, language, moved[1])


@pytest.mark.parametrize(
    ("language", "text", "years"),
    [
        ("en", "MRI of {}, {} and {}.", 3),
        ("en", "Hysterectomy ({}).", 1),
        ("en", "Hip replacement, {}; the {} CT.", 2),
        ("de", "Erstdiagnose {}, seit Weihnachten {}.", 2),
        ("es", "TC {}, cirugía ({}).", 2),
        ("fr", "PTH {}, opéré en {} et {}.", 3),
    ],
)
def test_years_beside_what_was_done_move(language: str, text: str, years: int) -> None:
    change = round(OFFSET / 365.25)
    written_years = [2012 + 2 * n for n in range(years)]
    assert cleaned(language, text.format(*written_years)) == text.format(*(y + change for y in written_years))


@pytest.mark.parametrize(
    "text", ["Fleischner 2017 criteria.", "TR 2000, TE 2010.", "WHO 2021 grade 2.", "T 2000 units."]
)
def test_other_numbers_are_no_years(text: str) -> None:
    assert cleaned("en", text) == text


AGES = [
    ("en", "97yo M fell.", "over 89 yo M fell."),
    ("en", "Age: 093Y.", "Age: over 89 Y."),
    ("en", "A woman in her nineties.", "A woman in her over 89."),
    ("en", "A man in his mid-90s.", "A man in his mid-over 89."),
    ("en", "The patient is 92, alert.", "The patient is over 89, alert."),
    ("en", "He just turned 95.", "He just turned over 89."),
    ("en", "Female, 92, with a fall.", "Female, over 89, with a fall."),
    ("en", "A one-hundred-and-two year old man.", "A over 89 year old man."),
    ("de", "91jähriger Patient.", "über 89-jähriger Patient."),
    ("de", "Die fünfundneunzigjährige Frau.", "Die über 89-jährige Frau."),
    ("de", "Im 94. Lebensjahr.", "Im über 89. Lebensjahr."),
    ("es", "Mujer de noventa y dos años.", "Mujer de más de 89 años."),
    ("es", "Varón de 91a.", "Varón de más de 89 a."),
    ("fr", "Homme de quatre-vingt-treize ans.", "Homme de plus de 89 ans."),
    ("fr", "Dans sa 95e année.", "Dans sa plus de 89 e année."),
]


@pytest.mark.parametrize(("language", "text", "expected"), AGES)
def test_each_wording_of_an_old_age_says_no_more(language: str, text: str, expected: str) -> None:
    assert cleaned(language, text) == expected


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "Heart rate 92 bpm, saturation 95 %, slice 93 of 120, creatinine 93."),
        ("en", "Cobb angle 91 degrees; 95th percentile; 100 cases; 92 mm."),
        ("de", "Herzfrequenz 92/min, EF 93 %, Bild 95 von 120, 94 mm."),
        ("es", "Frecuencia 92 lpm, imagen 93, corte 95 de 120."),
        ("fr", "Fréquence 92 bpm, image 93, coupe 95 sur 120."),
    ],
)
def test_other_numbers_are_no_ages(language: str, text: str) -> None:
    assert cleaned(language, text) == text
