"""What somebody decided about groups, as decisions about faces."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vultus.album import Change, read_changes
from vultus.album.changes import KINDS, decide
from vultus.errors import BadArgument, SourceUnavailable
from vultus.gallery.cluster import Decisions

FACES = tuple(f"{letter * 20}-{i}" for letter in "abcdef" for i in range(2))
LABELS = np.array([1, 1, 1, 2, 2, 2, 3, 3, 3, 4, -1, -1])
A0, A1, B0, B1, C0, C1, D0, D1, E0, E1, F0, F1 = FACES


def after(*changes: Change, start: Decisions | None = None) -> Decisions:
    return decide(changes, start or Decisions(), FACES, LABELS)


def test_groups_and_faces_mean_the_faces_that_are_shown() -> None:
    assert after(Change("merge", ("1", "3"))) == Decisions().merge([A0, A1, B0], [D0, D1, E0])
    assert after(Change("name", ("2",), "Ada")) == Decisions().name([B1, C0, C1], "Ada")
    assert after(Change("split", (A0, B0))) == Decisions().split([A0, B0], [A1])
    assert after(Change("merge", ("1", F0))) == Decisions().merge([A0, A1, B0], [F0])
    assert after(Change("merge", (A0, A1))) == Decisions().merge([A0], [A1])


def test_names_mean_groups_and_stay_with_the_first() -> None:
    ada = Decisions().name([B1, C0, C1], "Ada")
    assert after(Change("merge", ("Ada", "1")), start=ada).name_of([A0]) == "Ada"
    bob = ada.name([A0], "Bob")
    assert after(Change("merge", ("1", "2")), start=bob).name_of([C0]) == "Bob"
    assert after(Change("name", (F0,), "Ada"), start=ada).links(FACES)["must_link"].max() == FACES.index(F0)


def test_a_face_that_joins_others_leaves_its_group_unless_all_of_it_comes() -> None:
    moved = after(Change("merge", ("1", C0)))
    assert moved == Decisions().split([C0], [B1, C1]).merge([A0, A1, B0], [C0])
    assert after(Change("merge", ("1", B1, C0, C1))) == Decisions().merge([A0, A1, B0], [B1], [C0], [C1])
    assert after(Change("name", (C0,), "Eve")) == Decisions().split([C0], [B1, C1]).merge([C0]).name([C0], "Eve")


def test_forgetting_undoes() -> None:
    some = after(Change("merge", ("1", "2")), Change("name", ("3",), "Ada"), Change("split", (E0,)))
    assert after(Change("forget", ("1", "2", "3")), start=some) == Decisions()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (Change("merge", ("1", "9")), "no group 9"),
        (Change("split", ("1",)), "expected faces"),
        (Change("split", (A0, C0)), "2 groups"),
        (Change("split", (F0,)), "of none"),
        (Change("merge", ("1", "aaaaaaaa")), "start of 2"),
        (Change("merge", ("1", "Adda")), "did you mean 'Ada'"),
        (Change("merge", ("1", "a")), "identifier"),
    ],
)
def test_what_means_nothing_is_refused(change: Change, message: str) -> None:
    with pytest.raises(BadArgument, match=message):
        after(change, start=Decisions().name([D0], "Ada"))


@pytest.mark.parametrize(
    ("kind", "who", "name"),
    [
        ("join", ("1",), None),
        ("merge", (), None),
        ("merge", ("",), None),
        ("merge", (1,), None),
        ("merge", ("1",), "Ada"),
        ("name", ("1",), None),
        ("name", ("1",), "  "),
        ("name", ("1",), "a\u202eb"),
        ("name", ("1",), "\ud800"),
        ("name", ("1",), 7),
    ],
)
def test_a_change_that_makes_no_sense_is_refused(kind: Any, who: Any, name: Any) -> None:
    with pytest.raises(BadArgument):
        Change(kind, who, name)


def test_names_are_composed_and_trimmed() -> None:
    assert Change("name", ("1",), " Zoe\u0308 ").name == "Zo\u00eb"


WHO = st.lists(st.sampled_from(["1", "2", "3", "4", *FACES]), min_size=1, max_size=4, unique=True).map(tuple)


@given(st.lists(st.tuples(st.sampled_from(KINDS), WHO, st.sampled_from(["Ada", "Bob"])), max_size=6))
def test_any_order_of_changes_gives_decisions_without_contradiction(entries: list[Any]) -> None:
    """Decisions check themselves when they are made; and the last word counts."""
    decisions = Decisions()
    for kind, who, name in entries:
        change = Change(kind, who, name if kind == "name" else None)
        try:
            decisions = after(change, start=decisions)
        except BadArgument:
            assert kind == "split"
            continue
        if kind == "name":
            assert {decisions.name_of([f]) for f in who if f in FACES} <= {name}
        if kind == "split":
            assert all(decisions.name_of([f]) is None for f in who)
    assert Decisions.from_json(decisions.to_json()) == decisions


def test_saved_changes_are_read(tmp_path: Path) -> None:
    file = tmp_path / "album-changes.json"
    entries = [{"kind": "merge", "who": ["1", "2"]}, {"kind": "name", "who": [A0], "name": "Ada"}]
    file.write_text(json.dumps({"format": 1, "changes": entries}))
    assert read_changes(file) == [Change("merge", ("1", "2")), Change("name", (A0,), "Ada")]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "[" * 100_000,
        '{"format": 2, "changes": []}',
        '{"format": 1}',
        '{"format": 1, "changes": [1]}',
        '{"format": 1, "changes": [{"kind": "merge", "who": "12"}]}',
        '{"format": 1, "changes": [{"kind": "merge", "who": [1]}]}',
        '{"format": 1, "changes": [{"kind": "merge", "who": ["1"], "whom": 1}]}',
        '{"format": 1, "changes": [{"kind": ["merge"], "who": ["1"]}]}',
    ],
)
def test_what_holds_no_changes_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "changes.json"
    file.write_text(text)
    with pytest.raises(BadArgument):
        read_changes(file)
    file.write_bytes(b"\xff\xfe{")
    with pytest.raises(BadArgument):
        read_changes(file)
    with pytest.raises(SourceUnavailable):
        read_changes(tmp_path)
