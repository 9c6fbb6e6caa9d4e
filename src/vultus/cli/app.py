"""The commands, put together."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from vultus.cli import (
    analyze,
    augment,
    calibrate,
    cluster,
    conformance,
    demo,
    evaluate,
    gallery,
    models,
    photos,
    restore,
    serve,
    system,
    train,
)
from vultus.cli.output import FAILED, print_json, warn
from vultus.errors import VultusError

app = typer.Typer(
    name="vultus",
    help="Face recognition: detect, verify, identify, measure.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _module in (
    photos,
    gallery,
    cluster,
    evaluate,
    calibrate,
    conformance,
    models,
    demo,
    serve,
    system,
    train,
    analyze,
    augment,
    restore,
):
    _module.register(app)


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", "-V", help="Print the version and exit.", is_eager=True)
    ] = False,
) -> None:
    if version:
        from vultus import __version__

        typer.echo(f"vultus {__version__}")
        raise typer.Exit


def run(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit code: 0 done or match, 1 no match, 2 error."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        result = app(arguments, standalone_mode=False)
    except typer.Exit as leave:
        return leave.exit_code
    except (typer.Abort, KeyboardInterrupt):
        warn("interrupted")
        return 130
    except VultusError as problem:
        if "--json" in arguments:
            print_json({"error": {"code": problem.code, "message": str(problem)}})
        else:
            warn(f"vultus: {problem.code}: {problem}")
        return FAILED
    except BrokenPipeError:
        return 0
    except Exception as problem:
        show = getattr(problem, "show", None)  # a usage error, of whichever click this typer carries
        if show is None:
            raise
        show()
        return FAILED
    return result if isinstance(result, int) else 0
