"""Reports written in haste: days without a year, surnames that are words, signatures, initials, wards, feasts."""

from uuid import UUID

import pytest

from curation.deid.identity import Identity
from curation.deid.policy import compile_policy, load_profile
from curation.deid.pseudonyms import Pseudonyms
from curation.deid.text import clean_text

BODY = {
    "en": "\nThe lungs are clear and there is no pleural effusion or pneumothorax seen in the study.",
    "de": "\nDie Lunge ist frei belüftet und es zeigt sich kein Pleuraerguss und keine Fraktur der Rippen.",
    "es": "\nNo se observa derrame pleural y los pulmones están bien ventilados en el estudio.",
    "fr": "\nIl n'y a pas d'épanchement pleural et les poumons sont bien ventilés dans cet examen.",
}


def cleaned(language: str, text: str) -> str:
    nobody = Identity("dev", "", "", (), "", "", "", "", ())
    policy = compile_policy(load_profile("research"))
    text = clean_text(text + BODY[language], nobody, policy, Pseudonyms(b"k" * 32), UUID(int=5)).text
    assert text.endswith(BODY[language])
    return text.removesuffix(BODY[language])


GONE = {
    ("en", "Comparison: CT 5/11, 5/13 and 6/27, MR of the spine."): ["5/11", "5/13", "6/27"],
    ("en", "Seen 3/31 in clinic. LMP 4/18."): ["3/31", "4/18"],
    ("en", "Fell on the day after New Year's 2020, again on Memorial Day weekend 2022."): ["2020", "2022"],
    ("en", "Signed electronically by Callum W. March 2017-11-27."): ["Callum", "March", "2017"],
    ("en", "Signed electronically by Tobias W. Baker 2017-11-27."): ["Tobias", "Baker"],
    ("en", "Referred by April Wall for staging."): ["April", "Wall"],
    ("en", "Called to her niece Sandy at noon."): ["Sandy"],
    ("en", "Results to RN June on the ward; resident March."): ["June", "March"],
    ("en", "Findings as above. -Kettering D."): ["Kettering"],
    ("en", "mri brain. skip wall is a 48 year old with falls. called to dr. hand on Monday.\n"): ["wall", "hand"],
    ("en", "Reported by Seo-yeon Ismailova."): ["Seo", "yeon"],
    ("en", "He lives at 272 East 14th Street Apt 3C."): ["272", "14th", "3C"],
    ("en", "Wet read KL, final to follow. Tech BT, IV placed by RS."): ["KL", "BT", "RS"],
    ("en", "Subject A.M. was scanned. [QW] Critical result to NP TJ at 0215."): ["A.M.", "QW", "TJ"],
    ("en", "Overnight prelim by tjw reviewed."): ["tjw"],
    ("en", "MVC on I-95 while driving. Pager 1986. Bed U792 on 7 West, admitted to 7 West."): ["I-95", "1986", "U792"],
    ("en", "MRI of the spine on9/17, new since3/15/2013. Seen on Jully 16, 2022 and Arpil 15th."): ["9/17", "3/15", "16", "15th"],
    ("en", "Compared with the study of the ninth of October 2013."): ["ninth", "2013"],
    ("en", "PATIENT:   FRIEDMAN, MEI E.  MRN: 191927"): ["FRIEDMAN", "MEI"],
    ("en", "Interpreted by English, Frank M. on Monday. Film checked: Thompson, S.T."): ["English", "Frank", "Thompson"],
    ("en", "List of today:\n2. Holder, Brandon, 58 F. Bosniak III cyst."): ["Holder", "Brandon"],
    ("en", "A retired postman from Manila, Mrs Foot, whom we saw. Y-90 by Fisher on 6/26."): ["Manila", "Foot", "Fisher", "6/26"],
    ("en", "Neurosurgery (Ball) paged at noon. Daughter-in-law Summer agrees. Minutes: LL"): ["Ball", "Summer", "LL"],
    ("en", "Lives at 992 Via del Sol. Seen at Our Lady of the Lake, stationed at Joint Base Halloway."): ["992", "Sol", "Lady", "Halloway"],
    ("en", "Results to the nurse on Ellison 7 bed 192-V."): ["Ellison", "192"],
    ("de", "Telefonisch an Prof. Dr. Waltraud Magen / WF"): ["Waltraud", "Magen", "WF"],
    ("de", "Demonstriert mit Frau Dr. Gesine vom Bruch."): ["Gesine", "Bruch"],
    ("de", "Patientin (92) nach Sturz, wohnhaft Hinter den Gärten 6."): ["92", "Gärten"],
    ("de", "MTRA BT, Arzt KL. Befunder QW, Vidierung TJ."): ["BT", "KL", "QW", "TJ"],
    ("es", "Fdo.: Prof. Teresa del Río Montes"): ["Teresa", "Río", "Montes"],
    ("es", "Técnico BT, radiólogo KL."): ["BT", "KL"],
    ("fr", "Manip BT, radiologue KL. Relecture TJ."): ["BT", "KL", "TJ"],
}  # fmt: skip


@pytest.mark.parametrize(("language", "text"), GONE)
def test_what_is_written_in_haste_goes(language: str, text: str) -> None:
    assert not [secret for secret in GONE[language, text] if secret in cleaned(language, text)]


KEPT = {
    "en": [
        "MR 5/10 mm granuloma. Strength 4/5. Series 4/112. L4/5 disc, BI-RADS 4. Grade III. Stage II. TR/TE 500/20.",
        "Mother Breast cancer, father Colon cancer. Baker cyst, Wall thickening, Hounsfield units.",
        "Grade II, A. Segment IV, B. Vitamin D. Baker, Wall and Hill-Sachs. Type II (Neer) seen. By CT on 2 mm slices.",
        "Read in conjunction with CT. Tech limited by motion. Rad findings discussed. DOB unknown. [CT] [MR]",
    ],
    "de": ["Magen und Bruch unauffällig. Arzt informiert. Vidierung ausstehend. Station informiert."],
}


@pytest.mark.parametrize(("language", "text"), [(code, t) for code, texts in KEPT.items() for t in texts])
def test_medicine_that_looks_the_same_stays(language: str, text: str) -> None:
    assert cleaned(language, text) == text
