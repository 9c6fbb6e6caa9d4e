"""Comparisons and ensemble: worked values, scikit-learn as the oracle, and held-out pairs of a planted world."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC
from torch import Tensor, nn

from vultus.errors import BadArgument
from vultus.evaluate import roc
from vultus.train.deepface import (
    MaxNormalise,
    WeightedChi2,
    WeightedL1,
    equal_fusion,
    fit_siamese,
    fit_weights,
    learned_fusion,
    max_normalise,
    weighted_chi2,
    weighted_l1,
)


def test_normalised_by_the_largest() -> None:
    features = torch.tensor([[1.0, 4.0, 0.0], [2.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    largest = torch.tensor([2.0, 8.0, 0.0])
    expected = torch.tensor([[0.5**0.5, 0.5**0.5, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(max_normalise(features, largest), expected)
    assert torch.equal(MaxNormalise(largest)(features), max_normalise(features, largest))
    with pytest.raises(BadArgument, match="shape"):
        max_normalise(features, largest[:2])


def test_worked_differences() -> None:
    one, other = torch.tensor([[1.0, 0.0, 3.0]]), torch.tensor([[3.0, 0.0, 1.0]])
    weight, bias = torch.tensor([1.0, 5.0, 2.0]), torch.tensor(4.0)
    assert weighted_chi2(one, other, weight, bias).tolist() == [4 - (4 / 4 + 0 + 2 * 4 / 4)]
    assert weighted_l1(one, other, weight, bias).tolist() == [4 - (2 + 0 + 4)]
    assert torch.equal(WeightedChi2(weight, bias)(one, other), weighted_chi2(one, other, weight, bias))
    assert torch.equal(WeightedL1(weight, bias)(one, other), weighted_l1(one, other, weight, bias))
    for compare in (weighted_chi2, weighted_l1):
        assert torch.equal(compare(one, other, weight, bias), compare(other, one, weight, bias))
        with pytest.raises(BadArgument, match="expected"):
            compare(one, other, weight[:2], bias)


@pytest.mark.parametrize("compare", [weighted_chi2, weighted_l1])
def test_gradients_of_the_differences(compare: object) -> None:
    torch.manual_seed(0)
    one, other = (torch.rand(3, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    weight, bias = torch.rand(4, dtype=torch.float64, requires_grad=True), torch.tensor(0.3, dtype=torch.float64)
    assert torch.autograd.gradcheck(compare, (one, other, weight, bias.requires_grad_()))  # type: ignore[arg-type]


def pairs_of(seed: int, n: int, *, sharp: float = 6.0) -> tuple[Tensor, Tensor, Tensor]:
    """Non-negative features of pairs: the first half of the numbers tells people apart, the second is noise."""
    rng = np.random.default_rng(seed)
    mated = np.arange(n) % 2 == 0
    d = 12
    first = rng.gamma(2.0, 1.0, (n, d))
    second = np.where(mated[:, None], first, rng.gamma(2.0, 1.0, (n, d)))
    noise = rng.gamma(sharp, 1 / sharp, (2, n, d))
    one, other = first * noise[0], second * noise[1]
    one[:, d // 2 :], other[:, d // 2 :] = rng.gamma(2.0, 1.0, (2, n, d // 2))
    return torch.from_numpy(one), torch.from_numpy(other), torch.from_numpy(mated)


def chi2(one: Tensor, other: Tensor) -> Tensor:
    return (one - other) ** 2 / (one + other)


@pytest.mark.parametrize("cost", [0.01, 1.0])
def test_the_support_vector_machine_is_scikit_learns(cost: float) -> None:
    one, other, mated = pairs_of(0, 300)
    terms = chi2(one, other)
    weight, bias = fit_weights(terms, mated, cost=cost)
    known = LinearSVC(loss="squared_hinge", dual=False, C=cost, intercept_scaling=1e4, tol=1e-10, max_iter=20_000)
    known.fit(-terms.numpy(), mated.numpy())
    np.testing.assert_allclose(weight.numpy(), known.coef_[0], atol=2e-3 * np.abs(known.coef_).max())
    assert float(bias) == pytest.approx(known.intercept_[0], abs=5e-3)


def test_the_logistic_loss_is_scikit_learns() -> None:
    one, other, mated = pairs_of(1, 300)
    weight, bias = fit_weights((one - other).abs(), mated, loss="logistic", cost=0.5)
    known = LogisticRegression(C=0.5, tol=1e-10, max_iter=10_000).fit(-(one - other).abs().numpy(), mated.numpy())
    np.testing.assert_allclose(weight.numpy(), known.coef_[0], atol=1e-4)
    assert float(bias) == pytest.approx(known.intercept_[0], abs=1e-4)


def test_learned_weights_beat_equal_ones_on_held_out_pairs() -> None:
    one, other, mated = pairs_of(2, 600)
    weight, bias = fit_weights(chi2(one, other), mated)
    a, b, truth = pairs_of(3, 1000)
    learned = roc(weighted_chi2(a, b, weight, bias).numpy(), truth.numpy()).auc()
    equal = roc(weighted_chi2(a, b, torch.ones(12, dtype=torch.float64), bias).numpy(), truth.numpy()).auc()
    assert learned > equal + 0.02
    assert float(weight[:6].mean()) > 5 * float(weight[6:].abs().mean())


def test_a_siamese_top_learns_what_the_features_hide() -> None:
    """People differ in sums of numbers that the first top mixes up."""
    torch.manual_seed(0)
    mix = torch.linalg.qr(torch.randn(12, 12))[0]
    top = nn.Sequential(nn.Linear(12, 8), nn.ReLU())
    before = [p.clone() for p in top.parameters()]
    one, other, mated = (t.float() for t in pairs_of(4, 800))
    siamese = fit_siamese(top, one @ mix, other @ mix, mated > 0, epochs=15)
    assert all(torch.equal(p, q) for p, q in zip(before, top.parameters(), strict=True))
    a, b, truth = (t.float() for t in pairs_of(5, 800))
    with torch.no_grad():
        scores = siamese(a @ mix, b @ mix)
        untrained = -(top(a @ mix) - top(b @ mix)).abs().sum(dim=1)
        torch.testing.assert_close(scores, siamese(b @ mix, a @ mix))
    assert roc(scores.numpy(), truth.numpy() > 0).auc() > roc(untrained.numpy(), truth.numpy() > 0).auc() + 0.05
    again = fit_siamese(top, one @ mix, other @ mix, mated > 0, epochs=15)
    assert torch.equal(again(a, b), siamese(a, b))


@pytest.mark.parametrize("option", [{"epochs": 3}, {"batch": 20}, {"rate": 0.02}, {"decay": 0.5}, {"seed": 1}])
def test_options_of_the_siamese_training_act(option: dict[str, float]) -> None:
    torch.manual_seed(0)
    top = nn.Linear(12, 4)
    one, other, mated = (t.float() for t in pairs_of(6, 100))
    usual = fit_siamese(top, one, other, mated > 0, epochs=2)
    changed = fit_siamese(top, one, other, mated > 0, **{"epochs": 2, **option})  # type: ignore[arg-type]
    assert not torch.equal(changed(one, other), usual(one, other))


def members(seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores of three networks on pairs: of unlike quality and scale, with errors that are partly their own."""
    rng = np.random.default_rng(seed)
    mated = np.arange(n) % 2 == 0
    shared = rng.normal(size=n)
    quality, scale = np.array([1.0, 1.6, 2.2]), np.array([1.0, 30.0, 0.1])
    own = rng.normal(size=(n, 3))
    return (mated[:, None] * quality + 0.6 * shared[:, None] + 0.8 * own) * scale + 5, mated


def test_the_ensemble_is_at_least_its_mean_member_on_held_out_pairs() -> None:
    fitted, known = members(0, 1000)
    held, truth = members(1, 2000)
    alone = np.array([roc(held[:, k], truth).auc() for k in range(3)])
    learned = learned_fusion(fitted, known)
    auc = roc(learned(held), truth).auc()
    assert auc > alone.max()
    assert roc(equal_fusion(fitted)(held), truth).auc() > alone.mean()
    rng = np.random.default_rng(0)
    gains = []
    for _ in range(200):  # pairs drawn anew: the ensemble minus the mean of its members
        pick = rng.integers(0, len(truth), len(truth))
        each = np.mean([roc(held[pick, k], truth[pick]).auc() for k in range(3)])
        gains.append(roc(learned(held[pick]), truth[pick]).auc() - each)
    assert np.quantile(gains, 0.025) > 0


def test_a_better_network_counts_more_whatever_its_scale() -> None:
    scores, mated = members(2, 2000)
    weight = learned_fusion(scores, mated).weight
    assert weight[0] < weight[1] < weight[2]
    stretched = learned_fusion(scores * [1e3, 1, 1], mated)
    np.testing.assert_allclose(stretched(scores * [1e3, 1, 1]), learned_fusion(scores, mated)(scores), rtol=1e-4)
    drawn = learned_fusion(scores, mated, cost=1e-5).weight
    assert np.abs(drawn).max() < 0.2 * np.abs(weight).max()
    single = equal_fusion(scores[:, :1])
    assert np.corrcoef(single(scores[:, :1]), scores[:, 0])[0, 1] == pytest.approx(1)


def test_bad_pairs_are_refused() -> None:
    terms, mated = torch.rand(6, 3), torch.tensor([True, False] * 3)
    for bad, which in ((terms[:5], mated), (terms * float("nan"), mated), (terms[0], mated)):
        with pytest.raises(BadArgument, match="terms"):
            fit_weights(bad, which)
    with pytest.raises(BadArgument, match="one kind"):
        fit_weights(torch.rand(6, 3), torch.ones(6, dtype=torch.bool))
    for options in ({"loss": "square"}, {"cost": 0.0}):
        with pytest.raises(BadArgument, match="cost"):
            fit_weights(torch.rand(6, 3), mated, **options)
    with pytest.raises(BadArgument, match="inputs"):
        fit_siamese(nn.Identity(), torch.rand(4, 3), torch.rand(5, 3), mated[:4])
    with pytest.raises(BadArgument, match="one kind"):
        fit_siamese(nn.Identity(), torch.rand(2, 3), torch.rand(2, 3), torch.tensor([True, True]))
    with pytest.raises(BadArgument, match="scores"):
        equal_fusion([[1.0, 2.0]])
    with pytest.raises(BadArgument, match="scores"):
        equal_fusion(np.zeros((5, 2)))([[1.0]])
