"""The face in three dimensions: its pose from five landmarks, the portrait turned, and turned back to the front.

python examples/face3d.py [out.jpg]
"""

from __future__ import annotations

import math
import sys

import numpy as np
import skimage.data
from PIL import Image

from vultus import Detector, face3d
from vultus.types import UInt8Array

TILE = 144


def main(out: str | None = None) -> dict[str, float]:
    """Print what is found, draw it where `out` says, and give the angles back."""
    photo = np.asarray(skimage.data.astronaut())
    faces = Detector(threads=1)(photo)
    pose = face3d.fit(faces.landmarks[0])
    print(
        f"yaw {math.degrees(pose.yaw):.1f}, pitch {math.degrees(pose.pitch):.1f}, roll {math.degrees(pose.roll):.1f} degrees, "
        f"{pose.scale:.2f} pixels a millimetre, landmarks off by {pose.residuals.mean():.1f} pixels"
    )
    found = {"yaw": math.degrees(pose.yaw), "pitch": math.degrees(pose.pitch)}
    around = face3d.canonical((TILE, TILE), zoom=0.8)
    front = face3d.view(photo, pose, around, size=(TILE, TILE))
    above, below = [relief(around.turned(yaw=0.5)), front.pixels], []
    for yaw, pitch in ((-35, 0), (35, 0), (0, -20), (0, 20)):
        away = around.turned(yaw=math.radians(yaw), pitch=math.radians(pitch))
        above.append(face3d.view(photo, pose, away, size=(TILE, TILE)).pixels)
    for yaw in (-45, 45):
        aside = pose.turned(yaw=math.radians(yaw))
        side = face3d.view(photo, pose, aside, border="reflect").pixels
        below.append(face3d.view(side, aside, around.turned(yaw=math.radians(yaw)), size=(TILE, TILE)).pixels)
        for symmetry in (0.0, 1.0):
            back = face3d.view(side, aside, around, size=(TILE, TILE), symmetry=symmetry)
            below.append(back.pixels)
        hidden = 1 - float(back.shown[back.face].mean())
        print(f"at {yaw} degrees the photo hides {100 * hidden:.0f} % of the front of the face")
        found[f"hidden {yaw}"] = hidden
    if out is not None:
        Image.fromarray(np.vstack([np.hstack(above), np.hstack(below)])).save(out, quality=88)
    return found


def relief(pose: face3d.Pose3D) -> UInt8Array:
    """The mean face alone, lit from the camera."""
    mesh = face3d.mean_face()
    shade = np.clip(mesh.normals @ pose.rotation[2], 0, 1)
    lit = np.zeros((TILE, TILE, 3), dtype=np.uint8)
    near = np.argsort(pose.depth(mesh.vertices[mesh.triangles]).mean(axis=1))
    spots = pose.project(mesh.vertices[mesh.triangles].mean(axis=1))[near]
    for (x, y), value in zip(spots, shade[mesh.triangles].mean(axis=1)[near], strict=True):
        lit[max(0, int(y) - 1) : int(y) + 3, max(0, int(x) - 1) : int(x) + 3] = round(255 * float(value))
    return lit


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
