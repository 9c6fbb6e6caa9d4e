"""Retries, errors by code, and what the client refuses to send."""

from __future__ import annotations

import http.server
import io
import socket
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from vultus import errors
from vultus.client import Client, Retries
from vultus.client.transport import error_of, segment
from vultus.errors import (
    BadAnswer,
    BadArgument,
    DeadlineExceeded,
    LockedOut,
    NoFace,
    Overloaded,
    ServiceError,
    ServiceUnreachable,
    SourceUnavailable,
    VultusError,
)

QUICK = Retries(attempts=3, first_seconds=0)
ENROLLED = {
    "subject_id": "s",
    "gallery": "g",
    "model": "m",
    "templates": 1,
    "replayed": False,
    "similar": [],
    "quality": [1.0],
}
GALLERY = {"name": "g", "model": "m", "subjects": 0, "templates": 0, "created": "2030-01-01T00:00:00Z"}
JOB = {
    "id": "0" * 16,
    "kind": "purge",
    "gallery": "g",
    "done": 0,
    "total": 1,
    "created": "2030-01-01T00:00:00Z",
    "finished": None,
    "code": None,
    "result": None,
}


def problem(status: int, code: str, **headers: str) -> httpx.Response:
    body = {"type": "about:blank", "title": "T", "status": status, "code": code, "detail": "words"}
    return httpx.Response(status, json=body, headers={"X-Request-ID": "abc", **headers})


class Script:
    """Answers one after the other; an exception is raised."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers, self.asked = list(answers), list[httpx.Request]()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def client(script: Script, retries: Retries = QUICK) -> Client:
    return Client("http://localhost", key="vk_1", retries=retries, http=httpx.MockTransport(script))


KINDS = sorted(
    (v for v in vars(errors).values() if isinstance(v, type) and issubclass(v, VultusError)), key=lambda k: k.code
)


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.code)
def test_every_code_comes_back_as_its_class(kind: type[VultusError]) -> None:
    found = error_of(problem(422, kind.code))
    assert type(found) is kind
    assert (str(found), found.request_id) == ("words", "abc")


def test_codes_are_unique() -> None:
    assert len({k.code for k in KINDS}) == len(KINDS) > 60


def test_a_code_that_is_not_known_is_told() -> None:
    found = error_of(problem(400, "sun_spots"))
    assert type(found) is ServiceError
    assert str(found) == "sun_spots: words"


@pytest.mark.parametrize("content", [b"", b"<html>", b"[]", b"{}", b'{"code": 1}'])
def test_another_server_is_a_bad_answer(content: bytes) -> None:
    with pytest.raises(BadAnswer, match="status 502"):
        client(Script(httpx.Response(502, content=content))).health()


@pytest.mark.parametrize("content", [b"<html>", b"{", b"[]"])
def test_a_success_that_is_none(content: bytes) -> None:
    with pytest.raises(BadAnswer):
        client(Script(httpx.Response(200, content=content))).health()


OVERLOADED, SLOW = problem(503, "overloaded", **{"Retry-After": "0"}), problem(503, "deadline_exceeded")


@pytest.mark.parametrize(
    ("first", "call", "answer", "tries"),
    [
        (OVERLOADED, lambda c: c.health(), {"status": "ok"}, 2),
        (SLOW, lambda c: c.health(), {"status": "ok"}, 2),
        (httpx.ReadTimeout("slow"), lambda c: c.health(), {"status": "ok"}, 2),
        (SLOW, lambda c: c.enrol("g", "s", b"x"), ENROLLED, 2),
        (httpx.ReadError("cut"), lambda c: c.enrol("g", "s", b"x"), ENROLLED, 2),
        (OVERLOADED, lambda c: c.create_gallery("g"), GALLERY, 2),
        (httpx.ConnectError("refused"), lambda c: c.create_gallery("g"), GALLERY, 2),
        (SLOW, lambda c: c.create_gallery("g"), GALLERY, 1),
        (httpx.ReadError("cut"), lambda c: c.create_gallery("g"), GALLERY, 1),
        (httpx.ReadError("cut"), lambda c: c.delete_subject("g", "s"), {}, 1),
        (httpx.ReadError("cut"), lambda c: c.cluster("g", [b"x"]), {}, 1),
        (problem(422, "no_face"), lambda c: c.detect(b"x"), {}, 1),
        (problem(500, "internal_error"), lambda c: c.health(), {}, 1),
    ],
)
def test_only_what_may_be_is_made_again(
    first: httpx.Response | Exception, call: Callable[[Client], object], answer: dict[str, Any], tries: int
) -> None:
    script = Script(first, httpx.Response(200, json=answer))
    if tries == 1:
        with pytest.raises(VultusError):
            call(client(script))
    else:
        call(client(script))
    assert len(script.asked) == tries


def test_the_tries_of_one_enrolment_have_one_key_and_two_enrolments_two() -> None:
    cut = httpx.ReadError("cut")
    script = Script(cut, cut, *(httpx.Response(201, json=ENROLLED) for _ in range(3)))
    with client(script) as found:
        found.enrol("g", "s", [b"x", io.BytesIO(b"y")])
        found.enrol("g", "s", b"x")
        found.add("g", "s", b"x", idempotency_key="mine")
    keys = [r.headers["idempotency-key"] for r in script.asked]
    assert len(keys) == 5
    assert keys[0] == keys[1] == keys[2] != keys[3]
    assert keys[4] == "mine"
    assert script.asked[0].content.count(b'name="images"') == script.asked[2].content.count(b'name="images"') == 2
    assert b"y\r\n" in script.asked[2].content


def test_attempts_end_and_one_means_never() -> None:
    script = Script(*[OVERLOADED] * 9)
    with pytest.raises(Overloaded):
        client(script).health()
    assert len(script.asked) == 3
    with pytest.raises(Overloaded):
        client(script, Retries(attempts=1)).health()
    assert len(script.asked) == 4


@pytest.mark.parametrize("wait", ["11", "1e9", "nan", "inf"])
def test_a_long_wait_fails_at_once(wait: str) -> None:
    script = Script(problem(503, "overloaded", **{"Retry-After": wait}))
    with pytest.raises(Overloaded):
        client(script).health()
    assert len(script.asked) == 1


def test_a_lockout_is_not_hammered() -> None:
    script = Script(problem(429, "locked_out", **{"Retry-After": "0"}))
    with pytest.raises(LockedOut):
        client(script).health()
    assert len(script.asked) == 1


def test_waits_are_those_that_were_told(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    told = problem(429, "rate_limited", **{"Retry-After": "7"})
    script = Script(told, SLOW, SLOW, httpx.Response(200, json={"status": "ok"}))
    client(script, Retries(attempts=4, first_seconds=0.5)).health()
    assert slept[0] == 7
    assert 0 <= slept[1] <= 1
    assert 0 <= slept[2] <= 2


def test_waiting_for_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    states = ["waiting", "running", "done"]
    script = Script(*(httpx.Response(200, json=JOB | {"state": s}) for s in states))
    assert client(script).wait("0" * 16).state == "done"
    script = Script(*[httpx.Response(200, json=JOB | {"state": "running"})] * 2)
    with pytest.raises(DeadlineExceeded):
        client(script).wait("0" * 16, seconds=0.1, every=0.2)
    assert len(script.asked) == 1


def test_pages_follow_each_other() -> None:
    def page(ids: str, following: str | None) -> httpx.Response:
        made = {"name": None, "templates": 1, "created": "2030-01-01T00:00:00Z", "thumbnail": False}
        return httpx.Response(200, json={"subjects": [{"subject_id": i, **made} for i in ids], "next": following})

    script = Script(page("ab", "b"), page("c", None))
    assert [s.subject_id for s in client(script).every_subject("g")] == ["a", "b", "c"]
    assert [r.url.params.get("after") for r in script.asked] == [None, "b"]


@pytest.mark.parametrize(
    "url",
    ["", "faces", "ftp://a", "http://", "http://example.org", "http://10.0.0.1:8000", "http://u:p@localhost",
     "http://localhost?x=1", "http://localhost#x", "http://[::2]", "http://localhost.example.org", "http://\0"],
)  # fmt: skip
def test_addresses_that_are_refused(url: str) -> None:
    with pytest.raises(BadArgument):
        Client(url, key="vk_1")


@pytest.mark.parametrize(
    "url", ["https://example.org", "http://localhost:1", "http://127.0.0.2", "http://[::1]:8000", "https://a.b/prefix"]
)
def test_addresses_that_are_taken(url: str) -> None:
    Client(url, key="vk_1").close()


def test_insecure_is_a_word_of_its_own() -> None:
    Client("http://10.0.0.1", key="vk_1", insecure=True).close()


@pytest.mark.parametrize("key", ["", " vk", "vk\n", "vk\r\nX: y", "ключ"])
def test_keys_that_are_none(key: str) -> None:
    with pytest.raises(BadArgument, match="key"):
        Client("http://localhost", key=key)


def test_a_key_is_not_shown() -> None:
    assert repr(Client("http://localhost", key="vk_secret")) == "Client('http://localhost')"


def test_a_redirect_is_not_followed_with_the_key() -> None:
    script = Script(httpx.Response(307, headers={"Location": "https://evil.example/"}))
    with pytest.raises(BadAnswer):
        client(script).health()
    assert len(script.asked) == 1


@pytest.mark.parametrize(
    "numbers", [{"attempts": 0}, {"first_seconds": -1}, {"longest_seconds": float("nan")}, {"first_seconds": 4000}]
)
def test_retries_in_range(numbers: dict[str, Any]) -> None:
    with pytest.raises(BadArgument):
        Retries(**numbers)


def test_pictures_of_every_kind(tmp_path: Path) -> None:
    path = tmp_path / "a secret name.jpg"
    path.write_bytes(b"content")
    answer = {"model": "m", "width": 1, "height": 1, "faces": []}
    kinds = [b"content", bytearray(b"content"), memoryview(b"content"), path, str(path), io.BytesIO(b"content")]
    script = Script(*(httpx.Response(200, json=answer) for _ in kinds))
    for kind in kinds:
        client(script).detect(kind)  # type: ignore[arg-type]
    for request in script.asked:
        assert b"\r\n\r\ncontent\r\n" in request.content
        assert b"secret" not in request.content


@pytest.mark.parametrize(
    ("picture", "kind"),
    [(1, BadArgument), (io.StringIO("x"), BadArgument), ("/nowhere", SourceUnavailable), ("\0", SourceUnavailable)],
)
def test_pictures_that_are_none(picture: Any, kind: type[VultusError]) -> None:
    script = Script()
    with pytest.raises(kind):
        client(script).detect(picture)
    with pytest.raises(BadArgument):
        client(script).enrol("g", "s", [])
    with pytest.raises(BadArgument):
        client(script).cluster("g", [])
    with pytest.raises(BadArgument, match="time zone"):
        client(script).enrol("g", "s", b"x", expires=datetime(2030, 1, 1))
    assert script.asked == []


@pytest.mark.parametrize(
    ("text", "encoded"),
    [("a b", "a%20b"), ("..", "%2E%2E"), (".", "%2E"), ("a/../b", "a%2F..%2Fb"), ("é", "%C3%A9"),
     ("%2F", "%252F"), ("?#", "%3F%23")],
)  # fmt: skip
def test_names_stay_one_segment(text: str, encoded: str) -> None:
    assert segment(text) == encoded


def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (
        pytest.raises(ServiceUnreachable, match="no answer") as found,
        Client(f"http://127.0.0.1:{port}", retries=QUICK) as c,
    ):
        c.health()
    assert isinstance(found.value, OSError)
    assert found.value.request_id is None


def test_a_silent_server_times_out() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ServiceUnreachable, match="Timeout"), Client(url, timeout=0.1, retries=Retries(1)) as c:
            c.health()


def test_an_answer_that_breaks_off_is_asked_for_again() -> None:
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = b'{"status": "ok"}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[:5] if len(asked) == 1 else body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with Client(f"http://127.0.0.1:{server.server_port}", retries=QUICK) as c:
            assert c.health().status == "ok"
        server.shutdown()
        thread.join()
    assert len(asked) == 2


def test_no_face_is_the_librarys() -> None:
    with pytest.raises(NoFace) as found:
        client(Script(problem(422, "no_face"))).detect(b"x")
    assert found.value.request_id == "abc"
