"""One photo to many: random changes of aligned faces that leave the identity as it is.

`Augment` is a short way to say what most trainings need. The changes themselves are those of `vultus.augment`, whose policies
say more and are taken as well. Each change of each photo in each epoch follows from (seed, epoch, number of the photo) alone:
not from the batch, the process or the number of workers that it is made in.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from vultus._export import export
from vultus.align import TEMPLATES
from vultus.augment import DEGRADATIONS, Policy, adjust, cover, degrade, low_resolution
from vultus.augment.geometric import about_map, warped
from vultus.errors import BadArgument
from vultus.tables import from_table
from vultus.train.data.dataset import SIDE, Dataset
from vultus.types import Faces, UInt8Array

# The face as the alignment puts it, so that a severity of `vultus.augment` means the same as in a photo.
_FACE = Faces(
    np.array([[14, 4, 98, 110]], dtype=np.float32),
    TEMPLATES["arcface-112"].astype(np.float32)[None],
    np.ones(1, dtype=np.float32),
)
_RESIZED = ("nearest", "linear", "cubic", "area")
_CHANCES = ("mirror", "colour", "grey", "low_resolution", "harm", "erase")


@export("vultus.train.data.Augment")
@dataclass(frozen=True, slots=True)
class Augment:
    """Which changes are made, how often and how far. All are off unless told otherwise, and made in this order.

    Args:
        mirror: chance of turning left and right round.
        turn: greatest turn in the picture's plane, in degrees.
        zoom: greatest change of size: from 1 - zoom to 1 + zoom.
        shift: greatest shift along each axis, in pixels.
        colour: chance of changing brightness, contrast, saturation and the tint.
        colour_range: how far these change, as a share.
        grey: chance of taking the colours away.
        low_resolution: chance of making the picture small and large again.
        smallest: side that it is made at the least, in pixels.
        harm: chance of one of `harms`.
        harms: degradations of `vultus.augment`, such as "blur", "jpeg" or "yaw".
        severity: the highest severity of a degradation, 1 to 5.
        erase: chance of covering a rectangle with one colour.
        erased: its greatest share of the picture.

    Raises:
        BadArgument: a value out of range, or no such degradation.
    """

    mirror: float = 0.0
    turn: float = 0.0
    zoom: float = 0.0
    shift: float = 0.0
    colour: float = 0.0
    colour_range: float = 0.3
    grey: float = 0.0
    low_resolution: float = 0.0
    smallest: int = 16
    harm: float = 0.0
    harms: tuple[str, ...] = ("blur", "jpeg", "dark", "occlusion")
    severity: int = 2
    erase: float = 0.0
    erased: float = 0.2

    def __post_init__(self) -> None:
        ranges = dict.fromkeys(_CHANCES, (0.0, 1.0))
        ranges |= {"turn": (0, 180), "zoom": (0, 0.9), "shift": (0, SIDE), "colour_range": (0, 1), "erased": (0.02, 1)}
        ranges |= {"smallest": (1, SIDE), "severity": (1, 5)}
        for name, (low, high) in ranges.items():
            if not low <= getattr(self, name) <= high:
                raise BadArgument(f"{name} is {getattr(self, name)!r}; expected {low:g} to {high:g}")
        for factor in self.harms:
            if factor not in DEGRADATIONS:
                raise BadArgument(f"no degradation {factor!r}; expected some of {', '.join(DEGRADATIONS)}")
        if self.harm and not self.harms:
            raise BadArgument("harm is above 0 but harms names no degradation")

    def __call__(self, pixels: UInt8Array, rng: np.random.Generator) -> UInt8Array:
        """A changed copy of an aligned face, or the face itself where nothing changes.

        Args:
            pixels: (112, 112, 3) uint8 RGB; not written to.
            rng: what is drawn from.
        """
        if self.mirror and rng.random() < self.mirror:
            pixels = pixels[:, ::-1]
        if self.turn or self.zoom or self.shift:
            pixels = _moved(pixels, rng, self.turn, self.zoom, self.shift)
        if self.colour and rng.random() < self.colour:
            pixels = _coloured(pixels, rng, self.colour_range)
        if self.grey and rng.random() < self.grey:
            pixels = adjust(np.ascontiguousarray(pixels), saturation=0.0)
        if self.low_resolution and rng.random() < self.low_resolution:
            pixels = _resized(pixels, rng, self.smallest)
        if self.harm and rng.random() < self.harm:
            factor = self.harms[rng.integers(len(self.harms))]
            pixels = degrade(np.ascontiguousarray(pixels), _FACE, factor, int(rng.integers(1, self.severity + 1)))
        if self.erase and rng.random() < self.erase:
            pixels = _erased(pixels, rng, self.erased)
        return pixels


POLICIES: dict[str, Augment] = {
    "none": Augment(),
    "mirror": Augment(mirror=0.5),
    "light": Augment(mirror=0.5, turn=4, zoom=0.06, shift=3, colour=0.3, grey=0.03),
    "strong": Augment(
        mirror=0.5,
        turn=8,
        zoom=0.12,
        shift=5,
        colour=0.6,
        grey=0.08,
        low_resolution=0.15,
        harm=0.15,
        severity=3,
        erase=0.15,
    ),
}


@export("vultus.train.data.ByPolicy")
@dataclass(frozen=True, slots=True)
class ByPolicy:
    """A policy of `vultus.augment`, applied to aligned faces."""

    policy: Policy

    def __call__(self, pixels: UInt8Array, rng: np.random.Generator) -> UInt8Array:
        """A changed copy of an aligned face, (112, 112, 3) uint8 RGB."""
        return self.policy(np.ascontiguousarray(pixels), _FACE.landmarks[0], seed=int(rng.integers(1 << 62))).images


@export("vultus.train.data.policy")
def policy(name: str, options: Mapping[str, Any] | None = None) -> Augment | ByPolicy:
    """A named policy, changed where options say so, or one of `vultus.augment` from a file.

    Args:
        name: "none", "mirror", "light" (small moves and colours) or "strong" (for small sets and poor photos); or a path
            that ends in ".toml".
        options: fields of `Augment`, as a TOML table gives them; a file has none.

    Raises:
        BadArgument: no such policy or option, or a value out of range.
        BadPolicy: a file that cannot be read, or is no policy.
    """
    if name.endswith(".toml"):
        if options:
            raise BadArgument(f"augmentation {name!r} is a file; options belong into it, got {', '.join(options)}")
        return ByPolicy(Policy.load(name))
    if name not in POLICIES:
        near = difflib.get_close_matches(name, POLICIES, n=1)
        advice = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(POLICIES)}"
        raise BadArgument(f"no augmentation policy {name!r}; {advice}")
    base = dataclasses.asdict(POLICIES[name])
    base["harms"] = list(base["harms"])
    return from_table(Augment, {**base, **(options or {})}, where=f"augmentation {name!r}", error=BadArgument)


@export("vultus.train.data.Augmented")
class Augmented(Dataset):
    """A data set whose photos are changed anew in every epoch.

    Args:
        dataset: what is changed.
        augment: how.
        seed: another seed gives other changes.
    """

    def __init__(self, dataset: Dataset, augment: Augment | ByPolicy, *, seed: int = 0) -> None:
        super().__init__(dataset.labels, dataset.classes, name=dataset.name)
        self.dataset = dataset
        self.augment = augment
        self.seed = seed
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]  # workers that run already see it change

    @property
    def epoch(self) -> int:
        """The epoch whose changes are made."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Make the changes of another epoch, in workers that are running too."""
        self._epoch.fill_(epoch)

    def pixels(self, index: int) -> UInt8Array:
        """See `Dataset`."""
        rng = np.random.default_rng((self.seed, self.epoch, index))
        return self.augment(self.dataset.pixels(index), rng)


def _moved(pixels: UInt8Array, rng: np.random.Generator, turn: float, zoom: float, shift: float) -> UInt8Array:
    """Turned, zoomed and shifted about the middle at once, so that pixels are interpolated once only."""
    drawn = rng.uniform(-1, 1, size=4)
    view = about_map(np.full(2, (SIDE - 1) / 2), math.radians(turn) * drawn[0], 1 + zoom * drawn[1])
    view[:, 2] += shift * drawn[2:]
    return warped(np.ascontiguousarray(pixels), view, (SIDE, SIDE), "reflect")


def _coloured(pixels: UInt8Array, rng: np.random.Generator, reach: float) -> UInt8Array:
    """Other saturation, then contrast about the mean, brightness and a tint."""
    saturation, contrast, brightness = 1 + reach * rng.uniform(-1, 1, size=3)
    tint = 1 + 0.3 * reach * rng.uniform(-1, 1, size=3)
    return adjust(
        np.ascontiguousarray(pixels),
        brightness=brightness,
        contrast=contrast,
        saturation=saturation,
        gains=(tint[0], tint[1], tint[2]),
    )


def _resized(pixels: UInt8Array, rng: np.random.Generator, smallest: int) -> UInt8Array:
    """Made small and large again, each in a way of its own."""
    side = round(math.exp(rng.uniform(math.log(smallest), math.log(SIDE))))
    down, up = rng.choice(len(_RESIZED)), rng.choice(len(_RESIZED) - 1)
    return low_resolution(np.ascontiguousarray(pixels), side / SIDE, down=_RESIZED[down], up=_RESIZED[up])


def _erased(pixels: UInt8Array, rng: np.random.Generator, most: float) -> UInt8Array:
    """With a rectangle of one colour, of 2 percent of the picture or more and at most three times as long as wide."""
    area = rng.uniform(0.02, most) * SIDE * SIDE
    aspect = math.exp(rng.uniform(-math.log(3), math.log(3)))
    height, width = (min(SIDE, round(math.sqrt(area * r))) for r in (aspect, 1 / aspect))
    top, left = int(rng.integers(SIDE - height + 1)), int(rng.integers(SIDE - width + 1))
    red, green, blue = rng.integers(0, 256, size=3).tolist()
    return cover(pixels, [[left, top, left + width, top + height]], [(red, green, blue)])
