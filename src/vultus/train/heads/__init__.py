"""Heads: class centres with a loss over them, `head(features, labels) -> loss`, for up to millions of classes.

`Dense` is the definition, by plain autograd. `Chunked` computes the same without ever holding all logits, and `Sharded` divides
the class centres among ranks. `label_noise` tells which samples a head with sub-centers holds for mislabelled.
"""

from __future__ import annotations

from vultus.train.heads.base import Head
from vultus.train.heads.chunked import Chunked
from vultus.train.heads.dense import Dense
from vultus.train.heads.noise import LabelNoise, label_noise
from vultus.train.heads.optimizer import SGD
from vultus.train.heads.sharded import Sharded

__all__ = ["SGD", "Chunked", "Dense", "Head", "LabelNoise", "Sharded", "label_noise"]
