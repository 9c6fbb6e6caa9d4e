"""Augmentation: each change acts, keeps the face, and follows from (seed, epoch, photo) alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from vultus.augment import DEGRADATIONS
from vultus.errors import BadArgument, BadPolicy
from vultus.train.data import Augment, Augmented, ByPolicy, DrawnFaces, InMemory, draw_face, policy
from vultus.train.data.augment import POLICIES
from vultus.types import UInt8Array

EACH = {
    "mirror": Augment(mirror=1),
    "turn": Augment(turn=20),
    "zoom": Augment(zoom=0.3),
    "shift": Augment(shift=9),
    "colour": Augment(colour=1),
    "grey": Augment(grey=1),
    "low_resolution": Augment(low_resolution=1, smallest=8),
    "harm": Augment(harm=1),
    "erase": Augment(erase=1),
}


@pytest.fixture
def face() -> UInt8Array:
    """A drawn face that cannot be written to."""
    drawn = draw_face(1, 0)
    drawn.flags.writeable = False
    return drawn


def rng(number: int = 0) -> np.random.Generator:
    return np.random.default_rng(number)


def test_every_option_is_tried() -> None:
    how = {"colour_range", "smallest", "harms", "severity", "erased"}
    assert {f.name for f in dataclasses.fields(Augment)} == set(EACH) | how


@pytest.mark.parametrize("name", EACH)
def test_each_change_acts_and_keeps_the_kind_of_picture(name: str, face: UInt8Array) -> None:
    before = face.copy()
    for number in range(8):
        changed = EACH[name](face, rng(number))
        assert changed.shape == face.shape
        assert changed.dtype == np.uint8
        assert not np.array_equal(changed, face)
        assert np.array_equal(changed, EACH[name](face, rng(number)))
    assert np.array_equal(face, before)


def test_without_changes_the_face_stays(face: UInt8Array) -> None:
    assert np.array_equal(Augment()(face, rng()), face)
    assert np.array_equal(POLICIES["none"](face, rng()), face)


def test_chances_are_kept(face: UInt8Array) -> None:
    mirrored = [not np.array_equal(Augment(mirror=0.3)(face, rng(i)), face) for i in range(2000)]
    assert np.mean(mirrored) == pytest.approx(0.3, abs=4 * (0.3 * 0.7 / 2000) ** 0.5)


def test_mirror_turns_left_and_right_round(face: UInt8Array) -> None:
    assert np.array_equal(EACH["mirror"](face, rng()), face[:, ::-1])


def centre_of(picture: UInt8Array) -> tuple[float, float]:
    weight = picture[..., 0].astype(np.float64)
    rows, columns = np.mgrid[: len(picture), : len(picture)]
    return float((columns * weight).sum() / weight.sum()), float((rows * weight).sum() / weight.sum())


@pytest.mark.parametrize(("x", "y"), [(55.5, 55.5), (80, 40)])
def test_moves_stay_within_their_bounds(x: float, y: float) -> None:
    dot = np.zeros((112, 112, 3), dtype=np.uint8)
    cv2.circle(dot, (round(x * 16), round(y * 16)), 4 * 16, (255, 255, 255), -1, cv2.LINE_AA, 4)
    away = np.hypot(x - 55.5, y - 55.5)
    shifts = [np.subtract(centre_of(Augment(shift=9)(dot, rng(i))), (x, y)) for i in range(60)]
    assert 8 < np.abs(shifts).max() <= 9.1
    for augment, reach in ((Augment(turn=20), 2 * away * np.sin(np.radians(10))), (Augment(zoom=0.3), 0.3 * away)):
        moved = [np.hypot(*np.subtract(centre_of(augment(dot, rng(i))), (x, y))) for i in range(60)]
        assert max(moved) <= reach + 0.1
        assert max(moved) >= 0.8 * reach - 0.1


def test_a_turn_keeps_the_distance_from_the_middle() -> None:
    dot = np.zeros((112, 112, 3), dtype=np.uint8)
    cv2.circle(dot, (80, 40), 4, (255, 255, 255), -1)
    for i in range(20):
        x, y = centre_of(Augment(turn=20)(dot, rng(i)))
        assert np.hypot(x - 55.5, y - 55.5) == pytest.approx(np.hypot(24.5, 15.5), abs=0.15)


def test_grey_has_no_colour(face: UInt8Array) -> None:
    grey = EACH["grey"](face, rng())
    assert np.ptp(grey.astype(int), axis=2).max() <= 1
    luma = face @ np.array([0.299, 0.587, 0.114])
    assert np.abs(grey[..., 0] - luma).max() <= 1


@pytest.mark.parametrize(
    ("gentle", "harsh"),
    [
        (Augment(colour=1, colour_range=0.1), Augment(colour=1, colour_range=0.5)),
        (Augment(low_resolution=1, smallest=64), Augment(low_resolution=1, smallest=8)),
        (Augment(harm=1, harms=("blur",), severity=1), Augment(harm=1, harms=("blur",), severity=5)),
        (Augment(erase=1, erased=0.03), Augment(erase=1, erased=0.6)),
    ],
)
def test_what_says_how_far_acts(gentle: Augment, harsh: Augment, face: UInt8Array) -> None:
    def change(augment: Augment) -> float:
        return float(np.mean([np.abs(augment(face, rng(i)).astype(float) - face).mean() for i in range(30)]))

    assert change(harsh) > 1.5 * change(gentle)


def test_erased_shares_stay_within_their_bounds() -> None:
    black = np.zeros((112, 112, 3), dtype=np.uint8)
    shares = [float((Augment(erase=1, erased=0.3)(black, rng(i)) > 0).any(axis=2).mean()) for i in range(200)]
    assert min(shares) > 0.015
    assert 0.25 < max(shares) < 0.31


@pytest.mark.parametrize("factor", [f for f in sorted(DEGRADATIONS) if f != "yaw"])
def test_every_degradation_can_be_asked_for(factor: str, face: UInt8Array) -> None:
    changed = Augment(harm=1, harms=(factor,), severity=5)(face[:, ::-1], rng(3))
    assert not np.array_equal(changed, face[:, ::-1])


# --- policies -----------------------------------------------------------------------------------------------------------


def test_policies_by_name() -> None:
    assert sorted(POLICIES) == ["light", "mirror", "none", "strong"]
    assert policy("mirror") == Augment(mirror=0.5)
    assert policy("mirror", {"turn": 5, "harms": ["blur"]}) == Augment(mirror=0.5, turn=5.0, harms=("blur",))
    assert policy("strong", {"erase": 0.0}) == dataclasses.replace(POLICIES["strong"], erase=0.0)


def harm(augment: Augment, face: UInt8Array) -> float:
    return float(np.mean([np.abs(augment(face, rng(i)).astype(float) - face).mean() for i in range(60)]))


def test_policies_grow_stronger(face: UInt8Array) -> None:
    grown = [harm(dataclasses.replace(POLICIES[name], mirror=0), face) for name in ("none", "light", "strong")]
    assert grown[0] == 0
    assert grown[2] > 1.3 * grown[1] > 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: policy("hard"), "no augmentation policy 'hard'"),
        (lambda: policy("mirrors"), "did you mean 'mirror'"),
        (lambda: policy("none", {"miror": 1.0}), "unknown key 'miror'; did you mean 'mirror'"),
        (lambda: policy("none", {"mirror": "yes"}), "expected float, got 'yes'"),
        (lambda: policy("none", {"mirror": 2}), "mirror is 2.0; expected 0 to 1"),
        (lambda: Augment(harms=("fog",)), "no degradation 'fog'"),
        (lambda: Augment(harm=0.1, harms=()), "names no degradation"),
        (lambda: Augment(severity=6), "severity is 6; expected 1 to 5"),
        (lambda: Augment(erased=0.01), "erased is 0.01"),
        (lambda: Augment(turn=float("nan")), "turn is nan"),
    ],
)
def test_what_cannot_be_is_refused(make: Callable[[], Augment], message: str) -> None:
    with pytest.raises(BadArgument, match=message):
        make()


# --- data sets ----------------------------------------------------------------------------------------------------------


def test_a_changed_photo_follows_from_seed_epoch_and_number(faces: InMemory) -> None:
    dataset = Augmented(faces, policy("strong"), seed=4)
    assert (dataset.classes, dataset.labels.tolist()) == (faces.classes, faces.labels.tolist())
    backwards = {i: dataset[i][0] for i in reversed(range(12))}
    assert all(torch.equal(dataset[i][0], backwards[i]) for i in range(12))
    dataset.set_epoch(1)
    assert dataset.epoch == 1
    assert sum(torch.equal(dataset[i][0], backwards[i]) for i in range(12)) <= 1
    dataset.set_epoch(0)
    assert torch.equal(dataset[3][0], backwards[3])
    other = Augmented(faces, policy("strong"), seed=5)
    assert sum(torch.equal(other[i][0], backwards[i]) for i in range(12)) <= 1


def test_the_photos_of_a_set_differ_in_their_changes() -> None:
    same = DrawnFaces(2, 6)
    mirrored = Augmented(same, policy("mirror"))
    turned = [not torch.equal(mirrored[i][0], same[i][0]) for i in range(12)]
    assert 0 < sum(turned) < 12
    assert all(torch.equal(mirrored[i][0], same[i][0].flip(2)) for i in range(12) if turned[i])


# --- policies of vultus.augment ------------------------------------------------------------------------------------------


def test_a_policy_of_a_file_is_taken(tmp_path: Path, faces: InMemory, face: UInt8Array) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(
        '[[steps]]\noperation = "mask"\nseverity = [4, 4]\n\n[[steps]]\noperation = "mirror"\nchance = 0.5\n'
    )
    made = policy(str(path))
    assert isinstance(made, ByPolicy)
    before = face.copy()
    drawn = [made(face, rng(i)) for i in range(6)]
    assert len({d.tobytes() for d in drawn}) > 1
    assert all(np.array_equal(d, made(face, rng(i))) for i, d in enumerate(drawn))
    assert all(np.abs(d[80:100].astype(int) - face[80:100]).mean() > 5 for d in drawn)  # a mask lies over the mouth
    assert all(np.abs(d[45:50].astype(int) - face[45:50]).mean() < 40 for d in drawn)
    assert np.array_equal(face, before)
    dataset = Augmented(faces, made, seed=2)
    first = dataset[0][0]
    assert torch.equal(first, dataset[0][0])
    dataset.set_epoch(1)
    assert not torch.equal(first, dataset[0][0])


def test_a_file_has_no_options_and_must_be_one(tmp_path: Path) -> None:
    with pytest.raises(BadPolicy, match="cannot read the policy"):
        policy(str(tmp_path / "none.toml"))
    with pytest.raises(BadArgument, match="options belong into it, got turn"):
        policy("none.toml", {"turn": 3})
