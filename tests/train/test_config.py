"""Recipes: what they say, what they may not say, overrides, and recipes that build on others."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
import tomli_w

from vultus.errors import BadRecipe
from vultus.train.config import PLACES, Config

LEAST = {"run": {"folder": "out"}, "data": {"train": "photos"}}


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_recipe_needs_a_folder_and_photos_only() -> None:
    config = Config.of(LEAST)
    assert (config.run.folder, config.data.train, config.data.batch) == ("out", "photos", 128)
    assert (config.loss.name, config.head.kind, config.optimizer.name) == ("arcface", "chunked", "sgd")
    with pytest.raises(BadRecipe, match="'train' is missing"):
        Config.of({"run": {"folder": "out"}, "data": {}})


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("run.sed=3", "did you mean 'seed'"),
        ("optimiser.lr=1", "did you mean 'optimizer'"),
        ("run.epochs=0", "expected at least 1"),
        ("run.seed=-1", "expected at least 0"),
        ("run.precision=fp32", "is none of"),
        ("data.hold_out=1", "expected 0 to 0.9"),
        ("optimizer.lr=0", "expected more than 0"),
        ("optimizer.betas=[0.9, 1.0]", "expected two numbers in"),
        ("schedule.name=step", "needs at"),
        ("schedule.at=[3, 2]", "ascending"),
        ("loss.options=3", "expected a table"),
        ("average.decay=1", "expected 0 to"),
        ("head.kind=none", "needs an added loss"),
        ("seed=3", "not of the form section.key=value"),
        ("run.seed", "not of the form section.key=value"),
    ],
)
def test_a_wrong_key_or_value_says_what_was_expected(override: str, said: str) -> None:
    with pytest.raises(BadRecipe, match=said):
        Config.of(LEAST, overrides=[override])


def test_sections_that_do_not_fit_together_are_refused() -> None:
    for more, said in [
        ({"head": {"fused": True, "kind": "dense"}}, "needs head.kind"),
        ({"head": {"fused": True}, "optimizer": {"name": "adamw"}}, "needs optimizer.name 'sgd'"),
        ({"head": {"fused": True}, "data": {"train": "x", "accumulate": 2}}, "every part of an accumulated batch"),
        ({"evaluation": {"sets": [{"kind": "held-out"}]}}, "needs data.hold_out"),
        ({"evaluation": {"sets": [{"kind": "lfw"}]}}, "needs a path"),
        ({"evaluation": {"sets": [{"kind": "held-out", "path": "x"}]}}, "needs no path"),
        ({"evaluation": {"sets": [{"kind": "lfw", "path": "a"}, {"kind": "lfw", "path": "b"}]}}, "one name"),
        ({"evaluation": {"best": "cfp", "sets": [{"kind": "lfw", "path": "a"}]}}, "expected one of the sets"),
        ({"optimizer": {"nesterov": True, "momentum": 0.0}}, "needs a momentum"),
    ]:
        with pytest.raises(BadRecipe, match=said):
            Config.of({**LEAST, **more})  # type: ignore[dict-item]


def test_overrides_are_read_as_toml_or_as_text() -> None:
    config = Config.of(
        LEAST,
        overrides=[
            "run.seed=3",
            "data.train=/photos/of a, b",
            "schedule.at=[1, 2.5]",
            "loss.options.margin=0.3",
            "run.compile=true",
        ],
    )
    assert config.run.seed == 3
    assert config.data.train == "/photos/of a, b"
    assert config.schedule.at == (1.0, 2.5)
    assert config.loss.options == {"margin": 0.3}
    assert config.run.compile


def test_a_recipe_builds_on_another(tmp_path: Path) -> None:
    (tmp_path / "losses").mkdir()
    write(tmp_path, "base.toml", '[run]\nfolder = "out"\nseed = 1\n[data]\ntrain = "p"\n[loss.options]\nscale = 30.0\n')
    middle = write(
        tmp_path, "losses/cos.toml", 'base = "../base.toml"\n[loss]\nname = "cosface"\n[loss.options]\nmargin = 0.2\n'
    )
    top = write(tmp_path, "top.toml", 'base = "losses/cos.toml"\n[run]\nseed = 2\n')
    config = Config.load(top)
    assert (config.run.seed, config.run.folder, config.loss.name) == (2, "out", "cosface")
    assert config.loss.options == {"scale": 30.0, "margin": 0.2}
    assert Config.load(middle).run.seed == 1
    circle = write(tmp_path, "circle.toml", 'base = "circle.toml"\n')
    with pytest.raises(BadRecipe, match="circle"):
        Config.load(circle)


def test_what_cannot_be_read_is_a_bad_recipe(tmp_path: Path) -> None:
    with pytest.raises(BadRecipe, match="cannot read"):
        Config.load(tmp_path / "nothing.toml")
    with pytest.raises(BadRecipe, match="not valid TOML"):
        Config.load(write(tmp_path, "broken.toml", "run = ["))
    with pytest.raises(BadRecipe, match="base is 3"):
        Config.load(write(tmp_path, "base.toml", "base = 3"))


def test_table_is_the_inverse_of_reading() -> None:
    config = Config.of(
        {
            **LEAST,
            "loss": {"name": "triplet"},
            "head": {"kind": "none", "options": {"chunk": 5}},
            "added": [{"name": "triplet", "share": 0.5, "options": {"margin": 0.1}}],
            "evaluation": {"sets": [{"kind": "lfw", "path": "lfw"}]},
        }
    )
    assert Config.of(tomllib.loads(tomli_w.dumps(config.table()))) == config


def test_the_digest_changes_with_what_is_computed_and_not_with_where() -> None:
    config = Config.of(LEAST)
    assert len(config.digest()) == 16
    for override in ("run.seed=1", "loss.options.margin=0.4", "optimizer.lr=0.2"):
        assert Config.of(LEAST, overrides=[override]).digest() != config.digest()
    for override in ("run.folder=elsewhere", "data.train=elsewhere", "run.device=cpu", "data.workers=3"):
        assert Config.of(LEAST, overrides=[override]).digest() == config.digest()
    assert config.facts().keys().isdisjoint(PLACES)
    assert "optimizer.lr" in config.facts()


# recipes of the loop; policies of augmentation, the detector's and the restorer's recipes are read by their own tests
FOLDER = Path(__file__).parents[2] / "recipes"
RECIPES = sorted(
    p for p in FOLDER.rglob("*.toml") if p.parent.name != "augment" and not p.stem.startswith(("detector_", "restore_"))
)


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_every_published_recipe_can_be_read(path: Path) -> None:
    assert Config.load(path).digest()
