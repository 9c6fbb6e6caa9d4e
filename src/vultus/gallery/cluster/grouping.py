"""Whom do these faces show? Unlabelled faces to groups, one person each."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from vultus._export import export
from vultus.compare import checked_rows
from vultus.errors import BadArgument, NoThreshold
from vultus.gallery.cluster.components import components
from vultus.gallery.cluster.constraints import (
    FROZEN,
    PERSON,
    Constraints,
    checked_links,
    checked_persons,
    checked_photos,
    constrain,
)
from vultus.gallery.cluster.density import CROWD, density
from vultus.gallery.cluster.graph import Edges, Nodes, similar, sums_by
from vultus.gallery.cluster.groups import UNSURE, Groups, LabelArray
from vultus.gallery.cluster.linkage import average, geometric
from vultus.gallery.cluster.places import confidence, fit, nearest
from vultus.gallery.cluster.scale import RATE, threshold_for
from vultus.gallery.cluster.stable import matched
from vultus.gallery.cluster.whispers import whispers
from vultus.gallery.decide import measured_for
from vultus.types import BoolArray, FloatArray, IntArray, Threshold

Method = Literal["geometric", "average", "whispers", "density", "components"]

METHODS: tuple[Method, ...] = ("geometric", "average", "whispers", "density", "components")


class By(Protocol):
    """A method of grouping nodes."""

    def __call__(self, nodes: Nodes, edges: Edges, *, threshold: float) -> IntArray:
        """(m,) labels 0, 1, ... of the nodes."""
        ...


MIN_QUALITY = 0.1
MIN_CONFIDENCE = 0.6


@export("vultus.gallery.cluster.group")
def group(
    vectors: npt.ArrayLike,
    *,
    model: str | None = None,
    thresholds: Sequence[Threshold] | None = None,
    threshold: float | None = None,
    rate: float = RATE,
    method: Method = "geometric",
    photos: npt.ArrayLike | None = None,
    quality: npt.ArrayLike | None = None,
    min_quality: float = MIN_QUALITY,
    must_link: npt.ArrayLike = (),
    cannot_link: npt.ArrayLike = (),
    persons: npt.ArrayLike | None = None,
    known: Groups | None = None,
    min_confidence: float = MIN_CONFIDENCE,
    seed: int = 0,
    crowd: int = CROWD,
) -> Groups:
    """Group faces by the person that they show.

    Exactly one of `model`, `thresholds` and `threshold` says on which scale scores are; see `threshold_for`.

    Args:
        vectors: (n, d) float32 unit rows; n may be 0.
        model: `Recognizer.model_id` of the system that made them; its built-in thresholds are used.
        thresholds: measured for that system, two or more, as its manifest states them.
        threshold: the score itself.
        rate: the share of faces without a mate that may find a false one; not used with `threshold`.
        method: "geometric" or "average" linkage, "whispers" (Chinese whispers), "density" (DBSCAN) or "components".
        photos: (n,) the photo that each face is from, numbers or strings. Two faces of one photo are never grouped
            unless `must_link` says so, as for a mirror or a picture in the picture.
        quality: (n,) quality of each face, such as `Quality.overall`.
        min_quality: faces below it open no group and do not shape one; each joins the group that it clearly resembles,
            or is unsure. Faces in `must_link` or of a known person are grouped whatever their quality.
        must_link: (k, 2) pairs of places that show one person.
        cannot_link: (k, 2) pairs of places that show two.
        persons: (n,) number of the person whom a face is known to show, or -1: one person's faces are together, and no
            two persons are. `Decisions.links` gives these three.
        known: groups of the first faces from an earlier run, whose numbers are kept: see `Groups.at`.
        min_confidence: a face alone, or of low quality, is unsure below it.
        seed: for "whispers", the only method that draws anything.
        crowd: for "density": how many similar faces make a crowd, a face's own included; 2 makes it "components".

    Returns:
        the groups; the links always hold. But for "whispers", the result does not depend on the order of the faces, save
        for the numbers of the groups and ties.

    Raises:
        BadTemplate: rows of another shape, not finite, or not of length 1.
        BadArgument: another argument out of range or shape, or links that contradict each other.
        NoThreshold: no thresholds are known for the model, or they do not do.
    """
    rows = checked_rows(vectors)
    n = len(rows)
    if not 0 <= min_confidence < 1:
        raise BadArgument(f"min_confidence is {min_confidence!r}; expected a number in [0, 1)")
    if known is not None and len(known) > n:
        raise BadArgument(f"known has {len(known)} faces and there are {n} rows; expected no more than the rows")
    by = _by(method, seed, crowd)
    limit = _limit(n, model=model, thresholds=thresholds, threshold=threshold, rate=rate)
    constraints = constrain(
        photos=checked_photos(photos, n),
        must_link=checked_links(must_link, n, name="must_link"),
        cannot_link=checked_links(cannot_link, n, name="cannot_link"),
        persons=checked_persons(persons, n),
    )
    clear = checked_quality(quality, n) >= min_quality
    labels, sure = grouped(rows, constraints, clear, threshold=limit, by=by, min_confidence=min_confidence)
    earlier: LabelArray = np.full(n, UNSURE, dtype=np.int64)
    start = 0
    if known is not None:
        earlier[: len(known)] = known.labels
        start = known.next_label
    final, next_label = matched(labels.astype(np.int64), earlier, next_label=start)
    return Groups(final, sure, method=method, threshold=limit, next_label=next_label)


def grouped(
    rows: FloatArray,
    constraints: Constraints,
    clear: BoolArray,
    *,
    threshold: float,
    by: By,
    min_confidence: float,
) -> tuple[IntArray, FloatArray]:
    """(n,) labels 0, 1, ... or -1, and (n,) confidences.

    Args:
        rows: (n, d) unit rows.
        constraints: nodes and marks of the faces.
        clear: (n,) faces whose quality is high enough.
        threshold: lowest link.
        by: how to group the nodes.
        min_confidence: see `group`.
    """
    n, count = len(rows), len(constraints.marks)
    frozen = np.array([FROZEN in own for own in constraints.marks], dtype=np.bool_)
    person = np.array([PERSON in own for own in constraints.marks], dtype=np.bool_)
    linked = (np.bincount(constraints.nodes, minlength=count) > 1) | frozen | person
    members = clear | (linked & ~_any(constraints.nodes, clear, count))[constraints.nodes]
    shown = constraints.nodes[members]
    kept = np.unique(shown)
    nodes = Nodes(
        sums_by(shown, rows[members].astype(np.float64), count)[kept],
        np.bincount(shown, minlength=count)[kept],
        tuple(constraints.marks[i] for i in kept.tolist()),
    )
    edges = similar(nodes.templates, floor=threshold, only=~frozen[kept])
    of_node = np.full(count, UNSURE, dtype=np.intp)
    of_node[kept] = by(nodes, edges, threshold=threshold)
    labels = of_node[constraints.nodes]
    if not members.all():
        labels = nearest(fit(rows, labels, constraints, members), labels, constraints, threshold=threshold)
    found = fit(rows, labels, constraints, members)
    sure = confidence(found, threshold=threshold)
    weak = (sure < min_confidence) & ~linked[constraints.nodes] & (~members | (found.own <= -1.0))
    return np.where(weak, UNSURE, labels).reshape(n), sure


def _any(nodes: IntArray, faces: BoolArray, count: int) -> BoolArray:
    """(count,) whether a node has one of these faces."""
    found: BoolArray = np.bincount(nodes[faces], minlength=count) > 0
    return found


def _by(method: Method, seed: int, crowd: int) -> By:
    """The method with its own options.

    Raises:
        BadArgument: an unknown method, or options that do not do.
    """
    if method not in METHODS:
        raise BadArgument(f"method is {method!r}; expected one of {', '.join(METHODS)}")
    if seed < 0 or crowd < 1:
        raise BadArgument(f"seed is {seed!r} and crowd is {crowd!r}; expected at least 0 and at least 1")
    methods: dict[Method, By] = {
        "geometric": geometric,
        "average": average,
        "whispers": partial(whispers, seed=seed),
        "density": partial(density, crowd=crowd),
        "components": components,
    }
    return methods[method]


def checked_quality(quality: npt.ArrayLike | None, faces: int) -> FloatArray:
    """(n,) quality of each face; infinite where none is given.

    Raises:
        BadArgument: another shape, or NaN.
    """
    if quality is None:
        return np.full(faces, np.inf, dtype=np.float32)
    given = np.asarray(quality, dtype=np.float32)
    if given.shape != (faces,) or np.isnan(given).any():
        raise BadArgument(f"quality has shape {given.shape}; expected ({faces},) numbers, none of them NaN")
    return given


def _limit(
    faces: int,
    *,
    model: str | None,
    thresholds: Sequence[Threshold] | None,
    threshold: float | None,
    rate: float,
) -> float:
    """The threshold that the caller means."""
    if sum(x is not None for x in (model, thresholds, threshold)) != 1:
        raise BadArgument("expected exactly one of model=, thresholds= and threshold=, which say what a score means")
    if threshold is not None:
        if not 0 < threshold < 1:
            raise BadArgument(f"threshold is {threshold!r}; expected a score in (0, 1)")
        return float(threshold)
    if thresholds is None:
        thresholds, _ = measured_for(str(model))
        if not thresholds:
            raise NoThreshold(
                f"no thresholds are known for the model {model!r}; pass thresholds= from its manifest, or threshold="
            )
    return threshold_for(thresholds, faces=faces, rate=rate)
