"""Pairs as a CSV: what is read, what is noted, and what is refused with its line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vultus.errors import BadArgument, SourceUnavailable
from vultus.evaluate.protocols.pairs_csv import read_pairs_csv


def write(folder: Path, text: str, *, photos: str = "123456") -> Path:
    for name in photos:
        (folder / f"{name}.jpg").write_bytes(b"x")
    path = folder / "pairs.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_everything_that_a_line_may_hold(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "\ufeffa, b ,Same,subject_a,subject_b,fold,light\n"
        "1.jpg,2.jpg,1,ann,ann,2,day\n"
        "\n"
        '3.jpg,"4.jpg",YES,bob,bob,10,"night, late"\n'
        "1.jpg,3.jpg,false,ann,bob,2,day\n"
        "2.jpg,4.jpg,0,ann,bob,10,\n",
    )
    pairs = read_pairs_csv(path)
    assert pairs.name == "pairs.csv"
    assert pairs.files == tuple(str(tmp_path / f"{i}.jpg") for i in (1, 2, 3, 4))
    named = [
        (Path(pairs.files[i]).stem, Path(pairs.files[j]).stem) for i, j in zip(pairs.first, pairs.second, strict=True)
    ]
    assert named == [("1", "2"), ("3", "4"), ("1", "3"), ("2", "4")]
    assert pairs.mated.tolist() == [True, True, False, False]
    subject = dict(zip((Path(f).stem for f in pairs.files), pairs.subjects.tolist(), strict=True))
    assert subject["1"] == subject["2"] != subject["3"] == subject["4"]
    assert pairs.folds is not None
    assert pairs.folds.tolist() == [0, 1, 0, 1]
    assert pairs.groups == {"light": ("day", "night, late", "day", "")}
    assert pairs.notes == ()
    assert read_pairs_csv(path, name="mine").name == "mine"


def test_subjects_are_guessed_from_mated_pairs_and_that_is_said(tmp_path: Path) -> None:
    pairs = read_pairs_csv(write(tmp_path, "a,b,same\n1.jpg,2.jpg,1\n2.jpg,3.jpg,1\n1.jpg,4.jpg,0\n"))
    subject = dict(zip((Path(f).stem for f in pairs.files), pairs.subjects.tolist(), strict=True))
    assert subject["1"] == subject["2"] == subject["3"] != subject["4"]
    assert len(pairs.notes) == 1
    assert "not named" in pairs.notes[0]


def test_oddities_are_counted_with_their_lines(tmp_path: Path) -> None:
    text = "a,b,same\n1.jpg,2.jpg,1\n2.jpg,1.jpg,1\n3.jpg,3.jpg,1\n1.jpg,3.jpg,0\n2.jpg,9.jpg,0\n1.jpg,2.jpg,1\n"
    notes = "; ".join(read_pairs_csv(write(tmp_path, text)).notes)
    assert "2 pairs (on lines 3, 7) repeat another" in notes
    assert "1 pairs (on lines 4) compare a photo with itself" in notes
    assert "1 of 4 photos are missing" in notes
    assert "9.jpg" in notes


def test_non_mated_pairs_within_a_guessed_subject_are_noted(tmp_path: Path) -> None:
    text = "a,b,same\n1.jpg,2.jpg,1\n2.jpg,3.jpg,1\n1.jpg,3.jpg,0\n"
    assert any("labelled non-mated though" in n for n in read_pairs_csv(write(tmp_path, text)).notes)


@pytest.mark.parametrize("label", ["1", "0"])
def test_one_kind_only_and_one_subject_are_noted(tmp_path: Path, label: str) -> None:
    notes = read_pairs_csv(write(tmp_path, f"a,b,same\n1.jpg,2.jpg,{label}\n")).notes
    assert any(f"all pairs are {'mated' if label == '1' else 'non-mated'}" in n for n in notes)
    assert any("one subject" in n and "all photos" in n for n in notes) == (label == "1")


def test_a_single_fold_is_no_fold(tmp_path: Path) -> None:
    pairs = read_pairs_csv(write(tmp_path, "a,b,same,fold\n1.jpg,2.jpg,1,x\n1.jpg,3.jpg,0,x\n"))
    assert pairs.folds is None
    assert any("single fold" in n for n in pairs.notes)


BROKEN = {
    "cells": (
        "a,b,same\n1.jpg,2.jpg,1\n1.jpg,2.jpg\n1.jpg,3.jpg,0,x\n",
        r"2 broken lines: line 3: 2 cells .* line 4: 4 cells",
    ),
    "label": ("a,b,same\n1.jpg,2.jpg,perhaps\n", "line 2: same is 'perhaps'"),
    "photo": ("a,b,same\n1.jpg,,1\n", "line 2: a photo is not named"),
    "no pairs": ("a,b,same\n", "lists no pairs"),
    "no header": ("1.jpg,2.jpg,1\n", "no column a, b, same; its first line holds 1.jpg, 2.jpg, 1"),
    "empty": ("", "its first line holds nothing"),
    "column twice": ("a,b,same,A\n1,2,1,3\n", "column 'a' twice"),
    "half the subjects": ("a,b,same,subject_a\n1,2,1,x\n", "one of the columns subject_a and subject_b"),
    "quotes": ('a,b,same\n"1.jpg,2.jpg,1\n', "line 2"),
    "both labels": ("a,b,same\n1.jpg,2.jpg,1\n2.jpg,1.jpg,0\n", "1 pairs both as mated .* lines 2, 3"),
    "subject and label": ("a,b,same,subject_a,subject_b\n1.jpg,2.jpg,1,x,y\n", "'x' and 'y' contradict the label"),
    "two subjects": (
        "a,b,same,subject_a,subject_b\n1.jpg,2.jpg,1,x,x\n1.jpg,3.jpg,0,z,y\n",
        r"line 3: .*1.jpg shows 'z' here and 'x' before",
    ),
    "no subject": ("a,b,same,subject_a,subject_b\n1.jpg,2.jpg,1,x,\n", "a subject is not named"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_lists_are_refused(tmp_path: Path, case: str) -> None:
    assert len(BROKEN) == 13
    text, message = BROKEN[case]
    with pytest.raises(BadArgument, match=message):
        read_pairs_csv(write(tmp_path, text))


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable, match="cannot read"):
        read_pairs_csv(tmp_path / "none.csv")
    (tmp_path / "latin.csv").write_bytes(b"a,b,same\n\xff\xfe,2,1\n")
    with pytest.raises(SourceUnavailable, match="cannot read"):
        read_pairs_csv(tmp_path / "latin.csv")


def test_many_broken_lines_are_counted_and_three_are_named(tmp_path: Path) -> None:
    text = "a,b,same\n" + "1.jpg\n" * 50
    with pytest.raises(BadArgument, match="50 broken lines") as caught:
        read_pairs_csv(write(tmp_path, text))
    assert str(caught.value).count("line ") == 3


def test_a_name_that_no_file_can_have_is_a_missing_photo(tmp_path: Path) -> None:
    pairs = read_pairs_csv(write(tmp_path, f"a,b,same\n1.jpg,{'x' * 5_000}.jpg,0\n"))
    assert any("1 of 2 photos are missing" in n for n in pairs.notes)
    assert np.array_equal(pairs.mated, [False])
