"""Pairs of held-out people, figures of a network on them, and the crops of a protocol's photos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn

from vultus import Recognizer
from vultus.errors import SourceUnavailable, TooFewComparisons
from vultus.train import crops, data
from vultus.train.distributed import World
from vultus.train.sections import EvaluationSet
from vultus.train.validation import PairSet, held_out_pairs, measure, pair_set
from vultus.types import UInt8Array


class Named(data.Dataset):
    """Photos that are never looked at."""

    def pixels(self, index: int) -> UInt8Array:
        raise AssertionError(index)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(2, 12), min_size=4, max_size=14), st.randoms(use_true_random=False))
def test_pairs_of_held_out_people_are_what_they_say(counts: list[int], random: object) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    random.shuffle(labels)  # type: ignore[attr-defined]
    dataset = Named(labels, tuple(f"p{i}" for i in range(len(counts))), name="named")
    pairs = held_out_pairs(dataset)
    assert pairs.folds is not None
    one, other = dataset.labels[pairs.first], dataset.labels[pairs.second]
    assert np.array_equal(one == other, pairs.mated)
    assert (pairs.first != pairs.second).all()
    keys = {tuple(sorted(p)) for p in zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)}
    assert len(keys) == len(pairs)
    for fold in np.unique(pairs.folds):  # no person is in two folds, and both kinds of pairs are in each
        inside = pairs.folds == fold
        people = set(one[inside]) | set(other[inside])
        assert people.isdisjoint(set(one[~inside]) | set(other[~inside]))
        assert 0 < pairs.mated[inside].sum() < inside.sum()
    again = held_out_pairs(dataset)
    assert np.array_equal(again.first, pairs.first)
    assert np.array_equal(again.second, pairs.second)


def test_too_few_people_give_no_folds() -> None:
    with pytest.raises(TooFewComparisons, match="holds out 3 identities"):
        held_out_pairs(Named([0, 0, 1, 1, 2, 2], ("a", "b", "c"), name="named"))
    with pytest.raises(TooFewComparisons, match="nobody whom named holds out has two photos"):
        held_out_pairs(Named([0, 1, 2, 3], ("a", "b", "c", "d"), name="named"))
    with pytest.raises(TooFewComparisons, match="pairs of both kinds in two folds"):
        held_out_pairs(Named([0, 0, 1, 2, 3], ("a", "b", "c", "d"), name="named"))


class Means(nn.Module):
    """Mean colours of the two halves of a photo."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.9)
        self.factor = nn.Parameter(torch.ones(()))

    def forward(self, images: Tensor) -> Tensor:
        left, right = images.chunk(2, dim=3)
        means = torch.cat([left.mean(dim=(2, 3)), right.mean(dim=(2, 3))], dim=1)
        out: Tensor = self.dropout(means * self.factor)
        return out


@pytest.mark.parametrize("mirror", [False, True])
def test_figures_are_those_of_the_scores_one_by_one(mirror: bool) -> None:
    faces = data.InMemory(data.DrawnFaces(6, 4))
    pairs = PairSet("drawn", held_out_pairs(faces), faces.pixels, failures={3: "no_face: none"})
    network = Means()
    network.train()
    found, extraction = measure(network, pairs, world=World(), batch=5, mirror=mirror)
    assert network.training
    assert network.dropout.training

    def row(i: int) -> np.ndarray:
        image = (faces.pixels(i).astype(np.float64) - 127.5) / 127.5
        looks = [image, image[:, ::-1]] if mirror else [image]
        rows = [np.concatenate([x[:, :56].mean((0, 1)), x[:, 56:].mean((0, 1))]) for x in looks]
        total = np.sum([r / np.linalg.norm(r) for r in rows], axis=0)
        unit: np.ndarray = total / np.linalg.norm(total)
        return unit

    scores, mated = [], pairs.pairs.mated
    for i, j in zip(pairs.pairs.first, pairs.pairs.second, strict=True):
        scores.append(-np.inf if 3 in (i, j) else float(row(i) @ row(j)))
    got = extraction.scores(pairs.pairs.first, pairs.pairs.second)
    np.testing.assert_allclose(got, scores, atol=1e-6)
    s = np.asarray(got)
    wins = (s[mated][:, None] > s[~mated]) + 0.5 * (s[mated][:, None] == s[~mated])
    assert found.auc == pytest.approx(wins.mean(), abs=1e-9)
    assert (found.name, found.pairs, found.failures) == ("drawn", len(mated), 1)
    assert found.accuracy is not None
    assert found.merit == found.accuracy
    assert found.plain()["auc"] == found.auc


def test_crops_are_found_once_and_kept(
    astronaut: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recognizer: Recognizer
) -> None:
    files = [str(tmp_path / "a.png"), str(tmp_path / "black.png")]
    Image.fromarray(astronaut).save(files[0])
    Image.new("RGB", (200, 200)).save(files[1])
    told: list[int] = []
    found, failures = crops.crops_of(files, recognizer=recognizer, cache=tmp_path / "cache", progress=told.append)
    assert found.shape == (2, 112, 112, 3)
    assert list(failures) == [1]
    assert failures[1].startswith("no_face: ")
    assert not found[1].any()
    expected = recognizer.sample(files[0]).template.vector
    np.testing.assert_allclose(recognizer.embed(np.asarray(found[:1]))[0], expected, atol=1e-6)
    assert told == [2]
    monkeypatch.setattr(crops, "crop_of", None)  # a second search would fail
    again, same_failures = crops.crops_of(files, recognizer=recognizer, cache=tmp_path / "cache")
    assert np.array_equal(again, found)
    assert same_failures == failures
    with pytest.raises(SourceUnavailable, match="cannot read"):
        crops.crops_of([*files, str(tmp_path / "none.png")], recognizer=recognizer, cache=tmp_path / "cache")


def test_a_set_of_held_out_people_needs_some() -> None:
    faces = data.InMemory(data.DrawnFaces(4, 2))
    assert pair_set(EvaluationSet("held-out"), held_out=faces).name == "held-out"
    assert pair_set(EvaluationSet("held-out", name="mine"), held_out=faces).name == "mine"
