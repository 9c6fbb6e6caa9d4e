"""From two photos to a decision: scores, thresholds, policies, errors, many photos, and models of one's own."""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from vultus import (
    Embedder,
    Faces,
    Manifest,
    Recognizer,
    Sample,
    Template,
    Threshold,
    Verification,
    load_manifest,
    save_manifest,
    template_of,
)
from vultus.errors import (
    BadArgument,
    ImageParseError,
    LicenceNotAccepted,
    ManifestError,
    ManyFaces,
    ModelMismatch,
    NoFace,
    NoThreshold,
    SourceUnavailable,
    VultusError,
    WeightsMismatch,
)
from vultus.types import UInt8Array
from vultus.weights.manifest import Embedding, Input, Licence, ScoreCalibration, Source

# Made up, but in the order that thresholds come in: the stricter the rate, the higher the score that is asked for.
THRESHOLDS = tuple(
    Threshold(value, fmr, 1_000_000, fmr / 2, fmr * 2, "made up")
    for value, fmr in ((0.2, 1e-1), (0.4, 1e-2), (0.6, 1e-4))
)


def calibrated(**changes: Any) -> Manifest:
    calibration = ScoreCalibration("cosine", "yunet-2023mar", thresholds=THRESHOLDS)
    return replace(load_manifest("sface-2021dec"), calibration=(replace(calibration, **changes),))


@pytest.fixture(scope="session")
def measured(cache: Path) -> Recognizer:
    """The default weights with the thresholds above."""
    return Recognizer.load(calibrated(), threads=1)


@pytest.fixture(scope="session")
def mirrored(astronaut: UInt8Array) -> UInt8Array:
    return np.ascontiguousarray(astronaut[:, ::-1])


@pytest.fixture(scope="session")
def both(astronaut: UInt8Array, hopper: UInt8Array) -> UInt8Array:
    """(600, 1024, 3): the smaller face left of the larger one, which stands nearer to the middle."""
    photo = np.zeros((600, 1_024, 3), np.uint8)
    photo[:512, :512], photo[:, 512:] = astronaut, hopper
    return photo


def png(pixels: UInt8Array) -> bytes:
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "PNG", compress_level=1)
    return encoded.getvalue()


# --- verification -----------------------------------------------------------------------------------------------------


def test_one_subject_matches_and_two_do_not(
    measured: Recognizer, astronaut: UInt8Array, mirrored: UInt8Array, hopper: UInt8Array
) -> None:
    same = measured.verify(astronaut, mirrored)
    different = measured.verify(astronaut, hopper)
    assert isinstance(same, Verification)
    assert same.match
    assert same.score > 0.9
    assert not different.match
    assert different.score < 0.35
    for check in (same, different):
        assert check.threshold == 0.6
        assert check.fmr == 1e-4
        assert check.basis == THRESHOLDS[2]
        assert check.model_id == measured.model_id
        assert check.faces == (1, 1)
        assert check.log10_likelihood_ratio is None
    assert measured.verify(mirrored, astronaut).score == pytest.approx(same.score, abs=1e-6)


def test_the_built_in_thresholds_decide_the_same(
    recognizer: Recognizer, astronaut: UInt8Array, mirrored: UInt8Array, hopper: UInt8Array
) -> None:
    for fmr in (1e-2, 1e-4):
        assert recognizer.verify(astronaut, mirrored, fmr=fmr).match
        assert not recognizer.verify(astronaut, hopper, fmr=fmr).match
    rates = [t.fmr for t in recognizer.calibration.thresholds] if recognizer.calibration else []
    values = [recognizer.threshold(fmr=rate).value for rate in sorted(rates)]
    assert len(values) >= 4
    assert values == sorted(values, reverse=True)


def test_boxes_are_those_of_the_compared_faces(measured: Recognizer, astronaut: UInt8Array, both: UInt8Array) -> None:
    check = measured.verify(astronaut, both)
    assert check.faces == (1, 2)
    assert check.boxes[0] == pytest.approx((178, 63, 268, 176), abs=8)
    assert check.boxes[1] == pytest.approx((512 + 183, 120, 512 + 353, 332), abs=12)


def test_a_match_begins_at_the_threshold(measured: Recognizer, astronaut: UInt8Array, hopper: UInt8Array) -> None:
    score = measured.verify(astronaut, hopper, threshold=0).score
    assert measured.verify(astronaut, hopper, threshold=score).match
    assert not measured.verify(astronaut, hopper, threshold=math.nextafter(score, 1)).match


def test_a_threshold_of_ones_own_states_no_rate(
    measured: Recognizer, astronaut: UInt8Array, hopper: UInt8Array
) -> None:
    check = measured.verify(astronaut, hopper, threshold=-1)
    assert check.match
    assert (check.threshold, check.fmr, check.basis) == (-1, None, None)
    assert not measured.verify(astronaut, hopper, threshold=1).match


@pytest.mark.parametrize("threshold", [1.01, -1.5, math.nan, math.inf])
def test_a_threshold_is_a_cosine(threshold: float, measured: Recognizer, astronaut: UInt8Array) -> None:
    with pytest.raises(BadArgument, match=r"expected a score in \[-1, 1\]"):
        measured.verify(astronaut, astronaut, threshold=threshold)


# --- thresholds -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "rate"),
    [(0.5, 1e-1), (0.1, 1e-1), (0.05, 1e-2), (0.01, 1e-2), (1e-3, 1e-4), (1e-4, 1e-4), (0.1 * 0.1, 1e-2)],
)
def test_between_two_measured_rates_the_stricter_is_taken(asked: float, rate: float, measured: Recognizer) -> None:
    assert measured.threshold(fmr=asked).fmr == rate


def test_the_order_of_the_manifest_does_not_matter() -> None:
    shuffled = Recognizer.load(calibrated(thresholds=THRESHOLDS[::-1]), threads=1)
    assert shuffled.threshold(fmr=0.05).fmr == 1e-2


def test_below_every_measured_rate_there_is_no_threshold(measured: Recognizer, astronaut: UInt8Array) -> None:
    with pytest.raises(NoThreshold, match=r"FMR 1e-05 .*\(measured: 0\.1, 0\.01, 0\.0001\)") as caught:
        measured.threshold(fmr=1e-5)
    assert caught.value.code == "no_threshold"
    with pytest.raises(NoThreshold):
        measured.verify(astronaut, astronaut, fmr=9e-5)


def test_the_refusal_comes_before_any_photo_is_read(measured: Recognizer) -> None:
    with pytest.raises(NoThreshold):
        measured.verify("missing.jpg", "missing.jpg", fmr=1e-9)


@pytest.mark.parametrize("fmr", [0, 1, -1, 2, math.nan])
def test_a_rate_lies_between_0_and_1(fmr: float, measured: Recognizer) -> None:
    with pytest.raises(BadArgument, match=r"a rate in \(0, 1\)"):
        measured.threshold(fmr=fmr)


def test_thresholds_of_another_system_are_not_borrowed() -> None:
    for changes in ({"detector": "centerface"}, {"score": "cosine+mirror"}):
        other = Recognizer.load(calibrated(**changes), threads=1)
        assert other.calibration is None
        with pytest.raises(NoThreshold, match="measured: none"):
            other.threshold(fmr=0.01)
    mirroring = Recognizer.load(calibrated(score="cosine+mirror"), mirror=True, threads=1)
    assert mirroring.threshold(fmr=0.01).fmr == 0.01


def test_the_likelihood_ratio_follows_the_calibration(astronaut: UInt8Array, hopper: UInt8Array) -> None:
    weighed = Recognizer.load(calibrated(weight=20.0, bias=-7.0, data="made up"), threads=1)
    for score in (-0.5, 0.35, 0.9):
        expected = (20 * score - 7) / math.log(10)
        assert weighed.log10_likelihood_ratio(score) == pytest.approx(expected)
    check = weighed.verify(astronaut, hopper)
    assert check.log10_likelihood_ratio == pytest.approx((20 * check.score - 7) / math.log(10))
    assert check.log10_likelihood_ratio is not None
    assert check.log10_likelihood_ratio < 0


# --- policies ---------------------------------------------------------------------------------------------------------


def test_the_policy_chooses_the_face(
    measured: Recognizer, both: UInt8Array, astronaut: UInt8Array, hopper: UInt8Array
) -> None:
    assert measured.verify(both, hopper, threshold=0.5).match
    assert measured.verify(both, hopper, threshold=0.5, policy="largest").match
    left = np.ascontiguousarray(both[:, :930])  # moves the middle to the left face
    shifted = np.concatenate([np.zeros((600, 300, 3), np.uint8), left], axis=1)
    assert measured.verify(shifted, astronaut, threshold=0.5, policy="central").match
    with pytest.raises(ManyFaces, match=r"photo number 1: 2 faces"):
        measured.verify(both, hopper, threshold=0.5, policy="one")
    assert measured.verify(astronaut, astronaut, threshold=0.5, policy="one").match


def test_other_policies_are_refused(measured: Recognizer, astronaut: UInt8Array) -> None:
    with pytest.raises(BadArgument, match="no policy 'biggest'"):
        measured.verify(astronaut, astronaut, policy="biggest")  # type: ignore[arg-type]


# --- errors -----------------------------------------------------------------------------------------------------------


def test_errors_name_the_photo(measured: Recognizer, astronaut: UInt8Array, tmp_path: Path) -> None:
    blank, damaged = tmp_path / "blank.png", tmp_path / "damaged.png"
    blank.write_bytes(png(np.full((90, 90, 3), 128, np.uint8)))
    damaged.write_bytes(png(astronaut)[:5_000])
    cases: list[tuple[Any, Any, type[VultusError], str]] = [
        (astronaut, blank, NoFace, r"photo '.*blank\.png': no face"),
        (blank, astronaut, NoFace, r"photo '.*blank\.png': no face"),
        (str(damaged), astronaut, ImageParseError, r"photo '.*damaged\.png': the PNG is damaged"),
        (astronaut, tmp_path / "missing.png", SourceUnavailable, r"photo '.*missing\.png': cannot read"),
        (astronaut, b"", ImageParseError, "photo number 2: the picture has 0 bytes"),
        (None, astronaut, BadArgument, "photo number 1: cannot read a photo from NoneType"),
    ]
    for one, other, kind, message in cases:
        with pytest.raises(kind, match=message) as caught:
            measured.verify(one, other)
        assert caught.value.code == kind.code


def test_templates_of_two_systems_are_not_compared(measured: Recognizer, astronaut: UInt8Array) -> None:
    template = measured.template(astronaut)
    foreign = replace(template, model_id="another")
    for one, other in ((template, foreign), (foreign, template), (foreign, foreign)):
        with pytest.raises(ModelMismatch, match="'another'"):
            measured.compare(one, other)


# --- samples and templates --------------------------------------------------------------------------------------------


def test_a_sample_holds_what_was_extracted(measured: Recognizer, both: UInt8Array) -> None:
    sample = measured.sample(both)
    assert isinstance(sample, Sample)
    assert sample.found == 2
    assert sample.size == (1_024, 600)
    assert len(sample.face) == len(sample.quality) == 1
    assert sample.template.model_id == measured.model_id
    assert sample.template.quality == pytest.approx(float(sample.quality.overall[0]))
    assert sample.template.samples == 1


def test_the_steps_give_what_a_sample_holds(measured: Recognizer, astronaut: UInt8Array, astronaut_face: Faces) -> None:
    (row,) = measured.embed(measured.align(astronaut, astronaut_face))
    assert row @ measured.sample(astronaut).template.vector > 0.9999


def test_samples_of_every_face(
    measured: Recognizer, both: UInt8Array, astronaut: UInt8Array, hopper: UInt8Array
) -> None:
    samples = measured.samples(both)
    assert len(samples) == 2
    assert samples[0].face.scores[0] >= samples[1].face.scores[0]
    alone = [measured.template(p) for p in (astronaut, hopper)]
    scores = np.array([[measured.compare(s.template, t) for t in alone] for s in samples])
    assert sorted(scores.argmax(axis=1)) == [0, 1]
    assert scores.max(axis=1).min() > 0.8
    assert [s.found for s in samples] == [2, 2]
    assert measured.samples(np.zeros((50, 50, 3), np.uint8)) == []
    assert len(measured.samples(both, min_face=180)) == 1


def test_a_small_face_is_searched_finely(measured: Recognizer, astronaut: UInt8Array) -> None:
    """The one look at 640 pixels cannot see it."""
    photo = np.full((1_200, 1_600, 3), 110, np.uint8)
    small = cv2.resize(astronaut, (150, 150), interpolation=cv2.INTER_AREA)
    photo[300:450, 900:1_050] = small
    sample = measured.sample(photo)
    assert sample.found == 1
    assert 20 < sample.face.sizes[0] < 50


def test_a_template_of_several_photos(
    measured: Recognizer, astronaut: UInt8Array, mirrored: UInt8Array, hopper: UInt8Array
) -> None:
    one, other = measured.template(astronaut), measured.template([mirrored])
    several = measured.template([astronaut, mirrored])
    assert several.samples == 2
    assert np.allclose(several.vector, template_of([one, other]).vector, atol=1e-5)
    assert measured.template((astronaut, mirrored)).samples == 2
    assert one.samples == 1
    assert measured.compare(several, measured.template(hopper)) < 0.35


def test_a_template_names_the_photo_that_fails(measured: Recognizer, astronaut: UInt8Array) -> None:
    with pytest.raises(NoFace, match="photo number 2: no face"):
        measured.template([astronaut, np.zeros((40, 40, 3), np.uint8), b"garbage"])
    with pytest.raises(BadArgument, match="at least one photo"):
        measured.template([])


def test_the_mirror_option_acts(astronaut: UInt8Array, mirrored: UInt8Array, recognizer: Recognizer) -> None:
    mirroring = Recognizer.load(mirror=True, threads=1)
    assert mirroring.model_id == recognizer.model_id + "+mirror"
    one, other = mirroring.template(astronaut), mirroring.template(mirrored)
    symmetric = mirroring.compare(one, other)
    plain = recognizer.compare(recognizer.template(astronaut), recognizer.template(mirrored))
    assert symmetric > 0.99
    assert symmetric > plain
    with pytest.raises(ModelMismatch):
        recognizer.compare(one, recognizer.template(astronaut))


# --- many photos ------------------------------------------------------------------------------------------------------


def vectors(results: Iterator[Sample | VultusError]) -> list[Any]:
    return [r.code if isinstance(r, VultusError) else r.template.vector.tolist() for r in results]


@pytest.fixture(scope="session")
def album(astronaut: UInt8Array, mirrored: UInt8Array, hopper: UInt8Array, both: UInt8Array) -> Sequence[Any]:
    photos: list[Any] = [astronaut, hopper, np.zeros((60, 60, 3), np.uint8), both, "missing.jpg", png(astronaut), None]
    photos += [hopper[::2, ::2].copy(), b"garbage", mirrored, png(hopper), Image.fromarray(both)]
    return photos


def test_extract_keeps_the_order_and_puts_errors_in_their_place(measured: Recognizer, album: Sequence[Any]) -> None:
    results = list(measured.extract(album))
    assert len(results) == len(album) == 12
    codes = {i: r.code for i, r in enumerate(results) if isinstance(r, VultusError)}
    assert codes == {2: "no_face", 4: "source_unavailable", 6: "bad_argument", 8: "parse_error"}
    for photo, result in zip(album, results, strict=True):
        if isinstance(result, Sample):
            assert np.array_equal(result.template.vector, measured.sample(photo).template.vector)


def test_extract_takes_the_policy(measured: Recognizer, both: UInt8Array, hopper: UInt8Array) -> None:
    (many, fine) = measured.extract([both, hopper], policy="one")
    assert isinstance(many, ManyFaces)
    assert isinstance(fine, Sample)


def test_extract_reads_no_further_than_it_must(measured: Recognizer, hopper: UInt8Array) -> None:
    asked = []

    def photos() -> Iterator[UInt8Array]:
        for i in range(1_000):
            asked.append(i)
            yield hopper

    for recognizer in (measured, Recognizer.load(calibrated(), threads=2)):
        asked.clear()
        results = recognizer.extract(photos())
        assert isinstance(next(results), Sample)
        results.close()  # type: ignore[attr-defined]
        assert len(asked) <= 10


def test_extract_of_nothing_is_nothing(measured: Recognizer) -> None:
    assert list(measured.extract([])) == []


def test_the_number_of_threads_changes_nothing(measured: Recognizer, album: Sequence[Any]) -> None:
    two = Recognizer.load(calibrated(), threads=2)
    assert (measured.threads, two.threads) == (1, 2)
    assert vectors(two.extract(album)) == vectors(measured.extract(album))
    assert two.model_id == measured.model_id


def test_eight_threads_sample_what_one_samples(measured: Recognizer, album: Sequence[Any]) -> None:
    photos = [p for p in album if isinstance(p, np.ndarray | bytes)] * 3

    def sampled(photo: Any) -> Any:
        try:
            sample = measured.sample(photo)
        except VultusError as problem:
            return problem.code
        return sample.template.vector.tolist(), sample.face.landmarks.tolist(), sample.face.boxes.tolist()

    expected = [sampled(photo) for photo in photos]
    assert any(isinstance(e, tuple) for e in expected)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(sampled, photos)) == expected


# --- models -----------------------------------------------------------------------------------------------------------


def own_embedder(folder: Path, **changes: Any) -> Path:
    """An embedder of sixteen numbers, the means of as many random filters, and its manifest beside it."""
    rng = np.random.default_rng(0)
    constants = {
        "filters": rng.standard_normal((24, 3, 7, 7)).astype(np.float32),
        "matrix": rng.standard_normal((24, 16)).astype(np.float32),
        "offset": np.zeros(16, np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["pixels", "filters"], ["c"], strides=[3, 3]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "matrix", "offset"], ["embedding"]),
    ]
    graph = helper.make_graph(
        nodes,
        "own",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [1, 3, 112, 112])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [1, 16])],
        [numpy_helper.from_array(v, k) for k, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content = model.SerializeToString()
    (folder / "own.onnx").write_bytes(content)
    manifest = Manifest(
        name="own",
        task="embed",
        sha256=hashlib.sha256(content).hexdigest(),
        licence=Licence("CC-BY-NC-4.0", "https://example.org/terms", True, "random numbers"),
        source=Source(file="own.onnx"),
        input=Input("pixels", "BGR", mean=(127.5, 127.5, 127.5), std=(128.0, 128.0, 128.0), size=(112, 112)),
        embedding=Embedding(16, "arcface-112", "yunet-2023mar"),
        calibration=(ScoreCalibration("cosine", "yunet-2023mar", thresholds=THRESHOLDS),),
    )
    save_manifest(replace(manifest, **changes), folder / "own.toml")
    return folder / "own.toml"


def test_a_model_of_ones_own_is_loaded_by_its_manifest(
    tmp_path: Path, astronaut: UInt8Array, hopper: UInt8Array
) -> None:
    path = own_embedder(tmp_path)
    for model in (path, str(path), load_manifest(path)):
        own = Recognizer.load(model, threads=1)
        assert own.model_id.startswith("own@")
        template = own.template(astronaut)
        assert template.vector.shape == (16,)
        check = own.verify(astronaut, astronaut, fmr=1e-2)
        assert check.match
        assert check.score == pytest.approx(1, abs=1e-6)
        assert check.threshold == 0.4
    assert own.verify(astronaut, hopper, threshold=0.5).score < 0.999


def test_its_templates_do_not_meet_those_of_the_default(
    tmp_path: Path, recognizer: Recognizer, astronaut: UInt8Array
) -> None:
    own = Recognizer.load(own_embedder(tmp_path), threads=1)
    with pytest.raises(ModelMismatch, match="own@"):
        recognizer.compare(recognizer.template(astronaut), own.template(astronaut))


def test_a_restricted_licence_is_accepted_first(tmp_path: Path, astronaut: UInt8Array) -> None:
    restricted = own_embedder(tmp_path, licence=Licence("CC-BY-NC-4.0", "https://example.org/terms", False, "unknown"))
    with pytest.raises(LicenceNotAccepted, match=r"'own' are under 'CC-BY-NC-4\.0'.*accept_licence=True") as caught:
        Recognizer.load(restricted, threads=1)
    assert caught.value.code == "licence_not_accepted"
    assert Recognizer.load(restricted, threads=1, accept_licence=True).verify(astronaut, astronaut, fmr=0.1).match


def test_the_licence_of_the_detector_counts_too() -> None:
    yunet = load_manifest("yunet-2023mar")
    restricted = replace(yunet, licence=replace(yunet.licence, commercial=False))
    with pytest.raises(LicenceNotAccepted, match="'yunet-2023mar'"):
        Recognizer.load(detector=restricted, threads=1)
    assert Recognizer.load(detector=restricted, threads=1, accept_licence=True).detector.manifest is restricted


def test_altered_weights_are_refused(tmp_path: Path) -> None:
    path = own_embedder(tmp_path)
    weights = tmp_path / "own.onnx"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    with pytest.raises(WeightsMismatch, match=r"own\.onnx has sha256"):
        Recognizer.load(path, threads=1)


def test_an_unknown_landmark_template_is_refused_when_loading(tmp_path: Path) -> None:
    path = own_embedder(tmp_path, embedding=Embedding(16, "arcface-113", "yunet-2023mar"))
    with pytest.raises(ManifestError, match="'arcface-113'"):
        Recognizer.load(path, threads=1)


def test_detector_and_embedder_are_not_confused() -> None:
    with pytest.raises(ManifestError, match="'yunet-2023mar' is no embedder; pass it as detector="):
        Recognizer.load("yunet-2023mar", threads=1)
    with pytest.raises(ManifestError, match="'sface-2021dec' is no detector"):
        Recognizer.load(detector="sface-2021dec", threads=1)
    with pytest.raises(ManifestError, match="did you mean 'sface-2021dec'"):
        Recognizer.load("sface-2021", threads=1)


def test_prepared_weights_are_kept_where_the_cache_option_says(tmp_path: Path) -> None:
    Embedder(own_embedder(tmp_path), threads=1, cache=tmp_path / "cache")
    assert len(list((tmp_path / "cache" / "prepared").iterdir())) == 1
    Recognizer.load(own_embedder(tmp_path), threads=3, cache=str(tmp_path / "second"))
    assert len(list((tmp_path / "second" / "prepared").iterdir())) == 2


def test_the_model_id_names_everything_that_makes_a_score(recognizer: Recognizer) -> None:
    assert recognizer.model_id == f"{recognizer.embedder.id}+{recognizer.detector.id}+arcface-112/2"


def test_templates_hold_what_they_were_made_with(recognizer: Recognizer, astronaut: UInt8Array) -> None:
    template = recognizer.template(astronaut)
    assert isinstance(template, Template)
    assert template.model_id == recognizer.model_id
