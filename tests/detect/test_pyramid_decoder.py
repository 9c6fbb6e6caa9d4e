"""The decoder of trained detectors against the plain formula, cell by cell."""

from __future__ import annotations

import numpy as np

from vultus.detect.decoders import pyramid


def test_decoding_equals_the_formula_cell_by_cell() -> None:
    rng = np.random.default_rng(0)
    n, height, width, score = 3, 64, 96, 0.9
    outputs = {}
    for stride in (8, 16, 32):
        shape = (height // stride, width // stride)
        outputs[f"score_{stride}"] = rng.random((n, 1, *shape), dtype=np.float32)
        outputs[f"box_{stride}"] = rng.standard_normal((n, 4, *shape), dtype=np.float32)
        outputs[f"points_{stride}"] = rng.standard_normal((n, 10, *shape), dtype=np.float32)
    found = pyramid(outputs, (height, width), score)
    assert len(found) == n
    for picture, faces in enumerate(found):
        expected = []
        for stride in (8, 16, 32):
            for y in range(height // stride):
                for x in range(width // stride):
                    certain = outputs[f"score_{stride}"][picture, 0, y, x]
                    if certain < score:
                        continue
                    dx, dy, w, h = outputs[f"box_{stride}"][picture, :, y, x].tolist()
                    cx, cy = (x + 0.5 + dx) * stride, (y + 0.5 + dy) * stride
                    w, h = float(np.exp(w)) * stride, float(np.exp(h)) * stride
                    points = outputs[f"points_{stride}"][picture, :, y, x].reshape(5, 2) * (w, h) + (cx, cy)
                    expected.append([certain, cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2, *points.flatten()])
        rows = np.concatenate([faces.scores[:, None], faces.boxes, faces.landmarks.reshape(-1, 10)], axis=1)
        assert len(rows) == len(expected) > 0
        np.testing.assert_allclose(rows, np.array(expected), rtol=1e-4, atol=1e-3)
    assert all(len(faces) == 0 for faces in pyramid(outputs, (height, width), 1.0))
