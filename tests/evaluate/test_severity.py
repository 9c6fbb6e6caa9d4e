"""Severity: pairs, failures and rates by hand with a made-up recognizer, and the real one on two portraits."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from vultus import Recognizer
from vultus.errors import BadArgument, NoFace, NoThreshold, TooFewComparisons, VultusError
from vultus.evaluate.dyadic import dyadic_interval
from vultus.evaluate.protocol import Pairs, People
from vultus.evaluate.severity import FACTORS, measure_severity
from vultus.image import read_image
from vultus.recognizer import Sample
from vultus.types import Faces, Template, Threshold, UInt8Array

DATA = Path(__file__).parents[2] / ".." / "shared" / "data"


class Fake:
    """Takes the mean colour of a photo for its embedding, and finds no face where it is dark."""

    model_id = "fake"
    embedder = SimpleNamespace(spec=SimpleNamespace(dimension=3))

    def threshold(self, *, fmr: float) -> Threshold:
        if fmr != 1e-3:
            raise NoThreshold("none")
        return Threshold(0.99, fmr, 1, 0, 1, "x")

    def extract(self, sources: Iterable[Any], *, policy: str = "largest") -> Iterator[Sample | VultusError]:
        for source in sources:
            try:
                colour = read_image(source).reshape(-1, 3).mean(axis=0)
            except VultusError as problem:
                yield problem
                continue
            if colour.sum() < 150:
                yield NoFace("too dark")
                continue
            box = np.asarray([[10, 10, 50, 50]], dtype=np.float32)
            points = np.asarray([[[22, 25], [38, 25], [30, 33], [24, 42], [36, 42]]], dtype=np.float32)
            face = Faces(box, points, np.ones(1, dtype=np.float32))
            vector = (colour / np.linalg.norm(colour)).astype(np.float32)
            quality = SimpleNamespace(overall=np.ones(1))
            yield Sample(Template(vector, "fake"), face, 1, cast("Any", quality), (60, 60))


def people_of(folder: Path, colours: dict[str, list[tuple[int, int, int]]]) -> People:
    files, subjects = [], []
    for s, (name, photos) in enumerate(colours.items()):
        for i, colour in enumerate(photos):
            path = folder / name / f"{i}.png"
            path.parent.mkdir(exist_ok=True)
            noise = np.random.default_rng(i).integers(-3, 4, (60, 60, 3))
            Image.fromarray((np.asarray(colour) + noise).clip(0, 255).astype(np.uint8)).save(path)
            files.append(str(path))
            subjects.append(s)
    return People("colours", tuple(colours), tuple(files), np.asarray(subjects))


COLOURS = {
    "red": [(200, 60, 60), (190, 60, 60), (180, 70, 60)],
    "blue": [(60, 60, 200), (60, 60, 190)],
    "grey": [(150, 150, 150), (20, 20, 20)],
}


def measured(data: Pairs | People, folder: Path, **options: Any) -> Any:
    return measure_severity(data, cast("Recognizer", Fake()), cache=folder / "cache", rates=(1e-3,), **options)


def test_cells_by_hand(tmp_path: Path) -> None:
    people = people_of(tmp_path, COLOURS)
    result = measured(people, tmp_path, factors=("dark", "blur"), severities=(5, 1))
    assert (result.protocol, result.model_id, result.pairs, result.subjects) == ("colours", "fake", 5, 3)
    assert [(c.factor, c.severity) for c in result.cells] == [
        ("none", 0), ("dark", 1), ("dark", 5), ("blur", 1), ("blur", 5),
    ]  # fmt: skip
    untouched = result.cells[0]
    assert untouched.failure_rate == 1 / 5  # the dark photo of grey is a second one
    assert untouched.fnmr == {1e-3: 1 / 5}
    assert np.isneginf(untouched.scores).tolist() == [False, False, False, False, True]
    failed = np.asarray([False] * 4 + [True])
    subjects = np.asarray([0, 0, 0, 1, 2])
    assert untouched.failure_interval == dyadic_interval(subjects, subjects, failed)
    assert result.cells[2].failure_rate == 1.0  # at severity 5 all are too dark
    assert result.cells[2].fnmr[1e-3] == 1.0
    assert result.cells[3].fnmr[1e-3] == 1 / 5
    assert len(result.failures) == 1
    assert result.failures[0].endswith("no_face: too dark")
    assert result.factors == ("dark", "blur")
    assert [c.severity for c in result.curve("blur")] == [0, 1, 5]
    with pytest.raises(BadArgument, match="no factor 'jpeg' was measured; expected one of dark, blur"):
        result.curve("jpeg")
    plain = result.to_dict()
    assert plain == json.loads(json.dumps(plain))


def test_the_first_photo_stays_as_it_is(tmp_path: Path) -> None:
    people = people_of(tmp_path, {"a": [(20, 20, 20), (200, 60, 60)], "b": [(60, 60, 200), (60, 60, 190)]})
    result = measured(people, tmp_path, factors=("blur",), severities=(1,))
    assert result.cells[0].failure_rate == 0  # the dark photo is a first one: no failure of a second
    assert result.cells[0].fnmr[1e-3] == 1 / 2
    assert len(result.failures) == 1


def test_mated_pairs_of_a_protocol(tmp_path: Path) -> None:
    people = people_of(tmp_path, COLOURS)
    first, second = np.asarray([0, 0, 3]), np.asarray([1, 3, 4])
    pairs = Pairs(
        "p", people.files, first, second, np.asarray([True, False, True]), people.subjects, notes=("so it is",)
    )
    result = measured(pairs, tmp_path, factors=("jpeg",), severities=(1,))
    assert result.pairs == 2
    assert result.notes == ("so it is",)


def test_most_bounds_the_pairs(tmp_path: Path) -> None:
    people = people_of(tmp_path, COLOURS)
    result = measured(people, tmp_path, factors=("blur",), severities=(1,), most=4, seed=3)
    assert result.pairs == 4
    assert result.notes == ("4 of 5 mated pairs, drawn at random",)
    scores = {
        tuple(measured(people, tmp_path, factors=("blur",), severities=(1,), most=4, seed=s).cells[0].scores)
        for s in range(5)
    }
    assert len(scores) > 1


def test_progress_counts_every_photo(tmp_path: Path) -> None:
    people = people_of(tmp_path, COLOURS)
    done: list[int] = []
    measured(people, tmp_path, factors=("blur", "jpeg"), severities=(1, 2), progress=done.append)
    firsts, seconds, faces = 4, 4, 3
    assert sum(done) == firsts + seconds + faces * 4


def test_thresholds_act(tmp_path: Path) -> None:
    people = people_of(tmp_path, COLOURS)
    result = measured(people, tmp_path, factors=("blur",), severities=(1,), thresholds={0.1: -1.0, 0.01: 1.5})
    assert result.cells[0].fnmr == {0.1: 1 / 5, 0.01: 1.0}
    assert result.thresholds == {0.1: -1.0, 0.01: 1.5}
    with pytest.raises(NoThreshold):
        measure_severity(people, cast("Recognizer", Fake()), rates=(1e-4,))


def test_all_eight_factors_are_there() -> None:
    assert set(FACTORS) == {"blur", "low_resolution", "jpeg", "dark", "light", "occlusion", "rotation", "yaw"}


def test_bad_arguments_are_refused(tmp_path: Path) -> None:
    people = people_of(tmp_path, COLOURS)
    for options, message in (
        ({"factors": ("fog",)}, "no factor 'fog'"),
        ({"factors": ()}, "and a factor"),
        ({"severities": (0, 1)}, r"severities are \[0, 1\]"),
        ({"severities": ()}, "severities"),
        ({"most": 0}, "most is 0"),
    ):
        with pytest.raises(BadArgument, match=message):
            measured(people, tmp_path, **options)
    with pytest.raises(TooFewComparisons, match="no mated pair"):
        measured(People("one", ("a",), (people.files[0],), np.asarray([0])), tmp_path)
    with pytest.raises(TooFewComparisons, match="1 subject"):
        measured(People("one", ("a",), people.files[:2], np.asarray([0, 0])), tmp_path, factors=("blur",))


def test_the_default_system_loses_to_severity(
    tmp_path: Path, recognizer: Recognizer, astronaut: UInt8Array, hopper: UInt8Array
) -> None:
    files = []
    for name, pixels in (("astronaut", astronaut), ("hopper", hopper)):
        (tmp_path / name).mkdir()
        for i, photo in enumerate((pixels, pixels[10:, 5:])):
            files.append(str(tmp_path / name / f"{i}.png"))
            Image.fromarray(photo).save(files[-1])
    people = People("portraits", ("astronaut", "hopper"), tuple(files), np.asarray([0, 0, 1, 1]))
    result = measure_severity(
        people, recognizer, severities=(1, 5), thresholds={1e-3: 0.4}, cache=tmp_path / "cache", most=10
    )
    assert len(result.cells) == 17
    assert (result.cells[0].scores > 0.95).all()
    for factor in FACTORS:
        _, mild, strong = result.curve(factor)
        assert strong.scores.mean() < mild.scores.mean()


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "lfw" / "pairs.txt").is_file(), reason="../shared/data/lfw is absent")
def test_real_photos_fail_more_the_worse_they_are(recognizer: Recognizer, tmp_path: Path) -> None:
    from vultus.evaluate.protocols.lfw import read_lfw

    result = measure_severity(
        read_lfw(DATA / "lfw"),
        recognizer,
        factors=("occlusion", "yaw"),
        severities=(1, 5),
        thresholds={1e-3: 0.365},
        policy="central",
        most=40,
        cache=tmp_path,
    )
    for factor in ("occlusion", "yaw"):
        untouched, mild, strong = (c.scores[np.isfinite(c.scores)].mean() for c in result.curve(factor))
        assert untouched > mild > strong
