"""Quality of a sample as named measures, after the quality components of ISO/IEC 29794-5.

The measures are this project's own, simpler than the standard's and not conformant to it; they say why a sample may
compare badly, and `overall` orders samples from one another. Its weights are set by hand, not learned.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import cv2
import numpy as np

from vultus._export import export
from vultus.errors import BadArgument
from vultus.types import Faces, Float64Array, FloatArray, UInt8Array

# Eyes, nose tip and corners of the mouth of an average adult head, in millimetres: x to the left of the picture's right,
# y down, z towards the camera. Rounded from published anthropometric means (Farkas 1994): only ratios matter here.
_HEAD = np.array(
    [[-31.5, 0.0, 0.0], [31.5, 0.0, 0.0], [0.0, 36.0, 26.0], [-25.0, 66.0, 2.0], [25.0, 66.0, 2.0]], dtype=np.float64
)


@export("vultus.Quality")
@dataclass(frozen=True, slots=True, eq=False)
class Quality:
    """Measures of n samples, each (n,) float32.

    Args:
        sharpness: 0 to 1, from the energy of the Laplacian of the crop; falls with blur and low resolution.
        exposure: mean luminance of the face, 0 to 1; about a half is good.
        dynamic_range: distance of the 2nd and 98th percentile of luminance, 0 to 1.
        inter_eye_distance: in pixels of the photo.
        yaw, pitch, roll: pose in radians from the landmarks; yaw > 0 where the nose points to the right of the picture,
            pitch > 0 where it points down, roll > 0 where the head is turned clockwise in the picture.
        overall: 0 to 1, the product of how far each measure is from harming recognition.
    """

    sharpness: FloatArray
    exposure: FloatArray
    dynamic_range: FloatArray
    inter_eye_distance: FloatArray
    yaw: FloatArray
    pitch: FloatArray
    roll: FloatArray
    overall: FloatArray

    def __len__(self) -> int:
        return len(self.overall)

    def row(self, index: int) -> dict[str, float]:
        """The measures of one sample by name."""
        return {f.name: float(getattr(self, f.name)[index]) for f in fields(self)}


@export("vultus.measure_quality")
def measure_quality(crops: UInt8Array, faces: Faces) -> Quality:
    """Quality of aligned faces.

    Args:
        crops: (n, h, w, 3) uint8 RGB, aligned.
        faces: the n faces that they were cut from.

    Raises:
        BadArgument: other types or shapes.
    """
    crops = np.asarray(crops)
    fits = crops.dtype == np.uint8 and crops.ndim == 4 and crops.shape[3] == 3 and len(crops) == len(faces)
    if not fits or min(crops.shape[1:3]) < 2:
        raise BadArgument(f"crops are {crops.dtype} of shape {crops.shape}; expected uint8 ({len(faces)}, h, w, 3)")
    # the middle of the crop: eyes to mouth, without hair and background
    h, w = crops.shape[1:3]
    inner = crops[:, int(0.3 * h) : int(0.92 * h), int(0.2 * w) : int(0.8 * w)]
    luma = (inner @ np.array([0.299, 0.587, 0.114])).astype(np.float32)
    energy = np.array([cv2.Laplacian(x, cv2.CV_32F).std() for x in luma], dtype=np.float64)
    contrast = luma.reshape(len(luma), -1).std(axis=1) if len(luma) else np.zeros(0)
    low, high = np.percentile(luma.reshape(len(luma), -1), [2, 98], axis=1) if len(luma) else np.zeros((2, 0))
    sharpness = np.tanh(energy / np.maximum(contrast, 4.0) / 0.35)
    exposure, spread = luma.mean(axis=(1, 2)) / 255, (high - low) / 255
    eyes = np.linalg.norm(faces.landmarks[:, 1] - faces.landmarks[:, 0], axis=1)
    yaw, pitch, roll = pose(faces.landmarks)
    harm = (
        _ramp(sharpness, 0.15, 0.6),
        _ramp(exposure, 0.05, 0.25),
        _ramp(1 - exposure, 0.05, 0.2),
        _ramp(spread, 0.08, 0.35),
        _ramp(eyes, 8.0, 35.0),
        _ramp(np.cos(yaw), 0.35, 0.9),
        _ramp(np.cos(pitch), 0.5, 0.9),
    )
    overall = np.prod(np.stack(harm), axis=0)
    measures = (sharpness, exposure, spread, eyes, yaw, pitch, roll, overall)
    return Quality(*(np.asarray(m, dtype=np.float32) for m in measures))


def _ramp(values: Float64Array, bad: float, good: float) -> Float64Array:
    """0.05 at `bad` and below, 1 at `good` and above, linear between."""
    return np.asarray(0.05 + 0.95 * np.clip((values - bad) / (good - bad), 0, 1))


def pose(landmarks: FloatArray) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Yaw, pitch and roll in radians by a scaled orthographic fit of an average head to five landmarks.

    The least-squares affine camera (Tomasi and Kanade 1992, section 3.1) gives two rows of a scaled rotation; the rotation
    nearest to them gives the angles. Five points of an average head bound the accuracy to some ten degrees.

    Args:
        landmarks: (n, 5, 2).
    """
    head = _HEAD - _HEAD.mean(axis=0)
    points = landmarks.astype(np.float64)
    points = points - points.mean(axis=1, keepdims=True)
    rows = np.swapaxes(np.linalg.pinv(head) @ points, 1, 2)  # (n, 2, 3): image axes in terms of head axes
    u, _, vt = np.linalg.svd(rows, full_matrices=False)
    rotation = u @ vt
    forward = np.cross(rotation[:, 0], rotation[:, 1])
    yaw = np.arctan2(rotation[:, 0, 2], forward[:, 2])
    pitch = np.arctan2(rotation[:, 1, 2], np.hypot(rotation[:, 0, 2], forward[:, 2]))
    eyes = landmarks[:, 1].astype(np.float64) - landmarks[:, 0]
    return yaw, pitch, np.arctan2(eyes[:, 1], eyes[:, 0])
