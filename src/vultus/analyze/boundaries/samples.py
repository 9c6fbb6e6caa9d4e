"""What features are trained on: the digits that scikit-learn carries, or faces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from vultus._export import export
from vultus.errors import BadArgument, ExtraMissing
from vultus.train.data import Dataset, to_input
from vultus.types import BoolArray, FloatArray, IntArray

_POOL = 4
_HELD_OUT = 5  # one of so many samples of each class


@export("vultus.analyze.boundaries.Samples")
@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Pictures with classes, of which some are held out.

    Args:
        inputs: (n, channels, height, width) float32.
        labels: (n,) class of each.
        names: (C,) of the classes.
        held_out: (n,), True for samples that are not trained on.

    Raises:
        BadArgument: shapes that do not fit, or labels out of range.
    """

    inputs: FloatArray
    labels: IntArray
    names: tuple[str, ...]
    held_out: BoolArray

    def __post_init__(self) -> None:
        n = len(self.inputs)
        if self.inputs.ndim != 4 or self.labels.shape != (n,) or self.held_out.shape != (n,):
            raise BadArgument(
                f"inputs {self.inputs.shape}, labels {self.labels.shape}, held_out {self.held_out.shape}; expected "
                "(n, channels, height, width), (n,) and (n,)"
            )
        if n == 0 or self.labels.min() < 0 or self.labels.max() >= len(self.names):
            raise BadArgument(f"labels must lie between 0 and {len(self.names) - 1}, and there must be one")
        if not self.held_out.any() or self.held_out.all():
            raise BadArgument("either none or all of the samples are held out; expected some")


@export("vultus.analyze.boundaries.digits")
def digits() -> Samples:
    """The 1,797 handwritten digits, 8 x 8 pixels, of scikit-learn's `load_digits`; every fifth of a class is held out.

    Raises:
        ExtraMissing: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError as problem:
        raise ExtraMissing("the digits come with scikit-learn: pip install scikit-learn") from problem
    found = load_digits()
    inputs = (found.images[:, None] / 16 * 2 - 1).astype(np.float32)
    labels = found.target.astype(np.intp)
    return Samples(inputs, labels, tuple(map(str, range(10))), every_fifth(labels))


@export("vultus.analyze.boundaries.faces")
def faces(dataset: Dataset, *, identities: int = 8, photos: int | None = None) -> Samples:
    """Faces of the identities with the most photos, at a quarter of their side; every fifth of an identity is held out.

    Args:
        dataset: of `vultus.train.data`, such as `DrawnFaces(8, 60)` or `open_dataset(path)`.
        identities: how many; of two with equally many photos the first.
        photos: of each, the first; None for all.

    Raises:
        BadArgument: fewer identities than asked for, fewer than two, or one with fewer than 5 photos.
    """
    counts = np.bincount(dataset.labels, minlength=len(dataset.classes))
    if not 2 <= identities <= len(counts):
        raise BadArgument(f"{identities} identities of {len(counts)} were asked for; expected at least 2, and not more")
    chosen = np.argsort(-counts, kind="stable")[:identities]
    least = counts[chosen].min() if photos is None else min(counts[chosen].min(), photos)
    if least < _HELD_OUT:
        raise BadArgument(f"an identity has {least} photos; expected at least {_HELD_OUT}, of which one is held out")
    rows = [np.flatnonzero(dataset.labels == c)[:photos] for c in chosen]
    labels = np.repeat(np.arange(identities), [len(r) for r in rows])
    shrink = nn.AvgPool2d(_POOL)
    small = [shrink(to_input(dataset[int(i)][0][None])) for i in np.concatenate(rows)]
    inputs: FloatArray = torch.cat(small).numpy()
    return Samples(inputs, labels, tuple(dataset.classes[c] for c in chosen), every_fifth(labels))


def every_fifth(labels: IntArray) -> BoolArray:
    """(n,), True for the fifth, tenth, ... sample of each class."""
    held = np.zeros(len(labels), dtype=np.bool_)
    for c in np.unique(labels):
        held[np.flatnonzero(labels == c)[_HELD_OUT - 1 :: _HELD_OUT]] = True
    return held
