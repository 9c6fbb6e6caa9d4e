"""TOML tables to dataclasses and back."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from typing import Literal

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from vultus.errors import BadArgument, ManifestError
from vultus.tables import from_table, to_table


@dataclass(frozen=True, slots=True)
class Wheel:
    radius: float
    spokes: int = 32


@dataclass(frozen=True, slots=True)
class Bicycle:
    name: str
    kind: Literal["road", "city"]
    front: Wheel
    spare: Wheel | None = None
    gears: tuple[int, ...] = ()
    colour: tuple[int, int, int] = (0, 0, 0)
    history: tuple[Wheel, ...] = ()
    bell: bool = True
    note: str | None = None
    serial: str = field(default="", init=False)

    def __post_init__(self) -> None:
        if self.name == "unrideable":
            raise ValueError("nobody can ride this")


GOOD = {"name": "ada", "kind": "road", "front": {"radius": 0.35}}


def read(**changes: object) -> Bicycle:
    return from_table(Bicycle, {**GOOD, **changes}, where="bike.toml", error=ManifestError)


def test_missing_keys_take_defaults_and_integers_become_floats() -> None:
    assert read() == Bicycle("ada", "road", Wheel(0.35, 32))
    assert isinstance(read(front={"radius": 1}).front.radius, float)


def test_nested_tables_and_arrays() -> None:
    bicycle = read(
        spare={"radius": 0.2, "spokes": 28}, gears=[1, 2, 3], colour=[1, 2, 3], history=[{"radius": 0.1}] * 2
    )
    assert bicycle.spare == Wheel(0.2, 28)
    assert bicycle.gears == bicycle.colour == (1, 2, 3)
    assert bicycle.history == (Wheel(0.1), Wheel(0.1))


WRONG = [
    ({"gear": [1]}, r"bike\.toml: unknown key 'gear'; did you mean 'gears'\?"),
    ({"zzzzzz": 1}, r"unknown key 'zzzzzz'; known keys: name, kind, front"),
    ({"serial": "x"}, "unknown key 'serial'"),
    ({"front": {"radius": 0.3, "spoke": 3}}, r"bike\.toml: front: unknown key 'spoke'; did you mean 'spokes'\?"),
    ({"front": {}}, "front: key 'radius' is missing"),
    ({"front": 3}, "front: expected a table, got int"),
    ({"front": {"radius": True}}, "radius: expected float, got True"),
    ({"front": {"radius": "wide"}}, "radius: expected float, got 'wide'"),
    ({"front": {"radius": 0.3, "spokes": 1.5}}, "spokes: expected int, got 1.5"),
    ({"front": {"radius": 0.3, "spokes": False}}, "spokes: expected int, got False"),
    ({"bell": 1}, "bell: expected bool, got 1"),
    ({"name": 4}, "name: expected str, got 4"),
    ({"note": 4}, "note: expected str, got 4"),
    ({"kind": "roda"}, r"kind: 'roda' is none of 'road', 'city'; did you mean 'road'\?"),
    ({"kind": 3}, "kind: 3 is none of"),
    ({"kind": ["road"]}, "kind: .* is none of"),
    ({"gears": 3}, "gears: expected an array, got 3"),
    ({"gears": [1, "two"]}, r"gears\[1\]: expected int, got 'two'"),
    ({"colour": [1, 2]}, "colour: expected 3 values, got 2"),
    ({"history": [{"radius": 1}, {"radius": 1, "x": 1}]}, r"history\[1\]: unknown key 'x'"),
    ({"name": "unrideable"}, r"bike\.toml: nobody can ride this"),
]


def test_every_wrong_table_is_covered() -> None:
    assert len(WRONG) == 21


@pytest.mark.parametrize(("changes", "message"), WRONG)
def test_wrong_tables_name_the_key_and_what_was_expected(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        read(**changes)


def test_a_missing_key_is_named() -> None:
    with pytest.raises(ManifestError, match=r"bike\.toml: key 'kind' is missing"):
        from_table(Bicycle, {"name": "ada"}, where="bike.toml", error=ManifestError)


def test_the_error_is_of_the_class_asked_for() -> None:
    with pytest.raises(BadArgument, match="expected a table, got list"):
        from_table(Bicycle, [], where="here", error=BadArgument)


names = st.text(st.characters(exclude_categories=["Cs"]), max_size=20).filter(lambda name: name != "unrideable")
wheels = st.builds(Wheel, st.floats(allow_nan=False), st.integers(-(2**63), 2**63 - 1))
bicycles = st.builds(
    Bicycle,
    name=names,
    kind=st.sampled_from(["road", "city"]),
    front=wheels,
    spare=st.none() | wheels,
    gears=st.lists(st.integers(0, 99)).map(tuple),
    colour=st.tuples(st.integers(), st.integers(), st.integers()),
    history=st.lists(wheels, max_size=3).map(tuple),
    bell=st.booleans(),
    note=st.none() | names,
)


@given(bicycles)
def test_to_table_is_the_inverse_of_from_table(bicycle: Bicycle) -> None:
    table = to_table(bicycle)
    assert from_table(Bicycle, table, where="bike.toml", error=ManifestError) == bicycle
    assert from_table(Bicycle, tomllib.loads(tomli_w.dumps(table)), where="x", error=ManifestError) == bicycle


def test_what_equals_the_default_is_left_out() -> None:
    assert to_table(read()) == GOOD
    assert to_table(read(bell=False, gears=[2])) == {**GOOD, "bell": False, "gears": [2]}
    assert to_table(read(bell=True, gears=[], front={"radius": 0.35, "spokes": 32})) == GOOD
