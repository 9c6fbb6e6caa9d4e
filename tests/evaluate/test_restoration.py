"""Restoration: rates by hand with a made-up recognizer, and what a way must and must not do."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import cv2
import numpy as np
import pytest
from PIL import Image

from vultus import Recognizer
from vultus.errors import BadArgument, NoFace, TooFewComparisons, VultusError
from vultus.evaluate import RestorationResult, measure_restoration
from vultus.evaluate.protocol import People
from vultus.image import Photo, read_image
from vultus.recognizer import Sample
from vultus.types import Faces, FloatArray, Template, UInt8Array

PEOPLE, DIM = 12, 24


class Fake:
    """Embeds a crop as its grey values on a coarse grid, and finds a face in everything that is not dark."""

    model_id = "fake"
    embedder = SimpleNamespace(spec=SimpleNamespace(dimension=DIM, template="arcface-112"), size=(112, 112))

    def embed(self, crops: UInt8Array) -> FloatArray:
        grids = np.stack([cv2.resize(c[:48, :, 0], (6, 4), interpolation=cv2.INTER_AREA) for c in crops])
        rows = grids.reshape(len(crops), DIM).astype(np.float32) - 128
        return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6))

    def sample(self, source: Any, *, policy: str = "largest") -> Sample:
        pixels = read_image(source)
        if pixels.mean() < 20:
            raise NoFace("too dark")
        points = np.array([[[38.3, 51.7], [73.5, 51.5], [56.0, 71.7], [41.5, 92.4], [70.7, 92.2]]], np.float32)
        face = Faces(np.array([[10, 10, 100, 110]], np.float32), points, np.ones(1, np.float32))
        return Sample(Template(self.embed(pixels[None])[0], "fake"), face, 1, cast("Any", None), (112, 112))

    def extract(self, sources: Any, *, policy: str = "largest") -> Any:
        for source in sources:
            try:
                yield self.sample(source, policy=policy)
            except VultusError as problem:
                yield problem


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> People:
    """Twelve people with two photos of one pattern each; the second of person 0 shows another one."""
    folder, rng = tmp_path_factory.mktemp("people"), np.random.default_rng(5)
    files, subjects = [], []
    for person in range(PEOPLE):
        pattern = rng.integers(40, 215, (4, 6), dtype=np.uint8)
        for number in range(2):
            if person == 0 and number == 1:
                pattern = 255 - pattern
            top = cv2.resize(pattern, (112, 48), interpolation=cv2.INTER_NEAREST)
            picture = np.full((112, 112), 120, np.uint8)
            picture[:48] = top
            path = folder / f"{person}-{number}.png"
            Image.fromarray(np.repeat(picture[..., None], 3, axis=2)).save(path)
            files.append(str(path))
            subjects.append(person)
    return People("made up", tuple(str(p) for p in range(PEOPLE)), tuple(files), np.array(subjects))


def measured(people: People, **options: Any) -> RestorationResult:
    given: dict[str, Any] = {"factors": (), "fmr": 0.3, "ways": {"none": lambda _p, _f, crops: crops}} | options
    ways = given.pop("ways")
    return measure_restoration(people, cast("Recognizer", Fake()), ways, **given)


def test_a_way_that_leaves_all_as_it_is_gains_nothing(people: People) -> None:
    result = measured(people)
    assert (result.pairs, result.subjects, result.non_mated) == (PEOPLE, PEOPLE, PEOPLE * (PEOPLE - 1))
    (cell,) = result.cells
    assert (cell.factor, cell.severity, cell.way, cell.changed) == ("none", 0, "none", 0.0)
    assert cell.tar == cell.restored == pytest.approx(11 / 12)
    assert cell.gain.value == 0
    assert (cell.gain.interval.low, cell.gain.interval.high) == (0.0, 0.0)
    assert cell.tar_interval.low < 11 / 12 <= cell.tar_interval.high


def test_a_way_that_mends_what_was_wrong_gains_it(people: People) -> None:
    wrong = read_image(people.files[1])

    def way(_photo: Photo, _face: Faces, crops: UInt8Array, /) -> UInt8Array:
        return 255 - crops if abs(crops[0].astype(int) - wrong).mean() < 8 else crops

    (cell,) = measured(people, ways={"way": way}).cells
    assert cell.restored == 1.0
    assert cell.gain.value == pytest.approx(1 / 12)
    assert cell.changed == pytest.approx(1 / 12)
    assert cell.gain.interval.high > 0


def test_a_way_that_makes_everybody_another_loses_and_says_so(people: People) -> None:
    rng = np.random.default_rng(3)

    def lost(_photo: Photo, _face: Faces, crops: UInt8Array, /) -> UInt8Array:
        return np.repeat(np.repeat(rng.integers(0, 255, (1, 14, 14, 3), dtype=np.uint8), 8, axis=1), 8, axis=2)

    (cell,) = measured(people, ways={"way": lost}, fmr=0.25).cells
    assert cell.restored < cell.tar
    assert cell.gain.interval.high < 0
    assert cell.changed == 1.0


def test_a_way_may_give_several_crops_whose_embeddings_are_summed(people: People) -> None:
    def both(_photo: Photo, _face: Faces, crops: UInt8Array, /) -> UInt8Array:
        return np.concatenate([crops, crops])

    (cell,) = measured(people, ways={"both": both}).cells
    assert cell.restored == cell.tar
    assert cell.changed == 1.0


def test_the_threshold_is_the_lowest_that_keeps_the_rate(people: People) -> None:
    fake = Fake()
    rows = np.stack([fake.sample(f).template.vector for f in people.files]).astype(np.float64)
    first, second = rows[0::2], rows[1::2]
    scores = first @ second.T
    apart = scores[~np.eye(PEOPLE, dtype=bool)]
    for fmr in (0.25, 0.31, 0.4, 0.9):
        allowed = [t for t in np.concatenate([apart, [2.0]]) if (apart >= t).mean() <= fmr]
        expected = (np.diag(scores) >= min(allowed)).mean()
        just_above = (np.diag(scores) > max(s for s in [*apart, -2.0] if s < min(allowed))).mean()
        (cell,) = measured(people, fmr=fmr).cells
        assert expected <= cell.tar <= just_above


def test_factors_and_severities_act_and_failures_count_as_missed(people: People) -> None:
    result = measured(people, factors=("dark",), severities=(1, 5))
    assert [(c.factor, c.severity) for c in result.cells] == [("none", 0), ("dark", 1), ("dark", 5)]
    assert result.failures == 0
    black = People(
        people.name,
        people.names,
        (*people.files[:3], str(Path(people.files[0]).with_name("black.png")), *people.files[4:]),
        people.subjects,
    )
    Image.fromarray(np.zeros((112, 112, 3), np.uint8)).save(black.files[3])
    assert measured(black).failures == 1
    assert measured(black).cells[0].tar == pytest.approx(10 / 12)


def test_pairs_seed_and_replicates_act(people: People) -> None:
    assert measured(people, most=11, fmr=0.5).pairs == 11
    assert measured(people, most=11, fmr=0.5).notes
    one, other = measured(people, seed=1).cells[0], measured(people, seed=1).cells[0]
    assert one.tar_interval == other.tar_interval
    assert measured(people, replicates=2_000).cells[0].tar_interval.low <= 11 / 12


def test_the_rates_are_written_as_plain_values(people: People) -> None:
    values = measured(people).to_dict()
    assert json.loads(json.dumps(values)) == values
    assert cast("list[dict[str, object]]", values["cells"])[0]["way"] == "none"


def test_what_cannot_be_measured_is_refused(people: People) -> None:
    with pytest.raises(BadArgument, match="ways is empty"):
        measured(people, ways={})
    with pytest.raises(BadArgument, match="no factor 'fog'"):
        measured(people, factors=("fog",))
    with pytest.raises(BadArgument, match="fmr is 0"):
        measured(people, fmr=0.0)
    with pytest.raises(TooFewComparisons, match=r"132 comparisons of different people are too few for FMR 0\.001"):
        measured(people, fmr=1e-3)
    with pytest.raises(BadArgument, match=r"way 'way' gave float64 of shape \(1, 112, 112, 3\)"):
        measured(people, ways={"way": lambda _p, _f, crops: crops / 2})
