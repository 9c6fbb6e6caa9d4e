"""What somebody who looked at the album decided, and what that means for faces.

A change names groups and faces as the album shows them. It is carried over at once to the faces that the groups hold now,
because only faces stay the same when everything is grouped again.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from vultus._export import export
from vultus.errors import BadArgument, SourceUnavailable
from vultus.gallery.cluster import Decisions
from vultus.gallery.text import checked_text
from vultus.types import IntArray

Kind = Literal["merge", "split", "name", "forget"]

KINDS: tuple[Kind, ...] = ("merge", "split", "name", "forget")
FORMAT = 1
_LARGEST = 16 << 20


@export("vultus.album.Change")
@dataclass(frozen=True, slots=True)
class Change:
    """One decision about people in an album.

    Args:
        kind: "merge": all these are one person. "split": these faces, all of one person, are not the person whose group
            they are in. "name": all these are one person of this name. "forget": nothing is decided about these.
        who: groups, by number or name, and faces, by identifier or the start of one. A face that is named beside other
            groups leaves its own group first.
        name: of the person, for "name".

    Raises:
        BadArgument: an unknown kind, nobody, or a name where none belongs or none where one does.
    """

    kind: Kind
    who: tuple[str, ...]
    name: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise BadArgument(f"the change is {self.kind!r}; expected one of {', '.join(KINDS)}")
        if not self.who or not all(map(_is_word, self.who)):
            raise BadArgument(f"{self.kind} is about {self.who!r}; expected numbers or names of groups, or faces")
        if (self.name is None) == (self.kind == "name"):
            raise BadArgument(
                f"{self.kind} has the name {self.name!r}; a change of the kind 'name' has one, others none"
            )
        if self.name is not None:
            object.__setattr__(self, "name", checked_text(self.name, what="the name").strip())


def _is_word(thing: object) -> bool:
    return isinstance(thing, str) and bool(thing)


@export("vultus.album.read_changes")
def read_changes(file: str | os.PathLike[str]) -> list[Change]:
    """The changes that were saved from an album's pages.

    Raises:
        SourceUnavailable: the file cannot be read.
        BadArgument: it is no file of changes.
    """
    path = Path(file)
    try:
        with path.open("rb") as content:
            text = content.read(_LARGEST + 1)
    except OSError as problem:
        raise SourceUnavailable(f"cannot read the changes in {str(path)!r}: {problem.strerror}") from problem
    try:
        table = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise BadArgument(f"{path} holds no changes: {problem}; save them from the album's pages") from problem
    if len(text) > _LARGEST or not isinstance(table, dict) or table.get("format") != FORMAT:
        raise BadArgument(f"{path} holds no changes of format {FORMAT}; save them from the album's pages")
    entries = table.get("changes")
    if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
        raise BadArgument(f"{path}: changes must be an array of tables")
    changes = []
    for i, entry in enumerate(entries):
        if unknown := sorted(set(entry) - {"kind", "who", "name"}):
            raise BadArgument(f"{path}: change {i + 1} has an unknown key {unknown[0]!r}; known: kind, who, name")
        who = entry.get("who")
        if not isinstance(who, list):
            raise BadArgument(f"{path}: change {i + 1} is about {who!r}; expected an array")
        changes.append(Change(entry.get("kind"), tuple(who), entry.get("name")))
    return changes


def decide(changes: Iterable[Change], decisions: Decisions, faces: Sequence[str], labels: IntArray) -> Decisions:
    """The decisions after these changes.

    Args:
        changes: in the order in which they were made.
        decisions: so far.
        faces: (n,) identifiers.
        labels: (n,) the groups that people were shown; -1 where a face is in none.

    Raises:
        BadArgument: a change about a group or a face that there is not, or that makes no sense for it.
    """
    shown = _Shown(tuple(faces), np.asarray(labels, dtype=np.int64), decisions)
    for change in changes:
        meant = [shown.meant(who, decisions) for who in change.who]
        everyone = [face for part in meant for face in part.faces]
        if change.kind == "split":
            decisions = _split(shown, meant, decisions)
        elif change.kind == "forget":
            decisions = decisions.forget(everyone)
        else:
            decisions = _moved(shown, meant, decisions, named=change.kind == "name")
            decisions = decisions.merge(*(part.faces for part in meant))
            if change.name is not None:
                decisions = decisions.name(everyone, change.name)
    return decisions


@dataclass(frozen=True, slots=True)
class _Meant:
    """What a word of a change means: the faces, and whether it meant a single one of them."""

    word: str
    faces: tuple[str, ...]
    single: bool = False


class _Shown:
    """The groups as people were shown them."""

    def __init__(self, faces: tuple[str, ...], labels: IntArray, decisions: Decisions) -> None:
        self.label = dict(zip(faces, labels.tolist(), strict=True))
        self.members: dict[int, list[str]] = {}
        for face, label in self.label.items():
            if label >= 0:
                self.members.setdefault(label, []).append(face)
        names = ((decisions.name_of(own), label) for label, own in self.members.items())
        self.named = {name: label for name, label in names if name is not None}

    def meant(self, who: str, decisions: Decisions) -> _Meant:
        """The faces that a number, a name or an identifier means; names of earlier changes included.

        Raises:
            BadArgument: nobody, or one of several.
        """
        if who.isdecimal() and who.isascii():
            if int(who) not in self.members:
                raise BadArgument(f"there is no group {who}; the album shows the numbers that there are")
            return _Meant(who, tuple(self.members[int(who)]))
        if who in self.named:
            return _Meant(who, tuple(self.members[self.named[who]]))
        if called := tuple(f for f, name in decisions.names if name == who and f in self.label):
            return _Meant(who, called)
        return _Meant(who, (self._face(who),), single=True)

    def _face(self, who: str) -> str:
        if who in self.label:
            return who
        found = [f for f in self.label if f.startswith(who)] if len(who) >= 6 else []
        if len(found) == 1:
            return found[0]
        if found:
            raise BadArgument(f"{who!r} is the start of {len(found)} faces; give more of the identifier")
        near = difflib.get_close_matches(who, self.named, n=1)
        advice = f"did you mean {near[0]!r}?" if near else "expected a group's number or name, or a face's identifier"
        raise BadArgument(f"nobody in the album is {who!r}; {advice}")


def _split(shown: _Shown, meant: Sequence[_Meant], decisions: Decisions) -> Decisions:
    for part in meant:
        if not part.single:
            raise BadArgument(f"split is about {part.word!r}, which is a group; expected faces that are not its person")
    own = [face for part in meant for face in part.faces]
    homes = {shown.label[f] for f in own}
    if len(homes) > 1 or -1 in homes:
        raise BadArgument(f"split is about faces of {len(homes)} groups or of none; expected faces of one group")
    return decisions.split(own, shown.members[homes.pop()])


def _moved(shown: _Shown, meant: Sequence[_Meant], decisions: Decisions, *, named: bool) -> Decisions:
    """Before single faces join others, or have a name, they leave the groups that they are in, unless all of it comes."""
    coming = {face for part in meant for face in part.faces}
    single = [face for part in meant if part.single for face in part.faces]
    homes = {shown.label[f] for f in single}
    if not named and len(homes) == 1 and len(single) == len(meant):
        return decisions  # nothing but faces of one group: they are together where they are
    for home in sorted(homes - {-1}):
        if not coming.issuperset(shown.members[home]):
            decisions = decisions.split([f for f in single if shown.label[f] == home], shown.members[home])
    return decisions
