"""Which part of an aligned face does a network look at? Ten regions at three scales, in colour and in grey: 60 patches.

As in DeepID (Sun, Wang and Tang, CVPR 2014, section 3.2) five regions lie on the globally aligned face and five around the
landmarks; the paper shows them in a picture only (figure 3), so their numbers here are a choice. All are regions of the
aligned crop. A mirrored crop shows at the place of the left eye the mirrored right eye, and likewise for the corners of the
mouth, which is how the paper mirrors those patches; the global regions are their own mirror images.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from vultus._export import export
from vultus.align import TEMPLATES
from vultus.errors import BadArgument

Colour = Literal["rgb", "grey"]
COLOURS: tuple[Colour, ...] = get_args(Colour)
SCALES = (0.75, 1.0, 1.25)
RECTANGLE, SQUARE = (39, 31), (31, 31)

_SIDE = 112
# centre (x, y), and width and height at scale 1, in pixels of the crop; sides have the proportions of the networks' inputs
_GLOBAL: dict[str, tuple[float, float, float, float]] = {
    "face": (56.0, 60.0, 80.0, 80.0 * 39 / 31),
    "core": (56.0, 66.0, 56.0, 56.0 * 39 / 31),
    "upper": (56.0, 48.0, 72.0, 72.0),
    "middle": (56.0, 64.0, 72.0, 72.0),
    "lower": (56.0, 80.0, 72.0, 72.0),
}
_RECTANGLES = ("face", "core")
_LANDMARKS = ("left-eye", "right-eye", "nose", "left-mouth", "right-mouth")
_LOCAL_SIDE = 40.0
REGIONS = (*_GLOBAL, *_LANDMARKS)


@export("vultus.train.deepid.Patch")
@dataclass(frozen=True, slots=True)
class Patch:
    """A part of the aligned face, at one scale and in one colour.

    Args:
        region: "face", "core", "upper", "middle" or "lower" of the aligned crop, or around a landmark, as it lies in the
            picture: "left-eye", "right-eye", "nose", "left-mouth", "right-mouth".
        scale: of the region about its centre; the scheme uses 0.75, 1 and 1.25.
        colour: "rgb" or "grey".

    Raises:
        BadArgument: no such region or colour, or a scale that is not in (0, 4].
    """

    region: str
    scale: float = 1.0
    colour: Colour = "rgb"

    def __post_init__(self) -> None:
        for value, known in ((self.region, REGIONS), (self.colour, COLOURS)):
            if value not in known:
                near = difflib.get_close_matches(str(value), known, n=1, cutoff=0.0)[0]
                raise BadArgument(f"a patch has no {value!r}; did you mean {near!r}? Known are {', '.join(known)}")
        if not 0 < self.scale <= 4:
            raise BadArgument(f"scale is {self.scale!r}; expected more than 0 and at most 4")

    @classmethod
    def of(cls, name: str) -> Patch:
        """From "REGION", "REGION/SCALE" or "REGION/SCALE/COLOUR", such as "left-eye/0.75/grey"; the inverse of `str`.

        Raises:
            BadArgument: another form, or a part that is not known.
        """
        parts = name.split("/")
        try:
            if len(parts) > 3:
                raise ValueError(name)
            scale = float(parts[1]) if len(parts) > 1 else 1.0
        except ValueError as problem:
            raise BadArgument(
                f"no patch {name!r}; expected REGION/SCALE/COLOUR, such as 'left-eye/0.75/grey'"
            ) from problem
        return cls(parts[0], scale, parts[2] if len(parts) > 2 else "rgb")  # type: ignore[arg-type]

    def __str__(self) -> str:
        return f"{self.region}/{self.scale:g}/{self.colour}"

    @property
    def channels(self) -> int:
        """3 or 1."""
        return 3 if self.colour == "rgb" else 1

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) that DeepID's network takes this patch at: 39 x 31 or 31 x 31."""
        return RECTANGLE if self.region in _RECTANGLES else SQUARE

    def box(self, landmarks: npt.ArrayLike | None = None) -> tuple[float, float, float, float]:
        """(x0, y0, x1, y1) in pixels of the 112 x 112 crop, counted from its edge; it may reach over the edge.

        Args:
            landmarks: (5, 2) of the crop: where alignment found them; where it wants them unless told otherwise. Pixel
                coordinates, so that the first pixel's centre is 0.

        Raises:
            BadArgument: landmarks of another shape or not finite.
        """
        if self.region in _GLOBAL:
            x, y, width, height = _GLOBAL[self.region]
        else:
            points = np.asarray(TEMPLATES["arcface-112"] if landmarks is None else landmarks, dtype=np.float64)
            if points.shape != (5, 2) or not np.isfinite(points).all():
                raise BadArgument(f"landmarks have shape {points.shape}; expected (5, 2) finite numbers")
            x, y = points[_LANDMARKS.index(self.region)] + 0.5
            width = height = _LOCAL_SIDE
        half_x, half_y = self.scale * width / 2, self.scale * height / 2
        return float(x - half_x), float(y - half_y), float(x + half_x), float(y + half_y)


PATCHES: tuple[Patch, ...] = tuple(
    Patch(region, scale, colour) for region in REGIONS for scale in SCALES for colour in COLOURS
)
"""The 60 patches of the scheme."""
