"""What is measured: each scenario with OpenCV first, vultus second and the alternatives after them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from generated import Pixels, astronaut, hopper, large_jpeg, portraits
from measure import Entrant, Scenario
from peers import Dlib, OpenCV, dequantised, onnxruntime_network, openvino_network, prepared

import vultus
from vultus.image import open_photo
from vultus.runtime import to_input
from vultus.weights import load_manifest

_PORTRAITS = 24
_ONE_PASS = 32  # faces from this size on need one pass over a photo of 640 x 480
_THRESHOLD = 0.363  # any: the time of a decision does not depend on it


def against_opencv(folder: Path, threads: int) -> Iterator[Scenario]:
    """All scenarios of one thread setting.

    Args:
        folder: for the generated photos.
        threads: for every library that takes a number.
    """
    detector = vultus.Detector(threads=threads)
    embedder = vultus.Embedder(threads=threads)
    recognizer = vultus.Recognizer.load(threads=threads)
    cv2.setNumThreads(threads)  # after vultus, which sets it to 1 for its own small operations
    opencv = OpenCV((640, 480))
    dlib = Dlib() if threads == 1 else None
    crops = aligned_crops(recognizer, 32)
    yield embedding(embedder, opencv, dlib, crops[:1], threads)
    yield batch(embedder, opencv, crops[:8], threads)
    yield batch(embedder, opencv, crops, threads)
    yield from detection(detector, opencv, dlib, threads)
    yield from large_photos(detector, opencv, folder)
    yield end_to_end(recognizer, opencv, folder)
    yield verification(recognizer, opencv, dlib, folder)


def embedding(embedder: vultus.Embedder, opencv: OpenCV, dlib: Dlib | None, crop: Pixels, threads: int) -> Scenario:
    """One aligned crop to its embedding, and the alternatives that were weighed for it."""
    bgr = _bgr(crop[0])
    plain = onnxruntime_network(dequantised("sface-2021dec"), threads)
    other = openvino_network(prepared("sface-2021dec"), threads)
    given = load_manifest("sface-2021dec").input
    entrants = [
        Entrant("OpenCV", lambda: opencv.feature(bgr)),
        Entrant("vultus", lambda: embedder(crop)),
        Entrant("onnxruntime, graph only dequantised", lambda: plain(to_input(crop, given))),
        Entrant("OpenVINO, graph of vultus", lambda: other(to_input(crop, given))),
    ]
    if dlib is not None:
        chip = dlib.crop(astronaut())
        entrants.append(Entrant("dlib ResNet, 150x150", lambda: dlib.feature(chip)))
    return Scenario("embedding, one crop", tuple(entrants), unit="face")


def batch(embedder: vultus.Embedder, opencv: OpenCV, crops: Pixels, threads: int) -> Scenario:
    """Many crops; OpenCV takes them one by one."""
    bgr = [_bgr(crop) for crop in crops]
    other = openvino_network(prepared("sface-2021dec"), threads)
    given = load_manifest("sface-2021dec").input
    entrants = (
        Entrant("OpenCV", lambda: [opencv.feature(crop) for crop in bgr]),
        Entrant("vultus", lambda: embedder(crops)),
        Entrant("OpenVINO, graph of vultus", lambda: other(to_input(crops, given))),
    )
    return Scenario(f"embedding, batch of {len(crops)}", entrants, unit="face", count=len(crops), share=4 / len(crops))


def detection(detector: vultus.Detector, opencv: OpenCV, dlib: Dlib | None, threads: int) -> Iterator[Scenario]:
    """A photo in memory to faces: one pass each, then the thorough search that vultus does unless told otherwise."""
    photo = astronaut()
    bgr = _bgr(photo)
    given = load_manifest("yunet-2023mar").input
    network_input = to_input(photo[None], given)
    graph = prepared("yunet-2023mar")
    inner, other = onnxruntime_network(graph, threads), openvino_network(graph, threads)
    entrants = [
        Entrant("OpenCV", lambda: opencv.detect(bgr)),
        Entrant("vultus, one pass (min_face=32)", lambda: detector(photo, min_face=_ONE_PASS)),
        Entrant("onnxruntime, network alone", lambda: inner(network_input)),
        Entrant("OpenVINO, network alone", lambda: other(network_input)),
    ]
    if dlib is not None:
        entrants.append(Entrant("dlib HOG, faces from 80 px", lambda: dlib.detect(photo)))
    yield Scenario("detection, 640x480", tuple(entrants), unit="photo")
    thorough = (entrants[0], Entrant("vultus, thorough (default, min_face=16)", lambda: detector(photo)))
    yield Scenario("detection, 640x480, also faces of 16 to 32 px", thorough, unit="photo", share=0.5)


def large_photos(detector: vultus.Detector, opencv: OpenCV, folder: Path) -> Iterator[Scenario]:
    """A 12 MP JPEG from its file to the faces that one pass at 640 x 480 shows.

    vultus averages the pixels that it leaves out, as OpenCV does when it is told to resize by area. OpenCV's default
    takes one pixel in ten and is much quicker; each is a scenario of its own.
    """

    def by_opencv(path: Path, interpolation: int, flags: int = cv2.IMREAD_COLOR) -> Callable[[], object]:
        return lambda: opencv.detect(cv2.resize(cv2.imread(str(path), flags), (640, 480), interpolation=interpolation))

    def by_vultus(path: Path) -> Callable[[], object]:
        def find() -> object:
            photo = open_photo(path)
            return detector(photo, min_face=detector.quick_min_face(photo))

        return find

    for noise, name in ((3.0, "12 MP JPEG"), (12.0, "noisy 12 MP JPEG")):
        path = large_jpeg(folder / f"large-{noise:.0f}.jpg", noise=noise)
        size = f"({path.stat().st_size / 1e6:.1f} MB)"
        vultus_row = Entrant("vultus", by_vultus(path))
        by_area = (
            Entrant("OpenCV, resize by area", by_opencv(path, cv2.INTER_AREA)),
            vultus_row,
            Entrant("OpenCV, decoded at 1/4", by_opencv(path, cv2.INTER_AREA, cv2.IMREAD_REDUCED_COLOR_4)),
        )
        by_default = (Entrant("OpenCV, default resize", by_opencv(path, cv2.INTER_LINEAR)), vultus_row)
        yield Scenario(f"{name}, file to faces {size}", by_area, unit="photo", share=0.5)
        yield Scenario(f"{name}, file to faces, default resize {size}", by_default, unit="photo", share=0.5)


def end_to_end(recognizer: vultus.Recognizer, opencv: OpenCV, folder: Path) -> Scenario:
    """Photo files to embeddings. vultus looks at each face twice, for its landmarks, and measures its quality."""
    paths = portraits(folder, _PORTRAITS)
    entrants = (
        Entrant("OpenCV", lambda: [opencv.describe(path) for path in paths]),
        Entrant("vultus", lambda: list(recognizer.extract(paths))),
    )
    return Scenario("portraits, file to embedding", entrants, unit="photo", count=len(paths), share=0.25)


def verification(recognizer: vultus.Recognizer, opencv: OpenCV, dlib: Dlib | None, folder: Path) -> Scenario:
    """Two photo files to a decision."""
    one, other = portraits(folder, 2)
    entrants = [
        Entrant("OpenCV", lambda: opencv.verify(one, other)),
        Entrant("vultus", lambda: recognizer.verify(one, other, threshold=_THRESHOLD)),
    ]
    if dlib is not None:
        entrants.append(Entrant("dlib", lambda: dlib.verify(one, other)))
    return Scenario("verification of two files", tuple(entrants), unit="decision", share=0.5)


def scaling(folder: Path) -> Iterator[Scenario]:
    """The same photos by a recognizer of one thread and by one of two."""
    paths = portraits(folder, _PORTRAITS)
    one, two = vultus.Recognizer.load(threads=1), vultus.Recognizer.load(threads=2)
    entrants = (
        Entrant("vultus, 1 thread", lambda: list(one.extract(paths))),
        Entrant("vultus, 2 threads", lambda: list(two.extract(paths))),
    )
    yield Scenario("portraits, one thread and two", entrants, unit="photo", count=len(paths), share=0.5)


def aligned_crops(recognizer: vultus.Recognizer, count: int) -> Pixels:
    """(count, 112, 112, 3) RGB crops of both subjects in turn."""
    pair = [recognizer.align(p, recognizer.detect(p, min_face=_ONE_PASS)[[0]])[0] for p in (astronaut(), hopper())]
    return np.stack([pair[i % 2] for i in range(count)])


def agreement() -> dict[str, float]:
    """Whether what is timed gives the same results: the lowest cosine and the lowest IoU of vultus and OpenCV."""
    recognizer = vultus.Recognizer.load(threads=1)
    opencv = OpenCV((640, 480))
    cosines = []
    for crop, row in zip(crops := aligned_crops(recognizer, 2), recognizer.embed(crops), strict=True):
        feature = opencv.feature(_bgr(crop))[0]
        cosines.append(float(feature @ row / np.linalg.norm(feature)))
    overlaps = []
    for photo in (astronaut(), hopper()):
        ours = recognizer.detect(photo, min_face=_ONE_PASS).boxes
        theirs = opencv.detect(_bgr(photo))[:, :4]
        if len(ours) != len(theirs):
            overlaps.append(0.0)
            continue
        theirs = np.concatenate([theirs[:, :2], theirs[:, :2] + theirs[:, 2:]], axis=1)
        overlaps += [_iou(a, b) for a, b in zip(ours, theirs, strict=True)]
    return {"cosine": round(min(cosines), 6), "iou": round(min(overlaps), 4)}


def _iou(one: np.ndarray, other: np.ndarray) -> float:
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    shared = float(np.prod(np.maximum(sides, 0)))
    return shared / float(np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]) - shared)


def _bgr(pixels: Pixels) -> Pixels:
    return np.ascontiguousarray(pixels[..., ::-1])
