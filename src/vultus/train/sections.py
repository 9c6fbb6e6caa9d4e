"""The sections of a recipe: which keys there are, and which values they take."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Run:
    """How long, where and in which arithmetic.

    Args:
        folder: where logs and checkpoints go.
        epochs: passes over the photos.
        steps: optimiser steps in place of epochs, 0 for all epochs.
        seed: of everything that is drawn: initial weights, order of photos, augmentation, sampling of classes.
        device: "auto" takes an accelerator where there is one, else the CPU.
        precision: of the backbone. Logits and the loss are float32 in all but float64.
        compile: hand the backbone to torch.compile.
        deterministic: use only algorithms that give the same bits each time.
        threads: of torch on the CPU; 0 leaves torch's own choice.
        checkpoint_every: optimiser steps from one checkpoint to the next; 0 makes one at the end of each epoch.
        keep: how many checkpoints stay beside the best one.
        timeout: seconds after which a rank that does not answer counts as failed.
        tensorboard: write TensorBoard events beside the CSV log.
        log_every: optimiser steps from one line of the log to the next.
        progress: show a bar while training, on a terminal.
    """

    folder: str
    epochs: int = 20
    steps: int = 0
    seed: int = 0
    device: str = "auto"
    precision: Literal["float32", "float64", "bf16", "fp16"] = "float32"
    compile: bool = False
    deterministic: bool = True
    threads: int = 0
    checkpoint_every: int = 0
    keep: int = 1
    timeout: float = 600.0
    tensorboard: bool = False
    log_every: int = 10
    progress: bool = True

    def __post_init__(self) -> None:
        _at_least(self, epochs=1, steps=0, seed=0, threads=0, checkpoint_every=0, keep=1, log_every=1)
        _above(self, timeout=0.0)


@dataclass(frozen=True, slots=True)
class Data:
    """Which photos, and in which order.

    Args:
        train: folder of people, of prepared shards, of tar shards, or a RecordIO file.
        batch: photos in one optimiser step, over all ranks and accumulated parts together.
        accumulate: parts that each rank cuts its share of the batch into, one after the other.
        sampler: "shuffled": each photo once an epoch; "balanced": classes evenly; "pk": `photos` photos of each class drawn.
        photos: photos of one class in a batch, for "pk".
        hold_out: share of the classes kept out of training, for evaluation and thresholds.
        classes: train on the first so many classes only; 0 for all.
        workers: processes that read photos; 0 reads in the training process.
        in_memory: keep decoded photos in memory: 37 KB each.
    """

    train: str
    batch: int = 128
    accumulate: int = 1
    sampler: Literal["shuffled", "balanced", "pk"] = "shuffled"
    photos: int = 4
    hold_out: float = 0.0
    classes: int = 0
    workers: int = 0
    in_memory: bool = False

    def __post_init__(self) -> None:
        _at_least(self, batch=1, accumulate=1, photos=2, classes=0, workers=0)
        _within(self, hold_out=(0.0, 0.9))


@dataclass(frozen=True, slots=True)
class Model:
    """The backbone.

    Args:
        backbone: name, as `vultus.train.backbones.build` takes it.
        dim: length of a feature.
        options: further arguments of that backbone.
        centred: subtract the running mean of the features at the end (`vultus.train.nn.CentredCoordinates`).
        batch_norm: "local": each rank and accumulated part has statistics of its own; "sync": ranks share them; "frozen":
            the running statistics are used and stay.
        weights: run or checkpoint whose backbone training starts from; of a run the best one, or the last.
    """

    backbone: str = "iresnet50"
    dim: int = 512
    options: Mapping[str, Any] = field(default_factory=dict)
    centred: bool = False
    batch_norm: Literal["local", "sync", "frozen"] = "local"
    weights: str | None = None

    def __post_init__(self) -> None:
        _at_least(self, dim=2)


@dataclass(frozen=True, slots=True)
class LossTable:
    """The loss.

    Args:
        name: as in docs/losses.md, such as "arcface".
        options: its hyper-parameters, by the names that the loss's class in `vultus.train.nn` has.
    """

    name: str = "arcface"
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Added:
    """A loss on the features of a batch, added to that of the head.

    Args:
        name: such as "triplet", "contrastive" or "center".
        share: its factor.
        options: its hyper-parameters.
    """

    name: str
    share: float = 1.0
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _above(self, share=0.0)


@dataclass(frozen=True, slots=True)
class Head:
    """Class centres: how they are held and updated.

    Args:
        kind: "dense": all logits at once; "chunked": a part of the classes at a time; "sharded": the classes divided among
            the ranks; "none": no class centres, only the added losses.
        options: further arguments of that head, such as chunk, sample_rate or subcenters.
        fused: SGD for the centres inside the backward pass, so that their gradient never exists as a whole.
        lr: factor of the learning rate for the centres.
        weight_decay: for the centres, in place of the optimiser's.
    """

    kind: Literal["dense", "chunked", "sharded", "none"] = "chunked"
    options: Mapping[str, Any] = field(default_factory=dict)
    fused: bool = False
    lr: float = 1.0
    weight_decay: float | None = None

    def __post_init__(self) -> None:
        _above(self, lr=0.0)
        if self.weight_decay is not None:
            _at_least(self, weight_decay=0.0)


@dataclass(frozen=True, slots=True)
class Optimizer:
    """How gradients become steps.

    Args:
        name: "sgd" with momentum, or "adamw".
        lr: the highest learning rate.
        momentum, nesterov: of SGD.
        betas, eps: of AdamW.
        weight_decay: pull towards zero.
        decay_norms: decay biases and the parameters of normalisations too.
        clip: greatest length of the backbone's gradient as a whole; 0 does not clip.
    """

    name: Literal["sgd", "adamw"] = "sgd"
    lr: float = 0.1
    momentum: float = 0.9
    nesterov: bool = False
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 5e-4
    decay_norms: bool = False
    clip: float = 5.0

    def __post_init__(self) -> None:
        _above(self, lr=0.0, eps=0.0)
        _at_least(self, weight_decay=0.0, clip=0.0)
        _within(self, momentum=(0.0, 0.9999))
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas is {self.betas}; expected two numbers in [0, 1)")
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0")


@dataclass(frozen=True, slots=True)
class Schedule:
    """How the learning rate moves, once for each optimiser step.

    Args:
        name: "cosine" half a wave down; "poly" (1 - progress) to the power; "step" times `factor` at each of `at`;
            "constant".
        warmup: epochs in which it rises in a straight line to the highest.
        final: where it ends, as a factor of the highest (cosine and poly).
        power: of poly.
        at: epochs, counted from the start, at which it falls (step).
        factor: by which it falls (step).
    """

    name: Literal["cosine", "poly", "step", "constant"] = "cosine"
    warmup: float = 0.0
    final: float = 0.0
    power: float = 2.0
    at: tuple[float, ...] = ()
    factor: float = 0.1

    def __post_init__(self) -> None:
        _at_least(self, warmup=0.0)
        _within(self, final=(0.0, 1.0), factor=(0.0, 1.0))
        _above(self, power=0.0)
        if self.name == "step" and not self.at:
            raise ValueError('the schedule "step" needs at, the epochs at which the rate falls')
        if list(self.at) != sorted(self.at) or min(self.at, default=1.0) <= 0:
            raise ValueError(f"at is {list(self.at)}; expected epochs above 0 in ascending order")


@dataclass(frozen=True, slots=True)
class Augment:
    """What is done to the photos of a batch.

    Args:
        policy: name, as `vultus.train.data.augment` knows it, or a policy's file (.toml); "none" leaves them.
        options: of that policy.
    """

    policy: str = "mirror"
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Average:
    """An average of the backbone's weights over steps, which is then evaluated and exported.

    Args:
        decay: share of the average that stays in each step; 0 keeps no average.
        warmup: use min(decay, (1 + step) / (10 + step)), so that the first steps are forgotten soon.
    """

    decay: float = 0.0
    warmup: bool = True

    def __post_init__(self) -> None:
        _within(self, decay=(0.0, 0.99999))


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """Pairs to verify while training.

    Args:
        kind: "held-out": pairs of the classes that `data.hold_out` keeps; "lfw": LFW's folder; "csv", "list": files of pairs
            of photos; "bin": a .bin set of aligned crops.
        name: in logs; the kind unless told otherwise.
        path: of the folder or file; "held-out" needs none.
        photos: folder of the photos of a "list".
    """

    kind: Literal["held-out", "lfw", "csv", "list", "bin"]
    name: str = ""
    path: str | None = None
    photos: str | None = None

    def __post_init__(self) -> None:
        if (self.path is None) != (self.kind == "held-out"):
            raise ValueError(
                f"an evaluation set of the kind {self.kind!r} needs {'a path' if self.path is None else 'no path'}"
            )

    @property
    def label(self) -> str:
        """The name in logs."""
        return self.name or self.kind


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Evaluation while training.

    Args:
        every: epochs from one evaluation to the next; the last one is always evaluated.
        best: the set whose figure decides which checkpoint is best; the first unless told otherwise.
        mirror: sum each feature with that of the mirrored crop.
        batch: crops at once.
        cache: folder of aligned crops; the user's cache folder unless told otherwise.
        sets: what to verify.
    """

    every: int = 1
    best: str = ""
    mirror: bool = False
    batch: int = 64
    cache: str | None = None
    sets: tuple[EvaluationSet, ...] = ()

    def __post_init__(self) -> None:
        _at_least(self, every=1, batch=1)
        labels = [s.label for s in self.sets]
        if len(set(labels)) != len(labels):
            raise ValueError(f"two evaluation sets have one name in {labels}; give them names")
        if self.best and self.best not in labels:
            raise ValueError(f"best is {self.best!r}; expected one of the sets {labels}")


@dataclass(frozen=True, slots=True)
class Export:
    """What the manifest of the exported model says.

    Args:
        name: of the model and its files: lower-case letters, digits, ".", "_" and "-".
        normalised: let the graph itself give rows of length 1.
        licence: terms of the weights.
        commercial: False where the terms of the training photos forbid commercial use.
        training_data: what the model was trained on; the data's name and size unless told otherwise.
    """

    name: str = "model"
    normalised: bool = True
    licence: str = "yours: trained by you"
    commercial: bool = True
    training_data: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", self.name):
            raise ValueError(f"name {self.name!r} must be lower-case letters, digits, '.', '_' or '-'")


def _at_least(record: object, **least: float) -> None:
    for name, limit in least.items():
        value = getattr(record, name)
        if not math.isfinite(value) or value < limit:
            raise ValueError(f"{name} is {value}; expected at least {limit:g}")


def _above(record: object, **limits: float) -> None:
    for name, limit in limits.items():
        value = getattr(record, name)
        if not math.isfinite(value) or value <= limit:
            raise ValueError(f"{name} is {value}; expected more than {limit:g}")


def _within(record: object, **ranges: tuple[float, float]) -> None:
    for name, (low, high) in ranges.items():
        value = getattr(record, name)
        if not low <= value <= high:
            raise ValueError(f"{name} is {value}; expected {low:g} to {high:g}")
