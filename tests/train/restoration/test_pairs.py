"""Harmed and true views: what is drawn acts, repeats by its seed, and leaves the face that it was made of alone."""

from __future__ import annotations

import numpy as np
import pytest

from vultus.errors import BadArgument
from vultus.train.data import draw_face
from vultus.train.restoration.pairs import harmed

FACTORS = ("low_resolution", "dark", "occlusion", "yaw", "light")


def made(pixels: np.ndarray, seed: int = 0, **changed: object) -> np.ndarray:
    options: dict[str, object] = {"factors": FACTORS, "untouched": 0.0, "twice": 0.0, "jitter": 0.0} | changed
    return harmed(pixels, np.random.default_rng(seed), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("factor", FACTORS)
def test_every_factor_harms_and_repeats(factor: str) -> None:
    face = draw_face(1, 0)
    before = face.copy()
    one, again, *others = (made(face, seed, factors=(factor,)) for seed in (4, 4, *range(8)))
    assert one.shape == face.shape
    assert one.dtype == np.uint8
    assert np.array_equal(one, again)
    assert not all(np.array_equal(one, other) for other in others)
    assert np.abs(one.astype(int) - face).mean() > 1
    assert np.array_equal(face, before)


def test_lamps_stand_on_either_side_and_the_worst_is_common() -> None:
    face = np.full((112, 112, 3), 120, dtype=np.uint8)
    lit = np.stack([made(face, seed, factors=("light",)) for seed in range(60)]).astype(float)
    left, right = lit[:, 40:90, 20:50].mean(axis=(1, 2, 3)), lit[:, 40:90, 62:92].mean(axis=(1, 2, 3))
    assert 15 < (left > right).sum() < 50
    small = [made(face, seed, factors=("occlusion",)) for seed in range(200)]
    covered = np.array([(picture == (118, 122, 128)).all(axis=2).sum() for picture in small])
    assert (covered == covered.max()).sum() > 2 * ((covered > 0) & (covered == covered[covered > 0].min())).sum()


def test_untouched_faces_stay() -> None:
    face = draw_face(2, 0)
    assert np.array_equal(made(face, untouched=1.0), face)
    assert not np.array_equal(made(face, untouched=1.0, jitter=1.0), face)


def test_two_factors_harm_more_than_one() -> None:
    face = draw_face(3, 0)
    once = np.mean([np.abs(made(face, s).astype(int) - face).mean() for s in range(20)])
    twice = np.mean([np.abs(made(face, s, twice=1.0).astype(int) - face).mean() for s in range(20)])
    assert twice > 1.15 * once


def test_a_turned_face_has_hardly_any_black_around_it() -> None:
    face = np.full((112, 112, 3), 200, dtype=np.uint8)
    for seed in range(12):
        assert (made(face, seed, factors=("yaw",)) < 198).mean() < 0.04  # at most a corner, at the steepest


def test_jitter_is_at_most_what_was_asked_for() -> None:
    dot = np.zeros((112, 112, 3), dtype=np.uint8)
    dot[53:59, 53:59] = 255
    for seed in range(10):
        moved = made(dot, seed, untouched=1.0, jitter=2.0).mean(axis=2)
        rows, columns = np.indices(moved.shape)
        found = np.array([(moved * columns).sum(), (moved * rows).sum()]) / moved.sum()
        assert np.abs(found - 55.5).max() <= 2.2


def test_an_unknown_factor_is_named() -> None:
    with pytest.raises(BadArgument, match="no degradation 'rain'"):
        made(draw_face(0, 0), factors=("rain",))
