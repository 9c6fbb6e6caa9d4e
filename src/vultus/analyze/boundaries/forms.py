"""What each loss grants a class, written down by hand: pieces of sums of cosines, with none of the loss's own code."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from vultus.analyze.boundaries.harmonic import Harmonics
from vultus.analyze.boundaries.pair import Pair
from vultus.errors import BadArgument
from vultus.train import nn
from vultus.train.loss import Loss

_ADAFACE_EDGE = 1e-3


@dataclass(frozen=True, slots=True)
class Form:
    """The lead of a class, up to a positive factor, along an azimuth.

    Args:
        at: the sum of cosines that holds around an angle.
        breaks: angles at which another sum begins to hold.
    """

    at: Callable[[float], Harmonics]
    breaks: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """What a form may depend on: the pair, the cosine R cos(u - d) with the other centre, and the feature's length."""

    pair: Pair
    other: Harmonics
    norm: float


def form_of(loss: Loss, place: Place) -> Form:
    """The form of a loss of vultus.

    Raises:
        BadArgument: a loss that is not known here.
    """
    known = _FORMS.get(type(loss))
    if known is None:
        raise BadArgument(
            f"no closed form is written down for {type(loss).__name__}; numeric_boundary works for every loss"
        )
    return known(loss, place)


def _cosine(factor: float = 1.0, phase: float = 0.0) -> Harmonics:
    return Harmonics(((1.0, factor, phase),))


def _constant(value: float) -> Harmonics:
    return Harmonics(((value, 0.0, 0.0),))


# --- no margin --------------------------------------------------------------------------------------------------------


def _softmax(_: Loss, place: Place) -> Form:
    """|x| |W_1| cos(u) + b_1 = |x| |W_2| cos(t_2) + b_2: the line (W_1 - W_2) x + b_1 - b_2 = 0."""
    return _line(place, place.norm)


def _l2_softmax(loss: nn.L2Softmax, place: Place) -> Form:
    return _line(place, loss.scale)


def _line(place: Place, norm: float) -> Form:
    (one, two), (b, c) = place.pair.lengths, place.pair.biases
    whole = _cosine().times(norm * one) + place.other.times(-norm * two) + _constant(b - c)
    return Form(lambda _: whole)


def _equal_angles(_: Loss, place: Place) -> Form:
    """cos(t_1) = cos(t_2)."""
    whole = _cosine() + place.other.times(-1)
    return Form(lambda _: whole)


# --- margins that multiply the angle ----------------------------------------------------------------------------------


def _psi(factor: float, margin: float) -> tuple[Callable[[float], Harmonics], tuple[float, ...]]:
    """(-1)^k cos(m u + p) - 2 k with k = floor((m u + p) / pi), and where k changes."""

    def at(u: float) -> Harmonics:
        k = math.floor((factor * u + margin) / math.pi)
        return _cosine(factor, margin).times(-1 if k % 2 else 1) + _constant(-2 * k)

    last = math.floor((factor * math.pi + margin) / math.pi)
    return at, tuple((k * math.pi - margin) / factor for k in range(last + 1))


def _multiplied(margin: float, annealing: float, place: Place, *, lengths: tuple[float, float]) -> Form:
    psi, breaks = _psi(margin, 0.0)
    plain = _cosine().times(annealing * lengths[0]) + place.other.times(-(1 + annealing) * lengths[1])
    return Form(lambda u: psi(u).times(lengths[0]) + plain, breaks)


def _l_softmax(loss: nn.LSoftmax, place: Place) -> Form:
    return _multiplied(loss.margin, loss.annealing, place, lengths=place.pair.lengths)


def _sphereface(loss: nn.SphereFace, place: Place) -> Form:
    return _multiplied(loss.margin, loss.annealing, place, lengths=(1, 1))


def _sphereface_r(loss: nn.SphereFaceR, place: Place) -> Form:
    return _multiplied(loss.margin, 0.0, place, lengths=(1, 1))


# --- margins that are added -------------------------------------------------------------------------------------------


def _added(place: Place, *, m1: float = 1.0, m2: float = 0.0, m3: float = 0.0, far: str = "cosine") -> Form:
    """cos(m1 u + m2) - m3 = cos(t_2), and what `far` says where m1 u + m2 > pi."""
    phi, breaks = _target(m1, m2, far)
    rest = _constant(-m3) + place.other.times(-1)
    return Form(lambda u: phi(u) + rest, breaks)


def _target(m1: float, m2: float, far: str) -> tuple[Callable[[float], Harmonics], tuple[float, ...]]:
    if far == "psi":
        return _psi(m1, m2)
    moved = _cosine(m1, m2)
    if far == "linear":
        end = math.pi - m2
        return lambda u: moved if u <= end else _cosine() + _constant(-m2 * math.sin(m2)), (end,)
    if far == "easy":
        return lambda u: moved if u < math.pi / 2 else _cosine(), (math.pi / 2,)
    return lambda _: moved, ()


def _cosface(loss: nn.CosFace | nn.ElasticCosFace, place: Place) -> Form:
    return _added(place, m3=loss.margin)


def _arcface(loss: nn.ArcFace | nn.ElasticArcFace, place: Place) -> Form:
    return _added(place, m2=loss.margin, far=loss.far)


def _combined(loss: nn.CombinedMargin, place: Place) -> Form:
    return _added(place, m1=loss.m1, m2=loss.m2, m3=loss.m3, far=loss.far)


def _curricular(loss: nn.CurricularFace, place: Place) -> Form:
    """As ArcFace, but the other class counts c (t + c) where its cosine c is above cos(u + m)."""
    phi, breaks = _target(1.0, loss.margin, loss.far)
    bound, t = _cosine(1.0, loss.margin), float(loss.t)
    ((size, _, phase),) = place.other.terms
    hard = Harmonics(((size**2 / 2, 0.0, 0.0), (size**2 / 2, 2.0, 2 * phase), (t * size, 1.0, phase)))

    def at(u: float) -> Harmonics:
        other = hard if place.other(u) > bound(u) else place.other
        return phi(u) + other.times(-1)

    return Form(at, (*breaks, *(bound + place.other.times(-1)).roots()))


def _magface(loss: nn.MagFace, place: Place) -> Form:
    length = min(max(place.norm, loss.low_norm), loss.high_norm)
    share = (length - loss.low_norm) / (loss.high_norm - loss.low_norm)
    return _added(place, m2=loss.low_margin + share * (loss.high_margin - loss.low_margin), far=loss.far)


def _adaface(loss: nn.AdaFace, place: Place) -> Form:
    """cos(u - m z) - (m + m z), u - m z kept within 0.001 of the ends of [0, pi]."""
    length = min(max(place.norm, 1e-3), 100.0)
    z = (length - float(loss.mean)) / (float(loss.deviation) + _ADAFACE_EDGE) * loss.concentration
    turn = loss.margin * min(max(z, -1.0), 1.0)
    ends = (turn + _ADAFACE_EDGE, turn + math.pi - _ADAFACE_EDGE)
    rest = _constant(-loss.margin - turn) + place.other.times(-1)

    def at(u: float) -> Harmonics:
        if ends[0] <= u <= ends[1]:
            return _cosine(1.0, -turn) + rest
        edge = math.cos(_ADAFACE_EDGE)
        return _constant(edge if u < ends[0] else -edge) + rest

    return Form(at, ends)


# --- a boundary for each class alone ----------------------------------------------------------------------------------


def _sphereface2(loss: nn.SphereFace2, _: Place) -> Form:
    """r (g(c) - m) + b = 0, thus c = 2 ((1 + m - b / r) / 2)^(1/t) - 1."""
    level = (1 + loss.margin - loss.offset.item() / loss.scale) / 2
    return _cap(2 * math.copysign(abs(level) ** (1 / loss.t), level) - 1)


def _uniface(loss: nn.UniFace, _: Place) -> Form:
    """s (c - m) = b."""
    return _cap(loss.margin + loss.threshold.item() / loss.scale)


def _cap(cosine: float) -> Form:
    whole = _cosine() + _constant(-cosine)
    return Form(lambda _: whole)


# --- what is added to another loss ------------------------------------------------------------------------------------


def _extended(loss: nn.Ring | nn.UNPG, place: Place) -> Form:
    return form_of(loss.base, place)


_FORMS: dict[type[Loss], Callable[..., Form]] = {
    nn.Softmax: _softmax,
    nn.UPLoss: _softmax,
    nn.L2Softmax: _l2_softmax,
    nn.ModifiedSoftmax: _equal_angles,
    nn.NormFace: _equal_angles,
    nn.COCO: _equal_angles,
    nn.LSoftmax: _l_softmax,
    nn.SphereFace: _sphereface,
    nn.SphereFaceR: _sphereface_r,
    nn.AMSoftmax: _cosface,
    nn.CosFace: _cosface,
    nn.ElasticCosFace: _cosface,
    nn.ElasticCosFacePlus: _cosface,
    nn.ArcFace: _arcface,
    nn.ElasticArcFace: _arcface,
    nn.ElasticArcFacePlus: _arcface,
    nn.CombinedMargin: _combined,
    nn.CurricularFace: _curricular,
    nn.MagFace: _magface,
    nn.AdaFace: _adaface,
    nn.SphereFace2: _sphereface2,
    nn.UniFace: _uniface,
    nn.Ring: _extended,
    nn.UNPG: _extended,
}
