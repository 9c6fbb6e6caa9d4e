"""What the outputs of each detector mean, cell by cell."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vultus.detect.decoders import centerface, yunet
from vultus.types import Faces, FloatArray

SIZE = (64, 96)


def yunet_outputs(pictures: int, seed: int) -> dict[str, FloatArray]:
    rng = np.random.default_rng(seed)
    outputs = {}
    for stride in (8, 16, 32):
        cells = (SIZE[0] // stride) * (SIZE[1] // stride)
        for name, width in (("cls", 1), ("obj", 1)):
            outputs[f"{name}_{stride}"] = rng.uniform(0, 1, (pictures, cells, width)).astype(np.float32)
        for name, width in (("bbox", 4), ("kps", 10)):
            outputs[f"{name}_{stride}"] = rng.normal(0, 1, (pictures, cells, width)).astype(np.float32)
    return outputs


def plain_yunet(
    outputs: dict[str, FloatArray], picture: int, score: float
) -> list[tuple[float, list[float], list[float]]]:
    found = []
    for stride in (8, 16, 32):
        columns = SIZE[1] // stride
        for cell in range(outputs[f"cls_{stride}"].shape[1]):
            x, y = cell % columns, cell // columns
            value = math.sqrt(outputs[f"cls_{stride}"][picture, cell, 0] * outputs[f"obj_{stride}"][picture, cell, 0])
            if value < score:
                continue
            dx, dy, w, h = (float(v) for v in outputs[f"bbox_{stride}"][picture, cell])
            cx, cy, half_w, half_h = (
                (x + dx) * stride,
                (y + dy) * stride,
                math.exp(w) * stride / 2,
                math.exp(h) * stride / 2,
            )
            points = outputs[f"kps_{stride}"][picture, cell]
            landmarks = [float((v + (x if i % 2 == 0 else y)) * stride) for i, v in enumerate(points)]
            found.append((value, [cx - half_w, cy - half_h, cx + half_w, cy + half_h], landmarks))
    return found


def rows(faces: Faces) -> FloatArray:
    """(n, 15) everything about each face, in an order of its own."""
    parts = [faces.scores[:, None], faces.boxes, faces.landmarks.reshape(-1, 10)]
    table: FloatArray = np.concatenate(parts, axis=1)
    return table[np.lexsort(table.T[::-1])]


@pytest.mark.parametrize("pictures", [1, 3])
@pytest.mark.parametrize("score", [0.1, 0.6, 0.8])
def test_yunet_cell_by_cell(pictures: int, score: float) -> None:
    outputs = yunet_outputs(pictures, seed=pictures)
    decoded = yunet(outputs, SIZE, score)
    assert len(decoded) == pictures
    for picture, faces in enumerate(decoded):
        plain = plain_yunet(outputs, picture, score)
        assert len(faces) == len(plain) > 0
        expected = Faces(
            np.array([p[1] for p in plain], np.float32),
            np.array([p[2] for p in plain], np.float32).reshape(-1, 5, 2),
            np.array([p[0] for p in plain], np.float32),
        )
        assert np.allclose(rows(faces), rows(expected), rtol=1e-4, atol=1e-3)


def test_yunet_without_a_face() -> None:
    outputs = yunet_outputs(2, seed=0)
    for stride in (8, 16, 32):
        outputs[f"obj_{stride}"][:] = 0
    assert [len(f) for f in yunet(outputs, SIZE, 0.1)] == [0, 0]
    outputs["obj_16"][1, 5] = outputs["cls_16"][1, 5] = 1
    assert [len(f) for f in yunet(outputs, SIZE, 0.1)] == [0, 1]


def test_scores_above_one_are_clipped() -> None:
    outputs = yunet_outputs(1, seed=0)
    outputs["cls_32"][0, 0] = outputs["obj_32"][0, 0] = 1.01
    assert yunet(outputs, SIZE, 0.99)[0].scores.max() == 1


def centerface_outputs(pictures: int) -> dict[str, FloatArray]:
    shape = (pictures, 1, SIZE[0] // 4, SIZE[1] // 4)
    widths = {"537": 1, "538": 2, "539": 2, "540": 10}
    return {name: np.zeros((shape[0], n, *shape[2:]), np.float32) for name, n in widths.items()}


def test_centerface_cell_by_cell() -> None:
    outputs = centerface_outputs(2)
    rng = np.random.default_rng(0)
    cells = [(0, 3, 5, 0.9), (1, 10, 20, 0.7), (1, 0, 0, 0.51), (1, 2, 2, 0.3)]
    values = {}
    for picture, row, column, score in cells:
        outputs["537"][picture, 0, row, column] = score
        log_h, log_w, off_y, off_x = rng.normal(0.5, 0.3, 4)
        points = rng.uniform(0, 1, (5, 2))  # (y, x), shares of the box
        outputs["538"][picture, :, row, column] = log_h, log_w
        outputs["539"][picture, :, row, column] = off_y, off_x
        outputs["540"][picture, :, row, column] = points.reshape(-1)
        height, width = 4 * math.exp(log_h), 4 * math.exp(log_w)
        x0, y0 = (column + off_x + 0.5) * 4 - width / 2, (row + off_y + 0.5) * 4 - height / 2
        landmarks = [(x0 + x * width, y0 + y * height) for y, x in points]
        values[picture, row, column] = [score, x0, y0, x0 + width, y0 + height, *np.ravel(landmarks)]
    decoded = centerface(outputs, SIZE, 0.5)
    assert [len(f) for f in decoded] == [1, 2]
    assert np.allclose(rows(decoded[0])[0], values[0, 3, 5], atol=1e-3)
    assert np.allclose(rows(decoded[1]), [values[1, 0, 0], values[1, 10, 20]], atol=1e-3)


def test_centerface_without_a_face() -> None:
    assert [len(f) for f in centerface(centerface_outputs(3), SIZE, 0.5)] == [0, 0, 0]
