"""Policies: the same from the same seed however they are called, and every option acts."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.augment.conftest import BOX, POINTS, found_after, wrong

from vultus.augment import OPERATIONS, Policy, Step, Views, vary
from vultus.errors import BadArgument, BadPolicy
from vultus.types import FloatArray, UInt8Array

RECIPES = sorted((Path(__file__).parents[2] / "recipes" / "augment").glob("*.toml"))
QUICK = [name for name in OPERATIONS if name not in ("yaw", "pitch", "pose")]
MOVING = [name for name, operation in OPERATIONS.items() if operation.change is None]
EVERYTHING = Policy(tuple(Step(name, chance=0.5) for name in QUICK), order="shuffled")


def same(one: Views, other: Views) -> bool:
    return all(
        (a is None and b is None) or np.array_equal(np.asarray(a), np.asarray(b))
        for a, b in zip(
            (one.images, one.landmarks, one.boxes), (other.images, other.landmarks, other.boxes), strict=True
        )
    )


def batch_of(face: UInt8Array, count: int) -> UInt8Array:
    return np.stack([np.roll(face, 5 * i, axis=1) for i in range(count)])


# --- operations ---------------------------------------------------------------------------------------------------------


def test_the_operations_are_these() -> None:
    assert list(OPERATIONS) == [
        *("mirror", "rotation", "scale", "shift", "crop", "patch", "yaw", "pitch", "pose"),
        *("brightness", "contrast", "saturation", "hue", "white_balance", "grey", "gamma", "light"),
        *("blur", "motion_blur", "defocus", "noise", "jpeg", "low_resolution"),
        *("mask", "glasses", "hand", "patches"),
    ]


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation_acts_and_keeps_the_kind_of_picture(name: str, face: UInt8Array, points: FloatArray) -> None:
    before = face.copy()
    one = vary(face, name, points, BOX, seed=4)
    assert one.images.shape == face.shape
    assert one.images.dtype == np.uint8
    assert not np.array_equal(one.images, face)
    assert same(one, vary(face, name, points, BOX, seed=4))
    assert np.array_equal(face, before)
    assert same(vary(face, name, points, BOX, severity=0), Views(face, points, BOX))


@pytest.mark.parametrize("name", [n for n in QUICK if n not in ("mirror", "patch", "crop", "shift", "hand")])
def test_a_higher_severity_changes_more(name: str, face: UInt8Array, points: FloatArray) -> None:
    photos = batch_of(face, 6)
    landmarks = np.stack([np.add(points, (5 * i, 0)) for i in range(6)]).astype(np.float32)
    changes = [
        np.abs(vary(photos, name, landmarks, severity=s, seed=1).images.astype(float) - photos).mean()
        for s in (1, 3, 5)
    ]
    assert changes[0] < changes[1] < changes[2]


@pytest.mark.parametrize("name", OPERATIONS)
def test_severities_grow_and_lie_within_what_can_be_asked_for(name: str) -> None:
    operation = OPERATIONS[name]
    amounts = np.asarray(operation.amounts)
    assert (np.diff(amounts) >= 0).all() or (np.diff(amounts) <= 0).all()
    assert operation.low <= amounts.min()
    assert amounts.max() <= operation.high
    assert 0 < operation.severity <= 5
    assert [operation.amount(s) for s in range(6)] == [pytest.approx(a) for a in amounts]
    assert operation.amount(2.5) == pytest.approx((amounts[2] + amounts[3]) / 2)
    assert sum(f is not None for f in (operation.map, operation.change, operation.warp)) == 1


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", [n for n in MOVING if n != "patch"])
def test_landmarks_go_where_marks_are_seen(name: str, seed: int) -> None:
    said = np.asarray(vary(np.zeros((300, 260, 3), dtype=np.uint8), name, POINTS, seed=seed).landmarks)
    seen = found_after(lambda picture: vary(picture, name, POINTS, seed=seed).images, POINTS)
    if name == "mirror":
        seen = seen[[1, 0, 2, 4, 3]]
    assert np.abs(seen - said).max() <= 1


@pytest.mark.parametrize("name", [n for n in OPERATIONS if n not in MOVING])
def test_other_operations_leave_landmarks_and_boxes(name: str, face: UInt8Array, points: FloatArray) -> None:
    changed = vary(face, name, points, BOX, severity=5)
    assert np.array_equal(np.asarray(changed.landmarks), points)
    assert np.array_equal(np.asarray(changed.boxes), BOX)


@pytest.mark.parametrize("name", ["blur", "defocus", "motion_blur", "jpeg", "low_resolution"])
def test_lengths_follow_the_distance_between_the_eyes(name: str, face: UInt8Array, points: FloatArray) -> None:
    def change(landmarks: FloatArray | None) -> float:
        return float(np.abs(vary(face, name, landmarks, severity=3).images.astype(float) - face).mean())

    small = points.mean(axis=0) + (points - points.mean(axis=0)) / 4
    assert change(small.astype(np.float32)) < change(points)
    aligned = np.array([[0, 0], [0.3146 * 300, 0], [0, 0], [0, 0], [0, 0]], dtype=np.float32)
    assert change(None) == change(aligned)


# --- the same from the same seed ---------------------------------------------------------------------------------------


@settings(max_examples=8, deadline=None)
@given(st.integers(-(2**40), 2**63), st.integers(0, 2**40), st.integers(0, 5))
def test_a_batch_in_parts_gives_what_it_gives_as_a_whole(seed: int, first: int, cut: int) -> None:
    photos = np.random.default_rng(0).integers(0, 256, (5, 60, 50, 3), dtype=np.uint8)
    landmarks = np.stack([POINTS / 5 + i for i in range(5)]).astype(np.float32)
    boxes = np.stack([BOX / 5] * 5).astype(np.float32)
    whole = EVERYTHING(photos, landmarks, boxes, seed=seed, first=first)
    parts = [
        EVERYTHING(photos[s], landmarks[s], boxes[s], seed=seed, first=first + b)
        for s, b in ((slice(0, cut), 0), (slice(cut, 5), cut))
        if len(photos[s])
    ]
    assert np.array_equal(whole.images, np.concatenate([p.images for p in parts]))
    assert np.array_equal(np.asarray(whole.landmarks), np.concatenate([np.asarray(p.landmarks) for p in parts]))
    assert np.array_equal(np.asarray(whole.boxes), np.concatenate([np.asarray(p.boxes) for p in parts]))
    alone = EVERYTHING(photos[3], landmarks[3], boxes[3], seed=seed, first=first + 3)
    assert np.array_equal(whole.images[3], alone.images)


def test_an_empty_batch_stays_empty(points: FloatArray) -> None:
    views = EVERYTHING(np.zeros((0, 30, 20, 3), dtype=np.uint8), points, seed=0)
    assert views.images.shape == (0, 30, 20, 3)
    assert np.asarray(views.landmarks).shape == (0, 5, 2)
    assert len(views) == 0


def test_another_seed_or_number_gives_another_change(face: UInt8Array, points: FloatArray) -> None:
    policy = Policy((Step("rotation"), Step("brightness")))
    drawn = {policy(face, points, seed=s, first=f).images.tobytes() for s in range(3) for f in range(3)}
    assert len(drawn) == 9


def test_a_step_draws_the_same_whatever_stands_before_it(face: UInt8Array) -> None:
    one = Policy((Step("grey", chance=0.0), Step("noise")))(face, seed=2)
    other = Policy((Step("mirror", chance=0.0), Step("noise")))(face, seed=2)
    assert np.array_equal(one.images, other.images)


# --- options ------------------------------------------------------------------------------------------------------------


def test_moves_in_a_row_interpolate_once(face: UInt8Array, points: FloatArray) -> None:
    there_and_back = (Step("mirror"),) * 2
    assert np.array_equal(Policy(there_and_back)(face, points, seed=0).images, face)
    assert not np.array_equal(Policy((*there_and_back, Step("mirror")))(face, seed=0).images, face)
    apart = Policy((Step("mirror"), Step("brightness"), Step("mirror")))(face, points, seed=0)
    assert np.abs(np.asarray(apart.landmarks) - points).max() < 1e-3


@pytest.mark.parametrize("chance", [0.0, 0.3, 1.0])
def test_chances_are_kept(chance: float) -> None:
    dot = np.zeros((1200, 1, 2, 3), dtype=np.uint8)
    dot[:, :, 0] = 255
    mirrored = Policy((Step("mirror", chance=chance),))(dot, seed=3).images[:, 0, 1, 0] == 255
    assert mirrored.mean() == pytest.approx(chance, abs=4 * (chance * (1 - chance) / 1200) ** 0.5)


def test_amounts_and_severities_are_drawn_from_their_range() -> None:
    grey = np.full((400, 1, 1, 3), 100, dtype=np.uint8)
    seen = Policy((Step("brightness", amount=(0.2, 0.5)),))(grey, seed=0).images[:, 0, 0, 0]
    logs = np.abs(np.log(seen / 100))
    assert 0.19 < logs.min() < 0.22
    assert 0.47 < logs.max() < 0.51
    assert 0.3 < np.mean(seen < 100) < 0.7
    seen = Policy((Step("brightness", severity=(2, 2)),))(grey, seed=0).images[:, 0, 0, 0]
    assert set(seen.tolist()) == {82, 122}
    seen = Policy((Step("brightness"),))(grey, seed=0).images[:, 0, 0, 0]
    assert np.abs(np.log(seen / 100)).max() == pytest.approx(OPERATIONS["brightness"].amount(3), abs=0.02)


def test_one_of_several_is_made(face: UInt8Array) -> None:
    policy = Policy((Step(one_of=("mirror", "grey")),))
    alone = {n: vary(face, n, severity=5).images.tobytes() for n in ("mirror", "grey")}
    drawn = [policy(face, seed=0, first=i).images for i in range(20)]
    mirrored = sum(d.tobytes() == alone["mirror"] for d in drawn)
    assert 2 < mirrored < 18
    grey = [d for d in drawn if d.tobytes() != alone["mirror"]]
    assert all(np.abs(d.astype(int) - face).max() > 0 for d in grey)


def test_the_order_is_given_or_shuffled(face: UInt8Array) -> None:
    steps = (Step("brightness", amount=(0.9, 0.9)), Step("gamma", amount=(0.9, 0.9)))
    given = Policy(steps)
    shuffled = Policy(steps, order="shuffled")
    differs = [not same(given(face, seed=0, first=i), shuffled(face, seed=0, first=i)) for i in range(20)]
    assert 2 < sum(differs) < 18


def test_at_most_so_many_steps_are_made() -> None:
    grey = np.full((300, 1, 3, 3), 100, dtype=np.uint8)
    grey[:, 0, 0] = (120, 100, 80)
    steps = (Step("mirror"), Step("grey", severity=(5, 5)), Step("brightness", amount=(0.5, 0.5)))
    seen = Policy(steps, most=1)(grey, seed=0).images
    mirrored = (seen[:, 0, 2] == (120, 100, 80)).all(axis=1)
    greyed = np.ptp(seen[:, 0, 0].astype(int), axis=1) == 0
    lit = seen[:, 0, 1, 0] != 100
    assert ((mirrored.astype(int) + (greyed & ~mirrored) + lit) == 1).all()
    assert min(mirrored.mean(), (greyed & ~mirrored).mean(), lit.mean()) > 0.25


def test_the_border_is_the_one_that_is_asked_for(face: UInt8Array) -> None:
    corners = {
        border: Policy((Step("scale", amount=(0.5, 0.5)),), border=wrong(border))(face, seed=1).images[0, 0].tolist()
        for border in ("reflect", "edge", "black")
    }
    assert corners["black"] == [0, 0, 0]
    assert len({tuple(c) for c in corners.values()}) == 3


# --- files --------------------------------------------------------------------------------------------------------------


TEXT = """
order = "shuffled"
most = 2
border = "edge"

[[steps]]
operation = "rotation"
chance = 0.5
amount = [0, 12]

[[steps]]
one_of = ["mask", "glasses"]
severity = [1, 2.5]

[[steps]]
operation = "mirror"
"""


def test_a_policy_is_read_from_toml(tmp_path: Path) -> None:
    expected = Policy(
        (
            Step("rotation", chance=0.5, amount=(0.0, 12.0)),
            Step(one_of=("mask", "glasses"), severity=(1.0, 2.5)),
            Step("mirror"),
        ),
        order="shuffled",
        most=2,
        border="edge",
    )
    assert Policy.parse(TEXT) == expected
    (tmp_path / "policy.toml").write_text(TEXT, encoding="utf-8")
    assert Policy.load(tmp_path / "policy.toml") == Policy.load(str(tmp_path / "policy.toml")) == expected


def test_every_option_is_in_the_text() -> None:
    options = {f.name for f in (*dataclasses.fields(Policy), *dataclasses.fields(Step))}
    assert all(f"{name} = " in TEXT or f"[[{name}]]" in TEXT for name in options)


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_the_policies_in_recipes_can_be_used(path: Path, face: UInt8Array, points: FloatArray) -> None:
    policy = Policy.load(path)
    views = policy(batch_of(face, 2), points, BOX, seed=0)
    assert views.images.shape == (2, 300, 260, 3)


def test_there_are_policies_in_recipes() -> None:
    assert {path.stem for path in RECIPES} == {"light", "strong", "occluders", "camera", "pose"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps = [", "policy: "),
        ("", "key 'steps' is missing"),
        ("steps = []", "at least one step"),
        ("step = []", "unknown key 'step'; did you mean 'steps'"),
        ('[[steps]]\noperaton = "mirror"', "unknown key 'operaton'; did you mean 'operation'"),
        ('[[steps]]\noperation = "miror"', "no operation 'miror'; did you mean 'mirror'"),
        ('[[steps]]\noperation = "fog"', "no operation 'fog'; expected one of mirror"),
        ("[[steps]]\nchance = 0.5", "either operation or one_of"),
        ('[[steps]]\noperation = "mirror"\none_of = ["blur"]', "either operation or one_of"),
        ('[[steps]]\noperation = "mirror"\nchance = 1.5', "chance is 1.5"),
        ('[[steps]]\noperation = "mirror"\nchance = "often"', "expected float, got 'often'"),
        ('[[steps]]\noperation = "blur"\nseverity = [0, 6]', r"severity is \[0.0, 6.0\]"),
        ('[[steps]]\noperation = "blur"\nseverity = [3, 2]', r"severity is \[3.0, 2.0\]"),
        ('[[steps]]\noperation = "blur"\nseverity = [3]', "expected 2 values, got 1"),
        ('[[steps]]\noperation = "blur"\nseverity = [nan, nan]', "severity is"),
        ('[[steps]]\noperation = "jpeg"\namount = [0, 50]', "amount is .* within 1 to 100"),
        ('[[steps]]\noperation = "blur"\namount = [0, 1]\nseverity = [1, 2]', "not both"),
        ('[[steps]]\none_of = ["blur", "jpeg"]\namount = [1, 2]', "unit of one operation"),
        ('most = 2\n[[steps]]\noperation = "blur"', "most is 2; expected 1 to 1"),
        ('order = "random"\n[[steps]]\noperation = "blur"', "'random' is none of 'given', 'shuffled'"),
        ('border = "blck"\n[[steps]]\noperation = "blur"', "did you mean 'black'"),
    ],
)
def test_what_is_no_policy_is_refused(text: str, message: str) -> None:
    with pytest.raises(BadPolicy, match=message):
        Policy.parse(text)


def test_files_that_are_no_policies_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadPolicy, match=r"cannot read the policy .*No such file"):
        Policy.load(tmp_path / "none.toml")
    with pytest.raises(BadPolicy, match="cannot read"):
        Policy.load(tmp_path)
    with pytest.raises(BadPolicy, match="cannot read"):
        Policy.load("a\0b")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadPolicy, match=r"bytes\.toml: expected UTF-8"):
        Policy.load(tmp_path / "bytes.toml")
    (tmp_path / "long.toml").write_bytes(b"#" * (1 << 21))
    with pytest.raises(BadPolicy, match="that is no policy"):
        Policy.load(tmp_path / "long.toml")
    assert BadPolicy.code == "bad_policy"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": (Step("mirror"),), "order": "any"}, "no order 'any'"),
        ({"steps": (Step("mirror"),), "border": "any"}, "no border 'any'"),
        ({"steps": (Step("mirror"),), "most": 0}, "most is 0"),
    ],
)
def test_policies_made_in_code_are_checked_too(options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadPolicy, match=message):
        Policy(**options)


def test_what_cannot_be_changed_is_refused(face: UInt8Array, points: FloatArray) -> None:
    with pytest.raises(BadArgument, match="glasses, mask: follow the face and need landmarks"):
        Policy((Step(one_of=("mask", "glasses"), chance=0.01),))(face, seed=0)
    with pytest.raises(BadArgument, match="dtype"):
        EVERYTHING(wrong(face / 255), points, seed=0)
    for options in ({"seed": 0.5}, {"seed": True}, {"seed": 0, "first": "1"}):
        with pytest.raises(BadArgument, match="expected a whole number"):
            EVERYTHING(face, points, **wrong(options))
    with pytest.raises(BadPolicy, match="no operation 'fog'"):
        vary(face, "fog")
    with pytest.raises(BadPolicy, match="severity is"):
        vary(face, "blur", severity=7)
