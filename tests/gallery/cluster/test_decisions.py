"""Decisions: data that survives, contradicts nothing, and holds in every later run."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.gallery.cluster.people import faces_of

from vultus.errors import BadArgument
from vultus.gallery.cluster import Decisions, group

FACES = tuple("abcdefghijkl")
SETS = st.sets(st.sampled_from(FACES), max_size=5)
NAMES = st.sampled_from(["Ada", "Bob", "Eve"])


class Deciding(RuleBasedStateMachine):
    """Against a model: the pairs that were said to be together or apart last."""

    def __init__(self) -> None:
        super().__init__()
        self.decisions = Decisions()

    @rule(one=SETS, other=SETS)
    def merge(self, one: set[str], other: set[str]) -> None:
        self.decisions = self.decisions.merge(one, other)
        self.together(one | other)

    @rule(faces=SETS, name=NAMES)
    def name(self, faces: set[str], name: str) -> None:
        self.decisions = self.decisions.name(faces, name)
        self.together(faces)
        assert not faces or self.decisions.name_of(faces) == name

    @rule(faces=SETS, others=SETS)
    def split(self, faces: set[str], others: set[str]) -> None:
        self.decisions = self.decisions.split(faces, others)
        self.together(faces)
        number = self.numbers()
        assert not {number[f] for f in faces} & {number[f] for f in others - faces}
        assert self.decisions.name_of(faces) is None
        if faces and others - faces:
            links = self.decisions.links(FACES)
            cannot = {frozenset(number[FACES[i]] for i in pair) for pair in links["cannot_link"].tolist()}
            assert all(frozenset({number[f], number[o]}) in cannot for f in faces for o in others - faces)

    @rule(faces=SETS)
    def forget(self, faces: set[str]) -> None:
        self.decisions = self.decisions.forget(faces)
        links = self.decisions.links(FACES)
        places = {FACES.index(f) for f in faces}
        assert not places & set(links["must_link"].ravel().tolist() + links["cannot_link"].ravel().tolist())
        assert all(links["persons"][i] == -1 for i in places)

    def numbers(self) -> dict[str, int]:
        """Which faces the links hold together."""
        links = self.decisions.links(FACES)
        number = np.arange(len(FACES))
        for one, other in links["must_link"].tolist():
            number[number == number[one]] = number[other]
        return dict(zip(FACES, number.tolist(), strict=True))

    def together(self, faces: set[str]) -> None:
        number = self.numbers()
        assert len({number[f] for f in faces}) <= 1

    @invariant()
    def json_is_the_identity(self) -> None:
        assert Decisions.from_json(self.decisions.to_json()) == self.decisions

    @invariant()
    def links_agree_with_each_other(self) -> None:
        rows = np.eye(len(FACES), dtype=np.float32)
        groups = group(rows, threshold=0.5, min_confidence=0, **self.decisions.links(FACES))
        number = self.numbers()
        for one, other in self.decisions.links(FACES)["cannot_link"].tolist():
            assert groups.labels[one] != groups.labels[other]
        assert len(groups.ids) == len(set(number.values()))

    @invariant()
    def one_person_has_one_name(self) -> None:
        called, number = dict(self.decisions.names), self.numbers()
        for face, name in called.items():
            for other in FACES:
                assert (number[face] == number[other]) == (called.get(other) == name)


TestDeciding = Deciding.TestCase
TestDeciding.settings = settings(max_examples=40, stateful_step_count=15, deadline=None)


def test_decisions_survive_a_run() -> None:
    rows, person = faces_of(4, 6, 3, spread=0.6, d=64)
    ids = [f"{p}/{i}" for i, p in enumerate(person)]
    of = [[f for f, p in zip(ids, person, strict=True) if p == k] for k in range(3)]
    first = group(rows, threshold=0.45)
    decided = Decisions().merge(of[0], of[2]).split(of[1][:2], of[1][2:]).name(of[1][2:], "Ada")
    second = group(rows, threshold=0.45, known=first, **decided.links(ids))
    labels = dict(zip(ids, second.labels.tolist(), strict=True))
    assert len({labels[f] for f in of[0] + of[2]}) == 1
    assert len({labels[f] for f in of[1][:2]}) == len({labels[f] for f in of[1][2:]}) == 1
    assert len(set(labels.values())) == 3
    assert decided.name_of(of[1]) == "Ada"
    shuffled = np.random.default_rng(0).permutation(len(ids))
    third = group(
        rows[shuffled], threshold=0.45, known=second.at(shuffled), **decided.links([ids[i] for i in shuffled])
    )
    assert np.array_equal(third.labels, second.labels[shuffled])


def test_a_merge_keeps_the_first_name_and_renames_the_rest() -> None:
    decided = Decisions().name(["a", "b"], "Ada").name(["c"], "Bob")
    merged = decided.merge(["x"], ["c", "d"], ["a"])
    assert dict(merged.names) == dict.fromkeys("abcdx", "Bob")
    assert merged.together == (("a", "b", "c", "d", "x"),)
    assert decided.names == (("a", "Ada"), ("b", "Ada"), ("c", "Bob"))


def test_one_name_is_one_person_and_two_are_two() -> None:
    decided = Decisions().name(["a"], "Ada").name(["b"], "Ada").name(["c"], "Bob")
    links = decided.links(["c", "b", "a", "z"])
    assert links["must_link"].tolist() == [[1, 2]]
    assert links["persons"].tolist() == [1, 0, 0, -1]


def test_the_last_word_counts() -> None:
    decided = Decisions().split(["a"], ["b", "c"]).merge(["a"], ["b"])
    assert decided.apart == ((("a",), ("c",)),)
    assert Decisions().merge(["a", "b", "c"]).split(["a"], ["b"]) == Decisions((("b", "c"),), ((("a",), ("b",)),))
    assert decided.forget(["a"]) == Decisions()


def test_nothing_decided_is_nothing() -> None:
    none = Decisions()
    assert none.merge([], []) == none.name([], "Ada") == none.split([], ["a"]) == none.forget(["a"]) == none
    assert none.split(["a"], ["a"]) == none
    links = none.links(["a", "b"])
    assert links["must_link"].shape == links["cannot_link"].shape == (0, 2)
    assert none.name_of(["a"]) is None


def test_name_of_takes_the_most_frequent() -> None:
    decided = Decisions(names=(("a", "Ada"), ("b", "Bob"), ("c", "Bob")))
    assert decided.name_of("abcz") == "Bob"


@given(st.lists(st.text(min_size=1), min_size=2, max_size=4, unique=True), st.text(min_size=1))
def test_any_text_goes_through_json(faces: list[str], name: str) -> None:
    decided = Decisions().name(faces, name).split(faces[:1], faces[1:])
    assert Decisions.from_json(decided.to_json()) == decided


BAD: list[dict[str, Any]] = [
    {"together": (("a",),)},
    {"together": (("a", "b"), ("b", "c"))},
    {"together": ("ab",)},
    {"apart": ((("a",), ()),)},
    {"apart": ((("a", "b"), ("b",)),)},
    {"apart": ((("a",), ("b",)),), "together": (("a", "b"),)},
    {"apart": ((("a",), ("b",)),), "names": (("a", "Ada"), ("b", "Ada"))},
    {"names": (("a", "Ada"), ("a", "Bob"))},
    {"names": (("a", ""),)},
    {"names": (("", "Ada"),)},
    {"names": (("a", "Ada"), ("b", "Bob")), "together": (("a", "b"),)},
]


@pytest.mark.parametrize("parts", BAD)
def test_contradictions_are_refused(parts: dict[str, Any]) -> None:
    with pytest.raises(BadArgument):
        Decisions(**parts)
    with pytest.raises(BadArgument):
        Decisions.from_json(json.dumps({"format": 1, **parts}))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"format": 2}',
        '{"format": 1, "together": 3}',
        '{"format": 1, "names": [["a"]]}',
        '{"format": 1, "names": [["a", 3]]}',
        '{"format": 1, "together": [[1, 2]]}',
        '{"format": 1, "apart": [["a", "b"]]}',
    ],
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(BadArgument):
        Decisions.from_json(text)


def test_bad_faces() -> None:
    for wrong in ("abc", [1], [""], None):
        with pytest.raises(BadArgument):
            Decisions().merge(wrong)  # type: ignore[arg-type]
    with pytest.raises(BadArgument, match="expected text that is not empty"):
        Decisions().name(["a"], "")
    with pytest.raises(BadArgument, match="occur twice"):
        Decisions().links(["a", "a"])
