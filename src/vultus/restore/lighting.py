"""What can be done about the light on a face before it is compared? Five ways, each picture to picture.

All work on the lightness of the picture; colours follow it. `balance` is the gentle one: it takes out what differs between
the left and the right half and leaves the rest; `lit_half` shows what lies in the shade as the other half has it. The others
are the classics, which take out more than light.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from vultus._export import export
from vultus.augment.views import checked, within
from vultus.errors import BadArgument
from vultus.types import FloatArray, UInt8Array

# Y of BT.601, which is what the classics were published for.
_WEIGHTS = np.array([0.299, 0.587, 0.114], dtype=np.float32)


@export("vultus.restore.balance")
def balance(crops: UInt8Array, *, sigma: float = 14.0, most: float = 4.0) -> UInt8Array:
    """Light from one side made even: a face is about symmetric, so what differs smoothly between its halves is light.

    The logarithm of the lightness is smoothed, and its odd part about the middle column is taken away. A face that is
    lit from the front, and its mirror image, stay as they are. It needs an aligned face, whose middle is the crop's.

    Args:
        crops: (H, W, 3) or (n, H, W, 3) uint8 RGB, aligned.
        sigma: of the smoothing, in pixels of a crop of 112.
        most: the largest factor by which a value changes, at least 1.

    Returns:
        Pictures of the same shape.

    Raises:
        BadArgument: pictures that are none, or a number out of range.
    """
    crops = checked(crops)
    within("sigma", sigma, 0.5, 112.0)
    within("most", most, 1.0, 255.0)
    if most == 1:
        return crops.copy()

    def gain(light: FloatArray) -> FloatArray:
        smooth = _smooth(np.log(light + 1.0), sigma)
        odd = (smooth - smooth[:, ::-1]) / 2
        return np.exp(-np.clip(odd, -np.log(most), np.log(most)))

    return _scaled(crops, gain)


@export("vultus.restore.lit_half")
def lit_half(crops: UInt8Array, *, sigma: float = 5.0, ratios: tuple[float, float] = (1.5, 3.0)) -> UInt8Array:
    """What is in the shade on one side of a face, shown as the other side has it in the light.

    Dividing the shade away makes noise and rounding large where there was next to no light; a face is about symmetric, and
    its other half was seen well. It needs an aligned face, whose middle is the crop's.

    Args:
        crops: (H, W, 3) or (n, H, W, 3) uint8 RGB, aligned.
        sigma: of the smoothing under which lightness is compared, in pixels of a crop of 112.
        ratios: how many times as light the other side has to be: where it begins to be taken, and where it is taken whole.

    Returns:
        Pictures of the same shape.

    Raises:
        BadArgument: pictures that are none, or numbers out of range.
    """
    crops = checked(crops)
    within("sigma", sigma, 0.5, 112.0)
    if len(ratios) != 2:
        raise BadArgument(f"ratios is {ratios!r}; expected two factors")
    low = np.log(within("the first of ratios", ratios[0], 1.0, 255.0))
    high = np.log(within("the second of ratios", ratios[1], ratios[0], 255.0))
    result = np.empty_like(crops, order="C")
    for source, target in zip(_many(crops), _many(result), strict=True):
        smooth = np.log(_smooth(source @ _WEIGHTS, sigma) + 1.0)
        share = np.clip((smooth[:, ::-1] - smooth - low) / max(high - low, 1e-6), 0, 1)
        share = _smooth(share**2 * (3 - 2 * share), 1.0)[..., None]
        target[...] = np.rint(source + share * (source[:, ::-1].astype(np.float32) - source))
    return result


@export("vultus.restore.self_quotient")
def self_quotient(crops: UInt8Array, *, sigmas: Sequence[float] = (1.0, 2.0, 4.0)) -> UInt8Array:
    """The picture divided by its own smoothed version: reflectance, where light changes slowly (Wang, Li and Wang 2004).

    At each scale the smoothing leaves out neighbours on the other side of an edge: those above, or those below, the mean of the
    neighbourhood, whichever are fewer there. The logarithms of the quotients of all scales are added, and spread over the
    range by their mean and deviation.

    Args:
        crops: (H, W, 3) or (n, H, W, 3) uint8 RGB.
        sigmas: of the smoothing, in pixels of a picture 112 high.

    Returns:
        Grey pictures of the same shape, the three channels equal.

    Raises:
        BadArgument: pictures that are none, or a number out of range.
    """
    crops = checked(crops)
    if not len(sigmas):
        raise BadArgument("sigmas is empty; expected one scale or more")
    for sigma in sigmas:
        within("each of sigmas", sigma, 0.3, 112.0)

    def quotient(light: FloatArray) -> FloatArray:
        total: FloatArray = np.zeros_like(light)
        for sigma in sigmas:
            total += np.log((light + 1.0) / (_within_edges(light, sigma) + 1.0))
        return _spread(total)

    return _grey(crops, quotient)


@export("vultus.restore.tan_triggs")
def tan_triggs(
    crops: UInt8Array,
    *,
    gamma: float = 0.2,
    inner: float = 1.0,
    outer: float = 2.0,
    alpha: float = 0.1,
    tau: float = 10.0,
) -> UInt8Array:
    """Gamma, difference of Gaussians, and contrast equalisation (Tan and Triggs 2010, doi 10.1109/TIP.2010.2042645).

    Args:
        crops: (H, W, 3) or (n, H, W, 3) uint8 RGB.
        gamma: exponent of the lightness.
        inner, outer: sigmas of the two Gaussians, in pixels of a picture 112 high.
        alpha: exponent under which the contrast is averaged, so that strong edges count less.
        tau: where large values are cut, in averages.

    Returns:
        Grey pictures of the same shape, the three channels equal.

    Raises:
        BadArgument: pictures that are none, or a number out of range.
    """
    crops = checked(crops)
    within("gamma", gamma, 0.01, 5.0)
    within("inner", inner, 0.3, 112.0)
    within("outer", outer, inner, 112.0)
    within("alpha", alpha, 0.001, 10.0)
    within("tau", tau, 0.1, 1e6)

    def equalised(light: FloatArray) -> FloatArray:
        raised = (light / 255.0) ** np.float32(gamma)
        band = _smooth(raised, inner) - _smooth(raised, outer)
        band = band / max(float(np.mean(np.abs(band) ** alpha)) ** (1 / alpha), 1e-9)
        band = band / max(float(np.mean(np.minimum(np.abs(band), tau) ** alpha)) ** (1 / alpha), 1e-9)
        # tanh sends everything into [-tau, tau]; four fifths of it hold nearly all values of a face
        cut = tau * np.tanh(band / tau)
        levels: FloatArray = np.clip(127.5 + cut * 127.5 / (0.8 * tau), 0, 255)
        return levels

    return _grey(crops, equalised)


@export("vultus.restore.equalise")
def equalise(crops: UInt8Array, *, limit: float = 2.0, tiles: int = 4) -> UInt8Array:
    """Contrast-limited adaptive histogram equalisation of the lightness (Zuiderveld 1994, Graphics Gems IV).

    Args:
        crops: (H, W, 3) or (n, H, W, 3) uint8 RGB.
        limit: how much steeper than the even distribution a histogram may make the values.
        tiles: tiles along each side, each with a histogram of its own; 1 is one for the picture.

    Returns:
        Pictures of the same shape.

    Raises:
        BadArgument: pictures that are none, or a number out of range.
    """
    crops = checked(crops)
    within("limit", limit, 0.1, 1e3)
    within("tiles", tiles, 1, min(crops.shape[-3:-1]))
    if tiles != int(tiles):
        raise BadArgument(f"tiles is {tiles!r}; expected a whole number")
    maker = cv2.createCLAHE(clipLimit=limit, tileGridSize=(int(tiles), int(tiles)))

    def gain(light: FloatArray) -> FloatArray:
        flat = np.rint(light).astype(np.uint8)
        factor: FloatArray = (maker.apply(flat).astype(np.float32) + 1.0) / (flat + np.float32(1.0))
        return factor

    return _scaled(crops, gain)


LIGHTING: dict[str, Callable[[UInt8Array], UInt8Array]] = {
    "balance": balance,
    "equalise": equalise,
    "lit_half": lit_half,
    "self_quotient": self_quotient,
    "tan_triggs": tan_triggs,
}


def _scaled(crops: UInt8Array, gain: Callable[[FloatArray], FloatArray]) -> UInt8Array:
    """Each picture times a map that is found from its lightness; colours keep their proportions."""
    result = np.empty_like(crops, order="C")
    for source, target in zip(_many(crops), _many(result), strict=True):
        factor = gain(source @ _WEIGHTS)
        target[...] = np.clip(np.rint(source * factor[..., None]), 0, 255)
    return result


def _grey(crops: UInt8Array, change: Callable[[FloatArray], FloatArray]) -> UInt8Array:
    result = np.empty_like(crops, order="C")
    for source, target in zip(_many(crops), _many(result), strict=True):
        target[...] = np.rint(change(source @ _WEIGHTS))[..., None]
    return result


def _many(pictures: UInt8Array) -> UInt8Array:
    return pictures if pictures.ndim == 4 else pictures[None]


def _smooth(values: FloatArray, sigma: float) -> FloatArray:
    """Gaussian smoothing; sigma in pixels of a picture 112 high."""
    smooth: FloatArray = cv2.GaussianBlur(
        values, (0, 0), sigma * values.shape[0] / 112, borderType=cv2.BORDER_REPLICATE
    )
    return smooth


def _within_edges(light: FloatArray, sigma: float) -> FloatArray:
    """The mean of a pixel's neighbours on that side of their mean which holds more of them."""
    mean = _smooth(light, sigma)
    side = (light >= mean).astype(np.float32)
    above = _smooth(side, sigma)
    total = _smooth(light * side, sigma)
    higher = total / np.maximum(above, 1e-6)
    lower = (mean - total) / np.maximum(1 - above, 1e-6)
    return np.where(above >= 0.5, higher, lower)


def _spread(values: FloatArray) -> FloatArray:
    """To [0, 255]: the mean to the middle, three deviations to the ends."""
    centred = values - values.mean()
    levels: FloatArray = np.clip(127.5 + centred * (127.5 / max(3 * float(centred.std()), 1e-6)), 0, 255)
    return levels
