"""All five ways compute the same in the runtime, at sizes that the graph was not exported with."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vultus.runtime import Settings, open_graph
from vultus.train.export import to_onnx
from vultus.train.upsample import WAYS, Upsample, pool
from vultus.weights.prepare import prepare

pytestmark = pytest.mark.usefixtures("one_thread")


class AllFive(nn.Module):
    """Pools a picture and makes it larger again in each way."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Upsample(3, 3, way=way) for way in WAYS)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        smaller, places = pool(images)
        return tuple(block(smaller, places) for block in self.blocks)


def test_the_runtime_computes_what_torch_does() -> None:
    torch.manual_seed(0)
    network = AllFive().eval()
    content = to_onnx(network, size=(64, 96), outputs=WAYS, multiple=32)
    session = open_graph(prepare(content, input_name="input", free_size=True), Settings.of(1, None))
    assert session.outputs == list(WAYS)
    images = torch.randn(3, 3, 64, 32)
    with torch.no_grad():
        expected = network(images)
    for way, mine, theirs in zip(WAYS, expected, session.run(images.numpy()), strict=True):
        assert np.abs(mine.numpy() - theirs).max() < 1e-5, way
