"""Any network of the timm package as a backbone: its pooled feature, then a linear layer and a BatchNorm."""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import Tensor, nn

from vultus.errors import BadArgument, ExtraMissing
from vultus.train.backbones.layers import linear_bn


class FromTimm(nn.Module):
    """A network of timm without its classifier.

    Args:
        dim: length of the feature.
        name: as timm lists it, such as "mobilenetv3_small_100".
        options: passed to `timm.create_model`, such as `img_size=112` for a transformer.

    Raises:
        ExtraMissing: timm is not installed.
        BadArgument: timm has no such network, refuses an option, or the network does not take 112 x 112 pixels.
    """

    def __init__(self, dim: int, name: str, **options: Any) -> None:
        super().__init__()
        self.dim = dim
        try:
            timm = importlib.import_module("timm")
        except (ImportError, RuntimeError) as problem:  # the second where torchvision was built for another torch
            raise ExtraMissing(
                f"the backbone 'timm:{name}' needs the package timm, which cannot be imported ({problem}); install it "
                "with pip install 'vultus[timm]', and a torchvision that fits the installed torch"
            ) from problem
        try:
            self.network: nn.Module = timm.create_model(name, **{"pretrained": False, **options, "num_classes": 0})
        except (RuntimeError, TypeError, ValueError, AssertionError) as problem:
            raise BadArgument(f"timm cannot make {name!r} with {options or 'no options'}: {problem}") from problem
        self.feature = linear_bn(self._length(name), dim)

    def _length(self, name: str) -> int:
        """How long the pooled feature is, found out with one grey picture: what timm's networks say of it differs."""
        mode = self.network.training
        self.network.eval()
        try:
            with torch.no_grad():
                shape = self.network(torch.zeros(1, 3, 112, 112)).shape
        except (RuntimeError, AssertionError, ValueError) as problem:
            raise BadArgument(
                f"timm's {name!r} does not take 112 x 112 pixels: {problem}; a transformer needs the option img_size=112 "
                "and a patch size that divides it"
            ) from problem
        finally:
            self.network.train(mode)
        if len(shape) != 2:
            raise BadArgument(f"timm's {name!r} gives {tuple(shape)} for one picture; expected (1, length)")
        return int(shape[1])

    def forward(self, images: Tensor) -> Tensor:
        """(n, 3, 112, 112) in [-1, 1] to (n, dim)."""
        features: Tensor = self.feature(self.network(images))
        return features
