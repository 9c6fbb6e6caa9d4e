"""Keys, scopes, the page's session, rate limits and lockout."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.service.conftest import Running, serving

from vultus.errors import BadArgument, NotAuthenticated, StateConflict
from vultus.service import Settings
from vultus.service.keys import SCOPES, Keys
from vultus.service.state import State

OPEN = {"/healthz", "/readyz", "/session"}


def routes(running: Running) -> list[tuple[str, str]]:
    """(method, address) of every route that wants a key."""
    fill = {"gallery": "nothing", "subject_id": "x", "job": "0" * 16, "review": "0" * 16, "key": "0" * 12}
    found = []
    for path, item in running.client.get("/openapi.json").json()["paths"].items():
        if path not in OPEN:
            at = path.format(**fill, face=0, group=0)
            found += [(method.upper(), at) for method in item if method != "parameters"]
    return found


def test_every_route_wants_a_key(running: Running) -> None:
    found = routes(running)
    assert len(found) == 34
    with running.anonymous() as client:
        for method, at in found:
            answer = client.request(method, at)
            assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated"), (method, at)
            assert answer.headers["www-authenticate"] == "Bearer"
            for wrong in ("Bearer nonsense", "Basic eDp5", "Bearer vk_0_0", "Bearer " + running.key[:-1]):
                assert client.request(method, at, headers={"Authorization": wrong}).status_code == 401


def test_every_route_wants_a_scope(running: Running) -> None:
    """No route opens to all keys: for each there is a single scope that is refused."""
    clients = {scope: running.with_key(scope) for scope in SCOPES}
    for method, at in routes(running):
        refused = {s for s, c in clients.items() if c.request(method, at).status_code == 403}
        assert len(refused) >= 3, (method, at, refused)
        assert refused < set(SCOPES), (method, at)
    for scope, expected in (("read", 403), ("admin", 200)):
        assert clients[scope].get("/v1/audit").status_code == expected
    for client in clients.values():
        client.close()


def test_keys_over_http(running: Running) -> None:
    made = running.client.post("/v1/keys", json={"name": "door", "scopes": ["identify"]})
    assert made.status_code == 201
    key = made.json()
    listed = running.client.get("/v1/keys").json()["keys"]
    assert key["key_id"] in [k["key_id"] for k in listed]
    assert not any("key" in k for k in listed)
    with running.anonymous() as client:
        client.headers["Authorization"] = f"Bearer {key['key']}"
        assert client.get("/v1/reviews").status_code == 200
        assert running.client.delete(f"/v1/keys/{key['key_id']}").json()["revoked"]
        assert client.get("/v1/reviews").status_code == 401
    assert running.client.delete("/v1/keys/" + "0" * 12).status_code == 404
    assert running.client.post("/v1/keys", json={"name": "x", "scopes": ["root"]}).status_code == 422


def test_a_key_is_kept_as_a_digest(tmp_path: Path) -> None:
    state = State(tmp_path, None)
    keys = Keys(state)
    key, text = keys.create("ada", ["read"])
    assert keys.check(text) == key
    state.erase()
    kept = b"".join(p.read_bytes() for p in tmp_path.iterdir())
    assert key.key_id.encode() in kept
    assert text.rpartition("_")[2].encode() not in kept
    assert (tmp_path / "service.db").stat().st_mode & 0o077 == 0
    for wrong in ("", text + "x", text.replace("vk_", "xx_"), text[:-1], "vk__", "\ud800"):
        with pytest.raises(NotAuthenticated):
            keys.check(wrong)
    with pytest.raises(BadArgument):
        keys.create("ada", ["everything"])
    with pytest.raises(BadArgument):
        keys.create("ada", [])
    state.close()


def test_the_last_administrator_stays(tmp_path: Path) -> None:
    state = State(tmp_path, None)
    keys = Keys(state)
    first, _ = keys.create("one", ["admin"])
    with pytest.raises(StateConflict):
        keys.revoke(first.key_id)
    keys.create("two", ["admin"])
    assert keys.revoke(first.key_id).revoked is not None
    assert keys.revoke(first.key_id).revoked == keys.get(first.key_id).revoked
    state.close()


def test_the_session_of_the_page(running: Running) -> None:
    with running.anonymous() as page:
        origin = {"Origin": running.url}
        assert page.post("/session", json={"key": running.key}).status_code == 403  # no Origin
        assert page.post("/session", json={"key": running.key}, headers={"Origin": "https://evil"}).status_code == 403
        assert page.post("/session", json={"key": "vk_a_b"}, headers=origin).status_code == 401
        started = page.post("/session", json={"key": running.key}, headers=origin)
        cookie = started.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert running.key not in cookie
        token = {"X-CSRF-Token": started.json()["csrf"]}
        assert page.get("/session").json() == started.json()
        assert page.get("/v1/galleries").status_code == 200
        body = {"name": "by-page"}
        for headers in ({}, origin, token, {**token, "Origin": "https://evil"}, {**origin, "X-CSRF-Token": "x"}):
            assert page.post("/v1/galleries", json=body, headers=headers).status_code == 403
        both = origin | token
        assert (
            page.post("/v1/galleries", json=body, headers={**both, "Sec-Fetch-Site": "cross-site"}).status_code == 403
        )
        assert page.post("/v1/galleries", json=body, headers=both).status_code == 201
        assert page.delete("/v1/galleries/by-page", headers=both).status_code == 200
        assert page.delete("/session", headers=both).status_code == 204
        page.cookies.set("vultus_session", cookie.partition("=")[2].partition(";")[0])
        assert page.get("/v1/galleries").status_code == 401


def test_no_other_site_is_let_in(running: Running) -> None:
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    found = running.client.options("/v1/galleries", headers=asked)
    assert found.status_code == 405
    answer = running.client.get("/v1/galleries", headers={"Origin": "https://evil.example"})
    assert not [h for h in answer.headers if h.startswith("access-control")]


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("strict")
    yield from serving(
        Settings(data=str(folder), threads=1, requests_per_second=0.01, burst=30, attempts=3, lockout_seconds=600)
    )


def test_guessing_and_haste_are_answered_429(strict: Running, collins: bytes, hopper_file: bytes) -> None:
    strict.client.post("/v1/galleries", json={"name": "g"})
    strict.client.post("/v1/galleries/g/subjects", files={"image": collins}, data={"subject_id": "ada"})
    claim = {"gallery": "g", "subject_id": "ada"}
    for _ in range(3):
        assert strict.client.post("/v1/verify", files={"image": hopper_file}, data=claim).status_code == 200
    locked = strict.client.post("/v1/verify", files={"image": collins}, data=claim)
    assert (locked.status_code, locked.json()["code"]) == (429, "locked_out")
    assert 1 <= int(locked.headers["retry-after"]) <= 600
    with strict.anonymous() as guess:
        wrong = {"Authorization": "Bearer vk_00_00"}
        found = [guess.get("/v1/keys", headers=wrong) for _ in range(4)]
        assert [f.status_code for f in found] == [401, 401, 401, 429]
        assert found[-1].json()["code"] == "locked_out"
    codes = [strict.client.get("/v1/keys") for _ in range(40)]
    assert codes[0].status_code == 200
    assert codes[-1].json()["code"] == "rate_limited"
    assert int(codes[-1].headers["retry-after"]) >= 1


def test_operation_names_are_unique(running: Running) -> None:
    paths = running.client.get("/openapi.json").json()["paths"]
    names = [operation["operationId"] for item in paths.values() for operation in item.values()]
    assert len(names) == len(set(names)) == 39
    assert {"photos_verify", "subjects_enrol", "galleries_identify"} <= set(names)


def test_a_method_that_an_address_does_not_have(running: Running) -> None:
    for at, allowed in (("/v1/verify", "POST"), ("/v1/galleries", "GET, POST"), ("/v1/galleries/a", "DELETE, GET")):
        found = running.client.request("PUT" if at != "/v1/verify" else "GET", at)
        assert (found.status_code, found.json()["code"]) == (405, "method_not_allowed")
        assert found.headers["allow"] == allowed
