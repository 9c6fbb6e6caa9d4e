"""Every line of the security checklist has a test that exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import tests.service.catalogue.bodies
import tests.service.catalogue.names
import tests.service.catalogue.pictures
import tests.service.catalogue.wire  # noqa: F401 - the modules register their classes
from tests.service.catalogue.case import CLASSES

ROOT = Path(__file__).parents[2]
LINE = re.compile(r"^\| (\d+) \| (.+) \| `(tests/[\w/]+\.py)::(\w+)(?:\[(.+)\])?` \|$")


def lines() -> list[tuple[str, ...]]:
    text = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    rows = [row for row in text.splitlines() if row.startswith("| ") and not row.startswith("| |")]
    found = [LINE.match(row) for row in rows]
    assert [r for r, m in zip(rows, found, strict=True) if m is None] == []
    return [m.groups("") for m in found if m is not None]


def functions_of(path: str) -> dict[str, ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {n.name: n for n in tree.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_there_are_enough_lines_and_each_is_numbered_and_says_something_of_its_own() -> None:
    found = lines()
    assert len(found) >= 40
    assert [int(number) for number, *_ in found] == list(range(1, len(found) + 1))
    assert len({what for _, what, *_ in found}) == len(found)
    assert len({tuple(where) for _, _, *where in found}) == len(found)


def test_every_test_exists_and_is_always_run() -> None:
    for _, what, path, name, member in lines():
        found = functions_of(path).get(name)
        assert found is not None, f"{what}: {path} has no {name}"
        marks = " ".join(ast.unparse(d) for d in found.decorator_list)
        assert not re.search(r"mark\.(skip|skipif|xfail|slow|data|gpu)\b", marks), f"{what}: {name} may be left out"
        if member:
            assert member in CLASSES, f"{what}: the catalogue has no class {member!r}"
            assert "parametrize" in marks
