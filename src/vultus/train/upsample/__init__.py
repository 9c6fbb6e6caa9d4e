"""Upsampling: a map of features made larger, in five ways, each as a function and as a module, and as one block.

    nearest        each value repeated; a convolution follows
    bilinear       values in between are weighted means; a convolution follows
    pixel_shuffle  a convolution makes scale^2 maps for each output, and their values take turns (Shi et al. 2016)
    unpool         each value goes back to where the maximum was that pooling took (Zeiler and Fergus 2014; SegNet 2017)
    transposed     the adjoint of a strided convolution (Long et al. 2015, FCN)

The last three treat the positions within a cell differently, and where their weights start at random a constant input
gives a checkerboard (Odena et al. 2016, "Deconvolution and checkerboard artifacts"). `checkerboard` measures it; the
default starts of `PixelShuffle` and `Transposed` have none.
"""

from __future__ import annotations

from vultus.train.upsample.functions import (
    bilinear,
    bilinear_start,
    icnr,
    nearest,
    pixel_shuffle,
    pool,
    transposed,
    unpool,
)
from vultus.train.upsample.measure import checkerboard
from vultus.train.upsample.modules import (
    WAYS,
    Bilinear,
    Nearest,
    PixelShuffle,
    Pool,
    Transposed,
    Unpool,
    Upsample,
    Way,
)

__all__ = [
    "WAYS",
    "Bilinear",
    "Nearest",
    "PixelShuffle",
    "Pool",
    "Transposed",
    "Unpool",
    "Upsample",
    "Way",
    "bilinear",
    "bilinear_start",
    "checkerboard",
    "icnr",
    "nearest",
    "pixel_shuffle",
    "pool",
    "transposed",
    "unpool",
]
