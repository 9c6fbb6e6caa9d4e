"""Which face is meant."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vultus import Faces, choose
from vultus.errors import BadArgument, ManyFaces, NoFace

BOXES = np.array(
    [
        [10, 10, 40, 50],  # 1,200 square pixels, best score
        [300, 200, 340, 260],  # 2,400: the largest
        [180, 120, 220, 160],  # 1,600, nearest to the middle
        [0, 0, 100, 4],  # long and thin
    ],
    np.float32,
)
FACES = Faces(BOXES, np.zeros((4, 5, 2), np.float32), np.array([0.9, 0.8, 0.7, 0.6], np.float32))


def chosen(policy: Any, faces: Faces = FACES) -> list[list[float]]:
    boxes: list[list[float]] = choose(faces, policy, width=400, height=300).boxes.tolist()
    return boxes


def test_policies_choose_what_they_say() -> None:
    assert chosen("all") == BOXES.tolist()
    assert chosen("largest") == [BOXES[1].tolist()]
    assert chosen("central") == [BOXES[2].tolist()]
    assert chosen("one", FACES[3]) == [BOXES[3].tolist()]


def test_the_middle_is_that_of_the_photo() -> None:
    assert choose(FACES, "central", width=50, height=60).boxes.tolist() == [BOXES[0].tolist()]


def test_equal_faces_give_the_one_with_the_better_score() -> None:
    twins = FACES[[2, 2]]
    assert len(choose(twins, "largest", width=400, height=300)) == 1
    assert choose(twins, "central", width=400, height=300).scores[0] == twins.scores[0]


def test_several_where_one_is_asked_for() -> None:
    with pytest.raises(ManyFaces, match="4 faces were found and one was expected") as caught:
        chosen("one")
    assert caught.value.code == "many_faces"


@pytest.mark.parametrize("policy", ["all", "largest", "central", "one"])
def test_no_face_is_an_error_under_every_policy(policy: str) -> None:
    with pytest.raises(NoFace, match="no face was found") as caught:
        chosen(policy, Faces.none())
    assert caught.value.code == "no_face"


@pytest.mark.parametrize("policy", ["biggest", "", None])
def test_other_policies_are_refused(policy: Any) -> None:
    with pytest.raises(BadArgument, match="expected one of all, largest, central, one"):
        chosen(policy)
