"""Mislabelled samples are found by their angle to the dominant sub-centre."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
import torch

from vultus.errors import BadArgument, BadBatch
from vultus.train import heads, nn


def test_angles_by_brute_force(cases: ModuleType) -> None:
    head = heads.Chunked(5, 4, nn.ArcFace(), subcenters=3, deviation=1.0)
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(40, 5, generator=generator)
    labels = torch.randint(0, 3, (40,), generator=generator)  # class 3 has no sample
    found = heads.label_noise(head, features, labels, max_degrees=60)
    centres = head.weight.detach().double().numpy().reshape(4, 3, 5)
    x = features.double().numpy()
    cosines = np.array(
        [
            centres[y] @ f / np.linalg.norm(centres[y], axis=1) / np.linalg.norm(f)
            for f, y in zip(x, labels, strict=True)
        ]
    )
    nearest = cosines.argmax(axis=1)
    dominant = [int(np.bincount(nearest[labels.numpy() == c], minlength=3).argmax()) for c in range(3)]
    assert found.nearest.tolist() == nearest.tolist()
    assert found.dominant.tolist() == [*dominant, -1]
    angles = np.degrees(np.arccos([row[dominant[y]] for row, y in zip(cosines, labels, strict=True)]))
    assert np.allclose(found.angles.numpy(), angles)
    assert found.keep.tolist() == (angles <= 60).tolist()
    assert 0 < int((~found.keep).sum()) < 40
    assert str(found).startswith(f"{int((~found.keep).sum())} of 40 samples")


def test_planted_noise_is_found_after_training() -> None:
    generator = torch.Generator().manual_seed(3)
    classes, each, dim = 6, 40, 16
    means = torch.linalg.qr(torch.randn(dim, dim, generator=generator))[0][:classes]
    true = torch.arange(classes).repeat_interleave(each)
    features = means[true] + 0.12 * torch.randn(len(true), dim, generator=generator)
    wrong = torch.rand(len(true), generator=generator) < 0.15
    labels = torch.where(
        wrong, (true + 1 + torch.randint(0, classes - 1, true.shape, generator=generator)) % classes, true
    )
    head = heads.Chunked(
        dim, classes, nn.ArcFace(margin=0.3, scale=16.0), subcenters=3, optimizer=heads.SGD(0.5, 0.9), deviation=0.1
    )
    for _ in range(60):
        head(features.clone().requires_grad_(), labels).backward()
    found = heads.label_noise(head, features, labels)
    assert (~found.keep)[wrong].float().mean() > 0.95
    assert found.keep[~wrong].float().mean() > 0.95


def test_refusals() -> None:
    head = heads.Chunked(2, 3, nn.ArcFace())
    for angle in (0, 181, float("nan")):
        with pytest.raises(BadArgument, match="max_degrees"):
            heads.label_noise(head, torch.ones(1, 2), torch.tensor([0]), max_degrees=angle)
    with pytest.raises(BadBatch, match="outside 0 to 2"):
        heads.label_noise(head, torch.ones(1, 2), torch.tensor([3]))
