"""Comparison: unit rows to scores, the best of many, and templates of several samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from vultus._export import export
from vultus.errors import BadArgument, BadTemplate, ModelMismatch
from vultus.types import FloatArray, IntArray, Template

_BLOCK = 65_536


def checked_rows(rows: npt.ArrayLike, *, dimension: int | None = None) -> FloatArray:
    """(n, d) float32 rows of length 1.

    Raises:
        BadTemplate: another shape or dimension, NaN, or a length that is not 1.
    """
    array = np.asarray(rows, dtype=np.float32)
    if array.ndim != 2 or (dimension is not None and array.shape[1] != dimension):
        raise BadTemplate(f"rows have shape {array.shape}; expected (n, {dimension or 'd'})")
    lengths = np.linalg.norm(array, axis=1)
    if not np.isfinite(lengths).all():
        raise BadTemplate("rows hold NaN or infinity")
    if len(lengths) and np.abs(lengths - 1).max() > 1e-3:
        raise BadTemplate(f"a row has length {lengths[np.abs(lengths - 1).argmax()]:.6g}; expected 1")
    return array


@export("vultus.similarity")
def similarity(probes: npt.ArrayLike, references: npt.ArrayLike) -> FloatArray:
    """Cosine of every probe with every reference.

    Args:
        probes: (n, d) unit rows.
        references: (m, d) unit rows.

    Returns:
        (n, m) float32 in [-1, 1], higher is more alike.

    Raises:
        BadTemplate: rows of another shape, not finite, or not of length 1.
    """
    p = checked_rows(probes)
    r = checked_rows(references, dimension=p.shape[1])
    scores: FloatArray = np.clip(p @ r.T, -1.0, 1.0)
    return scores


@export("vultus.top_k")
def top_k(probes: npt.ArrayLike, references: npt.ArrayLike, *, k: int) -> tuple[IntArray, FloatArray]:
    """The k most similar references of each probe, best first; equal scores in the order of the references.

    Args:
        probes: (n, d) unit rows.
        references: (m, d) unit rows.
        k: how many; fewer come back where there are fewer references.

    Returns:
        (n, k) indices and (n, k) float32 scores.

    Raises:
        BadTemplate: rows of another shape, not finite, or not of length 1.
        BadArgument: k below 1.
    """
    if k < 1:
        raise BadArgument(f"k is {k}; expected at least 1")
    p = checked_rows(probes)
    r = checked_rows(references, dimension=p.shape[1])
    best = np.zeros((len(p), 0), dtype=np.float32)
    where = np.zeros((len(p), 0), dtype=np.intp)
    for start in range(0, len(r), _BLOCK):
        scores = np.clip(p @ r[start : start + _BLOCK].T, -1.0, 1.0)
        near = _largest(scores, k)
        best = np.concatenate([best, np.take_along_axis(scores, near, axis=1)], axis=1)
        where = np.concatenate([where, near + start], axis=1)
        order = np.argsort(-best, axis=1, kind="stable")[:, :k]
        best, where = np.take_along_axis(best, order, axis=1), np.take_along_axis(where, order, axis=1)
    return where, best


def _largest(scores: FloatArray, k: int) -> IntArray:
    """(n, k) columns of the largest scores, in the order of the columns, the first ones where scores are equal."""
    if scores.shape[1] <= k:
        return np.broadcast_to(np.arange(scores.shape[1]), scores.shape)
    cut = np.partition(scores, -k, axis=1)[:, -k][:, None]
    above, ties = scores > cut, scores == cut
    wanted = k - above.sum(axis=1, keepdims=True)
    keep = above | (ties & (np.cumsum(ties, axis=1) <= wanted))
    return np.nonzero(keep)[1].reshape(len(scores), k)


@export("vultus.template_of")
def template_of(samples: Sequence[Template]) -> Template:
    """One template of several: the direction of the mean of their vectors, each weighted by its number of samples.

    Raises:
        BadArgument: no samples.
        ModelMismatch: samples of two models.
        BadTemplate: vectors that cancel.
    """
    if not samples:
        raise BadArgument("a template needs at least one sample")
    require_same_model(*samples)
    counts = np.array([s.samples for s in samples], dtype=np.float64)
    direction = mean_direction(np.stack([s.vector for s in samples]), counts)
    qualities = [(s.quality, s.samples) for s in samples if s.quality is not None]
    quality = sum(q * n for q, n in qualities) / sum(n for _, n in qualities) if qualities else None
    return Template(direction, samples[0].model_id, int(counts.sum()), quality)


def mean_direction(rows: FloatArray, weights: npt.ArrayLike) -> FloatArray:
    """(d,) float32 unit vector along the weighted mean of (n, d) rows.

    Raises:
        BadTemplate: the rows cancel.
    """
    share = np.asarray(weights, dtype=np.float64)
    mean = np.einsum("n,nd->d", share, rows.astype(np.float64)) / share.sum()
    length = float(np.linalg.norm(mean))
    if length < 1e-6:
        raise BadTemplate("the samples point in opposite directions and have no mean: they cannot show one subject")
    return np.asarray(mean / length, dtype=np.float32)


def require_same_model(*templates: Template) -> None:
    """Refuse templates of two models, whose scores would mean nothing.

    Raises:
        ModelMismatch: naming both models.
        BadTemplate: they say one model and have two dimensions.
    """
    models = sorted({t.model_id for t in templates})
    if len(models) > 1:
        raise ModelMismatch(
            f"templates of two models cannot be compared: {models[0]!r} and {models[1]!r}; extract both with one model"
        )
    sizes = sorted({len(t.vector) for t in templates})
    if len(sizes) > 1:
        raise BadTemplate(
            f"templates of one model have the dimensions {sizes[0]} and {sizes[1]}; one of them is damaged"
        )


@export("vultus.score")
def score(one: Template, other: Template) -> float:
    """Cosine of two templates of one model.

    Raises:
        ModelMismatch: they are of two models.
    """
    require_same_model(one, other)
    return float(np.clip(one.vector @ other.vector, -1.0, 1.0))
