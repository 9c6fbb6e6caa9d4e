"""What does a detector's recipe say? TOML to a frozen `Config`."""

from __future__ import annotations

from dataclasses import dataclass, field

from vultus._export import export
from vultus.train.exporting import Terms
from vultus.train.fitting import Fit, Recipe
from vultus.train.recipes import FromRecipe
from vultus.train.sections import Average, Optimizer, Schedule
from vultus.train.upsample import Way


@dataclass(frozen=True, slots=True)
class Data:
    """Which pictures, and which part of them.

    Args:
        train: folder or file of marked photos, as `vultus evaluate detect` takes it, or "generated:COUNT".
        teacher: detector that places the landmarks of marked faces, such as "yunet-2023mar"; without one, and without
            landmarks in the data, the exported detector places them by the box.
        side: of a crop, a multiple of 32.
        smallest: faces with a shorter side below this, in pixels of the crop, are ignored.
        faces: least and greatest size, in pixels of the crop, of the face that a crop is cut around.
        fold, folds: train on the photos whose number modulo `folds` is not `fold`; 1 fold trains on all.
    """

    train: str
    teacher: str = ""
    side: int = 128
    smallest: float = 10.0
    faces: tuple[float, float] = (14.0, 100.0)
    fold: int = 0
    folds: int = 1

    def __post_init__(self) -> None:
        if self.side < 64 or self.side % 32:
            raise ValueError(f"side is {self.side}; expected a multiple of 32 of at least 64")
        if not 0 < self.faces[0] <= self.faces[1] or self.smallest < 0:
            raise ValueError(f"faces is {self.faces} and smallest {self.smallest}; expected sizes in ascending order")
        if not 0 <= self.fold < self.folds:
            raise ValueError(f"fold is {self.fold} of {self.folds}; expected one below the number of folds")


@dataclass(frozen=True, slots=True)
class Model:
    """The network.

    Args:
        width: maps of each level of the pyramid.
        depth: blocks in each stage of the backbone.
        upsampling: how a level is made larger.
    """

    width: int = 48
    depth: int = 2
    upsampling: Way = "nearest"

    def __post_init__(self) -> None:
        if self.width < 8 or self.depth < 1:
            raise ValueError(f"width is {self.width} and depth {self.depth}; expected at least 8 and 1")


@dataclass(frozen=True, slots=True)
class Weights:
    """Factors of the parts of the loss beside the score's, which is 1."""

    box: float = 2.0
    landmarks: float = 1.0

    def __post_init__(self) -> None:
        if self.box < 0 or self.landmarks < 0:
            raise ValueError(f"box is {self.box} and landmarks {self.landmarks}; expected at least 0")


@export("vultus.train.detector.Config")
@dataclass(frozen=True, slots=True)
class Config(FromRecipe):
    """Everything that the training of a detector depends on. See docs/detector.md for each key."""

    run: Fit
    data: Data
    model: Model = field(default_factory=Model)
    loss: Weights = field(default_factory=Weights)
    optimizer: Optimizer = field(default_factory=lambda: Optimizer(name="adamw", lr=1e-3, weight_decay=1e-2))
    schedule: Schedule = field(default_factory=lambda: Schedule(warmup=3.0))
    average: Average = field(default_factory=lambda: Average(decay=0.99))
    export: Terms = field(default_factory=lambda: Terms(name="detector"))

    def recipe(self) -> Recipe:
        """What the loop needs of it."""
        facts = {"width": self.model.width, "depth": self.model.depth, "upsampling": self.model.upsampling}
        return Recipe("detector", self.run, self.optimizer, self.schedule, self.average, self.table(), facts)
