"""Losses on the batch, centroids, sub-centers and regularisers, by brute force."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from vultus.errors import BadBatch
from vultus.train import functional

X = torch.randn(8, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
Y = torch.tensor([0, 0, 2, 2, 2, 5, 4, 4])


def unit(x: Tensor) -> Tensor:
    return torch.nn.functional.normalize(x)


def test_center_and_its_update() -> None:
    centres = torch.randn(6, 3, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    loss = functional.center(X, Y, centres, weight=0.01)
    expected = 0.01 / 2 * sum(float((X[i] - centres[y]).square().sum()) for i, y in enumerate(Y)) / 8
    assert loss.item() == pytest.approx(expected)

    moved = functional.center_update(centres, X, Y, rate=0.3)
    for j in range(6):
        rows = X[torch.eq(Y, j)]
        step = (centres[j] - rows).sum(dim=0) / (1 + len(rows))
        torch.testing.assert_close(moved[j], centres[j] - 0.3 * step)
    assert torch.equal(moved[[1, 3]], centres[[1, 3]])
    with pytest.raises(BadBatch, match="their widths differ"):
        functional.center(X, Y, centres[:, :2])
    with pytest.raises(BadBatch, match=r"labels\[5\] is 5, expected 0 to 4"):
        functional.center_update(centres[:5], X, Y)


def test_contrastive_of_equal_features_has_a_gradient_without_nan() -> None:
    features = torch.ones(3, 4, requires_grad=True)
    loss = functional.contrastive(features, torch.tensor([0, 0, 1]), margin=2.0)
    assert loss.item() == pytest.approx((0 + 4 + 4) / 3)
    loss.backward()  # type: ignore[no-untyped-call]
    assert features.grad is not None
    assert features.grad.isfinite().all()


def test_near_features_keep_their_distance() -> None:
    """|a|^2 + |b|^2 - 2ab in float32 gives 0 or NaN here."""
    features = torch.full((30, 4), 100.0)
    features[1, 0] += 1e-3
    labels = torch.zeros(30, dtype=torch.int64)
    gap = float(features[1, 0] - 100)
    assert functional.contrastive(features, labels).item() == pytest.approx(29 * gap**2 / (30 * 29 / 2), rel=1e-4)


@pytest.mark.parametrize("pair", [functional.contrastive, functional.triplet])
def test_one_row_is_no_pair(pair: object) -> None:
    with pytest.raises(BadBatch, match="at least two"):
        pair(X[:1], Y[:1])  # type: ignore[operator]


def test_triplets_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    z = unit(X)
    taken = []
    for a, p, n in itertools.permutations(range(8), 3):
        if Y[a] == Y[p] and Y[a] != Y[n]:
            near, far = float((z[a] - z[p]).square().sum()), float((z[a] - z[n]).square().sum())
            if near < far < near + 0.5:
                taken.append(near - far + 0.5)
    assert len(taken) > 3
    expected = sum(taken) / len(taken)
    assert functional.triplet(X, Y, margin=0.5).item() == pytest.approx(expected)
    monkeypatch.setattr(functional.pairs, "_TRIPLETS_AT_ONCE", 20)
    assert functional.triplet(X, Y, margin=0.5).item() == pytest.approx(expected)


def test_no_triplet_is_no_loss_but_still_attached() -> None:
    features = X.clone().requires_grad_()
    for labels in (torch.arange(8), torch.zeros(8, dtype=torch.int64)):
        loss = functional.triplet(features, labels)
        assert loss.item() == 0
        assert torch.equal(torch.autograd.grad(loss, features)[0], torch.zeros_like(X))
    with pytest.raises(BadBatch, match="no length"):
        functional.triplet(torch.zeros(2, 3), torch.tensor([0, 1]))


def test_centroids_are_mean_directions() -> None:
    centroids, place = functional.class_centroids(X, Y)
    assert place.tolist() == [0, 0, 1, 1, 1, 3, 2, 2]
    for k, label in enumerate((0, 2, 4, 5)):
        mean = unit(X[torch.eq(Y, label)]).mean(dim=0)
        torch.testing.assert_close(centroids[k], mean / mean.norm())
    # The first version of COCO: the classes of the batch.
    logits = functional.coco(unit(X) @ centroids.T, place)
    assert functional.softmax_loss(logits, place).isfinite()
    with pytest.raises(BadBatch, match="add up to nothing"):
        functional.class_centroids(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), torch.tensor([3, 3]))


def test_the_nearest_subcenter_counts_and_receives_the_gradient() -> None:
    cosine = torch.tensor([[0.1, 0.7, -0.2, 0.5, 0.5, 0.4]], dtype=torch.float64, requires_grad=True)
    nearest = functional.subcenter_max(cosine, subcenters=3)
    assert nearest.tolist() == [[0.7, 0.5]]
    (slope,) = torch.autograd.grad(nearest.sum(), cosine)
    assert slope.tolist() == [[0, 1, 0, 1, 0, 0]]
    assert torch.equal(functional.subcenter_max(cosine, subcenters=1), cosine)
    with pytest.raises(BadBatch, match="multiple of 4"):
        functional.subcenter_max(cosine, subcenters=4)


def test_samples_over_75_degrees_are_far() -> None:
    degrees = torch.tensor([0.0, 74.9, 75.1, 120.0])
    assert functional.far_from_centre(degrees.deg2rad().cos()).tolist() == [False, False, True, True]
    assert functional.far_from_centre(degrees.deg2rad().cos(), degrees=60).tolist() == [False, True, True, True]


def test_ring() -> None:
    norms = torch.tensor([3.0, 5.0])
    assert functional.ring(norms, torch.tensor(4.5), weight=0.1).tolist() == pytest.approx([0.05 * 2.25, 0.05 * 0.25])


def test_uploss_regulariser() -> None:
    cosine = torch.tensor([0.1, 0.9, -0.4, 0.3, 7.0], dtype=torch.float64).clamp(max=1)
    labels = torch.tensor([0, 1, 1, 2, -1])
    norms = torch.tensor([2.0, 1.0, 1.0, 4.0, 1.0], dtype=torch.float64, requires_grad=True)
    promoted = torch.tensor([False, True, True, False])
    terms = functional.uploss_regulariser(cosine, labels, norms, promoted, direction=2.0, norm=0.1)
    # Promoted classes 1 and 2 have squared lengths 1 and 16, the other one 4; class 1 stands twice and counts once.
    gap = ((1 + 16) / 2 - 4) ** 2
    assert terms.tolist() == pytest.approx([0.1 * gap - 2 * c for c in (0.1, 0.9, -0.4, 0.3)] + [0])
    (slope,) = torch.autograd.grad(terms.sum(), norms)
    assert slope[0] == 0
    assert slope[1] != 0
    # 4 rows, d gap / d |W_2| = 2 (8.5 - 4) * |W_2|.
    assert slope[3].item() == pytest.approx(4 * 0.1 * 2 * 4.5 * 4)
    for none in (torch.zeros(4, dtype=torch.bool), torch.ones(4, dtype=torch.bool)):
        got = functional.uploss_regulariser(cosine, labels, norms, none)
        assert got.tolist() == pytest.approx([-0.1, -0.9, 0.4, -0.3, 0])
    with pytest.raises(BadBatch, match="promoted is"):
        functional.uploss_regulariser(cosine, labels, norms, promoted.float())


def test_in_batch_negatives() -> None:
    drawn = torch.Generator().manual_seed(9)
    features = torch.randn(40, 16, generator=drawn, dtype=torch.float64)
    features[0] = features[1] * 1.001  # two people that look alike: an outlier
    labels = torch.arange(40) // 2 + torch.arange(40) % 2 * 100
    labels[7] = -1
    labels[10] = labels[11]
    z = unit(features)
    negatives = [
        float(z[i] @ z[j])
        for i in range(40)
        for j in range(40)
        if labels[i] != labels[j] and labels[i] >= 0 and labels[j] >= 0
    ]
    quarter, three = torch.quantile(
        torch.tensor(negatives, dtype=torch.float64), torch.tensor([0.25, 0.75], dtype=torch.float64)
    ).tolist()
    low, high = quarter - 1.5 * (three - quarter), three + 1.5 * (three - quarter)
    logits = functional.unpg(features, labels, scale=10.0)
    everything = functional.unpg(features, labels, scale=10.0, whisker=math.inf)
    kept = 0
    for i in range(40):
        for j in range(40):
            c = float(z[i] @ z[j])
            negative = bool(labels[i] != labels[j] and labels[i] >= 0 and labels[j] >= 0)
            assert everything[i, j].item() == (pytest.approx(10 * c) if negative else -math.inf)
            inside = negative and low <= c <= high
            kept += inside
            assert logits[i, j].item() == (pytest.approx(10 * c) if inside else -math.inf)
    assert 0 < kept < len(negatives)
    assert logits[0, 1] == -math.inf
    # Beside the logits of a margin loss they make it larger, and the gradient stays finite.
    margins = functional.cosface(torch.zeros(40, 300, dtype=torch.float64), labels.clamp(min=0), scale=10.0)
    together = torch.cat([margins, logits], dim=1).requires_grad_()
    loss = torch.nn.functional.cross_entropy(together, labels.clamp(min=0))
    assert loss > torch.nn.functional.cross_entropy(margins, labels.clamp(min=0))
    (slope,) = torch.autograd.grad(loss, together)
    assert slope.isfinite().all()
    assert (functional.unpg(features[:2], torch.tensor([3, 3])) == -math.inf).all()
    with pytest.raises(BadBatch, match="no length"):
        functional.unpg(torch.zeros(2, 3), torch.tensor([0, 1]))


def test_centred_coordinates() -> None:
    mean, deviation = torch.tensor([1.0, 2.0, 3.0]).double(), torch.tensor([0.5, 1.0, 2.0]).double()
    got = functional.centred_coordinates(X, mean, deviation)
    torch.testing.assert_close(got * deviation + mean, X)
    with pytest.raises(BadBatch, match="deviation"):
        functional.centred_coordinates(X, mean, deviation - 0.5)
