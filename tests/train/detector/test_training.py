"""A detector is trained by its recipe, resumed bit for bit, exported, and finds faces through the same doors as any other."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vultus import Detector, load_manifest
from vultus.cli.app import run as vultus
from vultus.errors import BadRecipe, CheckpointMismatch, DatasetError
from vultus.evaluate.detection import average_precision, matched
from vultus.train import detector, open_checkpoint
from vultus.train.detector.crops import crop
from vultus.train.detector.scenes import Drawn, Scene, Scenes

pytestmark = pytest.mark.usefixtures("one_thread")
RECIPE = Path(__file__).parents[3] / "recipes" / "detector_small.toml"
SMALL = ("model.width=12", "model.depth=1", "run.batch=4", "data.side=96", "data.faces=[30, 70]", "run.log_every=2")


class Few(Scenes):
    """Some drawn scenes, kept."""

    def __init__(self, count: int) -> None:
        drawn = Drawn(count, seed=3)
        self._kept = [drawn[i] for i in range(count)]

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, index: int) -> Scene:
        return self._kept[index]


def config(folder: Path, *overrides: str) -> detector.Config:
    return detector.Config.load(
        RECIPE, overrides=[f"run.folder={folder}", "data.train=generated:4", *SMALL, *overrides]
    )


LEARNING = ("model.width=16", "run.batch=8", "data.side=64", "data.faces=[26, 52]", "optimizer.lr=0.006")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that has learned the faces of four scenes."""
    folder = tmp_path_factory.mktemp("trained")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    detector.run(config(folder, *LEARNING, "run.steps=200", "average.decay=0.9"), scenes=Few(4))
    torch.set_num_threads(before)
    return folder


def test_the_recipe_is_read_and_wrong_keys_are_named() -> None:
    recipe = detector.Config.load(RECIPE)
    assert recipe.data.side % 32 == 0
    assert recipe.optimizer.name == "adamw"
    assert detector.Config.of(recipe.recipe().table) == recipe
    for override, message in (
        ("data.sides=64", "did you mean 'side'"),
        ("data.side=100", "multiple of 32"),
        ("data.fold=4", "fold is 4 of 1"),
        ("data.faces=[50, 20]", "ascending"),
        ("model.upsampling=cubic", "upsampling"),
        ("model.width=4", "at least 8"),
        ("loss.box=-1", "at least 0"),
        ("run.batch=0", "batch is 0"),
    ):
        with pytest.raises(BadRecipe, match=message):
            detector.Config.load(RECIPE, overrides=[override])


def test_a_resumed_run_is_the_run_that_was_not_interrupted(tmp_path: Path) -> None:
    scenes = Few(3)
    kinds = ("run.steps=4", "run.checkpoint_every=2", "run.keep=2", "data.side=64")
    whole, parts = config(tmp_path / "whole", *kinds), config(tmp_path / "parts", *kinds)
    result = detector.run(whole, scenes=scenes)
    assert (result.steps, result.stopped) == (4, False)
    detector.run(parts, scenes=scenes)
    half = next((tmp_path / "parts" / "checkpoints").glob("step-00000002"))
    (tmp_path / "parts" / "checkpoints" / "last.json").write_text(json.dumps({"folder": half.name, "step": 2}))
    with pytest.raises(BadRecipe, match="holds a run already"):
        detector.run(parts, scenes=scenes)
    with pytest.raises(CheckpointMismatch, match="width is 12 there and 16"):
        detector.run(config(tmp_path / "parts", *kinds, "model.width=16"), resume=True, scenes=scenes)
    detector.run(parts, resume=True, scenes=scenes)
    one, other = (open_checkpoint(tmp_path / name).replicated() for name in ("whole", "parts"))
    assert one.keys() == other.keys()
    assert any(name.startswith("optimizer.") for name in one)
    assert any(name.startswith("average.") for name in one)
    assert all(torch.equal(one[name], other[name]) for name in one)
    steps = [(tmp_path / name / "steps.csv").read_text().splitlines() for name in ("whole", "parts")]
    assert [line.rsplit(",", 1)[0] for line in steps[0]] == [line.rsplit(",", 1)[0] for line in steps[1]]


def test_folds_keep_photos_out(tmp_path: Path) -> None:
    seen: set[int] = set()

    class Watched(Few):
        def __getitem__(self, index: int) -> Scene:
            seen.add(index)
            return super().__getitem__(index)

    kinds = ("run.steps=4", "data.folds=3", "data.fold=1", "data.side=64")
    detector.run(config(tmp_path / "a", *kinds), scenes=Watched(5))
    assert seen == {0, 2, 3}
    with pytest.raises(DatasetError, match="leaves no picture"):
        detector.run(config(tmp_path / "b", "data.folds=2", "data.fold=0"), scenes=Few(1))


def test_what_was_learned_finds_faces_through_the_detector_and_the_command_line(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        vultus(["train", "detector", "export", str(trained), str(tmp_path), "--name", "drawn", "--score", "0.05"]) == 0
    )
    assert "torch and the runtime differ by" in " ".join(capsys.readouterr().out.split())
    manifest = load_manifest(tmp_path / "drawn.toml")
    assert manifest.detection is not None
    assert (manifest.task, manifest.detection.decoder, manifest.detection.score) == ("detect", "pyramid", 0.05)
    finder, scenes = Detector(manifest, threads=1), Few(4)
    rng = np.random.default_rng(99)  # crops that training has not drawn
    crops = [crop(scenes[i % 4], rng, side=64, smallest=10, faces=(26, 52)) for i in range(48)]
    hits: list[tuple[float, bool]] = []
    for cut, faces in zip(crops, finder.single_look(np.stack([c.pixels for c in crops]), score=0.05), strict=True):
        hits += matched(faces, cut.boxes, cut.ignored, overlap=0.5)
    ranked = np.array([hit for _, hit in sorted(hits, key=lambda h: -h[0])], dtype=np.bool_)
    total = sum(int((~c.ignored).sum()) for c in crops)
    assert total > 30
    assert average_precision(ranked, total) > 0.4

    photo = tmp_path / "scene.png"
    Image.fromarray(scenes[0].pixels).save(photo)
    assert vultus(["detect", str(photo), "--detector", str(tmp_path / "drawn.toml"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["detector"].startswith("drawn@")
    assert isinstance(told["photos"][0]["faces"], list)
