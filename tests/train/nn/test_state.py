"""What modules hold: running state, schedules, draws, learned numbers; and losses by name."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor

from vultus.errors import BadArgument, BadRecipe
from vultus.train import functional, nn
from vultus.train.loss import Loss

COSINE = torch.rand(5, 4, generator=torch.Generator().manual_seed(2)) * 1.8 - 0.9
LABELS = torch.tensor([0, 1, -1, 3, 2])
NORMS = torch.tensor([5.0, 12.0, 18.0, 25.0, 300.0])


def test_curricular_t_is_the_running_mean_of_own_cosines() -> None:
    loss = nn.CurricularFace(momentum=0.25)
    t = 0.0
    own = [float(COSINE[i, y]) for i, y in enumerate(LABELS) if y >= 0]
    for _ in range(3):
        logits = loss(COSINE, LABELS)
        t = 0.25 * sum(own) / 4 + 0.75 * t
        assert loss.t.item() == pytest.approx(t, rel=1e-6)
        # The batch counts before its own loss is computed.
        assert torch.equal(logits, functional.curricularface(COSINE, LABELS, loss.t))
    loss(COSINE, torch.full((5,), -1))
    assert loss.t.item() == pytest.approx(t, rel=1e-6)
    assert functional.curricularface_t(torch.tensor(0.5), torch.zeros(0)).item() == 0.5


def test_adaface_statistics() -> None:
    loss = nn.AdaFace(momentum=0.1)
    assert (loss.mean.item(), loss.deviation.item()) == (20, 100)
    lengths = torch.tensor([5.0, 12.0, 18.0, 25.0, 100.0])  # clipped at 100
    logits = loss(COSINE, LABELS, NORMS)
    assert loss.mean.item() == pytest.approx(0.1 * lengths.mean().item() + 0.9 * 20)
    assert loss.deviation.item() == pytest.approx(0.1 * lengths.std().item() + 0.9 * 100)
    assert torch.equal(logits, functional.adaface(COSINE, LABELS, NORMS, loss.mean, loss.deviation))
    # One row has no deviation; the authors' code makes it NaN for good.
    before = loss.deviation.item()
    loss(COSINE[:1], LABELS[:1], NORMS[:1])
    assert loss.deviation.item() == before


@pytest.mark.parametrize(
    ("options", "iteration", "expected"),
    [
        ({}, 0, 1000.0),
        ({}, 100, 1000 / 13),
        ({}, 10_000, 5.0),
        ({"base": 1500.0, "gamma": 0.1}, 100, 1500 / 11),
        ({"gamma": 2.5e-5, "power": 35.0, "least": 0.0}, 10_000, 1000 * 1.25**-35),
    ],
)
def test_annealing(options: dict[str, float], iteration: int, expected: float) -> None:
    assert functional.annealed_lambda(iteration, **options) == pytest.approx(expected)


def test_sphereface_anneals_by_its_own_count() -> None:
    loss = nn.SphereFace()
    for i in range(3):
        expected = functional.sphereface(COSINE, LABELS, NORMS, functional.annealed_lambda(i))
        assert torch.equal(loss(COSINE, LABELS, NORMS), expected)
    resumed = nn.SphereFace()
    resumed.load_state_dict(loss.state_dict())
    assert resumed.annealing == loss.annealing == functional.annealed_lambda(3)
    plain = nn.SphereFace(base=0.0, least=0.0)
    assert torch.equal(plain(COSINE, LABELS, NORMS), functional.sphereface(COSINE, LABELS, NORMS))
    wide = nn.LSoftmax()
    assert wide.annealing == 1000
    wide.iteration.fill_(200_000)
    assert wide.annealing < 1e-20


def test_elastic_draws_depend_on_seed_and_step_alone() -> None:
    one, other = nn.ElasticArcFace(seed=7), nn.ElasticArcFace(seed=7)
    first, second = one(COSINE, LABELS), one(COSINE, LABELS)
    torch.manual_seed(99)
    assert torch.equal(other(COSINE, LABELS), first)
    resumed = nn.ElasticArcFace(seed=7)
    resumed.load_state_dict(other.state_dict())
    assert torch.equal(resumed(COSINE, LABELS), second)
    assert not torch.equal(first, second)
    assert not torch.equal(nn.ElasticArcFace(seed=8)(COSINE, LABELS), first)
    # A smaller batch draws the first of the same numbers.
    draws = functional.elastic_draws(1000, seed=7, step=5)
    assert torch.equal(functional.elastic_draws(10, seed=7, step=5), draws[:10])
    other_step = functional.elastic_draws(1000, seed=7, step=6)
    assert not set(draws.tolist()) & set(other_step.tolist())
    many = torch.cat([functional.elastic_draws(1000, step=i) for i in range(50)])
    assert abs(many.mean().item()) < 5 / math.sqrt(50_000)
    assert abs(many.std().item() - 1) < 5 / math.sqrt(100_000)


def test_elastic_in_eval_mode_is_the_base_loss() -> None:
    arc, cos = nn.ElasticArcFacePlus().eval(), nn.ElasticCosFace().eval()
    assert torch.equal(arc(COSINE, LABELS), functional.arcface(COSINE, LABELS, far="cosine"))
    assert torch.equal(cos(COSINE, LABELS), functional.cosface(COSINE, LABELS))


def test_center_learns_the_means() -> None:
    features = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 5.0]])
    labels = torch.tensor([0, 0, 2])
    loss = nn.Center(4, 2, weight=1.0, rate=1.0)
    first = loss(features, labels)
    assert first.item() == pytest.approx((1 + 9 + 25) / 2 / 3)
    for _ in range(60):
        loss(features, labels)
    torch.testing.assert_close(loss.centres, torch.tensor([[2.0, 0.0], [0.0, 0.0], [0.0, 5.0], [0.0, 0.0]]))


def test_the_radius_of_ring_starts_at_the_mean_length() -> None:
    loss = nn.Ring()
    assert isinstance(loss.base, nn.Softmax)
    assert (loss.unit_weights, loss.bias) == (False, True)
    loss.eval()(NORMS)
    assert loss.radius.item() == 0
    loss.train()(NORMS)
    assert loss.radius.item() == pytest.approx(NORMS.mean().item())
    loss(NORMS * 2)
    assert loss.radius.item() == pytest.approx(NORMS.mean().item())
    terms = loss(NORMS)
    assert torch.autograd.grad(terms.sum(), loss.radius)[0].item() == pytest.approx(0, abs=1e-4)
    assert nn.Ring(radius=3.0).radius.item() == 3


def rows_of(loss: Loss) -> tuple[Tensor, ...]:
    own = COSINE.gather(1, LABELS.clamp(min=0).unsqueeze(1)).squeeze(1)
    rows = loss.rows(own, NORMS, torch.full((5,), 2.0), LABELS)
    return rows.target, rows.scale, rows.offset, rows.regulariser


def test_extended_losses_ask_their_base() -> None:
    base = nn.CurricularFace(margin=0.3)
    ring = nn.Ring(copy.deepcopy(base), radius=20.0, weight=0.5)
    assert ring.mixes
    for got, expected in zip(rows_of(ring)[:3], rows_of(base)[:3], strict=True):
        assert torch.equal(got, expected)
    torch.testing.assert_close(rows_of(ring)[3], 0.25 * (NORMS - 20).square())
    double = nn.Ring(nn.MagFace(), radius=20.0)
    torch.testing.assert_close(rows_of(double)[3], rows_of(nn.MagFace())[3] + 0.005 * (NORMS - 20).square())

    negatives = nn.UNPG(nn.Ring(nn.ArcFace()))
    features = torch.nn.functional.normalize(torch.randn(6, 8, generator=torch.Generator().manual_seed(1)))
    labels = torch.tensor([0, 0, 1, 2, 3, 4])
    got = negatives.negatives(features, labels)
    torch.testing.assert_close(got, functional.unpg(features, labels))
    assert nn.UNPG().base.margin == 0.4
    assert nn.Ring(nn.UNPG()).negatives(features, labels) is not None
    assert nn.Ring().negatives(features, labels) is None
    with pytest.raises(BadArgument, match="expected a softmax loss"):
        nn.UNPG(nn.UniFace(10))


def test_magface_and_uploss_bring_their_regulariser() -> None:
    torch.testing.assert_close(rows_of(nn.MagFace())[3], functional.magface_regulariser(NORMS))
    torch.testing.assert_close(nn.MagFace(weight=7.0).regulariser(NORMS), functional.magface_regulariser(NORMS) / 5)
    loss = nn.UPLoss(4, promoted=[1], direction=0.5, norm=2.0)
    own = COSINE.gather(1, LABELS.clamp(min=0).unsqueeze(1)).squeeze(1)
    expected = loss.regulariser(own / 2, LABELS, torch.full((5,), 2.0))
    torch.testing.assert_close(rows_of(loss)[3], expected)
    assert expected[2] == 0
    with pytest.raises(BadArgument, match="promoted holds 4"):
        nn.UPLoss(4, promoted=[4])


def test_centred_coordinates_are_a_batch_norm_of_the_running_statistics() -> None:
    layer = nn.CentredCoordinates(3, momentum=0.2)
    peer = torch.nn.BatchNorm1d(3, momentum=0.2, affine=False)
    drawn = torch.Generator().manual_seed(4)
    for i in range(5):
        x = torch.randn(16, 3, generator=drawn) * torch.tensor([1.0, 5.0, 0.1]) + torch.tensor([0.0, 3.0, -2.0])
        # The first batch sets the statistics, as momentum None does for one batch.
        peer.momentum = 1.0 if i == 0 else 0.2
        peer.train()(x)
        got = layer(x)
        torch.testing.assert_close(got, peer.eval()(x), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(layer.mean, peer.running_mean)
    assert torch.equal(layer.eval()(x), got)
    layer.train()(x[:1])
    torch.testing.assert_close(layer.variance, peer.running_var)


def test_learned_numbers() -> None:
    assert [name for name, _ in nn.NormFace(learned=True).named_parameters()] == ["scale"]
    assert not list(nn.NormFace().parameters())
    loss = nn.NormFace(scale=12.0, learned=True)
    loss(COSINE, LABELS).sum().backward()
    assert isinstance(loss.scale, Tensor)
    assert loss.scale.grad is not None
    assert loss.scale.grad.item() == pytest.approx(COSINE.sum().item(), rel=1e-5)
    assert nn.SphereFace2(1000).offset.item() == pytest.approx(functional.sphereface2_offset(1000))
    assert nn.UniFace(1000, rate=0.1).threshold.item() == pytest.approx(functional.uniface_threshold(1000, rate=0.1))
    two = nn.SphereFace2(1000, alpha=0.8)
    assert two.reduction == "binary"
    assert (two.positive, two.negative) == pytest.approx((0.8, 0.2))
    assert nn.UniFace(1000, negative=0.5).negative == 0.5


# --- by name ----------------------------------------------------------------------------------------------------------


def test_every_loss_is_built_by_its_name() -> None:
    names = [name for name in nn.__all__ if name not in {"BatchLoss", "build", "CentredCoordinates", "SubcenterMax"}]
    assert len(names) == 27
    for name in names:
        for spelt in (name, name.lower(), name.upper()):
            assert type(nn.build(spelt, classes=10, dim=4)) is getattr(nn, name)
    assert isinstance(nn.build("am-softmax", classes=10, dim=4), nn.AMSoftmax)
    built = nn.build("combined_margin", classes=10, dim=4, m2=0.4)
    assert isinstance(built, nn.CombinedMargin)
    assert built.m2 == 0.4
    centre = nn.build("center", classes=10, dim=4)
    assert isinstance(centre, nn.Center)
    assert centre.centres.shape == (10, 4)


def test_bases_are_built_too() -> None:
    loss = nn.build("ring", classes=10, dim=4, base="cosface")
    assert isinstance(loss, nn.Ring)
    assert isinstance(loss.base, nn.CosFace)
    loss = nn.build("unpg", classes=10, dim=4, base={"name": "arcface", "margin": 0.3}, whisker=2.0)
    assert isinstance(loss, nn.UNPG)
    assert isinstance(loss.base, nn.ArcFace)
    assert (loss.base.margin, loss.whisker) == (0.3, 2.0)


def test_unknown_names_and_options_name_the_nearest() -> None:
    with pytest.raises(BadRecipe, match="'arcfase' is not known; the nearest is 'ArcFace'"):
        nn.build("arcfase", classes=10, dim=4)
    with pytest.raises(BadRecipe, match="'ArcFace' has no option 'margins'; the nearest is 'margin'"):
        nn.build("arcface", classes=10, dim=4, margins=0.3)
    with pytest.raises(BadRecipe, match="'Softmax' has no option 'margin'; it has none"):
        nn.build("softmax", classes=10, dim=4, margin=0.3)
    with pytest.raises(BadRecipe, match="the nearest is 'CosFace'"):
        nn.build("ring", classes=10, dim=4, base="cosfase")
