"""`vultus train`: prepare photos, train, resume, export, and check that a recipe learns."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated

import typer

from vultus.cli import train_networks
from vultus.cli.output import FAILED, OK, Json, console, print_json, progress, table, warn
from vultus.cli.train_prepare import check, prepare
from vultus.errors import ExtraMissing

if TYPE_CHECKING:
    from vultus.train import Result

Recipe = Annotated[Path, typer.Argument(help="A recipe, such as recipes/celeba_small.toml.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", help="Change of the recipe, such as run.seed=3; may be repeated.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    group = typer.Typer(help="Train a model of your own.", no_args_is_help=True)
    group.command("prepare")(prepare)
    group.command("check")(check)
    group.command("run")(run)
    group.command("resume")(resume)
    group.command("export")(export)
    group.command("overfit")(overfit)
    train_networks.register(group)
    app.add_typer(group, name="train")


def run(recipe: Recipe, change: Set = None, json: Json = False) -> int:
    """Train as a recipe says. For several processes: torchrun --nproc_per_node N -m vultus.train RECIPE."""
    train = _train()
    return _show(train.run(train.Config.load(recipe, overrides=change or ())), json=json)


def resume(
    run: Annotated[Path, typer.Argument(help="Folder of a run, or of one of its checkpoints.")],
    change: Set = None,
    json: Json = False,
) -> int:
    """Go on from a checkpoint."""
    return _show(_train().resume(run, overrides=change or ()), json=json)


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a run, or of one of its checkpoints.")],
    out: Annotated[Path, typer.Argument(help="Folder for NAME.onnx and NAME.toml.")],
    which: Annotated[str, typer.Option("--which", help="best or last checkpoint of a run.")] = "best",
    name: Annotated[str | None, typer.Option("--name", help="Name of the model. Default: the recipe's.")] = None,
    normalised: Annotated[
        bool | None, typer.Option("--normalised/--raw", help="Rows of length 1 from the graph. Default: the recipe's.")
    ] = None,
    calibrate: Annotated[
        Path | None,
        typer.Option("--calibrate", help="Folder of people to measure thresholds on; none of them trained on."),
    ] = None,
    fmr: Annotated[list[float] | None, typer.Option("--fmr", help="False match rate; may be repeated.")] = None,
    json: Json = False,
) -> int:
    """Write an ONNX file and its manifest, which --model of every command takes."""
    train = _train()
    from vultus.evaluate.thresholds import FMRS

    total = 0
    if calibrate is not None:
        from vultus.evaluate import read_people

        total = len(read_people(calibrate).files)
    with progress(total, "embedding", quiet=json or not total) as advance:
        made = train.export_model(
            run,
            out,
            which=which,
            name=name,
            normalised=normalised,
            calibrate=calibrate,
            rates=tuple(fmr or FMRS),
            progress=advance,
        )
    if json:
        print_json(
            {
                "manifest": str(made.manifest),
                "weights": str(made.weights),
                "difference": made.difference,
                "statement": made.statement,
            }
        )
    else:
        console.print(f"{made.manifest}: {made.statement}", markup=False)
        console.print(f"torch and the runtime differ by {made.difference:.1e} in an element of a unit feature")
    return OK


def overfit(
    recipe: Recipe,
    identities: Annotated[int, typer.Option("--identities", min=2, help="How many to learn by heart.")] = 8,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Optimiser steps.")] = 100,
    change: Set = None,
    json: Json = False,
) -> int:
    """Learn a few identities by heart: the first thing to try where a run does not learn. Exit code 2 if it fails."""
    from dataclasses import asdict

    train = _train()
    found = train.overfit(train.Config.load(recipe, overrides=change or ()), identities=identities, steps=steps)
    if json:
        print_json(asdict(found))
    else:
        console.print(
            f"{found.photos} photos of {found.identities} identities, {found.steps} steps, {found.seconds:.1f} s: loss "
            f"{found.loss:.4f}, area under the ROC curve {found.before:.4f} before and {found.after:.4f} after"
        )
    if found.after < 0.99:
        warn("the recipe did not learn them: look at the learning rate, the labels and the photos first")
        return FAILED
    return OK


def _show(result: Result, *, json: bool) -> int:
    record = {
        "folder": str(result.folder),
        "steps": result.steps,
        "loss": result.loss if result.loss == result.loss else None,
        "figures": [f.plain() for f in result.figures],
        "best": None if result.best is None else {"merit": result.best[0], "step": result.best[1]},
        "seconds": result.seconds,
        "photos_per_second": result.photos_per_second,
        "stopped": result.stopped,
    }
    if json:
        print_json(record)
        return OK
    console.print(
        f"{result.folder}: step {result.steps}, loss {result.loss:.4f}, {result.photos_per_second:,.0f} photos/s, "
        f"{result.seconds:,.0f} s"
    )
    if result.figures:
        table(
            ["set", "accuracy", "EER", "AUC", "pairs"],
            [
                [
                    f.name,
                    "" if f.accuracy is None else f"{f.accuracy:.2%}",
                    f"{f.eer:.2%}",
                    f"{f.auc:.4f}",
                    f"{f.pairs:,}",
                ]
                for f in result.figures
            ],
        )
    if result.stopped:
        console.print(f"stopped by a signal; go on with: vultus train resume {result.folder}")
    return OK


def _train() -> ModuleType:
    """`vultus.train`, or an error that says what to install."""
    if find_spec("torch") is None:
        raise ExtraMissing("training needs torch: pip install 'vultus[train]'")
    from vultus import train

    return train
