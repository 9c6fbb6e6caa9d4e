"""Two class centres, and the lines from one of them along which a boundary is looked for."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vultus._export import export
from vultus.errors import BadArgument
from vultus.types import Float64Array


@export("vultus.analyze.boundaries.Pair")
@dataclass(frozen=True, slots=True)
class Pair:
    """Two class centres with an angle between them.

    A place is told by its angle `u` from the first centre, in [0, pi], and its azimuth around it: azimuth 0 leads to the
    second centre, pi away from it. In the plane there are these two only, in space all between.

    Args:
        angle: between the centres, radians, above 0 and at most pi.
        lengths: of the two centres, for losses that leave them free; others do not look at them.
        biases: of the two classes, for losses that have them.

    Raises:
        BadArgument: an angle out of range, lengths not above 0, or numbers that are not finite.
    """

    angle: float
    lengths: tuple[float, float] = (1.0, 1.0)
    biases: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        if not 0 < self.angle <= math.pi:
            raise BadArgument(f"the angle between two centres is {self.angle:g}; expected above 0 and at most pi")
        if not all(math.isfinite(x) and x > 0 for x in self.lengths):
            raise BadArgument(f"centres of the lengths {self.lengths}; expected two finite numbers above 0")
        if not all(map(math.isfinite, self.biases)):
            raise BadArgument(f"biases {self.biases}; expected two finite numbers")

    @property
    def swapped(self) -> Pair:
        """The same with the second class first."""
        return Pair(self.angle, self.lengths[::-1], self.biases[::-1])

    @property
    def centres(self) -> Float64Array:
        """(2, 3) centres in space; the plane of the first two axes holds both."""
        second = np.array([math.cos(self.angle), math.sin(self.angle), 0.0])
        return np.stack([np.array([self.lengths[0], 0.0, 0.0]), self.lengths[1] * second])

    def places(self, angles: npt.ArrayLike, *, azimuth: float = 0.0) -> Float64Array:
        """(n, 3) unit vectors at these angles from the first centre."""
        u = np.asarray(angles, dtype=np.float64)
        sine = np.sin(u)
        return np.stack([np.cos(u), sine * math.cos(azimuth), sine * math.sin(azimuth)], axis=-1)

    def seen_along(self, azimuth: float) -> tuple[float, float]:
        """(R, d) such that the cosine with the second centre is R cos(u - d) along this azimuth."""
        across = math.sin(self.angle) * math.cos(azimuth)
        return math.hypot(math.cos(self.angle), across), math.atan2(across, math.cos(self.angle))
