"""How much of a checkerboard an upsampling makes."""

from __future__ import annotations

from torch import Tensor

from vultus._export import export
from vultus.errors import BadArgument
from vultus.train.upsample.functions import checked_maps


@export("vultus.train.upsample.checkerboard")
def checkerboard(y: Tensor, *, scale: int = 2, border: int = 2) -> float:
    """How much of the energy of upsampled maps repeats from cell to cell: the checkerboard.

    This is the share of the energy at the sampling frequency 1 / `scale` and its multiples, without the mean. Give it what a
    block makes of a constant or smooth input: there it is 0 where all positions in a cell are treated alike.

    Args:
        y: (n, c, h, w) upsampled maps; h and w multiples of `scale`.
        scale: of the upsampling.
        border: cells left out on each side, where padding shows.

    Returns:
        a number from 0 to 1.

    Raises:
        BadArgument: another shape, or nothing is left within the border.
    """
    checked_maps(y, scale)
    h, w = int(y.shape[2]), int(y.shape[3])
    if h % scale or w % scale or min(h, w) // scale <= 2 * border or border < 0:
        raise BadArgument(
            f"y is of shape {tuple(y.shape)}; expected multiples of {scale}, more than {2 * border} cells"
        )
    cut = border * scale
    inner = y.detach().double()[:, :, cut : h - cut, cut : w - cut]
    n, c, rows, columns = inner.shape
    cells = inner.reshape(n, c, rows // scale, scale, columns // scale, scale)
    phases = cells.mean(dim=(2, 4))  # (n, c, scale, scale): the mean of each position in a cell
    repeated = (phases - phases.mean(dim=(2, 3), keepdim=True)).square().mean()
    energy = float(inner.square().mean())
    return float(repeated) / energy if energy > 0 else 0.0
