"""Initials: of who dictated and typed, of patients and readers; abbreviations that are written alike stay."""

import pytest

from tests.curation.deid.test_text import clean

GONE = [
    ("IMPRESSION: Normal chest.\n\nJS/mk", "JS/mk"),
    ("Normal chest, no change.\nD: 03/12/2021 14:22 T: 03/12/2021 15:01 JS:klm", "JS:klm"),
    ("The findings were discussed with J.S. at 14:30.", "J.S."),
    ("Patient J. K. M. was seen in the emergency department for cough.", "J. K. M."),
    ("The lungs are clear. Dictated by: KLM. Transcribed by: rt.", "rt"),
    ("Mr. K. was informed of the result by telephone.", "Mr. K."),
    ("The images were reviewed with DKL at 10:00.", "DKL"),
    ("Read by RTF on 12/03/2022. No fracture is seen.", "RTF"),
    ("Der Patient M.K. wurde über den Befund informiert. Kein Erguss in der Lunge.", "M.K."),
    ("Frau M. wurde aufgeklärt. Die Untersuchung war unauffällig. gez. HW", "HW"),
    ("Die Lunge ist frei. Diktat: we/ko, freigegeben durch HJK am 12.03.2022.", "we/ko"),
    ("La paciente G.L. refiere dolor. Se realiza TC de tórax sin contraste. Firmado: MRL", "MRL"),
    ("Mme L. présente une douleur du genou. Lu par ABC. Pas de fracture sur les clichés.", "ABC"),
    ("Technologist initials: kb. The patient tolerated the procedure well.", "kb"),
    ("The lungs are clear and the heart is normal.\nRGT", "\nRGT"),
    ("The lungs are clear and the heart is normal.\nJAS 12/03/2024 10:22\nEnd of report", "JAS"),
    ("The lungs are clear and the heart is normal. /js", "/js"),
    ("The lungs are clear and the heart is normal. Seen by KLB.", "KLB"),
    ("Der Befund wurde besprochen. Die Lunge ist frei, durch HKW.", "HKW"),
    ("Discussed with the ward and J.S at noon. The lungs are clear.", "J.S"),
]

STAYS = [
    "No acute disease of the chest. PA/LAT views were obtained with a CT/MR correlation.",
    "The patient CT scan shows a pulmonary embolism (PE). Given 5 mg I.V. by the U.S. protocol.",
    "FINDINGS: The study is normal.\nPA/LAT",
    "VIEWS:\nAP\nLAT\nThe nodule is seen by CT, and followed per ACR. It is found by MRI and by US.",
    "Enhancement of 12 HU/mm and 300 IU/ml was seen at the time of the study.",
    "Reviewed with MRI of the same day. Performed by CT and by US. D.D. metastasis of the lung.",
    "Die Patientin ist im MRT ruhig gelegen. Z.n. Operation, V.a. Metastase der Lunge, i.v. Gabe.",
]


@pytest.mark.parametrize(("text", "gone"), GONE)
def test_initials_go(text: str, gone: str) -> None:
    assert gone in text
    assert gone not in clean(text).text


@pytest.mark.parametrize("text", STAYS)
def test_abbreviations_stay(text: str) -> None:
    assert clean(text).text == text
