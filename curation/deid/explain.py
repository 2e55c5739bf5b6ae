"""A policy told in sentences; `rwid deid --explain` prints them and docs/deidentification.md holds them.

What belongs here: sentences. What does not: decisions (policy). Bring the page up to date with
`python -m curation.deid.explain docs/deidentification.md`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from curation.deid.policy import Decision, Policy, compile_policy, load_profile, read_rows

_DATES = {
    "modified": "Dates are moved by one secret offset a patient, 365 to 3650 days back; intervals and times of day survive.",
    "full": "Dates are kept.",
    "removed": "Dates and times are removed, emptied or replaced by dummies, as the Basic Profile says.",
}


def sentences(policy: Policy) -> list[str]:
    """The profile, every attribute that a rule names, what the VR decides for all others, and what is not done."""
    return [
        *_profile(policy),
        *(
            _attribute(d)
            for d in policy.decisions
            if not d.basis.startswith(("not in the table", "group lengths"))
        ),
        *_unregistered(policy),
        *_defaults(policy),
        *_classes(policy),
        *_text(policy),
    ]


def _profile(policy: Policy) -> Iterator[str]:
    profile = policy.profile
    rows = {row["option"]: row for row in read_rows("options.csv")}
    yield f"Profile {profile.name}: PS3.15 Annex E, edition {profile.edition}, Basic Application Confidentiality Profile."
    for option in profile.options:
        yield f"Option {rows[option]['code']}: {rows[option]['meaning']}."
    yield _DATES[profile.dates]
    if "retain_uids" in profile.options:
        yield "UIDs are kept; the lake's own ids are keyed."
    else:
        yield "UIDs that the standard does not register are replaced by keyed ones, the same in every file, item and delivery."
    yield "Preamble, file meta information and everything after the pixel data are not copied but written anew or left out."
    if "clean_pixel_data" in profile.options:
        yield "BurnedInAnnotation becomes NO, and 113101 is claimed, where a pass over the pixels of the object was made, and only there."
    else:
        yield "BurnedInAnnotation is never set to NO; an object that says YES is withheld."


def _attribute(decision: Decision) -> str:
    vrs = " or ".join(vr.decode() for vr in decision.vrs)
    harvest = "; what it says is looked for in the other values and in reports" if decision.harvest else ""
    return f"{decision.log[0]} {decision.keyword} ({vrs}) is {decision.act.value}{harvest} [{decision.code}; {decision.basis}]."


def _unregistered(policy: Policy) -> Iterator[str]:
    known = {d.tag for d in policy.decisions}
    for row in read_rows(f"ps315_{policy.profile.edition}.csv"):
        tag = row["tag"]
        if tag == "PRIVATE" or "x" in tag or tag < "0008" or int(tag, 16) in known:
            continue
        name = f"({tag[:4].lower()},{tag[4:].lower()}) {row['name']}"
        yield f"{name} is removed [X; not in the data dictionary in use]."
    yield "Private attributes are removed [X; Basic Profile]."
    yield "Curves (50xx,xxxx) and overlays (60xx,xxxx) are removed [X; group lengths, curves and overlays]."
    yield "Attributes that the data dictionary does not list, or that stand under another VR than it lists, are removed."


def _defaults(policy: Policy) -> Iterator[str]:
    yield "Attributes that no rule above names, by value representation:"
    for row in read_rows("vr.csv"):
        count = sum(
            d.vrs[-1].decode() == row["vr"] and d.basis.startswith("not in the table")
            for d in policy.decisions
        )
        if count:
            yield f"VR {row['vr']} ({count} attributes): {row['sentence']}"


def _classes(policy: Policy) -> Iterator[str]:
    for uid, sop_class in policy.classes.items():
        if sop_class.is_released:
            yield f"Released: {sop_class.name} ({uid})."
    for uid, sop_class in policy.classes.items():
        if not sop_class.is_released:
            yield f"Withheld: {sop_class.name} ({uid}): {sop_class.why}."
    yield "Withheld: every other SOP class, private ones included."


def _text(policy: Policy) -> Iterator[str]:
    yield (
        "Report text: what the headers of the same person say (names in any order, ids, birth date, telephone "
        "numbers, addresses, institutions, physicians) is replaced first, in any case, spelling of umlauts and "
        "punctuation."
    )
    yield (
        "Report text: names beside titles, labels, signatures and the like, capitalised words that no vocabulary of "
        "the language explains, e-mail, web and IP addresses, telephone numbers, record, order, insurance and serial "
        "numbers, postal addresses, places and institutions are replaced "
        + (
            "by stand-ins of the same form, the same for one patient in all reports. A stand-in is nobody; what the "
            "rules missed cannot be told from one."
            if policy.profile.text == "surrogates"
            else "by a tag such as [NAME]."
        )
    )
    if policy.profile.dates == "modified":
        yield (
            "Report text: dates are moved by the same offset as in the headers and written back in the same form; "
            "weekdays and dates without a year move with them. A birth date that may tell an age over 89, and a date "
            "that cannot be moved, become [DATE]. Times of day stay."
        )
    yield "Report text: ages over 89 become `over 89`, in the language of the text."
    yield (
        f"Report text: languages are {', '.join(policy.profile.languages)}. A text in another is withheld; one too "
        "short to tell is cleaned by the rules of all, with tags."
    )
    yield "Report text: where anything known of the person is still there after cleaning, the report is withheld."


_BEGIN, _END = "<!-- explain {name}: begin -->", "<!-- explain {name}: end -->"


def with_block(page: str, policy: Policy) -> str:
    """A Markdown page whose block between the profile's two markers holds the policy's sentences.

    Raises ValueError where the page has no such markers.
    """
    begin, end = (marker.format(name=policy.profile.name) for marker in (_BEGIN, _END))
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"The page has no lines {begin} and {end}.")
    block = "".join(f"- {sentence}\n" for sentence in sentences(policy))
    return f"{before}{begin}\n{block}{end}{after}"


if __name__ == "__main__":
    for _name in ("research",):
        _page = Path(sys.argv[1])
        _page.write_text(with_block(_page.read_text(), compile_policy(load_profile(_name))))
