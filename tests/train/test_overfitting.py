"""Every loss learns eight identities by heart with its published recipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from vultus.errors import BadArgument, DatasetError
from vultus.train import Config, data, nn, overfit
from vultus.train.loss import Loss

FOLDER = Path(__file__).parents[2] / "recipes" / "losses"
RECIPES = sorted(p for p in FOLDER.glob("*.toml") if p.stem != "common")
LOSSES = {
    kind.__name__.lower()
    for kind in (getattr(nn, name) for name in nn.__all__)
    if isinstance(kind, type) and issubclass(kind, Loss | nn.BatchLoss) and kind is not nn.BatchLoss
}

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def faces() -> data.InMemory:
    return data.InMemory(data.DrawnFaces(8, 8))


def loss_of(config: Config) -> str:
    """The loss that a recipe is about: the added one where there is one."""
    return (config.added[0].name if config.added else config.loss.name).replace("_", "")


def test_there_is_a_recipe_for_each_loss() -> None:
    assert len(LOSSES) == 27
    assert {loss_of(Config.load(p)) for p in RECIPES} == LOSSES
    assert [loss_of(Config.load(p)) for p in RECIPES] == [p.stem.replace("_", "") for p in RECIPES]


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_each_recipe_overfits_eight_identities(path: Path, faces: data.InMemory) -> None:
    found = overfit(Config.load(path), steps=30, batch=24, dataset=faces)
    assert (found.identities, found.photos, found.steps) == (8, 64, 30)
    assert found.before < 0.7
    assert found.after > 0.9


def test_the_number_of_identities_steps_and_photos_in_a_batch_act(faces: data.InMemory) -> None:
    config = Config.load(FOLDER / "arcface.toml")
    found = overfit(config, identities=3, steps=2, batch=10_000, dataset=faces)
    assert (found.identities, found.photos, found.steps) == (3, 24, 2)
    longer = overfit(config, identities=3, steps=12, batch=12, dataset=faces)
    assert longer.loss < found.loss
    assert longer.before == found.before  # the initial weights follow from the recipe's seed


def test_what_cannot_be_learned_is_refused(faces: data.InMemory) -> None:
    config = Config.load(FOLDER / "softmax.toml")
    with pytest.raises(BadArgument, match="at least two and one"):
        overfit(config, identities=1, dataset=faces)
    with pytest.raises(DatasetError, match="has 8 identities; 9 are to be learned"):
        overfit(config, identities=9, dataset=faces)
    with pytest.raises(DatasetError, match=r"nobody in .* has two photos"):
        overfit(config, identities=4, dataset=data.DrawnFaces(4, 1))
