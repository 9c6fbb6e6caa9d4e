"""A checkpoint becomes ONNX and a manifest, and the Recognizer that loads them gives what the network gives."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image

from vultus import Recognizer, evaluate, train
from vultus.errors import BadArgument, CheckpointMissing, TrainingError
from vultus.train import data, export
from vultus.train.config import Config
from vultus.train.crops import crop_of
from vultus.weights import load_manifest

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def trained(small_runs: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of six steps with an average of the weights."""
    folder = tmp_path_factory.mktemp("trained")
    train.run(small_runs.config(folder, "run.steps=6", "run.precision=float32", "model.centred=true"))
    return folder


@pytest.fixture(scope="module")
def made(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> train.Exported:
    return train.export_model(trained, tmp_path_factory.mktemp("exported"), name="mine")


def rows(path: Path, crops: np.ndarray) -> np.ndarray:
    """(n, d) of the network itself, unit length."""
    checkpoint = train.open_checkpoint(path)
    network = export.trained_backbone(checkpoint, Config.of(checkpoint.record["recipe"]))
    with torch.no_grad():
        found = network(data.to_input(torch.from_numpy(crops.transpose(0, 3, 1, 2).copy()))).numpy()
    unit: np.ndarray = found / np.linalg.norm(found, axis=1, keepdims=True)
    return unit


@pytest.mark.parametrize("count", [1, 5])
def test_the_recognizer_gives_what_the_network_gives(trained: Path, made: train.Exported, count: int) -> None:
    crops = np.stack([data.draw_face(person, 1) for person in range(count)])
    system = Recognizer.load(made.manifest, threads=1)
    assert np.abs(system.embedder(crops) - rows(trained, crops)).max() <= 2e-6
    assert made.difference <= 2e-6


def test_photos_give_what_evaluation_while_training_measures(
    trained: Path, made: train.Exported, astronaut: np.ndarray, tmp_path: Path
) -> None:
    """The crop that a network in training is measured on is the one that the Recognizer cuts for the exported model."""
    photo = tmp_path / "photo.png"
    Image.fromarray(astronaut).save(photo)
    system = Recognizer.load(made.manifest, threads=1)
    crop = crop_of(system, str(photo), "largest")
    np.testing.assert_allclose(system.sample(photo).template.vector, rows(trained, crop[None])[0], atol=2e-6)


def test_the_graph_takes_any_batch_and_normalises_where_asked(trained: Path, tmp_path: Path) -> None:
    images = np.random.default_rng(0).normal(size=(7, 3, 112, 112)).astype(np.float32)
    lengths = {}
    for normalised in (True, False):
        given = train.export_model(trained, tmp_path, name=f"n{normalised:d}", normalised=normalised)
        onnx.checker.check_model(onnx.load(given.weights), full_check=True)
        session = onnxruntime.InferenceSession(given.weights, providers=["CPUExecutionProvider"])
        found = session.run(["embedding"], {"input": images})[0]
        one_by_one = np.concatenate([session.run(["embedding"], {"input": images[i : i + 1]})[0] for i in range(7)])
        np.testing.assert_allclose(found, one_by_one, rtol=1e-4, atol=1e-6)
        lengths[normalised] = np.linalg.norm(found, axis=1)
    np.testing.assert_allclose(lengths[True], 1, atol=1e-6)
    assert np.abs(lengths[False] - 1).max() > 0.05


def test_the_manifest_says_what_the_file_is(trained: Path, made: train.Exported) -> None:
    manifest = load_manifest(made.manifest)
    assert (manifest.name, manifest.task) == ("mine", "embed")
    assert manifest.sha256 == hashlib.sha256(made.weights.read_bytes()).hexdigest()
    assert manifest.embedding is not None
    assert (manifest.embedding.dimension, manifest.embedding.template) == (8, "arcface-112")
    assert manifest.licence.training_data == "generated:6x10: 4 identities"
    assert (
        f"recipe {Config.of(train.open_checkpoint(trained).record['recipe']).digest()}, step 6"
        in manifest.licence.source
    )
    assert manifest.known_answer is not None
    assert len(manifest.known_answer.values) == 8
    assert "no thresholds were measured" in made.statement
    assert not manifest.calibration
    text = made.weights.read_bytes()
    assert str(trained).encode() not in text
    assert b"site-packages" not in text


def test_an_export_is_the_same_bytes_again(trained: Path, made: train.Exported, tmp_path: Path) -> None:
    again = train.export_model(trained, tmp_path, name="mine")
    assert again.weights.read_bytes() == made.weights.read_bytes()


def test_best_and_last_are_told_apart(small_runs: ModuleType, tmp_path: Path) -> None:
    run = tmp_path / "run"
    sets = {"every": 1, "sets": [{"kind": "held-out"}]}
    table = small_runs.config(run, "run.precision=float32", "data.hold_out=0.67", "data.batch=8").table() | {
        "evaluation": sets
    }
    result = train.run(train.Config.of(table))
    assert result.best is not None
    marked = {which: train.open_checkpoint(run, which=which).step for which in ("best", "last")}
    assert marked["last"] == small_runs.STEPS
    assert marked["best"] == result.best[1]
    for which, step in marked.items():
        given = train.export_model(run, tmp_path / which, which=which)
        assert f"step {step}" in load_manifest(given.manifest).licence.source
    with pytest.raises(BadArgument, match="expected 'best' or 'last'"):
        train.export_model(run, tmp_path, which="first")
    with pytest.raises(BadArgument, match="lower-case"):
        train.export_model(run, tmp_path, name="../Mine")
    with pytest.raises(CheckpointMissing):
        train.export_model(tmp_path, tmp_path)


def test_thresholds_are_measured_on_people_where_there_are_enough(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "people"
    for person in range(13):  # 78 pairs of people: enough for 1 in 2 and far too few for 1 in 10
        (root / f"p{person}").mkdir(parents=True)
        for photo in range(2):
            (root / f"p{person}" / f"{photo}.png").touch()
    asked: list[Recognizer] = []

    def extract(
        files: tuple[str, ...], system: Recognizer, *, progress: Callable[[int], None] | None
    ) -> evaluate.Extraction:
        asked.append(system)
        found = np.random.default_rng(0).normal(size=(len(files), 8)).astype(np.float32)
        if progress is not None:
            progress(len(files))
        found /= np.linalg.norm(found, axis=1, keepdims=True)
        return evaluate.Extraction(files, found, np.full(len(files), np.nan, dtype=np.float32), {}, "drawn")

    monkeypatch.setattr(evaluate, "extract", extract)
    told: list[int] = []
    given = train.export_model(trained, tmp_path, calibrate=root, rates=(0.1, 0.5, 0.6), progress=told.append)
    assert given.statement.startswith("thresholds for FMR 0.6, 0.5 measured on people: 13 subjects, 13 mated pairs")
    assert given.statement.endswith("too few people for 0.1")
    assert told == [26]
    assert asked[0].embedder.size == (112, 112)
    system = Recognizer.load(given.manifest, threads=1)
    assert system.calibration is not None
    assert [t.fmr for t in system.calibration.thresholds] == [0.6, 0.5]
    none = train.export_model(trained, tmp_path, calibrate=root, rates=(0.01,))
    assert "13 people are too few for a threshold at any of the rates asked for" in none.statement
    assert not load_manifest(none.manifest).calibration


def test_a_graph_that_computes_something_else_is_not_kept(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = export.to_onnx
    monkeypatch.setattr(
        export, "to_onnx", lambda module: whole(torch.nn.Sequential(module, torch.nn.Hardtanh(-0.1, 0.1)))
    )
    with pytest.raises(TrainingError, match="differs from the network by"):
        train.export_model(trained, tmp_path)
    assert not list(tmp_path.glob("*.toml"))


def test_a_network_that_torch_cannot_export_is_named() -> None:
    class Odd(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.sum(dim=(1, 2, 3)) if float(images.sum()) > 0 else images.mean(dim=(1, 2, 3))

    with pytest.raises(TrainingError, match="torch cannot export Odd"):
        export.to_onnx(Odd())
