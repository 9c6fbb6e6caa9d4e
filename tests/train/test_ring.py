"""The ring all-reduce within one process; over gloo it is tested with the heads, whose ranks are up then."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vultus.errors import BadArgument
from vultus.train import ring


@settings(deadline=None, max_examples=60)
@given(size=st.integers(1, 7), count=st.integers(0, 23), seed=st.integers(0, 99))
def test_every_rank_ends_with_the_sum(size: int, count: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    tensors = [torch.randint(-9, 9, (count,), generator=generator) for _ in range(size)]
    before = [t.clone() for t in tensors]
    sums, trace = ring.simulate(tensors)
    expected = torch.stack(tensors).sum(0)
    assert all(torch.equal(s, expected) for s in sums)
    assert all(torch.equal(a, b) for a, b in zip(tensors, before, strict=True))
    assert trace.steps == 2 * (size - 1)
    assert len(trace.messages) == 2 * size * (size - 1)
    # each of the parts is sent by all ranks but one, in either phase
    assert sum(trace.sent(rank) for rank in range(size)) == 2 * (size - 1) * count * 8


def test_each_rank_sends_the_same_share_whatever_the_number_of_ranks() -> None:
    for size in (2, 4, 8):
        _, trace = ring.simulate([torch.ones(800, dtype=torch.float32)] * size)
        assert {trace.sent(rank) for rank in range(size)} == {2 * (size - 1) * 3200 // size}


def test_messages_go_round_the_ring_and_phases_follow_one_another() -> None:
    _, trace = ring.simulate([torch.ones(5)] * 5)
    assert all(m.receiver == (m.sender + 1) % 5 for m in trace.messages)
    assert [m.phase for m in trace.messages] == ["reduce-scatter"] * 20 + ["all-gather"] * 20
    for step in range(1, 9):
        assert len({m.part for m in trace.messages if m.step == step}) == 5


def test_shapes_and_expanded_tensors_are_kept() -> None:
    row = torch.tensor([1.0, 2.0])
    sums, _ = ring.simulate([row.expand(3, 2), row.expand(3, 2)])
    assert torch.equal(sums[1], 2 * row.expand(3, 2))
    assert torch.equal(row, torch.tensor([1.0, 2.0]))


def test_without_a_process_group_there_is_one_rank() -> None:
    mine = torch.arange(3.0)
    total, trace = ring.all_reduce(mine)
    assert torch.equal(total, mine)
    assert total.data_ptr() != mine.data_ptr()
    assert (trace.size, trace.steps, trace.sent(0)) == (1, 0, 0)


def test_a_trace_prints_as_a_table() -> None:
    _, trace = ring.simulate([torch.ones(4), torch.ones(4)])
    lines = str(trace).splitlines()
    assert lines[0].split() == ["step", "phase", "from", "to", "part", "bytes"]
    assert [line.split() for line in lines[1:]] == [
        ["1", "reduce-scatter", "0", "1", "0", "8"],
        ["1", "reduce-scatter", "1", "0", "1", "8"],
        ["2", "all-gather", "0", "1", "1", "8"],
        ["2", "all-gather", "1", "0", "0", "8"],
    ]


@pytest.mark.parametrize("tensors", [[], [torch.ones(2), torch.ones(3)], [torch.ones(2), torch.ones(2).double()]])
def test_ranks_that_differ_are_refused(tensors: list[torch.Tensor]) -> None:
    with pytest.raises(BadArgument, match="expected one tensor each"):
        ring.simulate(tensors)
