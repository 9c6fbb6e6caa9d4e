"""LFW's View 2 from made-up lists, and from the real one where it is at hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vultus.errors import BadArgument, SourceUnavailable
from vultus.evaluate.protocols.lfw import read_lfw

DATA = Path(__file__).parents[3] / ".." / "shared" / "data"


def write(folder: Path, text: str) -> Path:
    (folder / "pairs.txt").write_text(text, encoding="utf-8")
    return folder


GOOD = "2\t1\nAnn_Lee\t1\t2\nAnn_Lee\t1\tBob\t12\nBob\t3\t12\nBob\t3\tAnn_Lee\t2\n"


def test_pairs_folds_and_subjects(tmp_path: Path) -> None:
    pairs = read_lfw(write(tmp_path, GOOD))
    assert pairs.mated.tolist() == [True, False, True, False]
    assert pairs.folds is not None
    assert pairs.folds.tolist() == [0, 0, 1, 1]
    assert pairs.files[pairs.second[1]] == str(tmp_path / "Bob" / "Bob_0012.jpg")
    assert (pairs.subjects[pairs.first] == pairs.subjects[pairs.second]).tolist() == pairs.mated.tolist()
    assert any("4 of 4 photos are missing" in n for n in pairs.notes)


def test_photos_may_lie_one_folder_deeper(tmp_path: Path) -> None:
    (tmp_path / "lfw").mkdir()
    assert read_lfw(write(tmp_path, GOOD)).files[0] == str(tmp_path / "lfw" / "Ann_Lee" / "Ann_Lee_0001.jpg")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "first line"),
        ("ten 300\n", "first line"),
        ("2\t1\nAnn\t1\t2\n", "has 1 pairs; its first line promises 4"),
        (GOOD.replace("Bob\t3\t12", "Bob 3 12"), "1 broken line: line 4: 'Bob 3 12'"),
        (GOOD.replace("Bob\t3\t12", "Bob\tx\t12"), "line 4"),
        (GOOD.replace("Bob\t3\t12", "Bob\t3\tBob\tBob\t12"), "line 4"),
    ],
)
def test_broken_lists_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BadArgument, match=message):
        read_lfw(write(tmp_path, text))


def test_no_list(tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable):
        read_lfw(tmp_path)


@pytest.mark.data
@pytest.mark.skipif(not (DATA / "lfw" / "pairs.txt").is_file(), reason="../shared/data/lfw is absent")
def test_the_real_list() -> None:
    pairs = read_lfw(DATA / "lfw")
    assert len(pairs) == 6_000
    assert len(pairs.files) == 7_701
    assert len(np.unique(pairs.subjects)) == 4_281
    assert pairs.folds is not None
    assert np.bincount(pairs.folds).tolist() == [600] * 10
    assert pairs.notes == ()
