"""What does a restorer's recipe say? TOML to a frozen `Config`."""

from __future__ import annotations

from dataclasses import dataclass, field

from vultus._export import export
from vultus.augment import DEGRADATIONS
from vultus.train.exporting import Terms
from vultus.train.fitting import Fit, Recipe
from vultus.train.recipes import FromRecipe
from vultus.train.sections import Average, Optimizer, Schedule
from vultus.train.upsample import Way


@dataclass(frozen=True, slots=True)
class Data:
    """Which faces, and how they are harmed.

    Args:
        train: what `vultus.train.data.open_dataset` takes: folder of people, prepared shards, "generated:8x10".
        hold_out: share of the people kept out of training, on which PSNR and SSIM are measured.
        factors: of `vultus.augment.degrade`; each harmed face has one, drawn with its severity.
        untouched: share of faces that are not harmed.
        twice: share of harmed faces with a second factor on top.
        jitter: how unsurely a harmed face is aligned, in pixels.
    """

    train: str
    hold_out: float = 0.1
    factors: tuple[str, ...] = ("low_resolution", "dark", "occlusion", "yaw")
    untouched: float = 0.1
    twice: float = 0.15
    jitter: float = 1.0

    def __post_init__(self) -> None:
        for name in ("hold_out", "untouched", "twice"):
            if not 0 <= getattr(self, name) <= 0.9:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 0 to 0.9")
        if not 0 <= self.jitter <= 20:
            raise ValueError(f"jitter is {self.jitter}; expected 0 to 20 pixels")
        odd = [f for f in self.factors if f not in DEGRADATIONS]
        if odd or not self.factors:
            raise ValueError(f"factors is {list(self.factors)}; expected some of {', '.join(DEGRADATIONS)}")


@dataclass(frozen=True, slots=True)
class Model:
    """The network.

    Args:
        width: maps of the first level.
        upsampling: how the decoder makes maps larger.
    """

    width: int = 8
    upsampling: Way = "bilinear"

    def __post_init__(self) -> None:
        if self.width < 4:
            raise ValueError(f"width is {self.width}; expected at least 4")


@dataclass(frozen=True, slots=True)
class Weights:
    """The parts of the loss.

    Args:
        pixels: factor of the mean absolute difference to the true view, in units of half the range.
        identity: factor of one minus the cosine between the embeddings of the restored and the true view.
        people: factor of the CosFace loss of the restored view's embedding among the mean embeddings of the people who are
            trained on: not only near to the true view, but nearer than others are.
        beside: look at the embedding of the harmed and the restored view together, as `vultus.restore.Beside` makes it, and
            not at that of the restored view alone.
        embedder: the frozen model that gives them, by name or manifest.
        watched: share of each batch whose identity is looked at; that costs as much as the network itself.
    """

    pixels: float = 1.0
    identity: float = 1.0
    people: float = 0.0
    beside: bool = False
    embedder: str = "sface-2021dec"
    watched: float = 1.0

    def __post_init__(self) -> None:
        parts = {"pixels": self.pixels, "identity": self.identity, "people": self.people}
        if min(parts.values()) < 0 or not any(parts.values()):
            told = ", ".join(f"{name} is {value}" for name, value in parts.items())
            raise ValueError(f"{told}; expected at least 0, and one above")
        if not 0 < self.watched <= 1:
            raise ValueError(f"watched is {self.watched}; expected above 0 and at most 1")


@export("vultus.train.restoration.Config")
@dataclass(frozen=True, slots=True)
class Config(FromRecipe):
    """Everything that the training of a restorer depends on. See docs/restoration.md for each key."""

    run: Fit
    data: Data
    model: Model = field(default_factory=Model)
    loss: Weights = field(default_factory=Weights)
    optimizer: Optimizer = field(default_factory=lambda: Optimizer(name="adamw", lr=1e-3, weight_decay=1e-2))
    schedule: Schedule = field(default_factory=lambda: Schedule(warmup=3.0))
    average: Average = field(default_factory=lambda: Average(decay=0.99))
    export: Terms = field(default_factory=lambda: Terms(name="restorer"))

    def recipe(self) -> Recipe:
        """What the loop needs of it."""
        facts = {"width": self.model.width, "upsampling": self.model.upsampling}
        return Recipe("restorer", self.run, self.optimizer, self.schedule, self.average, self.table(), facts)
