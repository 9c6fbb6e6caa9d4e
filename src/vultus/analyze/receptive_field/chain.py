"""The two textbook formulas, for a plain chain of convolutions and poolings given by numbers alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vultus._export import export
from vultus.errors import BadArgument


@export("vultus.analyze.receptive_field.Layer")
@dataclass(frozen=True, slots=True)
class Layer:
    """One convolution or pooling along one axis.

    Args:
        kernel: taps.
        stride: inputs from one output to the next.
        padding: zeros before the first input.
        dilation: inputs from one tap to the next.

    Raises:
        BadArgument: a number out of range.
    """

    kernel: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1

    def __post_init__(self) -> None:
        if min(self.kernel, self.stride, self.dilation) < 1 or self.padding < 0:
            raise BadArgument(f"{self}; expected kernel, stride and dilation of at least 1 and padding of at least 0")


@export("vultus.analyze.receptive_field.chain_top_down")
def chain_top_down(layers: Sequence[Layer]) -> int:
    """Pixels that one unit of the last layer sees: N(n - 1) = (N(n) - 1) * stride + kernel, from N = 1 at the top.

    A dilated kernel counts as (kernel - 1) * dilation + 1. This finds the size for one layer only, so each further layer
    needs a walk of its own.
    """
    size = 1
    for layer in reversed(layers):
        size = (size - 1) * layer.stride + (layer.kernel - 1) * layer.dilation + 1
    return size


@export("vultus.analyze.receptive_field.chain_bottom_up")
def chain_bottom_up(layers: Sequence[Layer]) -> list[tuple[int, int, float]]:
    """(size, jump, start) after each layer, in one walk from the pixels up.

    size grows by (kernel - 1) * dilation * jump, jump is multiplied by the stride, and start, the centre of the first
    unit's field (pixel 0 has its centre at 0), moves by ((kernel - 1) * dilation / 2 - padding) * jump.
    """
    size, jump, start = 1, 1, 0.0
    found = []
    for layer in layers:
        reach = (layer.kernel - 1) * layer.dilation
        size += reach * jump
        start += (reach / 2 - layer.padding) * jump
        jump *= layer.stride
        found.append((size, jump, start))
    return found
