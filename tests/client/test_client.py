"""The client against a running service, end to end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from tests.service.conftest import Running

from vultus.client import Client
from vultus.errors import GalleryMissing, NoFace, NotAllowed, NotAuthenticated, NotFound, SubjectExists, SubjectUnknown


@pytest.fixture
def client(running: Running) -> Iterator[Client]:
    with Client(running.url, key=running.key, timeout=60) as found:
        found.create_gallery("team")
        yield found
        found.delete_gallery("team")


def test_importing_it_loads_httpx_and_no_model() -> None:
    code = (
        "import sys, vultus.client; heavy = {'numpy', 'fastapi', 'pydantic', 'onnxruntime', 'cv2', 'PIL', 'apsw'}; "
        "print(sorted(heavy & set(sys.modules)), 'httpx' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] True"


def test_from_enrolment_to_erasure(client: Client, collins: bytes, collins_again: bytes, hopper_file: bytes) -> None:
    later = datetime.now(UTC) + timedelta(days=30)
    done = client.enrol("team", "eileen/1", collins, name="Eileen C.", consent="form 7", expires=later)
    assert (done.templates, done.replayed, done.gallery) == (1, False, "team")
    with pytest.raises(SubjectExists) as refused:
        client.enrol("team", "eileen/1", collins)
    assert refused.value.request_id
    assert client.add("team", "eileen/1", [collins_again], idempotency_key="k").templates == 1
    assert client.add("team", "eileen/1", [collins_again], idempotency_key="k").replayed
    client.enrol("team", "..", hopper_file)
    assert [s.subject_id for s in client.every_subject("team")] == ["..", "eileen/1"]
    assert client.subjects("team", limit=1).next == ".."
    assert client.gallery("team") in client.galleries()

    found = client.identify("team", collins_again, fpir=0.01, max_rank=1)
    assert [(c.rank, c.subject_id, c.name) for c in found.candidates] == [(1, "eileen/1", "Eileen C.")]
    assert found.pad == "not_evaluated"
    assert client.verify_subject("team", "eileen/1", collins_again, fmr=1e-3).match
    same, other = client.verify(collins, collins_again), client.verify(collins, hopper_file)
    assert same.match
    assert not other.match
    assert same.score is not None
    assert other.score is not None
    assert same.score > same.threshold > other.score

    detail = client.subject("team", "eileen/1")
    assert {d.consent for d in detail.details} == {"form 7", None}
    assert abs((detail.details[0].expires or later) - later) < timedelta(seconds=2)
    assert client.rename("team", "eileen/1", None).name is None
    assert client.thumbnail("team", "eileen/1").startswith(b"\xff\xd8")
    exported = client.export("team", "eileen/1")
    assert exported.templates[0].embedding is not None
    assert client.merge("team", "eileen/1", "..").templates == 1
    assert client.delete_subject("team", "eileen/1").erased
    with pytest.raises(SubjectUnknown):
        client.subject("team", "eileen/1")
    assert client.audit(limit=3).entries[0]["action"] == "subject.delete"
    assert client.verify_audit().ok


def test_pictures(client: Client, collins: bytes) -> None:
    assert len(client.detect(collins, min_face=20).faces[0].landmarks) == 5
    assert len(client.embed(collins, faces="all").faces[0].embedding) > 100


def test_jobs(client: Client, collins: bytes, collins_again: bytes, hopper_file: bytes) -> None:
    job = client.wait(client.cluster("team", [collins, collins_again, hopper_file], rate=0.01).id, every=0.05)
    assert job.state == "done"
    assert client.job(job.id) == job
    group = next(g for g in job.groups or () if {f.photo for f in g.faces} == {0, 1})
    assert client.face_thumbnail(job.id, group.faces[0].face).startswith(b"\xff\xd8")
    assert client.enrol_group(job.id, group.group, "eileen", name="E").templates == 2
    client.cancel(job.id)
    with pytest.raises(NotFound):
        client.job(job.id)
    assert client.wait(client.purge("team").id, every=0.05).state == "done"
    assert client.jobs().jobs[0].kind == "purge"


def test_keys_and_health(running: Running, client: Client) -> None:
    made = client.create_key("door", ["identify"])
    assert made.key_id in {k.key_id for k in client.keys().keys}
    with Client(running.url, key=made.key) as door:
        with pytest.raises(NotAllowed):
            door.galleries()
        assert door.reviews(state="open", limit=1).reviews is not None
        assert client.revoke_key(made.key_id).revoked is not None
        with pytest.raises(NotAuthenticated):
            door.galleries()
    with Client(running.url) as nobody:
        assert (nobody.health().status, nobody.ready().status) == ("ok", "ready")
        with pytest.raises(NotAuthenticated):
            nobody.metrics()
    assert "vultus_" in client.metrics()


def test_errors_are_the_librarys(client: Client) -> None:
    with pytest.raises(GalleryMissing):
        client.gallery("nothing")
    with pytest.raises(NotFound):
        client.review("0" * 16)
    with pytest.raises(NotFound):
        client.review_picture("0" * 16)
    with pytest.raises(NoFace):
        client.embed(blank())


def blank() -> bytes:
    import numpy as np
    from tests.service.conftest import jpeg

    return jpeg(np.full((64, 64, 3), 127, np.uint8))
