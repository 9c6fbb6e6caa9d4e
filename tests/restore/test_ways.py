"""Ways in the recognizer: each makes a system of its own, and does to a crop what its parts do."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

import vultus
from vultus import Recognizer
from vultus.align import align
from vultus.augment import Policy
from vultus.errors import BadArgument, ModelMismatch, NoThreshold
from vultus.image import Photo, open_photo
from vultus.quality import measure_quality
from vultus.restore import LIGHTING, AugmentedViews, Beside, Frontal, Learned, Light, Restorer, balance
from vultus.types import Faces, UInt8Array

POLICY = """
[[steps]]
operation = "mirror"
chance = 1.0
"""


class Inverting:
    """In the place of a network: what comes out is known."""

    id = "inverting@0"

    def __call__(self, crops: UInt8Array) -> UInt8Array:
        return 255 - crops


@pytest.fixture(scope="module")
def crop(astronaut: UInt8Array, astronaut_face: Faces) -> UInt8Array:
    return align(astronaut, astronaut_face)


def done(way: Any, astronaut: UInt8Array, face: Faces, crop: UInt8Array) -> UInt8Array:
    made: UInt8Array = way(open_photo(astronaut), face, crop)
    return made


@pytest.mark.parametrize("name", LIGHTING)
def test_light_is_the_function_of_its_name(
    name: str, astronaut: UInt8Array, astronaut_face: Faces, crop: UInt8Array
) -> None:
    np.testing.assert_array_equal(done(Light(name), astronaut, astronaut_face, crop), LIGHTING[name](crop))
    assert Light(name).name == f"{name}/1"


def test_a_learned_way_restores_what_is_not_good_enough(
    astronaut: UInt8Array, astronaut_face: Faces, crop: UInt8Array
) -> None:
    network, crop = cast("Restorer", Inverting()), crop // 5
    quality = float(measure_quality(crop, astronaut_face).overall[0])
    asked = Learned(network, below=quality + 0.01)
    np.testing.assert_array_equal(done(asked, astronaut, astronaut_face, crop), 255 - crop)
    both = done(Beside(asked), astronaut, astronaut_face, crop)
    np.testing.assert_array_equal(both, np.concatenate([crop, 255 - crop]))
    assert done(Beside(Learned(network, below=quality - 1e-6)), astronaut, astronaut_face, crop) is crop
    assert done(Learned(network, below=quality - 1e-6), astronaut, astronaut_face, crop) is crop
    assert done(Learned(network, below=None), astronaut, astronaut_face, crop) is not crop
    assert Learned(network, below=None).name == "inverting@0/all"
    assert Learned(network).name == "inverting@0/1"
    assert Beside(Learned(network, below=0.3)).name == "inverting@0/0.3/beside"


def test_augmented_views_are_the_crop_and_the_copies_of_the_policy(
    astronaut: UInt8Array, astronaut_face: Faces, crop: UInt8Array
) -> None:
    made = done(AugmentedViews(Policy.parse(POLICY), copies=2), astronaut, astronaut_face, crop)
    np.testing.assert_array_equal(made, np.concatenate([crop, crop[:, :, ::-1], crop[:, :, ::-1]]))
    names = {
        AugmentedViews(Policy.parse(POLICY), copies=2).name,
        AugmentedViews(Policy.parse(POLICY), copies=3).name,
        AugmentedViews(Policy.parse(POLICY), copies=2, seed=1).name,
        AugmentedViews(Policy.parse(POLICY.replace("1.0", "0.5")), copies=2).name,
    }
    assert len(names) == 4


def test_a_recognizer_embeds_what_the_way_makes(astronaut: UInt8Array, recognizer: Recognizer) -> None:
    system = Recognizer.load(restore=Light("balance"), threads=1)
    sample = system.sample(astronaut)
    crop = align(astronaut, sample.face)
    np.testing.assert_allclose(sample.template.vector, recognizer.embed(balance(crop))[0], atol=1e-3)
    assert sample.template.model_id == system.model_id == recognizer.model_id + "+balance/1"


def test_embeddings_of_several_crops_are_summed(astronaut: UInt8Array, recognizer: Recognizer) -> None:
    system = Recognizer.load(restore=AugmentedViews(Policy.parse(POLICY), copies=1), threads=1)
    mirrored = Recognizer.load(mirror=True, threads=1)
    crop = align(astronaut, recognizer.sample(astronaut).face)
    np.testing.assert_allclose(system.sample(astronaut).template.vector, mirrored.embed(crop)[0], atol=2e-2)


def test_a_system_with_restoration_has_no_thresholds_until_they_are_measured(
    astronaut: UInt8Array, recognizer: Recognizer
) -> None:
    system = Recognizer.load(restore=Frontal(), threads=1)
    assert system.calibration is None
    with pytest.raises(NoThreshold, match="frontal/1/20-60/1/1"):
        system.verify(astronaut, astronaut, fmr=1e-3)
    assert system.verify(astronaut, astronaut, threshold=0.5).match
    with pytest.raises(ModelMismatch):
        system.compare(system.template(astronaut), recognizer.template(astronaut))


def test_extract_uses_the_way_on_every_thread(astronaut: UInt8Array) -> None:
    seen: list[int] = []

    def call(_photo: Photo, _face: Faces, crops: UInt8Array, /) -> UInt8Array:
        seen.append(1)
        return crops

    class Counting(SimpleNamespace):
        def __call__(self, *given: Any) -> UInt8Array:
            return call(*given)

    system = Recognizer.load(restore=Counting(name="counting"), threads=2)
    results = list(system.extract([astronaut] * 3))
    assert all(isinstance(r, vultus.Sample) for r in results)
    assert len(seen) == 3


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(BadArgument, match="no way 'sunshine'"):
        Light("sunshine")
    with pytest.raises(BadArgument, match="below is 2"):
        Learned(cast("Restorer", Inverting()), below=2)
    with pytest.raises(BadArgument, match="copies is 0"):
        AugmentedViews(Policy.parse(POLICY), copies=0)
