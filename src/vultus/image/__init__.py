"""Pictures: decoding what came safely (decode, photo), and moving pixels (resample)."""

from vultus.image.decode import Limits
from vultus.image.photo import ImageSource, Photo, open_photo, read_image
from vultus.image.resample import pad_to, resize, warp

__all__ = ["ImageSource", "Limits", "Photo", "open_photo", "pad_to", "read_image", "resize", "warp"]
