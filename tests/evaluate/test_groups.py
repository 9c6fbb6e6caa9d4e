"""Groups: cells against brute force, intervals against listing every comparison, and what is withheld or noted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vultus.errors import BadArgument, SourceUnavailable
from vultus.evaluate.dyadic import dyadic_interval
from vultus.evaluate.extraction import Extraction
from vultus.evaluate.groups import GroupRate, between_groups, measure_groups
from vultus.evaluate.labels import Labels, read_labels
from vultus.evaluate.protocol import Pairs, People


def world(seed: int, *, subjects: int = 40, photos: int = 4, failed: int = 0) -> tuple[People, Extraction]:
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(subjects), photos)
    rows = rng.normal(size=(subjects, 6))[owner] + 0.7 * rng.normal(size=(len(owner), 6))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    failures = {int(i): "no_face: none" for i in rng.choice(len(owner), failed, replace=False)}
    rows[list(failures)] = 0
    names = tuple(f"s{i:02d}" for i in range(subjects))
    files = tuple(f"/photos/{names[s]}/{i}.jpg" for i, s in enumerate(owner))
    quality = np.ones(len(files), dtype=np.float32)
    return People("made up", names, files, owner), Extraction(files, rows.astype(np.float32), quality, failures, "m")


def by_parity(people: People) -> Labels:
    return Labels("subject", {n: "even" if i % 2 == 0 else "odd" for i, n in enumerate(people.names)})


def listed(
    people: People, found: Extraction, one: np.ndarray, other: np.ndarray, threshold: float
) -> tuple[np.ndarray, ...]:
    """(first, second, errors) of all comparisons of two subjects between two sets of files, by subject."""
    i, j = np.triu_indices(len(people.files), 1)
    keep = (people.subjects[i] != people.subjects[j]) & ((one[i] & other[j]) | (one[j] & other[i]))
    i, j = i[keep], j[keep]
    return people.subjects[i], people.subjects[j], found.scores(i, j) >= threshold


@pytest.mark.parametrize("kind", ["subject", "file"])
def test_cells_agree_with_brute_force(kind: str) -> None:
    people, found = world(0, failed=35)
    if kind == "subject":
        labels = by_parity(people)
        given = np.asarray([people.subjects[i] % 2 for i in range(len(people.files))])
    else:
        given = np.random.default_rng(1).integers(0, 2, len(people.files))
        labels = Labels("file", {f: ("even", "odd")[g] for f, g in zip(people.files, given, strict=True)})
    threshold = 0.6
    result = measure_groups(people, found, labels, threshold=threshold, least_errors=5)
    assert [g.label for g in result.groups] == ["even", "odd"]
    first, second = people.mated_pairs()
    missed = found.scores(first, second) < threshold
    for g in range(2):
        own = given == g
        inside = own[first] & own[second]
        cell = result.groups[g].fnmr
        assert (cell.errors, cell.trials) == (missed[inside].sum(), inside.sum())
        assert cell.rate == missed[inside].mean()
        who = people.subjects[first[inside]]
        assert cell.interval == dyadic_interval(who, who, missed[inside])
        fte = result.groups[g].fte
        assert (fte.errors, fte.trials) == (np.isin(np.flatnonzero(own), list(found.failures)).sum(), own.sum())
        assert result.groups[g].files == own.sum()
        for h in range(2):
            one, other, errors = listed(people, found, own, given == h, threshold)
            cell = result.cross_fmr[g][h]
            assert (cell.errors, cell.trials) == (errors.sum(), len(errors))
            expected = dyadic_interval(one, other, errors)
            assert cell.interval is not None
            assert (cell.interval.low, cell.interval.high) == pytest.approx((expected.low, expected.high), rel=1e-9)
    assert result.cross_fmr[0][1] == result.cross_fmr[1][0]
    assert result.groups[0].fmr == result.cross_fmr[0][0]
    everything = np.ones(len(given), dtype=bool)
    _, _, errors = listed(people, found, everything, everything, threshold)
    assert result.overall.fmr.rate == errors.mean()
    assert any("join files of two labels" in n for n in result.notes) == (kind == "file")


def test_between_groups_agrees_with_listing() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.integers(0, 4, 12), rng.integers(0, 4, 12)
    comparisons = [(i, j) for i in range(12) for j in range(12) if i != j for _ in range(a[i] * b[j])]
    first, second = np.asarray(comparisons).T
    errors = rng.random(len(first)) < 0.2
    expected = dyadic_interval(first, second, errors)
    found = between_groups(first[errors], second[errors], a, b)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-9)


def protocol() -> tuple[Pairs, Extraction]:
    people, found = world(3)
    first, second = people.mated_pairs()
    rng = np.random.default_rng(4)
    i, j = rng.integers(0, len(people.files), (2, 600))
    apart = people.subjects[i] != people.subjects[j]
    one, other = np.concatenate([first, i[apart]]), np.concatenate([second, j[apart]])
    mated = np.arange(len(one)) < len(first)
    return Pairs("p", people.files, one, other, mated, people.subjects), found


def test_a_protocols_own_comparisons_are_counted() -> None:
    pairs, found = protocol()
    even = Labels("subject", {f"s{i:02d}": "even" if i % 2 == 0 else "odd" for i in range(40)})
    result = measure_groups(pairs, found, even, threshold=0.3, least_errors=1)
    parity = pairs.subjects % 2
    other = ~pairs.mated
    for g in range(2):
        for h in range(2):
            one, two = parity[pairs.first[other]], parity[pairs.second[other]]
            between = ((one == g) & (two == h)) | ((one == h) & (two == g))
            matches = found.scores(pairs.first[other], pairs.second[other])[between] >= 0.3
            assert (result.cross_fmr[g][h].errors, result.cross_fmr[g][h].trials) == (matches.sum(), between.sum())
    assert sum(g.fnmr.trials for g in result.groups) == pairs.mated.sum() == result.overall.fnmr.trials


def test_few_errors_give_no_rate() -> None:
    people, found = world(5)
    result = measure_groups(people, found, by_parity(people), threshold=0.97)
    cell = result.groups[0].fmr
    assert cell.errors < 30
    assert cell.rate is None
    assert cell.interval is None
    assert cell.reason == f"{cell.errors} errors in {cell.trials:,} trials; a rate is given from 30 on"
    assert result.groups[0].fnmr.rate is not None
    loose = measure_groups(people, found, by_parity(people), threshold=0.97, least_errors=1)
    assert (loose.groups[0].fmr.rate is not None) == (cell.errors > 0)
    plain = result.to_dict()
    assert plain == json.loads(json.dumps(plain))


def test_a_group_of_one_subject_has_no_interval_and_says_so() -> None:
    people, found = world(6, photos=12)
    labels = Labels("subject", {"s00": "alone", **dict.fromkeys(people.names[1:], "rest")})
    result = measure_groups(people, found, labels, threshold=0.95)
    alone = result.groups[0]
    assert alone.label == "alone"
    assert alone.fnmr.errors >= 30
    assert alone.fnmr.rate is None
    assert "1 subject" in str(alone.fnmr.reason)
    assert alone.fmr == GroupRate(0, 0, reason="0 errors in 0 trials; a rate is given from 30 on")


def test_level_acts() -> None:
    people, found = world(0)
    wide, narrow = (
        measure_groups(people, found, by_parity(people), threshold=0.5, level=level).overall.fmr.interval
        for level in (0.95, 0.5)
    )
    assert wide is not None
    assert narrow is not None
    assert wide.low < narrow.low < narrow.high < wide.high


def test_what_has_no_label_is_noted() -> None:
    people, found = world(7)
    labels = Labels(
        "subject", dict.fromkeys(people.names[:30], "a") | {"nobody": "b"}, ("1 lines of labels repeat others",)
    )
    result = measure_groups(people, found, labels, threshold=0.5)
    assert [g.label for g in result.groups] == ["a"]
    assert result.overall.files == 120
    assert "40 of 160 files have no label and are in no group, the first /photos/s30/120.jpg" in result.notes
    assert "1 labels name subjects that made up does not have, the first 'nobody'" in result.notes
    assert "1 lines of labels repeat others" in result.notes


def test_bad_arguments_are_refused() -> None:
    people, found = world(8)
    with pytest.raises(BadArgument, match="none of the 1 labels belongs to a subject of made up"):
        measure_groups(people, found, Labels("subject", {"x": "a"}), threshold=0.5)
    for threshold in (float("nan"), float("inf")):
        with pytest.raises(BadArgument, match="threshold"):
            measure_groups(people, found, by_parity(people), threshold=threshold)
    with pytest.raises(BadArgument, match="least_errors 0"):
        measure_groups(people, found, by_parity(people), threshold=0.5, least_errors=0)
    with pytest.raises(BadArgument, match="not one of the 160 files"):
        measure_groups(people, world(8, photos=3)[1], by_parity(people), threshold=0.5)


# --- labels -------------------------------------------------------------------------------------------------------------


def write(folder: Path, text: str) -> Path:
    (folder / "labels.csv").write_text(text, encoding="utf-8")
    return folder / "labels.csv"


def test_labels_by_subject_and_by_file(tmp_path: Path) -> None:
    labels = read_labels(write(tmp_path, "\ufeffSubject, label\nann,x\n\nbob, y\nann,x\n"))
    assert labels.kind == "subject"
    assert labels.of == {"ann": "x", "bob": "y"}
    assert labels.notes == ("1 lines of labels repeat others",)
    files = (str(tmp_path / "ann" / "1.jpg"), str(tmp_path / "bob" / "1.jpg"), str(tmp_path / "cid" / "1.jpg"))
    people = People("p", ("ann", "bob", "cid"), files, np.arange(3))
    assert labels.of_files(people) == ("x", "y", None)
    pairs = Pairs("p", files, np.asarray([0]), np.asarray([1]), np.asarray([False]), np.arange(3))
    assert labels.of_files(pairs) == ("x", "y", None)
    by_file = read_labels(write(tmp_path, "file,label\nann/1.jpg,x\n./bob/../cid/1.jpg,z\n"))
    assert by_file.of_files(people) == ("x", None, "z")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "begins with nothing"),
        ("name,label\nann,x\n", "begins with name,label; expected subject,label or file,label"),
        ("subject,label\nann\nbob,\ncid,x,y\n", "3 broken lines: line 2: 'ann'; line 3: 'bob,'; line 4"),
        ("subject,label\nann,x\nann,y\n", "line 3: ann is 'y' here and 'x' before"),
        ("subject,label\n", "holds no labels"),
        ('subject,label\n"ann,x\n', "line 2"),
    ],
)
def test_bad_labels_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BadArgument, match=message):
        read_labels(write(tmp_path, text))


def test_no_labels(tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable):
        read_labels(tmp_path / "none.csv")
