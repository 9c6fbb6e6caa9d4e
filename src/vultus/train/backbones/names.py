"""Backbones by name."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from vultus._export import export
from vultus.errors import BadArgument
from vultus.train.backbones.deepface.network import DeepFace
from vultus.train.backbones.deepid.network import DEEPID2, DeepID
from vultus.train.backbones.from_timm import FromTimm
from vultus.train.backbones.iresnet import DEPTHS, IResNet
from vultus.train.backbones.mobilefacenet import MobileFaceNet
from vultus.train.backbones.small import Small
from vultus.train.backbones.vit import SIZES, ViT

_TIMM = "timm:"

BACKBONES: dict[str, Callable[..., nn.Module]] = {
    **{f"iresnet{depth}": partial(IResNet, blocks=blocks) for depth, blocks in DEPTHS.items()},
    "deepface": DeepFace,
    "deepface_small": partial(DeepFace, side=64, channels=(16, 16, 16, 16, 16), kernels=(7, 5, 5, 5, 3)),
    "deepid": DeepID,
    "deepid2": partial(DeepID, size=DEEPID2),
    "mobilefacenet": MobileFaceNet,
    "small": Small,
    **{f"vit_{size}": partial(ViT, width=width, depth=depth) for size, (width, depth) in SIZES.items()},
}


@export("vultus.train.backbones.build")
def build(name: str, *, dim: int = 512, **options: Any) -> nn.Module:
    """A network from aligned faces to features.

    Args:
        name: one of `BACKBONES`, or "timm:" and the name of a network of the timm package.
        dim: length of the feature.
        options: of the network. deepface: side, channels, kernels, dropout, view, start; deepface_small: dropout, view, start.
            deepid: patch, size, channels, dropout; deepid2: the same without size. IResNet: dropout.
            ViT: patch, drop_path, mask. small: width, blocks. timm: what `timm.create_model` takes.

    Returns:
        a module that takes (n, 3, 112, 112) float RGB in [-1, 1] and gives (n, dim), not of unit length. Its parameters
        start from torch's random state.

    Raises:
        BadArgument: no such name or option, or a value out of range.
        ExtraMissing: a network of timm, which is not installed.
    """
    if dim < 1:
        raise BadArgument(f"dim is {dim!r}; expected a whole number of at least 1")
    if name.startswith(_TIMM):
        return FromTimm(dim, name.removeprefix(_TIMM), **options)
    if name not in BACKBONES:
        near = difflib.get_close_matches(name, BACKBONES, n=1)
        advice = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(BACKBONES)}, or timm:NAME"
        raise BadArgument(f"no backbone {name!r}; {advice}")
    make = BACKBONES[name]
    fixed = make.keywords if isinstance(make, partial) else {}
    known = [k for k in inspect.signature(make).parameters if k != "dim" and k not in fixed]
    for key in options:
        if key not in known:
            raise BadArgument(f"the backbone {name!r} has no option {key!r}; it has {', '.join(known) or 'none'}")
    return make(dim, **options)
