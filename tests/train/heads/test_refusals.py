"""What a head refuses, how it says so, and that nothing has changed then."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from vultus.errors import BadArgument, BadBatch
from vultus.train import heads, nn

KINDS = [heads.Dense, heads.Chunked, heads.Sharded]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (torch.tensor([[1.0, 2], [3, torch.nan]]), torch.tensor([0, 1]), "^features: row 1 of 2 has NaN or infinite"),
        (torch.tensor([[torch.inf, 2], [3, 4]]), torch.tensor([0, 1]), "^features: row 0 of 2 has NaN or infinite"),
        (torch.ones(2, 2), torch.tensor([0, 3]), "^labels: row 1 of 2 is of class 3, outside 0 to 2"),
        (torch.ones(2, 2), torch.tensor([-1, 0]), "^labels: row 0 of 2 is of class -1, outside 0 to 2"),
        (torch.ones(2, 2), torch.tensor([0.0, 1.0]), "labels are not whole numbers"),
        (torch.ones(2, 2), torch.tensor([True, False]), "labels are not whole numbers"),
        (torch.ones(2, 2, dtype=torch.int64), torch.tensor([0, 1]), "features are not floating-point numbers"),
        (torch.ones(2, 3), torch.tensor([0, 1]), r"features have 2 rows of 3 numbers .* expected \(n, 2\)"),
        (torch.ones(2, 2), torch.tensor([0]), "there are 1 labels"),
        (torch.ones(2), torch.tensor([0, 1]), "expected"),
        (torch.ones(()), torch.tensor(0), "expected"),
        (torch.ones(2, 2), torch.tensor([[0], [1]]), r"\(n,\) labels"),
        (torch.ones(0, 2), torch.ones(0, dtype=torch.int64), "the batch has no row on any rank"),
    ],
)
def test_a_batch_that_is_not_fit(kind: Any, features: torch.Tensor, labels: torch.Tensor, message: str) -> None:
    loss = nn.CurricularFace()
    head = kind(2, 3, loss)
    before = {k: v.clone() for k, v in head.state_dict().items()}
    with pytest.raises(BadBatch, match=message):
        head(features, labels)
    assert all(torch.equal(v, before[k]) for k, v in head.state_dict().items())
    assert getattr(head, "step", 0) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_labels_of_any_integer_type(kind: Any) -> None:
    head = kind(2, 3, nn.ArcFace())
    features = torch.eye(2)
    expected = head(features, torch.tensor([0, 2]))
    for dtype in (torch.int32, torch.int16, torch.uint8):
        assert torch.equal(head(features, torch.tensor([0, 2], dtype=dtype)), expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((4, 1, nn.ArcFace()), {}, "classes is 1; a loss over classes needs at least 2"),
        ((4, 0, nn.ArcFace()), {}, "classes is 0"),
        ((0, 3, nn.ArcFace()), {}, "dim is 0"),
        ((4, 3, nn.ArcFace()), {"subcenters": 0}, "subcenters 0"),
        ((4, 3, nn.ArcFace()), {"deviation": 0.0}, "deviation is 0"),
        ((4, 3, nn.ArcFace()), {"seed": -1}, "seed is -1"),
        ((4, 3, torch.nn.CrossEntropyLoss()), {}, "loss is a CrossEntropyLoss; expected one of vultus.train.nn"),
    ],
)
def test_a_head_that_cannot_be_made(kind: Any, arguments: Any, options: Any, message: str) -> None:
    with pytest.raises(BadArgument, match=message):
        kind(*arguments, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decay": "slow"}, "decay is 'slow'; expected 'lazy' or 'full'"),
        ({"chunk": 0}, "chunk is 0"),
        ({"keep": -1}, "keep -1"),
    ],
)
def test_options_out_of_range(options: Any, message: str) -> None:
    with pytest.raises(BadArgument, match=message):
        heads.Chunked(4, 3, nn.ArcFace(), **options)


@pytest.mark.parametrize("kind", KINDS)
def test_centres_in_half_precision_are_refused(kind: Any) -> None:
    head = kind(2, 3, nn.ArcFace()).half()
    with pytest.raises(BadArgument, match=r"class centres are torch.float16; .* head.float\(\)"):
        head(torch.ones(1, 2), torch.tensor([0]))
    head.float()(torch.ones(1, 2), torch.tensor([0]))


def test_the_printed_form_tells_what_a_head_is() -> None:
    head = heads.Chunked(2, 3, nn.ArcFace(), subcenters=2, sample_rate=0.5, optimizer=heads.SGD(0.1))
    assert "dim=2, classes=3, subcenters=2, sample_rate=0.5, decay='lazy', optimizer=SGD(lr=0.1" in repr(head)
    assert "start=0, stop=3" in repr(heads.Sharded(2, 3, nn.ArcFace()))
