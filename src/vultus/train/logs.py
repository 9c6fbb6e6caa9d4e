"""What a run tells while it goes: CSV files, TensorBoard, and a bar with loss and throughput."""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from vultus.errors import ExtraMissing

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

STEPS = ("step", "epoch", "loss", "rate", "gradient", "scale", "photos_per_second", "seconds")
EVALUATIONS = ("step", "set", "accuracy", "eer", "auc", "pairs", "failures")


class CsvLog:
    """A CSV file that grows by a line at a time and is cut back to the step that a run resumes from.

    Args:
        path: of the file.
        columns: the first of them is "step".
        resume: the step up to which lines are kept; None starts a new file.
    """

    def __init__(self, path: Path, columns: tuple[str, ...], *, resume: int | None = None) -> None:
        kept: list[list[str]] = []
        if resume is not None and path.is_file():
            with path.open(newline="", encoding="utf-8") as old:
                rows = list(csv.reader(old))
            kept = [r for r in rows[1:] if len(r) == len(columns) and r[0].isdecimal() and int(r[0]) <= resume]
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: TextIO = path.open("w", newline="", encoding="utf-8")
        self._writer = csv.writer(self._file)
        self._columns = columns
        self._writer.writerow(columns)
        self._writer.writerows(kept)
        self._file.flush()

    def write(self, record: Mapping[str, object]) -> None:
        """Append a line; a missing column stays empty."""
        self._writer.writerow([_text(record.get(c)) for c in self._columns])
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _text(value: object) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


class Journal:
    """All logs of a run, on rank 0; the other ranks keep none.

    Args:
        folder: of the run; None keeps no files and shows nothing.
        steps: of the whole run.
        resume: the step that the run resumes from, or None.
        tensorboard: write its events too.
        bar: show a bar where the error stream is a terminal.

    Raises:
        ExtraMissing: TensorBoard is asked for and not installed.
    """

    def __init__(
        self, folder: Path | None, *, steps: int, resume: int | None = None, tensorboard: bool = False, bar: bool = True
    ) -> None:
        self._steps = self._evaluations = None
        self._board: SummaryWriter | None = None
        self._bar: Any = None
        if folder is None:
            return
        if tensorboard:
            self._board = _board(folder / "tensorboard", purge=resume)
        self._steps = CsvLog(folder / "steps.csv", STEPS, resume=resume)
        self._evaluations = CsvLog(folder / "evaluations.csv", EVALUATIONS, resume=resume)
        if bar and sys.stderr.isatty():
            self._bar = _bar(steps, resume or 0)

    def __enter__(self) -> Journal:
        if self._bar is not None:
            self._bar[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        del kind, problem, trace
        if self._bar is not None:
            self._bar[0].stop()
        for log in (self._steps, self._evaluations):
            if log is not None:
                log.close()
        if self._board is not None:
            self._board.close()

    def step(self, record: Mapping[str, object]) -> None:
        """What happened up to a step; see `STEPS`."""
        if self._steps is not None:
            self._steps.write(record)
        if self._board is not None:
            for name in ("loss", "rate", "gradient", "photos_per_second"):
                if record.get(name) is not None:
                    self._board.add_scalar(f"train/{name}", record[name], record["step"])

    def moved(self, *, step: int, loss: float, speed: float) -> None:
        """Move the bar."""
        if self._bar is not None:
            bar, task = self._bar
            bar.update(task, completed=step, loss=f"loss {loss:.4f}", speed=f"{speed:,.0f} photos/s")

    def evaluation(self, record: Mapping[str, object]) -> None:
        """The figures of an evaluation set; see `EVALUATIONS`."""
        if self._evaluations is not None:
            self._evaluations.write(record)
        if self._board is not None:
            for name in ("accuracy", "eer", "auc"):
                if record.get(name) is not None:
                    self._board.add_scalar(f"{record['set']}/{name}", record[name], record["step"])
        if self._bar is not None:
            figure = record.get("accuracy")
            shown = "" if figure is None else f"accuracy {figure:.2%}, "
            self._bar[0].console.print(f"step {record['step']}: {record['set']}: {shown}EER {record['eer']:.2%}")


def _board(folder: Path, *, purge: int | None) -> SummaryWriter:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as problem:
        raise ExtraMissing("run.tensorboard needs the package tensorboard: pip install tensorboard") from problem
    return SummaryWriter(str(folder), purge_step=None if purge is None else purge + 1)


def _bar(steps: int, done: int) -> tuple[Any, Any]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[loss]}"),
        TextColumn("{task.fields[speed]}"),
    )
    bar = Progress(*columns, console=Console(stderr=True, highlight=False))
    return bar, bar.add_task("", total=steps, completed=done, loss="", speed="")
