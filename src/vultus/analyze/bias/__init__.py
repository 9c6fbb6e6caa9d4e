"""Biases that do nothing: a BatchNorm takes off whatever constant a bias adds before it."""

from vultus.analyze.bias.audit import Audit, Bias, audit_biases, remove_cancelled_biases
from vultus.analyze.bias.fold import fold_batch_norm
from vultus.analyze.bias.from_onnx import remove_cancelled_biases_of_graph

__all__ = [
    "Audit",
    "Bias",
    "audit_biases",
    "fold_batch_norm",
    "remove_cancelled_biases",
    "remove_cancelled_biases_of_graph",
]
