"""Restoration: does a face that was mended before it is compared match better, and where does it match worse?

Of each mated pair the first photo stays as it is and the second is harmed by one factor at a time, as in `severity`. All
faces are then embedded as they are, and once for each way to restore: harmed and unharmed ones, as a system would that is
loaded with it. A way moves the scores of different people too, so each has the threshold of its own that gives the false
match rate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vultus._export import export
from vultus.align import align
from vultus.compare import mean_direction
from vultus.detect import Policy
from vultus.errors import BadArgument, VultusError
from vultus.evaluate.bootstrap import Difference
from vultus.evaluate.draws import draws, percentiles
from vultus.evaluate.intervals import Interval
from vultus.evaluate.protocol import Pairs, People
from vultus.evaluate.restoration_scores import Compared, Scores
from vultus.evaluate.severity import FACTORS, checked_factors, drawn_mated, located
from vultus.image import Photo, open_photo, read_image
from vultus.recognizer import Recognizer, Sample
from vultus.types import BoolArray, Faces, IntArray, UInt8Array

_UNTOUCHED = ("none", 0)


# A way to mend a face, as `Recognizer.load(restore=)` takes it; a name is not needed here.
Way = Callable[[Photo, Faces, UInt8Array], UInt8Array]


@export("vultus.evaluate.RestorationCell")
@dataclass(frozen=True, slots=True)
class RestorationCell:
    """Mated comparisons whose second photo was harmed by one factor, restored in one way and not restored.

    Args:
        factor: what harmed, or "none".
        severity: 1 to 5; 0 where no photo was harmed.
        way: name of the restoration.
        tar: share of mated comparisons at or above the threshold, without restoration; failures count as missed.
        tar_interval: of it, over subjects.
        restored: the same with restoration, at a threshold of its own.
        restored_interval: of it, over subjects.
        gain: restored minus not, from the same draws.
        changed: share of the second photos whose crop the restoration changed.
    """

    factor: str
    severity: int
    way: str
    tar: float
    tar_interval: Interval
    restored: float
    restored_interval: Interval
    gain: Difference
    changed: float

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "factor": self.factor,
            "severity": self.severity,
            "way": self.way,
            "tar": self.tar,
            "tar_interval": [self.tar_interval.low, self.tar_interval.high],
            "restored": self.restored,
            "restored_interval": [self.restored_interval.low, self.restored_interval.high],
            "gain": self.gain.value,
            "gain_interval": [self.gain.interval.low, self.gain.interval.high],
            "changed": self.changed,
        }


@export("vultus.evaluate.RestorationResult")
@dataclass(frozen=True, slots=True)
class RestorationResult:
    """What restoration gains and costs.

    Args:
        protocol: its name.
        model_id: the system that was evaluated.
        fmr: the false match rate of all thresholds.
        pairs, subjects, non_mated: mated comparisons, subjects that they show, and comparisons of different people behind
            each threshold.
        cells: untouched photos first, then each factor by ascending severity, each with every way.
        failures: second photos without a template, all factors together; they stay in the denominators.
        notes: what was noticed.
    """

    protocol: str
    model_id: str
    fmr: float
    pairs: int
    subjects: int
    non_mated: int
    cells: tuple[RestorationCell, ...]
    failures: int
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "protocol": self.protocol,
            "model_id": self.model_id,
            "fmr": self.fmr,
            "pairs": self.pairs,
            "subjects": self.subjects,
            "non_mated": self.non_mated,
            "cells": [c.to_dict() for c in self.cells],
            "failures": self.failures,
            "notes": list(self.notes),
        }


@export("vultus.evaluate.measure_restoration")
def measure_restoration(
    data: Pairs | People,
    recognizer: Recognizer,
    ways: Mapping[str, Way],
    *,
    factors: Sequence[str] = ("low_resolution", "occlusion", "light", "yaw"),
    severities: Sequence[int] = (3, 5),
    fmr: float = 1e-3,
    most: int = 500,
    policy: Policy = "largest",
    replicates: int = 1_000,
    progress: Callable[[int], None] | None = None,
    seed: int = 0,
) -> RestorationResult:
    """TAR at a false match rate of mated pairs whose second photo is harmed, with and without restoration.

    Args:
        data: a protocol, of which the mated pairs are taken, or a folder of people.
        recognizer: the system to evaluate.
        ways: by name, what mends a crop; as `Recognizer.load(restore=)` takes it.
        factors: what harms; those of `vultus.augment.degrade`. Untouched photos are always measured.
        severities: from 1 to 5.
        fmr: of the thresholds, which are set on comparisons of the first photos with the second ones of other people.
        most: mated pairs to take, drawn at random where there are more.
        policy: which face of a photo is meant.
        replicates: draws of subjects for the intervals; 1,000 or more.
        progress: called with the number of photos done, each time some are done.
        seed: of the draws.

    Raises:
        BadArgument: no such factor or severity, no way, a way that gives another shape, or an option out of range.
        TooFewComparisons: no mated pair, pairs of a single subject, or too few comparisons of different people for the rate.
    """
    wanted = (_UNTOUCHED, *(checked_factors(factors, severities, most) if factors else ()))
    if not ways:
        raise BadArgument("ways is empty; expected at least one restoration")
    chosen = drawn_mated(data, most, seed)
    pairs = Compared.of(chosen.first, chosen.second, chosen.subjects, fmr)
    first = _made(data, pairs.first_files, recognizer, ways, (_UNTOUCHED,), policy, progress)
    second = _made(data, pairs.second_files, recognizer, ways, wanted, policy, progress)
    cells = []
    for which in wanted:
        plain, *mended = (
            Scores.of(
                first.rows[(*_UNTOUCHED, way)],
                first.found[_UNTOUCHED],
                second.rows[(*which, way)],
                second.found[which],
                pairs,
            )
            for way in ("", *ways)
        )
        for way, scores in zip(ways, mended, strict=True):
            cells.append(_cell(which, way, plain, scores, second.changed[(*which, way)], pairs, replicates, seed))
    return RestorationResult(
        protocol=data.name,
        model_id=recognizer.model_id,
        fmr=fmr,
        pairs=len(pairs.first),
        subjects=pairs.subjects,
        non_mated=pairs.non_mated,
        cells=tuple(cells),
        failures=int(sum((~found).sum() for found in second.found.values())),
        notes=(*getattr(data, "notes", ()), *chosen.notes),
    )


class _Made:
    """Rows of photos: by factor, severity and way, "" being none."""

    def __init__(
        self, recognizer: Recognizer, ways: Mapping[str, Way], photos: int, wanted: Sequence[tuple[str, int]]
    ) -> None:
        self._recognizer, self._ways, self._wanted = recognizer, ways, wanted
        dim = recognizer.embedder.spec.dimension
        self.rows = {(*w, way): np.zeros((photos, dim), dtype=np.float32) for w in wanted for way in ("", *ways)}
        self.changed = {(*w, way): np.zeros(photos, dtype=np.bool_) for w in wanted for way in ways}
        self.found = {w: np.zeros(photos, dtype=np.bool_) for w in wanted}

    def add(self, index: int, pixels: UInt8Array, face: Faces, policy: Policy) -> None:
        for which in self._wanted:
            factor, severity = which
            try:
                harmed = FACTORS[factor](pixels, face, severity) if severity else pixels
                sample = self._recognizer.sample(harmed, policy=policy)
            except VultusError:
                continue  # no template, with or without restoration
            self._embed(index, which, open_photo(harmed), sample)

    def _embed(self, index: int, which: tuple[str, int], photo: Photo, sample: Sample) -> None:
        embedder = self._recognizer.embedder
        crop = align(photo, sample.face, template=embedder.spec.template, size=embedder.size)
        self.found[which][index] = True
        self.rows[(*which, "")][index] = sample.template.vector
        for way, restore in self._ways.items():
            mended = restore(photo, sample.face, crop)
            if mended.ndim != 4 or not len(mended) or mended.shape[1:] != crop.shape[1:] or mended.dtype != np.uint8:
                height, width = crop.shape[1:3]
                raise BadArgument(
                    f"way {way!r} gave {mended.dtype} of shape {mended.shape}; expected uint8 (k, {height}, {width}, 3)"
                )
            row = sample.template.vector
            if not np.array_equal(mended, crop):
                self.changed[(*which, way)][index] = True
                rows = self._recognizer.embed(mended)
                row = mean_direction(rows, np.ones(len(rows)))
            self.rows[(*which, way)][index] = row


def _made(
    data: Pairs | People,
    files: IntArray,
    recognizer: Recognizer,
    ways: Mapping[str, Way],
    wanted: Sequence[tuple[str, int]],
    policy: Policy,
    progress: Callable[[int], None] | None,
) -> _Made:
    names = [data.files[i] for i in files]
    _, faces = located(names, recognizer, policy, progress)
    made = _Made(recognizer, ways, len(names), wanted)
    for i, face in enumerate(faces):
        if face is not None:
            made.add(i, read_image(names[i]), face, policy)
        if progress is not None:
            progress(1)
    return made


def _cell(
    which: tuple[str, int],
    way: str,
    plain: Scores,
    mended: Scores,
    changed: BoolArray,
    pairs: Compared,
    replicates: int,
    seed: int,
) -> RestorationCell:
    one = np.ones((pairs.subjects, 1))
    before, after = float(plain.tar(one, pairs)[0]), float(mended.tar(one, pairs)[0])
    blocks = [(plain.tar(w, pairs), mended.tar(w, pairs)) for w in draws(pairs.subjects, replicates, seed)]
    befores, afters = (np.concatenate(side) for side in zip(*blocks, strict=True))
    return RestorationCell(
        factor=which[0],
        severity=which[1],
        way=way,
        tar=before,
        tar_interval=percentiles(befores, 0.95),
        restored=after,
        restored_interval=percentiles(afters, 0.95),
        gain=Difference(after - before, percentiles(afters - befores, 0.95)),
        changed=float(changed.mean()),
    )
