"""Light, masks, glasses, hands and patches: they follow the face, cover what they say and nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from tests.augment.conftest import wrong

from vultus.augment import Views, cover, directional_light, glasses, hand, mask, mirror, multi_patch, rescale, rotate
from vultus.augment.patching import REGIONS
from vultus.augment.pose import HEAD_POINTS
from vultus.errors import BadArgument
from vultus.geometry import apply_affine, fit_similarity
from vultus.types import BoolArray, Float64Array, FloatArray, UInt8Array

OVER: dict[str, Callable[[UInt8Array, FloatArray], UInt8Array]] = {
    "mask": lambda x, p: mask(x, p, height=0.8),
    "glasses": lambda x, p: glasses(x, p, tint=0.6),
    "hand": lambda x, p: hand(x, p, tip=(10.0, 40.0), angle=0.4, colour=(180, 140, 120)),
    "light": lambda x, p: directional_light(x, p, azimuth=1.0, elevation=0.3, strength=0.6),
}


def changed(one: UInt8Array, other: UInt8Array, least: int = 12) -> BoolArray:
    different: BoolArray = np.abs(one.astype(int) - other).max(axis=2) > least
    return different


def at(points: FloatArray, head: tuple[float, float]) -> tuple[int, int]:
    """(row, column) of a point of the head, in millimetres."""
    x, y = apply_affine(fit_similarity(HEAD_POINTS, points), np.array([head]))[0]
    return round(float(y)), round(float(x))


@pytest.mark.parametrize("name", OVER)
@pytest.mark.parametrize(
    "move",
    [
        lambda v: rotate(v, 0.5, border="black"),
        lambda v: rescale(v, 1.4, border="black"),
        lambda v: rescale(v, 0.6, border="black"),
    ],
)
def test_they_move_with_the_face(
    name: str, move: Callable[[Views], Views], face: UInt8Array, points: FloatArray
) -> None:
    first_moved = move(Views(face, points))
    one = OVER[name](first_moved.images, np.asarray(first_moved.landmarks))
    other = move(Views(OVER[name](face, points), points)).images
    within = move(Views(np.full_like(face, 255), points)).images.min(axis=2) == 255
    inner = cv2.erode(within.astype(np.uint8), np.ones((9, 9), dtype=np.uint8)) > 0
    difference = np.abs(one.astype(int) - other).max(axis=2)[inner]
    assert difference.mean() < 2.0
    assert changed(one, first_moved.images).mean() > 0.01


@pytest.mark.parametrize("name", ["mask", "glasses", "light"])
def test_a_mirrored_face_gets_the_mirror_image(name: str, face: UInt8Array, points: FloatArray) -> None:
    both = mirror(Views(face, points))
    one = OVER[name](both.images, np.asarray(both.landmarks))
    if name == "light":
        other = directional_light(face, points, azimuth=-1.0, elevation=0.3, strength=0.6)[:, ::-1]
    else:
        other = OVER[name](face, points)[:, ::-1]
    assert np.abs(one.astype(int) - other).mean() < 1.0


@pytest.mark.parametrize("name", OVER)
def test_a_batch_is_changed_as_its_pictures_are(name: str, face: UInt8Array, points: FloatArray) -> None:
    batch, several = np.stack([face, face[::-1]]), np.stack([points, points * 0.8 + 12])
    before = batch.copy()
    found = OVER[name](batch, several)
    assert all(np.array_equal(found[i], OVER[name](batch[i], several[i])) for i in range(2))
    assert np.array_equal(batch, before)
    assert np.array_equal(OVER[name](batch, points)[0], OVER[name](face, points))


def test_a_mask_covers_from_its_height_down_to_the_chin(face: UInt8Array, points: FloatArray) -> None:
    shares = []
    for height in (0.3, 0.5, 0.75, 1.0):
        covered = changed(mask(face, points, height=height, colour=(0, 255, 0)), face)
        shares.append(covered.mean())
        assert covered[at(points, (0, 112))]  # the chin
        assert not covered[at(points, (-31, 0))]  # the eyes
        assert not covered[at(points, (31, 0))]
        assert covered[at(points, (-25, 66))] == (height >= 0.75)  # the corners of the mouth
        assert covered[at(points, (0, 30))] == (height == 1.0)  # the nose
    assert shares == sorted(shares)


def test_glasses_go_before_the_eyes_and_a_tint_darkens_them(face: UInt8Array, points: FloatArray) -> None:
    grey = np.full_like(face, 160)
    light = [float(glasses(grey, points, tint=t)[at(points, (40, 14))].mean()) for t in (0.0, 0.5, 1.0)]
    assert light[0] == pytest.approx(160, abs=12)
    assert light[0] > light[1] + 30 > light[2] + 60
    covered = changed(glasses(grey, points), grey)
    for place in ((0, -3), (58, 5), (-58, 5)):  # bridge and outer rims
        row, column = at(points, place)
        assert covered[row - 4 : row + 5, column - 4 : column + 5].any()
    assert not covered[at(points, (0, 66))]
    thin, thick = (changed(glasses(grey, points, rim=r), grey).sum() for r in (1.5, 6.0))
    assert thick > 1.5 * thin
    red = glasses(grey, points, rim=6, colour=(200, 20, 20)).reshape(-1, 3).astype(int)
    assert (red[:, 0] - red[:, 1]).max() > 90


@pytest.mark.parametrize("angle", [0.0, 0.7, -1.2])
def test_the_tip_of_the_middle_finger_is_where_it_is_said_to_be(angle: float, points: FloatArray) -> None:
    grey = np.full((300, 260, 3), 200, dtype=np.uint8)
    covered = changed(hand(grey, points, tip=(5.0, 20.0), angle=angle, colour=(90, 60, 50)), grey)
    rows, columns = np.nonzero(covered)
    to_head = fit_similarity(points, HEAD_POINTS)
    where = apply_affine(to_head, np.stack([columns, rows], axis=1))
    forward = where @ np.array([math.sin(angle), -math.cos(angle)])
    expected = np.array([5.0, 20.0]) @ np.array([math.sin(angle), -math.cos(angle)])
    assert forward.max() == pytest.approx(expected, abs=5)


def test_a_hand_has_the_colour_of_the_cheeks(points: FloatArray) -> None:
    blue = np.zeros((300, 260, 3), dtype=np.uint8)
    blue[...] = (40, 60, 220)
    row, column = at(points, (0, 170))
    own = hand(blue, points, tip=(0, 30), angle=0)[row - 5 : row + 5, column - 5 : column + 5].mean(axis=(0, 1))
    assert own[2] > 2.5 * own[0]
    asked = hand(blue, points, tip=(0, 30), angle=0, colour=(220, 60, 40))[row, column]
    assert asked[0] > 2.5 * float(asked[2])


def test_a_face_outside_or_at_the_edge_is_no_accident(face: UInt8Array, points: FloatArray) -> None:
    for shift in ((-4000, 0), (-120, -90), (150, 160)):
        for change in OVER.values():
            found = change(face, points + np.array(shift, dtype=np.float32))
            assert found.shape == face.shape
    assert np.array_equal(OVER["mask"](face, points + 4000), face)


def test_light_is_brighter_where_the_lamp_is_and_the_mean_of_the_face_stays(points: FloatArray) -> None:
    grey = np.full((300, 260, 3), 110, dtype=np.uint8)
    lit = directional_light(grey, points, azimuth=0.9, strength=0.7).astype(float)
    assert lit[at(points, (45, 30))].mean() > 1.4 * lit[at(points, (-45, 30))].mean()
    above = directional_light(grey, points, azimuth=0.0, elevation=0.9, strength=0.7).astype(float)
    assert above[at(points, (0, -40))].mean() > 1.2 * above[at(points, (0, 95))].mean()
    rows, columns = np.mgrid[:300, :260]
    where = apply_affine(fit_similarity(points, HEAD_POINTS), np.stack([columns, rows], axis=-1).astype(float))
    on_face = ((where[..., 0] / 68) ** 2 + ((where[..., 1] - 25) / 92) ** 2) < 1.2
    linear = ((lit / 255) ** 2.2)[on_face].mean()
    assert linear == pytest.approx((110 / 255) ** 2.2, rel=0.03)


def test_light_is_lamberts_on_the_bump(points: FloatArray) -> None:
    grey = np.full((300, 260, 3), 100, dtype=np.uint8)
    lit = directional_light(grey, points, azimuth=0.8, strength=0.5).astype(float)
    lamp = np.array([math.sin(0.8), 0.0, math.cos(0.8)])

    def received(x: Float64Array, y: Float64Array) -> Float64Array:
        z = 95 * np.exp(-((x / 68) ** 2 + ((y - 25) / 92) ** 2) / 2)
        normals = np.stack([z * x / 68**2, z * (y - 25) / 92**2, np.ones_like(x)], axis=-1)
        normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
        return np.asarray(np.maximum(normals @ lamp, 0))

    x, y = np.meshgrid(np.linspace(-75, 75, 151), np.linspace(-78, 128, 207))
    inside = ((x / 68) ** 2 + ((y - 25) / 92) ** 2) < 1.2
    mean = received(x, y)[inside].mean()
    for place in ((50, 40), (-50, 40), (40, -30), (-30, 90), (0, 110)):  # away from the nose
        light = 0.5 + 0.5 * float(received(np.array([place[0]]), np.array([place[1]]))[0]) / mean
        assert lit[at(points, place)].mean() == pytest.approx(100 * light ** (1 / 2.2), rel=0.04)


def test_no_strength_changes_nothing_and_more_changes_more(face: UInt8Array, points: FloatArray) -> None:
    changes = [
        np.abs(directional_light(face, points, azimuth=1.0, strength=s).astype(float) - face).mean()
        for s in (0.0, 0.3, 0.6, 1.0)
    ]
    assert changes[0] == 0
    assert changes == sorted(changes)


def test_rectangles_cover_what_they_say(face: UInt8Array) -> None:
    covered = cover(
        face, [[10, 20, 30, 25], [-5, -5, 3, 2], [250, 290, 400, 400], [900, 900, 950, 950]], [(1, 2, 3)] * 4
    )
    expected = face.copy()
    expected[20:25, 10:30] = expected[:2, :3] = expected[290:, 250:] = (1, 2, 3)
    assert np.array_equal(covered, expected)
    assert np.array_equal(
        cover(np.stack([face, face]), [[10, 20, 30, 25]], [(1, 2, 3)])[1], cover(face, [[10, 20, 30, 25]], [(1, 2, 3)])
    )


# --- patches ----------------------------------------------------------------------------------------------------------


def test_patches_show_their_regions_and_landmarks_follow(points: FloatArray) -> None:
    for i, (x, y) in enumerate(points):
        dot = np.zeros((300, 260, 3), dtype=np.uint8)
        cv2.circle(dot, (round(float(x) * 16), round(float(y) * 16)), 48, (255, 255, 255), -1, cv2.LINE_AA, 4)
        patches = multi_patch(dot, points, scales=(1.0, 1.3), border="black")
        assert patches.landmarks is not None
        assert patches.images.shape == (20, 112, 112, 3)
        seen = 0
        for picture, said in zip(patches.images, patches.landmarks[:, i], strict=True):
            if (said < 8).any() or (said > 103).any():
                continue
            weight = picture[..., 0].astype(float)
            rows, columns = np.mgrid[:112, :112]
            found = np.array([(columns * weight).sum(), (rows * weight).sum()]) / weight.sum()
            assert np.abs(found - said).max() < 1
            seen += 1
        assert seen >= 10


def test_patches_are_upright_and_of_the_size_that_is_asked_for(face: UInt8Array, points: FloatArray) -> None:
    turned = rotate(Views(face, points), 0.6)
    patches = multi_patch(turned.images, np.asarray(turned.landmarks), regions=("face", "mouth"), side=64)
    marks = np.asarray(patches.landmarks)
    upright = fit_similarity(points, HEAD_POINTS)
    eyes = np.diff(apply_affine(upright, points)[:2], axis=0)[0]
    np.testing.assert_allclose(marks[0, 1] - marks[0, 0], eyes * 64 / (2 * REGIONS["face"][2]), atol=0.05)
    assert patches.images.shape == (2, 64, 64, 3)
    halves = multi_patch(face, points, regions=("right_half", "left_half"))
    marks = np.asarray(halves.landmarks)
    assert 0 < marks[0, 0, 0] < 112 < marks[0, 1, 0]
    assert marks[1, 0, 0] < 0 < marks[1, 1, 0] < 112


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda x, p: mask(x, p, height=0), "height is 0"),
        (lambda x, p: mask(x, wrong(None)), "needs its landmarks"),
        (lambda x, p: mask(x, p[:4]), "landmarks have shape"),
        (lambda x, p: mask(x, p * np.nan), "NaN"),
        (lambda x, p: mask(x, p * 0), "on a line"),
        (lambda x, p: mask(x, p, colour=wrong((1, 2))), "colour is"),
        (lambda x, p: glasses(x, p, tint=2), "tint is 2"),
        (lambda x, p: glasses(x, p, rim=0), "rim is 0"),
        (lambda x, p: glasses(x, p, colour=(0, 0, 300)), "a colour is 300"),
        (lambda x, p: hand(x, p, tip=wrong(3), angle=0), "tip is 3"),
        (lambda x, p: hand(x, p, tip=(0, 0), angle=float("nan")), "angle is nan"),
        (lambda x, p: directional_light(x, p, azimuth=4), "azimuth is 4"),
        (lambda x, p: directional_light(x, p, azimuth=1, elevation=2), "elevation is 2"),
        (lambda x, p: directional_light(x, p, azimuth=1, strength=1.1), "strength is 1.1"),
        (lambda x, p: cover(x, [[1, 2, 3]], [(0, 0, 0)]), "rectangles of shape"),
        (lambda x, p: cover(x, [[1, 2, 3, 4]], []), "0 colours"),
        (lambda x, p: multi_patch(x, p, regions=("ear",)), "no region 'ear'"),
        (lambda x, p: multi_patch(x, p, scales=()), "no scale"),
        (lambda x, p: multi_patch(x, p, scales=(9,)), "a scale is 9"),
        (lambda x, p: multi_patch(x, p, side=0), "side is 0"),
        (lambda x, p: multi_patch(x[None], p), "one photo gives many patches"),
        (lambda x, p: multi_patch(x, p * 0), "coincide"),
    ],
)
def test_what_cannot_be_is_refused(
    make: Callable[[Any, Any], object], message: str, face: UInt8Array, points: FloatArray
) -> None:
    with pytest.raises(BadArgument, match=message):
        make(face, points)
