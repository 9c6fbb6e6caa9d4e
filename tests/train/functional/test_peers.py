"""The losses against pytorch-metric-learning, in float64, values and gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from pytorch_metric_learning import distances, losses, miners, reducers
from torch import Tensor

from vultus.train import functional

N, C, D = 12, 9, 8


@pytest.fixture
def features() -> Tensor:
    return (torch.randn(N, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 3).requires_grad_()


@pytest.fixture
def labels() -> Tensor:
    return torch.tensor([0, 0, 1, 2, 2, 2, 3, 4, 5, 6, 7, 8])


def unit(x: Tensor) -> Tensor:
    return torch.nn.functional.normalize(x)


def arcface(x: Tensor, w: Tensor, y: Tensor) -> Tensor:
    return functional.arcface(unit(x) @ unit(w).T, y, margin=math.radians(28.6))


def cosface(x: Tensor, w: Tensor, y: Tensor) -> Tensor:
    return functional.cosface(unit(x) @ unit(w).T, y)


def sphereface(x: Tensor, w: Tensor, y: Tensor) -> Tensor:
    return functional.sphereface(unit(x) @ unit(w).T, y, x.norm(dim=1))


def l_softmax(x: Tensor, w: Tensor, y: Tensor) -> Tensor:
    return functional.l_softmax(unit(x) @ w.T, y, x.norm(dim=1), w.norm(dim=1))


def normface(x: Tensor, w: Tensor, y: Tensor) -> Tensor:
    return functional.normface(unit(x) @ unit(w).T, y, scale=20.0)


def subcenter(x: Tensor, w: Tensor, y: Tensor) -> Tensor:
    return functional.arcface(functional.subcenter_max(unit(x) @ unit(w).T), y, margin=math.radians(28.6))


PEERS: list[tuple[type, dict[str, Any], Callable[[Tensor, Tensor, Tensor], Tensor]]] = [
    (losses.ArcFaceLoss, {}, arcface),
    (losses.CosFaceLoss, {}, cosface),
    (losses.SphereFaceLoss, {}, sphereface),
    (losses.LargeMarginSoftmaxLoss, {}, l_softmax),
    (losses.NormalizedSoftmaxLoss, {"temperature": 0.05}, normface),
    (losses.SubCenterArcFaceLoss, {}, subcenter),
]


# The peer's own use of numpy with torch.
@pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning")
@pytest.mark.parametrize(("kind", "options", "logits"), PEERS, ids=lambda x: getattr(x, "__name__", ""))
def test_softmax_losses(
    kind: Any, options: dict[str, Any], logits: Callable[..., Tensor], features: Tensor, labels: Tensor
) -> None:
    torch.manual_seed(0)
    peer = kind(num_classes=C, embedding_size=D, **options).double()
    weight = peer.W.detach().T.clone().requires_grad_()
    expected = peer(features, labels)
    expected_slopes = torch.autograd.grad(expected, [features, peer.W])
    loss = functional.softmax_loss(logits(features, weight, labels), labels)
    slopes = torch.autograd.grad(loss, [features, weight])
    torch.testing.assert_close(loss, expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(slopes[0], expected_slopes[0], rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(slopes[1], expected_slopes[1].T, rtol=1e-8, atol=1e-10)


def test_contrastive(features: Tensor, labels: Tensor) -> None:
    """The peer gives max(0, d) and max(0, m - d) of each ordered pair; the squares are ours."""
    peer = losses.ContrastiveLoss(
        neg_margin=12.0,
        distance=distances.LpDistance(normalize_embeddings=False),
        reducer=reducers.DoNothingReducer(),
    )
    parts = peer(features, labels)
    squares = torch.cat([parts["pos_loss"]["losses"], parts["neg_loss"]["losses"]]).square()
    assert len(squares) == N * (N - 1)
    expected = squares.mean()
    loss = functional.contrastive(features, labels, margin=12.0)
    torch.testing.assert_close(loss, expected, rtol=1e-10, atol=0)
    torch.testing.assert_close(*(torch.autograd.grad(x, features)[0] for x in (loss, expected)), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("mining", ["semi-hard", "all"])
def test_triplet(mining: Any, features: Tensor, labels: Tensor) -> None:
    distance = distances.LpDistance(power=2)
    reducer = reducers.AvgNonZeroReducer() if mining == "semi-hard" else reducers.MeanReducer()
    peer = losses.TripletMarginLoss(margin=0.8, distance=distance, reducer=reducer)
    mined = (
        miners.TripletMarginMiner(margin=0.8, distance=distance, type_of_triplets="semihard")(features, labels)
        if mining == "semi-hard"
        else None
    )
    assert mined is None or len(mined[0]) > 3
    expected = peer(features, labels, mined)
    loss = functional.triplet(features, labels, margin=0.8, mining=mining)
    torch.testing.assert_close(loss, expected, rtol=1e-10, atol=0)
    torch.testing.assert_close(*(torch.autograd.grad(x, features)[0] for x in (loss, expected)), rtol=1e-7, atol=1e-9)
