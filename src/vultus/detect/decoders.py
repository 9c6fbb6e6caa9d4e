"""What the outputs of each detector mean: outputs and a score in, boxes, landmarks and scores of each picture out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import starmap

import numpy as np

from vultus.types import Faces, FloatArray, IntArray

Outputs = Mapping[str, FloatArray]
Decoder = Callable[[Outputs, tuple[int, int], float], list[Faces]]


def yunet(outputs: Outputs, size: tuple[int, int], score: float) -> list[Faces]:
    """YuNet (Wu et al. 2023): anchor-free points on grids of stride 8, 16 and 32.

    A point's score is the geometric mean of its class and object scores; its box is a centre offset and a log size, its
    landmarks are offsets, all in units of the stride.

    Args:
        outputs: cls_s, obj_s (n, cells, 1), bbox_s (n, cells, 4), kps_s (n, cells, 10) for each stride s.
        size: (height, width) of the input.
        score: points below it are dropped.
    """
    found: list[list[tuple[FloatArray, FloatArray, FloatArray]]] = [[] for _ in outputs["cls_8"]]
    for stride in (8, 16, 32):
        joint = outputs[f"cls_{stride}"][..., 0] * outputs[f"obj_{stride}"][..., 0]
        pictures, cells = np.nonzero(joint >= score * score)
        if not len(cells):
            continue
        columns = size[1] // stride
        grid = np.stack([cells % columns, cells // columns], axis=1).astype(np.float32)
        raw = outputs[f"bbox_{stride}"][pictures, cells]
        centre, half = (grid + raw[:, :2]) * stride, np.exp(raw[:, 2:]) * (stride / 2)
        boxes = np.concatenate([centre - half, centre + half], axis=1)
        points = (outputs[f"kps_{stride}"][pictures, cells].reshape(-1, 5, 2) + grid[:, None]) * stride
        scores = np.sqrt(np.minimum(joint[pictures, cells], 1.0))
        for picture in np.unique(pictures):
            rows = pictures == picture
            found[picture].append((boxes[rows], points[rows], scores[rows]))
    return [_joined(parts) for parts in found]


def centerface(outputs: Outputs, size: tuple[int, int], score: float) -> list[Faces]:
    """CenterFace (Xu et al. 2019): peaks of a heat map of stride 4, with log size, offset and landmarks per cell.

    Args:
        outputs: "537" heat map (n, 1, h, w), "538" log size (n, 2, h, w), "539" offset (n, 2, h, w) and "540" landmarks
            (n, 10, h, w), each as (y, x), landmarks in units of the box from its upper left corner.
        size: (height, width) of the input.
        score: cells below it are dropped.
    """
    heat = outputs["537"][:, 0]

    def decode(picture: int, rows: IntArray, columns: IntArray) -> Faces:
        at = (picture, slice(None), rows, columns)
        sides = np.exp(outputs["538"][at])[:, ::-1] * 4
        offset = outputs["539"][at][:, ::-1]
        corner = (np.stack([columns, rows], axis=1) + offset + 0.5) * 4 - sides / 2
        points = outputs["540"][at].reshape(-1, 5, 2)[..., ::-1] * sides[:, None] + corner[:, None]
        boxes = np.concatenate([corner, corner + sides], axis=1)
        return Faces(boxes.astype(np.float32), points.astype(np.float32), heat[picture, rows, columns])

    return list(starmap(decode, ((i, *np.nonzero(cells >= score)) for i, cells in enumerate(heat))))


def _joined(parts: list[tuple[FloatArray, FloatArray, FloatArray]]) -> Faces:
    if not parts:
        return Faces.none()
    boxes, points, scores = (np.concatenate(p) for p in zip(*parts, strict=True))
    return Faces(boxes, points, scores)


DECODERS: dict[str, Decoder] = {"yunet": yunet, "centerface": centerface}
