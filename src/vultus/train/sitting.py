"""A run from its start, or from a checkpoint, to its end or to a signal: epochs of steps, evaluation, logs, checkpoints."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from vultus.train import photos
from vultus.train.checkpoint import discard_old, save
from vultus.train.config import Config
from vultus.train.data import Augmented
from vultus.train.data.samplers import Order
from vultus.train.distributed import World
from vultus.train.logs import Journal
from vultus.train.parts import Parts
from vultus.train.schedule import rate_factor
from vultus.train.state import content_of
from vultus.train.step import Taken, take_step
from vultus.train.stop import Stop
from vultus.train.validation import Figures, PairSet, measure


@dataclass(slots=True, eq=False)
class Meter:
    """Mean loss, and time spent training, since the last line of the log."""

    losses: list[float] = field(default_factory=list)
    photos: int = 0
    began: float = field(default_factory=time.perf_counter)

    def add(self, loss: float, count: int) -> None:
        """Count one step."""
        self.losses.append(loss)
        self.photos += count

    @property
    def loss(self) -> float:
        """The mean."""
        return sum(self.losses) / len(self.losses)

    def seconds(self) -> float:
        """Since the meter began."""
        return time.perf_counter() - self.began


@dataclass(slots=True, eq=False)
class Sitting:
    """One process's part of a run, and how far it has come.

    Args:
        config: the recipe.
        world: the ranks.
        parts: backbone, head and what moves them.
        dataset: photos to train on, changed anew in every epoch.
        reading: gives the rest of an epoch's batches for this rank.
        order: their batches for this rank.
        sets: what is evaluated.
        done: optimiser steps done.
        best: highest merit of an evaluation so far, and its step.
        figures: of the last evaluation.
        loss: mean over the steps of the last line of the log.
    """

    config: Config
    world: World
    parts: Parts
    dataset: Augmented
    reading: Iterable[tuple[Tensor, Tensor, Tensor]]
    order: Order
    sets: tuple[PairSet, ...] = ()
    done: int = 0
    best: tuple[float, int] | None = None
    figures: tuple[Figures, ...] = ()
    loss: float = float("nan")
    _photos: int = 0
    _seconds: float = 0.0

    @property
    def steps(self) -> int:
        """Of the whole run."""
        return self.config.run.steps or self.config.run.epochs * len(self.order)

    @property
    def speed(self) -> float:
        """Photos trained on a second over all ranks; evaluation and checkpoints are not counted."""
        return self._photos / self._seconds if self._seconds else 0.0

    def train(self, stop: Stop) -> float:
        """All that remains, with a checkpoint at the end; gives the seconds that it took."""
        began, run = time.perf_counter(), self.config.run
        journal = Journal(
            Path(run.folder) if self.world.first else None,
            steps=self.steps,
            resume=self.done or None,
            tensorboard=run.tensorboard,
            bar=run.progress,
        )
        halted = False
        with journal:
            if self.done >= self.steps:
                with self.world.watched("evaluating"):
                    self._evaluate(journal)
            while self.done < self.steps and not halted:
                self.order.set_epoch(self.done // len(self.order))
                with self.world.watched(f"training in epoch {self.order.epoch + 1}"):
                    halted = self._epoch(stop, journal)
        return time.perf_counter() - began

    def _epoch(self, stop: Stop, journal: Journal) -> bool:
        """The rest of one epoch with its evaluation and checkpoint; True where the run was asked to stop."""
        meter, halted, every = Meter(), False, self.config.run.checkpoint_every
        self.dataset.set_epoch(self.order.epoch)
        for images, labels, _ in self.reading:
            taken, rate = self._step(images, labels, stop)
            meter.add(taken.loss, len(images) * self.world.size)
            ends = self.done >= self.steps or self.done % len(self.order) == 0
            halted = taken.stop and not ends
            if self.done % self.config.run.log_every == 0 or ends or halted:
                meter = self._log(journal, meter, taken, rate)
            if ends or halted:
                break
            if every and self.done % every == 0:
                self._save(("last",))
                meter.began = time.perf_counter()
        if halted:
            self._save(("last",))
            return True
        epoch, final = self.order.epoch + 1, self.done >= self.steps
        improved = (final or epoch % self.config.evaluation.every == 0) and self._evaluate(journal)
        if final or improved or not every or self.done % every == 0:
            self._save(("last", "best") if improved else ("last",))
        return False

    def _step(self, images: Tensor, labels: Tensor, stop: Stop) -> tuple[Taken, float]:
        each = len(self.order)
        factor = rate_factor(self.config.schedule, self.done, steps=self.steps, steps_per_epoch=each)
        rate = self.config.optimizer.lr * factor
        taken = take_step(self.parts, images, labels, step=self.done, rate=rate, stop=stop.asked)
        self.done += 1
        self.order.advance()
        return taken, rate

    def _log(self, journal: Journal, meter: Meter, taken: Taken, rate: float) -> Meter:
        seconds = meter.seconds()
        self._photos += meter.photos
        self._seconds += seconds
        self.loss = meter.loss
        speed = meter.photos / seconds if seconds else 0.0
        journal.step(
            {
                "step": self.done,
                "epoch": self.order.epoch + 1,
                "loss": self.loss,
                "rate": rate,
                "gradient": taken.gradient,
                "scale": self.parts.scaler.scale if self.parts.scaler.enabled else None,
                "photos_per_second": speed,
                "seconds": self._seconds,
            }
        )
        journal.moved(step=self.done, loss=self.loss, speed=speed)
        return Meter()

    def _evaluate(self, journal: Journal) -> bool:
        """Measure every set; True where the one that decides is better than ever."""
        section, parts = self.config.evaluation, self.parts
        figures = []
        with parts.average.applied(parts.backbone) if parts.average is not None else nullcontext():
            self.world.spread(parts.backbone.buffers())
            for pairs in self.sets:
                found, _ = measure(parts.backbone, pairs, world=self.world, batch=section.batch, mirror=section.mirror)
                figures.append(found)
                journal.evaluation({"step": self.done, "set": found.name, **found.plain()})
        self.figures = tuple(figures)
        if not figures:
            return False
        merit = next(f.merit for f in figures if not section.best or f.name == section.best)
        if self.best is not None and merit <= self.best[0]:
            return False
        self.best = (merit, self.done)
        return True

    def _save(self, marks: tuple[str, ...]) -> None:
        folder = Path(self.config.run.folder)
        facts = {
            "epoch": self.order.epoch,
            "photos": photos.digest(self.dataset),
            "best": None if self.best is None else list(self.best),
            "figures": [f.plain() for f in self.figures],
        }
        save(folder, self.done, content_of(self.parts, self.order, facts), self.world, marks=marks)
        if self.world.first:
            discard_old(folder, keep=self.config.run.keep)
