"""CFP's lists: numbers into two lists of photos, folds from folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from vultus.errors import BadArgument, SourceUnavailable
from vultus.evaluate.protocols.cfp import read_cfp


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three people with a frontal and a profile photo each, and two folds."""
    protocol = tmp_path / "Protocol"
    for kind, folder, letter in (("FF", "frontal", "F"), ("FP", "profile", "P")):
        lines = []
        for number, person in enumerate(("001", "002", "003"), start=1):
            for photo in (1, 2):
                path = tmp_path / "Data" / "Images" / person / folder / f"0{photo}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"x")
                lines.append(f"{2 * number + photo - 2} ../Data/Images/{person}/{folder}/0{photo}.jpg")
        protocol.mkdir(exist_ok=True)
        (protocol / f"Pair_list_{letter}.txt").write_text("\n".join(lines) + "\n")
        for fold, same, other in (("01", "1,2\n", "1,3\n\n2,5\n"), ("02", "3,4\n5,6\n", "1,6\n")):
            part = protocol / "Split" / kind / fold
            part.mkdir(parents=True)
            (part / "same.txt").write_text(same)
            (part / "diff.txt").write_text(other)
    return tmp_path


def test_profiles_come_from_their_own_list(root: Path) -> None:
    pairs = read_cfp(root)
    assert pairs.name == "CFP-FP"
    assert pairs.mated.tolist() == [True, False, False, True, True, False]
    assert pairs.folds is not None
    assert pairs.folds.tolist() == [0, 0, 0, 1, 1, 1]
    assert pairs.files[pairs.first[1]] == str(root / "Data/Images/001/frontal/01.jpg")
    assert pairs.files[pairs.second[1]] == str(root / "Data/Images/002/profile/01.jpg")
    assert (pairs.subjects[pairs.first] == pairs.subjects[pairs.second]).tolist() == pairs.mated.tolist()
    assert pairs.notes == ("2 folds with 6 pairs; the published protocol has 10 with 7,000",)


def test_frontal_with_frontal(root: Path) -> None:
    pairs = read_cfp(root, "FF")
    assert all("frontal" in f for f in pairs.files)
    assert len(pairs) == 6


def test_bad_lists_are_refused(root: Path) -> None:
    with pytest.raises(BadArgument, match="kind is 'PP'"):
        read_cfp(root, "PP")  # type: ignore[arg-type]
    part = root / "Protocol/Split/FP/02"
    (part / "diff.txt").write_text("1,2\n1;2\n7,1\n")
    with pytest.raises(BadArgument, match=r"2 broken lines: line 2: '1;2'; line 3: '7,1' names a photo that the lists"):
        read_cfp(root)
    (part / "diff.txt").unlink()
    with pytest.raises(SourceUnavailable, match=r"diff\.txt"):
        read_cfp(root)
    (root / "Protocol/Pair_list_P.txt").write_text("1 a.jpg\nx b.jpg\n1 c.jpg\n")
    with pytest.raises(BadArgument, match=r"Pair_list_P.txt has 2 broken lines: line 2: .* line 3: the number 1 again"):
        read_cfp(root)
    with pytest.raises(SourceUnavailable, match="is not a folder"):
        read_cfp(root / "Data")


def test_labels_that_contradict_the_folders_are_noted(root: Path) -> None:
    (root / "Protocol/Split/FP/01/diff.txt").write_text("1,2\n")
    with pytest.raises(BadArgument, match="both as mated and as non-mated"):
        read_cfp(root)
    (root / "Protocol/Split/FP/01/diff.txt").write_text("2,1\n")
    assert any("contradict the labels" in n for n in read_cfp(root).notes)
