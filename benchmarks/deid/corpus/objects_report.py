"""Objects that speak about images: structured reports, key objects, presentation states.

What belongs here: these types, with content that names people where such objects do. What does not: images, and other data
(objects_other).
"""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.tag import Tag

from benchmarks.deid.corpus.answer_key import Step
from benchmarks.deid.corpus.canary import Canary, Mint
from benchmarks.deid.corpus.common import code, reference, study_reference
from benchmarks.deid.corpus.draft import Draft

CLASSES = {
    "SR": ("1.2.840.10008.5.1.4.1.1.88.33", "SR"),
    "KO": ("1.2.840.10008.5.1.4.1.1.88.59", "KO"),
    "GSPS": ("1.2.840.10008.5.1.4.1.1.11.1", "PR"),
}
CONTENT = Tag(0x0040A730)


class Content:
    """A growing SR tree: adds items, and plants with the right path."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        draft.ds.ContentSequence = []

    def add(
        self, relation: str, kind: str, name: Dataset | None, steps: tuple[Step, ...] = (), **values: object
    ) -> tuple[Dataset, tuple[Step, ...]]:
        """The new item below the item at `steps`, and its own steps."""
        parent = self.draft.ds
        for tag, index in steps:
            parent = parent[tag].value[index]
        if CONTENT not in parent:
            parent.ContentSequence = []
        item = Dataset()
        item.RelationshipType, item.ValueType = relation, kind
        if name is not None:
            item.ConceptNameCodeSequence = [name]
        for keyword, value in values.items():
            setattr(item, keyword, value)
        parent.ContentSequence.append(item)
        return item, (*steps, (CONTENT, len(parent.ContentSequence) - 1))

    def plant(
        self, relation: str, kind: str, name: Dataset, tag: int, vr: str, canary: Canary, steps: tuple[Step, ...] = (),
        value: str | None = None, retained: str = "",
    ) -> None:  # fmt: skip
        item, here = self.add(relation, kind, name, steps)
        self.draft.plant(
            tag, vr, canary, "content item", value=value, into=item, steps=here, retained=retained
        )


def structured_report(draft: Draft, mint: Mint) -> None:
    """A measurement report (TID 1500) with observers, people, days, and text that names them."""
    ds = draft.ds
    ds.CompletionFlag, ds.VerificationFlag, ds.ValueType, ds.ContinuityOfContent = (
        "COMPLETE",
        "UNVERIFIED",
        "CONTAINER",
        "SEPARATE",
    )
    ds.ConceptNameCodeSequence = [code("126000", "DCM", "Imaging Measurement Report")]
    ds.PerformedProcedureCodeSequence, ds.ReferencedPerformedProcedureStepSequence = [], []
    ds.ContentTemplateSequence = [_template("1500")]
    ds.CurrentRequestedProcedureEvidenceSequence = [_evidence(draft)]
    tree = Content(draft)
    tree.add("HAS CONCEPT MOD", "CODE", code("121049", "DCM", "Language of Content Item and Descendants"),
             ConceptCodeSequence=[code("en-US", "RFC5646", "English (United States)")])  # fmt: skip
    tree.add(
        "HAS OBS CONTEXT",
        "CODE",
        code("121005", "DCM", "Observer Type"),
        ConceptCodeSequence=[code("121006", "DCM", "Person")],
    )
    tree.plant(
        "HAS OBS CONTEXT",
        "PNAME",
        code("121008", "DCM", "Person Observer Name"),
        0x0040A123,
        "PN",
        mint.name(),
    )
    tree.plant(
        "HAS OBS CONTEXT",
        "TEXT",
        code("121009", "DCM", "Person Observer's Organization Name"),
        0x0040A160,
        "UT",
        mint.place(),
    )
    tree.plant(
        "HAS OBS CONTEXT",
        "UIDREF",
        code("121012", "DCM", "Device Observer UID"),
        0x0040A124,
        "UI",
        mint.uid(),
    )
    tree.plant(
        "HAS OBS CONTEXT", "PNAME", code("121029", "DCM", "Subject Name"), 0x0040A123, "PN", mint.name()
    )
    tree.plant(
        "HAS OBS CONTEXT", "TEXT", code("121030", "DCM", "Subject ID"), 0x0040A160, "UT", mint.number()
    )
    tree.plant(
        "HAS OBS CONTEXT", "DATE", code("121031", "DCM", "Subject Birth Date"), 0x0040A121, "DA", mint.day()
    )
    tree.plant(
        "HAS OBS CONTEXT", "TEXT", code("121022", "DCM", "Accession Number"), 0x0040A160, "UT", mint.number()
    )
    who = mint.spoken_name()
    tree.plant("CONTAINS", "TEXT", code("121071", "DCM", "Finding"), 0x0040A160, "UT", who,
               value=f"Nodule in the right upper lobe. Discussed with {who.text}.", retained="nodule right upper lobe")  # fmt: skip
    day = mint.day()
    tree.plant(
        "CONTAINS",
        "TEXT",
        code("121106", "DCM", "Comment"),
        0x0040A160,
        "UT",
        day,
        value=f"Compared with {day.text}.",
    )
    _, measurements = tree.add(
        "CONTAINS", "CONTAINER", code("126010", "DCM", "Imaging Measurements"), ContinuityOfContent="SEPARATE"
    )
    _, group = tree.add(
        "CONTAINS",
        "CONTAINER",
        code("125007", "DCM", "Measurement Group"),
        measurements,
        ContinuityOfContent="SEPARATE",
    )
    tree.plant(
        "HAS OBS CONTEXT",
        "TEXT",
        code("112039", "DCM", "Tracking Identifier"),
        0x0040A160,
        "UT",
        mint.spoken_name(),
        group,
    )
    tree.plant(
        "HAS OBS CONTEXT",
        "UIDREF",
        code("112040", "DCM", "Tracking Unique Identifier"),
        0x0040A124,
        "UI",
        mint.uid(),
        group,
    )
    number = Dataset()
    number.NumericValue, number.MeasurementUnitsCodeSequence = "8.5", [code("mm", "UCUM", "mm")]
    tree.add("CONTAINS", "NUM", code("81827009", "SCT", "Diameter"), group, MeasuredValueSequence=[number])
    item, here = tree.add("CONTAINS", "CODE", code("121071", "DCM", "Finding"), group)
    meaning = mint.spoken_name()
    item.ConceptCodeSequence = [code("X1", "99LOCAL", meaning.text)]
    draft.note(
        "".join(f"<({t.group:04x},{t.element:04x})>[<{n:04d}>]" for t, n in here)
        + "<(0040,a168)>[<0000>]<(0008,0104)>",
        "code meaning",
        meaning,
    )
    tree.plant("CONTAINS", "DATETIME", code("111526", "DCM", "DateTime Started"), 0x0040A120, "DT", draft.study.day,
               value=f"{draft.study.day.text}101500")  # fmt: skip
    tree.add(
        "INFERRED FROM",
        "IMAGE",
        code("121112", "DCM", "Source of Measurement"),
        group,
        ReferencedSOPSequence=[_other(draft)],
    )


def _template(number: str) -> Dataset:
    item = Dataset()
    item.MappingResource, item.TemplateIdentifier = "DCMR", number
    return item


def _other(draft: Draft) -> Dataset:
    """Reference to an object of the same study, its own if it is alone."""
    return reference(*draft.study.instances[0])


def _evidence(draft: Draft) -> Dataset:
    return study_reference(
        draft.study, next(iter(draft.study.series.values())).text, [draft.study.instances[0]]
    )


def key_objects(draft: Draft, mint: Mint) -> None:
    ds = draft.ds
    ds.ValueType, ds.ContinuityOfContent, ds.ContentTemplateSequence = (
        "CONTAINER",
        "SEPARATE",
        [_template("2010")],
    )
    ds.ConceptNameCodeSequence = [code("113000", "DCM", "Of Interest")]
    ds.ReferencedPerformedProcedureStepSequence = []
    ds.CurrentRequestedProcedureEvidenceSequence = [_evidence(draft)]
    tree = Content(draft)
    tree.plant(
        "HAS OBS CONTEXT",
        "PNAME",
        code("121008", "DCM", "Person Observer Name"),
        0x0040A123,
        "PN",
        mint.name(),
    )
    tree.plant(
        "CONTAINS",
        "TEXT",
        code("113012", "DCM", "Key Object Description"),
        0x0040A160,
        "UT",
        mint.spoken_name(),
    )
    # key objects carry no concept name (TID 2010)
    tree.add("CONTAINS", "IMAGE", None, ReferencedSOPSequence=[_other(draft)])


def presentation_state(draft: Draft, mint: Mint) -> None:
    ds = draft.ds
    ds.ContentLabel, ds.PresentationCreationTime, ds.PresentationLUTShape = "MARKED", "103000", "IDENTITY"
    draft.plant("ContentDescription", None, mint.spoken_name(), "descriptor")
    draft.plant("ContentCreatorName", None, mint.name(), "header")
    draft.plant("PresentationCreationDate", None, draft.study.day, "header")
    series = Dataset()
    series.SeriesInstanceUID, series.ReferencedImageSequence = (
        next(iter(draft.study.series.values())).text,
        [_other(draft)],
    )
    ds.ReferencedSeriesSequence = [series]
    layer, annotation, text = Dataset(), Dataset(), Dataset()
    layer.GraphicLayer, layer.GraphicLayerOrder = "NOTES", 1
    ds.GraphicLayerSequence = [layer]
    draft.plant(0x00700068, "LO", mint.spoken_name(), "graphics", into=layer, steps=((Tag(0x00700060), 0),))
    annotation.GraphicLayer, annotation.TextObjectSequence = "NOTES", [text]
    text.BoundingBoxAnnotationUnits, text.AnchorPoint = "PIXEL", [10.0, 10.0]
    text.AnchorPointAnnotationUnits, text.AnchorPointVisibility = "PIXEL", "N"
    ds.GraphicAnnotationSequence = [annotation]
    draft.plant(
        0x00700006,
        "ST",
        mint.spoken_name(),
        "graphics",
        into=text,
        steps=((Tag(0x00700001), 0), (Tag(0x00700008), 0)),
    )
    area = Dataset()
    area.DisplayedAreaTopLeftHandCorner, area.DisplayedAreaBottomRightHandCorner = [1, 1], [64, 64]
    area.PresentationSizeMode, area.PresentationPixelAspectRatio = "SCALE TO FIT", [1, 1]
    ds.DisplayedAreaSelectionSequence = [area]


BUILDERS = {"SR": structured_report, "KO": key_objects, "GSPS": presentation_state}
