"""Text lists in both forms: pairs in two lines, and pairs in one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vultus.errors import BadArgument, SourceUnavailable
from vultus.evaluate.protocols.pair_lists import read_pair_list

PEOPLE = [f"P{i}" for i in range(20)]


def write(folder: Path, lines: list[str], *, below: str = "") -> Path:
    place = folder / below
    place.mkdir(parents=True, exist_ok=True)
    for line in lines:
        for word in line.split():
            if word.endswith(".jpg"):
                (place / word).parent.mkdir(parents=True, exist_ok=True)
                (place / word).write_bytes(b"x")
    path = folder / "pairs_TEST.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def calfw_lines() -> list[str]:
    mated = [f"{p}_000{k}.jpg {i // 2 + 1}" for i, p in enumerate(PEOPLE) for k in (1, 2)]
    other = [f"{p}_000{k}.jpg 0" for i in range(20) for p, k in ((PEOPLE[i], 1), (PEOPLE[i - 1], 2))]
    return mated + other


def test_two_lines_a_pair_with_folds_on_the_mated_ones(tmp_path: Path) -> None:
    pairs = read_pair_list(write(tmp_path, calfw_lines(), below="images"))
    assert len(pairs) == 40
    assert pairs.mated.tolist() == [True] * 20 + [False] * 20
    assert pairs.folds is not None
    assert pairs.folds.tolist() == [i // 2 for i in range(20)] * 2
    assert len(np.unique(pairs.subjects)) == 20
    assert pairs.name == "pairs_TEST"
    assert pairs.files[0] == str(tmp_path / "images" / "P0_0001.jpg")
    assert pairs.notes == ("photos taken from 'images' below the list",)


def test_two_lines_a_pair_with_labels_only(tmp_path: Path) -> None:
    lines = [line if line.endswith(" 0") else f"{line.split()[0]} 1" for line in calfw_lines()]
    pairs = read_pair_list(write(tmp_path, lines), name="CPLFW")
    assert pairs.folds is not None
    assert pairs.folds.tolist() == [i // 2 for i in range(20)] * 2
    assert pairs.name == "CPLFW"
    assert pairs.notes == ()


@pytest.mark.parametrize("tab", [False, True])
def test_one_line_a_pair(tmp_path: Path, tab: bool) -> None:
    lines = []
    for i in range(20):
        lines.append(f"{2 * i}_Ann{i}_30_f.jpg {2 * i + 1}_Ann{i}_60_f.jpg 1")
        lines.append(f"{2 * i}_Ann{i}_30_f.jpg {2 * i - 1 if i else 39}_Ann{i - 1 if i else 19}_60_f.jpg {i % 2 - 1}")
    lines = [line for line in lines if not line.endswith(" 0")] + [line for line in lines if line.endswith(" 0")]
    path = write(tmp_path, lines)
    if tab:
        path.write_text("\n".join(line.replace(" ", "\t") for line in lines))
    pairs = read_pair_list(path)
    assert np.count_nonzero(pairs.mated) == 20
    assert pairs.folds is not None
    for kind in (pairs.mated, ~pairs.mated):
        assert np.bincount(pairs.folds[kind]).tolist() == [2] * 10
    assert len(np.unique(pairs.subjects)) == 20
    assert pairs.notes == ()


def test_names_that_say_nothing_leave_subjects_to_the_pairs(tmp_path: Path) -> None:
    pairs = read_pair_list(write(tmp_path, ["x/1.jpg x/2.jpg 1", "x/1.jpg x/3.jpg 0"]))
    assert any("not named" in n for n in pairs.notes)
    pairs = read_pair_list(write(tmp_path, ["img_1.jpg img_2.jpg 1", "img_1.jpg img_3.jpg 0"]))
    assert any("contradict the labels of 1 pairs (on lines 2)" in n for n in pairs.notes)
    assert len(np.unique(pairs.subjects)) == 2
    assert any("folds instead of ten" in n for n in pairs.notes)


def test_photos_acts(tmp_path: Path) -> None:
    path = write(tmp_path, ["A_1.jpg A_2.jpg 1"])
    (tmp_path / "elsewhere").mkdir()
    pairs = read_pair_list(path, photos=tmp_path / "elsewhere")
    assert pairs.files[0] == str(tmp_path / "elsewhere" / "A_1.jpg")
    assert any("2 of 2 photos are missing" in n for n in pairs.notes)
    with pytest.raises(SourceUnavailable, match="not a folder"):
        read_pair_list(path, photos=tmp_path / "nowhere")


BROKEN = [
    (["A_1.jpg 1", "A_2.jpg 1", "B_1.jpg 0"], "has 3 lines; two make a pair"),
    (["A_1.jpg 1", "A_2.jpg 0"], "line 2: the number 0 after 1"),
    (["A_1.jpg 1", "A_2.jpg x"], "line 2: 'A_2.jpg x'"),
    (["A_1.jpg 1", "A_2.jpg -1"], "line 2"),
    (["A_1.jpg A_2.jpg 1", "A_1.jpg B_1.jpg"], "line 2: 'A_1.jpg B_1.jpg'"),
    (["A_1.jpg A_2.jpg 1", "A_1.jpg B_1.jpg 2"], "1 broken line: line 2"),
    (["A_1.jpg A_2.jpg 1", "A_2.jpg A_1.jpg 0"], "both as mated"),
    ([], "lists no pairs"),
]


@pytest.mark.parametrize("case", range(8))
def test_broken_lists_are_refused(tmp_path: Path, case: int) -> None:
    assert len(BROKEN) == 8
    lines, message = BROKEN[case]
    with pytest.raises(BadArgument, match=message):
        read_pair_list(write(tmp_path, lines))
