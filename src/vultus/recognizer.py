"""The recognizer composes the rooms: from photos to templates, and from two photos to a decision."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol, cast

import numpy as np

from vultus._export import export
from vultus.align import ALIGNMENT, TEMPLATES, align
from vultus.calibrate import LogisticCalibration
from vultus.compare import mean_direction, template_of
from vultus.compare import score as score_of
from vultus.detect import Detector, Policy, choose
from vultus.detect.steady import second_look
from vultus.embed import Embedder
from vultus.errors import BadArgument, ManifestError, ModelMismatch, NoThreshold, VultusError
from vultus.image import ImageSource, Photo, open_photo
from vultus.quality import Quality, measure_quality
from vultus.runtime import Settings
from vultus.types import Faces, FloatArray, Template, Threshold, UInt8Array, Verification
from vultus.weights import Manifest, load_manifest
from vultus.weights.manifest import ScoreCalibration
from vultus.weights.pull import require_licence

_SMALLEST_FACE = 16


class Restore(Protocol):
    """What is done to an aligned face before it is embedded; the ways of `vultus.restore` are such."""

    @property
    def name(self) -> str:
        """Part of the system's identity: another way makes other templates."""
        ...

    def __call__(self, photo: Photo, face: Faces, crops: UInt8Array, /) -> UInt8Array:
        """Crops that the template is made of, their embeddings summed.

        Args:
            photo: that shows the face.
            face: the one face.
            crops: (1, h, w, 3) of it.

        Returns:
            (k, h, w, 3), k of 1 or more; `crops` itself where there is nothing to do.
        """
        ...


@export("vultus.Sample")
@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """What was extracted from one photo.

    Args:
        template: of the chosen face.
        face: the chosen face.
        found: how many faces the photo shows.
        quality: measures of the chosen face.
        size: (width, height) of the photo.
    """

    template: Template
    face: Faces
    found: int
    quality: Quality
    size: tuple[int, int]


@export("vultus.Recognizer")
class Recognizer:
    """Detector, alignment and embedder as one system, with the thresholds that were measured for it.

    Use `Recognizer.load`. One recognizer can be used from many threads at once.
    """

    def __init__(
        self, detector: Detector, embedder: Embedder, *, mirror: bool, threads: int, restore: Restore | None = None
    ) -> None:
        self.detector = detector
        self.embedder = embedder
        self.mirror = mirror
        self.threads = threads
        self.restore = restore
        self._worker: Recognizer | None = None

    @classmethod
    def load(
        cls,
        model: str | os.PathLike[str] | Manifest | None = None,
        *,
        detector: str | os.PathLike[str] | Manifest | None = None,
        mirror: bool = False,
        restore: Restore | None = None,
        threads: int | None = None,
        providers: Sequence[str] | None = None,
        cache: str | os.PathLike[str] | None = None,
        accept_licence: bool = False,
    ) -> Recognizer:
        """The embedded default, or the model of a manifest.

        Args:
            model: name or path of an embedder's manifest; the default model unless told otherwise.
            detector: name or path of a detector's manifest; the one that the model's thresholds were measured with
                unless told otherwise.
            mirror: average landmarks and sum embeddings with those of the mirrored photo. Takes twice the time and has
                thresholds of its own.
            restore: what is done to each aligned face before it is embedded, such as `vultus.restore.Frontal()`; nothing
                unless told otherwise. It makes a system of its own, without thresholds until they are measured for it.
            threads: cores to use; all that the process may use unless told otherwise.
            providers: execution providers by preference, such as ["cuda"] or ["openvino"].
            cache: folder for prepared weights; the user's cache folder unless told otherwise.
            accept_licence: needed for weights whose licence forbids commercial use.

        Raises:
            WeightsError: weights that are missing, altered, under a licence not accepted, or that compute wrong results.
            ProviderUnavailable: this onnxruntime has no such provider.
        """
        manifest = model if isinstance(model, Manifest) else load_manifest(model or "sface-2021dec")
        if manifest.embedding is None:
            raise ManifestError(f"{manifest.name!r} is no embedder; pass it as detector=")
        if manifest.embedding.template not in TEMPLATES:
            raise ManifestError(
                f"{manifest.name!r} wants crops aligned to {manifest.embedding.template!r}; known: {', '.join(TEMPLATES)}"
            )
        finder = detector if isinstance(detector, Manifest) else load_manifest(detector or manifest.embedding.detector)
        for weights in (manifest, finder):
            require_licence(weights, accepted=accept_licence)
        settings = Settings.of(threads, providers)
        where = None if cache is None else Path(cache)
        return cls(
            Detector(finder, threads=settings.threads, providers=settings.providers, cache=where),
            Embedder(manifest, threads=settings.threads, providers=settings.providers, cache=where),
            mirror=mirror,
            threads=settings.threads,
            restore=restore,
        )

    @property
    def model_id(self) -> str:
        """What makes two templates comparable: weights, detector, alignment, the mirror option and restoration."""
        kind = self.score_kind.removeprefix("cosine")
        return f"{self.embedder.id}+{self.detector.id}+{self.embedder.spec.template}/{ALIGNMENT}{kind}"

    @property
    def score_kind(self) -> str:
        """What thresholds belong to besides weights and detector: "cosine", "cosine+mirror" and so on."""
        return "cosine" + ("+mirror" if self.mirror else "") + (f"+{self.restore.name}" if self.restore else "")

    @property
    def calibration(self) -> ScoreCalibration | None:
        """The thresholds and likelihood ratios measured for exactly this system, where there are any."""
        return self.embedder.manifest.calibrated(score=self.score_kind, detector=self.detector.manifest.name)

    # --- steps ----------------------------------------------------------------------------------------------------------

    def detect(self, source: ImageSource, *, min_face: float = _SMALLEST_FACE, score: float | None = None) -> Faces:
        """All faces of a photo; see `Detector`."""
        return self.detector(source, min_face=min_face, score=score)

    def align(self, source: ImageSource, faces: Faces) -> UInt8Array:
        """(n, h, w, 3) uint8 RGB crops as the embedder expects them, in the order of the faces.

        Each face is looked at once more for exact landmarks before it is cut out.
        """
        photo = open_photo(source)
        return self._crops(photo, self._refined(photo, faces))

    def embed(self, crops: UInt8Array) -> FloatArray:
        """(n, d) float32 unit rows of aligned crops."""
        return self.embedder(crops, mirror=self.mirror)

    # --- photos to templates --------------------------------------------------------------------------------------------

    def sample(self, source: ImageSource, *, policy: Policy = "largest") -> Sample:
        """Detect, choose, align, measure and embed the face that is meant in one photo.

        The photo is looked at once with its longer side at 640 pixels, and searched finely only where that shows no face.

        Raises:
            ImageError, SourceUnavailable: the photo cannot be read.
            NoFace: it shows no face.
            ManyFaces: it shows several and the policy is "one".
        """
        photo = open_photo(source)
        found, chosen = self._locate(photo, policy)
        return self._sample(photo, chosen[0], found)

    def samples(self, source: ImageSource, *, min_face: float = _SMALLEST_FACE) -> list[Sample]:
        """A sample of every face in one photo, best detection score first; none where there is no face."""
        photo = open_photo(source)
        faces = self.detector(photo, min_face=min_face)
        faces = self._refined(photo, faces)
        return [self._sample(photo, face, len(faces)) for face in faces]

    def _locate(self, photo: Photo, policy: Policy) -> tuple[int, Faces]:
        quick = self.detector.quick_min_face(photo)
        faces = self.detector(photo, min_face=quick)
        if not len(faces) and quick > _SMALLEST_FACE:
            quick = _SMALLEST_FACE
            faces = self.detector(photo, min_face=quick)
        chosen = choose(faces, policy, width=photo.width, height=photo.height)
        return len(faces), self._refined(photo, chosen)

    def _refined(self, photo: Photo, faces: Faces) -> Faces:
        return second_look(self.detector, photo, faces, mirror=self.mirror)

    def _crops(self, photo: Photo, faces: Faces) -> UInt8Array:
        return align(photo, faces, template=self.embedder.spec.template, size=self.embedder.size)

    def _sample(self, photo: Photo, face: Faces, found: int) -> Sample:
        crops = self._crops(photo, face)
        quality = measure_quality(crops, face)
        template = Template(self._row(photo, face, crops), self.model_id, quality=float(quality.overall[0]))
        return Sample(template, face, found, quality, (photo.width, photo.height))

    def _row(self, photo: Photo, face: Faces, crops: UInt8Array) -> FloatArray:
        """(d,) unit row of one face, from its crop or what restoration makes of it."""
        rows = self.embed(crops if self.restore is None else self.restore(photo, face, crops))
        return rows[0] if len(rows) == 1 else mean_direction(rows, np.ones(len(rows)))

    def extract(self, sources: Iterable[ImageSource], *, policy: Policy = "largest") -> Iterator[Sample | VultusError]:
        """Samples of many photos, in their order, on all threads; a photo that fails gives its error in its place.

        At most a few photos per thread are held in memory at a time.
        """

        worker = self._single_threaded()

        def attempt(source: ImageSource) -> Sample | VultusError:
            try:
                return worker.sample(source, policy=policy)
            except VultusError as problem:
                return problem

        remaining = iter(sources)
        with (
            ThreadPoolExecutor(self.threads, thread_name_prefix="vultus") if self.threads > 1 else nullcontext() as pool
        ):
            if pool is None:
                yield from map(attempt, remaining)
                return
            waiting: deque[Future[Sample | VultusError]] = deque()
            try:
                waiting.extend(pool.submit(attempt, s) for s in islice(remaining, 4 * self.threads))
                while waiting:
                    result = waiting.popleft().result()
                    waiting.extend(pool.submit(attempt, s) for s in islice(remaining, 1))
                    yield result
            finally:
                for future in waiting:
                    future.cancel()

    def _single_threaded(self) -> Recognizer:
        """The same system for workers that share the cores: each does its photo alone, and none waits for another."""
        if self.threads == 1:
            return self
        if self._worker is None:
            detector, embedder = self.detector.single_threaded(), self.embedder.single_threaded()
            self._worker = Recognizer(detector, embedder, mirror=self.mirror, threads=1, restore=self.restore)
        return self._worker

    def template(self, sources: ImageSource | Sequence[ImageSource], *, policy: Policy = "largest") -> Template:
        """One template of one or several photos of a subject.

        Raises:
            VultusError: the first photo that fails, with its place in the list.
        """
        several: list[ImageSource] = (
            list(sources) if isinstance(sources, list | tuple) else [cast("ImageSource", sources)]
        )
        if not several:
            raise BadArgument("a template needs at least one photo")
        templates = []
        for i, result in enumerate(self.extract(several, policy=policy)):
            if isinstance(result, VultusError):
                raise _placed(result, several[i], i)
            templates.append(result.template)
        return templates[0] if len(templates) == 1 else template_of(templates)

    # --- decisions ------------------------------------------------------------------------------------------------------

    def threshold(self, *, fmr: float = 1e-4) -> Threshold:
        """The measured threshold for a false match rate: the strictest that is not stricter than asked without need.

        Where the rate lies between two measured ones, the lower is taken; the answer says which.

        Raises:
            NoThreshold: nothing was measured for this system at or below that rate.
        """
        if not 0 < fmr < 1:
            raise BadArgument(f"fmr is {fmr!r}; expected a rate in (0, 1)")
        known = self.calibration.thresholds if self.calibration else ()
        usable = [t for t in known if t.fmr <= fmr * (1 + 1e-9)]
        if not usable:
            measured = ", ".join(f"{t.fmr:g}" for t in known) or "none"
            raise NoThreshold(
                f"no threshold was measured at FMR {fmr:g} for {self.model_id} (measured: {measured}); calibrate on data "
                "of your own, ask for a rate that was measured, or pass threshold= with a value that you can defend"
            )
        return max(usable, key=lambda t: t.fmr)

    def compare(self, one: Template, other: Template) -> float:
        """Cosine of two templates of this system.

        Raises:
            ModelMismatch: a template of another system.
        """
        for template in (one, other):
            if template.model_id != self.model_id:
                raise ModelMismatch(
                    f"a template of {template.model_id!r} was given to {self.model_id!r}; extract both with one model"
                )
        return score_of(one, other)

    def log10_likelihood_ratio(self, score: float) -> float | None:
        """How much more probable a score is for one subject than for two, in powers of ten, where calibrated."""
        known = self.calibration
        if known is None or known.weight is None or known.bias is None:
            return None
        ratio = LogisticCalibration(known.weight, known.bias).log10_likelihood_ratio([score])
        return float(ratio[0])

    def verify(
        self,
        one: ImageSource,
        other: ImageSource,
        *,
        fmr: float = 1e-4,
        threshold: float | None = None,
        policy: Policy = "largest",
    ) -> Verification:
        """Whether two photos show one subject.

        Args:
            one, other: two photos.
            fmr: the false match rate to decide at; the threshold was measured and stands in the manifest.
            threshold: decide at this score instead; the answer then states no rate.
            policy: which face of a photo is meant.

        Raises:
            VultusError: a photo that cannot be read or shows no face, or a rate without a measured threshold.
        """
        basis = self.threshold(fmr=fmr) if threshold is None else None
        limit = basis.value if basis else threshold
        if limit is None or not -1 <= limit <= 1:
            raise BadArgument(f"threshold is {threshold!r}; expected a score in [-1, 1]")
        samples: list[Sample] = []
        for i, result in enumerate(self.extract([one, other], policy=policy)):
            if isinstance(result, VultusError):
                raise _placed(result, (one, other)[i], i)
            samples.append(result)
        first, second = samples
        score = self.compare(first.template, second.template)
        return Verification(
            match=score >= limit,
            score=score,
            threshold=limit,
            fmr=basis.fmr if basis else None,
            model_id=self.model_id,
            faces=(first.found, second.found),
            boxes=(_box(first.face), _box(second.face)),
            log10_likelihood_ratio=self.log10_likelihood_ratio(score),
            basis=basis,
        )


def _box(face: Faces) -> tuple[float, ...]:
    return tuple(round(float(v), 2) for v in face.boxes[0])


def _placed(problem: VultusError, source: ImageSource, index: int) -> VultusError:
    """The same error with the photo it is about."""
    name = repr(os.fspath(source)) if isinstance(source, str | os.PathLike) else f"number {index + 1}"
    return type(problem)(f"photo {name}: {problem}")
