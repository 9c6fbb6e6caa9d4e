"""A picture of receptive fields on a face."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vultus._export import export
from vultus.analyze.receptive_field.effective import EffectiveField
from vultus.analyze.receptive_field.fields import PixelBox, ReceptiveFields
from vultus.errors import BadArgument
from vultus.types import UInt8Array

_INK, _PAPER, _OUTSIDE = (34, 37, 41), (250, 250, 248), (226, 228, 230)
_COLOURS = ((0, 114, 178), (213, 94, 0), (0, 128, 92), (204, 121, 167), (86, 180, 233), (230, 159, 0))  # Okabe and Ito
_MARGIN, _TEXT, _GAP = 0.25, 44, 16


@export("vultus.analyze.receptive_field.draw_fields")
def draw_fields(
    fields: ReceptiveFields,
    face: UInt8Array,
    *,
    names: Sequence[str] | None = None,
    effective: EffectiveField | None = None,
    side: int = 420,
) -> Image.Image:
    """The face, and on it the field of the middle unit of some nodes; beside it the effective field, where there is one.

    A field that reaches over the picture is drawn over its edge, where the network sees padding.

    Args:
        fields: of the network.
        face: (H, W, 3) uint8 RGB of the size that the network takes, such as an aligned crop.
        names: of nodes. Unless told otherwise the last node of each jump.
        effective: to be drawn as light: what it does not see is dark.
        side: pixels of the longer side of the drawn face.

    Raises:
        BadArgument: a face of another size, or no such node.
    """
    height, width = fields.input_size[1:]
    if face.shape != (height, width, 3) or face.dtype != np.uint8:
        raise BadArgument(f"a face of shape {face.shape} and {face.dtype}; expected {(height, width, 3)} and uint8")
    names = last_of_each_jump(fields) if names is None else names
    zoom = max(1, round(side / max(height, width)))
    margin = int(_MARGIN * max(height, width)) * zoom
    panel = (width * zoom + 2 * margin, height * zoom + 2 * margin)
    panels = 1 if effective is None else 2
    rows = (len(names) + 1) // 2
    sheet = Image.new("RGB", (panels * (panel[0] + _GAP) + _GAP, panel[1] + _TEXT + 22 * rows + _GAP), _PAPER)
    draw = ImageDraw.Draw(sheet)
    title = f"{fields.model}: field of the middle unit, {width} x {height} pixels"
    draw.text((_GAP, 12), title, fill=_INK, font=ImageFont.load_default(17))
    large = Image.fromarray(face).resize((width * zoom, height * zoom), Image.Resampling.BICUBIC)
    canvas = Image.new("RGB", panel, _OUTSIDE)
    canvas.paste(large, (margin, margin))
    pen = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(14)
    for i, name in enumerate(names):
        box, node = _box(fields, name), fields[name]
        colour = _COLOURS[i % len(_COLOURS)]
        if box is not None:
            corners = [margin + v * zoom for v in (box.left, box.top, box.right + 1, box.bottom + 1)]
            limits = (panel[0] - 2, panel[1] - 2, panel[0] - 2, panel[1] - 2)
            corners = [min(max(1, c), limit) for c, limit in zip(corners, limits, strict=True)]
            pen.rectangle(corners, outline=colour, width=3)
        x, y = _GAP + (i % 2) * (panel[0] // 2), _TEXT + panel[1] + 6 + 22 * (i // 2)
        draw.rectangle([x, y + 3, x + 11, y + 14], fill=colour)
        jump = "" if node.jump is None else f", jump {node.jump[0]:g}"
        text = f"{name[-34:]}: {node.size[1]} x {node.size[0]}{jump}"
        draw.text((x + 18, y), text, fill=_INK, font=font)
    sheet.paste(canvas, (_GAP, _TEXT))
    if effective is not None:
        sheet.paste(_lit(large, effective, panel, margin, zoom), (2 * _GAP + panel[0], _TEXT))
        text = f"effective field of {effective.name[-34:]}: side {effective.side:.0f} ({effective.share:.1%} of it)"
        draw.text((2 * _GAP + panel[0], _TEXT + panel[1] + 6), text, fill=_INK, font=font)
    return sheet


def last_of_each_jump(fields: ReceptiveFields) -> list[str]:
    """The last node with a formula of every jump, smallest jump first."""
    last = {node.jump: node.name for node in fields if node.formula and node.jump is not None}
    return [last[jump] for jump in sorted(last)]


def _box(fields: ReceptiveFields, name: str) -> PixelBox | None:
    """The field by formula of the middle unit, or what it sees where there is no formula."""
    rows, columns = fields[name].shape[-2:]
    return fields.theoretical(name, (rows // 2, columns // 2)) if fields[name].formula else fields.seen(name)


def _lit(large: Image.Image, effective: EffectiveField, panel: tuple[int, int], margin: int, zoom: int) -> Image.Image:
    """The face in the light of the weights, and a line around what the unit can see."""
    canvas = Image.new("RGB", panel, _OUTSIDE)
    light = np.kron(np.sqrt(effective.weight), np.ones((zoom, zoom)))[:, :, None]
    pixels = np.asarray(large, dtype=np.float64) * (0.12 + 0.88 * light)
    canvas.paste(Image.fromarray(pixels.astype(np.uint8)), (margin, margin))
    if effective.seen is not None:
        box = effective.seen
        corners = [margin + v * zoom for v in (box.left, box.top, box.right + 1, box.bottom + 1)]
        ImageDraw.Draw(canvas).rectangle(corners, outline=_COLOURS[1], width=3)
    return canvas
