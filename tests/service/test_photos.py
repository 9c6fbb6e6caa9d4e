"""Detect, embed and verify over HTTP give what the library gives, and tell scores to those who may know them."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from tests.service.conftest import Running

from vultus import Recognizer


def test_detect_finds_what_the_library_finds(running: Running, recognizer: Recognizer, collins: bytes) -> None:
    found = running.client.post("/v1/detect", files={"image": collins}).json()
    faces = recognizer.detect(collins)
    assert found["model"] == recognizer.detector.id
    assert (found["width"], found["height"]) == (512, 512)
    assert [f["box"] for f in found["faces"]] == pytest.approx(faces.boxes, abs=0.02)
    assert np.array(found["faces"][0]["landmarks"]) == pytest.approx(faces.landmarks[0], abs=0.02)


def test_base64_in_json_is_the_same_as_a_file_in_a_form(running: Running, collins: bytes) -> None:
    form = running.client.post("/v1/detect", files={"image": collins}, data={"min_face": "40"})
    record = {"image": base64.b64encode(collins).decode(), "min_face": 40}
    assert form.json() == running.client.post("/v1/detect", json=record).json()


def test_min_face_acts(running: Running, collins: bytes) -> None:
    assert not running.client.post("/v1/detect", files={"image": collins}, data={"min_face": "400"}).json()["faces"]


@pytest.mark.parametrize("faces", ["largest", "all"])
def test_embeddings_are_those_of_the_library(
    running: Running, recognizer: Recognizer, collins: bytes, faces: str
) -> None:
    found = running.client.post("/v1/embed", files={"image": collins}, data={"faces": faces}).json()
    assert found["model"] == recognizer.model_id
    vector = np.array(found["faces"][0]["embedding"])
    assert float(vector @ recognizer.sample(collins).template.vector) > 0.999
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


def test_verify_decides_as_the_library_does(
    running: Running, recognizer: Recognizer, collins: bytes, collins_again: bytes, hopper_file: bytes
) -> None:
    for other, match in ((collins_again, True), (hopper_file, False)):
        found = running.client.post("/v1/verify", files={"image": collins, "other": other}, data={"fmr": "0.001"})
        expected = recognizer.verify(collins, other, fmr=0.001)
        answer = found.json()
        assert answer["match"] is expected.match is match
        assert answer["score"] == pytest.approx(expected.score, abs=1e-3)
        assert (answer["threshold"], answer["fmr"]) == (expected.threshold, expected.fmr)
        assert answer["log10_likelihood_ratio"] == pytest.approx(expected.log10_likelihood_ratio, abs=0.05)
        assert answer["model"] == expected.model_id
        assert answer["pad"] == "not_evaluated"
        assert "LFW" in answer["basis"]
        assert answer["band"] == ("high" if match else "below")


def test_scores_need_their_scope(running: Running, collins: bytes, hopper_file: bytes) -> None:
    with running.with_key("identify") as client:
        answer = client.post("/v1/verify", files={"image": collins, "other": hopper_file}).json()
    assert answer["match"] is False
    assert answer["score"] is answer["log10_likelihood_ratio"] is None


def test_a_rate_that_was_never_measured_is_refused(running: Running, collins: bytes) -> None:
    found = running.client.post("/v1/verify", files={"image": collins, "other": collins}, data={"fmr": "1e-9"})
    assert (found.status_code, found.json()["code"]) == (422, "no_threshold")


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"gallery": "staff"},
        {"subject_id": "ada"},
        {"gallery": "staff", "subject_id": "ada", "other": "x"},
    ],
)
def test_verify_wants_one_other_side(running: Running, collins: bytes, fields: dict[str, str]) -> None:
    files = {"image": collins} | ({"other": collins} if "other" in fields else {})
    data = {k: v for k, v in fields.items() if k != "other"}
    found = running.client.post("/v1/verify", files=files, data=data)
    assert (found.status_code, found.json()["code"]) == (422, "bad_argument")


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"", 422, "parse_error"),
        (b"garbage", 422, "parse_error"),
        (b"\xff\xd8\xff\xe0 cut", 422, "parse_error"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "unsupported"),
        (b"GIF89a", 415, "unsupported"),
        (b"\x80\x04pickle", 415, "unsupported"),
    ],
)
def test_what_is_no_picture_is_refused_with_its_code(running: Running, content: bytes, status: int, code: str) -> None:
    found = running.client.post("/v1/detect", files={"image": ("a.jpg", content, "image/jpeg")})
    assert (found.status_code, found.json()["code"]) == (status, code)
    assert found.headers["content-type"] == "application/problem+json"


def test_no_face_is_an_empty_list_or_an_error(running: Running) -> None:
    from tests.service.conftest import jpeg

    blank = jpeg(np.full((64, 64, 3), 127, np.uint8))
    assert running.client.post("/v1/detect", files={"image": blank}).json()["faces"] == []
    found = running.client.post("/v1/embed", files={"image": blank})
    assert (found.status_code, found.json()["code"]) == (422, "no_face")


@pytest.mark.parametrize(
    ("content", "kind", "status", "code"),
    [
        (b'{"image": "!!!"}', "application/json", 422, "bad_argument"),
        (b'{"image": "", "min_face": NaN}', "application/json", 422, "bad_argument"),
        (b'{"image": "", "min_face": 1e999}', "application/json", 422, "bad_argument"),
        (b'{"image": "", "other": 1}', "application/json", 422, "bad_argument"),
        (b"[" * 100_000, "application/json", 422, "bad_argument"),
        (b"{", "application/json", 422, "bad_argument"),
        (b"image=1", "application/x-www-form-urlencoded", 415, "unsupported_body"),
        (b"x", "multipart/form-data", 400, "bad_request"),
        (b"x", "multipart/form-data; boundary=a", 400, "bad_request"),
        (b"", "", 415, "unsupported_body"),
    ],
)
def test_bodies_that_are_none(running: Running, content: bytes, kind: str, status: int, code: str) -> None:
    found = running.client.post("/v1/detect", content=content, headers={"Content-Type": kind} if kind else {})
    assert (found.status_code, found.json()["code"]) == (status, code), found.text


def test_addresses_are_not_fetched_unless_told(running: Running) -> None:
    found = running.client.post("/v1/detect", json={"image_url": "https://example.org/a.jpg"})
    assert (found.status_code, found.json()["code"]) == (422, "fetch_refused")


def test_a_picture_of_a_form_is_a_file(running: Running) -> None:
    for at, field in (("/v1/detect", "image"), ("/v1/verify", "other")):
        found = running.client.post(at, files={field: (None, "null")})
        assert (found.status_code, found.json()["code"]) == (422, "bad_argument")
