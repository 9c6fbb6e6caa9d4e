"""Ways to restore that a `Recognizer` takes: each with a name that becomes part of the system's identity."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field

import numpy as np

from vultus._export import export
from vultus.align import TEMPLATES
from vultus.augment.policy import Policy
from vultus.augment.views import within
from vultus.errors import BadArgument
from vultus.image import Photo
from vultus.quality import measure_quality
from vultus.recognizer import Restore
from vultus.restore.lighting import LIGHTING
from vultus.restore.restorer import Restorer
from vultus.tables import to_table
from vultus.types import Faces, UInt8Array


@export("vultus.restore.Light")
@dataclass(frozen=True, slots=True)
class Light:
    """One of the ways of `LIGHTING`, with its usual numbers.

    Args:
        way: its name.

    Raises:
        BadArgument: no such way.
    """

    way: str = "balance"

    def __post_init__(self) -> None:
        if self.way not in LIGHTING:
            raise BadArgument(f"no way {self.way!r}; expected one of {', '.join(LIGHTING)}")

    @property
    def name(self) -> str:
        """What a system's identity calls it."""
        return f"{self.way}/1"

    def __call__(self, _photo: Photo, _face: Faces, crops: UInt8Array, /) -> UInt8Array:
        """The crops in other light."""
        return LIGHTING[self.way](crops)


@export("vultus.restore.Learned")
@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """A learned restorer, where a crop's quality asks for it.

    Args:
        restorer: the network.
        below: overall quality (see `vultus.measure_quality`) at and above which a crop stays as it is; 1 restores what is
            not of full quality, None every crop: no quality sees what stands before a face.

    Raises:
        BadArgument: a number out of range.
    """

    restorer: Restorer
    below: float | None = 1.0

    def __post_init__(self) -> None:
        if self.below is not None:
            within("below", self.below, 0.0, 1.0)

    @property
    def name(self) -> str:
        """What a system's identity calls it."""
        return f"{self.restorer.id}/{'all' if self.below is None else format(self.below, 'g')}"

    def __call__(self, _photo: Photo, face: Faces, crops: UInt8Array, /) -> UInt8Array:
        """The restored crop, or the crop itself where it is good enough."""
        if self.below is not None and measure_quality(crops, face).overall[0] >= self.below:
            return crops
        return self.restorer(crops)


@export("vultus.restore.Beside")
@dataclass(frozen=True, slots=True, eq=False)
class Beside:
    """The crop and what another way makes of it: a template of both, where restoration adds and loses something.

    Args:
        way: the other way. Where it leaves the crop as it is, so does this one.
    """

    way: Restore

    @property
    def name(self) -> str:
        """What a system's identity calls it."""
        return f"{self.way.name}/beside"

    def __call__(self, photo: Photo, face: Faces, crops: UInt8Array, /) -> UInt8Array:
        """The crop, followed by what the way makes of it."""
        made = self.way(photo, face, crops)
        return crops if made is crops else np.concatenate([crops, made])


@export("vultus.restore.AugmentedViews")
@dataclass(frozen=True, slots=True, eq=False)
class AugmentedViews:
    """A template of a crop and changed copies of it: the mean of what the embedder sees in all of them.

    Args:
        policy: how copies are changed.
        copies: how many there are besides the crop, 1 to 64.
        seed: of the policy; each photo gets the same draws.

    Raises:
        BadArgument: a number out of range.
    """

    policy: Policy
    copies: int = 4
    seed: int = 0
    name: str = field(init=False)

    def __post_init__(self) -> None:
        within("copies", self.copies, 1, 64)
        told = json.dumps(to_table(self.policy), sort_keys=True)
        mark = hashlib.sha256(told.encode()).hexdigest()[:8]
        object.__setattr__(self, "name", f"views/1/{mark}/{self.copies}/{self.seed}")

    def __call__(self, _photo: Photo, _face: Faces, crops: UInt8Array, /) -> UInt8Array:
        """The crop, and copies changed by the policy."""
        height, width = crops.shape[1:3]
        points = (TEMPLATES["arcface-112"] * (np.array([width, height]) / 112)).astype(np.float32)
        made = self.policy(np.repeat(crops, self.copies, axis=0), points, seed=self.seed)
        return np.concatenate([crops, made.images])
