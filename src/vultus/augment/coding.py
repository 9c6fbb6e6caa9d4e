"""What storing and sending costs a picture: JPEG, and fewer pixels.

Where the package simplejpeg is installed it decodes; the pixels are the same, and a twentieth of the time is saved.
"""

from __future__ import annotations

import cv2
import numpy as np

from vultus._export import export
from vultus.augment.colour import each
from vultus.augment.lookup import installed
from vultus.augment.views import checked, within
from vultus.errors import BadArgument
from vultus.types import UInt8Array

RESAMPLINGS = {
    "nearest": cv2.INTER_NEAREST,
    "linear": cv2.INTER_LINEAR,
    "cubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
}

_AS_RGB: int = getattr(cv2, "IMREAD_COLOR_RGB", cv2.IMREAD_COLOR)  # OpenCV before 4.11 decodes to BGR only
_QUICK = installed("simplejpeg")


@export("vultus.augment.jpeg")
def jpeg(images: UInt8Array, quality: int, *, scale: float = 1.0) -> UInt8Array:
    """Encoded as JPEG and decoded again.

    Args:
        images: (H, W, 3) or (n, H, W, 3) uint8 RGB.
        quality: 1 to 100.
        scale: the picture is made smaller by this factor before it is encoded and large again afterwards, so that the
            blocks are larger in the picture.

    Raises:
        BadArgument: pictures or numbers that are none.
    """
    images = checked(images)
    quality = round(within("quality", quality, 1, 100))
    within("scale", scale, 1e-3, 1.0)
    height, width = images.shape[-3:-1]
    small = (max(1, round(width * scale)), max(1, round(height * scale)))

    def coded(picture: UInt8Array) -> UInt8Array:
        reduced = picture if small == (width, height) else cv2.resize(picture, small, interpolation=cv2.INTER_AREA)
        _, stream = cv2.imencode(".jpg", cv2.cvtColor(reduced, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
        damaged = _decoded(stream)
        if small != (width, height):
            damaged = np.asarray(cv2.resize(damaged, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
        return damaged

    return each(images, coded)


def _decoded(stream: UInt8Array) -> UInt8Array:
    if _QUICK is not None:
        found: UInt8Array = _QUICK.decode_jpeg(stream, fastdct=False, fastupsample=False)
        return found
    damaged: UInt8Array = np.asarray(cv2.imdecode(stream, _AS_RGB), dtype=np.uint8)
    if _AS_RGB == cv2.IMREAD_COLOR:
        damaged = np.asarray(cv2.cvtColor(damaged, cv2.COLOR_BGR2RGB), dtype=np.uint8)
    return damaged


@export("vultus.augment.low_resolution")
def low_resolution(images: UInt8Array, scale: float, *, down: str = "area", up: str = "cubic") -> UInt8Array:
    """Made small and as large as before again.

    Args:
        images: (H, W, 3) or (n, H, W, 3) uint8 RGB.
        scale: of the small picture, in (0, 1].
        down, up: how it is made small and large: "nearest", "linear", "cubic" or "area".

    Raises:
        BadArgument: pictures, a number or a name that is none.
    """
    images = checked(images)
    within("scale", scale, 1e-4, 1.0)
    for way in (down, up):
        if way not in RESAMPLINGS:
            raise BadArgument(f"no resampling {way!r}; expected one of {', '.join(RESAMPLINGS)}")
    height, width = images.shape[-3:-1]
    small = (max(1, round(width * scale)), max(1, round(height * scale)))
    if small == (width, height):
        return np.ascontiguousarray(images).copy()

    # Told the scale, OpenCV averages by it exactly; told the size, by two scales that differ a little, which takes longer.
    by: dict[str, float] = {"fx": scale, "fy": scale} if min(height, width) * scale >= 1 else {}

    def reduced(picture: UInt8Array) -> UInt8Array:
        less = cv2.resize(picture, None if by else small, interpolation=RESAMPLINGS[down], **by)
        out: UInt8Array = cv2.resize(less, (width, height), interpolation=RESAMPLINGS[up])
        return out

    return each(images, reduced)
