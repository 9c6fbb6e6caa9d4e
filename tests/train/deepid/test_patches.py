from __future__ import annotations

import numpy as np
import pytest

from vultus.align import TEMPLATES
from vultus.errors import BadArgument
from vultus.train.deepid import PATCHES, Patch


def test_there_are_sixty_of_ten_regions_three_scales_and_two_colours() -> None:
    assert len(PATCHES) == len(set(PATCHES)) == 60
    assert len({p.region for p in PATCHES}) == 10
    assert {p.scale for p in PATCHES} == {0.75, 1.0, 1.25}
    assert {p.channels for p in PATCHES} == {1, 3}
    assert {p.size for p in PATCHES} == {(39, 31), (31, 31)}


def test_names_are_read_back() -> None:
    assert [Patch.of(str(p)) for p in PATCHES] == list(PATCHES)
    assert Patch.of("nose") == Patch("nose", 1.0, "rgb")
    assert str(Patch.of("nose/0.75")) == "nose/0.75/rgb"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("node", "did you mean 'nose'"),
        ("nose/big", "expected REGION/SCALE/COLOUR"),
        ("nose/1/gray", "did you mean 'grey'"),
        ("nose/0", "scale is 0.0"),
        ("nose/nan", "scale is nan"),
        ("nose/1/rgb/2", "expected REGION"),
    ],
)
def test_other_names_are_refused(name: str, words: str) -> None:
    with pytest.raises(BadArgument, match=words):
        Patch.of(name)


@pytest.mark.parametrize("patch", PATCHES, ids=str)
def test_boxes_have_the_proportions_of_the_input_and_hold_what_they_are_named_after(patch: Patch) -> None:
    x0, y0, x1, y1 = patch.box()
    height, width = patch.size
    assert (y1 - y0) / (x1 - x0) == pytest.approx(height / width)
    names = ("left-eye", "right-eye", "nose", "left-mouth", "right-mouth")
    points = TEMPLATES["arcface-112"] + 0.5
    if patch.region in names:
        middle = points[names.index(patch.region)]
        assert ((x0 + x1) / 2, (y0 + y1) / 2) == pytest.approx(tuple(middle))
    else:
        assert x0 + x1 == pytest.approx(112)  # its own mirror image
        assert ((points[2] > (x0, y0)) & (points[2] < (x1, y1))).all()


def test_scale_is_of_the_side() -> None:
    for region in ("face", "nose"):
        small, large = np.array(Patch(region, 0.5).box()), np.array(Patch(region, 1.5).box())
        assert large[2:] - large[:2] == pytest.approx(3 * (small[2:] - small[:2]))
        assert large[2:] + large[:2] == pytest.approx(small[2:] + small[:2])


def test_a_patch_follows_the_landmarks_of_a_crop_and_its_mirror_image_mirrors() -> None:
    """The left eye's patch of the mirrored crop is the mirrored patch of the right eye."""
    points = TEMPLATES["arcface-112"] + np.random.default_rng(0).normal(0, 2, (5, 2))
    mirrored = np.stack([111 - points[:, 0], points[:, 1]], axis=1)[[1, 0, 2, 4, 3]]
    for one, other in (("left-eye", "right-eye"), ("left-mouth", "right-mouth"), ("nose", "nose"), ("face", "face")):
        x0, y0, x1, y1 = Patch(other).box(points)
        assert Patch(one).box(mirrored) == pytest.approx((112 - x1, y0, 112 - x0, y1))
    moved = points + np.array([5, -3])
    assert Patch("nose").box(moved) == pytest.approx(tuple(np.add(Patch("nose").box(points), (5, -3, 5, -3))))
    assert Patch("upper").box(moved) == Patch("upper").box()
    for wrong in (points[:4], np.full((5, 2), np.nan)):
        with pytest.raises(BadArgument, match="landmarks"):
            Patch("nose").box(wrong)
