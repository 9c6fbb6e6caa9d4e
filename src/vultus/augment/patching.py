"""Multi-patch: one photo to many crops, of the whole face and of its parts, for a network each or for all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vultus._export import export
from vultus.augment.geometric import Border, joined, move, window_map
from vultus.augment.pose import HEAD_POINTS
from vultus.augment.views import Views, checked, checked_points, within
from vultus.errors import BadArgument
from vultus.geometry import fit_similarity
from vultus.types import FloatArray, UInt8Array

# Centre and half of the side, in millimetres of the head: from the middle between the eyes, x to the right and y down.
REGIONS: dict[str, tuple[float, float, float]] = {
    "face": (0.0, 36.0, 98.0),
    "inner": (0.0, 33.0, 64.0),
    "upper": (0.0, 4.0, 62.0),
    "lower": (0.0, 62.0, 56.0),
    "right_half": (-34.0, 36.0, 62.0),
    "left_half": (34.0, 36.0, 62.0),
    "right_eye": (-31.5, 2.0, 36.0),
    "left_eye": (31.5, 2.0, 36.0),
    "nose": (0.0, 32.0, 36.0),
    "mouth": (0.0, 66.0, 40.0),
}


@export("vultus.augment.multi_patch")
def multi_patch(
    image: UInt8Array,
    landmarks: FloatArray,
    *,
    regions: Sequence[str] = tuple(REGIONS),
    scales: Sequence[float] = (1.0,),
    side: int = 112,
    border: Border = "reflect",
) -> Views:
    """Upright square crops of regions of one face, each at several scales.

    The idea is that of DeepID (Sun, Wang and Tang 2014, "Deep learning face representation from predicting 10,000 classes",
    section 4: ten regions at three scales); the regions are other ones.

    Args:
        image: (H, W, 3) uint8 RGB.
        landmarks: (5, 2) in the order of `Faces`.
        regions: some of "face", "inner", "upper", "lower", "right_half", "left_half", "right_eye", "left_eye", "nose" and
            "mouth"; right and left as the subject sees them.
        scales: factors of a region's side, each from 0.2 to 5.
        side: of the crops, in pixels.
        border: see `move`.

    Returns:
        len(regions) * len(scales) crops, all scales of the first region first, with the landmarks as they lie in each.

    Raises:
        BadArgument: no such region, a number out of range, or landmarks that coincide.
    """
    image = checked(image)
    if image.ndim != 3:
        raise BadArgument(f"the picture has shape {image.shape}; expected (H, W, 3): one photo gives many patches")
    points = checked_points(landmarks, ())
    for name in regions:
        if name not in REGIONS:
            raise BadArgument(f"no region {name!r}; expected some of {', '.join(REGIONS)}")
    if not regions or not scales:
        raise BadArgument("no region or no scale; expected at least one of each")
    within("side", side, 1, 4096)
    upright = fit_similarity(points, HEAD_POINTS)
    windows = []
    for name in regions:
        x, y, half = REGIONS[name]
        windows += [
            (x - half * s, y - half * s, x + half * s, y + half * s)
            for s in (within("a scale", s, 0.2, 5.0) for s in scales)
        ]
    maps = [joined(m, upright) for m in window_map(np.array(windows), (side, side))]
    count = len(maps)
    batch = Views(np.broadcast_to(image, (count, *image.shape)), np.broadcast_to(points, (count, 5, 2)))
    return move(batch, np.array(maps), size=(side, side), border=border)
