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
    strides, places, joint, offsets, points = [], [], [], [], []
    for level in (8, 16, 32):
        both = outputs[f"cls_{level}"].reshape(-1) * outputs[f"obj_{level}"].reshape(-1)
        at = np.flatnonzero(both >= score * score)
        strides.append(np.full(len(at), level))
        places.append(at)
        joint.append(both[at])
        offsets.append(outputs[f"bbox_{level}"].reshape(-1, 4)[at])
        points.append(outputs[f"kps_{level}"].reshape(-1, 5, 2)[at])
    stride, place, raw = np.concatenate(strides), np.concatenate(places), np.concatenate(offsets)
    columns, rows = size[1] // stride, size[0] // stride
    picture, cell = np.divmod(place, columns * rows)
    grid = np.stack([cell % columns, cell // columns], axis=1).astype(np.float32)
    unit = stride[:, None].astype(np.float32)
    centre, half = (grid + raw[:, :2]) * unit, np.exp(raw[:, 2:]) * (unit / 2)
    boxes = np.concatenate([centre - half, centre + half], axis=1)
    landmarks = (np.concatenate(points) + grid[:, None]) * unit[:, None]
    scores = np.sqrt(np.minimum(np.concatenate(joint), 1.0))
    pictures = len(outputs["cls_8"])
    if pictures == 1:
        return [Faces(boxes, landmarks, scores)]
    return [Faces(boxes[own], landmarks[own], scores[own]) for own in (picture == i for i in range(pictures))]


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


def pyramid(outputs: Outputs, size: tuple[int, int], score: float) -> list[Faces]:
    """The detector that `vultus.train.detector` exports: anchor-free, on grids of stride 8, 16 and 32.

    A cell's box is an offset of its middle and a log size, in units of the stride; its landmarks are in units of the box,
    from the middle of the box.

    Args:
        outputs: score_s (n, 1, h, w), box_s (n, 4, h, w) and points_s (n, 10, h, w) for each stride s.
        size: (height, width) of the input.
        score: cells below it are dropped.
    """
    pictures, boxes, points, scores = [], [], [], []
    for stride in (8, 16, 32):
        heat = outputs[f"score_{stride}"][:, 0]
        picture, row, column = np.nonzero(heat >= score)
        raw = outputs[f"box_{stride}"][picture, :, row, column]
        middle = (np.stack([column, row], axis=1) + 0.5 + raw[:, :2]) * stride
        sides = np.exp(np.minimum(raw[:, 2:], 6.0)) * stride
        landmarks = outputs[f"points_{stride}"][picture, :, row, column].reshape(-1, 5, 2)
        pictures.append(picture)
        boxes.append(np.concatenate([middle - sides / 2, middle + sides / 2], axis=1))
        points.append(landmarks * sides[:, None] + middle[:, None])
        scores.append(heat[picture, row, column])
    own, rows = np.concatenate(pictures), np.concatenate(boxes).astype(np.float32)
    places, certain = np.concatenate(points).astype(np.float32), np.concatenate(scores)
    count = len(outputs["score_8"])
    return [Faces(rows[own == i], places[own == i], certain[own == i]) for i in range(count)]


DECODERS: dict[str, Decoder] = {"yunet": yunet, "centerface": centerface, "pyramid": pyramid}
