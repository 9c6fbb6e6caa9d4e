"""A contact sheet: pictures in a grid, each with its face marked and a caption."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vultus.types import Faces, UInt8Array

_SIDE, _TEXT, _GAP = 216, 40, 14
_INK, _PAPER, _RIGHT, _WRONG, _MARK = (34, 37, 41), (250, 250, 248), (22, 128, 72), (190, 40, 40), (40, 110, 200)


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """One picture of a sheet.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        face: the face to mark, or None.
        caption: one or two lines.
        right: whether the decision is right, which colours the caption; None where there is none.
    """

    pixels: UInt8Array
    face: Faces | None
    caption: str
    right: bool | None


def contact_sheet(cells: Sequence[Cell], *, title: str, columns: int = 6, side: int = _SIDE) -> Image.Image:
    """The sheet as a picture; each cell shows a square of that side."""
    columns = min(columns, max(1, len(cells)))
    rows = -(-len(cells) // columns)
    width = columns * (side + _GAP) + _GAP
    sheet = Image.new("RGB", (max(width, 620), 56 + rows * (side + _TEXT + _GAP)), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_GAP, 18), title, fill=_INK, font=ImageFont.load_default(19))
    font = ImageFont.load_default(14)
    for i, cell in enumerate(cells):
        x, y = _GAP + (i % columns) * (side + _GAP), 56 + (i // columns) * (side + _TEXT + _GAP)
        sheet.paste(_thumbnail(cell, side), (x, y))
        colour = _INK if cell.right is None else _RIGHT if cell.right else _WRONG
        for line, text in enumerate(cell.caption.split("\n")[:2]):
            draw.text((x, y + side + 3 + 17 * line), _fitted(text, font, draw, side), fill=colour, font=font)
    return sheet


def _fitted(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, draw: ImageDraw.ImageDraw, side: int) -> str:
    while len(text) > 4 and draw.textlength(text, font=font) > side:
        text = text[:-2].rstrip() + "…"
    return text


def _thumbnail(cell: Cell, shown: int) -> Image.Image:
    """The middle of the picture about the face, square, with the face's box and landmarks."""
    height, width = cell.pixels.shape[:2]
    side = min(height, width)
    cx, cy = width / 2, height / 2
    if cell.face is not None:
        side = int(min(side, max(48.0, 2.4 * float(cell.face.sizes[0]))))
        cx, cy = (float(v) for v in (cell.face.boxes[0, :2] + cell.face.boxes[0, 2:]) / 2)
    x0 = int(np.clip(cx - side / 2, 0, width - side))
    y0 = int(np.clip(cy - side / 2, 0, height - side))
    part = Image.fromarray(cell.pixels[y0 : y0 + side, x0 : x0 + side])
    view = part.resize((shown, shown), Image.Resampling.LANCZOS)
    if cell.face is not None:
        draw = ImageDraw.Draw(view)
        scale = shown / side
        box = [(float(v) - o) * scale for v, o in zip(cell.face.boxes[0], (x0, y0, x0, y0), strict=True)]
        draw.rectangle(box, outline=_MARK, width=2)
        for x, y in cell.face.landmarks[0]:
            px, py = (float(x) - x0) * scale, (float(y) - y0) * scale
            draw.ellipse([px - 2, py - 2, px + 2, py + 2], fill=_MARK)
    return view
