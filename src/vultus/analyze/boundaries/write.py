"""Pictures of boundaries and of trained features, and their figures as JSON, in a folder."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vultus._export import export
from vultus.analyze.boundaries.catalogue import BOUNDARIES, CURVES, SPHERES, TRAINED, Shown, shown_of
from vultus.analyze.boundaries.curve_picture import draw_curves
from vultus.analyze.boundaries.feature_picture import draw_features
from vultus.analyze.boundaries.features import train_features
from vultus.analyze.boundaries.figures import small_png
from vultus.analyze.boundaries.margin import angular_margin, boundary_difference, reach
from vultus.analyze.boundaries.pair import Pair
from vultus.analyze.boundaries.plane_picture import draw_plane
from vultus.analyze.boundaries.samples import Samples
from vultus.analyze.boundaries.sphere_picture import draw_spheres
from vultus.errors import BadArgument, SourceUnavailable
from vultus.evaluate.report.theme import require_matplotlib
from vultus.weights.lookup import write_atomically

LENGTHS, BIASES = (1.2, 0.8), (0.3, -0.3)  # of the losses that leave them free
_PLANE = (0.0, math.pi)
_WIDEST = math.radians(119)  # three directions cannot lie further apart


@export("vultus.analyze.boundaries.write_margins")
def write_margins(
    folder: str | os.PathLike[str],
    *,
    losses: Mapping[str, Mapping[str, Any]] | None = None,
    angle: float = math.pi / 2,
) -> dict[str, Any]:
    """plane.png, sphere.png, curves.png and margins.json: regions, boundaries and margins of losses.

    Args:
        folder: made where it is missing; files of these names are replaced.
        losses: options of each loss by the name of its class, as `vultus.train.nn.build` takes them; None for a choice of
            all of them.
        angle: between the centres, radians. Centres that are free have the lengths 1.2 and 0.8 and the biases 0.3 and -0.3.

    Returns:
        what margins.json holds; angles in degrees, `difference` in radians.

    Raises:
        BadArgument: an angle that is not above 0 and below 119 degrees, or a loss on a batch.
        BadRecipe: an unknown loss or option.
        SourceUnavailable: the folder cannot be written.
        VultusError: matplotlib is not installed.
    """
    require_matplotlib()
    pair = Pair(angle, LENGTHS, BIASES)
    if angle >= _WIDEST:
        raise BadArgument(
            f"centres {math.degrees(angle):g} degrees apart; expected less than 119, so that three find room on the sphere"
        )
    plane, sphere, curves = BOUNDARIES, SPHERES, CURVES
    if losses is not None:
        chosen = {name: shown_of(name, options) for name, options in losses.items()}
        plane, sphere, curves = chosen, chosen, {"cosine": CURVES["cosine"], **chosen}
    record = {
        "angle": math.degrees(angle),
        "lengths": LENGTHS,
        "biases": BIASES,
        "losses": {name: _figures(shown, pair) for name, shown in plane.items()},
    }
    pictures = {
        "plane.png": draw_plane(list(plane.values()), pair),
        "sphere.png": draw_spheres(list(sphere.values()), angle),
        "curves.png": draw_curves(curves),
    }
    _write(folder, {name: small_png(figure) for name, figure in pictures.items()}, "margins.json", record)
    return record


def _figures(shown: Shown, pair: Pair) -> dict[str, Any]:
    loss = shown.make()
    alone = loss.reduction == "binary"
    everywhere = boundary_difference(loss, pair, norm=shown.norm)
    plane = everywhere if everywhere is not None else boundary_difference(loss, pair, azimuths=_PLANE, norm=shown.norm)
    return {
        "loss": type(loss).__name__,
        "title": shown.title,
        "norm": shown.norm,
        "reach": [_degrees(reach(loss, p, norm=shown.norm)) for p in (pair, pair.swapped)],
        "margin": None if alone else _degrees(angular_margin(loss, pair, norm=shown.norm)),
        "formula": "none" if plane is None else "plane" if everywhere is None else "plane and space",
        "difference": plane,
    }


def _degrees(angle: float | None) -> float | None:
    return None if angle is None else round(math.degrees(angle), 9)


@export("vultus.analyze.boundaries.write_features")
def write_features(
    folder: str | os.PathLike[str],
    samples: Samples,
    *,
    what: str,
    losses: tuple[str, ...] | None = None,
    epochs: int = 30,
    seed: int = 0,
    progress: Callable[[int], object] | None = None,
) -> dict[str, Any]:
    """features.png and features.json: features of two numbers, trained under one loss after another.

    Args:
        folder: made where it is missing; files of these names are replaced.
        samples: what to train on.
        what: they are, for the title.
        losses: of softmax, center, ring, modifiedsoftmax, normface, sphereface, cosface and arcface; None for all.
        epochs: see `train_features`.
        seed: see `train_features`.
        progress: told 1 after each loss.

    Returns:
        what features.json holds; angles in degrees.

    Raises:
        BadArgument: an unknown loss.
        SourceUnavailable: the folder cannot be written.
        VultusError: matplotlib is not installed.
    """
    require_matplotlib()
    names = tuple(TRAINED) if losses is None else losses
    for name in names:
        if name not in TRAINED:
            raise BadArgument(f"features are not trained under {name!r}; expected some of {', '.join(TRAINED)}")
    trained = {}
    for name in names:
        recipe = TRAINED[name]
        beside = None if recipe.beside is None else recipe.beside(len(samples.names))
        trained[name] = train_features(samples, recipe.make(), beside=beside, epochs=epochs, seed=seed)
        if progress is not None:
            progress(1)
    record = {
        "what": what,
        "epochs": epochs,
        "seed": seed,
        "losses": {name: {"title": TRAINED[name].title, **one.to_dict()} for name, one in trained.items()},
    }
    figure = draw_features({TRAINED[name].title: one for name, one in trained.items()}, what=what)
    _write(folder, {"features.png": small_png(figure)}, "features.json", record)
    return record


def _write(folder: str | os.PathLike[str], pictures: Mapping[str, bytes], name: str, record: Mapping[str, Any]) -> None:
    where = Path(folder)
    content = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        for picture, drawn in pictures.items():
            write_atomically(where / picture, drawn)
        write_atomically(where / name, content.encode())
    except OSError as problem:
        raise SourceUnavailable(f"cannot write into {os.fspath(folder)!r}: {problem}") from problem
