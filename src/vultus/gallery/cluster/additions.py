"""New faces into groups that are there already: each joins one of them, or opens a new one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vultus._export import export
from vultus.compare import checked_rows
from vultus.errors import BadArgument
from vultus.gallery.cluster.constraints import checked_links, checked_persons, checked_photos, constrain
from vultus.gallery.cluster.grouping import MIN_CONFIDENCE, MIN_QUALITY, checked_quality, grouped
from vultus.gallery.cluster.groups import UNSURE, Groups
from vultus.gallery.cluster.linkage import geometric
from vultus.gallery.cluster.stable import matched


@export("vultus.gallery.cluster.add")
def add(
    groups: Groups,
    vectors: npt.ArrayLike,
    new: npt.ArrayLike,
    *,
    photos: npt.ArrayLike | None = None,
    quality: npt.ArrayLike | None = None,
    min_quality: float = MIN_QUALITY,
    must_link: npt.ArrayLike = (),
    cannot_link: npt.ArrayLike = (),
    persons: npt.ArrayLike | None = None,
    min_confidence: float = MIN_CONFIDENCE,
) -> Groups:
    """Place new faces without touching the groups that are there.

    Every group keeps its number and its faces. New faces join groups or open new ones by geometric link, at the
    threshold of the groups; faces that were unsure are looked at again. Two groups that are there are not joined, however
    alike they are and whatever comes between them, unless `must_link` or `persons` say that they are one; it has the
    number of the larger then. For all that more faces can teach, run `group` again with `known=`, at the latest when
    there are twice as many: the threshold that `group` takes rises with the number of faces.

    Args:
        groups: of the m faces so far.
        vectors: (m, d) their rows.
        new: (k, d) the rows of new faces, which come after them in all other arguments.
        photos, quality, min_quality, must_link, cannot_link, persons, min_confidence: as for `group`, about all m + k.

    Returns:
        groups of the m + k faces.

    Raises:
        BadTemplate: rows of another shape or dimension, not finite, or not of length 1.
        BadArgument: another number of rows than of grouped faces, or links that contradict the groups or each other.
    """
    old = checked_rows(vectors)
    if len(old) != len(groups):
        raise BadArgument(f"{len(old)} rows for {len(groups)} grouped faces; expected as many of each, in one order")
    rows = np.concatenate([old, checked_rows(new, dimension=old.shape[1])])
    n = len(rows)
    earlier = np.full(n, UNSURE, dtype=np.int64)
    earlier[: len(groups)] = groups.labels
    constraints = constrain(
        photos=checked_photos(photos, n),
        must_link=checked_links(must_link, n, name="must_link"),
        cannot_link=checked_links(cannot_link, n, name="cannot_link"),
        persons=checked_persons(persons, n),
        frozen=earlier.astype(np.intp),
    )
    labels, sure = grouped(
        rows,
        constraints,
        checked_quality(quality, n) >= min_quality,
        threshold=groups.threshold,
        by=geometric,
        min_confidence=min_confidence,
    )
    final, next_label = matched(labels.astype(np.int64), earlier, next_label=groups.next_label)
    return Groups(final, sure, method=groups.method, threshold=groups.threshold, next_label=next_label)
