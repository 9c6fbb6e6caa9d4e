"""What every command shares: JSON or a table, progress on the error stream, errors with their code, exit codes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from vultus.recognizer import Recognizer

OK, NO, FAILED = 0, 1, 2

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Model = Annotated[
    str | None, typer.Option("--model", help="Name or manifest path of an embedder. Default: the built-in one.")
]
DetectorName = Annotated[str | None, typer.Option("--detector", help="Name or manifest path of a detector.")]
Mirror = Annotated[bool, typer.Option("--mirror", help="Use the mirrored photo too: more exact, twice the time.")]
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="Cores to use. Default: all that are granted.")]
Provider = Annotated[
    list[str] | None, typer.Option("--provider", help="Execution provider, such as cuda or openvino; may be repeated.")
]
AcceptLicence = Annotated[bool, typer.Option("--accept-licence", help="Accept a licence that forbids commercial use.")]

console = Console(highlight=False, soft_wrap=True)
_errors = Console(stderr=True, highlight=False, soft_wrap=True)


def print_json(record: Mapping[str, Any] | list[Any]) -> None:
    """One JSON document; what is not finite has become null before."""
    sys.stdout.write(json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def warn(message: str) -> None:
    """A line on the error stream."""
    _errors.print(message, markup=False)


def table(columns: list[str], rows: list[list[str]], *, title: str | None = None) -> None:
    """A table, its first column to the left and the others to the right."""
    grid = Table(title=title, title_justify="left")
    for i, column in enumerate(columns):
        grid.add_column(column, justify="left" if i == 0 else "right")
    for row in rows:
        grid.add_row(*row)
    console.print(grid)


@contextmanager
def progress(total: int, label: str, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """A bar on the error stream while long work runs; gives the function that moves it on."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=_errors, transient=True, disable=quiet or not _errors.is_terminal) as bar:
        task = bar.add_task(label, total=total)
        yield lambda n: bar.advance(task, n)


def load_recognizer(
    model: str | None,
    *,
    detector: str | None = None,
    mirror: bool = False,
    threads: int | None = None,
    providers: list[str] | None = None,
    accept_licence: bool = False,
) -> Recognizer:
    """The recognizer that the shared options describe."""
    from vultus.recognizer import Recognizer

    return Recognizer.load(
        model, detector=detector, mirror=mirror, threads=threads, providers=providers, accept_licence=accept_licence
    )
