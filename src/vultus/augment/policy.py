"""Policies: which changes are made to a photo, how often, how far and in which order. Read from TOML.

Every choice follows from (seed, number of the photo, number of the step): not from the batch, its order or the process.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from vultus._export import export
from vultus.augment.draws import Draws
from vultus.augment.geometric import BORDERS, Border, follow, joined, warped
from vultus.augment.operations import OPERATIONS, Operation
from vultus.augment.views import Views, parts, unchecked
from vultus.errors import BadArgument, BadPolicy
from vultus.tables import from_table
from vultus.types import Float64Array, FloatArray, UInt8Array

_HIGHEST = 5.0
_LARGEST_FILE = 1 << 20


@export("vultus.augment.Step")
@dataclass(frozen=True, slots=True)
class Step:
    """One change of a policy.

    Args:
        operation: its name; see `OPERATIONS`.
        one_of: names, of which one is drawn each time; instead of `operation`.
        chance: how often it is made.
        severity: (lowest, highest), from 0 (nothing) to 5, drawn evenly between; up to the operation's own default unless
            told otherwise.
        amount: (lowest, highest) in the operation's own unit; instead of `severity`.

    Raises:
        BadPolicy: no such operation, or numbers out of range.
    """

    operation: str = ""
    one_of: tuple[str, ...] = ()
    chance: float = 1.0
    severity: tuple[float, float] | None = None
    amount: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if bool(self.operation) == bool(self.one_of):
            raise BadPolicy("a step needs either operation or one_of")
        for name in self.names:
            if name not in OPERATIONS:
                near = difflib.get_close_matches(name, OPERATIONS, n=1)
                advice = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(OPERATIONS)}"
                raise BadPolicy(f"no operation {name!r}; {advice}")
        if not 0 <= self.chance <= 1:
            raise BadPolicy(f"chance is {self.chance!r}; expected 0 to 1")
        if self.severity is not None and self.amount is not None:
            raise BadPolicy("a step has a severity or an amount, not both")
        if self.severity is not None:
            _range("severity", self.severity, 0.0, _HIGHEST)
        if self.amount is not None:
            if self.one_of:
                raise BadPolicy("an amount is in the unit of one operation; give one_of a severity instead")
            _range("amount", self.amount, OPERATIONS[self.operation].low, OPERATIONS[self.operation].high)

    @property
    def names(self) -> tuple[str, ...]:
        """The operations that it may make."""
        return self.one_of or (self.operation,)

    def drawn(self, draws: Draws) -> tuple[Operation, float] | None:
        """The operation and its amount this time; None where nothing is to be done."""
        if self.chance < 1 and draws.uniform() >= self.chance:
            return None
        operation = OPERATIONS[draws.one_of(self.one_of) if self.one_of else self.operation]
        if self.amount is not None:
            return operation, draws.uniform(*self.amount)
        severity = draws.uniform(*(self.severity or (0.0, operation.severity)))
        return (operation, operation.amount(severity)) if severity > 0 else None


@export("vultus.augment.Policy")
@dataclass(frozen=True, slots=True)
class Policy:
    """Changes, made one after another.

    Args:
        steps: the changes.
        order: "given", or "shuffled" for another order for each photo.
        most: the greatest number of steps that a photo goes through, drawn from all; all of them unless told otherwise.
        border: what moves show where nothing was: "reflect", "edge" or "black"; see `move`.

    Raises:
        BadPolicy: no steps, or an option out of range.
    """

    steps: tuple[Step, ...]
    order: Literal["given", "shuffled"] = "given"
    most: int | None = None
    border: Border = "reflect"

    def __post_init__(self) -> None:
        if not self.steps:
            raise BadPolicy("a policy needs at least one step")
        if self.order not in ("given", "shuffled"):
            raise BadPolicy(f"no order {self.order!r}; expected 'given' or 'shuffled'")
        if self.most is not None and not 1 <= self.most <= len(self.steps):
            raise BadPolicy(f"most is {self.most!r}; expected 1 to {len(self.steps)}, the number of steps")
        if self.border not in BORDERS:
            raise BadPolicy(f"no border {self.border!r}; expected one of {', '.join(BORDERS)}")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Policy:
        """Read a TOML file.

        Raises:
            BadPolicy: it cannot be read or parsed, or has a wrong or unknown key; the nearest known one is named.
        """
        try:
            with Path(path).open("rb") as stream:
                content = stream.read(_LARGEST_FILE + 1)
        except (OSError, ValueError) as problem:
            reason = getattr(problem, "strerror", None) or str(problem)
            raise BadPolicy(f"cannot read the policy {os.fspath(path)!r}: {reason}") from problem
        if len(content) > _LARGEST_FILE:
            raise BadPolicy(f"{os.fspath(path)!r} has more than {_LARGEST_FILE} bytes; that is no policy")
        try:
            return cls.parse(content.decode("utf-8"), where=Path(path).name)
        except UnicodeDecodeError as problem:
            raise BadPolicy(f"{Path(path).name}: expected UTF-8 text: {problem}") from problem

    @classmethod
    def parse(cls, text: str, *, where: str = "policy") -> Policy:
        """A policy from TOML text.

        Args:
            text: with one [[steps]] table for each step.
            where: how messages name it.

        Raises:
            BadPolicy: it cannot be parsed, or has a wrong or unknown key; the nearest known one is named.
        """
        try:
            table = tomllib.loads(text)
        except (tomllib.TOMLDecodeError, RecursionError) as problem:
            raise BadPolicy(f"{where}: {problem}") from problem
        return from_table(cls, table, where=where, error=BadPolicy)

    @property
    def needs_landmarks(self) -> bool:
        """Whether one of the operations cannot be made without landmarks."""
        return any(OPERATIONS[name].needs_landmarks for step in self.steps for name in step.names)

    def __call__(
        self,
        images: UInt8Array,
        landmarks: FloatArray | None = None,
        boxes: FloatArray | None = None,
        *,
        seed: int,
        first: int = 0,
    ) -> Views:
        """Changed pictures, with landmarks and boxes where they are then.

        Args:
            images: (H, W, 3) or (n, H, W, 3) uint8 RGB; not written to.
            landmarks: (5, 2) or (n, 5, 2) in the order of `Faces`. Without them lengths are those of an aligned crop, and
                what follows the face cannot be made.
            boxes: (4,) or (n, 4).
            seed: the same seed gives the same changes.
            first: number of the first picture. Picture i is changed as number first + i, so that a batch in parts gives
                what it gives as a whole.

        Raises:
            BadArgument: pictures, landmarks or boxes that are none, or no landmarks where they are needed.
        """
        images, landmarks, boxes = parts(images, landmarks, boxes)
        seed, first = _whole("seed", seed), _whole("first", first)
        if landmarks is None and self.needs_landmarks:
            wanting = sorted({n for s in self.steps for n in s.names if OPERATIONS[n].needs_landmarks})
            raise BadArgument(f"{', '.join(wanting)}: follow the face and need landmarks=, (5, 2) for each picture")
        if images.ndim == 3:
            return unchecked(*self._changed(images, landmarks, boxes, seed, first))
        out = np.empty(images.shape, dtype=np.uint8)
        points = None if landmarks is None else np.array(landmarks)
        where = None if boxes is None else np.array(boxes)
        for i, picture in enumerate(images):
            out[i], point, box = self._changed(
                picture,
                None if points is None else points[i],
                None if where is None else where[i],
                seed,
                first + i,
            )
            if points is not None:
                points[i] = point
            if where is not None:
                where[i] = box
        return unchecked(out, points, where)

    def _changed(
        self, picture: UInt8Array, points: FloatArray | None, box: FloatArray | None, seed: int, number: int
    ) -> tuple[UInt8Array, FloatArray | None, FloatArray | None]:
        """One picture. Moves in the plane wait and are made together, so that pixels are interpolated once."""
        size = picture.shape[0], picture.shape[1]
        waiting: Float64Array | None = None
        for place in self._order(seed, number):
            draws = Draws(seed, number, place)
            drawn = self.steps[place].drawn(draws)
            if drawn is None:
                continue
            operation, amount = drawn
            if operation.map is not None:
                matrix = operation.map(size, points, amount, draws)
                waiting = matrix if waiting is None else joined(matrix, waiting)
                points, box = follow(points, box, matrix)
                continue
            if waiting is not None:
                picture, waiting = warped(picture, waiting, size, self.border), None
            if operation.change is not None:
                picture = operation.change(picture, points, amount, draws)
            elif operation.warp is not None:
                picture, points, box = operation.warp(picture, points, box, amount, draws)
        if waiting is not None:
            picture = warped(picture, waiting, size, self.border)
        return picture, points, box

    def _order(self, seed: int, number: int) -> Sequence[int]:
        places: Sequence[int] = range(len(self.steps))
        if self.order == "given" and self.most is None:
            return places
        shuffled = Draws(seed, number, -1).shuffled(len(self.steps))[: self.most]
        return shuffled if self.order == "shuffled" else sorted(shuffled)


@export("vultus.augment.vary")
def vary(
    images: UInt8Array,
    operation: str,
    landmarks: FloatArray | None = None,
    boxes: FloatArray | None = None,
    *,
    severity: float | None = None,
    seed: int = 0,
) -> Views:
    """One operation at one severity; what it leaves open, such as the side that a head turns to, follows from the seed.

    Args:
        images: (H, W, 3) or (n, H, W, 3) uint8 RGB.
        operation: one of `OPERATIONS`.
        landmarks, boxes: see `Policy`.
        severity: 0 (nothing) to 5; the operation's default unless told otherwise.
        seed: the same seed gives the same change.

    Raises:
        BadPolicy: no such operation or severity.
        BadArgument: pictures, landmarks or boxes that are none, or no landmarks where they are needed.
    """
    step = Step(operation)
    level = OPERATIONS[operation].severity if severity is None else severity
    policy = Policy((Step(step.operation, severity=(level, level)),))
    return policy(images, landmarks, boxes, seed=seed)


def _whole(name: str, number: int) -> int:
    if type(number) is int:
        return number
    if isinstance(number, bool) or not isinstance(number, int | np.integer):
        raise BadArgument(f"{name} is {number!r}; expected a whole number")
    return int(number)


def _range(name: str, pair: Sequence[float], low: float, high: float) -> None:
    if len(pair) != 2 or not low <= pair[0] <= pair[1] <= high:
        raise BadPolicy(f"{name} is {list(pair)}; expected [lowest, highest] within {low:g} to {high:g}")
