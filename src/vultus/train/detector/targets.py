"""Which cell answers for which face, and how far off is its answer?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from vultus.train.detector.network import STRIDES

# Sides of the faces that a level answers for, in cells; neighbours overlap.
_SMALLEST, _LARGEST = 2.25, 6.25
_MIDDLE = 0.25  # cells up to this share of the box from its middle answer for it
BACKGROUND, IGNORED = -1, -2


@dataclass(frozen=True, slots=True, eq=False)
class Marks:
    """The faces of one picture.

    Args:
        boxes: (n, 4) float32 (x0, y0, x1, y1).
        ignored: (n,) bool; neither to be found nor to be missed.
        landmarks: (n, 5, 2) float32, NaN where they are not known.
    """

    boxes: Tensor
    ignored: Tensor
    landmarks: Tensor


def grid(height: int, width: int) -> tuple[Tensor, Tensor]:
    """(p, 2) middles of all cells of all levels, row by row, and their (p,) strides.

    Args:
        height, width: of the picture, multiples of 32.
    """
    points, strides = [], []
    for stride in STRIDES:
        y, x = torch.meshgrid(torch.arange(height // stride), torch.arange(width // stride), indexing="ij")
        points.append((torch.stack([x, y], dim=-1).reshape(-1, 2) + 0.5) * stride)
        strides.append(torch.full((y.numel(),), float(stride)))
    return torch.cat(points), torch.cat(strides)


def assign(points: Tensor, strides: Tensor, marks: Marks) -> Tensor:
    """(p,) number of the face that each cell answers for, `BACKGROUND`, or `IGNORED`.

    A cell answers for a face whose size fits the level and whose middle is near: within a quarter of the box, and always for
    the cell that holds it. Of several faces the smallest wins. Cells in an ignored face are left out.

    Args:
        points, strides: of `grid`.
        marks: n faces.
    """
    chosen = torch.full((len(points),), BACKGROUND)
    if not len(marks.boxes):
        return chosen
    low, high = marks.boxes[:, :2], marks.boxes[:, 2:]
    sides, middle = high - low, (low + high) / 2
    inside = ((points[:, None] >= low) & (points[:, None] < high)).all(dim=2)  # (p, n)
    chosen[(inside & marks.ignored).any(dim=1)] = IGNORED
    size = sides.clamp(min=1e-3).prod(dim=1).sqrt()
    cells = size / strides[:, None]
    fits = (cells >= _SMALLEST) | (strides[:, None] == STRIDES[0])
    fits &= (cells < _LARGEST) | (strides[:, None] == STRIDES[-1])
    reach = torch.maximum(_MIDDLE * sides, 0.5 * strides[:, None, None])
    near = ((points[:, None] - middle).abs() <= reach).all(dim=2)
    wanted = near & fits & ~marks.ignored
    area = torch.where(wanted, size, torch.inf)
    smallest, which = area.min(dim=1)
    return torch.where(torch.isfinite(smallest), which, chosen)


def decode(raw: Tensor, points: Tensor, strides: Tensor) -> Tensor:
    """(..., p, 4) boxes of answers (..., p, 4): middle from that of the cell, and log size, both in cells."""
    middle = points + raw[..., :2] * strides[:, None]
    half = torch.exp(raw[..., 2:].clamp(max=6.0)) * (strides[:, None] / 2)
    return torch.cat([middle - half, middle + half], dim=-1)


def overlap(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """(k,) intersection over union, and generalised (Rezatofighi et al. 2019, eq. 3), of boxes (k, 4) pair by pair."""
    shared = (
        (torch.minimum(one[:, 2:], other[:, 2:]) - torch.maximum(one[:, :2], other[:, :2])).clamp(min=0).prod(dim=1)
    )
    around = (torch.maximum(one[:, 2:], other[:, 2:]) - torch.minimum(one[:, :2], other[:, :2])).prod(dim=1)
    union = (one[:, 2:] - one[:, :2]).prod(dim=1) + (other[:, 2:] - other[:, :2]).prod(dim=1) - shared
    iou = shared / union.clamp(min=1e-6)
    return iou, iou - (around - union) / around.clamp(min=1e-6)


def detection_loss(
    outputs: list[Tensor], marks: list[Marks], *, box: float = 2.0, landmarks: float = 1.0
) -> dict[str, Tensor]:
    """Parts of the loss by name: "score", "box" and "landmarks", each a mean over the cells that answer for a face.

    Score: the quality focal loss (Li et al. 2020, Generalized focal loss, arXiv:2006.04388, eq. 2, beta = 2): a cell that
    answers for a face is to say how much its box overlaps it, and all others 0. Box: one minus the generalised intersection
    over union. Landmarks: the distance in units of the box (smooth L1), where they are known.

    Args:
        outputs: of `Pyramid`, for n pictures.
        marks: n pictures' faces.
        box, landmarks: factors of these two parts.
    """
    height, width = (side * STRIDES[0] for side in outputs[0].shape[2:])
    points, strides = grid(height, width)
    raw = torch.cat([o.float().flatten(2) for o in outputs], dim=2).transpose(1, 2)  # (n, p, 15)
    chosen = torch.stack([assign(points, strides, m) for m in marks])
    picture, cell = torch.nonzero(chosen >= 0, as_tuple=True)
    count = max(1, len(picture))
    if len(picture):
        first = torch.tensor([0, *[len(m.boxes) for m in marks]]).cumsum(0)[:-1]
        face = first[picture] + chosen[picture, cell]
        truth = torch.cat([m.boxes for m in marks])[face]
        answered = raw[picture, cell]
        found = decode(answered[:, 1:5], points[cell], strides[cell])
        iou, generalised = overlap(found, truth)
        quality = iou.detach().clamp(0, 1)
        off_box = (1 - generalised).sum() / count
        places = torch.cat([m.landmarks for m in marks])[face]
        relative = (places - (truth[:, None, :2] + truth[:, None, 2:]) / 2) / (truth[:, None, 2:] - truth[:, None, :2])
        known = torch.isfinite(relative).all(dim=2).all(dim=1)
        answers = answered[:, 5:].unflatten(1, (5, 2))  # type: ignore[no-untyped-call]
        off = functional.smooth_l1_loss(answers[known], relative[known], beta=0.05, reduction="sum")
        off_points = off / max(1, int(known.sum()))
    else:
        quality = raw.new_zeros(0)
        off_box = off_points = raw.sum() * 0
    target = torch.zeros(chosen.shape)
    target[picture, cell] = quality
    logits, counted = raw[..., 0], chosen != IGNORED
    loss = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    focal = (loss * (target - torch.sigmoid(logits)).square() * counted).sum() / count
    return {"score": focal, "box": box * off_box, "landmarks": landmarks * off_points}
