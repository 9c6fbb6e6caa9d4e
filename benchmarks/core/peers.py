"""The programs that vultus is compared with, each used as its own documentation shows."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import dlib
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import openvino

from vultus.weights import find_weights, load_manifest, prepared_weights
from vultus.weights.graph import Graph
from vultus.weights.passes import drop_inference_noops, fold_constants, free_dimensions

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Network = Callable[[Floats], Any]


class OpenCV:
    """FaceDetectorYN and FaceRecognizerSF with the very files that vultus uses, on (h, w, 3) BGR pictures."""

    def __init__(self, size: tuple[int, int], *, score: float = 0.5, overlap: float = 0.3) -> None:
        detector = str(find_weights(load_manifest("yunet-2023mar")))
        recognizer = str(find_weights(load_manifest("sface-2021dec")))
        self._detector = cv2.FaceDetectorYN.create(detector, "", size, score, overlap)
        self._recognizer = cv2.FaceRecognizerSF.create(recognizer, "")

    def detect(self, picture: Pixels) -> Floats:
        """(n, 15): box as x, y, width and height, five landmarks, score."""
        self._detector.setInputSize(picture.shape[1::-1])
        faces = self._detector.detect(picture)[1]
        return np.zeros((0, 15), np.float32) if faces is None else faces

    def feature(self, crop: Pixels) -> Floats:
        """(1, 128) of one aligned crop."""
        feature: Floats = self._recognizer.feature(crop)
        return feature

    def describe(self, path: Path) -> Floats:
        """(1, 128) of the largest face in a file."""
        picture = cv2.imread(str(path))
        if picture is None:
            raise SystemExit(f"OpenCV cannot read {path}")
        faces = self.detect(picture)
        largest = faces[np.argmax(faces[:, 2] * faces[:, 3])]
        return self.feature(self._recognizer.alignCrop(picture, largest))

    def verify(self, one: Path, other: Path) -> float:
        """Cosine of the largest faces in two files."""
        match = self._recognizer.match(self.describe(one), self.describe(other), cv2.FaceRecognizerSF_FR_COSINE)
        return float(match)


class Dlib:
    """dlib's HOG detector, its five-point landmarks and its ResNet, on (h, w, 3) RGB pictures.

    Its 68-point landmarks are left out: the terms of their training data are contested.
    """

    def __init__(self) -> None:
        found = importlib.util.find_spec("face_recognition_models")
        if found is None or not found.submodule_search_locations:
            raise SystemExit("face_recognition_models is not installed; run: make bench")
        folder = Path(found.submodule_search_locations[0]) / "models"
        self._detector = dlib.get_frontal_face_detector()
        self._landmarks = dlib.shape_predictor(str(folder / "shape_predictor_5_face_landmarks.dat"))
        self._embedder = dlib.face_recognition_model_v1(str(folder / "dlib_face_recognition_resnet_model_v1.dat"))

    def detect(self, picture: Pixels) -> Any:
        """Boxes of faces from 80 pixels; smaller ones would need an enlarged picture, at four times the time."""
        return self._detector(picture, 0)

    def crop(self, picture: Pixels) -> Pixels:
        """(150, 150, 3) aligned crop of the first face."""
        crop: Pixels = dlib.get_face_chip(picture, self._landmarks(picture, self.detect(picture)[0]))
        return crop

    def feature(self, crop: Pixels) -> Floats:
        """(128,) of one aligned crop."""
        return np.asarray(self._embedder.compute_face_descriptor(crop), dtype=np.float32)

    def verify(self, one: Path, other: Path) -> float:
        """Distance of the first faces in two files."""
        first, second = (self.feature(self.crop(dlib.load_rgb_image(str(p)))) for p in (one, other))
        return float(np.linalg.norm(first - second))


def onnxruntime_network(graph: bytes, threads: int) -> Network:
    """A graph in onnxruntime with the settings that vultus uses."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda batch: session.run(None, {name: batch})


def openvino_network(graph: bytes, threads: int) -> Network:
    """A graph in OpenVINO, set for the time of one call."""
    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    core = openvino.Core()
    request = core.compile_model(core.read_model(io.BytesIO(graph)), "CPU", settings).create_infer_request()
    return lambda batch: request.infer({0: batch})


def prepared(name: str) -> bytes:
    """The graph as vultus runs it."""
    graph = prepared_weights(load_manifest(name))
    return graph if isinstance(graph, bytes) else graph.read_bytes()


def dequantised(name: str) -> bytes:
    """The graph with only what it takes to run at all: weights as floats, stale inputs dropped, the batch free."""
    manifest = load_manifest(name)
    graph = Graph(onnx.load(find_weights(manifest)))
    fold_constants(graph)
    drop_inference_noops(graph)
    free_dimensions(graph, input_name=manifest.input.name, sizes=manifest.input.size is None)
    content: bytes = graph.rebuild().SerializeToString()
    return content
