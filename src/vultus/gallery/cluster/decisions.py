"""What people decided about groups, kept as data about faces, so that grouping again does not undo it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TypedDict

import numpy as np

from vultus._export import export
from vultus.errors import BadArgument
from vultus.types import IntArray

FORMAT = 1

Faces = tuple[str, ...]


class Links(TypedDict):
    """Decisions about n faces by place, as `group` and `add` take them: `group(rows, ..., **links)`."""

    must_link: IntArray
    cannot_link: IntArray
    persons: IntArray


@export("vultus.gallery.cluster.Decisions")
@dataclass(frozen=True, slots=True)
class Decisions:
    """What a person decided: which faces are together, which are apart, and what people are called.

    Faces are named by identifiers of the caller's that stay the same between runs, such as the sha256 of the photo and
    the number of the face in it. `merge`, `split`, `name` and `forget` give new decisions and leave the old ones as they
    are; a later decision wins over earlier ones that contradict it. Decisions with the same meaning are equal.

    Args:
        together: sets of faces that show one person; disjoint, each of two faces or more.
        apart: pairs of sets: no face of the first shows a person whom a face of the second shows.
        names: (face, name): what the person is called whom the face shows. Faces of one name are together and faces of
            two names apart, so two people of one name need two, such as "Anna M." and "Anna S.".

    Raises:
        BadArgument: decisions that contradict each other, or are not of this form.
    """

    together: tuple[Faces, ...] = ()
    apart: tuple[tuple[Faces, Faces], ...] = ()
    names: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        sets = [_faces(s) for s in self.together]
        if any(len(s) < 2 for s in sets) or len({f for s in sets for f in s}) < sum(len(s) for s in sets):
            raise BadArgument("a face is in two sets that are together, or a set has fewer than two faces")
        sides = [_pair(p) for p in self.apart]
        if any(not a or not b for a, b in sides):
            raise BadArgument("one side of two sets that are apart is empty; expected a face or more on each")
        names = [(_word(f, "face"), _word(n, "name")) for f, n in self.names]
        if len({f for f, _ in names}) < len(names):
            raise BadArgument("a face has two names; expected one at most")
        object.__setattr__(self, "together", tuple(sorted(sets)))
        object.__setattr__(self, "apart", tuple(sorted({min((a, b), (b, a)) for a, b in sides})))
        object.__setattr__(self, "names", tuple(sorted(names)))
        self._check()

    def _check(self) -> None:
        called = dict(self.names)
        for own in self.together:
            if len(found := sorted({called[f] for f in own if f in called})) > 1:
                raise BadArgument(f"the names {found[0]!r} and {found[1]!r} are given to faces that are together")
        person = {face: key for key, faces in enumerate(self._people()) for face in faces}
        for one, other in self.apart:
            if both := {person.get(f, f) for f in one} & {person.get(f, f) for f in other}:
                raise BadArgument(
                    f"faces are apart and together at once: {sorted(map(str, both))[0]!r} is on both sides; drop one decision"
                )

    def _people(self) -> list[set[str]]:
        """The faces of each person of whom anything was decided: sets that are together, joined where they have one name."""
        called = dict(self.names)
        people: dict[object, set[str]] = {}
        for own in self.together:
            name = next((called[f] for f in own if f in called), None)
            people.setdefault(own if name is None else name, set()).update(own)
        for face, name in self.names:
            people.setdefault(name, set()).add(face)
        return list(people.values())

    def merge(self, *groups: Iterable[str]) -> Decisions:
        """All faces of these groups show one person. Of several names, that of the first group that has one stays.

        Pass every face that was seen to belong there: only those are sure to stay together in a later run.
        """
        called = dict(self.names)
        faces = [f for g in groups for f in _faces(g, in_order=True)]
        name = next((called[f] for f in faces if f in called), None)
        return self._joined(faces, name)

    def name(self, faces: Iterable[str], name: str) -> Decisions:
        """The faces show one person, and so do all others that have this name already."""
        word = _word(name, "name")
        own = _faces(faces)
        return self._joined([*own, *(f for f, n in self.names if n == word)] if own else [], word)

    def split(self, faces: Iterable[str], others: Iterable[str]) -> Decisions:
        """The faces show one person, and none of the others shows that person: "not this person".

        Whatever held the faces together with others goes, and so does their name. Nothing is said of how the others
        belong together.
        """
        own = _faces(faces)
        rest = _faces(set(others) - set(own))
        cleared = self._parted(own)
        together = (*cleared.together, own) if len(own) > 1 else cleared.together
        apart = (*self.apart, (own, rest)) if own and rest else self.apart
        return Decisions(together, _outside(apart, set(own)), cleared.names)

    def forget(self, faces: Iterable[str]) -> Decisions:
        """Everything that was decided about these faces is undecided."""
        own = set(_faces(faces))
        cleared = self._parted(own)
        apart = [(_less(a, own), _less(b, own)) for a, b in self.apart]
        return Decisions(cleared.together, tuple((a, b) for a, b in apart if a and b), cleared.names)

    def _joined(self, faces: Sequence[str], name: str | None) -> Decisions:
        """All these faces, and everybody who is together with one of them, as one person of this name."""
        if not faces:
            return self
        own = set(faces)
        for people in self._people():
            if not own.isdisjoint(people):
                own |= people
        cleared = self._parted(own)
        together = (*cleared.together, tuple(own)) if len(own) > 1 else cleared.together
        names = cleared.names if name is None else (*cleared.names, *((f, name) for f in own))
        return Decisions(together, _outside(self.apart, own), names)

    def _parted(self, faces: Iterable[str]) -> Decisions:
        """Without what holds these faces together with any, and without their names."""
        own = set(faces)
        sets = [_less(s, own) for s in self.together]
        return Decisions(tuple(s for s in sets if len(s) > 1), (), tuple((f, n) for f, n in self.names if f not in own))

    def name_of(self, faces: Iterable[str]) -> str | None:
        """The name of a group: the one that most of its faces have; None where none has any."""
        called = dict(self.names)
        found = sorted(called[f] for f in faces if f in called)
        return max(found, key=found.count) if found else None

    def links(self, faces: Sequence[str]) -> Links:
        """The decisions about these faces by place; faces that are not among them are passed over.

        Args:
            faces: the identifier of each of n faces, each once.

        Raises:
            BadArgument: a face that occurs twice.
        """
        place = {face: i for i, face in enumerate(faces)}
        if len(place) < len(faces):
            raise BadArgument(f"{len(faces) - len(place)} of {len(faces)} faces occur twice; expected each once")
        must: list[tuple[int, int]] = []
        stands_for: dict[int, int] = {}
        for people in self._people():
            here = sorted(place[f] for f in people if f in place)
            must += [(here[0], other) for other in here[1:]]
            stands_for |= dict.fromkeys(here, here[0])
        cannot = set()
        for one, other in self.apart:
            a, b = ({stands_for.get(place[f], place[f]) for f in side if f in place} for side in (one, other))
            cannot |= {(min(i, j), max(i, j)) for i in a for j in b}
        persons = np.full(len(faces), -1, dtype=np.intp)
        numbers = {name: i for i, name in enumerate(sorted({n for _, n in self.names}))}
        for face, name in self.names:
            if face in place:
                persons[place[face]] = numbers[name]
        return Links(
            must_link=np.array(must, dtype=np.intp).reshape(-1, 2),
            cannot_link=np.array(sorted(cannot), dtype=np.intp).reshape(-1, 2),
            persons=persons,
        )

    def to_json(self) -> str:
        """JSON text that `from_json` reads."""
        return json.dumps({"format": FORMAT, **asdict(self)}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Decisions:
        """Decisions from the text of `to_json`.

        Raises:
            BadArgument: text that is no JSON, of a newer form, or decisions that contradict each other.
        """
        try:
            table = json.loads(text)
        except ValueError as problem:
            raise BadArgument(f"decisions are not valid JSON: {problem}") from problem
        if not isinstance(table, dict) or table.get("format") != FORMAT:
            raise BadArgument(f"expected decisions with format {FORMAT}; read them with the vultus that wrote them")
        parts = [table.get(key, []) for key in ("together", "apart", "names")]
        if not all(isinstance(p, list) and all(isinstance(x, list) for x in p) for p in parts):
            raise BadArgument("together, apart and names must be arrays of arrays")
        together, apart, names = parts
        if not all(len(pair) == 2 for pair in (*apart, *names)):
            raise BadArgument("apart and names must hold pairs")
        return cls(tuple(map(tuple, together)), tuple(map(tuple, apart)), tuple(map(tuple, names)))


def _word(text: object, what: str) -> str:
    if not isinstance(text, str) or not text:
        raise BadArgument(f"a {what} is {text!r}; expected text that is not empty")
    return text


def _faces(faces: object, *, in_order: bool = False) -> Faces:
    """The identifiers, each once, sorted unless told otherwise."""
    if isinstance(faces, str) or not isinstance(faces, Iterable):
        raise BadArgument(f"faces are {faces!r}; expected several identifiers")
    found = dict.fromkeys(_word(f, "face") for f in faces)
    return tuple(found) if in_order else tuple(sorted(found))


def _pair(pair: Sequence[object]) -> tuple[Faces, Faces]:
    one, other = (_faces(side) for side in pair)
    return one, other


def _less(faces: Iterable[str], own: set[str]) -> Faces:
    return tuple(f for f in faces if f not in own)


def _outside(apart: Iterable[tuple[Faces, Faces]], own: set[str]) -> tuple[tuple[Faces, Faces], ...]:
    """What is still apart once `own` is one person: everything but pairs of two faces of that person."""
    kept: list[tuple[Faces, Faces]] = []
    for a, b in apart:
        inside = tuple(f for f in a if f in own)
        kept += [(_less(a, own), b), (inside, _less(b, own))] if inside and not own.isdisjoint(b) else [(a, b)]
    return tuple((a, b) for a, b in kept if a and b)
