"""What several ranks do together, as a program of its own and as functions: `python scenarios.py RANK SIZE STORE OUT`.

The test process imports this file for the cases, and starts it once for each rank; results come back as safetensors.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import Tensor

from vultus.errors import VultusError
from vultus.train import heads, nn, ring
from vultus.train.loss import Loss

DIM, CLASSES, ROWS = 16, 37, 18
Results = dict[str, Tensor]


def losses() -> dict[str, Callable[[], Loss]]:
    """A maker of every loss that a head can train with, by name."""
    found: dict[str, Callable[[], Loss]] = {}
    for name in nn.__all__:
        kind = getattr(nn, name)
        if inspect.isclass(kind) and issubclass(kind, Loss):
            found[name] = partial(made, name, CLASSES)
    return found


def made(name: str, classes: int) -> Loss:
    """A loss with its defaults."""
    kind = getattr(nn, name)
    wanted = inspect.signature(kind).parameters
    options: dict[str, Any] = {"classes": classes} if "classes" in wanted else {}
    if kind is nn.Ring:
        options["radius"] = 5.0  # by default it is the mean length, where its gradient is 0
    loss: Loss = kind(**options)
    return loss


def batch(dtype: torch.dtype, *, rows: int = ROWS, dim: int = DIM, classes: int = CLASSES) -> tuple[Tensor, Tensor]:
    """Features of many lengths, and labels some of which repeat."""
    generator = torch.Generator().manual_seed(7)
    features = torch.randn(rows, dim, generator=generator, dtype=torch.float64)
    features *= torch.linspace(0.5, 40, rows, dtype=torch.float64)[:, None]
    labels = torch.randint(0, classes, (rows,), generator=generator)
    labels[: rows // 4] = labels[0]
    return features.to(dtype), labels


def part(tensor: Tensor, rank: int, size: int) -> Tensor:
    """A rank's rows of a batch: unequal numbers of them."""
    edges = [0] + [len(tensor) * (r + 1) // size + (1 if r + 1 < size else 0) for r in range(size)]
    return tensor[edges[rank] : edges[rank + 1]]


def gradients(head: heads.Head, features: Tensor, labels: Tensor) -> Results:
    """Loss and all gradients."""
    features = features.clone().requires_grad_()
    loss = head(features, labels)
    loss.backward()
    found = {"loss": loss.detach(), "features": features.grad}
    for name, parameter in head.named_parameters():
        found[name] = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        if found[name].is_sparse:
            found[name] = found[name].to_dense()
    return {k: v for k, v in found.items() if v is not None}


def trained(head: heads.Head, features: Tensor, labels: Tensor, *, steps: int) -> None:
    """A few steps of a head that moves its own centres."""
    for step in range(steps):
        head(features.roll(step, dims=1).clone().requires_grad_(), labels).backward()


# --- on several ranks ---------------------------------------------------------------------------------------------------


def every_loss(rank: int, size: int) -> Results:
    found: Results = {}
    for name, make in losses().items():
        for dtype in (torch.float64, torch.float32):
            head = heads.Sharded(DIM, CLASSES, make().to(dtype), deviation=0.3, chunk=5).to(dtype)
            features, labels = batch(dtype)
            each = gradients(head, part(features, rank, size), part(labels, rank, size))
            found |= {f"{name} {dtype} {k}": v for k, v in each.items()}
    return found


def subcenters(rank: int, size: int) -> Results:
    head = heads.Sharded(DIM, CLASSES, nn.ArcFace(), subcenters=3, deviation=0.3, chunk=5).double()
    features, labels = batch(torch.float64)
    return gradients(head, part(features, rank, size), part(labels, rank, size))


def sampled(rank: int, size: int) -> Results:
    sgd = heads.SGD(0.1, momentum=0.9, weight_decay=1e-2)
    found: Results = {}
    decays: tuple[Literal["lazy", "full"], ...] = ("lazy", "full")
    for decay in decays:
        head = heads.Sharded(
            DIM, CLASSES, nn.L2Softmax(), sample_rate=0.3, decay=decay, optimizer=sgd, deviation=0.3, chunk=5
        ).double()
        features, labels = (part(t, rank, size) for t in batch(torch.float64))
        trained(head, features, labels, steps=4)
        found |= {f"{decay} {k}": v for k, v in head.rows_state().items()}
    return found


def resumed(rank: int, size: int, saved: Results | None) -> Results:
    """Two steps from a saved state, or from the start."""
    sgd = heads.SGD(0.1, momentum=0.9, weight_decay=1e-2)
    head = heads.Sharded(DIM, CLASSES, nn.L2Softmax(), optimizer=sgd, deviation=0.3).double()
    if saved is not None:
        head.load_rows(lambda name, start, stop: saved[name][start:stop])
    features, labels = (part(t, rank, size) for t in batch(torch.float64))
    trained(head, features, labels, steps=2)
    return {k: v.clone() for k, v in head.rows_state().items()}


def loaded(saved: Results, *, group: dist.ProcessGroup | None = None) -> Results:
    """What a new head holds of saved rows."""
    head = heads.Sharded(DIM, CLASSES, nn.L2Softmax(), group=group, optimizer=heads.SGD(0.1, momentum=0.9), seed=1)
    head.double().load_rows(lambda name, begin, end: saved[name][begin:end])
    return {k: v.clone() for k, v in head.rows_state().items()}


def grown(rank: int, size: int) -> Results:
    sgd = heads.SGD(0.1, momentum=0.9)
    head = heads.Sharded(DIM, CLASSES, nn.Softmax(), optimizer=sgd, deviation=0.3).double()
    features, labels = (part(t, rank, size) for t in batch(torch.float64))
    trained(head, features, labels, steps=2)
    assert head.add_classes(5) == range(CLASSES, CLASSES + 5)
    larger = heads.Sharded(DIM, CLASSES + 5, nn.Softmax())
    assert (head.start, head.stop, head.classes) == (larger.start, larger.stop, CLASSES + 5)
    given = torch.ones(DIM, dtype=torch.float64).expand(2, DIM)
    assert head.add_classes(given) == range(CLASSES + 5, CLASSES + 7)
    trained(head, features, labels + 7, steps=1)
    return {k: v.clone() for k, v in head.rows_state().items()}


def one_class_on_a_rank(rank: int, size: int) -> Results:
    """Rows that meet no other class on the rank that holds their own, in the precision where that once went wrong."""
    head = heads.Sharded(DIM, size + 1, nn.ArcFace(margin=0.2, scale=8.0), deviation=0.3)
    features, labels = batch(torch.float32, classes=size + 1)
    return gradients(head, part(features, rank, size), part(labels, rank, size))


def no_class_on_a_rank(rank: int, size: int) -> Results:
    """Of three classes in the batch, all held by the first rank, none else is drawn: the other ranks have nothing to sum."""
    found: Results = {}
    decays: tuple[Literal["lazy", "full"], ...] = ("lazy", "full")
    features, labels = batch(torch.float32, classes=3)
    for loss in (nn.ArcFace(margin=0.2, scale=8.0), nn.NormFace(learned=True), nn.L2Softmax(), nn.SphereFace2(CLASSES)):
        for decay in decays:
            head = heads.Sharded(DIM, CLASSES, loss, sample_rate=1e-9, decay=decay, deviation=0.3)
            head.zero_grad()
            each = gradients(head, part(features, rank, size), part(labels, rank, size))
            found |= {f"{type(loss).__name__} {decay} {k}": v for k, v in each.items()}
    return found


def unequal_parts(rank: int, size: int) -> Results:
    """All rows on the last rank, none on the others."""
    head = heads.Sharded(DIM, CLASSES, nn.ArcFace(), deviation=0.3).double()
    features, labels = batch(torch.float64)
    if rank < size - 1:
        features, labels = features[:0], labels[:0]
    return gradients(head, features, labels)


def huge_logits(rank: int, size: int) -> Results:
    """Sums of exp that no double can hold: the maximum has to be agreed on."""
    head = heads.Sharded(DIM, CLASSES, nn.Softmax(), deviation=0.3).double()
    features, labels = batch(torch.float64)
    return gradients(head, part(features, rank, size) * 1e3, part(labels, rank, size))


def noise(rank: int, size: int) -> Results:
    head = heads.Sharded(DIM, CLASSES, nn.ArcFace(), subcenters=3, deviation=0.3)
    found = heads.label_noise(head, *batch(torch.float32), max_degrees=80)
    return {"angles": found.angles, "nearest": found.nearest, "dominant": found.dominant}


def reduced(rank: int, size: int) -> Results:
    mine = torch.arange(7.0) * (rank + 1)
    total, trace = ring.all_reduce(mine)
    expected = mine.clone()
    dist.all_reduce(expected)
    scattered = torch.randn(40, 3, generator=torch.Generator().manual_seed(rank), dtype=torch.float64)
    wide, _ = ring.all_reduce(scattered.t())
    library = scattered.t().contiguous()
    dist.all_reduce(library)
    few, _ = ring.all_reduce(torch.ones(()).expand(2))
    return {
        "ring": total,
        "library": expected,
        "wide": wide,
        "wide library": library,
        "few": few,
        "untouched": mine,
        "steps": torch.tensor(trace.steps),
        "bytes": torch.tensor(trace.sent(rank)),
    }


def refused(rank: int, size: int) -> Iterator[str]:
    """Messages of errors that all ranks have to raise together."""
    head = heads.Sharded(DIM, CLASSES, nn.ArcFace(), deviation=0.3)
    features, labels = (part(t, rank, size) for t in batch(torch.float32))
    last = rank == size - 1
    broken = features.clone()
    broken[1, 2] = float("nan")
    beyond = labels.clone()
    beyond[0] = CLASSES
    for f, y in (
        (broken if last else features, labels),
        (features, beyond if last else labels),
        (features[:0], labels[:0]),
    ):
        try:
            head(f, y)
        except VultusError as problem:
            yield f"{problem.code}: {problem}"
    try:
        heads.Sharded(DIM, 2, nn.ArcFace())
    except VultusError as problem:
        yield f"{problem.code}: {problem}"
    replica = heads.Chunked(DIM, CLASSES, nn.ArcFace(), optimizer=heads.SGD(0.1))
    try:
        replica(features, labels)
    except VultusError as problem:
        yield f"{problem.code}: {problem}"


def main(rank: int, size: int, store: str, out: Path) -> None:
    torch.set_num_threads(1)
    assert not dist.is_initialized(), "an import started a process group"
    assert heads.Sharded(DIM, CLASSES, nn.ArcFace()).stop == CLASSES
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=size)
    found: Results = {}
    for work in (
        every_loss,
        subcenters,
        sampled,
        grown,
        one_class_on_a_rank,
        no_class_on_a_rank,
        unequal_parts,
        huge_logits,
        noise,
        reduced,
    ):
        found |= {f"{work.__name__} {k}": v for k, v in work(rank, size).items()}
    start = resumed(rank, size, None)
    found |= {f"resumed {k}": v for k, v in start.items()}
    gathered: list[Any] = [None] * size
    dist.all_gather_object(gathered, start)
    saved = {k: torch.cat([part[k] for part in gathered]) for k in start}
    if size == 3:
        smaller = dist.new_group([0, 1])  # the rows of three ranks, taken over by two of them, and back by all three
        moved = loaded(saved, group=smaller) if rank < 2 else {}
        dist.all_gather_object(gathered, moved)
        back = loaded({k: torch.cat([part[k] for part in gathered[:2]]) for k in saved})
        found |= {f"moved {k}": v for k, v in moved.items()} | {f"back {k}": v for k, v in back.items()}
    dist.barrier()
    (out / f"said-{rank}.txt").write_text("\n".join(refused(rank, size)), encoding="utf-8")
    save_file({k: v.detach().contiguous().clone() for k, v in found.items()}, out / f"rank-{rank}.safetensors")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], Path(sys.argv[4]))
