"""Which faces must and must not share a group, by the user's word or because one photo shows them both?

Faces that belong together are one node from the start. Nodes that must stay apart carry a common mark: a mark stands for
a photo, or for one pair that the user separated. Whatever grows out of nodes carries all their marks, so that two groups
may be joined exactly if they have no mark in common.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vultus.errors import BadArgument
from vultus.types import BoolArray, IntArray

Marks = frozenset[int]

NO_MARKS: Marks = frozenset()

FROZEN, PERSON = -1, -2
"""The marks of groups that were there before, and of people who are known: no two of either are joined."""


@dataclass(frozen=True, slots=True, eq=False)
class Constraints:
    """Nodes of faces, and their marks.

    Args:
        nodes: (n,) the node of each face, numbered by first appearance.
        marks: of each node.
    """

    nodes: IntArray
    marks: tuple[Marks, ...]


def checked_links(links: npt.ArrayLike, faces: int, *, name: str) -> IntArray:
    """(k, 2) pairs of places below `faces`.

    Raises:
        BadArgument: another shape, numbers that are not whole, or places that do not exist.
    """
    given = np.asarray(links)
    pairs = given.reshape(0, 2) if given.size == 0 else given
    if pairs.ndim != 2 or pairs.shape[1] != 2 or (pairs.size and pairs.dtype.kind not in "iu"):
        raise BadArgument(f"{name} has shape {given.shape} and type {given.dtype}; expected (k, 2) places of faces")
    if pairs.size and not (pairs.min() >= 0 and pairs.max() < faces):
        raise BadArgument(f"{name} names the faces {pairs.min()} to {pairs.max()}; expected 0 to {faces - 1}")
    return pairs.astype(np.intp)


def checked_photos(photos: npt.ArrayLike | None, faces: int) -> IntArray | None:
    """(n,) number of each face's photo.

    Raises:
        BadArgument: another shape.
    """
    if photos is None:
        return None
    given = np.asarray(photos)
    if given.shape != (faces,):
        raise BadArgument(f"photos has shape {given.shape}; expected ({faces},), the photo of each face")
    return np.unique(given, return_inverse=True)[1].astype(np.intp)


def checked_persons(persons: npt.ArrayLike | None, faces: int) -> IntArray:
    """(n,) number of the person whom each face is known to show, or -1.

    Raises:
        BadArgument: another shape, or numbers that are not whole or below -1.
    """
    if persons is None:
        return np.full(faces, -1, dtype=np.intp)
    given = np.asarray(persons)
    if given.shape != (faces,) or (faces and (given.dtype.kind not in "iu" or given.min() < -1)):
        raise BadArgument(
            f"persons has shape {given.shape} and type {given.dtype}; expected ({faces},) numbers, -1 or more"
        )
    return given.astype(np.intp)


def constrain(
    *,
    photos: IntArray | None,
    must_link: IntArray,
    cannot_link: IntArray,
    persons: IntArray,
    frozen: IntArray | None = None,
) -> Constraints:
    """Nodes and marks from what is known of n faces.

    Args:
        photos: (n,) number of each face's photo: faces of one photo are apart, unless they are one node.
        must_link: (k, 2) pairs of one group.
        cannot_link: (k, 2) pairs of two groups.
        persons: (n,) whom a face is known to show, or -1: one person is one node, two are apart.
        frozen: (n,) the group that a face is in for good, or -1: each is one node, and apart from the others.

    Raises:
        BadArgument: what contradicts itself; the message names two faces.
    """
    faces = len(persons)
    chains = [must_link, *(_chains(x) for x in (persons, frozen) if x is not None)]
    links = np.concatenate(chains)
    nodes = numbered(joined(faces, links[:, 0], links[:, 1]))
    ends = nodes[cannot_link]
    if (wrong := np.flatnonzero(ends[:, 0] == ends[:, 1])).size:
        one, other = cannot_link[wrong[0]].tolist()
        raise BadArgument(
            f"faces {one} and {other} must be apart, and other links or earlier groups hold them together; drop one of "
            "the two, or group everything again"
        )
    known = np.flatnonzero(persons >= 0)
    first = known[np.unique(nodes[known], return_index=True)[1]]
    of_node = dict(zip(nodes[first].tolist(), first.tolist(), strict=True))
    for face in known.tolist():
        if persons[face] != persons[other := of_node[int(nodes[face])]]:
            raise BadArgument(
                f"faces {other} and {face} show two persons, and links or earlier groups hold them together; drop one of "
                "the two, or group everything again"
            )
    held: defaultdict[int, set[int]] = defaultdict(set)
    start = 0
    if photos is not None and faces:
        shown = np.unique(np.stack([photos, nodes], axis=1), axis=0)
        shared = np.bincount(shown[:, 0])[shown[:, 0]] > 1
        for mark, node in shown[shared].tolist():
            held[node].add(mark)
        start = int(photos.max()) + 1
    for mark, (one, other) in enumerate(np.unique(np.sort(ends, axis=1), axis=0).tolist(), start):
        held[one].add(mark)
        held[other].add(mark)
    for mark, of in ((PERSON, persons), (FROZEN, frozen)):
        if of is not None:
            for node in np.unique(nodes[of >= 0]).tolist():
                held[node].add(mark)
    count = int(nodes.max()) + 1 if faces else 0
    return Constraints(nodes, tuple(frozenset(held[i]) if i in held else NO_MARKS for i in range(count)))


def _chains(groups: IntArray) -> IntArray:
    """(k, 2) links that hold together the faces of each group; those of -1 have none."""
    faces = np.flatnonzero(groups >= 0)
    order = faces[np.argsort(groups[faces], kind="stable")]
    same = groups[order[1:]] == groups[order[:-1]]
    return np.stack([order[:-1][same], order[1:][same]], axis=1)


def joined(count: int, first: IntArray, second: IntArray) -> IntArray:
    """(count,) the lowest member of each one's connected component.

    Each round hooks roots onto lower roots along all edges at once and then shortens the paths.
    """
    parent: IntArray = np.arange(count)
    one, other = np.asarray(first, dtype=np.intp), np.asarray(second, dtype=np.intp)
    while len(one):
        a, b = parent[one], parent[other]
        open_ = a != b
        one, other, a, b = one[open_], other[open_], a[open_], b[open_]
        np.minimum.at(parent, np.maximum(a, b), np.minimum(a, b))
        while not np.array_equal(parent, up := parent[parent]):
            parent = up
    return parent


def numbered(labels: IntArray) -> IntArray:
    """The same groups with the numbers 0, 1, ... in the order of their first members."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    order: IntArray = np.empty(len(first), dtype=np.intp)
    order[np.argsort(first)] = np.arange(len(first))
    return order[inverse.reshape(-1)]


def clashes(labels: IntArray, marks: tuple[Marks, ...]) -> BoolArray:
    """(m,) True for nodes in a group that holds a mark twice."""
    seen: defaultdict[int, set[int]] = defaultdict(set)
    wrong = set()
    for node, own in enumerate(marks):
        if own:
            group = int(labels[node])
            if not seen[group].isdisjoint(own):
                wrong.add(group)
            seen[group] |= own
    return np.isin(labels, np.fromiter(wrong, dtype=np.intp))
