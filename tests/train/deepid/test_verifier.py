"""Networks on several patches together: trained on drawn faces, joined, and compared on people whom nobody saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from vultus import evaluate
from vultus.errors import BadArgument, TooFewComparisons
from vultus.subspace import PCA, JointBayesian
from vultus.train import Config, backbones, data, overfit, run
from vultus.train.checkpoint import open_checkpoint
from vultus.train.deepid import DeepID, extract, fit_verifier
from vultus.train.export import export_model, trained_backbone
from vultus.types import BoolArray, Float64Array, IntArray, UInt8Array

RECIPES = Path(__file__).parents[3] / "recipes"
MEMBERS = ("face/1/rgb", "left-eye/1.25/rgb", "lower/1/grey")

pytestmark = pytest.mark.usefixtures("one_thread")


def pictures(dataset: data.Dataset) -> UInt8Array:
    return np.stack([dataset.pixels(i) for i in range(len(dataset))])


@pytest.fixture(scope="module")
def faces() -> data.InMemory:
    """60 people with 8 photos: 20 to train networks, 20 to fit PCA and Joint Bayesian, 20 to test on."""
    return data.InMemory(data.DrawnFaces(60, 8, seed=3))


def recipe(folder: Path, *options: str, name: str = "deepid_small.toml", steps: int = 50) -> Config:
    plain = (
        f"run.folder='{folder}'",
        f"run.steps={steps}",
        "run.progress=false",
        "data.train=generated:60x8@3",
        "data.in_memory=false",
        "data.hold_out=0.0",
        "data.classes=20",
        "data.batch=32",
        "model.dim=32",
        "optimizer.lr=0.05",
        "schedule.warmup=0.0",
        "evaluation.sets=[]",
    )
    return Config.load(RECIPES / name, overrides=[*plain, *options])


@pytest.fixture(scope="module")
def members(faces: data.InMemory, tmp_path_factory: pytest.TempPathFactory) -> list[nn.Module]:
    found: list[nn.Module] = []
    for i, patch in enumerate(MEMBERS):
        folder = tmp_path_factory.mktemp(f"member-{i}")
        config = recipe(folder, f'model.options={{patch="{patch}"}}')
        run(config, dataset=faces)
        found.append(trained_backbone(open_checkpoint(folder), config))
    return found


def errors_of(features: Float64Array, labels: IntArray, fit: BoolArray, test: BoolArray) -> BoolArray:
    """Which of the pairs of the test people are decided wrongly, with the threshold of other folds of people."""
    verifier = fit_verifier(features[fit], labels[fit], components=40)
    first, second, mated, folds = pairs_of(labels[test])
    scores = verifier.score_pairs(features[test][first], features[test][second])
    found = evaluate.accuracy_by_fold(scores, mated, folds)
    wrong: BoolArray = (scores >= found.thresholds[folds]) != mated
    return wrong


def pairs_of(labels: IntArray) -> tuple[IntArray, IntArray, BoolArray, IntArray]:
    """All mated pairs and as many others within each of four folds of people."""
    first, second = np.triu_indices(len(labels), 1)
    fold = labels % 4
    within = fold[first] == fold[second]
    first, second = first[within], second[within]
    mated = labels[first] == labels[second]
    keep = mated | (np.random.default_rng(0).uniform(size=len(mated)) < mated.sum() / (~mated).sum())
    return first[keep], second[keep], mated[keep], fold[first[keep]]


def test_the_ensemble_is_at_least_the_mean_of_its_members(members: Sequence[nn.Module], faces: data.InMemory) -> None:
    """Accuracy on pairs of people whom neither networks nor verifier saw; 95 % interval over people."""
    crops, labels = pictures(faces), faces.labels
    fit, test = (labels >= 20) & (labels < 40), labels >= 40
    single = [errors_of(extract([m], crops), labels, fit, test) for m in members]
    joined = errors_of(extract(members, crops), labels, fit, test)
    first, second, mated, _ = pairs_of(labels[test])
    one, other = labels[test][first], labels[test][second]
    assert mated.sum() == 20 * 28
    # each pair counts once for each member, so the difference is that from the mean of the members
    gain = evaluate.bootstrap_difference(np.tile(one, 3), np.tile(other, 3), np.concatenate(single), np.tile(joined, 3))
    assert gain.value >= 0
    assert gain.interval.low >= 0
    assert joined.mean() < 0.2


def test_features_are_each_networks_own_of_the_crop_and_of_its_mirror_image(faces: data.InMemory) -> None:
    torch.manual_seed(0)
    one, other = DeepID(16).train(), DeepID(8, patch="nose/1/grey").eval()
    one.conv2.eval()
    crops = pictures(faces)[:5]
    images = data.to_input(torch.from_numpy(crops.transpose(0, 3, 1, 2).copy()))
    with torch.no_grad():
        parts = [one(images), one(images.flip(3)), other(images), other(images.flip(3))]
    found = extract([one, other], crops, batch=2)
    assert found == pytest.approx(torch.cat(parts, dim=1).numpy(), abs=1e-5)
    assert extract([one, other], crops, mirrored=False) == pytest.approx(torch.cat(parts[::2], dim=1).numpy(), abs=1e-5)
    assert one.training
    assert not one.conv2.training
    assert not other.training


def test_the_verifier_is_pca_and_then_joint_bayesian() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(40), 5)
    rows = 2 * rng.standard_normal((40, 12))[labels] + rng.standard_normal((200, 12))
    verifier = fit_verifier(rows, labels, components=6)
    pca = PCA(6).fit(rows)
    joint = JointBayesian().fit(pca.transform(rows), labels)
    expected = joint.score_matrix(pca.transform(rows), pca.transform(rows[:7]))
    assert verifier.score_matrix(rows, rows[:7]) == pytest.approx(expected)
    assert verifier.score_pairs(rows[:7], rows[:7]) == pytest.approx(np.diag(expected[:7]))
    assert fit_verifier(rows, labels).pca.n_components == 12


def test_what_cannot_be_joined_is_refused() -> None:
    network = DeepID(8)
    with pytest.raises(BadArgument, match="no members"):
        extract([], np.zeros((1, 112, 112, 3), np.uint8))
    with pytest.raises(BadArgument, match="have shape"):
        extract([network], np.zeros((1, 111, 112, 3), np.uint8))
    with pytest.raises(BadArgument, match="type float32"):
        extract([network], np.zeros((1, 112, 112, 3), np.float32))
    assert len(extract([network], np.zeros((0, 112, 112, 3), np.uint8))) == 0
    with pytest.raises(TooFewComparisons):
        fit_verifier(np.eye(4), [0, 1, 2, 3])


@pytest.mark.parametrize("name", ["deepid_small.toml", "deepid2_small.toml"])
def test_recipes_learn_eight_drawn_identities(name: str) -> None:
    config = Config.load(RECIPES / name)
    assert config.model.dim == 160
    found = overfit(config, steps=50, batch=32, dataset=data.DrawnFaces(8, 8))
    assert found.before < 0.93  # drawn faces are told apart by a network that learned nothing, but not as well
    assert found.after > 0.95
    assert found.loss < 0.5


def test_deepid2_adds_the_pairs_of_a_batch(tmp_path: Path) -> None:
    config = Config.load(RECIPES / "deepid2_small.toml")
    assert (config.model.backbone, config.loss.name, config.data.sampler) == ("deepid2", "softmax", "pk")
    assert [(a.name, a.share) for a in config.added] == [("contrastive", 0.05)]
    assert backbones.build(config.model.backbone, dim=config.model.dim, **config.model.options).size == (55, 47)
    faces = data.InMemory(data.DrawnFaces(8, 8))
    base = recipe(tmp_path / "a", "data.classes=8", name="deepid2_small.toml", steps=1)
    alone = replace(base, added=(), run=replace(base.run, folder=str(tmp_path / "b")))
    assert run(base, dataset=faces).loss > run(alone, dataset=faces).loss


def test_a_member_is_exported_and_gives_the_same_through_the_runtime(
    members: Sequence[nn.Module], tmp_path_factory: pytest.TempPathFactory
) -> None:
    base = tmp_path_factory.getbasetemp()
    folder = next(p for p in base.glob("member-0*") if (p / "checkpoints").is_dir())
    made = export_model(folder, folder / "model", name="deepid-face")
    assert made.difference < 1e-5
