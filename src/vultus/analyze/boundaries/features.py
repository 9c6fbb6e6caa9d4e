"""Features of two or three numbers, trained under a loss, so that they can be looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vultus._export import export
from vultus.analyze.boundaries.samples import Samples
from vultus.errors import BadArgument, NotFinite
from vultus.train.heads import Dense
from vultus.train.loss import Loss
from vultus.train.nn import BatchLoss
from vultus.types import BoolArray, Float64Array, FloatArray, IntArray

_BATCH = 128
_SMALL = 16


@export("vultus.analyze.boundaries.TrainedFeatures")
@dataclass(frozen=True, slots=True, eq=False)
class TrainedFeatures:
    """Features of all samples after training, and the class centres.

    Args:
        features: (n, d) float32.
        labels: (n,) class of each.
        held_out: (n,), True for samples that were not trained on.
        names: (C,) of the classes.
        centres: (C, d) float32, as the head holds them.
        biases: (C,) float32, zeros where the loss has none.
        loss: the loss, in the state in which training left it.
        history: (epochs,) mean loss.
    """

    features: FloatArray
    labels: IntArray
    held_out: BoolArray
    names: tuple[str, ...]
    centres: FloatArray
    biases: FloatArray
    loss: Loss
    history: Float64Array

    @property
    def predicted(self) -> IntArray:
        """(n,) class of the largest logit, without any margin."""
        centres = self.centres
        if self.loss.unit_weights:
            centres = centres / np.linalg.norm(centres, axis=1, keepdims=True)
        products = self.features @ centres.T
        if self.loss.bias:
            products = products + self.biases
        found: IntArray = products.argmax(axis=1)
        return found

    @property
    def accuracy(self) -> float:
        """Share of the held-out samples whose class is found."""
        return float((self.predicted == self.labels)[self.held_out].mean())

    @property
    def directions(self) -> FloatArray:
        """(C, d) unit vectors: the mean direction of each class's held-out samples."""
        unit = self.features / np.linalg.norm(self.features, axis=1, keepdims=True)
        sums = np.stack(
            [unit[self.held_out & (self.labels == c)].sum(axis=0, dtype=np.float64) for c in range(len(self.names))]
        )
        found: FloatArray = (sums / np.linalg.norm(sums, axis=1, keepdims=True)).astype(np.float32)
        return found

    @property
    def spread(self) -> float:
        """Median angle, radians, between a held-out sample and the mean direction of its class."""
        unit = self.features / np.linalg.norm(self.features, axis=1, keepdims=True)
        cosines = (unit * self.directions[self.labels]).sum(axis=1)[self.held_out]
        return float(np.median(np.arccos(np.clip(cosines, -1, 1))))

    @property
    def separation(self) -> float:
        """Median over classes of the angle, radians, between the mean directions of a class and of the nearest other."""
        cosines = self.directions.astype(np.float64) @ self.directions.T
        np.fill_diagonal(cosines, -1)
        return float(np.median(np.arccos(np.clip(cosines.max(axis=1), -1, 1))))

    @property
    def length_variation(self) -> float:
        """Standard deviation of the held-out features' lengths, divided by their mean."""
        lengths = np.linalg.norm(self.features[self.held_out], axis=1)
        return float(lengths.std() / lengths.mean())

    def to_dict(self) -> dict[str, Any]:
        """The figures, without the features, as JSON takes them; angles in degrees."""
        return {
            "loss": type(self.loss).__name__,
            "classes": len(self.names),
            "trained_on": int((~self.held_out).sum()),
            "held_out": int(self.held_out.sum()),
            "accuracy": self.accuracy,
            "spread": float(np.degrees(self.spread)),
            "separation": float(np.degrees(self.separation)),
            "length_variation": self.length_variation,
            "first_loss": float(self.history[0]),
            "last_loss": float(self.history[-1]),
        }


@export("vultus.analyze.boundaries.train_features")
def train_features(
    samples: Samples,
    loss: Loss,
    *,
    beside: BatchLoss | None = None,
    dim: int = 2,
    epochs: int = 30,
    rate: float = 1e-2,
    seed: int = 0,
) -> TrainedFeatures:
    """A small convolutional network with `dim` outputs, trained under a loss by AdamW.

    The same arguments give the same features on one machine with one number of threads.

    Args:
        samples: what to train on, and what to hold out.
        loss: of `vultus.train.nn`; its state moves as in any training.
        beside: a loss on the batch that is added, such as `vultus.train.nn.Center`.
        dim: numbers in a feature.
        epochs: passes over the samples.
        rate: the highest learning rate; it rises over the first tenth and falls to 0 along a cosine.
        seed: of the first weights and of the order.

    Raises:
        BadArgument: no epoch or no dimension.
        NotFinite: the loss became NaN or infinite.
    """
    if dim < 1 or epochs < 1:
        raise BadArgument(f"dim is {dim} and epochs {epochs}; expected at least 1 of each")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _network(samples.inputs.shape[1:], dim)
        order = torch.Generator().manual_seed(seed)
    head = Dense(dim, len(samples.names), loss, seed=seed, deviation=1.0)
    losses = [loss] if beside is None else [loss, beside]
    trained = [*network.parameters(), *head.parameters()]
    if beside is not None:
        trained += list(beside.parameters())
    kept = torch.from_numpy(np.flatnonzero(~samples.held_out))
    inputs, labels = torch.from_numpy(samples.inputs), torch.from_numpy(samples.labels)
    steps = epochs * -(-len(kept) // _BATCH)
    optimiser = torch.optim.AdamW(trained, lr=rate, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps, pct_start=0.1)
    network.train()
    for part in losses:
        part.train()
    history: list[float] = []
    for _ in range(epochs):
        total = 0.0
        for at in torch.split(kept[torch.randperm(len(kept), generator=order)], _BATCH):
            features, own = network(inputs[at]), labels[at]
            value: Tensor = head(features, own)
            if beside is not None:
                value = value + beside(features, own)
            if not bool(torch.isfinite(value)):
                raise NotFinite(
                    f"the loss became {value.item()} in epoch {len(history)}; try a lower rate than {rate:g}"
                )
            optimiser.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            total += value.item() * len(at)
        history.append(total / len(kept))
    network.eval()
    for part in losses:
        part.eval()
    with torch.no_grad():
        found = torch.cat([network(x) for x in torch.split(inputs, 512)])
    biases = torch.zeros(len(samples.names)) if head.bias is None else head.bias.detach()
    return TrainedFeatures(
        features=found.numpy(),
        labels=samples.labels,
        held_out=samples.held_out,
        names=samples.names,
        centres=head.weight.detach().numpy(),
        biases=biases.numpy(),
        loss=loss,
        history=np.array(history),
    )


def _network(shape: tuple[int, ...], dim: int) -> nn.Module:
    """Three convolutions, of which two halve the side, or all three a side above 16; and a linear layer."""
    channels, height, width = shape
    layers: list[nn.Module] = []
    for outputs, stride in ((16, 2 if max(height, width) > _SMALL else 1), (32, 2), (64, 2)):
        layers += [nn.Conv2d(channels, outputs, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(outputs)]
        layers.append(nn.PReLU(outputs))
        channels, height, width = outputs, -(-height // stride), -(-width // stride)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * height * width, dim))
