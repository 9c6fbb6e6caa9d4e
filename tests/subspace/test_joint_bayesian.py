from __future__ import annotations

import subprocess
import sys

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from vultus import evaluate
from vultus.errors import BadArgument, NotFitted, TooFewComparisons
from vultus.subspace import PCA, JointBayesian
from vultus.subspace.two_covariances import Covariances, Groups, log_likelihood, moments, step
from vultus.types import Float64Array, IntArray


def covariance(rng: np.random.Generator, d: int, scale: float) -> Float64Array:
    """Eigenvalues over a range of ten, in a random basis."""
    basis = np.linalg.qr(rng.standard_normal((d, d)))[0]
    found: Float64Array = (basis * (scale * np.geomspace(1, 0.1, d))) @ basis.T
    return found


def planted(
    rng: np.random.Generator, sizes: IntArray, between: Float64Array, within: Float64Array
) -> tuple[Float64Array, IntArray]:
    d = len(between)
    people = rng.multivariate_normal(np.arange(d), between, size=len(sizes), method="cholesky")
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return people[labels] + rng.multivariate_normal(np.zeros(d), within, size=len(labels), method="cholesky"), labels


def relative(found: Float64Array, true: Float64Array) -> float:
    return float(np.linalg.norm(found - true) / np.linalg.norm(true))


@pytest.mark.parametrize("seed", range(3))
def test_planted_covariances_come_back_within_five_percent(seed: int) -> None:
    """8,000 people with 1 to 10 photos each (about 44,000), 6 dimensions."""
    rng = np.random.default_rng(seed)
    between, within = covariance(rng, 6, 1.0), covariance(rng, 6, 2.0)
    x, y = planted(rng, rng.integers(1, 11, 8_000), between, within)
    fitted = JointBayesian().fit(x, y)
    assert relative(fitted.between_, between) <= 0.05
    assert relative(fitted.within_, within) <= 0.05
    assert fitted.mean_ == pytest.approx(np.arange(6), abs=0.05)
    assert fitted.n_iter_ < 100


def test_the_papers_own_m_step_finds_too_little_between_people() -> None:
    """Why the posterior variance is counted: with two photos each, the covariance of expected values alone falls short."""
    rng = np.random.default_rng(0)
    between, within = np.eye(3), 4 * np.eye(3)
    x, y = planted(rng, np.full(4_000, 2), between, within)
    groups = Groups.of(x, y)
    model = moments(groups, ridge=0)
    for _ in range(30):
        expected = (groups.means - model.mean) @ model.between @ np.linalg.inv(model.between + model.within / 2)
        residual = x - model.mean - expected[y]
        model = Covariances.of(model.mean, np.cov(expected.T), np.cov(residual.T))
    assert np.trace(model.between) < 0.2 * np.trace(between)
    assert relative(JointBayesian().fit(x, y).between_, between) < 0.1


def brute_force(x: Float64Array, y: IntArray, model: Covariances) -> float:
    """Density of each group as one long normal vector."""
    total = 0.0
    for label in np.unique(y):
        own = x[y == label]
        m = len(own)
        cov = np.kron(np.ones((m, m)), model.between) + np.kron(np.eye(m), model.within)
        total += float(multivariate_normal(np.tile(model.mean, m), cov).logpdf(own.ravel()))
    return total


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=3, max_size=7), st.integers(1, 3), st.integers(0, 999))
def test_the_likelihood_is_that_of_long_normal_vectors_and_no_round_lowers_it(
    sizes: list[int], d: int, seed: int
) -> None:
    sizes = [*sizes, 3, 3, 3]
    rng = np.random.default_rng(seed)
    x, y = planted(rng, np.array(sizes), covariance(rng, d, 2.0), covariance(rng, d, 1.0))
    groups = Groups.of(x, y)
    model = moments(groups, ridge=0)
    before = log_likelihood(groups, model)
    assert before == pytest.approx(brute_force(x, y, model), rel=1e-9, abs=1e-7)
    for _ in range(5):
        model = step(groups, model, ridge=0)
        after = log_likelihood(groups, model)
        assert after >= before - 1e-9 * abs(before)
        before = after
    assert before == pytest.approx(brute_force(x, y, model), rel=1e-9, abs=1e-7)


def test_one_round_is_the_textbook_em_step() -> None:
    """Posterior of each person by inverting the covariance of its photos, one person at a time."""
    rng = np.random.default_rng(3)
    x, y = planted(rng, np.array([1, 2, 5, 3, 2]), covariance(rng, 3, 2.0), covariance(rng, 3, 1.0))
    groups = Groups.of(x, y)
    model = moments(groups, ridge=0)
    after = step(groups, model, ridge=0)
    between, within, precision = np.zeros((3, 3)), np.zeros((3, 3)), np.linalg.inv(model.within)
    for label in range(5):
        own = x[y == label] - after.mean
        doubt = np.linalg.inv(np.linalg.inv(model.between) + len(own) * precision)
        expected = doubt @ precision @ own.sum(axis=0)
        between += np.outer(expected, expected) + doubt
        within += (own - expected).T @ (own - expected) + len(own) * doubt
    assert after.between == pytest.approx(between / 5)
    assert after.within == pytest.approx(within / len(x))


def test_the_mean_is_the_best_given_the_covariances() -> None:
    rng = np.random.default_rng(4)
    x, y = planted(rng, np.array([1, 9, 2, 2]), np.eye(2), np.eye(2))
    groups = Groups.of(x, y)
    model = moments(groups, ridge=0)
    mean = step(groups, model, ridge=0).mean
    best = log_likelihood(groups, Covariances.of(mean, model.between, model.within))
    for shift in 0.01 * np.concatenate([np.eye(2), -np.eye(2)]):
        assert log_likelihood(groups, Covariances.of(mean + shift, model.between, model.within)) < best


def fitted_model(d: int = 4, seed: int = 1) -> tuple[JointBayesian, Float64Array, IntArray]:
    rng = np.random.default_rng(seed)
    x, y = planted(rng, rng.integers(1, 6, 200), covariance(rng, d, 2.0), covariance(rng, d, 1.0))
    return JointBayesian().fit(x, y), x, y


def test_the_score_is_the_ratio_of_two_densities() -> None:
    model, x, _ = fitted_model()
    one, other = x[:20], x[20:40]
    total = model.between_ + model.within_
    same = np.block([[total, model.between_], [model.between_, total]])
    apart = np.block([[total, np.zeros_like(total)], [np.zeros_like(total), total]])
    both, mean = np.hstack([one, other]), np.tile(model.mean_, 2)
    expected = multivariate_normal(mean, same).logpdf(both) - multivariate_normal(mean, apart).logpdf(both)
    assert model.score_pairs(one, other) == pytest.approx(expected)
    assert model.score_pairs(other, one) == pytest.approx(expected)
    assert np.diag(model.score_matrix(one, other)) == pytest.approx(expected)
    assert model.score_matrix(one, other[:3]).shape == (20, 3)


def test_a_and_g_are_the_papers() -> None:
    model, x, _ = fitted_model()
    mu, eps = model.between_, model.within_
    f = np.linalg.inv(eps)
    g = -np.linalg.inv(2 * mu + eps) @ mu @ f
    a = np.linalg.inv(mu + eps) - (f + g)
    ours_a, ours_g = model.closed_form()
    assert ours_a == pytest.approx(a)
    assert ours_g == pytest.approx(g)
    one, other = x[:20] - model.mean_, x[20:40] - model.mean_
    ratio = ((one @ a) * one + (other @ a) * other - 2 * (one @ g) * other).sum(axis=1)
    halves = model.score_pairs(x[:20], x[20:40]) - ratio / 2
    assert halves == pytest.approx(halves[0])


def test_coordinates_have_unit_variance_within_and_diagonal_between() -> None:
    model, x, _ = fitted_model()
    back = (model.transform(np.eye(4)) - model.transform(np.zeros((1, 4)))).T
    assert back @ model.within_ @ back.T == pytest.approx(np.eye(4), abs=1e-9)
    assert back @ model.between_ @ back.T == pytest.approx(np.diag(model.ratios_), abs=1e-9)
    assert (np.diff(model.ratios_) <= 0).all()
    few = JointBayesian.from_state(model.state(), n_components=2)
    assert few.transform(x) == pytest.approx(model.transform(x)[:, :2])
    assert few.score_pairs(x[:5], x[5:10]) != pytest.approx(model.score_pairs(x[:5], x[5:10]))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 99))
def test_scores_do_not_depend_on_the_coordinates_of_the_embeddings(seed: int) -> None:
    _, x, y = fitted_model(d=3)
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.standard_normal((3, 3)))[0] * rng.uniform(0.5, 2)
    moved = JointBayesian(ridge=0).fit(x @ turn + 5, y)
    plain = JointBayesian(ridge=0).fit(x, y)
    assert moved.score_pairs(x[:9] @ turn + 5, x[9:18] @ turn + 5) == pytest.approx(plain.score_pairs(x[:9], x[9:18]))


def test_it_beats_cosine_where_its_model_is_true() -> None:
    rng = np.random.default_rng(7)
    between, within = covariance(rng, 12, 1.0), covariance(rng, 12, 1.0)
    x, y = planted(rng, rng.integers(2, 9, 600), between, within)
    model = JointBayesian().fit(x, y)
    a, labels = planted(rng, np.full(400, 4), between, within)
    first, second = np.triu_indices(len(a), 1)
    mated = labels[first] == labels[second]
    keep = mated | (rng.uniform(size=len(mated)) < 0.01)
    first, second, mated = first[keep], second[keep], mated[keep]
    centred = a - x.mean(axis=0)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    cosine = (unit[first] * unit[second]).sum(axis=1)
    ratio = model.score_pairs(a[first], a[second])
    gains = []
    for _ in range(40):  # people drawn again with repeats: each pair counts as often as both of its people were drawn
        times = np.bincount(rng.integers(0, 400, 400), minlength=400)
        weight = times[labels[first]] * np.where(mated, 1, times[labels[second]])
        draw = np.repeat(np.arange(len(mated)), weight)
        gains.append(evaluate.roc(cosine[draw], mated[draw]).eer() - evaluate.roc(ratio[draw], mated[draw]).eer())
    assert np.quantile(gains, 0.025) > 0.01
    # The score is what it says, a likelihood ratio: over non-mated pairs its mean is 1.
    assert 0.3 < np.exp(ratio[~mated]).mean() < 3
    assert (ratio[mated] > 0).mean() > 0.8
    assert (ratio[~mated] < 0).mean() > 0.8


def test_it_works_in_pipelines_clones_and_searches_of_scikit_learn() -> None:
    _, x, y = fitted_model()
    names = np.array([f"person {i}" for i in y])
    line = make_pipeline(StandardScaler(), PCA(3), JointBayesian(n_components=2))
    rows = line.fit(x, names).transform(x)
    direct = JointBayesian(n_components=2).fit(PCA(3).fit_transform(StandardScaler().fit_transform(x)), y)
    assert rows.shape == (len(x), 2)
    assert rows == pytest.approx(direct.transform(PCA(3).fit_transform(StandardScaler().fit_transform(x))), abs=1e-9)
    again = clone(line).set_params(pca__n_components=2)
    assert again.fit_transform(x, names).shape == (len(x), 2)
    assert "JointBayesian" in repr(line)

    def share(model: JointBayesian, samples: Float64Array, labels: npt.NDArray[np.str_]) -> float:
        scores = model.score_matrix(samples, samples)
        return float(((scores > 0) == (labels[:, None] == labels[None, :])).mean())

    search = GridSearchCV(JointBayesian(), {"n_components": [1, 4]}, scoring=share, cv=2)
    assert search.fit(x, names).best_params_ == {"n_components": 4}


def test_scikit_learn_is_not_imported() -> None:
    code = (
        "import sys, numpy as np; from vultus.subspace import JointBayesian, PCA;"
        "x = np.random.default_rng(0).standard_normal((9, 2)); y = [0, 0, 0, 1, 1, 1, 2, 2, 2];"
        "JointBayesian().fit(PCA().fit_transform(x), y).get_params();"
        "assert not {'sklearn', 'scipy', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_state_survives_a_file(tmp_path_factory: pytest.TempPathFactory) -> None:
    model, x, _ = fitted_model()
    path = tmp_path_factory.mktemp("state") / "model.npz"
    np.savez(path, **model.state())  # type: ignore[arg-type]
    with np.load(path, allow_pickle=False) as found:
        again = JointBayesian.from_state(found)
    assert again.score_pairs(x[:9], x[9:18]) == pytest.approx(model.score_pairs(x[:9], x[9:18]))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"between_": np.eye(3)}, "between_ has shape"),
        ({"within_": -np.eye(4)}, "singular"),
        ({"within_": np.full((4, 4), np.inf)}, "infinity"),
        ({"more": np.eye(3)}, "'more' does not fit"),
    ],
)
def test_a_state_that_does_not_fit_is_refused(change: dict[str, object], words: str) -> None:
    model, _, _ = fitted_model()
    with pytest.raises(BadArgument, match=words):
        JointBayesian.from_state({**model.state(), **change})


def test_numerically_hard_samples() -> None:
    """Scales that differ by a million, a dimension that only some people vary in, and fewer samples than dimensions."""
    rng = np.random.default_rng(5)
    x, y = planted(rng, rng.integers(1, 6, 300), np.eye(4), np.eye(4))
    wide = JointBayesian(ridge=0).fit(x * [1e-3, 1, 1, 1e3], y)
    plain = JointBayesian(ridge=0).fit(x, y)
    assert wide.score_pairs(x[:9] * [1e-3, 1, 1, 1e3], x[9:18] * [1e-3, 1, 1, 1e3]) == pytest.approx(
        plain.score_pairs(x[:9], x[9:18]), rel=1e-6, abs=1e-6
    )
    unit = rng.standard_normal((40, 64))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    few = JointBayesian().fit(unit, np.repeat(np.arange(10), 4))
    assert np.isfinite(few.score_matrix(unit, unit)).all()
    with pytest.raises(BadArgument, match="singular"):
        JointBayesian(ridge=0).fit(np.hstack([x, np.zeros((len(x), 1))]), y)
    assert np.isfinite(JointBayesian().fit(np.hstack([x, np.zeros((len(x), 1))]), y).ratios_).all()


def test_options_act() -> None:
    _, x, y = fitted_model()
    assert JointBayesian(max_iter=2, tol=0).fit(x, y).n_iter_ == 2
    assert JointBayesian(tol=1.0).fit(x, y).n_iter_ == 1
    path = JointBayesian(max_iter=20, tol=0).fit(x, y).log_likelihoods_
    assert (np.diff(path) > -1e-12).all()
    assert relative(JointBayesian(ridge=0.5).fit(x, y).within_, JointBayesian().fit(x, y).within_) > 0.1


def test_arguments_are_not_written_to_and_order_does_not_matter() -> None:
    model, x, y = fitted_model()
    kept_x, kept_y = x.copy(), y.copy()
    order = np.random.default_rng(0).permutation(len(x))
    again = JointBayesian().fit(x[order], y[order])
    assert (x == kept_x).all()
    assert (y == kept_y).all()
    assert again.between_ == pytest.approx(model.between_)


@pytest.mark.parametrize(
    ("x", "y", "error"),
    [
        (np.zeros((4, 2)), [0, 0, 1], BadArgument),
        (np.eye(4), [0.0, np.nan, 1, 1], BadArgument),
        (np.ones((4, 2)), [0, 0, 1, 1], BadArgument),
        (np.full((4, 2), np.nan), [0, 0, 1, 1], BadArgument),
        (np.eye(4), [0, 0, 0, 0], TooFewComparisons),
        (np.eye(4), [0, 1, 2, 3], TooFewComparisons),
    ],
)
def test_what_cannot_be_fitted_is_refused(x: Float64Array, y: list[float], error: type[Exception]) -> None:
    with pytest.raises(error):
        JointBayesian().fit(x, y)


@pytest.mark.parametrize(
    "options",
    [{"max_iter": 0}, {"tol": -1.0}, {"ridge": -0.1}, {"ridge": 1.0}, {"n_components": 0}, {"n_components": 9}],
)
def test_options_out_of_range_are_refused(options: dict[str, float]) -> None:
    _, x, y = fitted_model()
    with pytest.raises(BadArgument, match=next(iter(options))):
        JointBayesian().set_params(**options).fit(x, y)


def test_scores_before_fit_and_of_different_numbers() -> None:
    model, x, _ = fitted_model()
    with pytest.raises(NotFitted):
        JointBayesian().score_pairs(x, x)
    with pytest.raises(NotFitted):
        JointBayesian().closed_form()
    with pytest.raises(NotFitted):
        JointBayesian().state()
    with pytest.raises(BadArgument, match="expected as many"):
        model.score_pairs(x[:3], x[:4])
