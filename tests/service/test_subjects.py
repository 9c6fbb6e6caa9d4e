"""Enrol, list, change, merge, export and delete; and that a deleted person's bytes are in no file."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import numpy as np
import pytest
from tests.service.conftest import Running

ODD = ["a/b", "..", "%2F", "é", "名前", "a b", "🙂", "a?b#c", "'; DROP TABLE subjects; --", "x" * 256]


@pytest.fixture
def gallery(running: Running) -> Iterator[str]:
    name = f"g-{secrets.token_hex(4)}"
    assert running.client.post("/v1/galleries", json={"name": name}).status_code == 201
    yield f"/v1/galleries/{name}"
    running.client.delete(f"/v1/galleries/{name}")


def enrol(running: Running, gallery: str, subject: str, picture: bytes, **more: str) -> httpx.Response:
    headers = {"Idempotency-Key": more.pop("key")} if "key" in more else {}
    fields = {"subject_id": subject, **more}
    return running.client.post(f"{gallery}/subjects", files={"image": picture}, data=fields, headers=headers)


def test_enrol_identify_delete(running: Running, gallery: str, collins: bytes, collins_again: bytes) -> None:
    empty = running.client.post(f"{gallery}/identify", files={"image": collins}).json()
    assert (empty["match"], empty["candidates"], empty["compared"]) == (False, [], 0)
    assert enrol(running, gallery, "ada", collins, name="Ada L.").status_code == 201
    found = running.client.post(f"{gallery}/identify", files={"image": collins_again}).json()
    assert found["match"]
    assert [(c["rank"], c["subject_id"], c["name"], c["band"]) for c in found["candidates"]] == [
        (1, "ada", "Ada L.", "high")
    ]
    assert found["threshold"] > 0
    assert 0 < found["fpir"] <= 0.01
    assert found["pad"] == "not_evaluated"
    gone = running.client.delete(f"{gallery}/subjects/ada")
    assert gone.json() == {"templates": 1, "erased": True}
    assert not running.client.post(f"{gallery}/identify", files={"image": collins_again}).json()["match"]
    assert running.client.get(f"{gallery}/subjects/ada").json()["code"] == "subject_unknown"


def test_verification_of_a_claimed_subject(
    running: Running, gallery: str, collins: bytes, collins_again: bytes, hopper_file: bytes
) -> None:
    enrol(running, gallery, "ada", collins)
    fields = {"gallery": gallery.rpartition("/")[2], "subject_id": "ada"}
    good = running.client.post("/v1/verify", files={"image": collins_again}, data=fields).json()
    bad = running.client.post("/v1/verify", files={"image": hopper_file}, data=fields).json()
    assert (good["match"], good["subject_id"], good["fmr"]) == (True, "ada", 1e-4)
    assert (bad["match"], bad["band"]) == (False, "below")
    fields["subject_id"] = "nobody"
    assert running.client.post("/v1/verify", files={"image": collins}, data=fields).status_code == 404


def test_a_repeated_request_is_recognised(running: Running, gallery: str, collins: bytes, hopper_file: bytes) -> None:
    first = enrol(running, gallery, "ada", collins, key="k").json()
    again = enrol(running, gallery, "ada", collins, key="k")
    assert (again.status_code, again.json()) == (201, {**first, "replayed": True})
    assert enrol(running, gallery, "bob", hopper_file, key="k").json()["code"] == "request_conflict"
    assert enrol(running, gallery, "ada", collins).json()["code"] == "subject_exists"
    assert running.client.get(gallery).json()["templates"] == 1


def test_names_are_data(running: Running, gallery: str, collins: bytes) -> None:
    for number, name in enumerate(ODD):
        assert enrol(running, gallery, name, collins, name=name).json()["subject_id"] == name, number
    listed = running.client.get(f"{gallery}/subjects").json()["subjects"]
    assert sorted(s["subject_id"] for s in listed) == sorted(ODD)
    for name in ODD:
        if name == "..":  # clients resolve such segments themselves
            continue
        at = f"{gallery}/subjects/{quote(name, safe='')}"
        assert running.client.get(at).json()["name"] == name
        assert running.client.get(f"{at}/export").json()["subject_id"] == name
        assert running.client.delete(at).status_code == 200


@pytest.mark.parametrize("name", ["", " ", "a\nb", "a\u202eb", "x" * 257, "\ud800"])
def test_names_that_are_refused(running: Running, gallery: str, collins: bytes, name: str) -> None:
    import base64
    import json

    body = json.dumps({"subject_id": name, "image": base64.b64encode(collins).decode()}).encode()
    found = running.client.post(f"{gallery}/subjects", content=body, headers={"Content-Type": "application/json"})
    assert (found.status_code, found.json()["code"]) == (422, "bad_argument")
    assert running.client.get(gallery).json()["subjects"] == 0


def test_pages_of_subjects(running: Running, gallery: str, collins: bytes) -> None:
    for name in "abcde":
        enrol(running, gallery, name, collins)
    seen: list[str] = []
    after: str | None = ""
    while after is not None:
        page = running.client.get(f"{gallery}/subjects", params={"after": after, "limit": 2}).json()
        seen += [s["subject_id"] for s in page["subjects"]]
        after = page["next"]
    assert seen == list("abcde")


def test_rename_add_merge_export(running: Running, gallery: str, collins: bytes, collins_again: bytes) -> None:
    enrol(running, gallery, "ada", collins, consent="form 1", expires="2999-01-01T00:00:00+00:00")
    near = enrol(running, gallery, "eve", collins_again).json()["similar"]
    assert near == [{"subject_id": "ada", "band": "high"}]
    at = f"{gallery}/subjects/ada"
    assert running.client.patch(at, json={"name": "Ada"}).json()["name"] == "Ada"
    assert running.client.patch(at, json={"name": None}).json()["name"] is None
    assert running.client.post(f"{at}/templates", files={"image": collins_again}).json()["templates"] == 1
    assert running.client.post(f"{at}/merge", json={"other_id": "eve"}).json() == {"subject_id": "ada", "templates": 1}
    assert running.client.post(f"{at}/merge", json={"other_id": "ada"}).status_code == 422
    assert running.client.post(f"{at}/merge", json={"other_id": "eve"}).status_code == 404
    record = running.client.get(f"{at}/export").json()
    assert [t["consent"] for t in record["templates"]] == ["form 1", None, None]
    assert record["templates"][0]["expires"].startswith("2999")
    assert len(record["templates"][0]["embedding"]) == 128
    with running.with_key("read") as client:
        assert client.get(f"{at}/export").json()["templates"][0]["embedding"] is None


def test_several_faces_are_refused(running: Running, gallery: str, astronaut: np.ndarray) -> None:
    from tests.service.conftest import jpeg

    two = jpeg(np.concatenate([astronaut, astronaut], axis=1))
    found = enrol(running, gallery, "ada", two)
    assert (found.status_code, found.json()["code"]) == (409, "many_faces")
    assert running.client.get(gallery).json()["subjects"] == 0


def test_thumbnails_are_re_encoded_and_small(running: Running, gallery: str, collins: bytes) -> None:
    import io

    from PIL import Image

    enrol(running, gallery, "ada", collins)
    found = running.client.get(f"{gallery}/subjects/ada/thumbnail")
    assert found.headers["content-type"] == "image/jpeg"
    picture = Image.open(io.BytesIO(found.content))
    assert max(picture.size) <= 96
    assert running.client.get(f"{gallery}/subjects/bob/thumbnail").status_code == 404


def test_nothing_of_a_deleted_subject_is_left_in_any_file(running: Running, gallery: str, hopper_file: bytes) -> None:
    folder = Path(running.service.settings.data)
    marker = f"subject-{secrets.token_hex(8)}"
    person = f"name-{secrets.token_hex(8)}"
    enrol(running, gallery, marker, hopper_file, name=person, consent=f"{person}-form")
    at = f"{gallery}/subjects/{marker}"
    vector = np.array(running.client.get(f"{at}/export").json()["templates"][0]["embedding"], dtype="<f4").tobytes()
    thumbnail = running.client.get(f"{at}/thumbnail").content
    before = everything(folder)
    assert vector in before  # so that the search below could find it
    assert thumbnail[200:260] in before
    assert marker.encode() in before
    assert running.client.delete(at).json()["erased"] is True
    after = everything(folder)
    for what in (vector, vector[:64], thumbnail[200:260], hopper_file[1000:1064], marker.encode(), person.encode()):
        assert what not in after


def everything(folder: Path) -> bytes:
    return b"".join(p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file())


def test_galleries(running: Running) -> None:
    for name in ("../x", "", "a" * 65, "a.b", "é", "-a"):
        assert running.client.post("/v1/galleries", json={"name": name}).status_code == 422
    found = running.client.post("/v1/galleries", json={"name": "once"})
    assert found.status_code == 201
    assert running.client.post("/v1/galleries", json={"name": "once"}).json()["code"] == "gallery_exists"
    assert "once" in [g["name"] for g in running.client.get("/v1/galleries").json()]
    assert running.client.delete("/v1/galleries/once").json() == {"templates": 0, "erased": True}
    assert running.client.get("/v1/galleries/once").json()["code"] == "gallery_missing"
