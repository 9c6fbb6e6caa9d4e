"""Networks from aligned faces to features."""

from vultus.train.backbones.layers import conv_bn, linear_bn
from vultus.train.backbones.names import BACKBONES, build
from vultus.train.backbones.resizing import Resample

__all__ = ["BACKBONES", "Resample", "build", "conv_bn", "linear_bn"]
