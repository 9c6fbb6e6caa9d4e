"""Memory on huge pages is memory: zeros that can be written, of the right shape, and given back."""

from __future__ import annotations

import gc
import mmap
from types import ModuleType

import pytest
import torch

from vultus.train import heads, nn
from vultus.train.heads import pages


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_zeros_of_any_size(monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype) -> None:
    monkeypatch.setattr(pages, "LEAST", 4096)
    like = torch.empty(0, dtype=dtype)
    for shape in ((3,), (1024, 33), (7, 11, 13)):
        one, other = pages.zeros(shape, like), pages.zeros(shape, like)
        assert one.shape == shape
        assert one.dtype == dtype
        assert one.is_contiguous()
        assert not one.any()
        one += 1
        assert not other.any()
        assert torch.equal(one, torch.ones(shape, dtype=dtype))


def test_memory_lives_as_long_as_the_tensor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "LEAST", 1)
    part = pages.zeros((64, 64), torch.empty(0))[5]
    gc.collect()
    part.fill_(3)
    assert part.sum() == 192


def test_systems_without_huge_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "LEAST", 1)

    class Refuses(mmap.mmap):
        def madvise(self, *_: object) -> None:
            raise OSError(22, "Invalid argument")

    with monkeypatch.context() as patch:
        patch.setattr("mmap.mmap", Refuses)
        assert torch.equal(pages.zeros((2, 3), torch.empty(0)), torch.zeros(2, 3))
    monkeypatch.delattr("mmap.MADV_HUGEPAGE", raising=False)
    assert torch.equal(pages.zeros((2, 3), torch.empty(0)), torch.zeros(2, 3))


@pytest.mark.parametrize("sample_rate", [1.0, 0.5])
def test_a_gradient_on_huge_pages_is_the_same(
    cases: ModuleType, monkeypatch: pytest.MonkeyPatch, sample_rate: float
) -> None:
    results = []
    for least in (1, pages.LEAST):
        monkeypatch.setattr(pages, "LEAST", least)
        head = heads.Chunked(
            cases.DIM, cases.CLASSES, nn.ArcFace(), deviation=0.3, chunk=9, sample_rate=sample_rate, decay="full"
        )
        first = cases.gradients(head, *cases.batch(torch.float32))
        cases.gradients(head.eval(), *cases.batch(torch.float32))  # adds to the gradient in place
        results.append(first | {"both": head.weight.grad})
    for name, value in results[0].items():
        assert torch.equal(value, results[1][name]), name
