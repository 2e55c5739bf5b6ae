"""Faces in head CT and MR: the outer surface goes, the brain stays, and what is not understood is withheld."""

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from curation.deid import faces
from curation.deid.faces import may_show_face, plan_faces
from curation.deid.head import Face, NoHead, Plane, Stack, find_face
from curation.deid.pixels import Plan
from tests.curation.deid.head_phantom import series, stack
from tests.curation.deid.objects import ct

STEP_MM = 4.0


def masks(face: Face, head: Stack) -> NDArray[np.bool_]:
    _, rows, columns = head.values.shape
    return np.stack([face.mask(plane, rows, columns) for plane in head.planes])


def front(body: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Distance in mm from the front of the picture to the skin, [slices, columns]; NaN where there is none."""
    return np.where(body.any(axis=1), body.argmax(axis=1) * STEP_MM, np.nan)


@pytest.mark.parametrize("is_ct", [True, False])
def test_the_face_goes_and_the_brain_stays(is_ct: bool) -> None:
    head, brain = stack(STEP_MM, is_ct=is_ct)
    mask = masks(find_face(head, 7), head)
    skin = head.values > (-300 if is_ct else 100)
    assert (mask & brain).sum() == 0
    nose = np.s_[round(60 / STEP_MM) : round(100 / STEP_MM), round(88 / STEP_MM) : round(112 / STEP_MM)]
    moved = front(skin & ~mask)[nose] - front(skin)[nose]
    assert np.nanmedian(moved) > 15
    above = np.s_[round(190 / STEP_MM) :]
    assert not mask[above].any(), "the top of the head is no face"
    behind = np.s_[:, round(200 / STEP_MM) :]
    assert not mask[behind].any(), "nor is its back"


def test_the_same_head_lying_otherwise_gives_the_same_mask() -> None:
    head, _ = stack(STEP_MM, is_ct=True)
    flipped = Stack(
        head.values[:, ::-1, ::-1],
        [
            Plane(
                p.origin
                + (head.values.shape[1] - 1) * p.row_step
                + (head.values.shape[2] - 1) * p.column_step,
                -p.row_step,
                -p.column_step,
            )
            for p in head.planes
        ],
        True,
    )
    mask = masks(find_face(head, 7), head)
    turned = masks(find_face(flipped, 7), flipped)[:, ::-1, ::-1]
    assert (mask != turned).mean() < 0.001


def test_sagittal_slices_lose_the_same_face() -> None:
    head, brain = stack(STEP_MM, is_ct=False)
    n = head.values.shape[2]
    step = np.array([STEP_MM, 0, 0])
    planes = [
        Plane(
            i * step + np.array([0, 0, (len(head.values) - 1) * STEP_MM]),
            -np.array([0, 0, STEP_MM]),
            np.array([0, STEP_MM, 0]),
        )
        for i in range(n)
    ]
    sagittal = Stack(np.ascontiguousarray(head.values.transpose(2, 0, 1)[:, ::-1]), planes, False)
    assert np.allclose(sagittal.planes[0].normal, [-1, 0, 0]) or np.allclose(
        sagittal.planes[0].normal, [1, 0, 0]
    )
    if sagittal.planes[0].normal[0] < 0:
        sagittal = Stack(sagittal.values[::-1], sagittal.planes[::-1], False)
    mask = masks(find_face(sagittal, 7), sagittal)
    assert mask.sum() > 0.8 * masks(find_face(head, 7), head).sum()
    assert not (mask & brain.transpose(2, 0, 1)[:, ::-1][:: 1 if planes[0].normal[0] > 0 else -1]).any()


def test_the_depth_wanders_with_the_seed() -> None:
    head, _ = stack(STEP_MM, is_ct=True)
    first, again, other = (masks(find_face(head, seed), head) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_a_ball_is_no_head() -> None:
    head, _ = stack(STEP_MM, is_ct=True)
    with pytest.raises(NoHead):
        find_face(dataclasses.replace(head, values=np.full_like(head.values, -1000)), 7)


def test_every_object_of_a_series_gets_its_part_of_the_mask() -> None:
    members, brain, stored = series(STEP_MM)
    plans = plan_faces(members)
    assert plan_faces(members[::-1]) == plans, "the order of the objects decides nothing"
    n_masked = 0
    for n, member in enumerate(members):
        plan = plans[member.clean.instance_id]
        assert isinstance(plan, Plan) and plan.is_defaced
        assert plan.fill == 24, "-1000 HU, stored"
        if plan.mask is not None:
            shape = (1, *stored[n].shape)
            mask = np.unpackbits(np.frombuffer(plan.mask, np.uint8), count=stored[n].size).reshape(shape)
            assert not (mask[0].astype(bool) & brain[n]).any()
            n_masked += 1
    assert n_masked > 10


def test_a_head_without_places_in_space_is_withheld() -> None:
    members, _, _ = series(20.0, ImagePositionPatient=None)
    assert set(plan_faces(members).values()) == {"identity_suspected"}


def test_a_thin_slab_is_left_alone_and_nothing_is_claimed() -> None:
    members, _, _ = series(STEP_MM)
    assert set(plan_faces(members[20:24]).values()) == {Plan()}


def test_a_stack_that_is_no_head_is_withheld() -> None:
    members, _, stored = series(20.0)
    empty = [dataclasses.replace(m, frame=lambda _: np.zeros_like(stored[0])) for m in members]
    assert set(plan_faces(empty).values()) == {"identity_suspected"}


@pytest.mark.parametrize(
    ("changes", "may"),
    [
        ({"BodyPartExamined": "HEAD"}, True),
        ({"BodyPartExamined": "", "StudyDescription": "", "SeriesDescription": "cCT nativ Schädel"}, True),
        ({"BodyPartExamined": "CHEST"}, False),
        ({"BodyPartExamined": "HEAD", "Modality": "CR"}, False),
        ({"BodyPartExamined": "HEAD", "ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, False),
    ],
)
def test_anatomy_tells_a_head(changes: dict[str, object], may: bool) -> None:
    assert may_show_face(ct(**changes)) is may


def test_without_anatomy_the_field_of_view_tells() -> None:
    unnamed = {"BodyPartExamined": "", "StudyDescription": "", "SeriesDescription": "", "Columns": 512}
    assert may_show_face(ct(**unnamed, PixelSpacing=[0.45, 0.45]))
    assert not may_show_face(ct(**unnamed, PixelSpacing=[0.9, 0.9]))


def test_every_anatomy_term_is_one_the_body_part_table_gives() -> None:
    from curation.modality import _body_parts

    patterns, unions = _body_parts()
    assert faces._rules().anatomy <= {*patterns, *unions.values()}
