"""Cells, boxes and the loss: worked values and the plain formula."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vultus.geometry import box_iou
from vultus.train.detector.network import STRIDES, Pyramid, typical_landmarks
from vultus.train.detector.targets import BACKGROUND, IGNORED, Marks, assign, decode, detection_loss, grid, overlap


def marks(*boxes: tuple[float, float, float, float], ignored: tuple[int, ...] = ()) -> Marks:
    rows = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    flags = torch.zeros(len(rows), dtype=torch.bool)
    flags[list(ignored)] = True
    middle, sides = (rows[:, None, :2] + rows[:, None, 2:]) / 2, rows[:, None, 2:] - rows[:, None, :2]
    return Marks(rows, flags, middle + typical_landmarks() * sides)


def answers(height: int, width: int, faces: Marks, *, certain: float = 12.0) -> list[Tensor]:
    """The outputs of a network that knows: each cell that answers for a face gives exactly its box."""
    points, strides = grid(height, width)
    chosen = assign(points, strides, faces)
    raw = torch.zeros(len(points), 15)
    raw[:, 0] = -certain
    for cell in torch.nonzero(chosen >= 0).flatten().tolist():
        box = faces.boxes[chosen[cell]]
        middle, sides = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
        raw[cell, 0] = certain
        raw[cell, 1:3] = (middle - points[cell]) / strides[cell]
        raw[cell, 3:5] = torch.log(sides / strides[cell])
        raw[cell, 5:] = ((faces.landmarks[chosen[cell]] - middle) / sides).flatten()
    outputs, at = [], 0
    for stride in STRIDES:
        h, w = height // stride, width // stride
        outputs.append(raw[at : at + h * w].T.reshape(1, 15, h, w))
        at += h * w
    return outputs


def test_the_grid_holds_the_middle_of_each_cell() -> None:
    points, strides = grid(32, 64)
    assert len(points) == 4 * 8 + 2 * 4 + 2
    assert points[0].tolist() == [4, 4]
    assert points[1].tolist() == [12, 4]
    assert points[-1].tolist() == [48, 16]
    assert strides.tolist() == [8.0] * 32 + [16.0] * 8 + [32.0] * 2


def test_sizes_go_to_their_levels_and_middles_to_their_cells() -> None:
    points, strides = grid(192, 192)
    for side, levels in ((12, {8}), (30, {8}), (44, {8, 16}), (64, {16}), (90, {16, 32}), (150, {32})):
        face = marks((96 - side / 2, 96 - side / 2, 96 + side / 2, 96 + side / 2))
        chosen = assign(points, strides, face)
        mine = chosen == 0
        assert {int(s) for s in strides[mine]} == levels, side
        reach = (0.5 * strides[mine]).clamp(min=0.25 * side)
        assert bool(((points[mine] - 96).abs() <= reach[:, None]).all())
        assert int((chosen == BACKGROUND).sum()) == len(points) - int(mine.sum())


def test_the_smallest_face_wins_and_ignored_ones_are_left_out() -> None:
    points, strides = grid(64, 64)
    small, large = (26.0, 26.0, 38.0, 38.0), (20.0, 20.0, 50.0, 50.0)
    both = assign(points, strides, marks(large, small))
    at = int(torch.nonzero((points == torch.tensor([28.0, 28.0])).all(dim=1) & (strides == 8)).flatten())
    assert both[at] == 1
    without = assign(points, strides, marks(large, small, ignored=(1,)))
    assert without[at] == 0
    only = assign(points, strides, marks(large, ignored=(0,)))
    assert set(only.tolist()) == {BACKGROUND, IGNORED}
    assert bool((only[(strides == 8) & ((points - 35).abs() < 14).all(dim=1)] == IGNORED).all())
    assert bool((assign(points, strides, marks()) == BACKGROUND).all())


def test_decode_gives_back_the_box() -> None:
    points, strides = torch.tensor([[20.0, 12.0]]), torch.tensor([8.0])
    raw = torch.tensor([[0.5, -0.25, math.log(3), math.log(4)]])
    assert decode(raw, points, strides)[0].tolist() == pytest.approx([24 - 12, 10 - 16, 24 + 12, 10 + 16])


def test_generalised_overlap_of_worked_boxes() -> None:
    one = torch.tensor([[0.0, 0, 2, 2], [0, 0, 1, 1], [0, 0, 4, 4]])
    other = torch.tensor([[1.0, 1, 3, 3], [2, 0, 3, 1], [0, 0, 4, 4]])
    iou, generalised = overlap(one, other)
    assert iou.tolist() == pytest.approx([1 / 7, 0, 1])
    # around: 9, 3, 16; union: 7, 2, 16
    assert generalised.tolist() == pytest.approx([1 / 7 - 2 / 9, -1 / 3, 1])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 50), min_size=8, max_size=8))
def test_overlap_equals_that_of_geometry(numbers: list[float]) -> None:
    a, b = np.array(numbers, dtype=np.float32).reshape(2, 2, 2)
    boxes = np.stack([np.concatenate([x.min(axis=0), x.max(axis=0) + 1]) for x in (a, b)])
    iou, generalised = overlap(torch.from_numpy(boxes[:1]), torch.from_numpy(boxes[1:]))
    assert float(iou[0]) == pytest.approx(float(box_iou(boxes[:1], boxes[1:])[0, 0]), abs=1e-5)
    assert -1 - 1e-6 <= float(generalised[0]) <= float(iou[0]) + 1e-6


def test_the_loss_of_right_answers_is_nothing_and_of_wrong_ones_more() -> None:
    faces = marks((20, 30, 50, 66), (100, 90, 180, 190))
    outputs = answers(192, 192, faces)
    right = detection_loss(outputs, [faces])
    assert set(right) == {"score", "box", "landmarks"}
    assert all(float(v) == pytest.approx(0, abs=1e-5) for v in right.values())
    for part, channel in (("score", 0), ("box", 1), ("box", 3), ("landmarks", 7)):
        wrong = [o.clone() for o in outputs]
        for o in wrong:
            o[:, channel] += 0.5 if channel else 18.0
        found = detection_loss(wrong, [faces])
        assert float(found[part]) > 0.02
    twice = detection_loss([o * 0.9 for o in outputs], [faces], box=2.0, landmarks=1.0)
    more = detection_loss([o * 0.9 for o in outputs], [faces], box=6.0, landmarks=5.0)
    assert float(more["box"]) == pytest.approx(3 * float(twice["box"]))
    assert float(more["landmarks"]) == pytest.approx(5 * float(twice["landmarks"]))


def test_unknown_landmarks_and_ignored_faces_cost_nothing() -> None:
    faces = marks((20, 30, 50, 66))
    unknown = Marks(faces.boxes, faces.ignored, torch.full_like(faces.landmarks, torch.nan))
    outputs = [o.requires_grad_() for o in answers(96, 96, faces, certain=1.0)]
    parts = detection_loss(outputs, [unknown])
    assert float(parts["landmarks"].detach()) == 0
    torch.stack(list(parts.values())).sum().backward()  # type: ignore[no-untyped-call]
    assert all(o.grad is not None and bool(torch.isfinite(o.grad).all()) for o in outputs)
    left_out = detection_loss(answers(96, 96, faces), [marks((20, 30, 50, 66), ignored=(0,))])
    assert float(left_out["score"]) == pytest.approx(0, abs=1e-4)
    nothing = detection_loss(answers(96, 96, faces), [marks()])
    assert float(nothing["score"]) > 1


def test_an_untrained_network_places_faces_by_their_boxes() -> None:
    torch.manual_seed(0)
    for way in ("nearest", "unpool"):
        network = Pyramid(width=12, depth=1, way=way).eval()
        with torch.no_grad():
            outputs = network(torch.rand(1, 3, 64, 96) * 2 - 1)
        assert [tuple(o.shape) for o in outputs] == [(1, 15, 8, 12), (1, 15, 4, 6), (1, 15, 2, 3)]
        points = torch.cat([o[:, 5:].flatten(2) for o in outputs], dim=2).mean(dim=2).reshape(5, 2)
        assert float((points - typical_landmarks()).abs().max()) < 0.1
        assert float(torch.sigmoid(torch.cat([o[:, 0].flatten() for o in outputs])).max()) < 0.05
