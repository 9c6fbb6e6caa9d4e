"""Orders of photos: laws that hold for every data set, batch, seed, epoch and number of ranks."""

from __future__ import annotations

import itertools
import pickle
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vultus.errors import BadArgument, CheckpointMismatch, DatasetError, WorldSizeError
from vultus.train.data.samplers import BalancedBatches, Batches, ClassBatches, Order

KINDS: dict[str, Any] = {
    "drop": Batches,
    "wrap": lambda labels, **o: Batches(labels, last="wrap", **o),
    "window": lambda labels, **o: Batches(labels, window=7, block=3, **o),
    "balanced": BalancedBatches,
    "classes": lambda labels, **o: ClassBatches(labels, photos=max(1, o["batch_size"] // 6), **o),
}

counts = st.lists(st.integers(1, 9), min_size=6, max_size=12)


def labels_of(sizes: list[int]) -> npt.NDArray[np.int64]:
    """Labels of classes of these sizes, mixed."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return np.random.default_rng(sum(sizes)).permutation(labels)


def of_ranks(kind: str, labels: npt.NDArray[np.int64], world_size: int, **options: Any) -> list[Order]:
    return [KINDS[kind](labels, rank=rank, world_size=world_size, **options) for rank in range(world_size)]


def globally(orders: list[Order]) -> list[list[int]]:
    """The global batches of all ranks together, rank 0 first."""
    each = [list(order) for order in orders]
    assert len({len(batches) for batches in each}) == 1
    return [list(itertools.chain(*parts)) for parts in zip(*each, strict=True)]


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=25)
@given(sizes=counts, share=st.integers(1, 2), seed=st.integers(0, 5), epoch=st.integers(0, 5))
def test_the_batches_are_the_same_for_every_number_of_ranks(
    kind: str, sizes: list[int], share: int, seed: int, epoch: int
) -> None:
    labels, batch = labels_of([s + 2 for s in sizes]), 12 // share
    known: list[list[int]] | None = None
    for world_size in (1, 2, 3):
        orders = of_ranks(kind, labels, world_size, batch_size=batch, seed=seed)
        for order in orders:
            order.set_epoch(epoch)
        batches = globally(orders)
        assert {len(b) for b in batches} == {batch}
        assert len(batches) == len(orders[0])
        assert known in (None, batches)
        known = batches


@settings(deadline=None, max_examples=60)
@given(sizes=counts, batch=st.integers(1, 6), seed=st.integers(0, 9), epoch=st.integers(0, 9))
def test_every_photo_comes_once_an_epoch(sizes: list[int], batch: int, seed: int, epoch: int) -> None:
    labels = labels_of(sizes)
    n = len(labels)
    for kind in ("drop", "wrap", "window"):
        order = of_ranks(kind, labels, 1, batch_size=batch, seed=seed)[0]
        order.set_epoch(epoch)
        seen = np.bincount(np.concatenate(list(order)), minlength=n)
        if kind == "wrap":
            assert seen.min() == 1
            assert seen.sum() == -(-n // batch) * batch
            assert seen.max() <= 1 + -(-batch // n)
        else:
            assert seen.max() == 1
            assert seen.sum() == n // batch * batch


@settings(deadline=None, max_examples=40)
@given(sizes=counts, batch=st.integers(1, 6), seed=st.integers(0, 9))
def test_balanced_batches_show_classes_and_photos_equally(sizes: list[int], batch: int, seed: int) -> None:
    labels = labels_of(sizes)
    order = BalancedBatches(labels, batch_size=batch, seed=seed)
    seen = np.bincount(np.concatenate(list(order)), minlength=len(labels))
    of_class = np.bincount(labels, weights=seen)
    assert of_class.max() - of_class.min() <= 1
    for label in range(len(sizes)):
        mine = seen[labels == label]
        assert mine.max() - mine.min() <= 1


@settings(deadline=None, max_examples=40)
@given(sizes=counts, classes=st.integers(1, 6), photos=st.integers(1, 5), seed=st.integers(0, 9))
def test_class_batches_hold_p_classes_of_k_photos(sizes: list[int], classes: int, photos: int, seed: int) -> None:
    labels = labels_of(sizes)
    order = ClassBatches(labels, batch_size=classes * photos, photos=photos, seed=seed)
    assert len(order) == max(1, len(labels) // (classes * photos))
    for batch in order:
        groups = np.array(batch).reshape(classes, photos)
        assert len(np.unique(labels[groups[:, 0]])) == classes
        for group in groups:
            assert len(np.unique(labels[group])) == 1
            assert len(np.unique(group)) == min(photos, sizes[labels[group[0]]])


def test_class_batches_draw_classes_about_equally() -> None:
    labels = labels_of([40] * 10)
    order = ClassBatches(labels, batch_size=12, photos=4, seed=3)
    drawn = np.bincount(labels[np.concatenate(list(order))], minlength=10) // 4
    rounds = -(-len(order) // 3)
    assert drawn.max() <= rounds
    assert drawn.sum() == len(order) * 3
    seen = np.bincount(np.concatenate(list(order)), minlength=len(labels))
    for label in range(10):  # no photo comes again before all others of its class came
        assert np.ptp(seen[labels == label]) <= 1


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=20)
@given(sizes=counts, done=st.integers(0, 3), epoch=st.integers(0, 3), seed=st.integers(0, 3))
def test_a_run_goes_on_in_mid_epoch_at_any_number_of_ranks(
    kind: str, sizes: list[int], done: int, epoch: int, seed: int
) -> None:
    labels = labels_of([s + 4 for s in sizes])
    whole = of_ranks(kind, labels, 1, batch_size=6, seed=seed)[0]
    whole.set_epoch(epoch)
    batches, following = list(whole), None
    whole.advance(done)
    state = whole.state_dict()
    whole.set_epoch(epoch + 1)
    following = list(whole)
    for world_size in (1, 2, 3):
        resumed = of_ranks(kind, labels, world_size, batch_size=6, seed=seed)
        for order in resumed:
            order.load_state_dict(state)
            order.set_epoch(epoch)  # as a loop over epochs does: it stays where it is
            assert order.state_dict() == state
        assert globally(resumed) == batches[done:]
        for order in resumed:
            order.set_epoch(epoch + 1)
        assert globally(resumed) == following


@pytest.mark.parametrize("kind", KINDS)
def test_epochs_and_seeds_differ(kind: str) -> None:
    labels = labels_of([9] * 9)
    one, other = (of_ranks(kind, labels, 1, batch_size=6, seed=seed)[0] for seed in (0, 1))
    first = list(one)
    assert list(one) == first
    assert list(other) != first
    one.set_epoch(1)
    assert list(one) != first
    one.set_epoch(0)
    assert list(one) == first


def test_handing_out_batches_is_not_training_on_them() -> None:
    order = Batches(labels_of([5] * 5), batch_size=5)
    reader = iter(order)
    next(reader)
    next(reader)
    assert order.state_dict()["done"] == 0
    order.advance()
    assert order.state_dict()["done"] == 5
    assert len(list(order)) == len(order) - 1


def test_a_window_keeps_neighbours_together() -> None:
    n, window, block = 1000, 100, 10
    order = Batches(np.zeros(n), batch_size=10, window=window, block=block)
    sequence = order.sequence(0).reshape(-1, window)
    for part in sequence:
        assert len(np.unique(part // block)) == window // block  # whole blocks only
        assert (np.diff(part) != 1).sum() > window / 2  # and shuffled among them
    assert len(np.unique(sequence[0] // window)) > 1


def test_samplers_can_be_pickled() -> None:
    order = Batches(labels_of([5] * 5), batch_size=5, seed=4)
    order.advance(2)
    copy = pickle.loads(pickle.dumps(order))
    assert list(copy) == list(order)
    assert copy.state_dict() == order.state_dict()


def test_the_labels_are_not_written_to() -> None:
    labels = labels_of([5] * 6)
    labels.flags.writeable = False
    for kind in KINDS:
        list(of_ranks(kind, labels, 1, batch_size=6)[0])


# --- refusals -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"batch_size": 0}, BadArgument, "batch_size is 0"),
        ({"batch_size": 4, "seed": -1}, BadArgument, "seed -1"),
        ({"batch_size": 4, "rank": 2, "world_size": 2}, BadArgument, "rank is 2 of 2"),
        ({"batch_size": 5, "world_size": 2}, WorldSizeError, "5 photos cannot be shared evenly among 2 ranks; use 4"),
        ({"batch_size": 26}, DatasetError, "25 photos do not fill one batch of 26"),
        ({"batch_size": 4, "last": "keep"}, BadArgument, "last is 'keep'"),
        ({"batch_size": 4, "window": -1}, BadArgument, "window is -1"),
        ({"batch_size": 4, "block": 0}, BadArgument, "block 0"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Batches(labels_of([5] * 5), **options)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"batch_size": 10, "photos": 4}, BadArgument, "cannot hold 4 photos"),
        ({"batch_size": 12, "photos": 4, "world_size": 2}, WorldSizeError, "3 classes of a batch"),
        ({"batch_size": 24, "photos": 4}, DatasetError, "needs 6 classes; there are 5"),
    ],
)
def test_class_batches_that_cannot_be_are_refused(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        ClassBatches(labels_of([5] * 5), **options)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (BalancedBatches(labels_of([5] * 5), batch_size=5), "kind 'Batches'"),
        (Batches(labels_of([5] * 5), batch_size=5, seed=1), "seed 0 and this run 1"),
        (Batches(labels_of([5] * 6), batch_size=5), "orders the photos differently"),
        (Batches(labels_of([5] * 5), batch_size=4), "orders the photos differently"),
    ],
)
def test_the_state_of_another_run_is_refused(other: Order, message: str) -> None:
    order = Batches(labels_of([5] * 5), batch_size=5)
    order.set_epoch(2)
    order.advance()
    with pytest.raises(CheckpointMismatch, match=message):
        other.load_state_dict(order.state_dict())
    assert (other.epoch, other.done) == (0, 0)


def test_progress_beyond_the_epoch_is_refused() -> None:
    order = Batches(labels_of([5] * 5), batch_size=5)
    order.advance(5)
    assert list(order) == []
    for batches in (1, -6):
        with pytest.raises(BadArgument, match="of an epoch of 25 are done"):
            order.advance(batches)
    with pytest.raises(BadArgument, match="epoch is -1"):
        order.set_epoch(-1)
