"""Institutions, places and addresses in report text, in the forms of four countries; clinical words beside them stay."""

import pytest

from curation.deid.lexicon import lexicon
from curation.deid.standins import StandIns
from tests.curation.deid.objects import pseudonyms
from tests.curation.deid.test_text import PATIENT
from tests.curation.deid.test_text_dates import cleaned

PLACES = [
    ("en", "Insurance: «Blue Cross Blue Shield».", "INSTITUTION"),
    ("en", "Transferred from «UCSF».", "INSTITUTION"),
    ("en", "Resident of «Maple Grove Retirement Community».", "INSTITUTION PLACE"),
    ("en", "Seen at «Queen's Medical Centre».", "INSTITUTION"),
    ("fr", "Domicile : «Chemin des Vignes 12, 1020 Renens».", "ADDRESS"),
    ("en", "Works at «Brightwater Logistics».", "INSTITUTION"),
    ("en", "He lives alone in «New Haven».", "PLACE"),
    ("en", "CT was seen in «Tacoma» last year.", "PLACE NAME"),
    ("en", "«Rural Route 2, Box 118»", "ADDRESS"),
    ("en", "ZIP code: «60614».", "ADDRESS"),
    ("en", "«7 Station Approach», second floor.", "ADDRESS"),
    ("de", "CT im «KKH Perleberg».", "INSTITUTION"),
    ("de", "CT im «Klinikum rechts der Isar».", "INSTITUTION"),
    ("de", "Krankenkasse: «AOK Plus».", "INSTITUTION"),
    ("de", "Er arbeitet bei «Siemens Energy».", "INSTITUTION"),
    ("de", "Sie stammt aus «Aleppo».", "PLACE"),
    ("de", "wohnt in der «Mozartstraße».", "ADDRESS PLACE"),
    ("de", "«Bgm.-Schmidt-Str. 4»", "ADDRESS"),
    ("de", "«Straße des 17. Juni 135»", "ADDRESS"),
    ("de", "PLZ: «04109».", "ADDRESS"),
    ("es", "Trabaja en «Seat Martorell».", "INSTITUTION"),
    ("es", "Seguro: «IMSS».", "INSTITUTION"),
    ("es", "Vive en «Torrelodones».", "PLACE"),
    ("es", "viaje reciente a «Punta Cana».", "PLACE"),
    ("es", "Domicilio: «calle de los olivos, 13, 2ºB».", "ADDRESS"),
    ("es", "«carrer d'Aragó 255»", "ADDRESS"),
    ("es", "CP: «41013».", "ADDRESS"),
    ("es", "Servicio de Urología. «Xubias de Arriba, 84 15006 La Coruña».", "ADDRESS"),
    ("es", "Estudio del «Hospital General Universitario».", "INSTITUTION"),
    ("de", "Kontrolle in «8091 Zürich».", "ADDRESS"),
    ("de", "Frau, wohnhaft «Am Hang 12, 50667 Köln».", "ADDRESS"),
    ("fr", "Employé à la «SNCF».", "INSTITUTION"),
    ("fr", "Mutuelle : «MGEN».", "INSTITUTION"),
    ("fr", "séjour à «Madagascar».", "PLACE"),
    ("fr", "résidant à «La Roche-sur-Yon».", "PLACE"),
    ("fr", "«Lieu-dit Kermorvan, 29217 Plougonvelin».", "ADDRESS"),
]


@pytest.mark.parametrize(("language", "text", "categories"), PLACES)
def test_places_go_whole(language: str, text: str, categories: str) -> None:
    before, rest = text.split("«")
    _, after = rest.split("»")
    assert cleaned(language, text.replace("«", "").replace("»", "")) in [
        f"{before}[{category}]{after}" for category in categories.split()
    ]


KEPT = [
    ("en", "Hospital course uneventful. Transferred from the ICU. Seen in Radiology. In the Axial plane."),
    ("en", "Court of law; 2 Way stopcock; from L1 to S1; order of magnitude; lives in a nursing home."),
    ("de", "Im Klinikum keine Auffälligkeiten. Klinik und Labor passen. Kreis der Differentialdiagnosen."),
    ("de", "Rechtes Haus. Herzhöhlen normal. Zentrum für Radiologie. Sturz in häuslicher Umgebung."),
    ("es", "Paseo. En decúbito. Clínica de dolor. Unidad de Cuidados Intensivos. CD 34, CP normal, CK 12."),
    ("fr", "Place du cathéter. Clinique évocatrice. Hospitalisé en réanimation. Grade 3/4. 3 place."),
]


@pytest.mark.parametrize(("language", "text"), KEPT)
def test_clinical_words_beside_such_nouns_stay(language: str, text: str) -> None:
    assert cleaned(language, text) == text


@pytest.mark.parametrize(
    ("language", "institution", "noun"),
    [
        ("es", "Complejo Hospitalario Universitario de Albacete", ""),
        ("es", "Hospital General Universitario de Elche", "Hospital "),
        ("en", "Mercy Falls Regional Medical Center", " Center"),
        ("de", "Marienhospital Euskirchen", ""),
    ],
)
def test_a_stand_in_of_an_institution_keeps_its_kind_alone(
    language: str, institution: str, noun: str
) -> None:
    stand_in = StandIns(pseudonyms(), PATIENT, lexicon(language), {}, frozenset()).of(
        "INSTITUTION", institution
    )
    assert noun in stand_in
    assert set(stand_in.lower().split()) & set(institution.lower().split()) <= {noun.strip().lower()}


def test_a_stand_in_of_a_street_keeps_no_word_of_its_name() -> None:
    stand_in = StandIns(pseudonyms(), PATIENT, lexicon("es"), {}, frozenset()).of(
        "ADDRESS", "calle portero del cura 94"
    )
    assert "calle" in stand_in and "del" in stand_in
    assert not set(stand_in.split()) & {"portero", "cura", "94"}


def test_a_number_inside_a_name_is_replaced() -> None:
    stand_in = StandIns(pseudonyms(), PATIENT, lexicon("es"), {}, frozenset()).of(
        "NAME", "Carrión López 993 02080 Albacete"
    )
    assert "993" not in stand_in and "02080" not in stand_in
