"""The recipe on drawn faces: it learns, and what it exports is taken by a recogniser."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vultus import Recognizer, train

RECIPE = Path(__file__).parents[3] / "recipes" / "deepface_small.toml"


@pytest.mark.usefixtures("cache")
def test_the_recipe_learns_drawn_faces_and_its_model_loads(tmp_path: Path) -> None:
    config = train.Config.load(
        RECIPE,
        overrides=[
            "data.train=generated:4x8",
            f"run.folder={tmp_path / 'run'}",
            "run.epochs=12",
            "run.log_every=1",
            "data.batch=16",
            "model.dim=32",
            "model.options={dropout=0.1}",
            "augment.policy=none",
        ],
    )
    assert config.model.backbone == "deepface_small"
    assert config.loss.name == "softmax"
    train.run(config)
    lines = (tmp_path / "run" / "steps.csv").read_text().splitlines()
    place = lines[0].split(",").index("loss")
    loss = [float(line.split(",")[place]) for line in lines[1:]]
    assert len(loss) == 24
    assert np.mean(loss[-4:]) < 0.6 * np.mean(loss[:4])
    made = train.export_model(tmp_path / "run", tmp_path / "model")
    system = Recognizer.load(made.manifest, accept_licence=True, threads=1)
    rows = system.embed(np.random.default_rng(0).integers(0, 256, (2, 112, 112, 3), dtype=np.uint8))
    assert rows.shape == (2, 32)
