"""Scores, searches and templates against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vultus import Template, compare, score, similarity, template_of, top_k
from vultus.errors import BadArgument, BadTemplate, ModelMismatch
from vultus.types import FloatArray


def unit_rows(n: int, seed: int, d: int = 24) -> FloatArray:
    rows = np.random.default_rng(seed).standard_normal((n, d))
    unit: FloatArray = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit


def tied_rows(n: int, seed: int) -> FloatArray:
    """Sixteen numbers of +-1/4: every product is a multiple of 1/8 and exact, and many tie."""
    signs: FloatArray = (np.random.default_rng(seed).integers(0, 2, (n, 16)) * 0.5 - 0.25).astype(np.float32)
    return signs


def plain_top_k(probes: FloatArray, references: FloatArray, k: int) -> tuple[list[list[int]], list[list[float]]]:
    scores = [[float(np.dot(p, r)) for r in references] for p in probes]
    where = [sorted(range(len(references)), key=lambda i: (-row[i], i))[:k] for row in scores]
    return where, [[row[i] for i in order] for row, order in zip(scores, where, strict=True)]


# --- similarity -------------------------------------------------------------------------------------------------------


def test_similarity_is_the_cosine() -> None:
    probes, references = unit_rows(5, 1), unit_rows(7, 2)
    expected = [[np.dot(p, r) for r in references.astype(np.float64)] for p in probes.astype(np.float64)]
    scores = similarity(probes, references)
    assert scores.dtype == np.float32
    assert np.allclose(scores, expected, atol=1e-6)


@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 10**6))
def test_similarity_is_symmetric_and_bounded(n: int, m: int, seed: int) -> None:
    a, b = unit_rows(n, seed), unit_rows(m, seed + 1)
    scores = similarity(a, b)
    assert scores.shape == (n, m)
    assert np.allclose(scores, similarity(b, a).T, atol=1e-6)
    assert np.abs(scores).max(initial=0) <= 1
    own = similarity(a, a)
    assert np.allclose(np.diag(own), 1, atol=1e-6)
    assert own.max(initial=0) <= 1


BAD_ROWS = [
    (np.zeros(4), r"shape \(4,\); expected \(n, d\)"),
    (np.zeros((2, 2, 2)), "shape"),
    (np.full((2, 4), np.nan), "NaN or infinity"),
    (np.array([[1.0, 0.0], [np.inf, 0.0]]), "NaN or infinity"),
    (np.zeros((2, 4)), "length 0; expected 1"),
    (np.array([[1.0, 0.0], [2.0, 0.0]]), "length 2; expected 1"),
]


@pytest.mark.parametrize(("rows", "message"), BAD_ROWS)
def test_bad_rows_are_refused_on_either_side(rows: FloatArray, message: str) -> None:
    assert len(BAD_ROWS) == 6
    good = np.eye(rows.shape[-1], dtype=np.float32)
    with pytest.raises(BadTemplate, match=message):
        similarity(rows, good)
    with pytest.raises(BadTemplate):
        similarity(good, rows)
    with pytest.raises(BadTemplate, match=message):
        top_k(rows, good, k=1)


def test_rows_of_two_dimensions_are_refused() -> None:
    with pytest.raises(BadTemplate, match=r"shape \(3, 16\); expected \(n, 24\)"):
        similarity(unit_rows(2, 0), tied_rows(3, 0))


# --- top k ------------------------------------------------------------------------------------------------------------


@settings(max_examples=80)
@given(st.integers(0, 6), st.integers(0, 40), st.integers(1, 45), st.integers(1, 13), st.integers(0, 10**6))
def test_top_k_equals_a_full_sort_with_ties_across_blocks(n: int, m: int, k: int, block: int, seed: int) -> None:
    probes, references = tied_rows(n, seed), tied_rows(m, seed + 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compare, "_BLOCK", block)
        where, scores = top_k(probes, references, k=k)
    expected, best = plain_top_k(probes, references, k)
    assert where.tolist() == expected
    assert scores.tolist() == best
    assert where.shape == scores.shape == (n, min(k, m))


def test_top_k_finds_a_needle() -> None:
    references = unit_rows(5_000, 3)
    where, scores = top_k(references[[17, 4_321]], references, k=2)
    assert where[:, 0].tolist() == [17, 4_321]
    assert np.allclose(scores[:, 0], 1, atol=1e-6)
    assert (scores[:, 1] < 0.95).all()


@pytest.mark.parametrize("k", [0, -3])
def test_top_k_needs_a_count(k: int) -> None:
    with pytest.raises(BadArgument, match=f"k is {k}"):
        top_k(unit_rows(1, 0), unit_rows(3, 1), k=k)


# --- templates --------------------------------------------------------------------------------------------------------


def templates(n: int, seed: int, model: str = "m") -> list[Template]:
    rng = np.random.default_rng(seed)
    return [
        Template(v, model, samples=int(rng.integers(1, 5)), quality=float(q))
        for v, q in zip(unit_rows(n, seed), rng.uniform(0, 1, n), strict=True)
    ]


def close(one: Template, other: Template) -> bool:
    return bool(np.allclose(one.vector, other.vector, atol=2e-6)) and one.samples == other.samples


def test_score_is_the_cosine_and_symmetric() -> None:
    one, other = templates(2, 5)
    assert score(one, other) == pytest.approx(float(one.vector.astype(np.float64) @ other.vector), abs=1e-6)
    assert score(one, other) == score(other, one)
    assert score(one, one) == pytest.approx(1, abs=1e-6)
    assert score(one, one) <= 1


def test_a_template_of_one_is_itself() -> None:
    (one,) = templates(1, 1)
    assert close(template_of([one]), one)
    assert template_of([one]).quality == pytest.approx(one.quality)


@given(st.integers(2, 6), st.integers(0, 10**6))
def test_order_and_grouping_do_not_matter(n: int, seed: int) -> None:
    several = templates(n, seed)
    weighted = sum(t.samples * t.vector.astype(np.float64) for t in several)
    whole = template_of(several)
    assert np.allclose(whole.vector, weighted / np.linalg.norm(weighted), atol=1e-5)
    assert close(whole, template_of(several[::-1]))
    assert whole.samples == sum(t.samples for t in several)
    assert whole.quality == pytest.approx(sum((t.quality or 0) * t.samples for t in several) / whole.samples)


def test_samples_weigh() -> None:
    x, y = np.eye(2, dtype=np.float32)
    merged = template_of([Template(x, "m", samples=3), Template(y, "m", samples=1)])
    assert merged.vector.tolist() == pytest.approx([3 / 10**0.5, 1 / 10**0.5])
    assert (merged.samples, merged.quality) == (4, None)


def test_quality_is_the_mean_of_those_that_have_one() -> None:
    x = np.eye(2, dtype=np.float32)[0]
    assert template_of(
        [Template(x, "m", 3, 0.4), Template(x, "m", 1, 0.8), Template(x, "m", 9)]
    ).quality == pytest.approx(0.5)


def test_templates_of_two_models_do_not_meet() -> None:
    (one,), (other,) = templates(1, 1, "model-a"), templates(1, 1, "model-b")
    with pytest.raises(ModelMismatch, match="'model-a' and 'model-b'"):
        score(one, other)
    with pytest.raises(ModelMismatch, match="'model-a' and 'model-b'"):
        template_of([other, one])


def test_templates_of_two_dimensions_do_not_meet() -> None:
    one, other = Template(unit_rows(1, 0)[0], "m"), Template(tied_rows(1, 0)[0], "m")
    with pytest.raises(BadTemplate, match="dimensions 16 and 24"):
        score(one, other)
    with pytest.raises(BadTemplate, match="dimensions 16 and 24"):
        template_of([one, other])


def test_opposite_samples_have_no_mean() -> None:
    x = np.eye(2, dtype=np.float32)[0]
    with pytest.raises(BadTemplate, match="opposite"):
        template_of([Template(x, "m"), Template(-x, "m")])


def test_a_template_needs_a_sample() -> None:
    with pytest.raises(BadArgument, match="at least one"):
        template_of([])
