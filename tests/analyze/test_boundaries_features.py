"""Curves over the angle, features trained in the plane, and the pictures and figures of both."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from vultus.analyze.boundaries import (
    Samples,
    TrainedFeatures,
    digits,
    faces,
    slope_curve,
    target_curve,
    train_features,
    write_features,
    write_margins,
)
from vultus.analyze.boundaries.catalogue import BOUNDARIES
from vultus.analyze.boundaries.feature_picture import draw_features
from vultus.cli.app import run
from vultus.errors import BadArgument, BadBatch, ExtraMissing, NotFinite, SourceUnavailable
from vultus.train import nn
from vultus.train.data import DrawnFaces
from vultus.train.nn import BatchLoss

THETA = np.linspace(0.05, 3.0, 60)


# --- curves --------------------------------------------------------------------------------------------------------------


def test_target_curves() -> None:
    np.testing.assert_allclose(target_curve(nn.Softmax(), THETA, norm=3.0), np.cos(THETA), atol=1e-12)
    np.testing.assert_allclose(target_curve(nn.CosFace(margin=0.2), THETA), np.cos(THETA) - 0.2, atol=1e-12)
    arc = target_curve(nn.ArcFace(margin=0.5), THETA)
    expected = np.where(math.pi - 0.5 >= THETA, np.cos(THETA + 0.5), np.cos(THETA) - 0.5 * math.sin(0.5))
    np.testing.assert_allclose(arc, expected, atol=1e-9)
    uni = target_curve(nn.UniFace(9, margin=0.3), THETA)
    np.testing.assert_allclose(uni, np.cos(THETA) - 0.3, atol=1e-9)
    loss = nn.SphereFace(margin=3, base=0, least=2)
    k = np.floor(3 * THETA / math.pi)
    psi = (-1) ** k * np.cos(3 * THETA) - 2 * k
    np.testing.assert_allclose(target_curve(loss, THETA), (2 * np.cos(THETA) + psi) / 3, atol=1e-9)
    mag = target_curve(nn.MagFace(far="cosine"), THETA, norm=60)
    np.testing.assert_allclose(mag, np.cos(THETA + 0.625), atol=1e-9)


@pytest.mark.parametrize("margins", [(1.0, 0.5, 0.0), (2.0, 0.1, 0.2), (1.0, 0.0, 0.35)])
def test_exact_and_detached_slopes(margins: tuple[float, float, float]) -> None:
    m1, m2, m3 = margins
    near = np.linspace(0.05, (math.pi - m2) / m1 - 0.05, 40)
    exact = slope_curve(nn.CombinedMargin(m1=m1, m2=m2, m3=m3), near)
    np.testing.assert_allclose(exact, m1 * np.sin(m1 * near + m2) / np.sin(near), rtol=1e-9)
    detached = slope_curve(nn.CombinedMargin(m1=m1, m2=m2, m3=m3, margin_gradient="detached"), near)
    assert (detached == 1).all()


@pytest.mark.parametrize("name", BOUNDARIES)
def test_slopes_equal_finite_differences(name: str) -> None:
    shown, step = BOUNDARIES[name], 1e-6
    loss = shown.make()
    if getattr(loss, "margin_gradient", "exact") == "detached":
        loss.margin_gradient = "exact"  # type: ignore[assignment]
    angles = np.array([0.4, 0.7, 1.0, 1.4, 1.9])
    cosines = np.cos(angles)
    high, low = (target_curve(loss, np.arccos(cosines + sign * step), norm=shown.norm) for sign in (1, -1))
    found = slope_curve(loss, angles, norm=shown.norm)
    np.testing.assert_allclose(found, (high - low) / (2 * step), rtol=1e-5, atol=1e-6)


def test_angles_of_curves_are_checked() -> None:
    for wrong in ([-0.1], [3.2], [[0.1]], [math.nan]):
        with pytest.raises(BadArgument, match="angles"):
            target_curve(nn.ArcFace(), wrong)
        with pytest.raises(BadArgument, match="angles"):
            slope_curve(nn.ArcFace(), wrong)


# --- samples ---------------------------------------------------------------------------------------------------------------


def blobs(n: int = 90, classes: int = 3) -> Samples:
    """Noise around one pattern for each class."""
    rng = np.random.default_rng(5)
    labels = np.arange(n) % classes
    patterns = rng.standard_normal((classes, 1, 6, 6))
    inputs = (patterns[labels] + 0.3 * rng.standard_normal((n, 1, 6, 6))).astype(np.float32)
    return Samples(inputs, labels, tuple("abcdefghij"[:classes]), np.arange(n) % 5 == 0)


def test_digits() -> None:
    samples = digits()
    assert samples.inputs.shape == (1797, 1, 8, 8)
    assert (samples.inputs.min(), samples.inputs.max()) == (-1, 1)
    counts = np.bincount(samples.labels)
    assert np.bincount(samples.labels[samples.held_out]).tolist() == (counts // 5).tolist()


def test_digits_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sklearn.datasets", None)
    with pytest.raises(ExtraMissing, match="pip install scikit-learn"):
        digits()


def test_faces() -> None:
    dataset = DrawnFaces(4, 7)
    samples = faces(dataset, identities=3, photos=6)
    assert samples.inputs.shape == (18, 3, 28, 28)
    assert samples.names == dataset.classes[:3]
    assert samples.labels.tolist() == [0] * 6 + [1] * 6 + [2] * 6
    assert np.flatnonzero(samples.held_out).tolist() == [4, 10, 16]
    pixels = dataset.pixels(7 + 2).astype(np.float64)  # the third photo of the second identity
    small = pixels.reshape(28, 4, 28, 4, 3).mean(axis=(1, 3)).transpose(2, 0, 1) / 127.5 - 1
    np.testing.assert_allclose(samples.inputs[8], small, atol=1e-5)
    assert faces(dataset, identities=2).inputs.shape[0] == 14
    for wrong in ({"identities": 5}, {"identities": 1}, {"identities": 3, "photos": 4}):
        with pytest.raises(BadArgument):
            faces(dataset, **wrong)


def test_samples_are_checked() -> None:
    good = blobs()
    parts: dict[str, Any] = {
        "inputs": good.inputs,
        "labels": good.labels,
        "names": good.names,
        "held_out": good.held_out,
    }
    for name, wrong in (
        ("inputs", good.inputs[:, 0]),
        ("labels", good.labels[:-1]),
        ("labels", good.labels + 1),
        ("held_out", np.zeros(90, dtype=np.bool_)),
        ("held_out", np.ones(90, dtype=np.bool_)),
    ):
        with pytest.raises(BadArgument):
            Samples(**(parts | {name: wrong}))


# --- training ---------------------------------------------------------------------------------------------------------------


def test_training_separates_and_repeats() -> None:
    before = torch.get_rng_state()
    one, two = (train_features(blobs(), nn.ArcFace(margin=0.2, scale=10), epochs=12) for _ in range(2))
    assert torch.equal(before, torch.get_rng_state())
    np.testing.assert_array_equal(one.features, two.features)
    assert one.accuracy == 1.0
    assert one.features.shape == (90, 2)
    assert one.history[-1] < one.history[0]
    assert len(one.history) == 12
    other = train_features(blobs(), nn.ArcFace(margin=0.2, scale=10), epochs=12, seed=1)
    assert not np.array_equal(one.features, other.features)
    slow = train_features(blobs(), nn.ArcFace(margin=0.2, scale=10), epochs=12, rate=1e-5)
    assert slow.history[-1] > one.history[-1]


def test_nothing_is_learned_from_what_is_held_out() -> None:
    samples = blobs()
    inputs = samples.inputs.copy()
    inputs[samples.held_out] = 9
    changed = Samples(inputs, samples.labels, samples.names, samples.held_out)
    one, two = (train_features(s, nn.NormFace(scale=8), epochs=3) for s in (samples, changed))
    np.testing.assert_array_equal(one.centres, two.centres)
    np.testing.assert_array_equal(one.features[~samples.held_out], two.features[~samples.held_out])
    assert two.accuracy < one.accuracy


def test_a_loss_beside_and_three_numbers() -> None:
    centre = nn.Center(3, 3, weight=2.0)
    with_centre = train_features(blobs(), nn.Softmax(), beside=centre, dim=3, epochs=8)
    plain = train_features(blobs(), nn.Softmax(), dim=3, epochs=8)
    assert with_centre.features.shape == (90, 3)
    assert centre.centres.abs().max() > 0
    assert scatter(with_centre) < 0.7 * scatter(plain)
    assert plain.biases.any()
    assert not train_features(blobs(), nn.CosFace(scale=8, margin=0.1), epochs=1).biases.any()


def scatter(trained: TrainedFeatures) -> float:
    """Mean distance of the samples trained on from the mean of their class."""
    kept, labels = trained.features[~trained.held_out], trained.labels[~trained.held_out]
    return float(
        np.mean([np.linalg.norm(kept[labels == c] - kept[labels == c].mean(axis=0), axis=1).mean() for c in range(3)])
    )


def test_figures_of_features_by_hand() -> None:
    angles = np.radians([0, 4, 90, 96, 10, 0, 80, 90])
    features = (np.array([1, 1, 1, 3, 1, 1, 1, 3]) * np.stack([np.cos(angles), np.sin(angles)])).T.astype(np.float32)
    trained = TrainedFeatures(
        features=features,
        labels=np.array([0, 0, 1, 1, 0, 0, 1, 1]),
        held_out=np.array([True] * 4 + [False] * 4),
        names=("a", "b"),
        centres=np.array([[9, 0], [0, 0.1]], dtype=np.float32),
        biases=np.zeros(2, dtype=np.float32),
        loss=nn.NormFace(),
        history=np.array([2.0, 1.0]),
    )
    assert math.degrees(trained.spread) == pytest.approx(2.5, abs=1e-3)  # 2, 2, 3 and 3
    assert math.degrees(trained.separation) == pytest.approx(91, abs=1e-3)
    assert trained.length_variation == pytest.approx(np.std([1, 1, 1, 3]) / 1.5)
    assert trained.accuracy == 1
    assert trained.predicted.tolist() == [0, 0, 1, 1, 0, 0, 1, 1]
    record = trained.to_dict()
    assert (record["accuracy"], record["held_out"], record["trained_on"], record["classes"]) == (1, 4, 4, 2)
    assert (record["first_loss"], record["last_loss"], record["loss"]) == (2, 1, "NormFace")
    free = {name: getattr(trained, name) for name in TrainedFeatures.__slots__} | {"loss": nn.Softmax()}
    assert TrainedFeatures(**free).predicted.tolist() == [
        0,
        0,
        1,
        1,
        0,
        0,
        0,
        1,
    ]  # lengths count: 9 cos 80 > 0.1 sin 80


class Endless(BatchLoss):
    """A loss that is never finite."""

    def forward(self, features: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return features.sum() * math.inf


def test_training_is_refused() -> None:
    with pytest.raises(BadArgument, match="dim is 0"):
        train_features(blobs(), nn.Softmax(), dim=0)
    with pytest.raises(BadArgument, match="epochs 0"):
        train_features(blobs(), nn.Softmax(), epochs=0)
    with pytest.raises(NotFinite, match="epoch 0"):
        train_features(blobs(), nn.Softmax(), beside=Endless(), epochs=1)
    bad = blobs()
    bad.inputs[3] = np.inf
    with pytest.raises(BadBatch):
        train_features(bad, nn.Softmax(), epochs=1)


# --- pictures and the command -------------------------------------------------------------------------------------------------


def test_pictures_and_figures_of_two_losses(tmp_path: Path) -> None:
    record = write_margins(
        tmp_path / "new", losses={"cosface": {"margin": 0.2}, "SphereFaceR": {}}, angle=math.radians(60)
    )
    assert json.loads((tmp_path / "new/margins.json").read_text()) == json.loads(json.dumps(record))
    cos, sphere = record["losses"]["cosface"], record["losses"]["SphereFaceR"]
    assert math.radians(cos["margin"]) == pytest.approx(2 * math.asin(0.1 / math.sin(math.radians(30))))
    assert cos["reach"][0] == pytest.approx(30 - cos["margin"] / 2)
    assert (cos["formula"], sphere["formula"]) == ("plane and space", "plane")
    assert sphere["margin"] == pytest.approx(60 * 0.7 / 2.7)
    assert max(cos["difference"], sphere["difference"]) < 1e-7
    for name in ("plane", "sphere", "curves"):
        with Image.open(tmp_path / f"new/{name}.png") as picture:
            assert min(picture.size) > 300
            colours = picture.convert("RGB").getcolors(2**24)
            assert colours is not None
            assert len(colours) > 50
    (tmp_path / "file").write_text("")
    with pytest.raises(SourceUnavailable, match="cannot write"):
        write_margins(tmp_path / "file", losses={"normface": {}})
    for angle in (math.radians(119), 0.0):
        with pytest.raises(BadArgument, match=r"angle|apart"):
            write_margins(tmp_path, losses={"normface": {}}, angle=angle)


def test_pictures_and_figures_of_features(tmp_path: Path) -> None:
    told: list[int] = []
    record = write_features(
        tmp_path, blobs(), what="blobs", losses=("center", "arcface"), epochs=2, seed=3, progress=told.append
    )
    assert told == [1, 1]
    assert json.loads((tmp_path / "features.json").read_text()) == record
    assert list(record["losses"]) == ["center", "arcface"]
    assert (record["epochs"], record["seed"], record["what"]) == (2, 3, "blobs")
    with Image.open(tmp_path / "features.png") as picture:
        assert picture.width > 500
    with pytest.raises(BadArgument, match="modifiedsoftmax"):
        write_features(tmp_path, blobs(), what="blobs", losses=("triplet",))
    with pytest.raises(BadArgument, match="expected 2"):
        draw_features({"three": train_features(blobs(), nn.Softmax(), dim=3, epochs=1)}, what="blobs")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path)
    asked = ["analyze", "margins", "--out", out, "--loss", "arcface", "--angle", "70"]
    assert run([*asked, "--features", "generated:3x10", "--identities", "2", "--epochs", "1", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["angle"] == pytest.approx(70)
    assert record["losses"]["arcface"]["margin"] == pytest.approx(math.degrees(0.5))
    assert record["features"]["what"] == "2 identities of generated:3x10"
    assert list(record["features"]["losses"]) == ["arcface"]
    assert {p.name for p in tmp_path.iterdir()} == {
        *(f"{n}.png" for n in ("plane", "sphere", "curves", "features")),
        *("margins.json", "features.json"),
    }
    assert (
        run(["analyze", "margins", "--out", out, "--loss", "arcface", "--set", "margin=0.3", "--set", "far=easy"]) == 0
    )
    shown = capsys.readouterr().out
    assert "17.19" in shown
    assert "drawn in" in shown


@pytest.mark.parametrize(
    ("more", "match"),
    [
        (["--set", "margin=0.3"], "belongs to one loss"),
        (["--loss", "arcface", "--loss", "cosface", "--set", "margin=0.3"], "belongs to one loss"),
        (["--loss", "arcface", "--set", "margin"], "NAME=VALUE"),
        (["--loss", "arcfac"], "ArcFace"),
        (["--loss", "arcface", "--set", "margin=0.3", "--features", "digits"], "leave one out"),
        (["--features", "/nowhere/at/all"], "nowhere"),
    ],
)
def test_what_the_command_refuses(
    more: list[str], match: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["analyze", "margins", "--out", str(tmp_path / "x"), *more]) == 2
    assert match in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_the_command_without_torch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vultus.cli.margins.find_spec", lambda name: None)
    assert run(["analyze", "margins", "--out", str(tmp_path)]) == 2
    assert "vultus[train]" in capsys.readouterr().err
