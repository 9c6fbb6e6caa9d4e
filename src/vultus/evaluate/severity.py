"""Severity: what does recognition lose to blur, low resolution, compression, darkness, occlusion and turned heads?

Of each mated pair the first photo stays as it is and the second is harmed by one factor at a time. Scores are cut at
thresholds that were fixed beforehand, as in operation: a threshold does not know how bad the next photo will be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vultus._export import export
from vultus.augment.degrade import DEGRADATIONS, Degradation
from vultus.augment.pose import yaw
from vultus.detect import Policy
from vultus.errors import BadArgument, TooFewComparisons, VultusError
from vultus.evaluate.dyadic import dyadic_interval
from vultus.evaluate.extraction import Extraction, extract
from vultus.evaluate.intervals import Interval
from vultus.evaluate.protocol import Pairs, People
from vultus.image import read_image
from vultus.recognizer import Recognizer, Sample
from vultus.types import BoolArray, Faces, Float64Array, FloatArray, IntArray, UInt8Array

RATES = (1e-3, 1e-4)
FACTORS: dict[str, Degradation] = {**DEGRADATIONS, "yaw": yaw}


@export("vultus.evaluate.SeverityCell")
@dataclass(frozen=True, slots=True, eq=False)
class SeverityCell:
    """Mated comparisons with the second photo harmed by one factor.

    Args:
        factor: its name, or "none".
        severity: 1 to 5; 0 where no photo was harmed.
        scores: (n,) similarity; -inf where one of the two photos gave no template.
        failure_rate: share of the comparisons whose second photo gave no template.
        failure_interval: of it, over subjects.
        fnmr: by false match rate of the threshold, the share of comparisons below it, failures included.
        fnmr_intervals: of those, over subjects.
    """

    factor: str
    severity: int
    scores: Float64Array
    failure_rate: float
    failure_interval: Interval
    fnmr: Mapping[float, float]
    fnmr_intervals: Mapping[float, Interval]

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON, without the scores."""
        return {
            "factor": self.factor,
            "severity": self.severity,
            "comparisons": len(self.scores),
            "failure_rate": self.failure_rate,
            "failure_interval": [self.failure_interval.low, self.failure_interval.high],
            "fnmr_at_fmr": {
                f"{rate:g}": {
                    "fnmr": value,
                    "low": self.fnmr_intervals[rate].low,
                    "high": self.fnmr_intervals[rate].high,
                }
                for rate, value in self.fnmr.items()
            },
        }


@export("vultus.evaluate.SeverityResult")
@dataclass(frozen=True, slots=True, eq=False)
class SeverityResult:
    """How errors grow with severity.

    Args:
        protocol: its name.
        model_id: the system that was evaluated.
        pairs, subjects: mated comparisons, and the subjects that they show.
        thresholds: by false match rate, the threshold that stands for it.
        cells: the untouched photos first, then each factor by ascending severity.
        failures: "file: code: message" of each untouched photo without a template; it fails at every severity.
        notes: what was noticed.
    """

    protocol: str
    model_id: str
    pairs: int
    subjects: int
    thresholds: Mapping[float, float]
    cells: tuple[SeverityCell, ...]
    failures: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def curve(self, factor: str) -> tuple[SeverityCell, ...]:
        """The untouched photos, and one factor by ascending severity.

        Raises:
            BadArgument: the factor was not measured.
        """
        cells = tuple(c for c in self.cells if c.severity == 0 or c.factor == factor)
        if len(cells) < 2:
            raise BadArgument(f"no factor {factor!r} was measured; expected one of {', '.join(self.factors)}")
        return cells

    @property
    def factors(self) -> tuple[str, ...]:
        """Those that were measured."""
        return tuple(dict.fromkeys(c.factor for c in self.cells if c.severity))

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "protocol": self.protocol,
            "model_id": self.model_id,
            "pairs": self.pairs,
            "subjects": self.subjects,
            "thresholds": {f"{rate:g}": value for rate, value in self.thresholds.items()},
            "cells": [c.to_dict() for c in self.cells],
            "failures_to_enrol": len(self.failures),
            "failures": list(self.failures),
            "notes": list(self.notes),
        }


@export("vultus.evaluate.measure_severity")
def measure_severity(
    data: Pairs | People,
    recognizer: Recognizer,
    *,
    factors: Sequence[str] = tuple(FACTORS),
    severities: Sequence[int] = (1, 2, 3, 4, 5),
    rates: Sequence[float] = RATES,
    thresholds: Mapping[float, float] | None = None,
    most: int = 500,
    policy: Policy = "largest",
    cache: Path | None = None,
    progress: Callable[[int], None] | None = None,
    seed: int = 0,
) -> SeverityResult:
    """FNMR and failures of mated pairs whose second photo is harmed, by factor and severity.

    Args:
        data: a protocol, of which the mated pairs are taken, or a folder of people.
        recognizer: the system to evaluate.
        factors: what harms; those of `vultus.augment.degrade`, and "yaw", the head turned out of the picture's plane.
        severities: from 1 to 5. Untouched photos are always measured.
        rates: false match rates whose measured thresholds the scores are cut at.
        thresholds: by false match rate, thresholds to cut at instead.
        most: mated pairs to take, drawn at random where there are more.
        policy: which face of a photo is meant.
        cache: folder of the cache of templates; harmed photos are not kept in it.
        progress: called with the number of photos done, each time some are done.
        seed: of the draw of pairs.

    Raises:
        BadArgument: no such factor or severity, or an option out of range.
        NoThreshold: none was measured for one of the rates.
        TooFewComparisons: no mated pair, or pairs of a single subject.
    """
    wanted = checked_factors(factors, severities, most)
    limits = dict(thresholds) if thresholds is not None else {r: recognizer.threshold(fmr=r).value for r in rates}
    chosen = drawn_mated(data, most, seed)
    first_files, first = np.unique([data.files[i] for i in chosen.first], return_inverse=True)
    second_files, second = np.unique([data.files[i] for i in chosen.second], return_inverse=True)
    untouched = extract(first_files.tolist(), recognizer, policy=policy, cache=cache, progress=progress)
    seconds, faces = located(second_files.tolist(), recognizer, policy, progress)
    harmed = _harmed(seconds, faces, recognizer, wanted, policy, progress)
    failures = {**_reasons(untouched), **_reasons(seconds)}
    cells = []
    for (factor, severity), (rows, ok) in {("none", 0): (seconds.rows, seconds.enrolled), **harmed}.items():
        scores = np.einsum("nd,nd->n", untouched.rows[first], rows[second], dtype=np.float64).clip(-1.0, 1.0)
        scores[~(untouched.enrolled[first] & ok[second])] = -np.inf
        cells.append(_cell(factor, severity, scores, ~ok[second], chosen.subjects, limits))
    return SeverityResult(
        protocol=data.name,
        model_id=recognizer.model_id,
        pairs=len(chosen.first),
        subjects=len(np.unique(chosen.subjects)),
        thresholds=limits,
        cells=tuple(cells),
        failures=tuple(f"{file}: {why}" for file, why in failures.items()),
        notes=(*getattr(data, "notes", ()), *chosen.notes),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Mated:
    first: IntArray
    second: IntArray
    subjects: IntArray
    notes: tuple[str, ...]


def checked_factors(factors: Sequence[str], severities: Sequence[int], most: int) -> tuple[tuple[str, int], ...]:
    """Every factor with every severity."""
    for factor in factors:
        if factor not in FACTORS:
            raise BadArgument(f"no factor {factor!r}; expected some of {', '.join(FACTORS)}")
    if not factors or not severities or any(s not in range(1, 6) for s in severities):
        raise BadArgument(f"severities are {list(severities)}; expected whole numbers from 1 to 5, and a factor")
    if most < 1:
        raise BadArgument(f"most is {most}; expected 1 pair or more")
    return tuple((f, s) for f in dict.fromkeys(factors) for s in sorted(set(severities)))


def drawn_mated(data: Pairs | People, most: int, seed: int) -> _Mated:
    """At most so many mated pairs, those that are drawn in their order."""
    if isinstance(data, People):
        first, second = data.mated_pairs()
    else:
        first, second = data.first[data.mated], data.second[data.mated]
    if not len(first):
        raise TooFewComparisons(f"{data.name} has no mated pair")
    notes: tuple[str, ...] = ()
    if len(first) > most:
        notes = (f"{most:,} of {len(first):,} mated pairs, drawn at random",)
        drawn = np.sort(np.random.default_rng(seed).choice(len(first), most, replace=False))
        first, second = first[drawn], second[drawn]
    return _Mated(first, second, data.subjects[first], notes)


def located(
    files: list[str], recognizer: Recognizer, policy: Policy, progress: Callable[[int], None] | None
) -> tuple[Extraction, list[Faces | None]]:
    """Templates of untouched photos, and the face in each to be harmed."""
    rows = np.zeros((len(files), recognizer.embedder.spec.dimension), dtype=np.float32)
    failures, faces = {}, list[Faces | None]()
    for i, result in enumerate(recognizer.extract(iter(files), policy=policy)):
        if isinstance(result, Sample):
            rows[i] = result.template.vector
            faces.append(result.face)
        else:
            failures[i] = f"{result.code}: {result}"
            faces.append(None)
        if progress is not None:
            progress(1)
    quality = np.full(len(files), np.nan, dtype=np.float32)
    return Extraction(tuple(files), rows, quality, failures, recognizer.model_id), faces


def _harmed(
    photos: Extraction,
    faces: list[Faces | None],
    recognizer: Recognizer,
    wanted: Sequence[tuple[str, int]],
    policy: Policy,
    progress: Callable[[int], None] | None,
) -> dict[tuple[str, int], tuple[FloatArray, BoolArray]]:
    """By factor and severity, the rows of the harmed photos, and which of them gave a template.

    A photo is decoded once; its harmed versions are made while the recognizer works on those before.
    """
    found = {w: (np.zeros_like(photos.rows), np.zeros(len(photos.files), dtype=np.bool_)) for w in wanted}
    made: list[tuple[tuple[str, int], int]] = []

    def versions() -> Iterator[UInt8Array]:
        for i, face in enumerate(faces):
            if face is None:
                continue
            try:
                pixels = read_image(photos.files[i])
            except VultusError:
                continue  # gone since it was located: no template at any severity
            for factor, severity in wanted:
                try:
                    version = FACTORS[factor](pixels, face, severity)
                except VultusError:
                    continue
                made.append(((factor, severity), i))
                yield version

    for number, result in enumerate(recognizer.extract(versions(), policy=policy)):
        which, i = made[number]
        if isinstance(result, Sample):
            found[which][0][i] = result.template.vector
            found[which][1][i] = True
        if progress is not None:
            progress(1)
    return found


def _cell(
    factor: str,
    severity: int,
    scores: Float64Array,
    failed: BoolArray,
    subjects: IntArray,
    limits: Mapping[float, float],
) -> SeverityCell:
    missed = {rate: scores < limit for rate, limit in limits.items()}
    return SeverityCell(
        factor=factor,
        severity=severity,
        scores=scores,
        failure_rate=float(np.mean(failed)),
        failure_interval=dyadic_interval(subjects, subjects, failed),
        fnmr={rate: float(np.mean(m)) for rate, m in missed.items()},
        fnmr_intervals={rate: dyadic_interval(subjects, subjects, m) for rate, m in missed.items()},
    )


def _reasons(extraction: Extraction) -> dict[str, str]:
    return {extraction.files[i]: why for i, why in sorted(extraction.failures.items())}
