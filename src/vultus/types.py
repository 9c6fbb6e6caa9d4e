"""What flows between the rooms: faces, templates and decisions. Arrays of n things, checked once, on construction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from vultus._export import export
from vultus.errors import BadArgument, BadTemplate

UInt8Array = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.intp]
BoolArray = npt.NDArray[np.bool_]


@export("vultus.Faces")
@dataclass(frozen=True, slots=True, eq=False)
class Faces:
    """The n faces of one photo, best score first, in (x, y) pixels of the photo as it is seen (orientation applied).

    Args:
        boxes: (n, 4) float32, (x0, y0, x1, y1).
        landmarks: (n, 5, 2) float32: right eye, left eye, nose tip, right and left corner of the mouth, right and left
            as the subject sees them (so the right eye is on the left of the picture).
        scores: (n,) float32 in [0, 1].

    Raises:
        BadArgument: shapes that do not belong together, or numbers that are not finite.
    """

    boxes: FloatArray
    landmarks: FloatArray
    scores: FloatArray

    def __post_init__(self) -> None:
        for name, tail in (("boxes", (4,)), ("landmarks", (5, 2)), ("scores", ())):
            array = np.asarray(getattr(self, name), dtype=np.float32)
            if array.shape[1:] != tail or array.ndim != len(tail) + 1:
                raise BadArgument(f"{name} has shape {array.shape}; expected (n{''.join(f', {t}' for t in tail)})")
            if not np.isfinite(array).all():
                raise BadArgument(f"{name} holds NaN or infinity")
            object.__setattr__(self, name, array)
        if not len(self.boxes) == len(self.landmarks) == len(self.scores):
            raise BadArgument(
                f"{len(self.boxes)} boxes, {len(self.landmarks)} landmark sets and {len(self.scores)} scores; "
                "expected as many of each"
            )

    @classmethod
    def none(cls) -> Faces:
        """No faces."""
        return cls(np.zeros((0, 4)), np.zeros((0, 5, 2)), np.zeros(0))  # type: ignore[arg-type]

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index: int | slice | list[int] | IntArray | BoolArray) -> Faces:
        rows = [index] if isinstance(index, int | np.integer) else index
        return Faces(self.boxes[rows], self.landmarks[rows], self.scores[rows])

    def __iter__(self) -> Iterator[Faces]:
        return (self[i] for i in range(len(self)))

    @property
    def sizes(self) -> FloatArray:
        """(n,) the longer side of each box, in pixels."""
        longer: FloatArray = (self.boxes[:, 2:] - self.boxes[:, :2]).max(axis=1)
        return longer


@export("vultus.Template")
@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """What one or several samples of a subject are reduced to: a unit vector, and the model that it belongs to.

    Args:
        vector: (d,) float32 of length 1.
        model_id: the model that made it; templates of two models cannot be compared.
        samples: how many photos went into it.
        quality: mean quality of the samples in [0, 1], where it was measured.

    Raises:
        BadTemplate: a vector that is not one-dimensional, finite and of length 1, or no samples.
    """

    vector: FloatArray
    model_id: str
    samples: int = 1
    quality: float | None = None

    def __post_init__(self) -> None:
        vector = np.asarray(self.vector, dtype=np.float32)
        if vector.ndim != 1 or not len(vector):
            raise BadTemplate(f"the vector has shape {vector.shape}; expected (d,)")
        length = float(np.linalg.norm(vector))
        if not np.isfinite(length) or abs(length - 1.0) > 1e-3:
            raise BadTemplate(f"the vector has length {length:.6g}; expected 1 (use vultus.template_of to make one)")
        if self.samples < 1:
            raise BadTemplate(f"a template of {self.samples} samples; expected at least 1")
        object.__setattr__(self, "vector", vector)


@export("vultus.Threshold")
@dataclass(frozen=True, slots=True)
class Threshold:
    """A score from which on two samples are taken for one subject, with the rate that was measured there.

    Args:
        value: match iff score >= value.
        fmr: the false match rate that it was chosen for.
        comparisons: how many non-mated comparisons it was measured on.
        low, high: 95 % interval of the true FMR at this threshold.
        data: name of the data.
        fnmr: the false non-match rate measured at the same threshold, where mated pairs were at hand.
    """

    value: float
    fmr: float
    comparisons: int
    low: float
    high: float
    data: str
    fnmr: float | None = None


@export("vultus.SearchThreshold")
@dataclass(frozen=True, slots=True)
class SearchThreshold:
    """A score from which on a search names somebody, with the rate that was measured there.

    Args:
        value: a candidate's score must reach it.
        fpir: false positive identification rate that it was chosen for.
        gallery_size: how many templates each search was compared with.
        searches: how many non-mated searches it was measured on.
        low, high: 95 % interval of the true FPIR at this threshold.
        data: name of the data.
        fnir: the false negative identification rate measured at the same threshold, where mated searches were at hand.

    Raises:
        BadArgument: numbers out of range.
    """

    value: float
    fpir: float
    gallery_size: int
    searches: int
    low: float
    high: float
    data: str
    fnir: float | None = None

    def __post_init__(self) -> None:
        if not (-1 <= self.value <= 1 and 0 < self.fpir < 1 and 0 <= self.low <= self.high <= 1):
            raise BadArgument(
                f"value {self.value!r}, fpir {self.fpir!r}, interval {self.low!r} to {self.high!r}; expected a score in "
                "[-1, 1], a rate in (0, 1) and an interval of rates"
            )
        if self.gallery_size < 1 or self.searches < 1:
            raise BadArgument(
                f"{self.searches} searches in {self.gallery_size} templates; expected at least one of each"
            )


@export("vultus.Verification")
@dataclass(frozen=True, slots=True)
class Verification:
    """The decision about two photos, with everything that is needed to defend it.

    Args:
        match: whether the score reaches the threshold.
        score: similarity in [-1, 1], higher is more alike.
        threshold: the measured threshold that was applied.
        fmr: the false match rate that the threshold stands for; None where the caller chose the threshold.
        model_id: detector, embedder and preprocessing that made the score.
        faces: how many faces were found in each photo.
        boxes: the face that was compared in each photo, (x0, y0, x1, y1).
        log10_likelihood_ratio: how much more probable the score is for one subject than for two, where calibrated.
        basis: what the threshold was measured on.
    """

    match: bool
    score: float
    threshold: float
    fmr: float | None
    model_id: str
    faces: tuple[int, int]
    boxes: tuple[tuple[float, ...], tuple[float, ...]]
    log10_likelihood_ratio: float | None = None
    basis: Threshold | None = field(default=None, repr=False)


@export("vultus.Candidate")
@dataclass(frozen=True, slots=True)
class Candidate:
    """One subject that a search returned: rank 1 is the most alike."""

    rank: int
    subject_id: str
    score: float
