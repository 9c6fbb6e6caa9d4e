"""Boundaries by root finding on the losses' own logits, against formulas, textbook cases and another root finder."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from vultus._export import entries
from vultus.analyze.boundaries import (
    Pair,
    angular_margin,
    boundary_difference,
    closed_boundary,
    lead,
    loss_logits,
    numeric_boundary,
    reach,
)
from vultus.analyze.boundaries.catalogue import BOUNDARIES, shown_of
from vultus.analyze.boundaries.harmonic import Harmonics
from vultus.analyze.boundaries.sphere_picture import closed_outline, three_centres
from vultus.errors import AnalysisError, BadArgument, BadRecipe
from vultus.train import functional, nn
from vultus.train.loss import Loss

FREE = {"lengths": (1.3, 0.8), "biases": (0.2, -0.1)}


def trained_adaface() -> Loss:
    loss = nn.AdaFace()
    with torch.no_grad():
        loss.mean.fill_(18.0)
        loss.deviation.fill_(4.0)
    return loss


def grown_curricular() -> Loss:
    loss = nn.CurricularFace()
    with torch.no_grad():
        loss.t.fill_(0.6)
    return loss


LOSSES: dict[str, Callable[[], Loss]] = {
    "softmax": nn.Softmax,
    "l2_softmax": nn.L2Softmax,
    "modified_softmax": nn.ModifiedSoftmax,
    "normface": nn.NormFace,
    "coco": nn.COCO,
    "l_softmax": lambda: nn.LSoftmax(base=0),
    "l_softmax, 3, blended": lambda: nn.LSoftmax(margin=3, base=2, least=2),
    "sphereface": lambda: nn.SphereFace(base=0, least=0),
    "sphereface, 3": lambda: nn.SphereFace(margin=3, base=0, least=0),
    "sphereface, blended": lambda: nn.SphereFace(base=5),
    "am_softmax": nn.AMSoftmax,
    "cosface": nn.CosFace,
    "arcface": nn.ArcFace,
    "arcface, easy": lambda: nn.ArcFace(far="easy"),
    "arcface, cosine": lambda: nn.ArcFace(far="cosine"),
    "arcface, psi": lambda: nn.ArcFace(far="psi"),
    "combined": nn.CombinedMargin,
    "combined, all three": lambda: nn.CombinedMargin(m1=2, m2=0.2, m3=0.1),
    "curricularface": nn.CurricularFace,
    "curricularface, later": grown_curricular,
    "magface": nn.MagFace,
    "adaface": trained_adaface,
    "elastic_arcface": nn.ElasticArcFace,
    "elastic_cosface": nn.ElasticCosFace,
    "elastic_arcface_plus": nn.ElasticArcFacePlus,
    "elastic_cosface_plus": nn.ElasticCosFacePlus,
    "sphereface2": lambda: nn.SphereFace2(1000),
    "uniface": lambda: nn.UniFace(1000),
    "uploss": lambda: nn.UPLoss(2),
    "ring": nn.Ring,
    "unpg": nn.UNPG,
}
PLANE_ONLY: dict[str, Callable[[], Loss]] = {
    "sphereface_r": nn.SphereFaceR,
    "combined, 1.3": lambda: nn.CombinedMargin(m1=1.3, m2=0.1, m3=0.0),
}


def test_every_loss_over_classes_is_here() -> None:
    every = {
        e.target for e in entries().values() if e.form_of and isinstance(e.target, type) and issubclass(e.target, Loss)
    }
    assert {type(make()) for make in (LOSSES | PLANE_ONLY).values()} == every
    assert len(every) == 24
    assert len(LOSSES | PLANE_ONLY) == 33


@pytest.mark.parametrize("name", LOSSES)
def test_numeric_equals_closed_form(name: str) -> None:
    loss = LOSSES[name]()
    for angle, norm in ((0.31, 40.0), (0.9, 0.9), (1.63, 40.0), (2.6, 0.9)):
        difference = boundary_difference(loss, Pair(angle, **FREE), azimuths=(0.0, math.pi, 1.1), norm=norm)
        assert difference is not None
        assert difference < 1e-8


@pytest.mark.parametrize("name", PLANE_ONLY)
def test_a_broken_factor_has_a_closed_form_in_the_plane(name: str) -> None:
    loss = PLANE_ONLY[name]()
    for angle in (0.31, 0.9, 1.63, 2.6):
        difference = boundary_difference(loss, Pair(angle), azimuths=(0.0, math.pi))
        assert difference is not None
        assert difference < 1e-8
    assert boundary_difference(loss, Pair(1.0)) is None
    with pytest.raises(BadArgument, match="numerically"):
        closed_boundary(loss, Pair(1.0), azimuth=1.0)


@pytest.mark.parametrize("name", LOSSES)
def test_the_logits_are_those_of_the_loss(name: str) -> None:
    loss = LOSSES[name]().eval().double()
    if isinstance(loss, nn.Ring | nn.UNPG):  # their forward gives the summand alone
        loss = loss.base
    rng = np.random.default_rng(3)
    features, centres = 20 * rng.standard_normal((40, 3)), rng.standard_normal((5, 3))
    labels = rng.integers(0, 5, 40)
    biases = rng.standard_normal(5)
    if isinstance(loss, nn.UPLoss):
        loss = nn.UPLoss(5).eval().double()
    x = torch.tensor(features) / torch.tensor(features).norm(dim=1, keepdim=True)
    w = torch.tensor(centres)
    data = {
        "cosine": x @ (w / w.norm(dim=1, keepdim=True)).T,
        "products": x @ w.T,
        "labels": torch.tensor(labels),
        "norms": torch.tensor(features).norm(dim=1),
        "centre_norms": w.norm(dim=1),
        "bias": torch.tensor(biases),
    }
    wanted = [p for p in inspect.signature(loss.forward).parameters if p in data]
    expected = loss(*(data[p] for p in wanted)).detach().numpy()
    found = loss_logits(loss, features, centres, labels, biases=biases)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-10)
    ahead = lead(loss, features, centres, 2, biases=biases)
    own = loss_logits(loss, features, centres, np.full(40, 2), biases=biases)
    rest = own[:, [0, 1, 3, 4]].max(axis=1)
    np.testing.assert_allclose(ahead, own[:, 2] if loss.reduction == "binary" else own[:, 2] - rest, atol=1e-12)


# --- textbook cases ----------------------------------------------------------------------------------------------------

CASES: list[tuple[Callable[[float], Loss], Callable[[float, float], float], tuple[float, float]]] = [
    (lambda m: nn.NormFace(), lambda t, m: t / 2, (0, 1)),
    (lambda m: nn.SphereFace(margin=m, base=0, least=0), lambda t, m: t / (m + 1), (1, 6)),
    (lambda m: nn.SphereFaceR(margin=m), lambda t, m: t / (m + 1), (1, 6)),
    (lambda m: nn.LSoftmax(margin=m, base=0), lambda t, m: t / (m + 1), (1, 6)),
    (lambda m: nn.CosFace(margin=m), lambda t, m: t / 2 - math.asin(m / 2 / math.sin(t / 2)), (0, 0.1)),
    (lambda m: nn.ArcFace(margin=m), lambda t, m: (t - m) / 2, (0, 0.4)),
    (lambda m: nn.CombinedMargin(m1=3, m2=m, m3=0), lambda t, m: (t - m) / 4, (0, 0.4)),
    (
        lambda m: nn.CombinedMargin(m1=1, m2=m, m3=0.02),
        lambda t, m: (t - m) / 2 - math.asin(0.01 / math.sin((t + m) / 2)),
        (0, 0.4),
    ),
]


@pytest.mark.parametrize("case", range(len(CASES)))
@settings(max_examples=6, deadline=None)
@given(share=st.floats(0, 1), angle=st.floats(0.5, 3.1))
def test_textbook_formulas(case: int, share: float, angle: float) -> None:
    make, formula, (low, high) = CASES[case]
    margin = low + share * (high - low)
    loss, pair = make(margin), Pair(angle)
    expected = formula(angle, margin)
    for find in (numeric_boundary, closed_boundary):
        assert reach(loss, pair, find=find) == pytest.approx(expected, abs=1e-6)
        between = angular_margin(loss, pair, find=find)
        assert between == pytest.approx(angle - 2 * expected, abs=2e-6)


@settings(max_examples=15, deadline=None)
@given(margin=st.integers(1, 7), angle=st.floats(0.05, math.pi))
def test_the_margin_of_a_softmax(margin: int, angle: float) -> None:
    loss = nn.SphereFace(margin=margin, base=0, least=0)
    assert angular_margin(loss, Pair(angle)) == pytest.approx((margin - 1) / (margin + 1) * angle, abs=1e-6)


def test_blending_takes_margin_away() -> None:
    margins = [angular_margin(nn.SphereFace(base=0, least=x), Pair(1.5)) for x in (0, 1, 5, 1000)]
    assert margins[0] == pytest.approx(0.9)
    assert all(a is not None and b is not None and a > b > 0 for a, b in pairwise(margins))
    assert margins[-1] == pytest.approx(0, abs=0.02)


@settings(max_examples=12, deadline=None)
@given(
    angle=st.floats(0.3, 2.9),
    lengths=st.tuples(st.floats(0.3, 2), st.floats(0.3, 2)),
    biases=st.tuples(st.floats(-1, 1), st.floats(-1, 1)),
    norm=st.floats(0.3, 5),
)
def test_the_boundary_of_softmax_is_a_line(
    angle: float, lengths: tuple[float, float], biases: tuple[float, float], norm: float
) -> None:
    pair = Pair(angle, lengths, biases)
    for azimuth in (0.0, math.pi, 2.0):
        for u in numeric_boundary(nn.Softmax(), pair, azimuth=azimuth, norm=norm):
            x = norm * pair.places([u], azimuth=azimuth)[0]
            (one, two), (b, c) = pair.centres, pair.biases
            assert (one - two) @ x + b - c == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("margin", [0.1, 0.35])
def test_another_root_finder_on_the_functions(margin: float) -> None:
    def ahead(u: float) -> float:
        cosine = torch.tensor([[math.cos(u), math.cos(1.4 - u)]], dtype=torch.float64)
        logits = functional.cosface(cosine, torch.tensor([0]), margin=margin)
        return float(logits[0, 0] - logits[0, 1])

    found = numeric_boundary(nn.CosFace(margin=margin), Pair(1.4))
    assert found[0] == pytest.approx(brentq(ahead, 0, 1.4, xtol=1e-13), abs=1e-12)


def test_no_region_where_the_other_centre_is_nearer_than_the_margin() -> None:
    assert reach(nn.ArcFace(margin=0.5), Pair(0.49)) is None
    assert angular_margin(nn.ArcFace(margin=0.5), Pair(0.49)) is None
    assert angular_margin(nn.ArcFace(margin=0.5), Pair(0.51)) == pytest.approx(0.5)
    assert len(closed_boundary(nn.ArcFace(margin=0.5), Pair(0.49))) == 0
    assert reach(nn.CosFace(margin=0.35), Pair(0.8)) is None  # 1 - cos(0.8) < 0.35
    assert reach(nn.CosFace(margin=0.35), Pair(0.87)) == pytest.approx(0, abs=0.02)
    alone = nn.L2Softmax(scale=1)
    assert reach(alone, Pair(1.0, biases=(9.0, 0.0))) == math.pi


def test_margins_follow_the_length_of_the_feature() -> None:
    for norm, margin in ((5, 0.45), (10, 0.45), (60, 0.625), (110, 0.8), (400, 0.8)):
        assert angular_margin(nn.MagFace(), Pair(1.5), norm=norm) == pytest.approx(margin)
    low, middle, high = (angular_margin(trained_adaface(), Pair(1.5), norm=n) for n in (2.0, 18.0, 40.0))
    assert low == pytest.approx(0.4)  # z = -1: a margin of the angle alone
    expected = 2 * math.asin(0.4 / 2 / math.sin(0.75))  # z = 0: one of the cosine alone
    assert middle == pytest.approx(expected)
    # z = 1: u - 0.4 is below 0 and kept at 0.001, so that cos(0.001) - 0.8 = cos(1.5 - u)
    at = 1.5 - math.acos(math.cos(0.001) - 0.8)
    assert high == pytest.approx(1.5 - 2 * at)


def test_curricularface_grows_stricter() -> None:
    margins = []
    for t in (0.0, 0.2, 0.4):
        loss = nn.CurricularFace()
        loss.t.fill_(t)
        margins.append(angular_margin(loss, Pair(1.5)))
    assert all(a is not None and b is not None and a < b for a, b in pairwise(margins))
    assert angular_margin(grown_curricular(), Pair(1.5)) == pytest.approx(0.5)  # t + c is above 1: that of ArcFace


def test_a_binary_loss_has_one_boundary_for_each_class() -> None:
    loss = nn.UniFace(50, margin=0.3, scale=32)
    expected = math.acos(0.3 + math.log(500) / 32)
    for angle in (0.4, 2.0):
        for azimuth in (0.0, 1.0, math.pi):
            assert numeric_boundary(loss, Pair(angle), azimuth=azimuth) == pytest.approx([expected], abs=1e-7)


# --- psi ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("margin", [1, 2, 3, 4, 5])
def test_psi_is_continuous_and_falls(margin: int) -> None:
    theta = torch.linspace(0, math.pi, 20_001, dtype=torch.float64)
    values = functional.psi(theta, margin=margin)
    steps = values.diff()
    assert (steps <= 1e-15).all()
    assert (steps < 0).float().mean() > 0.999
    assert steps.min() > -margin * math.pi / 20_000 - 1e-12  # no slope is steeper than -m: no jump anywhere
    for k in range(1, margin):
        joint = k * math.pi / margin
        at = torch.tensor([joint - 1e-9, joint, joint + 1e-9], dtype=torch.float64)
        np.testing.assert_allclose(functional.psi(at, margin=margin), (1 - 2 * k) * np.ones(3), atol=1e-12)
    assert values[0] == 1
    assert values[-1] == pytest.approx(1 - 2 * margin)
    expected = [
        (-1) ** (k := min(int(margin * t / math.pi), margin - 1)) * math.cos(margin * t) - 2 * k for t in theta.tolist()
    ]
    np.testing.assert_allclose(values, expected, atol=1e-12)


# --- in space -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["modified_softmax", "sphereface", "cosface", "arcface", "sphereface2", "magface"])
def test_outlines_on_the_sphere(name: str) -> None:
    loss, centres = LOSSES[name](), three_centres(1.4)
    np.testing.assert_allclose(centres @ centres.T, np.where(np.eye(3) == 1, 1, math.cos(1.4)), atol=1e-12)
    for label in range(3):
        outline = closed_outline(loss, centres, label, norm=30.0, dots=16)
        assert len(outline) >= 12
        np.testing.assert_allclose(np.linalg.norm(outline, axis=1), 1)
        inward = outline + 1e-6 * (centres[label] - outline)
        outward = outline - 1e-6 * (centres[label] - outline)
        assert (lead(loss, 30 * inward, centres, label) > 0).all()
        assert (lead(loss, 30 * outward, centres, label) < 0).all()


def test_no_outline_without_a_region() -> None:
    centres = three_centres(0.45)  # nearer than the margin
    for label in range(3):
        assert closed_outline(nn.ArcFace(margin=0.5), centres, label, norm=1.0).shape == (0, 3)
    assert len(closed_outline(nn.ArcFace(margin=0.4), centres, 0, norm=1.0)) > 0


def test_cosface_cuts_the_sphere_with_a_plane() -> None:
    outline = closed_outline(nn.CosFace(margin=0.3), three_centres(1.4), 0, norm=1.0)
    centres = three_centres(1.4)
    gaps = outline @ (centres[0] - centres[1:]).T
    np.testing.assert_allclose(gaps.min(axis=1), 0.3, atol=1e-9)


@pytest.mark.parametrize("azimuth", [0.0, 0.8, 2.0])
def test_arcface_in_space(azimuth: float) -> None:
    m, t = 0.5, 1.4
    expected = math.atan2(math.cos(m) - math.cos(t), math.sin(m) + math.sin(t) * math.cos(azimuth))
    for find in (numeric_boundary, closed_boundary):
        assert find(nn.ArcFace(margin=m), Pair(t), azimuth=azimuth)[0] == pytest.approx(expected, abs=1e-9)


# --- sums of cosines ---------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@example([(2.2250738585e-313, 3, 0.5), (1e-313, 1, 0.2)])
@given(
    st.lists(st.tuples(st.floats(-2, 2), st.integers(0, 4), st.floats(-3, 3)), min_size=1, max_size=4),
)
def test_roots_of_sums_of_cosines(terms: list[tuple[float, int, float]]) -> None:
    whole = Harmonics(tuple((a, float(k), p) for a, k, p in terms))
    grid = np.linspace(0, 2 * math.pi, 3001)[:-1] + 1e-4
    values = np.sum([a * np.cos(k * grid + p) for a, k, p in terms], axis=0)
    assert whole(grid[7]) == pytest.approx(values[7], abs=1e-12)
    at = np.flatnonzero(np.sign(values[1:]) * np.sign(values[:-1]) < 0)
    clear = at[np.minimum(np.abs(values[at]), np.abs(values[at + 1])) > 1e-6]
    roots = np.array(whole.roots())
    for i in clear:
        assert ((roots > grid[i] - 1e-6) & (roots < grid[i + 1] + 1e-6)).any()


# --- what is refused, and what stays --------------------------------------------------------------------------------------


class Own(nn.ArcFace):
    """A loss of a user."""


def test_a_loss_of_ones_own_has_a_numeric_boundary_only() -> None:
    assert numeric_boundary(Own(), Pair(1.5))[0] == pytest.approx(0.5)
    with pytest.raises(BadArgument, match="numeric_boundary"):
        closed_boundary(Own(), Pair(1.5))
    assert boundary_difference(Own(), Pair(1.5)) is None


def test_disagreement_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from vultus.analyze.boundaries import margin

    monkeypatch.setattr(margin, "closed_boundary", lambda *_, **__: np.array([0.1, 0.2, 0.3]))
    with pytest.raises(AnalysisError, match="one of them is wrong"):
        boundary_difference(nn.ArcFace(), Pair(1.5))


@pytest.mark.parametrize("make", [nn.AdaFace, nn.CurricularFace, nn.SphereFace, nn.Ring, nn.ElasticArcFace])
def test_the_loss_is_left_as_it_was(make: Callable[[], Loss]) -> None:
    loss = make().train()
    before = {k: v.clone() for k, v in loss.state_dict().items()}
    numeric_boundary(loss, Pair(1.0), norm=7.0)
    closed_boundary(loss, Pair(1.0), norm=7.0)
    assert loss.training
    assert all(torch.equal(before[k], v) and before[k].dtype == v.dtype for k, v in loss.state_dict().items())


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        (lambda: Pair(0.0), "angle"),
        (lambda: Pair(3.2), "angle"),
        (lambda: Pair(float("nan")), "angle"),
        (lambda: Pair(1.0, lengths=(1.0, 0.0)), "lengths"),
        (lambda: Pair(1.0, biases=(math.inf, 0.0)), "biases"),
        (lambda: numeric_boundary(nn.ArcFace(), Pair(1.0), norm=0), "norm"),
        (lambda: closed_boundary(nn.ArcFace(), Pair(1.0), norm=math.nan), "norm"),
        (lambda: loss_logits(nn.ArcFace(), np.ones((2, 3)), np.ones((2, 2)), 0), "expected"),
        (lambda: loss_logits(nn.ArcFace(), np.zeros((2, 3)), np.eye(3), 0), "length 0"),
        (lambda: loss_logits(nn.ArcFace(), np.full((2, 3), np.nan), np.eye(3), 0), "finite"),
        (lambda: loss_logits(nn.ArcFace(), np.ones((2, 3)), np.eye(3), 3), "labels"),
        (lambda: loss_logits(nn.ArcFace(), np.ones((2, 3)), np.eye(3), [0, 1, 2]), "labels"),
        (lambda: loss_logits(nn.ArcFace(), np.ones((2, 3)), np.eye(3), 0.5), "labels"),
        (lambda: loss_logits(nn.Softmax(), np.ones((2, 3)), np.eye(3), 0, biases=[1.0]), "biases"),
    ],
)
def test_what_is_refused(wrong: Callable[[], Any], match: str) -> None:
    with pytest.raises(BadArgument, match=match):
        wrong()


# --- the catalogue --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BOUNDARIES)
def test_every_loss_that_is_shown_agrees_with_its_formula(name: str) -> None:
    shown = BOUNDARIES[name]
    for azimuths in ((0.0, math.pi), (0.7,)):
        difference = boundary_difference(
            shown.make(), Pair(math.pi / 2, (1.2, 0.8), (0.3, -0.3)), azimuths=azimuths, norm=shown.norm
        )
        if difference is None:
            assert (name, azimuths) == ("spherefacer", (0.7,))
        else:
            assert difference < 1e-7


def test_losses_by_name() -> None:
    assert shown_of("Arc-Face", {}) is BOUNDARIES["arcface"]
    assert shown_of("normface", {}).title == "NormFace"
    easy = shown_of("arcface", {"margin": 0.3, "far": "easy"})
    assert easy.title == "ArcFace, margin = 0.3, far = easy"
    assert easy.equation == BOUNDARIES["arcface"].equation
    made = easy.make()
    assert isinstance(made, nn.ArcFace)
    assert (made.margin, made.far) == (0.3, "easy")
    plain = shown_of("sphereface", {"margin": 2}).make()
    assert angular_margin(plain, Pair(0.9)) == pytest.approx(0.3)
    blended = shown_of("sphereface", {"margin": 2, "least": 5.0, "base": 0.0}).make()
    assert isinstance(blended, nn.SphereFace)
    assert blended.annealing == 5
    with pytest.raises(BadRecipe, match="ArcFace"):
        shown_of("arcfac", {})
    with pytest.raises(BadRecipe, match="margin"):
        shown_of("arcface", {"margn": 1})
    with pytest.raises(BadArgument, match="no boundary"):
        shown_of("center", {})
    with pytest.raises(BadArgument, match="number"):
        shown_of("cosface", {"margin": "wide"})
