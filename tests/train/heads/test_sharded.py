"""One, two and three gloo ranks compute what one does, and say the same where something is wrong."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from vultus.train import heads, nn


def off(found: Tensor, expected: Tensor) -> float:
    """Relative distance."""
    found, expected = found.double(), expected.double()
    return float((found - expected).norm() / expected.norm().clamp_min(1e-30))


def compare(world: Any, prefix: str, alone: dict[str, Tensor], *, tolerance: float) -> None:
    """The ranks' results against those of one process with the whole batch."""
    assert off(world.common(f"{prefix}loss"), alone["loss"]) <= tolerance
    # DDP takes the mean of the backbone's gradients, which makes up for the factor
    assert off(world.joined(f"{prefix}features") / world.size, alone["features"]) <= tolerance
    for name in set(alone) - {"loss", "features"}:
        found = world.common if name.startswith("loss.") else world.joined
        assert off(found(f"{prefix}{name}"), alone[name]) <= tolerance, name


def test_every_loss_is_the_same_on_several_ranks(world: Any, cases: ModuleType) -> None:
    makers = cases.losses()
    assert len(makers) == 24
    for name, make in makers.items():
        for dtype, tolerance in ((torch.float64, 1e-11), (torch.float32, 2e-6)):
            head = heads.Chunked(cases.DIM, cases.CLASSES, make().to(dtype), deviation=0.3, chunk=7).to(dtype)
            alone = cases.gradients(head, *cases.batch(dtype))
            compare(world, f"every_loss {name} {dtype} ", alone, tolerance=tolerance)


def test_without_a_process_group_a_sharded_head_is_chunked(cases: ModuleType) -> None:
    features, labels = cases.batch(torch.float32)
    results = [
        cases.gradients(kind(cases.DIM, cases.CLASSES, nn.ArcFace(), deviation=0.3), features, labels)
        for kind in (heads.Sharded, heads.Chunked)
    ]
    for name, value in results[0].items():
        assert torch.equal(value, results[1][name]), name


def test_subcenters_on_several_ranks(world: Any, cases: ModuleType) -> None:
    head = heads.Chunked(cases.DIM, cases.CLASSES, nn.ArcFace(), subcenters=3, deviation=0.3).double()
    compare(world, "subcenters ", cases.gradients(head, *cases.batch(torch.float64)), tolerance=1e-11)


@pytest.mark.parametrize("decay", ["lazy", "full"])
def test_the_same_classes_are_sampled_on_any_number_of_ranks(world: Any, cases: ModuleType, decay: Any) -> None:
    sgd = heads.SGD(0.1, momentum=0.9, weight_decay=1e-2)
    head = heads.Chunked(
        cases.DIM, cases.CLASSES, nn.L2Softmax(), sample_rate=0.3, decay=decay, optimizer=sgd, deviation=0.3
    ).double()
    cases.trained(head, *cases.batch(torch.float64), steps=4)
    names = head.rows_state()
    assert set(names) == {"weight", "bias", "momentum", "bias_momentum"}
    for name, value in names.items():
        assert off(world.joined(f"sampled {decay} {name}"), value) < 1e-11, name


def test_initial_centres_are_no_copies_of_rank_0(world: Any, cases: ModuleType) -> None:
    """A fault seen in public code: every rank seeds its shard alike."""
    head = heads.Chunked(cases.DIM, cases.CLASSES, nn.L2Softmax(), deviation=0.3)
    assert torch.linalg.matrix_rank(head.weight.detach()) == cases.DIM
    assert len(torch.unique(head.weight, dim=0)) == cases.CLASSES
    spans = [found["resumed weight"].shape[0] for found in world.ranks]
    assert sum(spans) == cases.CLASSES
    assert max(spans) - min(spans) <= 1
    assert len(torch.unique(world.joined("resumed weight"), dim=0)) == cases.CLASSES


def test_rows_and_momentum_survive_one_two_three_one_ranks(world: Any, cases: ModuleType) -> None:
    """A fault seen in public code: only rank 0's optimiser state is saved. Each world starts from one and ends in one."""
    names = ("weight", "bias", "momentum", "bias_momentum")
    alone = cases.resumed(0, 1, None)
    for name in names:
        assert off(world.joined(f"resumed {name}"), alone[name]) < 1e-11, name
    # what several ranks saved, one goes on with, as if it had been one all along
    saved = {name: world.joined(f"resumed {name}") for name in names}
    onward, expected = cases.resumed(0, 1, saved), cases.resumed(0, 1, alone)
    for name in names:
        assert off(onward[name], expected[name]) < 1e-10, name
    if world.size == 3:
        for name in names:
            moved = torch.cat([found[f"moved {name}"] for found in world.ranks[:2]])
            assert torch.equal(moved, saved[name]), name
            assert torch.equal(world.joined(f"back {name}"), saved[name]), name


def test_classes_are_added_on_several_ranks(world: Any, cases: ModuleType) -> None:
    alone = cases.grown(0, 1)
    for name, value in alone.items():
        assert off(world.joined(f"grown {name}"), value) < 1e-11, name


def test_a_rank_may_hold_one_class(world: Any, cases: ModuleType) -> None:
    classes = world.size + 1
    head = heads.Chunked(cases.DIM, classes, nn.ArcFace(margin=0.2, scale=8.0), deviation=0.3)
    alone = cases.gradients(head, *cases.batch(torch.float32, classes=classes))
    compare(world, "one_class_on_a_rank ", alone, tolerance=2e-6)


def test_a_rank_may_draw_no_class(world: Any, cases: ModuleType) -> None:
    alone = cases.no_class_on_a_rank(0, 1)
    assert alone["ArcFace lazy loss"] > 0.1  # the classes of the batch take part
    for key in ("ArcFace", "NormFace", "L2Softmax", "SphereFace2"):
        for decay in ("lazy", "full"):
            prefix = f"{key} {decay} "
            one = {k.removeprefix(prefix): v for k, v in alone.items() if k.startswith(prefix)}
            assert set(one) >= {"loss", "features", "weight"}
            compare(world, f"no_class_on_a_rank {prefix}", one, tolerance=2e-6)


def test_a_rank_may_have_no_rows(world: Any, cases: ModuleType) -> None:
    head = heads.Chunked(cases.DIM, cases.CLASSES, nn.ArcFace(), deviation=0.3).double()
    compare(world, "unequal_parts ", cases.gradients(head, *cases.batch(torch.float64)), tolerance=1e-11)


def test_logits_beyond_what_a_double_can_exponentiate(world: Any, cases: ModuleType) -> None:
    features, labels = cases.batch(torch.float64)
    head = heads.Dense(cases.DIM, cases.CLASSES, nn.Softmax(), deviation=0.3).double()
    alone = cases.gradients(head, features * 1e3, labels)
    assert alone["loss"] > 1e4
    compare(world, "huge_logits ", alone, tolerance=1e-11)


def test_noise_is_judged_alike_on_several_ranks(world: Any, cases: ModuleType) -> None:
    alone = cases.noise(0, 1)
    for name, value in alone.items():
        assert off(world.common(f"noise {name}"), value) < 1e-12


def test_all_ranks_raise_the_same_error_and_name_the_rank(world: Any, cases: ModuleType) -> None:
    where = f"rank {world.size - 1}: " if world.size > 1 else ""
    for said in world.said:
        features, labels, empty, *rest = said
        assert features.startswith(f"bad_batch: {where}features: row 1 of ")
        assert labels.startswith(f"bad_batch: {where}labels: row 0 of ")
        assert f"class {cases.CLASSES}, outside 0 to {cases.CLASSES - 1}" in labels
        assert empty.startswith("bad_batch: the batch has no row on any rank")
        if world.size == 1:
            assert not rest
            continue
        replica = rest[-1]
        assert replica.startswith(f"bad_argument: this head holds all classes on each of {world.size} ranks")
        if world.size == 3:
            assert rest[0].startswith("bad_world_size: 3 ranks share 2 classes")
            assert "heads.Chunked" in rest[0]
        else:
            assert len(rest) == 1
    assert len({tuple(said) for said in world.said}) == 1


def test_the_ring_equals_the_librarys_all_reduce(world: Any) -> None:
    n = world.size
    for found in world.ranks:
        assert torch.equal(found["reduced ring"], found["reduced library"])
        assert off(found["reduced wide"], found["reduced wide library"]) < 1e-15
        assert found["reduced few"].tolist() == [n, n]
        assert int(found["reduced steps"]) == 2 * (n - 1)
    untouched = [found["reduced untouched"] for found in world.ranks]
    assert all(torch.equal(t, torch.arange(7.0) * (r + 1)) for r, t in enumerate(untouched))
    total = sum(int(found["reduced bytes"]) for found in world.ranks)
    assert total == 2 * (n - 1) * 7 * 4  # each part is sent by N - 1 ranks in either phase
