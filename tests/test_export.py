"""Canonical names: what is registered, what is published, and that both agree."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator

import pytest

import vultus
from vultus import _export
from vultus._export import canonical_name, describe, entries, export, forms, resolve

PUBLIC = (
    "vultus",
    "vultus.analyze",
    "vultus.augment",
    "vultus.calibrate",
    "vultus.client",
    "vultus.errors",
    "vultus.evaluate",
    "vultus.face3d",
    "vultus.gallery",
    "vultus.gallery.cluster",
    "vultus.service",
    "vultus.analyze.boundaries",
    "vultus.face3d",
    "vultus.restore",
    "vultus.subspace",
    "vultus.train",
    "vultus.train.backbones",
    "vultus.train.data",
    "vultus.train.deepid",
    "vultus.train.deepface",
    "vultus.train.functional",
    "vultus.train.heads",
    "vultus.train.nn",
)


def import_every_module() -> None:
    for found in pkgutil.walk_packages(vultus.__path__, "vultus."):
        if found.name not in {"vultus.__main__"} and not found.name.startswith("vultus.cli"):
            importlib.import_module(found.name)


@pytest.fixture(autouse=True)
def _registry() -> Iterator[None]:
    """Every module's names, and nothing of what a test registers on top."""
    import_every_module()
    before = dict(_export._entries)
    yield
    _export._entries.clear()
    _export._entries.update(before)


def test_every_registered_name_resolves_to_its_object() -> None:
    assert len(entries()) > 60
    for name, entry in entries().items():
        assert resolve(name) is entry.target
        assert entry.name == name
        assert canonical_name(entry.target) == name
        assert name == f"{entry.namespace}.{name.rpartition('.')[2]}"


def test_registered_names_stand_in_all_of_their_module() -> None:
    for entry in entries().values():
        published = getattr(importlib.import_module(entry.namespace), "__all__", None)
        if published is not None:
            assert entry.name.rpartition(".")[2] in published, entry.name


@pytest.mark.parametrize("module", PUBLIC)
def test_names_in_all_are_registered(module: str) -> None:
    public = importlib.import_module(module)
    for name in getattr(public, "__all__", ()):
        target = getattr(public, name)
        is_ours = inspect.isclass(target) or inspect.isfunction(target)
        if is_ours and target.__module__.startswith("vultus"):
            assert canonical_name(target) in {f"{module}.{name}", f"vultus.{name}"}


@pytest.mark.parametrize("module", PUBLIC)
def test_all_is_without_repeats(module: str) -> None:
    published = list(getattr(importlib.import_module(module), "__all__", ()))
    assert len(published) == len(set(published))


def test_every_error_is_published_and_has_a_code_of_its_own() -> None:
    from vultus import errors

    classes = [c for c in vars(errors).values() if inspect.isclass(c) and issubclass(c, errors.VultusError)]
    assert len(classes) >= 20
    assert {canonical_name(c) for c in classes} == {f"vultus.errors.{c.__name__}" for c in classes}
    assert len({c.code for c in classes}) == len(classes)


def test_dir_lists_all_and_unknown_names_fail_as_usual() -> None:
    assert set(vultus.__all__) <= set(dir(vultus))
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = vultus.no_such_name


# --- the registry itself ----------------------------------------------------------------------------------------------


def test_a_name_can_be_taken_once() -> None:
    def one() -> None: ...

    def other() -> None: ...

    assert export("vultus.something")(one) is one
    assert export("vultus.something")(one) is one
    with pytest.raises(ValueError, match=r"'vultus\.something' is taken"):
        export("vultus.something")(other)
    assert entries()["vultus.something"].target is one


def test_a_reloaded_definition_replaces_the_old_one() -> None:
    def define() -> type:
        return type("Thing", (), {"__module__": "vultus.thing", "__qualname__": "Thing"})

    export("vultus.Thing")(define())
    second = export("vultus.Thing")(define())
    assert entries()["vultus.Thing"].target is second


@pytest.mark.parametrize("name", ["vultus", "numpy.array", "vultus.", "vultus.two words", "vultus..x", "vultusx.y", ""])
def test_names_outside_the_package_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not a dotted name"):
        export(name)


def test_forms_pairs_a_function_with_the_class_that_calls_it() -> None:
    def loss() -> None: ...

    class Loss: ...

    known = forms()
    export("vultus.loss")(loss)
    export("vultus.Loss", form_of="vultus.loss")(Loss)
    (added,) = [pair for pair in forms() if pair not in known]
    assert [entry.target for entry in added] == [loss, Loss]


def test_a_form_of_nothing_is_refused() -> None:
    class Loss: ...

    export("vultus.Loss", form_of="vultus.no_such_loss")(Loss)
    with pytest.raises(ValueError, match=r"'vultus\.Loss' calls 'vultus\.no_such_loss'"):
        forms()


@pytest.mark.parametrize("name", ["vultus.no_such_name", "no_such_package.x", "vultus.read_image.no_such_part"])
def test_unknown_names_do_not_resolve(name: str) -> None:
    with pytest.raises(ValueError, match="nothing public is named"):
        resolve(name)


def test_an_unpublished_object_has_no_canonical_name() -> None:
    assert canonical_name(object()) is None


def test_describe_tells_kind_and_signature() -> None:
    assert describe(vultus.score).startswith("function (one: ")
    assert describe(vultus.Limits).startswith("class (")
    assert describe(3) == "value"


def test_a_function_as_a_default_is_described_without_its_address() -> None:
    def with_default(find: object = describe) -> None: ...

    assert describe(with_default) == "function (find: 'object' = <function describe>) -> 'None'"
