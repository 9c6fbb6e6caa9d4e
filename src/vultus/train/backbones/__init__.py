"""Networks from aligned faces to features."""

from vultus.train.backbones.layers import conv_bn, linear_bn
from vultus.train.backbones.names import BACKBONES, build

__all__ = ["BACKBONES", "build", "conv_bn", "linear_bn"]
