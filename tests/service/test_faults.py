"""Storage that fails, attacks that are noticed, and changes that are not acknowledged where the log cannot be written."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.service.conftest import Running, serving

from vultus import Gallery, Template, errors
from vultus.errors import VultusError
from vultus.image import Photo
from vultus.service import PadVerdict, Settings
from vultus.service.problems import STATUS, status_of
from vultus.types import Faces


@pytest.fixture
def gallery(running: Running) -> Iterator[str]:
    name = f"f-{secrets.token_hex(4)}"
    running.client.post("/v1/galleries", json={"name": name})
    yield f"/v1/galleries/{name}"
    running.client.delete(f"/v1/galleries/{name}")


FAULTS = [
    (errors.GalleryBusy, 503, "gallery_busy"),
    (errors.GalleryUnavailable, 503, "gallery_unavailable"),
    (errors.GalleryReadOnly, 503, "gallery_read_only"),
    (errors.GalleryFull, 507, "gallery_full"),
    (errors.GalleryCorrupt, 503, "gallery_corrupt"),
]


@pytest.mark.parametrize(("error", "status", "code"), FAULTS)
def test_storage_that_fails(
    running: Running,
    gallery: str,
    collins: bytes,
    monkeypatch: pytest.MonkeyPatch,
    error: type[VultusError],
    status: int,
    code: str,
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error("gallery /secret/place/a.db: canary")

    with monkeypatch.context() as patch:
        patch.setattr(Gallery, "enrol", fails)
        found = running.client.post(f"{gallery}/subjects", files={"image": collins}, data={"subject_id": "a"})
    assert (found.status_code, found.json()["code"]) == (status, code)
    assert "canary" not in found.text
    assert "/secret" not in found.text
    assert ("retry-after" in found.headers) is (status == 503)
    entry = running.client.get("/v1/audit", params={"limit": 1}).json()["entries"][0]
    assert (entry["phase"], entry["result"]) == ("outcome", code)
    assert running.client.get(gallery).json()["subjects"] == 0


def test_without_a_log_nothing_is_changed_or_decided(
    running: Running, gallery: str, collins: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    running.client.post(f"{gallery}/subjects", files={"image": collins}, data={"subject_id": "ada"})
    real = os.fsync

    def fails(file: int) -> None:
        if file in (running.service.audit._file, running.service.audit._mark):
            raise OSError(28, "No space left on device")
        real(file)

    name = gallery.rpartition("/")[2]
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fails)
        asked = [
            running.client.post(f"{gallery}/subjects", files={"image": collins}, data={"subject_id": "eve"}),
            running.client.delete(f"{gallery}/subjects/ada"),
            running.client.patch(f"{gallery}/subjects/ada", json={"name": "x"}),
            running.client.post(f"{gallery}/identify", files={"image": collins}),
            running.client.post("/v1/verify", files={"image": collins, "other": collins}),
            running.client.post("/v1/keys", json={"name": "x", "scopes": ["read"]}),
            running.client.post("/v1/galleries", json={"name": f"{name}-2"}),
            running.client.delete(gallery),
        ]
        for answer in asked:
            assert (answer.status_code, answer.json()["code"]) == (503, "audit_unavailable"), answer.request.url
        assert running.client.get(f"{gallery}/subjects/ada").status_code == 200
    found = running.client.get(f"{gallery}/subjects").json()["subjects"]
    assert [(s["subject_id"], s["name"]) for s in found] == [("ada", None)]
    assert running.client.post(f"{gallery}/identify", files={"image": collins}).json()["match"]
    assert running.client.get("/v1/audit/verify").json()["ok"]


def test_every_error_that_a_request_can_cause_has_a_status() -> None:
    listed = [kind for kind, _ in STATUS]
    for place, kind in enumerate(listed):  # a base before its child would hide it
        assert not any(issubclass(kind, before) for before in listed[:place]), kind
    for name in dir(errors):
        kind = getattr(errors, name)
        if isinstance(kind, type) and issubclass(kind, errors.ServiceError) and kind is not errors.ServiceError:
            expected = 500 if kind is errors.BadSettings else range(400, 504)
            assert status_of(kind("x")) in (expected if isinstance(expected, range) else [expected]), kind


class _Nose:
    """Takes a face whose nose is to the left of the middle of the picture for an attack."""

    name = "nose"

    def __call__(self, photo: Photo, face: Faces) -> PadVerdict:
        return PadVerdict(bool(face.landmarks[0, 2, 0] < photo.width / 2), score=float(face.landmarks[0, 2, 0]))


def nose() -> _Nose:
    return _Nose()


def test_an_attack_detector_decides(tmp_path: Path, cache: Path, collins: bytes, hopper_file: bytes) -> None:
    """Collins' nose is at 221 of 512 pixels, an attack; Hopper's at 266, none."""
    settings = Settings(data=str(tmp_path), threads=1, pad="tests.service.test_faults:nose")
    for here in serving(settings):
        client = here.client
        client.post("/v1/galleries", json={"name": "g"})
        attack = client.post("/v1/galleries/g/subjects", files={"image": collins}, data={"subject_id": "ada"})
        assert (attack.status_code, attack.json()["code"]) == (422, "presentation_attack")
        good = client.post("/v1/galleries/g/subjects", files={"image": hopper_file}, data={"subject_id": "grace"})
        assert good.json()["pad"]["attack"] is False
        pair = client.post("/v1/verify", files={"image": collins, "other": collins}).json()
        assert (pair["match"], pair["pad"]["detector"], pair["pad"]["attack"]) == (False, "nose", True)
        found = client.post("/v1/galleries/g/identify", files={"image": hopper_file}).json()
        assert found["match"]
        assert found["pad"] == {"detector": "nose", "attack": False, "score": pytest.approx(266, abs=4)}
        with here.with_key("identify") as other:
            assert other.post("/v1/galleries/g/identify", files={"image": hopper_file}).json()["pad"]["score"] is None
        stranger = client.post("/v1/galleries/g/identify", files={"image": collins}).json()
        assert (stranger["match"], stranger["pad"]["attack"]) == (False, True)
        pads = [e["pad"] for e in client.get("/v1/audit").json()["entries"] if "pad" in e]
        assert pads == ["attack", "bona_fide", "bona_fide", "attack"]


def test_a_service_goes_on_where_it_stopped(tmp_path: Path, cache: Path, collins: bytes) -> None:
    settings = Settings(data=str(tmp_path), threads=1)
    for here in serving(settings, gallery_key=b"k" * 32):
        here.client.post("/v1/galleries", json={"name": "g"})
        here.client.post("/v1/galleries/g/subjects", files={"image": collins}, data={"subject_id": "ada"})
        first = here.key
        (tmp_path / "galleries" / ("0" * 32 + ".db")).write_bytes(b"left behind by a creation that was interrupted")
    for path in tmp_path.rglob("*.db"):
        assert not re.search(rb"SQLite format 3|ada", path.read_bytes())
    for here in serving(settings, gallery_key=b"k" * 32):
        here.client.headers["Authorization"] = f"Bearer {first}"
        assert here.client.post("/v1/galleries/g/identify", files={"image": collins}).json()["match"]
        assert here.client.get("/v1/audit/verify").json()["ok"]
        assert not (tmp_path / "galleries" / ("0" * 32 + ".db")).exists()
    with pytest.raises(errors.GalleryLocked):
        next(iter(serving(settings, gallery_key=b"x" * 32)))


def test_a_gallery_of_another_model_is_listed_and_can_be_removed(tmp_path: Path, cache: Path, collins: bytes) -> None:
    settings = Settings(data=str(tmp_path), threads=1)
    for here in serving(settings):
        for name in ("ours", "theirs"):
            assert here.client.post("/v1/galleries", json={"name": name}).status_code == 201
        first, file = here.key, here.service.galleries.listing("theirs").file
    for path in (tmp_path / "galleries").glob(f"{file.removesuffix('.db')}*"):
        path.unlink()
    with Gallery.open(tmp_path / "galleries" / file, model="another+model") as other:
        other.enrol("ada", Template(np.eye(4, dtype=np.float32)[0], "another+model"))
    for here in serving(settings):
        here.client.headers["Authorization"] = f"Bearer {first}"
        listed = here.client.get("/v1/galleries").json()
        assert [(g["name"], g["templates"]) for g in listed] == [("ours", 0), ("theirs", 1)]
        assert listed[1]["model"] == "another+model" != listed[0]["model"]
        refused = here.client.post("/v1/galleries/theirs/identify", files={"image": collins})
        assert (refused.status_code, refused.json()["code"]) == (409, "model_mismatch")
        assert here.client.delete("/v1/galleries/theirs").json()["templates"] == 1
        assert [g["name"] for g in here.client.get("/v1/galleries").json()] == ["ours"]
        assert not list((tmp_path / "galleries").glob(f"{file.removesuffix('.db')}*"))
