"""A loss by its name, as a recipe states it."""

from __future__ import annotations

import difflib
import inspect
from typing import Any

from vultus._export import entries, export
from vultus.errors import BadRecipe
from vultus.train.loss import Loss
from vultus.train.nn.batch import BatchLoss


@export("vultus.train.nn.build")
def build(name: str, *, classes: int, dim: int, **options: Any) -> Loss | BatchLoss:
    """The loss of that name.

    Args:
        name: of a class in this namespace, in any case, with or without - and _: "arcface", "am-softmax",
            "SphereFace2".
        classes: number of classes, for losses that need it.
        dim: width of the features, for losses that need it.
        options: the rest of its constructor's arguments. `base`, where a loss takes one, is a name or a mapping with a
            `name` and options.

    Raises:
        BadRecipe: an unknown name or option; the message names the nearest.
        BadArgument: a value that the loss refuses.
    """
    known = _losses()
    kind = known.get(_plain(name))
    if kind is None:
        (closest,) = difflib.get_close_matches(_plain(name), known, n=1, cutoff=0.0)
        raise BadRecipe(f"loss {name!r} is not known; the nearest is {known[closest].__name__!r}")
    wanted = [x.name for x in inspect.signature(kind).parameters.values() if x.kind not in _REST]
    for option in options:
        if option not in wanted or option in {"classes", "dim"}:
            choices = [x for x in wanted if x not in {"classes", "dim"}]
            nearest = difflib.get_close_matches(option, choices, n=1, cutoff=0.0)
            hint = f"; the nearest is {nearest[0]!r}" if nearest else "; it has none"
            raise BadRecipe(f"loss {kind.__name__!r} has no option {option!r}{hint}")
    base = options.get("base")
    if isinstance(base, str):
        base = {"name": base}
    if isinstance(base, dict):
        options = options | {"base": build(classes=classes, dim=dim, **base)}
    given = {key: value for key, value in (("classes", classes), ("dim", dim)) if key in wanted}
    return kind(**given, **options)


# A class without a constructor of its own shows *args and **kwargs.
_REST = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _losses() -> dict[str, type[Loss] | type[BatchLoss]]:
    found: dict[str, type[Loss] | type[BatchLoss]] = {}
    for entry in entries().values():
        target = entry.target
        if entry.form_of and isinstance(target, type) and issubclass(target, (Loss, BatchLoss)):
            found[_plain(target.__name__)] = target
    return found


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")
