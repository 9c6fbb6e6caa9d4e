"""The log notices every change of it, holds nothing biometric, and comes before the acknowledgement."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.service.conftest import Running

from vultus.errors import AuditBroken, AuditUnavailable, SubjectUnknown
from vultus.service import verify_log
from vultus.service.audit import Audit
from vultus.service.chain import HEAD, LOG, Head, read_head


def log_of(folder: Path, count: int = 6) -> list[bytes]:
    audit = Audit(folder)
    for number in range(count):
        audit.record(action="verify", key="k", decision="match", threshold=0.4 + number / 100)
    audit.close()
    return (folder / LOG).read_bytes().splitlines(keepends=True)


CHANGES: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "edited": lambda x: [x[0], x[1].replace(b'"match"', b'"other"'), *x[2:]],
    "first edited": lambda x: [x[0].replace(b'"match"', b'"other"'), *x[1:]],
    "last edited": lambda x: [*x[:-1], x[-1].replace(b'"match"', b'"other"')],
    "dropped": lambda x: [*x[:2], *x[3:]],
    "first dropped": lambda x: x[1:],
    "last dropped": lambda x: x[:-1],
    "moved": lambda x: [x[1], x[0], *x[2:]],
    "twice": lambda x: [*x[:3], x[2], *x[3:]],
    "emptied": lambda _: [],
    "cut short": lambda x: [*x[:-1], x[-1][:-10]],
    "no json": lambda x: [x[0], b"{}\n", *x[2:]],
    "spaces": lambda x: [x[0].replace(b":", b": "), *x[1:]],
    "not utf-8": lambda x: [x[0], b"\xff\n", *x[2:]],
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_is_found(tmp_path: Path, change: str) -> None:
    lines = log_of(tmp_path)
    whole = verify_log(tmp_path)
    assert (whole.ok, whole.entries) == (True, 6)
    changed = CHANGES[change](lines)
    assert changed != lines
    (tmp_path / LOG).write_bytes(b"".join(changed))
    found = verify_log(tmp_path)
    assert not found.ok
    assert found.problem


@settings(max_examples=60, deadline=None)
@given(at=st.integers(0, 10_000), value=st.integers(0, 255))
def test_a_changed_byte_is_found_wherever_it_is(tmp_path_factory: pytest.TempPathFactory, at: int, value: int) -> None:
    folder = tmp_path_factory.mktemp("log")
    content = bytearray(b"".join(log_of(folder, 3)))
    at %= len(content)
    if content[at] == value:
        value ^= 1
    content[at] = value
    (folder / LOG).write_bytes(bytes(content))
    assert not verify_log(folder).ok


def test_a_log_that_was_written_anew_is_found_by_a_hash_noted_elsewhere(tmp_path: Path) -> None:
    log_of(tmp_path / "a")
    noted = verify_log(tmp_path / "a").head
    log_of(tmp_path / "a", 2)
    assert verify_log(tmp_path / "a", expected=noted).ok
    log_of(tmp_path / "b")
    assert verify_log(tmp_path / "b").ok
    assert not verify_log(tmp_path / "b", expected=noted).ok


@pytest.mark.parametrize("how", ["removed", "emptied", "garbage", "other"])
def test_the_head_is_guarded_too(tmp_path: Path, how: str) -> None:
    log_of(tmp_path)
    head = tmp_path / HEAD
    if how == "removed":
        head.unlink()
    else:
        head.write_bytes({"emptied": b"", "garbage": b"x", "other": Head(6, "1" * 64).line()}[how])
    assert not verify_log(tmp_path).ok
    with pytest.raises(AuditBroken):
        Audit(tmp_path)


def test_what_a_crash_leaves_is_no_damage(tmp_path: Path) -> None:
    lines = log_of(tmp_path)
    (tmp_path / HEAD).write_bytes(Head(4, json.loads(lines[3])["hash"]).line())  # synced log, head not written yet
    (tmp_path / LOG).write_bytes(b"".join(lines) + b'{"half')
    assert verify_log(tmp_path).ok
    audit = Audit(tmp_path)
    assert audit.record(action="x") == 7
    audit.close()
    assert verify_log(tmp_path).entries == 7


@pytest.mark.parametrize("change", ["last dropped", "last edited", "cut short", "emptied"])
def test_a_service_does_not_start_on_a_changed_end(tmp_path: Path, change: str) -> None:
    (tmp_path / LOG).write_bytes(b"".join(CHANGES[change](log_of(tmp_path))))
    with pytest.raises(AuditBroken):
        Audit(tmp_path)


def test_many_threads_write_one_chain(tmp_path: Path) -> None:
    audit = Audit(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(lambda i: audit.record(action="x", at=i), range(200)))
    assert sorted(numbers) == list(range(1, 201))
    assert audit.head == read_head(tmp_path)
    page = audit.page(before=None, limit=3)
    assert [e["seq"] for e in page] == [200, 199, 198]
    assert [e["seq"] for e in audit.page(before=3, limit=10)] == [2, 1]
    audit.close()
    assert verify_log(tmp_path).entries == 200


def test_one_process_has_the_log(tmp_path: Path) -> None:
    audit = Audit(tmp_path)
    with pytest.raises(AuditUnavailable):
        Audit(tmp_path)
    audit.close()
    Audit(tmp_path).close()


def test_a_disk_that_fails_refuses_and_recovers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    audit = Audit(tmp_path)
    audit.record(action="before")
    made = []

    def fails(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fails)
        with pytest.raises(AuditUnavailable), audit.change(action="enrol"):
            made.append("changed")
    assert not made  # the intent could not be written, so the change was not tried
    assert audit.record(action="after") == 2
    audit.close()
    assert verify_log(tmp_path).entries == 2


def test_a_change_is_written_before_and_after(tmp_path: Path) -> None:
    audit = Audit(tmp_path)
    with audit.change(action="enrol", key="k") as entry:
        assert verify_log(tmp_path).entries == 1
        entry.add(templates=2, nothing=None)
    with pytest.raises(SubjectUnknown), audit.change(action="delete"):
        raise SubjectUnknown("who")
    with pytest.raises(ZeroDivisionError), audit.change(action="delete"):
        raise ZeroDivisionError
    outcomes = [e for e in audit.page(before=None, limit=10)[::-1] if e["phase"] == "outcome"]
    assert [(e["result"], e["intent"]) for e in outcomes] == [
        ("done", 1),
        ("subject_unknown", 3),
        ("internal_error", 5),
    ]
    assert outcomes[0]["templates"] == 2
    assert "nothing" not in outcomes[0]
    audit.close()


def test_a_subject_is_a_keyed_hash(tmp_path: Path) -> None:
    one, two = Audit(tmp_path / "a"), Audit(tmp_path / "b")
    assert one.subject("g", "ada") == one.subject("g", "ada")
    others = {one.subject("g", "ada"), one.subject("g", "bob"), one.subject("h", "ada"), two.subject("g", "ada")}
    assert len({*others, one.subject("ga", "da")}) == 5
    one.close()
    again = Audit(tmp_path / "a")
    assert again.subject("g", "ada") in others
    again.close()
    two.close()


def test_what_the_service_writes(running: Running, collins: bytes) -> None:
    name = "audited"
    running.client.post("/v1/galleries", json={"name": name})
    fields = {"subject_id": "Ada Canary", "name": "Canary Name", "consent": "canary consent"}
    made = running.client.post(f"/v1/galleries/{name}/subjects", files={"image": collins}, data=fields)
    running.client.post(f"/v1/galleries/{name}/identify", files={"image": collins})
    running.client.delete(f"/v1/galleries/{name}/subjects/Ada%20Canary")
    running.client.delete(f"/v1/galleries/{name}")
    assert running.client.get("/v1/audit/verify").json()["ok"]
    page = running.client.get("/v1/audit", params={"limit": 8}).json()
    actions = [(e["action"], e.get("phase")) for e in page["entries"]][::-1]
    assert actions == [
        ("gallery.create", "outcome"),
        ("subject.enrol", "intent"),
        ("subject.enrol", "outcome"),
        ("identify", None),
        ("subject.delete", "intent"),
        ("subject.delete", "outcome"),
        ("gallery.delete", "intent"),
        ("gallery.delete", "outcome"),
    ]
    enrolled, identified = page["entries"][5], page["entries"][4]
    assert enrolled["request"] == made.headers["x-request-id"]
    assert identified["decision"] == "match"
    assert identified["subject"] == enrolled["subject"]
    assert {"model", "threshold", "fpir", "key"} <= set(identified)
    text = json.dumps(page)
    for secret in ("Canary", "canary", "score", "embedding", running.key.rpartition("_")[2]):
        assert secret not in text
    assert page["next"] == page["entries"][-1]["seq"]
    older = running.client.get("/v1/audit", params={"before": page["next"], "limit": 1}).json()
    assert older["entries"][0]["seq"] == page["next"] - 1
