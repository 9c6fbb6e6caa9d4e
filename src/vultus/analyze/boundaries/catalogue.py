"""Which losses are shown, with which margins, and the equation of the boundary of each."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from vultus.errors import BadArgument
from vultus.train import nn
from vultus.train.loss import Loss
from vultus.train.nn import BatchLoss

_MANY = 1000


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A loss in a picture.

    Args:
        title: its name and margins.
        make: the loss.
        equation: of the boundary of class 1, in matplotlib's mathematical notation.
        norm: length of the feature at which the margin is told, and about half of what the picture of the plane holds.
        uses_length: whether the boundary depends on the length of the feature.
    """

    title: str
    make: Callable[[], Loss]
    equation: str = ""
    norm: float = 1.0
    uses_length: bool = False


def _adaface() -> Loss:
    loss = nn.AdaFace()
    with torch.no_grad():  # as after some training
        loss.deviation.fill_(5.0)
    return loss


BOUNDARIES: Mapping[str, Shown] = {
    "softmax": Shown("softmax", nn.Softmax, r"$(W_1-W_2)\,x+b_1-b_2=0$", uses_length=True),
    "l2softmax": Shown("L2-softmax, s = 1", lambda: nn.L2Softmax(scale=1), r"$s(W_1-W_2)\,\frac{x}{|x|}+b_1-b_2=0$"),
    "modifiedsoftmax": Shown("modified softmax, NormFace", nn.ModifiedSoftmax, r"$\cos t_1=\cos t_2$"),
    "lsoftmax": Shown("L-Softmax, m = 3", lambda: nn.LSoftmax(margin=3, base=0), r"$|W_1|\,\psi(t_1)=|W_2|\cos t_2$"),
    "sphereface": Shown("A-Softmax, m = 4", lambda: nn.SphereFace(margin=4, base=0, least=0), r"$\psi(t_1)=\cos t_2$"),
    "sphereface-annealed": Shown(
        "A-Softmax, m = 4, λ = 5",
        lambda: nn.SphereFace(margin=4, base=0, least=5),
        r"$\lambda\cos t_1+\psi(t_1)=(1+\lambda)\cos t_2$",
    ),
    "spherefacer": Shown("SphereFace-R, m = 1.7", nn.SphereFaceR, r"$\psi(t_1)=\cos t_2$"),
    "cosface": Shown("CosFace, AM: m = 0.35", nn.CosFace, r"$\cos t_1-m=\cos t_2$"),
    "arcface": Shown("ArcFace, m = 0.5", nn.ArcFace, r"$\cos(t_1+m)=\cos t_2$"),
    "combinedmargin": Shown("combined, 1, 0.3, 0.2", nn.CombinedMargin, r"$\cos(m_1t_1+m_2)-m_3=\cos t_2$"),
    "curricularface": Shown("CurricularFace at its start", nn.CurricularFace, r"$\cos(t_1+m)=(\tau+\cos t_2)\cos t_2$"),
    "magface": Shown("MagFace", nn.MagFace, r"$\cos(t_1+m(|x|))=\cos t_2$", norm=60.0, uses_length=True),
    "adaface": Shown("AdaFace", _adaface, r"$\cos(t_1-mz)-m-mz=\cos t_2$", norm=20.0, uses_length=True),
    "sphereface2": Shown("SphereFace2, C = 1,000", lambda: nn.SphereFace2(_MANY), r"$r\,(g(\cos t_1)-m)+b=0$"),
    "uniface": Shown("UniFace, C = 1,000", lambda: nn.UniFace(_MANY), r"$s\,(\cos t_1-m)=b$"),
}

SPHERES: Mapping[str, Shown] = {
    name: BOUNDARIES[name]
    for name in ("modifiedsoftmax", "cosface", "arcface", "sphereface", "sphereface-annealed", "sphereface2")
}

CURVES: Mapping[str, Shown] = {
    "cosine": Shown("no margin", nn.NormFace),
    **{
        name: BOUNDARIES[name] for name in ("sphereface", "sphereface-annealed", "cosface", "arcface", "combinedmargin")
    },
}


# Annealing and its end are switched off: what the loss is without a blend.
_SETTLED = {"lsoftmax": {"base": 0.0, "least": 0.0}, "sphereface": {"base": 0.0, "least": 0.0}}


def shown_of(name: str, options: Mapping[str, Any]) -> Shown:
    """A loss by the name of its class, with options of its constructor.

    A-Softmax and L-Softmax come without blending, unless `base` or `least` are among the options.

    Raises:
        BadRecipe: an unknown name or option.
        BadArgument: a loss on a batch, which has no boundary, or a value that the loss refuses or that is no number.
    """
    key = name.lower().replace("-", "").replace("_", "")
    if not options and key in BOUNDARIES:
        return BOUNDARIES[key]
    settled: Mapping[str, Any] = {} if {"base", "least"} & set(options) else _SETTLED.get(key, {})
    classes = _MANY if key in {"sphereface2", "uniface"} else 2

    def make() -> Loss:
        made = nn.build(name, classes=classes, dim=2, **settled, **options)
        if isinstance(made, BatchLoss):
            raise BadArgument(f"{name!r} is a loss on the features of a batch; it draws no boundary of its own")
        return made

    kind = type(make())
    _require_numbers(kind, options)
    title = ", ".join([kind.__name__, *(f"{k} = {v}" for k, v in options.items())])
    known = BOUNDARIES.get(key, Shown(title, make))
    return replace(known, title=title, make=make)


def _require_numbers(kind: type[Loss], options: Mapping[str, Any]) -> None:
    """Refuse text where the default is a number: a loss finds it out late."""
    parameters = inspect.signature(kind).parameters
    for name, value in options.items():
        if isinstance(parameters[name].default, float) and not isinstance(value, int | float):
            raise BadArgument(f"{name} of {kind.__name__} is {value!r}; expected a number")


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A loss under which features are trained.

    Args:
        title: its name and margins.
        make: the loss.
        beside: a loss on the batch that is added, for a number of classes.
    """

    title: str
    make: Callable[[], Loss]
    beside: Callable[[int], BatchLoss] | None = None


TRAINED: Mapping[str, Trained] = {
    "softmax": Trained("softmax", nn.Softmax),
    "center": Trained("softmax + center, 0.1", nn.Softmax, lambda classes: nn.Center(classes, 2, weight=0.1)),
    "ring": Trained("softmax + Ring, 0.01", nn.Ring),
    "modifiedsoftmax": Trained("modified softmax", nn.ModifiedSoftmax),
    "normface": Trained("NormFace, s = 16", lambda: nn.NormFace(scale=16)),
    "sphereface": Trained("A-Softmax, m = 4, λ to 1", lambda: nn.SphereFace(base=100, gamma=0.5, least=1)),
    "cosface": Trained("CosFace, s = 16, m = 0.15", lambda: nn.CosFace(margin=0.15, scale=16)),
    "arcface": Trained("ArcFace, s = 16, m = 0.3", lambda: nn.ArcFace(margin=0.3, scale=16)),
}
