"""The detector: photos to faces."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vultus._export import export
from vultus.detect.decoders import DECODERS
from vultus.detect.views import FIRST, View, coarse_view, fine_views, first_view
from vultus.errors import BadArgument, ManifestError
from vultus.geometry import box_iou, nms
from vultus.image import ImageSource, Photo, open_photo, pad_to, resize
from vultus.runtime import Settings, open_session, to_input
from vultus.types import Faces, UInt8Array
from vultus.weights import Manifest, load_manifest

_OVERLAP = 0.3
_SHRINKS = 0.92  # boxes of the smallest faces come out too small by up to this
_TOGETHER = 0.5  # candidates that overlap by this much show one face, and their mean is taken
_WEAK = 0.3  # candidates from this score on say whether another look is worth it
_FILLS = 350  # a face this large in the first view is found better in a smaller one


@export("vultus.Detector")
class Detector:
    """Finds faces with five landmarks, from very small to ones that fill the photo.

    Args:
        model: name or path of a detector's manifest, or a manifest.
        threads: inside one call; all cores that the process may use unless told otherwise.
        providers: execution providers by preference, such as ["cuda"].
        cache: where prepared weights are kept; the user's cache folder unless told otherwise.

    Raises:
        WeightsError: the weights cannot be had or do not work.
        ProviderUnavailable: this onnxruntime has no such provider.
    """

    def __init__(
        self,
        model: str | Path | Manifest = "yunet-2023mar",
        *,
        threads: int | None = None,
        providers: Sequence[str] | None = None,
        cache: Path | None = None,
    ) -> None:
        self.manifest = model if isinstance(model, Manifest) else load_manifest(model)
        if self.manifest.detection is None:
            raise ManifestError(f"{self.manifest.name!r} is no detector: its task is {self.manifest.task!r}")
        self._spec = self.manifest.detection
        self._decode = DECODERS[self._spec.decoder]
        self._settings, self._cache = Settings.of(threads, providers), cache
        self._session = open_session(self.manifest, self._settings, cache=cache)

    def single_threaded(self) -> Detector:
        """The same weights in a session of one thread, for callers that are many."""
        return Detector(self.manifest, threads=1, providers=self._settings.providers, cache=self._cache)

    @property
    def id(self) -> str:
        """Name and start of the sha256 of the weights."""
        return self.manifest.id

    def __call__(self, source: ImageSource, *, min_face: float = 16, score: float | None = None) -> Faces:
        """The faces of one photo, best score first.

        Args:
            source: a path, bytes, a file object, a PIL image, an array or a Photo.
            min_face: the smallest face wanted, by the longer side of its box in pixels of the photo. Small faces in large
                photos take time: a photo of 12 megapixels is searched some ten times faster for faces from 100 pixels
                than from 16.
            score: faces below it are dropped; the manifest's value unless told otherwise.

        Raises:
            ImageError: the photo cannot be read.
            BadArgument: `min_face` or `score` is out of range.
        """
        return self.many([source], min_face=min_face, score=score)[0]

    def many(self, sources: Sequence[ImageSource], *, min_face: float = 16, score: float | None = None) -> list[Faces]:
        """The faces of each photo; views of equal size share a batch."""
        score = self._spec.score if score is None else score
        if not 0 < score <= 1:
            raise BadArgument(f"score is {score!r}; expected a number in (0, 1]")
        if not min_face >= 1:
            raise BadArgument(f"min_face is {min_face!r}; expected at least 1 pixel")
        photos = [open_photo(s) for s in sources]
        sizes = [(p.width, p.height) for p in photos]
        views = [
            [first_view(*size), *fine_views(*size, min_face=min_face, smallest=self._spec.smallest)] for size in sizes
        ]
        decoded = [_decoded(photo, seen) for photo, seen in zip(photos, views, strict=True)]
        weak = min(score, _WEAK)
        found = self._look(decoded, views, weak)
        fills = [
            [coarse_view(*size)] if not len(faces[0]) or faces[0].sizes.max() * seen[0].scale > _FILLS else []
            for size, faces, seen in zip(sizes, found, views, strict=True)
        ]
        for faces, more in zip(found, self._look(decoded, fills, weak), strict=True):
            faces.extend(more)
        return [_merged(faces, size, min_face=min_face, score=score) for faces, size in zip(found, sizes, strict=True)]

    def _look(
        self, decoded: list[tuple[UInt8Array, float]], views: list[list[View]], score: float
    ) -> list[list[Faces]]:
        """The faces in each view of each photo, in pixels of the photo."""
        batches: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
        for i, seen in enumerate(views):
            for j, view in enumerate(seen):
                batches[self._input_size(view)].append((i, j))
        found = [[Faces.none() for _ in seen] for seen in views]
        for (height, width), members in batches.items():
            step = self._session.rows_at_once(height, width)
            for start in range(0, len(members), step):
                part = members[start : start + step]
                pixels = [pad_to(_render(*decoded[i], views[i][j]), (height, width)) for i, j in part]
                batch = np.stack(pixels) if len(pixels) > 1 else pixels[0][None]
                for (i, j), faces in zip(part, self.single_look(batch, score=score), strict=True):
                    found[i][j] = _to_photo(_of_view(faces, views[i][j]), views[i][j])
        return found

    def single_look(self, pictures: UInt8Array, *, score: float = _WEAK) -> list[Faces]:
        """The faces in pictures that are just right as they are: one pass, no other scales.

        Args:
            pictures: (n, h, w, 3) uint8 RGB, sides in the multiples that the manifest asks for.
            score: faces below it are dropped.
        """
        size = (pictures.shape[1], pictures.shape[2])
        step = self._session.rows_at_once(*size)
        found: list[Faces] = []
        for start in range(0, len(pictures), step):
            outputs = self._session.run(to_input(pictures[start : start + step], self.manifest.input))
            named = dict(zip(self._session.outputs, outputs, strict=True))
            found += [_fused(f) for f in self._decode(named, size, score)]
        return found

    def quick_min_face(self, photo: Photo) -> float:
        """The smallest face that one look at the whole photo finds: asking for less costs a finer search."""
        return self._spec.smallest * max(1.0, max(photo.width, photo.height) / FIRST)

    def _input_size(self, view: View) -> tuple[int, int]:
        if self.manifest.input.size is not None:
            raise ManifestError(f"{self.manifest.name!r}: detectors of a fixed input size are not supported")
        unit = self.manifest.input.multiple
        return -(-view.height // unit) * unit, -(-view.width // unit) * unit


def _decoded(photo: Photo, views: list[View]) -> tuple[UInt8Array, float]:
    """A photo's pixels at the smallest scale that holds the detail of its finest view, and that scale."""
    finest = min(1.0, max(view.scale for view in views))
    return photo.reduced(max(1, round(max(photo.width, photo.height) * finest)))


def _render(pixels: UInt8Array, reduced: float, view: View) -> UInt8Array:
    """The view's pixels, out of a photo that was decoded at the scale `reduced`."""
    if not any(view.inner):
        return resize(pixels, (view.height, view.width))
    ratio = view.scale / reduced
    if abs(ratio - 1.0) < 1e-6:
        return np.ascontiguousarray(pixels[view.y : view.y + view.height, view.x : view.x + view.width])
    x0, y0 = int(view.x / ratio), int(view.y / ratio)
    x1, y1 = round((view.x + view.width) / ratio), round((view.y + view.height) / ratio)
    return resize(np.ascontiguousarray(pixels[y0:y1, x0:x1]), (view.height, view.width))


def _fused(faces: Faces) -> Faces:
    """One face for each group of candidates that overlap: the best one's score, and the mean box and landmarks of all.

    Which of several neighbouring cells scores highest changes with the least noise, and with it box and landmarks would
    jump; their mean, weighted by the squared score, does not.
    """
    if len(faces) < 2:
        return faces
    kept = nms(faces.boxes, faces.scores, iou=_OVERLAP)
    together = box_iou(faces.boxes[kept], faces.boxes) >= _TOGETHER
    weight = together * faces.scores**2
    weight /= weight.sum(axis=1, keepdims=True)
    boxes, points = weight @ faces.boxes, np.einsum("kn,npc->kpc", weight, faces.landmarks)
    return Faces(boxes, points, faces.scores[kept])


def _of_view(faces: Faces, view: View) -> Faces:
    """The faces that the view answers for: of its sizes, and not cut by an edge inside the photo."""
    if not len(faces) or (view.largest == np.inf and not any(view.inner)):
        return faces
    keep = faces.sizes <= view.largest
    for side, cuts in enumerate(view.inner):
        if cuts:
            limit = (0, 0, view.width, view.height)[side]
            edge = faces.boxes[:, side]
            keep &= edge > limit + 1 if side < 2 else edge < limit - 1
    return faces[keep]


def _to_photo(faces: Faces, view: View) -> Faces:
    """From pixels of the view to pixels of the photo; pixel i of either covers i - 0.5 to i + 0.5."""
    shift = np.array([view.x, view.y], dtype=np.float32) + 0.5
    boxes = (faces.boxes.reshape(-1, 2, 2) + shift) / view.scale - 0.5
    points = (faces.landmarks + shift) / view.scale - 0.5
    return Faces(boxes.reshape(-1, 4).astype(np.float32), points.astype(np.float32), faces.scores)


def _merged(parts: list[Faces], size: tuple[int, int], *, min_face: float, score: float) -> Faces:
    """One list from all views: large and certain enough, boxes clipped to the photo."""
    parts = [p for p in parts if len(p)] or parts[:1]
    boxes = np.concatenate([p.boxes for p in parts])
    points = np.concatenate([p.landmarks for p in parts])
    scores = np.concatenate([p.scores for p in parts])
    edge = np.array([*size, *size], dtype=np.float32)
    boxes = np.clip(boxes, 0, edge)
    kept = nms(boxes, scores, iou=_OVERLAP)
    longer = (boxes[kept, 2:] - boxes[kept, :2]).max(axis=1)
    kept = kept[(longer >= _SHRINKS * min_face) & (scores[kept] >= score)]
    return Faces(boxes[kept], points[kept], scores[kept])
