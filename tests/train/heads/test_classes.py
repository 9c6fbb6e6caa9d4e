"""Class centres by id: where they start, how they are saved and loaded, and how classes are added."""

from __future__ import annotations

import itertools
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from vultus.errors import BadArgument, CheckpointMismatch, WorldSizeError
from vultus.train import heads, nn
from vultus.train.heads.centres import fill_initial
from vultus.train.heads.span import span


def initial(first: int, last: int, **options: Any) -> Tensor:
    weight = torch.empty((last - first) * options.get("subcenters", 1), 6)
    fill_initial(weight, first=first, **({"subcenters": 1, "seed": 5, "deviation": 0.01} | options))
    return weight


@pytest.mark.parametrize("subcenters", [1, 3])
def test_an_initial_centre_depends_on_seed_and_class_alone(subcenters: int) -> None:
    whole = initial(0, 2_500, subcenters=subcenters)
    for first, last in ((0, 1), (1_000, 1_030), (1_023, 1_025), (2_047, 2_500)):
        part = initial(first, last, subcenters=subcenters)
        assert torch.equal(part, whole[first * subcenters : last * subcenters])
    assert len(torch.unique(whole, dim=0)) == len(whole)
    assert not torch.equal(initial(0, 10, subcenters=subcenters, seed=6), whole[: 10 * subcenters])
    assert abs(float(whole.mean())) < 5 * 0.01 / whole.numel() ** 0.5
    assert float(whole.std()) == pytest.approx(0.01, rel=0.05)


def test_options_of_the_initial_centres_act() -> None:
    base, other, wider = (
        heads.Dense(4, 9, nn.ArcFace(), **options) for options in ({}, {"seed": 1}, {"deviation": 0.02})
    )
    assert not torch.equal(base.weight, other.weight)
    assert torch.allclose(wider.weight, 2 * base.weight)
    assert torch.equal(base.weight, heads.Chunked(4, 9, nn.ArcFace()).weight)


@pytest.mark.parametrize(("classes", "size"), [(2, 1), (2, 2), (7, 3), (1000, 7)])
def test_spans_cover_all_classes_in_order(classes: int, size: int) -> None:
    spans = [span(classes, rank, size) for rank in range(size)]
    assert spans[0][0] == 0
    assert spans[-1][1] == classes
    assert all(one[1] == other[0] for one, other in itertools.pairwise(spans))
    lengths = {stop - start for start, stop in spans}
    assert max(lengths) - min(lengths) <= 1


def test_more_ranks_than_classes_are_refused() -> None:
    with pytest.raises(WorldSizeError, match="5 ranks share 3 classes, so that ranks 3 to 4 would hold none"):
        span(3, 0, 5)


# --- saved rows ---------------------------------------------------------------------------------------------------------


def test_rows_are_read_by_class_id_in_parts(cases: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vultus.train.heads.base._AT_ONCE", 10)
    features, labels = cases.batch(torch.float64)
    options: dict[str, Any] = {"subcenters": 2, "optimizer": heads.SGD(0.1, 0.9)}
    one, other = (heads.Chunked(cases.DIM, cases.CLASSES, nn.L2Softmax(), seed=s, **options).double() for s in (0, 1))
    cases.trained(one, features, labels, steps=2)
    saved = {name: value.clone() for name, value in one.rows_state().items()}
    assert set(saved) == {"weight", "bias", "momentum", "bias_momentum"}
    asked = []

    def read(name: str, start: int, stop: int) -> Tensor:
        asked.append((name, start, stop))
        each = len(saved[name]) // cases.CLASSES
        return saved[name][start * each : stop * each]

    other.load_rows(read)
    for name, value in saved.items():
        assert torch.equal(other.rows_state()[name], value)
        assert {(a, b) for n, a, b in asked if n == name} == {(0, 10), (10, 20), (20, 30), (30, cases.CLASSES)}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda rows: rows[:, :-1], r"'weight' of the classes 0 to 36 has shape \(37, 15\), expected \(37, 16\)"),
        (lambda rows: rows[:-1], r"has shape \(36, 16\), expected \(37, 16\); the head has dim 16"),
        (lambda rows: rows.index_fill(0, torch.tensor(4), torch.inf), "NaN or infinite"),
        (lambda rows: rows.index_fill(0, torch.tensor(4), 0.0), "centre of class 4 has length 0"),
    ],
)
def test_rows_that_do_not_fit_are_refused_and_nothing_changes(cases: ModuleType, spoil: Any, message: str) -> None:
    """One case is a fault seen in public code: after a change of the shards some centres have length 0."""
    head = heads.Chunked(cases.DIM, cases.CLASSES, nn.ArcFace(), optimizer=heads.SGD(0.1, 0.9))
    before = {name: value.clone() for name, value in head.rows_state().items()}
    other = heads.Chunked(cases.DIM, cases.CLASSES, nn.ArcFace(), seed=9)
    saved = {"momentum": torch.ones(cases.CLASSES, cases.DIM), "weight": spoil(other.weight.detach())}
    with pytest.raises(CheckpointMismatch, match=message):
        head.load_rows(lambda name, start, stop: saved[name][start:stop])
    for name, value in head.rows_state().items():
        assert torch.equal(value, before[name]), name


# --- more classes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("subcenters", [1, 3])
def test_added_classes_start_as_in_a_new_head(cases: ModuleType, subcenters: int) -> None:
    features, labels = cases.batch(torch.float64)
    head = heads.Chunked(
        cases.DIM, cases.CLASSES, nn.L2Softmax(), subcenters=subcenters, optimizer=heads.SGD(0.1, 0.9)
    ).double()
    cases.trained(head, features, labels, steps=2)
    before = {name: value.clone() for name, value in head.rows_state().items()}
    assert head.add_classes(4) == range(cases.CLASSES, cases.CLASSES + 4)
    assert (head.classes, head.stop) == (cases.CLASSES + 4, cases.CLASSES + 4)
    for name, value in head.rows_state().items():
        assert torch.equal(value[: len(before[name])], before[name]), name
        if name != "weight":
            assert not value[len(before[name]) :].any()
    fresh = heads.Chunked(cases.DIM, cases.CLASSES + 4, nn.L2Softmax(), subcenters=subcenters).double()
    new = slice(cases.CLASSES * subcenters, None)
    assert torch.equal(head.weight[new], fresh.weight[new])
    cases.trained(head, features, labels + 4, steps=1)
    assert not torch.equal(head.weight[new], fresh.weight[new])


@pytest.mark.parametrize("kind", [heads.Dense, heads.Chunked])
def test_added_classes_may_be_given(kind: Any) -> None:
    head = kind(4, 3, nn.ArcFace())
    centre = torch.arange(1.0, 5.0)
    given = centre.expand(2, 4)
    assert head.add_classes(given) == range(3, 5)
    assert torch.equal(head.weight[3:], given)
    with torch.no_grad():
        head.weight[3] += 1  # the rows are copies
    assert torch.equal(centre, torch.arange(1.0, 5.0))
    assert torch.equal(head.weight[4], centre)
    loss = head(torch.ones(1, 4), torch.tensor([4]))
    loss.backward()
    assert head.weight.grad.shape == (5, 4)


@pytest.mark.parametrize(
    ("new", "message"),
    [
        (0, "0 classes were to be added"),
        (-3, "expected at least 1"),
        (torch.ones(0, 4), "0 classes were to be added"),
        (torch.ones(2, 5), r"shape \(2, 5\); expected"),
        (torch.ones(3, 4), r"shape \(3, 4\); expected \(2 for each class, 4\)"),
        (torch.full((2, 4), torch.nan), "NaN"),
        (torch.tensor([[1.0, 0, 0, 0], [0, 0, 0, 0]]), "row 1 of the new centres has length 0"),
    ],
)
def test_classes_that_cannot_be_added_are_refused(new: Any, message: str) -> None:
    head = heads.Chunked(4, 3, nn.ArcFace(), subcenters=2)
    with pytest.raises(BadArgument, match=message):
        head.add_classes(new)
    assert head.classes == 3
    assert head.weight.shape == (6, 4)
