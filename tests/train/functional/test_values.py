"""Each loss against its formula, one number at a time in plain Python, and what the papers claim."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vultus.errors import BadArgument, BadBatch
from vultus.train import functional

COSINE = torch.tensor(
    [[0.3, -0.2, 0.75], [0.9, 0.85, -0.9], [-0.95, 0.5, 0.1], [0.02, -0.4, -0.99]], dtype=torch.float64
)
LABELS = torch.tensor([0, 1, 0, 2])
NORMS = torch.tensor([5.0, 20.0, 60.0, 130.0], dtype=torch.float64)
CENTRES = torch.tensor([0.5, 1.5, 2.0], dtype=torch.float64)
DRAWS = torch.tensor([0.5, -1.0, 2.0, -0.3], dtype=torch.float64)
BIAS = torch.tensor([0.1, -0.2, 0.3], dtype=torch.float64)

Entry = Callable[[int, float], float]


def table(target: Entry, other: Entry, *, products: Tensor = COSINE) -> Tensor:
    """Logits by formula: target(i, c) at the label, other(i, c) elsewhere."""
    return torch.tensor(
        [
            [target(i, c) if j == LABELS[i] else other(i, c) for j, c in enumerate(row)]
            for i, row in enumerate(products.tolist())
        ],
        dtype=torch.float64,
    )


def psi(theta: float, m: float) -> float:
    k = math.floor(m * theta / math.pi)
    return math.cos(m * theta) * (1 if k % 2 == 0 else -1) - 2 * k


def arc(c: float, m: float, far: str = "linear") -> float:
    theta = math.acos(c)
    if far == "easy":
        return math.cos(theta + m) if c > 0 else c
    if far == "linear" and theta > math.pi - m:
        return c - m * math.sin(m)
    if far == "psi" and theta + m > math.pi:
        return -math.cos(theta + m) - 2
    return math.cos(theta + m)


def same(logits: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(logits, expected, rtol=1e-11, atol=1e-11)


def test_plain_losses() -> None:
    def times_norm(i: int, c: float) -> float:
        return NORMS[i].item() * c

    same(functional.softmax(COSINE, LABELS, NORMS), table(times_norm, times_norm))
    same(functional.softmax(COSINE, LABELS, NORMS, BIAS), table(times_norm, times_norm) + BIAS)
    same(functional.uploss(COSINE, LABELS, NORMS, BIAS), table(times_norm, times_norm) + BIAS)
    same(functional.modified_softmax(COSINE, LABELS, NORMS), table(times_norm, times_norm))
    same(functional.l2_softmax(COSINE, LABELS, BIAS), 16 * COSINE + BIAS)
    same(functional.normface(COSINE, LABELS), 20 * COSINE)
    same(functional.coco(COSINE, LABELS), 6.25 * COSINE)


def test_softmax_equals_a_linear_layer() -> None:
    drawn = torch.Generator().manual_seed(3)
    x = torch.randn(4, 5, generator=drawn, dtype=torch.float64)
    w = torch.randn(3, 5, generator=drawn, dtype=torch.float64)
    logits = functional.softmax(x / x.norm(dim=1, keepdim=True) @ w.T, LABELS, x.norm(dim=1), BIAS)
    same(logits, torch.nn.functional.linear(x, w, BIAS))


def test_the_scale_of_normface_may_be_learned() -> None:
    scale = torch.tensor(12.0, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s: functional.normface(COSINE, LABELS, scale=s), [scale])


@pytest.mark.parametrize("far", ["linear", "easy", "cosine", "psi"])
def test_arcface(far: Any) -> None:
    same(
        functional.arcface(COSINE, LABELS, far=far),
        table(lambda _, c: 64 * arc(c, 0.5, far), lambda _, c: 64 * c),
    )


@pytest.mark.parametrize(("theta", "ratio"), [(1.0, 1.19), (0.3, 2.43), (0.1, 5.66), (1e-5, None)])
def test_the_slope_of_arcface_is_exact_near_the_centre(theta: float, ratio: float | None) -> None:
    cosine = torch.tensor([[math.cos(theta)]], dtype=torch.float64, requires_grad=True)
    logit = functional.arcface(cosine, torch.tensor([0]), scale=1.0)
    (slope,) = torch.autograd.grad(logit.sum(), cosine)
    assert slope.item() == pytest.approx(math.sin(theta + 0.5) / math.sin(theta), rel=1e-5)
    if ratio is not None:
        assert slope.item() == pytest.approx(ratio, abs=0.005)


def test_the_slope_stays_finite_where_a_cosine_is_one() -> None:
    """The largest slope in float32 is sin(m) over the root of the machine epsilon: 1,389."""
    cosine = torch.tensor([[1.0, 0.0], [1 - 2**-24, 0.0], [1 - 2**-22, 0.0]], requires_grad=True)
    logits = functional.arcface(cosine, torch.tensor([0, 0, 0]), scale=1.0)
    (slope,) = torch.autograd.grad(logits[:, 0].sum(), cosine)
    theta = math.acos(1 - 2**-22)
    largest = math.sin(0.5) / math.sqrt(torch.finfo(torch.float32).eps)
    assert slope[:2, 0].tolist() == pytest.approx([largest, largest], rel=1e-3)
    assert slope[2, 0].item() == pytest.approx(math.sin(theta + 0.5) / math.sin(theta), rel=1e-3)


def test_additive_and_combined_margins() -> None:
    same(functional.cosface(COSINE, LABELS), table(lambda _, c: 64 * (c - 0.35), lambda _, c: 64 * c))
    same(functional.am_softmax(COSINE, LABELS), table(lambda _, c: 30 * (c - 0.35), lambda _, c: 30 * c))
    for far in ("psi", "cosine"):
        for m1, m2, m3 in ((1.0, 0.3, 0.2), (0.9, 0.4, 0.15), (1.35, 0.0, 0.0), (1.2, 0.4, 0.3)):

            def phi(c: float, m1: float = m1, m2: float = m2, m3: float = m3, far: str = far) -> float:
                a = m1 * math.acos(c) + m2
                return (math.cos(a) if far == "cosine" or a <= math.pi else -math.cos(a) - 2) - m3

            logits = functional.combined_margin(COSINE, LABELS, m1=m1, m2=m2, m3=m3, far=far)
            same(logits, table(lambda _, c, phi=phi: 64 * phi(c), lambda _, c: 64 * c))  # type: ignore[misc]


def test_the_combined_margin_keeps_every_margin() -> None:
    """Public code drops m2 where m3 is set."""
    of = {
        (m2, m3): functional.combined_margin(COSINE, LABELS, m2=m2, m3=m3)[0, 0].item()
        for m2 in (0.0, 0.3)
        for m3 in (0.0, 0.2)
    }
    assert len(set(of.values())) == 4
    assert of[0.3, 0.2] == pytest.approx(of[0.3, 0.0] - 64 * 0.2)
    same(
        functional.combined_margin(COSINE, LABELS, m2=0.5, m3=0.0, far="psi"),
        functional.arcface(COSINE, LABELS, far="psi"),
    )
    same(functional.combined_margin(COSINE, LABELS, m2=0.0, m3=0.35), functional.cosface(COSINE, LABELS))
    same(
        functional.combined_margin(COSINE, LABELS, m1=1.7, m2=0.0, m3=0.0, scale=30.0),
        functional.sphereface_r(COSINE, LABELS),
    )


@pytest.mark.parametrize("annealing", [0.0, 5.0, 1000.0])
@pytest.mark.parametrize("margin", [1.0, 2.0, 3.0, 4.0, 1.7])
def test_multiplicative_margins(margin: float, annealing: float) -> None:
    def blend(c: float) -> float:
        return (annealing * c + psi(math.acos(c), margin)) / (1 + annealing)

    same(
        functional.sphereface(COSINE, LABELS, NORMS, annealing, margin=margin),
        table(lambda i, c: NORMS[i].item() * blend(c), lambda i, c: NORMS[i].item() * c),
    )
    same(
        functional.l_softmax(COSINE * CENTRES, LABELS, NORMS, CENTRES, annealing, margin=margin),
        table(lambda i, c: NORMS[i].item() * CENTRES[LABELS[i]].item() * blend(c), lambda i, c: NORMS[i].item() * c)
        * torch.where(torch.nn.functional.one_hot(LABELS).bool(), 1.0, CENTRES),
    )
    same(
        functional.sphereface_r(COSINE, LABELS, margin=margin),
        table(lambda _, c: 30 * psi(math.acos(c), margin), lambda _, c: 30 * c),
    )


def test_curricularface() -> None:
    t = 0.3

    def other(i: int, c: float) -> float:
        own = COSINE[i, LABELS[i]].item()
        return 64 * (c * (t + c) if c > math.cos(math.acos(own) + 0.5) else c)

    logits = functional.curricularface(COSINE, LABELS, torch.tensor(t, dtype=torch.float64))
    same(logits, table(lambda _, c: 64 * arc(c, 0.5), other))
    changed = (logits != functional.arcface(COSINE, LABELS)).sum()
    assert 2 <= changed < 8


def test_magface_and_its_regulariser() -> None:
    def margin(i: int) -> float:
        a = min(max(NORMS[i].item(), 10), 110)
        return 0.45 + (0.8 - 0.45) / 100 * (a - 10)

    for far in ("easy", "linear"):
        same(
            functional.magface(COSINE, LABELS, NORMS, far=far),
            table(lambda i, c, far=far: 64 * arc(c, margin(i), far), lambda _, c: 64 * c),  # type: ignore[misc]
        )
    expected = [35 * (a / 110**2 + 1 / a) for a in (10.0, 20.0, 60.0, 110.0)]
    same(functional.magface_regulariser(NORMS), torch.tensor(expected, dtype=torch.float64))
    # Least at the longest feature, so that the regulariser pulls towards it.
    assert functional.magface_regulariser(torch.tensor([109.0, 110.0])).diff() < 0


def test_adaface() -> None:
    mean, deviation = 30.0, 12.0

    def target(i: int, c: float) -> float:
        z = min(max((min(NORMS[i].item(), 100) - mean) / (deviation + 1e-3) * 0.333, -1), 1)
        theta = min(max(math.acos(c) - 0.4 * z, 1e-3), math.pi - 1e-3)
        return 64 * (math.cos(theta) - (0.4 + 0.4 * z))

    logits = functional.adaface(COSINE, LABELS, NORMS, torch.tensor(mean), torch.tensor(deviation))
    same(logits, table(target, lambda _, c: 64 * c))
    # A long feature (a good photo) has an additive margin of 2 m and a negative angular one.
    assert logits[3, 2] == pytest.approx(64 * (math.cos(math.acos(-0.99) - 0.4) - 0.8))


def test_elasticface() -> None:
    logits = functional.elastic_arcface(COSINE, LABELS, DRAWS)
    same(logits, table(lambda i, c: 64 * arc(c, 0.5 + 0.05 * DRAWS[i].item(), "cosine"), lambda _, c: 64 * c))
    logits = functional.elastic_cosface(COSINE, LABELS, DRAWS)
    same(logits, table(lambda i, c: 64 * (c - 0.35 - 0.05 * DRAWS[i].item()), lambda _, c: 64 * c))
    # Own cosines 0.3, 0.85, -0.95, -0.99: the largest draw goes to the last, the smallest to the second.
    dealt = [-0.3, -1.0, 0.5, 2.0]
    logits = functional.elastic_cosface_plus(COSINE, LABELS, DRAWS)
    same(logits, table(lambda i, c: 64 * (c - 0.35 - 0.02 * dealt[i]), lambda _, c: 64 * c))
    logits = functional.elastic_arcface_plus(COSINE, LABELS, DRAWS)
    same(logits, table(lambda i, c: 64 * arc(c, 0.5 + 0.0175 * dealt[i], "cosine"), lambda _, c: 64 * c))
    absent = functional.elastic_cosface_plus(COSINE, torch.tensor([0, -1, 0, 2]), DRAWS)
    # Without the second row, 0.5, 2.0 and -0.3 are dealt among the others.
    got = [absent[0, 0].item(), absent[2, 0].item(), absent[3, 2].item()]
    assert got == pytest.approx([64 * (c - 0.35 - 0.02 * d) for c, d in ((0.3, -0.3), (-0.95, 0.5), (-0.99, 2.0))])
    assert absent[1].tolist() == pytest.approx((64 * COSINE[1]).tolist())


def test_sphereface2() -> None:
    def g(c: float, t: float) -> float:
        return 2 * math.pow((c + 1) / 2, t) - 1

    for t in (1.0, 3.0, 2.5):
        same(
            functional.sphereface2(COSINE, LABELS, torch.tensor(1.5), t=t),
            table(lambda _, c, t=t: 40 * (g(c, t) - 0.4) + 1.5, lambda _, c, t=t: 40 * (g(c, t) + 0.4) + 1.5),  # type: ignore[misc]
        )


def test_uniface() -> None:
    same(
        functional.uniface(COSINE, LABELS, torch.tensor(7.0)),
        table(lambda _, c: 64 * (c - 0.4) - 7, lambda _, c: 64 * c - 7),
    )


@pytest.mark.parametrize("classes", [2, 3, 10, 1000, 10_575, 2_000_000])
@pytest.mark.parametrize(("alpha", "scale", "margin"), [(0.7, 40.0, 0.4), (0.8, 64.0, 0.5), (0.5, 30.0, 0.0)])
def test_the_offset_at_the_start_minimises_the_loss_at_zero_cosines(
    classes: int, alpha: float, scale: float, margin: float
) -> None:
    b = functional.sphereface2_offset(classes, alpha=alpha, scale=scale, margin=margin)
    offset = torch.tensor(b, dtype=torch.float64, requires_grad=True)
    own = torch.tensor(0.25 - 1 - margin, dtype=torch.float64) * scale + offset
    other = torch.tensor(0.25 - 1 + margin, dtype=torch.float64) * scale + offset
    softplus = torch.nn.functional.softplus
    loss = alpha * softplus(-own) + (1 - alpha) * (classes - 1) * softplus(other)
    (derivative,) = torch.autograd.grad(loss, offset)
    # Relative to the two terms that cancel.
    assert abs(derivative) <= 1e-9 * alpha * torch.sigmoid(-own)


def test_the_threshold_of_uniface() -> None:
    assert functional.uniface_threshold(10_572) == pytest.approx(math.log(105_720))
    assert functional.uniface_threshold(10_572, rate=0.1) == pytest.approx(math.log(10_572))


# --- reductions -------------------------------------------------------------------------------------------------------


def test_softmax_loss_hides_nothing() -> None:
    """Where clamps at 1e-30 show 69, the loss is what it is."""
    cosine = torch.full((1, 3), -1.0)
    cosine[0, 1] = 1.0
    loss = functional.softmax_loss(functional.normface(cosine, torch.tensor([0]), scale=63.0), torch.tensor([0]))
    assert loss.item() == pytest.approx(126.0, abs=1e-4)
    assert functional.binary_loss(torch.tensor([[-126.0, 0.0]]), torch.tensor([0])).item() == pytest.approx(
        126 + math.log(2), abs=1e-4
    )


def test_softmax_loss_is_the_mean_of_minus_log_shares() -> None:
    logits = functional.arcface(COSINE, LABELS, scale=5.0)
    shares = logits.exp() / logits.exp().sum(dim=1, keepdim=True)
    expected = -sum(math.log(shares[i, y]) for i, y in enumerate(LABELS)) / 4
    assert functional.softmax_loss(logits, LABELS).item() == pytest.approx(expected, rel=1e-12)
    with pytest.raises(BadBatch, match=r"labels\[1\] is -1, expected 0 to 2"):
        functional.softmax_loss(logits, torch.tensor([0, -1, 1, 2]))


def test_binary_loss_sums_one_logistic_loss_for_each_class() -> None:
    logits = functional.uniface(COSINE, LABELS, torch.tensor(0.5), scale=5.0)
    labels = torch.tensor([0, 1, -1, 2])
    expected = 0.0
    for i, row in enumerate(logits.tolist()):
        for j, z in enumerate(row):
            expected += 0.7 * math.log1p(math.exp(-z)) if j == labels[i] else 0.3 * math.log1p(math.exp(z))
    loss = functional.binary_loss(logits, labels, positive=0.7, negative=0.3)
    assert loss.item() == pytest.approx(expected / 4, rel=1e-12)
    assert torch.autograd.gradcheck(
        lambda x: functional.binary_loss(x, labels, positive=0.7, negative=0.3), [logits.requires_grad_()]
    )


# --- psi and the bounds -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("margin", [1.0, 1.7, 2.0, 3.0, 4.0, 6.0])
def test_psi_falls_without_a_step(margin: float) -> None:
    theta = torch.linspace(0, math.pi, 200_001, dtype=torch.float64)
    value = functional.psi(theta, margin=margin)
    steps = value.diff()
    assert (steps <= 0).all()
    # |psi'| <= m: no step is larger than the slope allows.
    assert steps.abs().max() <= margin * math.pi / 200_000 * (1 + 1e-6)
    assert value[0] == 1
    if margin == int(margin):
        assert value[-1].item() == pytest.approx(1 - 2 * margin)
    assert (value <= theta.cos() + 1e-12).all()


@given(st.floats(0, math.pi), st.floats(1, 8))
@settings(max_examples=100, deadline=None)
def test_psi_is_its_formula(theta: float, margin: float) -> None:
    got = functional.psi(torch.tensor(theta, dtype=torch.float64), margin=margin).item()
    assert got == pytest.approx(psi(theta, margin), abs=1e-9)


def test_bounds_are_the_papers_numbers() -> None:
    assert functional.normface_floor(4030) == pytest.approx(7.30, abs=0.005)
    assert functional.l2_softmax_scale(4030) == pytest.approx(10.5, abs=0.005)
    assert functional.cosface_scale(4030) == pytest.approx(4029 / 4030 * math.log(4029 * 9), rel=1e-12)
    assert functional.normface_floor(10, length=30.0) == 0.0
    assert functional.normface_floor(2_000_000, length=1.0) == pytest.approx(math.log(1 + 1_999_999 / math.e), abs=1e-5)


@pytest.mark.parametrize(("classes", "length"), [(3, 1.0), (5, 2.0), (9, 1.5)])
def test_the_floor_of_normface_is_reached_by_a_simplex(classes: int, length: float) -> None:
    """Features on their centres, all centres equally far: cosine -1 / (C - 1) with every other."""
    cosine = torch.full((classes, classes), -1 / (classes - 1), dtype=torch.float64).fill_diagonal_(1.0)
    labels = torch.arange(classes)
    loss = functional.softmax_loss(functional.normface(cosine, labels, scale=length**2), labels)
    assert loss.item() == pytest.approx(functional.normface_floor(classes, length=length), rel=1e-12)


def test_the_scale_of_cosface_gives_the_share_on_a_simplex() -> None:
    classes, share = 50, 0.9
    scale = functional.cosface_scale(classes, probability=share)
    cosine = torch.full((1, classes), -1 / (classes - 1), dtype=torch.float64)
    cosine[0, 0] = 1
    got = functional.normface(cosine, torch.tensor([0]), scale=scale).softmax(dim=1)[0, 0]
    assert got.item() == pytest.approx(share, rel=1e-12)


def test_the_scale_of_l2_softmax_gives_the_share() -> None:
    """The paper's picture: the target at 1, one class at -1, the C - 2 others at 0; e^-alpha is neglected."""
    classes, share = 4030, 0.9
    alpha = functional.l2_softmax_scale(classes, probability=share)
    products = torch.zeros(1, classes, dtype=torch.float64)
    products[0, 0], products[0, 1] = 1, -1
    got = functional.l2_softmax(products, torch.tensor([0]), scale=alpha).softmax(dim=1)[0, 0]
    assert got.item() == pytest.approx(share, abs=1e-6)


def test_the_scale_of_coco_gives_the_loss() -> None:
    scale = functional.coco_scale(10, loss=0.01)
    cosine = torch.full((1, 10), -1.0, dtype=torch.float64)
    cosine[0, 3] = 1
    logits = functional.coco(cosine, torch.tensor([3]), scale=scale)
    assert functional.softmax_loss(logits, torch.tensor([3])).item() == pytest.approx(0.01, rel=1e-9)


# --- arguments --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        lambda: functional.normface_floor(1),
        lambda: functional.normface_floor(10, length=0.0),
        lambda: functional.l2_softmax_scale(2),
        lambda: functional.l2_softmax_scale(10, probability=1.0),
        lambda: functional.cosface_scale(10, probability=0.0),
        lambda: functional.coco_scale(10, loss=0.0),
        lambda: functional.sphereface2_offset(1),
        lambda: functional.sphereface2_offset(10, alpha=1.0),
        lambda: functional.uniface_threshold(1),
        lambda: functional.uniface_threshold(10, rate=0.0),
        lambda: functional.psi(torch.zeros(1), margin=0.5),
        lambda: functional.annealed_lambda(-1),
        lambda: functional.arcface(COSINE, LABELS, far="nowhere"),  # type: ignore[arg-type]
        lambda: functional.arcface(COSINE, LABELS, margin_gradient="none"),  # type: ignore[arg-type]
        lambda: functional.arcface(COSINE, LABELS, margin=math.nan),
        lambda: functional.arcface(COSINE, LABELS, scale=0.0),
        lambda: functional.cosface(COSINE, LABELS, margin=math.inf),
        lambda: functional.combined_margin(COSINE, LABELS, far="easy"),
        lambda: functional.sphereface(COSINE, LABELS, NORMS, margin=0.0),
        lambda: functional.sphereface(COSINE, LABELS, NORMS, -1.0),
        lambda: functional.sphereface2(COSINE, LABELS, torch.tensor(0.0), t=0.5),
        lambda: functional.uniface(COSINE, LABELS, torch.tensor(0.0), scale=-1.0),
        lambda: functional.subcenter_max(COSINE, subcenters=0),
        lambda: functional.far_from_centre(COSINE, degrees=200.0),
        lambda: functional.triplet(COSINE, LABELS, mining="hard"),  # type: ignore[arg-type]
        lambda: functional.unpg(COSINE, LABELS, whisker=-1.0),
        lambda: functional.center_update(COSINE, COSINE, LABELS, rate=1.5),
    ],
)
def test_arguments_that_make_no_sense(call: Callable[[], object]) -> None:
    with pytest.raises(BadArgument):
        call()
