"""`vultus train detector` and `vultus train restorer`: train, resume and export what is no recogniser."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vultus.cli.output import OK, Json, console, print_json
from vultus.errors import ExtraMissing

if TYPE_CHECKING:
    from vultus.train import Fitted, Written

Recipe = Annotated[Path, typer.Argument(help="A recipe.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", help="Change of the recipe, such as run.seed=3; may be repeated.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint, where there is one.")]
Run = Annotated[Path, typer.Argument(help="Folder of a run, or of one of its checkpoints.")]
Out = Annotated[Path, typer.Argument(help="Folder for NAME.onnx and NAME.toml.")]
Name = Annotated[str | None, typer.Option("--name", help="Name of the model. Default: the recipe's.")]


def register(group: typer.Typer) -> None:
    """Add both groups of commands to those of training."""
    detector = typer.Typer(help="Train a face detector.", no_args_is_help=True)
    detector.command("run")(run_detector)
    detector.command("export")(export_detector)
    group.add_typer(detector, name="detector")
    restorer = typer.Typer(help="Train a restorer of aligned faces.", no_args_is_help=True)
    restorer.command("run")(run_restorer)
    restorer.command("export")(export_restorer)
    group.add_typer(restorer, name="restorer")


def run_detector(recipe: Recipe, change: Set = None, resume: Resume = False, json: Json = False) -> int:
    """Train as a recipe says, such as recipes/detector_small.toml."""
    _need_torch()
    from vultus.train import detector

    return _fitted(detector.run(detector.Config.load(recipe, overrides=change or ()), resume=resume), json=json)


def export_detector(
    run: Run,
    out: Out,
    name: Name = None,
    score: Annotated[float, typer.Option("--score", help="Drop faces below this score by default.")] = 0.3,
    json: Json = False,
) -> int:
    """Write an ONNX file and its manifest, which --detector of every command takes."""
    _need_torch()
    from vultus.train import detector

    return _written(detector.export_model(run, out, name=name, score=score), json=json)


def run_restorer(recipe: Recipe, change: Set = None, resume: Resume = False, json: Json = False) -> int:
    """Train as a recipe says, such as recipes/restore_small.toml."""
    _need_torch()
    from vultus.train import restoration

    return _fitted(restoration.run(restoration.Config.load(recipe, overrides=change or ()), resume=resume), json=json)


def export_restorer(run: Run, out: Out, name: Name = None, json: Json = False) -> int:
    """Write an ONNX file and its manifest, which `vultus.restore.Restorer` takes."""
    _need_torch()
    from vultus.train import restoration

    return _written(restoration.export_model(run, out, name=name), json=json)


def _fitted(result: Fitted, *, json: bool) -> int:
    if json:
        print_json(
            {
                "folder": str(result.folder),
                "steps": result.steps,
                "losses": dict(result.losses),
                "seconds": result.seconds,
                "stopped": result.stopped,
            }
        )
        return OK
    losses = ", ".join(f"{name} {value:.4f}" for name, value in result.losses.items())
    console.print(f"{result.folder}: step {result.steps}, {losses}, {result.seconds:,.0f} s", markup=False)
    if result.stopped:
        console.print("stopped by a signal; go on with --resume")
    return OK


def _written(made: Written, *, json: bool) -> int:
    if json:
        print_json({"manifest": str(made.manifest), "weights": str(made.weights), "difference": made.difference})
    else:
        console.print(f"{made.manifest}: torch and the runtime differ by {made.difference:.1e} of the largest value")
    return OK


def _need_torch() -> None:
    if find_spec("torch") is None:
        raise ExtraMissing("training needs torch: pip install 'vultus[train]'")
