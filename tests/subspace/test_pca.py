from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import decomposition
from sklearn.base import clone

from vultus.errors import BadArgument, NotFitted
from vultus.subspace import PCA
from vultus.types import Float64Array


def samples(n: int = 60, d: int = 7, seed: int = 0) -> Float64Array:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)) @ rng.standard_normal((d, d)) + rng.standard_normal(d)


@pytest.mark.parametrize("n_components", [None, 1, 3, 7, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("whiten", [False, True])
def test_it_is_the_pca_of_scikit_learn(n_components: int | float | None, whiten: bool) -> None:
    x = samples()
    ours = PCA(n_components, whiten=whiten).fit(x)
    theirs = decomposition.PCA(n_components, whiten=whiten, svd_solver="full").fit(x)
    signs = np.sign((ours.components_ * theirs.components_).sum(axis=1))
    assert ours.components_ == pytest.approx(theirs.components_ * signs[:, None], abs=1e-9)
    assert ours.mean_ == pytest.approx(theirs.mean_)
    assert ours.explained_variance_ == pytest.approx(theirs.explained_variance_)
    assert ours.explained_variance_ratio_ == pytest.approx(theirs.explained_variance_ratio_)
    probe = samples(seed=0)[:9] + 1
    assert ours.transform(probe) == pytest.approx(theirs.transform(probe) * signs, abs=1e-9)
    assert ours.inverse_transform(ours.transform(probe)) == pytest.approx(
        theirs.inverse_transform(theirs.transform(probe)), abs=1e-9
    )


def test_fewer_samples_than_dimensions() -> None:
    x = samples(n=5, d=12)
    ours = PCA().fit(x)
    assert ours.components_.shape == (5, 12)
    assert ours.inverse_transform(ours.transform(x)) == pytest.approx(x)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 12), st.integers(1, 8), st.integers(0, 99))
def test_all_components_keep_distances_and_whitened_ones_have_variance_one_or_none(n: int, d: int, seed: int) -> None:
    x = np.random.default_rng(seed).standard_normal((n, d))
    rows = PCA().fit_transform(x)
    assert np.linalg.norm(rows[0] - rows[1]) == pytest.approx(np.linalg.norm(x[0] - x[1]), abs=1e-9)
    white = PCA(whiten=True).fit_transform(x).var(axis=0, ddof=1)
    assert ((np.abs(white - 1) < 1e-9) | (white < 1e-9)).all()
    assert (np.abs(white - 1) < 1e-9).sum() == min(n - 1, d)


def test_the_largest_entry_of_each_component_is_positive() -> None:
    rows = PCA().fit(samples()).components_
    assert (rows[np.arange(len(rows)), np.abs(rows).argmax(axis=1)] > 0).all()


def test_samples_without_any_variance() -> None:
    fitted = PCA(2, whiten=True).fit(np.ones((4, 3)))
    assert (fitted.transform(np.ones((2, 3))) == 0).all()
    assert (fitted.explained_variance_ratio_ == 0).all()


def test_state_is_all_there_is() -> None:
    x = samples()
    fitted = PCA(3).fit(x)
    again = PCA.from_state(fitted.state(), whiten=True)
    assert again.n_components == 3
    assert again.transform(x) == pytest.approx(PCA(3, whiten=True).fit_transform(x))
    state = fitted.state()
    state["mean_"][:] = 0
    assert fitted.mean_ == pytest.approx(x.mean(axis=0))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mean_": np.zeros(3)}, "mean_ has shape"),
        ({"components_": np.zeros(3)}, "components_ have shape"),
        ({"mean_": np.full(7, np.nan)}, "NaN"),
        ({"other": np.zeros(1)}, "'other' does not fit"),
        ({"mean_": "abc"}, "no numbers"),
    ],
)
def test_a_state_that_does_not_fit_is_refused(change: dict[str, object], words: str) -> None:
    state: dict[str, object] = {**PCA(2).fit(samples()).state(), **change}
    with pytest.raises(BadArgument, match=words):
        PCA.from_state(state)


@pytest.mark.parametrize("n_components", [0, 8, -1, 1.5, 0.0, True])
def test_a_number_of_components_out_of_range_is_refused(n_components: float) -> None:
    with pytest.raises(BadArgument, match="n_components"):
        PCA(n_components).fit(samples())


@pytest.mark.parametrize(
    "x", [np.zeros(3), np.zeros((1, 3)), np.array([[1.0, np.nan], [0, 0]]), np.zeros((4, 0)), [["a"], ["b"]]]
)
def test_samples_that_are_none_are_refused(x: Float64Array) -> None:
    with pytest.raises(BadArgument):
        PCA().fit(x)


def test_before_fit_and_with_another_dimension() -> None:
    with pytest.raises(NotFitted):
        PCA().transform(samples())
    with pytest.raises(BadArgument, match=r"expected \(n, 7\)"):
        PCA().fit(samples()).transform(np.zeros((2, 6)))


def test_options_as_scikit_learn_sets_them() -> None:
    made = PCA(3, whiten=True)
    assert made.get_params() == {"n_components": 3, "whiten": True}
    assert clone(made).get_params() == made.get_params()
    assert repr(made.set_params(n_components=2)) == "PCA(n_components=2, whiten=True)"
    with pytest.raises(BadArgument, match="did you mean 'whiten'"):
        made.set_params(n_components=1, whitten=False)
    assert made.n_components == 2
