"""From a network to the receptive fields of its nodes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vultus._export import export
from vultus.analyze.receptive_field.fields import ReceptiveFields
from vultus.errors import BadArgument, SourceUnavailable

if TYPE_CHECKING:
    from torch import nn


@export("vultus.analyze.receptive_field.receptive_field")
def receptive_field(
    module_or_path: nn.Module | str | os.PathLike[str] | bytes, input_size: tuple[int, int, int] | None = None
) -> ReceptiveFields:
    """The receptive field of every node of a network, in the order in which the nodes run.

    Size, jump and start are those of the formulas for an endless picture, taken through kernels, strides, dilation, padding
    on any side, poolings, transposed convolutions, resizing, crops, branches and concatenations (the union of the branches).
    Where no formula holds they are those of the pixels that the units of this picture really see: all of it behind global
    pooling, a linear layer or attention.

    A unit counts as seeing a pixel where the operators connect them, whatever the weights are.

    Args:
        module_or_path: a torch module, or an ONNX file as path or bytes. A module runs as in evaluation, on shapes alone.
        input_size: (c, h, w) of the picture. An ONNX file of fixed size needs none.

    Raises:
        BadArgument: a size that is missing, is no (c, h, w), or that the network does not take.
        AnalysisError: an operator that is not known, or a module that depends on the values of pixels.
        SourceUnavailable: the file cannot be read.
        GraphError: the file is no ONNX file, or a damaged one.
    """
    sizes: Sequence[int] = (1, 1, 1) if input_size is None else input_size
    if len(sizes) != 3 or min(sizes) < 1:
        raise BadArgument(f"input_size is {input_size!r}; expected (channels, height, width) of at least 1")
    if isinstance(module_or_path, str | bytes | os.PathLike):
        from vultus.analyze.receptive_field.from_onnx import onnx_steps

        content = module_or_path if isinstance(module_or_path, bytes) else read_graph(module_or_path)
        name = "the graph" if isinstance(module_or_path, bytes) else Path(module_or_path).name
        steps, size = onnx_steps(content, input_size)
        return ReceptiveFields(name, size, steps)
    from vultus.analyze.receptive_field.from_torch import torch_steps

    if input_size is None:
        raise BadArgument("a module does not say how large its pictures are; pass input_size=(channels, height, width)")
    return ReceptiveFields(type(module_or_path).__name__, input_size, torch_steps(module_or_path, input_size))


def read_graph(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a file.

    Raises:
        SourceUnavailable: it cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except OSError as problem:
        raise SourceUnavailable(f"cannot read {path}: {problem.strerror or problem}") from problem
