"""Manifests: what is read, what is refused, and that writing one is the inverse of reading it."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vultus import Manifest, Threshold, load_manifest, save_manifest
from vultus.errors import ManifestError
from vultus.weights import builtin_names
from vultus.weights.manifest import Embedding, Input, KnownAnswer, Licence, ScoreCalibration, Source

BASE: dict[str, Any] = {
    "name": "tiny",
    "task": "embed",
    "sha256": "0" * 64,
    "licence": {"name": "MIT", "source": "here", "commercial": True, "training_data": "none"},
    "source": {"file": "tiny.onnx"},
    "input": {"name": "x", "channels": "RGB", "size": [112, 112]},
    "embedding": {"dimension": 16, "template": "arcface-112", "detector": "yunet-2023mar"},
}


def write(where: Path, /, **changes: Any) -> Path:
    path = where / "tiny.toml"
    table = {k: v for k, v in {**BASE, **changes}.items() if v is not None}
    path.write_text(tomli_w.dumps(table), encoding="utf-8")
    return path


# --- the built-in ones ------------------------------------------------------------------------------------------------


def test_the_built_in_manifests_are_these() -> None:
    assert builtin_names() == ("centerface", "sface-2021dec", "yunet-2023mar")


@pytest.mark.parametrize("name", ["centerface", "sface-2021dec", "yunet-2023mar"])
def test_built_in_manifests_say_what_a_user_must_know(name: str) -> None:
    manifest = load_manifest(name)
    assert manifest.name == name
    assert manifest.folder is None
    assert manifest.id == f"{name}@{manifest.sha256[:12]}"
    assert manifest.licence.name
    assert manifest.licence.source.startswith("https://")
    assert manifest.licence.training_data
    assert manifest.source.package
    assert manifest.source.requirement
    assert manifest.known_answer is not None
    assert (manifest.detection is None) == (manifest.task == "embed")


def test_the_facts_of_the_default_weights() -> None:
    sface, yunet = load_manifest("sface-2021dec"), load_manifest("yunet-2023mar")
    assert sface.sha256 == "fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee"
    assert yunet.sha256 == "49f000ec501fef24739071fc7e68267d32209045b6822c0c72dce1da25726f10"
    assert (sface.input.channels, sface.input.size) == ("RGB", (112, 112))
    assert (yunet.input.channels, yunet.input.size, yunet.input.multiple) == ("BGR", None, 32)
    assert sface.embedding is not None
    assert sface.embedding.dimension == 128
    assert sface.licence.training_data == "never stated"


@pytest.mark.parametrize("name", builtin_names())
def test_a_built_in_manifest_survives_a_round_trip(name: str, tmp_path: Path) -> None:
    manifest = load_manifest(name)
    save_manifest(manifest, tmp_path / "copy.toml")
    again = load_manifest(tmp_path / "copy.toml")
    assert again == manifest
    assert again.folder == str(tmp_path)
    text = (resources.files("vultus.weights") / "manifests" / f"{name}.toml").read_text(encoding="utf-8")
    assert tomllib.loads((tmp_path / "copy.toml").read_text(encoding="utf-8")) == tomllib.loads(text)


# --- reading ----------------------------------------------------------------------------------------------------------


def test_a_manifest_of_ones_own(tmp_path: Path) -> None:
    manifest = load_manifest(write(tmp_path))
    assert (manifest.task, manifest.input.mean, manifest.input.std) == ("embed", (0, 0, 0), (1, 1, 1))
    assert manifest.folder == str(tmp_path)
    assert load_manifest(str(write(tmp_path))) == manifest


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"nmae": "x"}, r"tiny\.toml: unknown key 'nmae'; did you mean 'name'\?"),
    ({"folder": "/"}, "unknown key 'folder'"),
    ({"sha256": "0" * 63}, "not 64 hexadecimal digits"),
    ({"sha256": "G" * 64}, "not 64 hexadecimal digits"),
    ({"sha256": "A" * 64}, "not 64 hexadecimal digits"),
    ({"sha256": "0" * 64 + "\n"}, "not 64 hexadecimal digits"),
    ({"name": "Tiny"}, "lower-case"),
    ({"name": "../tiny"}, "lower-case"),
    ({"name": ""}, "lower-case"),
    ({"name": "x" * 65}, "lower-case"),
    ({"task": "recognise"}, "'recognise' is none of 'detect', 'embed'"),
    ({"task": "detect"}, r"needs a table \[detection\]"),
    ({"task": "restore"}, r"needs a table \[restoration\]"),
    (
        {"task": "restore", "restoration": {"template": "x"}, "input": {"name": "x", "channels": "RGB"}},
        r"a restorer needs input\.size",
    ),
    ({"embedding": None}, r"needs a table \[embedding\]"),
    ({"sha256": None}, "key 'sha256' is missing"),
    ({"source": {}}, "source needs a file, a url, or a package"),
    ({"source": {"package": "x"}}, "source needs a file, a url, or a package"),
    ({"source": {"file": "x", "pakage": "y"}}, r"source: unknown key 'pakage'; did you mean 'package'\?"),
    ({"input": {"name": "x", "channels": "RGB"}}, r"an embedder needs input\.size"),
    ({"input": {"name": "x", "channels": "GBR", "size": [1, 1]}}, "channels: 'GBR' is none of 'RGB', 'BGR'"),
    ({"input": {"name": "x", "channels": "RGB", "size": [112]}}, "size: expected 2 values, got 1"),
    ({"input": {**BASE["input"], "size": [0, 112]}}, "size"),
    ({"input": {**BASE["input"], "std": [0.0, 1.0, 1.0]}}, "std"),
    ({"input": {**BASE["input"], "mean": [float("nan"), 1.0, 1.0]}}, "mean"),
    ({"input": {**BASE["input"], "multiple": 0}}, "multiple"),
    ({"embedding": {**BASE["embedding"], "dimension": 0}}, "dimension"),
    ({"embedding": {**BASE["embedding"], "dimension": 12.5}}, "dimension: expected int, got 12.5"),
    ({"licence": {"name": "MIT"}}, "licence: key 'source' is missing"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG)
def test_wrong_manifests_are_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    assert len(WRONG) == 29
    with pytest.raises(ManifestError, match=message) as caught:
        load_manifest(write(tmp_path, **changes))
    assert caught.value.code == "bad_manifest"


@pytest.mark.parametrize(
    ("content", "message"), [(b"name = ", "not valid TOML"), (b"", "is missing"), (b"\xff\xfe", "cannot read")]
)
def test_files_that_are_no_manifest(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_bytes(content)
    with pytest.raises(ManifestError, match=message):
        load_manifest(tmp_path / "x.toml")


def test_unknown_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(ManifestError, match=r"no model is named 'sface-2021'.*did you mean 'sface-2021dec'\?"):
        load_manifest("sface-2021")
    with pytest.raises(ManifestError, match="built in: centerface, sface-2021dec, yunet-2023mar"):
        load_manifest("zzz")


@pytest.mark.parametrize("name", ["missing.toml", "folder.toml", "nul\0.toml"])
def test_manifests_that_cannot_be_read(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(ManifestError, match="cannot read the manifest"):
        load_manifest(str(tmp_path / name))


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".PT"])
def test_pickled_weights_are_refused_unread(suffix: str, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="pickled weights can run code"):
        load_manifest(tmp_path / f"model{suffix}")


# --- writing ----------------------------------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
numbers = st.floats(-1e6, 1e6)
rates = st.floats(1e-9, 1)
thresholds = st.builds(Threshold, numbers, rates, st.integers(1, 10**9), rates, rates, texts, st.none() | rates)
calibrations = st.builds(
    ScoreCalibration,
    score=st.sampled_from(["cosine", "cosine+mirror", "cosine+frontal/1/20-60/1/1"]),
    detector=texts,
    weight=st.none() | numbers,
    bias=st.none() | numbers,
    data=st.none() | texts,
    thresholds=st.lists(thresholds, max_size=3).map(tuple),
)
three = st.tuples(numbers, numbers, numbers)
manifests = st.builds(
    Manifest,
    name=st.from_regex(r"[a-z0-9][a-z0-9._-]{0,9}", fullmatch=True),
    task=st.just("embed"),
    sha256=st.from_regex(r"[0-9a-f]{64}", fullmatch=True),
    licence=st.builds(Licence, texts, texts, st.booleans(), texts),
    source=st.builds(Source, file=texts.filter(bool), url=st.none() | texts),
    input=st.builds(
        Input,
        name=texts,
        channels=st.sampled_from(["RGB", "BGR"]),
        mean=three,
        std=st.tuples(*[st.floats(0.1, 300)] * 3),
        size=st.tuples(st.integers(1, 999), st.integers(1, 999)),
    ),
    embedding=st.builds(Embedding, st.integers(1, 4096), texts, texts, st.none() | texts),
    known_answer=st.none()
    | st.builds(
        KnownAnswer,
        st.integers(1, 999),
        st.integers(1, 999),
        st.lists(numbers, min_size=1, max_size=4).map(tuple),
        rates,
    ),
    calibration=st.lists(calibrations, max_size=3).map(tuple),
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(manifests)
def test_save_then_load_is_the_identity(tmp_path: Path, manifest: Manifest) -> None:
    path = tmp_path / "m.toml"
    save_manifest(manifest, path)
    assert load_manifest(path) == manifest
    save_manifest(replace(manifest, folder="/elsewhere"), path)
    assert load_manifest(path).folder == str(tmp_path)


def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = write(tmp_path)
    before = path.read_bytes()
    manifest = load_manifest(path)
    unwritable = replace(manifest, licence=replace(manifest.licence, training_data=object()))  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        save_manifest(unwritable, path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["tiny.toml"]


# --- calibrations -----------------------------------------------------------------------------------------------------


def test_calibrations_are_found_by_score_and_detector(tmp_path: Path) -> None:
    manifest = load_manifest(write(tmp_path))
    one = ScoreCalibration("cosine", "yunet-2023mar", 1.0, 2.0, "data")
    other = replace(one, score="cosine+mirror")
    both = manifest.with_calibration(one).with_calibration(other)
    assert manifest.calibration == ()
    assert both.calibrated(score="cosine", detector="yunet-2023mar") == one
    assert both.calibrated(score="cosine+mirror", detector="yunet-2023mar") == other
    assert both.calibrated(score="cosine", detector="centerface") is None
    replaced = both.with_calibration(replace(one, weight=9.0))
    assert len(replaced.calibration) == 2
    assert replaced.calibrated(score="cosine", detector="yunet-2023mar") == replace(one, weight=9.0)
