"""What `vultus analyze margins` does."""

from __future__ import annotations

import math
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vultus.cli.output import OK, console, print_json, progress, table
from vultus.errors import BadArgument, ExtraMissing

if TYPE_CHECKING:
    from vultus.analyze.boundaries import Samples


def explore(
    out: Path,
    *,
    losses: list[str] | None,
    options: list[str],
    degrees: float,
    features: str | None,
    identities: int,
    epochs: int,
    seed: int,
    json: bool,
) -> int:
    """Write the pictures, and print the figures."""
    if find_spec("torch") is None:
        raise ExtraMissing("the losses need torch: pip install 'vultus[train]'")
    from vultus.analyze.boundaries import write_features, write_margins
    from vultus.analyze.boundaries.catalogue import TRAINED

    given = _options(options)
    if given and (losses is None or len(losses) != 1):
        raise BadArgument("--set belongs to one loss; name it with --loss")
    asked = None if losses is None else dict.fromkeys(losses, given)
    if given and features is not None:
        raise BadArgument(
            "--set changes what is drawn by formula; features are trained with margins of their own: leave one out"
        )
    samples = None if features is None else _samples(features, identities)
    record: dict[str, Any] = write_margins(out, losses=asked, angle=math.radians(degrees))
    if features is not None and samples is not None:
        under = None if losses is None else tuple(name.lower().replace("-", "").replace("_", "") for name in losses)
        with progress(len(under or TRAINED), "training", quiet=json) as advance:
            what = (
                "digits of scikit-learn"
                if features == "digits"
                else f"{len(samples.names)} identities of {Path(features).name}"
            )
            trained = write_features(out, samples, what=what, losses=under, epochs=epochs, seed=seed, progress=advance)
        record = {**record, "features": trained}
    if json:
        print_json(record)
        return OK
    table(
        ["loss", "reach of class 1", "of class 2", "margin", "formula and logits differ by", "in"],
        [
            [
                one["title"],
                *(_told(r) for r in one["reach"]),
                _told(one["margin"]),
                "no formula" if one["difference"] is None else f"{one['difference']:.0e}",
                one["formula"],
            ]
            for one in record["losses"].values()
        ],
        title=f"class centres {degrees:g} degrees apart",
    )
    if "features" in record:
        table(
            ["trained under", "right", "spread", "apart", "lengths vary by"],
            [
                [
                    one["title"],
                    f"{one['accuracy']:.1%}",
                    _told(one["spread"]),
                    _told(one["separation"]),
                    f"{one['length_variation']:.0%}",
                ]
                for one in record["features"]["losses"].values()
            ],
            title=f"features of two numbers: {record['features']['what']}",
        )
    console.print(f"drawn in {out}", markup=False)
    return OK


def _told(degrees: float | None) -> str:
    return "" if degrees is None else f"{degrees:.2f}°"


def _options(given: list[str]) -> dict[str, Any]:
    """The options of "margin=0.3", values as in TOML; what is no TOML value is text."""
    found = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals or not name:
            raise BadArgument(f"--set {one!r}; expected NAME=VALUE, such as margin=0.3")
        try:
            found[name] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            found[name] = value
    return found


def _samples(name: str, identities: int) -> Samples:
    from vultus.analyze.boundaries import digits, faces

    if name == "digits":
        return digits()
    from vultus.train.data import open_dataset

    dataset = open_dataset(name)
    return faces(dataset, identities=min(identities, len(dataset.classes)))
