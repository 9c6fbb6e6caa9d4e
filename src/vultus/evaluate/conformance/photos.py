"""Photos for the conformance checks: portraits and variants of them, and all that must be refused."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from vultus.image import ImageSource
from vultus.types import UInt8Array

Case = tuple[str, ImageSource, str, tuple[str, ...]]


@dataclass(frozen=True, slots=True, eq=False)
class Photos:
    """What the checks look at.

    Args:
        faces: photos with one face: each portrait, mirrored, and smaller as JPEG.
        twin: the first portrait under another name.
        empty: a photo without a face.
        refused: (what it is, source, policy, codes of which one is expected) for each kind of bad input.
    """

    faces: tuple[str, ...]
    twin: str
    empty: str
    refused: tuple[Case, ...]


def make_photos(folder: Path, portraits: Sequence[UInt8Array]) -> Photos:
    """Write the photos into a new folder."""
    folder.mkdir(parents=True)
    faces = []
    for i, pixels in enumerate(portraits):
        picture = Image.fromarray(pixels)
        smaller = picture.resize((max(1, picture.width * 3 // 4), max(1, picture.height * 3 // 4)))
        for name, shown in (
            (f"portrait{i}.png", picture),
            (f"portrait{i}-mirrored.png", picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
            (f"portrait{i}-small.jpg", smaller),
        ):
            shown.save(folder / name)
            faces.append(str(folder / name))
    (folder / "twin.png").write_bytes((folder / "portrait0.png").read_bytes())
    Image.new("RGB", (320, 240), (96, 120, 96)).save(folder / "empty.png")
    return Photos(tuple(faces), str(folder / "twin.png"), str(folder / "empty.png"), tuple(_refused(folder, portraits)))


def _refused(folder: Path, portraits: Sequence[UInt8Array]) -> list[Case]:
    rng = np.random.default_rng(0)
    whole = io.BytesIO()
    Image.fromarray(portraits[0]).save(whole, "JPEG", quality=90)
    contents = {
        "a file of 0 bytes": b"",
        "a file of random bytes": rng.bytes(4_096),
        "a file of text": b"this is not a picture\n" * 40,
        "half of a JPEG": whole.getvalue()[: len(whole.getvalue()) // 2],
    }
    cases: list[Case] = []
    for i, (what, content) in enumerate(contents.items()):
        path = folder / f"broken{i}.jpg"
        path.write_bytes(content)
        cases += [
            (what, str(path), "largest", ("parse_error",)),
            (f"{what}, as bytes", content, "largest", ("parse_error",)),
        ]
    noise = rng.integers(0, 256, (240, 320, 3), dtype=np.uint8)
    return [
        *cases,
        ("a file that is missing", str(folder / "missing.jpg"), "largest", ("source_unavailable",)),
        ("a folder", str(folder), "largest", ("source_unavailable",)),
        ("a photo without a face", str(folder / "empty.png"), "largest", ("no_face",)),
        ("noise", noise, "largest", ("no_face",)),
        ("two faces where one is asked for", _beside(portraits[0], portraits[1]), "one", ("many_faces",)),
        ("an array of floats", np.zeros((64, 64, 3)), "largest", ("unsupported",)),
        ("an array without pixels", np.zeros((0, 64, 3), dtype=np.uint8), "largest", ("parse_error",)),
        ("an object of another kind", object(), "largest", ("bad_argument",)),  # type: ignore[list-item]
    ]


def _beside(one: UInt8Array, other: UInt8Array) -> UInt8Array:
    """Two pictures side by side, at the height of the lower one."""
    height = min(one.shape[0], other.shape[0])
    sides = []
    for pixels in (one, other):
        width = round(pixels.shape[1] * height / pixels.shape[0])
        sides.append(np.asarray(Image.fromarray(pixels).resize((width, height))))
    return np.concatenate(sides, axis=1)
