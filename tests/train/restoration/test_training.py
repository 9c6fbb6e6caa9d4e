"""A restorer is trained by its recipe, brings harmed faces nearer to true ones, and is exported and used as it was trained."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from vultus import Embedder, load_manifest
from vultus.cli.app import run as vultus
from vultus.embed import unit_rows
from vultus.errors import BadArgument, BadRecipe, GraphError, ManifestError
from vultus.restore import Restorer
from vultus.train import open_checkpoint, restoration
from vultus.train.data import DrawnFaces, InMemory, draw_face
from vultus.train.fitting import load_weights
from vultus.train.from_onnx import Frozen
from vultus.train.restoration import training
from vultus.train.restoration.network import Deployed, UNet
from vultus.train.upsample import WAYS, Way

pytestmark = pytest.mark.usefixtures("one_thread")
RECIPE = Path(__file__).parents[3] / "recipes" / "restore_small.toml"
SMALL = ("model.width=4", "run.batch=4", "run.log_every=5")


@pytest.fixture(scope="module")
def faces() -> InMemory:
    return InMemory(DrawnFaces(10, 6, seed=1))


def config(folder: Path, *overrides: str) -> restoration.Config:
    return restoration.Config.load(RECIPE, overrides=[f"run.folder={folder}", "data.train=drawn", *SMALL, *overrides])


@pytest.fixture(scope="module")
def trained(faces: InMemory, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has learned to make dark faces lighter."""
    folder = tmp_path_factory.mktemp("trained")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    overrides = (
        "run.steps=70",
        "loss.identity=0",
        "loss.people=0",
        "optimizer.lr=0.01",
        "average.decay=0.8",
        'data.factors=["dark"]',
    )
    terms = ("export.licence=mine", "export.commercial=false", "export.training_data=drawings")
    restoration.run(config(folder, *overrides, *terms, "data.hold_out=0.2", "data.untouched=0"), dataset=faces)
    torch.set_num_threads(before)
    return folder


def test_the_recipes_are_read_and_wrong_values_are_named() -> None:
    recipe = restoration.Config.load(RECIPE)
    assert restoration.Config.of(recipe.recipe().table) == recipe
    later = restoration.Config.load(RECIPE.with_stem("restore_small_identity"))
    assert (later.data, later.model, later.run.folder) == (recipe.data, recipe.model, recipe.run.folder)
    assert later.run.steps > recipe.run.steps
    for override, message in (
        ("data.factor=[]", "did you mean 'factors'"),
        ('data.factors=["rain"]', "factors is"),
        ("data.jitter=-1", "jitter is"),
        ("data.untouched=1", "untouched is"),
        ("model.upsampling=cubic", "upsampling"),
        ("model.width=2", "at least 4"),
        ("loss.watched=0", "watched is"),
        ("export.name=No", "name 'No' must be"),
        ("loss.identity=-1", "at least 0"),
    ):
        with pytest.raises(BadRecipe, match=message):
            restoration.Config.load(RECIPE, overrides=[override])


@pytest.mark.parametrize("way", WAYS)
def test_an_untrained_network_leaves_faces_as_they_are(way: Way) -> None:
    torch.manual_seed(0)
    network = UNet(width=4, way=way)
    images = torch.rand(2, 3, 32, 48) * 2 - 1
    assert torch.equal(network(images), images)
    (network(images) - 0.1).square().mean().backward()
    assert network.last.weight.grad is not None
    assert bool(network.last.weight.grad.any())


def test_the_frozen_graph_equals_the_runtime_and_has_a_gradient() -> None:
    crops = np.stack([draw_face(i, 0) for i in range(3)])
    graph = Frozen(load_manifest("sface-2021dec"))
    pixels = torch.from_numpy(crops.transpose(0, 3, 1, 2).copy()).float().requires_grad_()
    found = graph(pixels)
    assert np.abs(unit_rows(found.detach().numpy()) - Embedder(threads=1)(crops)).max() < 1e-5
    found[:, 0].sum().backward()
    assert pixels.grad is not None
    assert bool((pixels.grad.abs().amax(dim=(1, 2, 3)) > 0).all())
    assert not list(graph.parameters())
    step = torch.zeros_like(pixels)
    step[0, :, 50:60, 50:60] = 2.0
    with torch.no_grad():
        ahead, behind = graph(pixels + step)[0, 0], graph(pixels - step)[0, 0]
    slope = float((pixels.grad * step).sum())
    assert float(ahead - behind) / 2 == pytest.approx(slope, rel=0.2, abs=0.02)


def test_an_operator_without_a_form_in_torch_is_named() -> None:
    with pytest.raises(GraphError, match=r"'yunet-2023mar' has the operator \w+, which has no form in torch"):
        Frozen(load_manifest("yunet-2023mar"))


def test_identity_is_watched_and_people_are_held_out(faces: InMemory, tmp_path: Path) -> None:
    kinds = ("run.steps=2", "data.hold_out=0.3", "run.log_every=1", "run.batch=2", "loss.people=0.1", "loss.identity=1")
    recipe = config(tmp_path / "a", *kinds, "loss.watched=0.5")
    result = restoration.run(recipe, dataset=faces)
    assert 0 < result.losses["identity"] < 1
    assert 0 < result.losses["people"] < 5
    parts = [result.losses[part] for part in training.PARTS]
    assert result.losses["loss"] == pytest.approx(sum(parts), rel=1e-5)
    inside, outside = training.split(faces, recipe)
    assert len(inside) == 42
    assert len(outside) == 18
    assert not set(faces.labels[inside]) & set(faces.labels[outside])
    numbers, before, after = training.batch(faces, inside, recipe, 5)
    again = training.batch(faces, inside, recipe, 5)
    assert np.array_equal(before, again[1])
    assert np.array_equal(after[0], faces.pixels(int(numbers[0])))


def test_who_it_is_is_learned_among_the_people_trained_on(faces: InMemory) -> None:
    watched = training._Watched("sface-2021dec", faces, threads=1)
    inside = np.flatnonzero(faces.labels != 3)
    centres = watched.centres(inside)
    assert centres._rows.shape == (9, 128)
    rows = Embedder(threads=1)(np.stack([faces.pixels(int(i)) for i in np.flatnonzero(faces.labels == 4)]))
    mean = rows.sum(axis=0) / np.linalg.norm(rows.sum(axis=0))
    assert np.allclose(centres._rows[centres._number[4]], mean, atol=1e-5)
    own = centres._rows[[centres._number[4]]]
    cosine = (own @ centres._rows.T).numpy()[0].astype(np.float64)
    cosine[centres._number[4]] -= training.MARGIN
    for label, value in ((4, cosine[centres._number[4]]), (5, None)):
        loss = float(centres.loss(own, np.array([label])))
        if value is not None:
            assert loss == pytest.approx(np.log(np.exp(32 * (cosine - value)).sum()), rel=1e-4)
        else:
            assert loss > float(centres.loss(own, np.array([4])))


def test_the_harmed_view_counts_where_both_are_compared(faces: InMemory) -> None:
    watched = training._Watched("sface-2021dec", faces, threads=1)
    _, before, after = training.batch(faces, np.arange(6), config(Path("unused"), "run.batch=3"), 0)
    rows = watched.found(training.images_of(after), before).numpy()
    embedder = Embedder(threads=1)
    assert np.abs(rows - unit_rows(embedder(before) + embedder(after))).max() < 1e-5
    assert np.abs(watched.found(training.images_of(after)).numpy() - embedder(after)).max() < 1e-5


def test_the_network_sees_the_mirror_image_and_a_canvas() -> None:
    torch.manual_seed(0)
    network = UNet(width=4).eval()
    images = torch.rand(2, 3, 112, 112) * 2 - 1
    bias = network.last.bias
    assert bias is not None
    with torch.no_grad():
        network.canvas.copy_(torch.rand(1, 3, 112, 112) - 0.5)
        for first, source in ((0, images), (3, images.flip(-1)), (6, network.canvas)):
            bias.zero_()[first : first + 3] = 0.5
            assert torch.allclose(network(images), images + 0.5 * (source + 1), atol=1e-5)
        bias.zero_()[9:] = -0.25
        assert torch.allclose(network(images), images - 0.25)


def test_what_was_learned_brings_harmed_faces_nearer_to_true_ones(
    trained: Path, faces: InMemory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert vultus(["train", "restorer", "export", str(trained), str(tmp_path), "--name", "lighter", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["difference"] < 1e-4
    restorer = Restorer.load(told["manifest"], threads=1)
    assert restorer.id.startswith("lighter@")
    assert restorer.spec.factors == ("dark",)
    terms = restorer.manifest.licence
    assert (terms.name, terms.commercial, terms.training_data) == ("mine", False, "drawings")
    checkpoint = open_checkpoint(trained)
    recipe = restoration.Config.of(checkpoint.record["recipe"])
    _, held_out = training.split(faces, recipe)
    _, before, after = training.batch(faces, held_out, recipe, 0)
    copy = before.copy()
    restored = restorer(before)
    assert np.array_equal(before, copy)
    far, near = (np.square(x.astype(float) - after).mean() for x in (before, restored))
    assert near < 0.6 * far  # people whom it was not trained on

    network = training.build(recipe)
    load_weights(network, checkpoint, recipe.recipe())
    with torch.no_grad():
        planes = Deployed(network).eval()(training.images_of(before)).numpy()
    expected = np.clip(np.rint(planes * 127.5 + 127.5), 0, 255).transpose(0, 2, 3, 1)
    assert np.abs(expected - restored).max() <= 1
    assert restorer(before[:0]).shape == (0, 112, 112, 3)
    with pytest.raises(BadArgument, match=r"expected uint8 \(n, 112, 112, 3\)"):
        restorer(before[:, :64])
    with pytest.raises(BadArgument, match="float64"):
        restorer(before.astype(np.float64))


def test_a_model_of_another_task_is_no_restorer() -> None:
    with pytest.raises(ManifestError, match="'sface-2021dec' is no restorer: its task is 'embed'"):
        Restorer("sface-2021dec")
