"""Small runs that tests and the ranks of tests share. As a program it is one of three ranks: RANK FOLDER PORT PORT ..."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vultus import train
from vultus.errors import VultusError
from vultus.train import data, distributed, parts, photos, state
from vultus.train.backbones import names

PHOTOS = data.DrawnFaces(6, 10)
STEPS = 8


class Tiny(nn.Module):
    """A network of one look, with all that a checkpoint must hold: normalisation, dropout, slopes."""

    def __init__(self, dim: int, *, dropout: float = 0.0, poison: int = -1) -> None:
        super().__init__()
        self.look = nn.Conv2d(3, 6, 16, stride=16, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.slope = nn.PReLU(6)
        self.dropout = nn.Dropout(dropout)
        self.feature = nn.Linear(6 * 49, dim)
        self.poison = poison
        self.calls = 0

    def forward(self, images: Tensor) -> Tensor:
        """(n, 3, 112, 112) to (n, dim)."""
        found = self.slope(self.norm(self.look(images)))
        self.calls += self.training
        if (
            self.training
            and self.calls == self.poison
            and os.environ.get("RANK", "0") in ("1", os.environ.get("ALONE"))
        ):
            found = found * torch.inf
        out: Tensor = self.feature(torch.flatten(self.dropout(found), 1))
        return out


names.BACKBONES["tiny"] = Tiny


def config(folder: Path, *overrides: str, **sections: Any) -> train.Config:
    """A run of eight steps on 48 of 60 drawn faces, in float64, with everything that has a state."""
    table: dict[str, Any] = {
        "run": {
            "folder": str(folder),
            "steps": STEPS,
            "precision": "float64",
            "checkpoint_every": 2,
            "keep": 100,
            "timeout": 60,
            "log_every": 1,
            "device": "cpu",
        },
        "data": {"train": "generated:6x10", "batch": 12, "hold_out": 0.34},
        "model": {"backbone": "tiny", "dim": 8, "batch_norm": "frozen"},
        "loss": {"name": "arcface", "options": {"margin": 0.2, "scale": 8.0}},
        "head": {"kind": "sharded"},
        "optimizer": {"lr": 0.02, "clip": 0.5},
        "schedule": {"name": "cosine", "warmup": 0.5},
        "augment": {"policy": "light"},
        "average": {"decay": 0.9},
    }
    return train.Config.of({**table, **sections}, overrides=overrides)


def alone() -> None:
    """One process, whatever the launcher said before."""
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        os.environ.pop(name, None)


def among(rank: int, size: int, port: int) -> None:
    """One of several processes, as torchrun would say."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_RANK": str(rank)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}


def reloaded(source: train.Checkpoint) -> dict[str, Tensor]:
    """What a head and its optimiser hold by class, after one process has taken a checkpoint over."""
    recipe = train.Config.of(source.record["recipe"])
    training, _ = photos.split(PHOTOS, recipe.data, seed=recipe.run.seed)
    order = photos.order_of(training, recipe.data, seed=recipe.run.seed, rank=0, size=1)
    made = parts.build(recipe, classes=len(training.classes), world=distributed.World())
    state.restore(made, order, source)
    return dict(state.content_of(made, order, {}).rows)


def main(rank: int, folder: Path, ports: list[int]) -> None:
    """All scenarios, in each of which some of the three ranks take part."""
    said: dict[str, str] = {}

    def together(name: str, size: int, act: Callable[[Path], object]) -> None:
        port = ports.pop(0)
        if rank >= size:
            return
        among(rank, size, port)
        try:
            act(folder / name)
            said[name] = "done"
        except VultusError as problem:
            said[name] = f"{problem.code}: {problem}"

    def resumed(source: str, step: int) -> Callable[[Path], object]:
        path = folder / source / "checkpoints" / f"step-{step:08d}"

        def act(target: Path) -> object:
            while not path.exists():  # a rank that took no part in the source is here before it is written
                time.sleep(0.05)
            return train.resume(path, overrides=[f"run.folder={target}"])

        return act

    together("plain-2", 2, lambda at: train.run(config(at)))
    together("plain-3", 3, lambda at: train.run(config(at)))
    together("chunked-2", 2, lambda at: train.run(config(at, "head.kind=chunked", *ADAFACE)))
    together("sync-2", 2, lambda at: train.run(config(at, "model.batch_norm=sync")))
    together("fused-2", 2, lambda at: train.run(config(at, *FUSED)))
    together("added-2", 2, lambda at: train.run(config(at, head={"kind": "none"}, added=[{"name": "triplet"}])))
    together("noisy-3", 3, lambda at: train.run(config(at, *NOISY)))
    together("noisy-3-resumed", 3, resumed("noisy-3", 4))
    together("on-1", 1, lambda at: train.run(config(at, *SAMPLED)))
    together("on-2", 2, resumed("on-1", 2))
    together("on-3", 3, resumed("on-2", 4))
    together("differs", 2, lambda at: train.run(config(at, f"optimizer.lr=0.{1 + rank}")))
    together("poisoned", 2, lambda at: train.run(config(at, "model.options.poison=4")))
    together("odd", 2, lambda at: train.run(config(at, "data.batch=9")))
    alone()
    (folder / f"said-{rank}.json").write_text(json.dumps(said), encoding="utf-8")


ADAFACE = ("loss.name=adaface", "loss.options={}")
FUSED = ("head.fused=true", "average.decay=0.0")
SAMPLED = ("head.fused=true", "head.options.sample_rate=0.7")
NOISY = (
    "run.precision=float32",
    "model.options.dropout=0.3",
    "model.batch_norm=local",
    *ADAFACE,
    "optimizer.name=adamw",
    "optimizer.lr=0.01",
)

if __name__ == "__main__":
    torch.set_num_threads(1)
    main(int(sys.argv[1]), Path(sys.argv[2]), [int(p) for p in sys.argv[3:]])
