"""Grouping and naming, purging, cancelling; the review queue needs two people."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from tests.service.conftest import Running, jpeg
from tests.service.test_subjects import everything

from vultus.errors import NotFound, StateConflict
from vultus.service.jobs import Jobs, Progress
from vultus.service.reviews import Reviews
from vultus.service.state import State
from vultus.types import UInt8Array


@pytest.fixture
def gallery(running: Running) -> Iterator[str]:
    name = f"j-{secrets.token_hex(4)}"
    running.client.post("/v1/galleries", json={"name": name})
    yield f"/v1/galleries/{name}"
    running.client.delete(f"/v1/galleries/{name}")


def finished(running: Running, job_id: str) -> dict[str, object]:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        job: dict[str, object] = running.client.get(f"/v1/jobs/{job_id}").json()
        if job["state"] not in {"waiting", "running"}:
            return job
        time.sleep(0.05)
    raise TimeoutError


def test_groups_are_found_named_and_forgotten(
    running: Running, gallery: str, collins: bytes, collins_again: bytes, hopper_file: bytes
) -> None:
    photos = [("images", x) for x in (collins, hopper_file, b"no picture", collins_again)]
    started = running.client.post(f"{gallery}/cluster", files=photos)
    assert started.status_code == 202
    job = finished(running, started.json()["id"])
    assert (job["state"], job["done"], job["total"]) == ("done", 4, 4)
    assert job["result"] == {"photos": 4, "faces": 3, "groups": 2, "failures": {"parse_error": 1}}
    groups = job["groups"]
    assert isinstance(groups, list)
    assert [[f["photo"] for f in g["faces"]] for g in groups] == [[0, 3], [1]]
    at = f"/v1/jobs/{job['id']}"
    picture = running.client.get(f"{at}/faces/0/thumbnail")
    assert picture.headers["content-type"] == "image/jpeg"
    folder = Path(running.service.settings.data)
    assert picture.content[200:260] in everything(folder)

    number = groups[0]["group"]
    named = running.client.post(f"{at}/groups/{number}/enrol", json={"subject_id": "ada", "name": "Ada"})
    assert (named.status_code, named.json()["templates"]) == (201, 2)
    assert running.client.post(f"{at}/groups/{number}/enrol", json={"subject_id": "bob"}).status_code == 404
    assert running.client.get(f"{at}/faces/0/thumbnail").status_code == 404
    found = running.client.post(f"{gallery}/identify", files={"image": collins}).json()
    assert found["candidates"][0]["subject_id"] == "ada"

    assert running.client.delete(at).status_code == 204
    assert running.client.get(at).json()["code"] == "not_found"
    left = everything(folder)
    running.client.delete(f"{gallery}/subjects/ada")
    assert picture.content[200:260] in left  # the subject's thumbnail is the face's picture
    assert picture.content[200:260] not in everything(folder)


def test_deleting_a_subject_takes_its_faces_from_jobs(
    running: Running, gallery: str, collins: bytes, collins_again: bytes, hopper_file: bytes
) -> None:
    running.client.post(f"{gallery}/subjects", files={"image": collins}, data={"subject_id": "ada"})
    files = [("images", collins_again), ("images", hopper_file)]
    job = finished(running, running.client.post(f"{gallery}/cluster", files=files).json()["id"])
    running.client.delete(f"{gallery}/subjects/ada")
    groups = running.client.get(f"/v1/jobs/{job['id']}").json()["groups"]
    assert [[f["photo"] for f in g["faces"]] for g in groups] == [[1]]


def test_purge_removes_what_has_expired(running: Running, gallery: str, collins: bytes) -> None:
    soon = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
    for subject, expires in (("ada", soon), ("bob", "2999-01-01T00:00:00Z")):
        data = {"subject_id": subject, "expires": expires}
        assert running.client.post(f"{gallery}/subjects", files={"image": collins}, data=data).status_code == 201
    time.sleep(2)
    job = finished(running, running.client.post(f"{gallery}/purge").json()["id"])
    assert job["result"] == {"templates": 1, "subjects": 1, "erased": True}
    assert [s["subject_id"] for s in running.client.get(f"{gallery}/subjects").json()["subjects"]] == ["bob"]
    naive = {"subject_id": "eve", "expires": "2999-01-01T00:00:00"}
    assert running.client.post(f"{gallery}/subjects", files={"image": collins}, data=naive).status_code == 422


def test_jobs_one_at_a_time_that_can_be_cancelled(tmp_path: Path) -> None:
    state = State(tmp_path, None)
    jobs = Jobs(state, hours=1)
    go, entered = threading.Event(), threading.Event()

    def work(progress: Progress) -> dict[str, object]:
        entered.set()
        go.wait(20)
        progress(1)
        return {"never": "reached"}

    first = jobs.start("cluster", "g", "k", work, total=2)
    second = jobs.start("cluster", "g", "k", lambda _: {"x": 1}, total=1)
    entered.wait(20)
    assert (jobs.get(first.job_id).state, jobs.get(second.job_id).state) == ("running", "waiting")
    jobs.cancel(first.job_id)
    go.set()
    wait_for(jobs, second.job_id)
    assert (jobs.get(first.job_id).state, jobs.get(second.job_id).state) == ("cancelled", "done")
    assert jobs.get(second.job_id).result == {"x": 1}
    jobs.cancel(second.job_id)
    with pytest.raises(NotFound):
        jobs.get(second.job_id)

    def fails(_: Progress) -> dict[str, object]:
        raise RuntimeError("canary")

    broken = jobs.start("purge", "g", "k", fails, total=1)
    wait_for(jobs, broken.job_id)
    assert (jobs.get(broken.job_id).state, jobs.get(broken.job_id).code) == ("failed", "internal_error")
    jobs.close()
    state.change("UPDATE jobs SET state = 'running' WHERE id = ?", (broken.job_id,))
    again = Jobs(state, hours=1e-9)
    assert (again.get(broken.job_id).state, again.get(broken.job_id).code) == ("failed", "interrupted")
    time.sleep(1.1)
    again.expire()
    assert [j for j in again.listed() if j.job_id == broken.job_id] == []
    again.close()
    state.close()


def wait_for(jobs: Jobs, job_id: str) -> None:
    until = time.monotonic() + 20
    while jobs.get(job_id).state in {"waiting", "running"} and time.monotonic() < until:
        time.sleep(0.01)


VOTES = [
    (["same", "same"], "confirmed"),
    (["different", "different"], "refuted"),
    (["same"], "open"),
    (["same", "different"], "disputed"),
    (["same", "different", "same"], "confirmed"),
    (["different", "same", "different"], "refuted"),
]


@pytest.mark.parametrize(("votes", "state"), VOTES)
def test_two_people_decide(tmp_path: Path, votes: list[str], state: str) -> None:
    kept = State(tmp_path, None)
    reviews = Reviews(kept)
    review = reviews.add(gallery="g", subject_id="a", band="likely", threshold=0.4, key_id="k", picture=b"canary" * 9)
    for number, vote in enumerate(votes):
        reviews.decide(review, f"key{number}", vote)
        with pytest.raises(StateConflict):
            reviews.decide(review, f"key{number}", vote)
    assert reviews.get(review).state == state
    settled = state in {"confirmed", "refuted"}
    assert (b"canary" in everything(tmp_path)) is not settled
    assert (reviews.picture(review) is None) is settled
    if settled:
        with pytest.raises(StateConflict):
            reviews.decide(review, "another", "same")
    assert [r.review_id for r in reviews.listed(state=state)] == [review]
    assert reviews.listed(state="open" if state != "open" else "disputed") == []
    kept.close()


def test_a_doubtful_candidate_goes_to_review(
    running: Running, gallery: str, collins: bytes, astronaut: UInt8Array
) -> None:
    running.client.post(f"{gallery}/subjects", files={"image": collins}, data={"subject_id": "ada"})
    answer = None
    for step in range(10, 60):  # darker and coarser until the score lies between the two thresholds
        small = astronaut[::8, ::8][:, :].repeat(8, 0).repeat(8, 1)
        mixed = (astronaut * (1 - step / 60) + small * (step / 60)).astype(np.uint8)
        answer = running.client.post(f"{gallery}/identify", files={"image": jpeg(mixed)}).json()
        if answer.get("review"):
            break
    assert answer is not None
    assert answer["candidates"][0]["band"] == "likely"
    at = f"/v1/reviews/{answer['review']}"
    assert running.client.get(at).json()["state"] == "open"
    assert running.client.get(f"{at}/picture").headers["content-type"] == "image/jpeg"
    with running.with_key("identify") as one, running.with_key("identify") as two:
        assert one.post(f"{at}/decision", json={"verdict": "same"}).json()["state"] == "open"
        assert one.post(f"{at}/decision", json={"verdict": "same"}).json()["code"] == "state_conflict"
        assert two.post(f"{at}/decision", json={"verdict": "same"}).json()["state"] == "confirmed"
    assert running.client.get(f"{at}/picture").status_code == 404
    export = running.client.get(f"{gallery}/subjects/ada/export").json()
    assert export["reviews"] == [answer["review"]]
    running.client.delete(f"{gallery}/subjects/ada")
    assert running.client.get(at).status_code == 404
