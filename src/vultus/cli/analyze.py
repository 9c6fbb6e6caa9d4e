"""`vultus analyze`: look inside a network."""

from __future__ import annotations

import difflib
import importlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vultus.cli.output import OK, Json, console, print_json, progress, table
from vultus.errors import BadArgument, ExtraMissing, SourceUnavailable

if TYPE_CHECKING:
    from PIL import Image

    from vultus.analyze.receptive_field import EffectiveField, ReceptiveFields
    from vultus.types import UInt8Array
    from vultus.weights import Manifest

Network = Annotated[
    str,
    typer.Argument(
        help="An ONNX file, a model's name or manifest, a backbone such as iresnet50, or package.module:callable that makes a "
        "torch module."
    ),
]
Size = Annotated[
    tuple[int, int] | None, typer.Option("--size", help="Height and width of the picture. Default: the model's own.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    group = typer.Typer(help="Look inside a network.", no_args_is_help=True)
    group.command("rf")(receptive_fields)
    group.command("bias")(bias)
    group.command("margins")(margins)
    app.add_typer(group, name="analyze")


def receptive_fields(
    model: Network,
    size: Size = None,
    layers: Annotated[
        bool, typer.Option("--all", help="Every operator, not only those that change the field.")
    ] = False,
    effective: Annotated[
        str | None, typer.Option("--effective", help="Measure how much each pixel moves the middle unit of this node.")
    ] = None,
    picture: Annotated[
        Path | None, typer.Option("--picture", help="Draw the fields on the aligned face of a portrait, as PNG.")
    ] = None,
    json: Json = False,
) -> int:
    """Which pixels each unit of a network sees: size, jump and start of its receptive field."""
    from vultus.analyze.receptive_field import receptive_field

    found = _find(model, size)
    fields = receptive_field(found.content, found.size)
    fields.model = model
    measured = None if effective is None else _measured(found, effective, quiet=json)
    if picture is not None:
        _draw(fields, measured).save(picture, format="PNG")
    if json:
        record = fields.to_dict()
        print_json(record if measured is None else {**record, "effective": measured.to_dict()})
        return OK
    rows = []
    last: Any = None
    for node in fields:
        now = (node.size, node.jump, node.start)
        if layers or now != last:
            rows.append(
                [
                    node.name,
                    "x".join(map(str, node.shape[1:])),
                    _pair(node.size),
                    "" if node.jump is None else _pair(node.jump),
                    _pair(node.start),
                    "/".join(f"{a}+{b}" for a, b in dict.fromkeys(node.padding)),
                    "formula" if node.formula else "pixels seen",
                ]
            )
        last = now
    columns = ["node", "output", "size", "jump", "start", "padding", "by"]
    table(columns, rows, title=f"{model}, {' x '.join(map(str, fields.input_size))}")
    if measured is not None:
        console.print(
            f"{measured.name}: the middle unit's effective field has {measured.pixels} pixels, a square of side "
            f"{measured.side:.1f}; that is {measured.share:.1%} of those that it can see",
            markup=False,
        )
    if picture is not None:
        console.print(f"drawn in {picture}", markup=False)
    return OK


def bias(model: Network, size: Size = None, json: Json = False) -> int:
    """Which biases of a network do nothing, because a norm behind them takes them off."""
    from vultus.analyze.bias import audit_biases

    found = _find(model, size)
    audit = audit_biases(found.content, found.size)
    if json:
        print_json({"model": model, **audit.to_dict()})
        return OK
    table(
        ["bias", "of", "numbers", "", "because"],
        [
            [
                b.name,
                b.operator,
                str(b.size),
                "cancelled" if b.cancelled else "counts",
                b.why or f"by {', '.join(b.cancelled_by) or 'the statistics of each picture'}",
            ]
            for b in audit.biases
        ],
        title=model,
    )
    console.print(
        f"{len(audit.cancelled)} of {len(audit.biases)} biases do nothing: {audit.cancelled_numbers:,} of {audit.numbers:,} "
        "numbers"
    )
    return OK


def margins(
    out: Annotated[Path, typer.Option("--out", help="Folder for the pictures and the JSON.")],
    loss: Annotated[
        list[str] | None, typer.Option("--loss", help="Name of a loss, such as arcface; may be repeated. Default: all.")
    ] = None,
    options: Annotated[
        list[str] | None, typer.Option("--set", help="Option of the one loss, such as margin=0.3; may be repeated.")
    ] = None,
    angle: Annotated[float, typer.Option("--angle", help="Degrees between the class centres.")] = 90.0,
    features: Annotated[
        str | None,
        typer.Option(
            "--features", help="Train features of two numbers too, on: digits, generated:8x60, or a data set's path."
        ),
    ] = None,
    identities: Annotated[int, typer.Option("--identities", min=2, help="Of a data set, those with most photos.")] = 8,
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Passes over what the features are trained on.")] = 30,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of that training.")] = 0,
    json: Json = False,
) -> int:
    """Decision boundaries and margins of the losses, drawn in the plane and on the sphere, and by formula."""
    from vultus.cli.margins import explore

    return explore(
        out,
        losses=loss,
        options=options or [],
        degrees=angle,
        features=features,
        identities=identities,
        epochs=epochs,
        seed=seed,
        json=json,
    )


def _pair(values: tuple[float, float]) -> str:
    """One number where both axes agree."""
    return " x ".join(f"{v:g}" for v in dict.fromkeys(values))


# --- which network is meant -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """A network: a torch module or the bytes of an ONNX file, the picture's size where it is known, and its manifest."""

    content: Any
    size: tuple[int, int, int] | None
    manifest: Manifest | None = None


def _find(name: str, size: tuple[int, int] | None) -> _Found:
    """The network that a name on the command line means.

    Raises:
        BadArgument: nothing is meant by it.
        ExtraMissing: it needs torch, which is not installed.
    """
    from vultus.analyze.receptive_field.measure import read_graph
    from vultus.weights import builtin_names, find_weights, load_manifest

    asked = None if size is None else (3, *size)
    if name.endswith(".onnx"):
        return _Found(read_graph(name), asked)
    if name in builtin_names() or name.endswith(".toml"):
        manifest = load_manifest(name)
        own = None if manifest.input.size is None else (3, *manifest.input.size)
        return _Found(find_weights(manifest).read_bytes(), asked or own, manifest)
    if find_spec("torch") is None:
        raise ExtraMissing(
            f"{name!r} is no ONNX file and no model; a torch module needs torch: pip install 'vultus[train]'"
        )
    from vultus.train.backbones import BACKBONES, build

    if name in BACKBONES or name.startswith("timm:"):
        return _Found(build(name), asked or (3, 112, 112))
    if ":" not in name:
        near = difflib.get_close_matches(name, [*builtin_names(), *BACKBONES], n=1)
        advice = (
            f"did you mean {near[0]!r}?" if near else "expected an ONNX file, a model, a backbone or module:callable"
        )
        raise BadArgument(f"no network {name!r}; {advice}")
    return _Found(_made(name), asked)


def _made(name: str) -> Any:
    """The torch module that package.module:callable makes."""
    from torch import nn

    place, _, attribute = name.partition(":")
    try:
        made: Any = getattr(importlib.import_module(place), attribute)()
    except (ImportError, AttributeError, TypeError) as problem:
        raise BadArgument(
            f"{name!r} does not name a function that can be called without arguments: {problem}"
        ) from problem
    if not isinstance(made, nn.Module):
        raise BadArgument(f"{name!r} gave {type(made).__name__}; expected a torch.nn.Module")
    return made


# --- effective field and picture --------------------------------------------------------------------------------------


def _measured(found: _Found, node: str, *, quiet: bool) -> EffectiveField:
    from vultus.analyze.receptive_field import effective_receptive_field, occlusion_field, receptive_field

    if not isinstance(found.content, bytes):
        if found.size is None:
            raise BadArgument("a module does not say how large its pictures are; pass --size HEIGHT WIDTH")
        return effective_receptive_field(found.content, node, input_size=found.size)
    _, height, width = receptive_field(found.content, found.size).input_size
    image = None
    if found.manifest is not None:  # trained on faces: noise would show it nothing that it knows
        from vultus.runtime import to_input

        image = to_input(aligned_portrait((height, width))[None], found.manifest.input)[0]
    side = max(8, max(height, width) // 28)
    with progress(-(-height // side) * -(-width // side), "covering", quiet=quiet) as advance:
        return occlusion_field(found.content, node, input_size=found.size, image=image, side=side, progress=advance)


def _draw(fields: ReceptiveFields, measured: EffectiveField | None) -> Image.Image:
    from vultus.analyze.receptive_field import draw_fields

    return draw_fields(fields, aligned_portrait(fields.input_size[1:]), effective=measured)


def aligned_portrait(size: tuple[int, int]) -> UInt8Array:
    """(height, width, 3) crop of the portrait of Eileen Collins that scikit-image carries.

    Raises:
        SourceUnavailable: scikit-image is not installed.
    """
    try:
        import skimage.data
    except ModuleNotFoundError as problem:
        raise SourceUnavailable("the portrait to draw on comes with: pip install 'vultus[demo]'") from problem
    from vultus.align import align
    from vultus.detect import Detector
    from vultus.image import read_image

    pixels = read_image(skimage.data.astronaut())
    crop: UInt8Array = align(pixels, Detector()(pixels), size=size)[0]
    return crop
