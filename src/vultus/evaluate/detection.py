"""Detection: average precision on photos whose faces somebody has marked."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vultus._export import export
from vultus.detect import Detector
from vultus.errors import BadArgument, SourceUnavailable, VultusError
from vultus.geometry import box_iou
from vultus.types import BoolArray, Faces, Float64Array, FloatArray


@export("vultus.evaluate.MarkedPhoto")
@dataclass(frozen=True, slots=True, eq=False)
class MarkedPhoto:
    """A photo and its marked faces.

    Args:
        file: path.
        boxes: (n, 4) float32 (x0, y0, x1, y1).
        ignored: (n,) True for faces that are neither to be found nor to be missed.
    """

    file: str
    boxes: FloatArray
    ignored: BoolArray


@export("vultus.evaluate.DetectionResult")
@dataclass(frozen=True, slots=True)
class DetectionResult:
    """How well faces are found.

    Args:
        detector: name and start of the sha256 of the weights.
        photos, faces: how many; faces that count.
        smallest: faces with a shorter side below this are ignored, in pixels.
        average_precision: area under precision over recall, at an overlap of one half (AP50).
        recall: share of the faces found at the score that detections were cut at.
        false_positives: detections that cover no marked face, ignored ones included.
        score: that detections were cut at.
        failures: photos that could not be read.
    """

    detector: str
    photos: int
    faces: int
    smallest: float
    average_precision: float
    recall: float
    false_positives: int
    score: float
    failures: tuple[str, ...] = ()


@export("vultus.evaluate.read_marked_photos")
def read_marked_photos(path: str | Path) -> list[MarkedPhoto]:
    """Marked photos from `annotations.json` beside `images/` ("file", "boxes_xywh", "invalid"), or from dlib's XML.

    Raises:
        SourceUnavailable: no such file.
        BadArgument: it is of another form.
    """
    file = Path(path)
    if file.is_dir():
        file = file / "annotations.json"
    try:
        content = file.read_text(encoding="utf-8", errors="strict")
    except (OSError, UnicodeDecodeError) as problem:
        raise SourceUnavailable(f"cannot read {file}: {problem}") from problem
    try:
        return _from_xml(content, file.parent) if file.suffix == ".xml" else _from_json(content, file.parent)
    except (ValueError, KeyError, TypeError, ET.ParseError) as problem:
        raise BadArgument(f"{file} does not hold marked photos: {problem!r}") from problem


def _from_json(content: str, folder: Path) -> list[MarkedPhoto]:
    photos = []
    for entry in json.loads(content):
        boxes = np.asarray(entry["boxes_xywh"], dtype=np.float32).reshape(-1, 4)
        boxes = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
        ignored = np.asarray(entry.get("invalid", [0] * len(boxes)), dtype=np.bool_)
        photos.append(MarkedPhoto(str(folder / "images" / entry["file"]), boxes, ignored))
    return photos


def _from_xml(content: str, folder: Path) -> list[MarkedPhoto]:
    if "<!ENTITY" in content or "<!DOCTYPE" in content:
        raise ValueError("entities are not read")
    photos = []
    for image in ET.fromstring(content).iter("image"):  # noqa: S314 - entities refused above
        marks = [[float(b.attrib[k]) for k in ("left", "top", "width", "height")] for b in image.iter("box")]
        boxes = np.asarray(marks, dtype=np.float32).reshape(-1, 4)
        boxes = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
        ignored = np.array([b.get("ignore") == "1" for b in image.iter("box")], dtype=np.bool_)
        photos.append(MarkedPhoto(str(folder / image.attrib["file"]), boxes, ignored))
    return photos


@export("vultus.evaluate.measure_detection")
def measure_detection(
    photos: Sequence[MarkedPhoto],
    detector: Detector,
    *,
    smallest: float = 16,
    min_face: float = 16,
    score: float | None = None,
    overlap: float = 0.5,
    progress: Callable[[int], None] | None = None,
) -> DetectionResult:
    """Average precision of a detector.

    Detections are taken best first. One that overlaps a face that counts and is still free finds it; otherwise one that
    overlaps an ignored face is ignored too; otherwise it is a false positive (PASCAL VOC, Everingham et al. 2010).

    Args:
        photos: marked photos.
        detector: what is evaluated.
        smallest: faces with a shorter side below this, in pixels, are ignored.
        min_face: passed to the detector.
        score: detections below it are dropped; the manifest's value unless told otherwise.
        overlap: least intersection over union of a find.
        progress: called with 1 after each photo.

    Raises:
        BadArgument: no marked face is large enough to count.
    """
    found: list[tuple[float, bool]] = []
    faces, failures = 0, []
    for photo in photos:
        sides = (photo.boxes[:, 2:] - photo.boxes[:, :2]).min(axis=1) if len(photo.boxes) else np.zeros(0)
        ignored = photo.ignored | (sides < smallest)
        faces += int(np.count_nonzero(~ignored))
        try:
            found += matched(
                detector(photo.file, min_face=min_face, score=score), photo.boxes, ignored, overlap=overlap
            )
        except VultusError as problem:
            failures.append(f"{photo.file}: {problem.code}: {problem}")
        if progress is not None:
            progress(1)
    if not faces:
        raise BadArgument(f"no marked face has a shorter side of {smallest} pixels or more")
    hits = np.array([hit for _, hit in sorted(found, key=lambda f: -f[0])], dtype=np.bool_)
    return DetectionResult(
        detector=detector.id,
        photos=len(photos),
        faces=faces,
        smallest=smallest,
        average_precision=average_precision(hits, faces),
        recall=float(hits.sum()) / faces,
        false_positives=int((~hits).sum()),
        score=score if score is not None else detector.manifest.detection.score,  # type: ignore[union-attr]
        failures=tuple(failures),
    )


def matched(faces: Faces, boxes: FloatArray, ignored: BoolArray, *, overlap: float) -> list[tuple[float, bool]]:
    """(score, whether it finds a face) of each detection that is not ignored."""
    if not len(boxes):
        return [(float(s), False) for s in faces.scores]
    shared = box_iou(faces.boxes, boxes)
    free = ~ignored
    result = []
    for row, score in zip(shared, faces.scores, strict=True):
        best = int(np.argmax(np.where(free, row, -1.0)))
        if free[best] and row[best] >= overlap:
            free[best] = False
            result.append((float(score), True))
        elif not (row[ignored] >= overlap).any():
            result.append((float(score), False))
    return result


def average_precision(hits: BoolArray, faces: int) -> float:
    """Area under the precision envelope over recall.

    Args:
        hits: (n,) whether each detection finds a face, best first.
        faces: how many there are to find.
    """
    right = np.cumsum(hits)
    precision: Float64Array = right / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((envelope * hits).sum() / faces)
