"""Near-duplicates: found by picture and embedding together, the best of a group kept."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vultus.train.data import draw_face
from vultus.train.data.duplicates import across, difference_hash, distance, distinct
from vultus.types import FloatArray

Seeds = st.integers(0, 1000)


def random_rows(rng: np.random.Generator, n: int, groups: int) -> tuple[FloatArray, np.ndarray]:
    """n unit rows about a few centres, and hashes that differ in a few bits from their centre's."""
    of = rng.integers(groups, size=n)
    rows = rng.normal(size=(groups, 8))[of] + 0.2 * rng.normal(size=(n, 8))
    hashes = rng.integers(0, 2**63, size=groups, dtype=np.uint64)[of]
    for _ in range(3):
        hashes = hashes ^ (np.uint64(1) << rng.integers(0, 64, size=n, dtype=np.uint64))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), hashes


def test_the_hash_survives_what_saving_does_and_tells_faces_apart() -> None:
    faces = [draw_face(i, 0) for i in range(12)]
    known = np.array([difference_hash(f) for f in faces], dtype=np.uint64)
    for face, mine in zip(faces, known, strict=True):
        _, content = cv2.imencode(".jpg", face, [cv2.IMWRITE_JPEG_QUALITY, 60])
        smaller = cv2.resize(cv2.resize(face, (56, 56), interpolation=cv2.INTER_AREA), (112, 112))
        brighter = np.clip(face.astype(int) + 12, 0, 255).astype(np.uint8)
        for saved in (np.asarray(cv2.imdecode(content, cv2.IMREAD_COLOR), dtype=np.uint8), smaller, brighter):
            assert distance(np.array([difference_hash(saved)], dtype=np.uint64), mine)[0] <= 6
    far = distance(known[:, None], known[None])
    assert np.median(far[~np.eye(12, dtype=bool)]) > 12


def test_the_bits_are_those_of_the_differences() -> None:
    rising = np.repeat(np.linspace(0, 240, 112).astype(np.uint8)[None, :, None], 112, axis=0).repeat(3, axis=2)
    assert difference_hash(rising) == 2**64 - 1
    assert difference_hash(rising[:, ::-1]) == 0


@settings(deadline=None, max_examples=40)
@given(seed=Seeds, n=st.integers(1, 60), cosine=st.sampled_from([0.8, 0.95]), bits=st.integers(0, 8))
def test_distinct_keeps_the_best_of_each_group(seed: int, n: int, cosine: float, bits: int) -> None:
    rng = np.random.default_rng(seed)
    rows, hashes = random_rows(rng, n, 8)
    quality = rng.integers(0, 5, size=n).astype(np.float32)
    stays = distinct(rows, hashes, quality, cosine=cosine, bits=bits)
    kept: list[int] = []
    for i in sorted(range(n), key=lambda i: (-quality[i], i)):  # the definition, one by one
        if not any(rows[i] @ rows[j] >= cosine and int(hashes[i] ^ hashes[j]).bit_count() <= bits for j in kept):
            kept.append(i)
    assert np.flatnonzero(stays).tolist() == sorted(kept)


def test_distinct_works_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, hashes = random_rows(np.random.default_rng(0), 300, 20)
    quality = np.random.default_rng(1).random(300).astype(np.float32)
    whole = distinct(rows, hashes, quality, cosine=0.9, bits=8)
    monkeypatch.setattr("vultus.train.data.duplicates._BLOCK", 7)
    assert np.array_equal(distinct(rows, hashes, quality, cosine=0.9, bits=8), whole)
    assert 0 < whole.sum() < 300


@settings(deadline=None, max_examples=40)
@given(seed=Seeds, n=st.integers(0, 80), bits=st.integers(0, 8))
def test_across_finds_every_pair_of_two_identities(seed: int, n: int, bits: int) -> None:
    rng = np.random.default_rng(seed)
    rows, hashes = random_rows(rng, n, 12)
    labels = rng.integers(4, size=n)
    expected = [
        [i, j]
        for i in range(n)
        for j in range(i + 1, n)
        if labels[i] != labels[j] and rows[i] @ rows[j] >= 0.8 and int(hashes[i] ^ hashes[j]).bit_count() <= bits
    ]
    assert across(rows, hashes, labels, cosine=0.8, bits=bits).tolist() == expected


def test_a_crowd_of_equal_pictures_takes_no_time_of_its_square() -> None:
    n = 600
    rows, labels = np.tile(np.array([1, 0], dtype=np.float32), (n, 1)), np.arange(n)
    pairs = across(rows, np.zeros(n, dtype=np.uint64), labels, cosine=0.9, bits=4)
    assert len(pairs) < 64 * n
    assert set(np.unique(pairs).tolist()) == set(range(n))  # each is named with some other
