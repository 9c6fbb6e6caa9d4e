"""The effective receptive field: how much each pixel really moves a unit.

The field by formula says which pixels can matter. Luo et al. (2016, "Understanding the effective receptive field in deep
convolutional neural networks") measure how much they do: the gradient of the unit with respect to the picture, which for
most networks is a bump about the middle that is far smaller than the field.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vultus._export import export
from vultus.analyze.receptive_field.fields import PixelBox, ReceptiveFields, middle_unit
from vultus.errors import BadArgument
from vultus.types import Float64Array, FloatArray

if TYPE_CHECKING:
    from torch import Tensor, nn

# Luo et al. count a pixel in if its weight is above 1 - 0.9545 of the largest one, the place of two standard deviations.
INSIDE = 1 - 0.9545


@export("vultus.analyze.receptive_field.EffectiveField")
@dataclass(frozen=True, slots=True, eq=False)
class EffectiveField:
    """How much each pixel moves one unit.

    Args:
        name: of the node.
        unit: (row, column), or the index along each axis of the output but the first.
        weight: (height, width) per pixel, at least 0; the largest is 1, or all are 0.
        seen: the box of pixels that can move the unit, or None.
        pictures: how many pictures were averaged over.
    """

    name: str
    unit: tuple[int, ...]
    weight: Float64Array
    seen: PixelBox | None
    pictures: int

    @property
    def pixels(self) -> int:
        """Pixels whose weight is above 4.55 % of the largest, as Luo et al. count them."""
        return int(np.count_nonzero(self.weight > INSIDE))

    @property
    def side(self) -> float:
        """Side of a square with as many pixels, which is what Luo et al. call the size."""
        return float(np.sqrt(self.pixels))

    @property
    def share(self) -> float:
        """`pixels` as a share of those that can move the unit at all; 0 where none can."""
        if self.seen is None:
            return 0.0
        box = self.seen
        return self.pixels / ((box.bottom - box.top + 1) * (box.right - box.left + 1))

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, for JSON, without the weights themselves."""
        return {
            "name": self.name,
            "unit": list(self.unit),
            "pixels": self.pixels,
            "side": self.side,
            "share": self.share,
            "pictures": self.pictures,
        }


@export("vultus.analyze.receptive_field.effective_receptive_field")
def effective_receptive_field(
    module: nn.Module,
    name: str | None = None,
    *,
    input_size: tuple[int, int, int],
    unit: tuple[int, ...] | None = None,
    images: FloatArray | None = None,
    pictures: int = 10,
    seed: int = 0,
) -> EffectiveField:
    """The effective field of one unit of a torch module, by gradient.

    For each picture the channels of the unit are summed with random weights v from N(0, 1), and the sum's gradient is taken.
    The weight of a pixel is the root of the mean square of that gradient over pictures and colours: in expectation, the
    length of the change of the unit's whole vector per change of the pixel. Luo et al. (2016, section 2.2) take one channel
    of random networks; with trained weights one channel would show its own taste.

    Args:
        module: takes (n, c, h, w). Runs as in evaluation; neither it nor its gradients are changed.
        name: of a node, as `receptive_field` lists it. The last one unless told otherwise.
        input_size: (c, h, w).
        unit: (row, column), or the index along each axis of the output but the first. The middle one unless told otherwise.
        images: (n, c, h, w) as the module takes them; noise from N(0, 1) unless told otherwise.
        pictures: how many pictures of noise, where no images are given.
        seed: of the noise and the random weights.

    Raises:
        BadArgument: no such node or unit, images of another shape, or no picture.
        AnalysisError: the module cannot be traced.
    """
    import torch

    from vultus.analyze.receptive_field.from_torch import steps_of
    from vultus.analyze.tracing import trace

    traced = trace(module, input_size)
    fields = ReceptiveFields(type(module).__name__, input_size, steps_of(traced))
    name, unit = _chosen(fields, name, unit)
    generator = torch.Generator().manual_seed(seed)
    if images is None:
        if pictures < 1:
            raise BadArgument(f"pictures is {pictures!r}; expected at least 1")
        batch = torch.randn(pictures, *input_size, generator=generator)
    elif images.shape[1:] != input_size or not len(images):
        raise BadArgument(f"images of shape {images.shape}; expected (n, {', '.join(map(str, input_size))}), n >= 1")
    else:
        batch = torch.from_numpy(np.array(images, dtype=np.float32))
    target = next(node for node, label in traced.names.items() if label == name)
    like = next(iter(traced.tensors.values()), batch)
    squares = np.zeros(input_size[1:])
    for picture in batch:
        x = picture[None].to(like.device, like.dtype if like.is_floating_point() else picture.dtype).requires_grad_()
        value = _value(traced, target, x)
        part = value[0][(..., *unit)] if value.ndim > 3 and len(unit) == 2 else value[0][unit]
        mix = torch.randn(part.shape, generator=generator).to(part)
        (gradient,) = torch.autograd.grad((part * mix).sum(), x)
        squares += gradient[0].double().square().sum(dim=0).cpu().numpy()
    return _field(fields, name, unit, np.sqrt(squares / len(batch)), len(batch))


def _value(traced: Any, target: Any, picture: Tensor) -> Tensor:
    """Run a traced module up to a node."""
    from torch import fx

    class Done(Exception):
        pass

    class Run(fx.Interpreter):
        found: Tensor

        def run_node(self, n: fx.Node) -> Any:
            value = super().run_node(n)
            if n is target:
                self.found = value
                raise Done
            return value

    run = Run(traced.graph)
    run.extra_traceback = False
    with suppress(Done):
        run.run(picture)
    return run.found


@export("vultus.analyze.receptive_field.occlusion_field")
def occlusion_field(
    path: str | os.PathLike[str] | bytes,
    name: str | None = None,
    *,
    input_size: tuple[int, int, int] | None = None,
    unit: tuple[int, ...] | None = None,
    image: FloatArray | None = None,
    side: int = 8,
    seed: int = 0,
    threads: int = 1,
    progress: Callable[[int], None] | None = None,
) -> EffectiveField:
    """The effective field of one unit of an ONNX file, by occlusion, for want of gradients.

    Squares of `side` pixels are replaced by the mean of the picture, one after the other, and the weight of a square's
    pixels is the length of the unit's change. That is coarser than a gradient, and shows a unit's reaction to a large change.

    Args:
        path: an ONNX file, or its bytes.
        name: of a node, as `receptive_field` lists it. The last one unless told otherwise.
        input_size: (c, h, w); an ONNX file of fixed size needs none.
        unit: (row, column), or the index along each axis of the output but the first. The middle one unless told otherwise.
        image: (c, h, w) as the graph takes it; noise from N(0, 1) unless told otherwise.
        side: of the squares; the graph runs about h * w / side^2 times.
        seed: of the noise.
        threads: cores to use.
        progress: called with 1 after each run.

    Raises:
        BadArgument: no such node or unit, an image of another shape, or a side out of range.
        AnalysisError: an operator that is not known.
        GraphError: the file is no ONNX file, or does not run.
        SourceUnavailable: the file cannot be read.
    """
    from vultus.analyze.onnx_graph import exposing
    from vultus.analyze.receptive_field.from_onnx import onnx_steps
    from vultus.analyze.receptive_field.measure import read_graph
    from vultus.runtime import Settings, open_graph

    content = path if isinstance(path, bytes) else read_graph(path)
    steps, size = onnx_steps(content, input_size)
    fields = ReceptiveFields("the graph", size, steps)
    name, unit = _chosen(fields, name, unit)
    if not 1 <= side <= max(size[1:]):
        raise BadArgument(f"side is {side!r}; expected pixels from 1 to {max(size[1:])}")
    if image is not None and image.shape != size:
        raise BadArgument(f"an image of shape {image.shape}; expected {size}")
    picture = np.random.default_rng(seed).standard_normal(size) if image is None else image
    picture = np.array(picture, dtype=np.float32)[None]
    session = open_graph(exposing(content, fields.value_of(name), size), Settings.of(threads, None))

    def answer(x: FloatArray) -> FloatArray:
        value = session.run(x)[-1][0]
        part: FloatArray = value[(..., *unit)] if value.ndim > 2 and len(unit) == 2 else value[unit]
        return part

    plain, mean = answer(picture), picture.mean(axis=(2, 3), keepdims=True)
    weight = np.zeros(size[1:])
    for top in range(0, size[1], side):
        for left in range(0, size[2], side):
            here = (slice(top, top + side), slice(left, left + side))
            covered = picture.copy()
            covered[:, :, *here] = mean
            weight[here] = np.linalg.norm(np.asarray(answer(covered) - plain, dtype=np.float64))
            if progress is not None:
                progress(1)
    return _field(fields, name, unit, weight, 1)


def _chosen(fields: ReceptiveFields, name: str | None, unit: tuple[int, ...] | None) -> tuple[str, tuple[int, ...]]:
    """Node and unit with defaults filled in, checked."""
    name = fields[-1].name if name is None else name
    unit = middle_unit(fields[name].shape) if unit is None else unit
    fields.seen(name, unit)
    return name, unit


def _field(
    fields: ReceptiveFields, name: str, unit: tuple[int, ...], weight: Float64Array, pictures: int
) -> EffectiveField:
    most = float(weight.max())
    return EffectiveField(name, unit, weight / most if most > 0 else weight, fields.seen(name, unit), pictures)
