"""The client against the service's OpenAPI document: every route, every field that is sent, every member of each answer."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import types
from collections.abc import Callable
from datetime import UTC, datetime
from email import message_from_bytes
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import httpx
import pytest

import vultus.client
from vultus.client import Address, Client
from vultus.service import Settings, create_app

# The page's own: a cookie is of no use to a client that has a key.
NOT_FOR_CLIENTS = {("GET", "/session"), ("POST", "/session"), ("DELETE", "/session")}
WHEN = datetime(2030, 1, 1, tzinfo=UTC)
FULL: dict[str, Any] = {"name": "N", "consent": "C", "expires": WHEN}
CALLS: dict[tuple[str, str], tuple[Callable[[Client], object], ...]] = {
    ("GET", "/healthz"): (lambda c: c.health(),),
    ("GET", "/readyz"): (lambda c: c.ready(),),
    ("GET", "/metrics"): (lambda c: c.metrics(),),
    ("POST", "/v1/detect"): (lambda c: c.detect(b"x", min_face=20), lambda c: c.detect(Address("https://a/b"))),
    ("POST", "/v1/embed"): (lambda c: c.embed(b"x", faces="all"), lambda c: c.embed(Address("https://a/b"))),
    ("POST", "/v1/verify"): (
        lambda c: c.verify(b"x", b"y", fmr=1e-3),
        lambda c: c.verify_subject("g", "s", Address("https://a/b")),
    ),
    ("GET", "/v1/galleries"): (lambda c: c.galleries(),),
    ("POST", "/v1/galleries"): (lambda c: c.create_gallery("g"),),
    ("GET", "/v1/galleries/{gallery}"): (lambda c: c.gallery("g"),),
    ("DELETE", "/v1/galleries/{gallery}"): (lambda c: c.delete_gallery("g"),),
    ("POST", "/v1/galleries/{gallery}/identify"): (
        lambda c: c.identify("g", b"x", max_rank=3, fpir=0.1),
        lambda c: c.identify("g", Address("https://a/b"), fmr=0.1),
    ),
    ("POST", "/v1/galleries/{gallery}/subjects"): (
        lambda c: c.enrol("g", "s", [b"x", b"y"], **FULL),
        lambda c: c.enrol("g", "s", Address("https://a/b")),
    ),
    ("GET", "/v1/galleries/{gallery}/subjects"): (lambda c: c.subjects("g", after="a", limit=3),),
    ("GET", "/v1/galleries/{gallery}/subjects/{subject_id}"): (lambda c: c.subject("g", "s"),),
    ("PATCH", "/v1/galleries/{gallery}/subjects/{subject_id}"): (lambda c: c.rename("g", "s", None),),
    ("DELETE", "/v1/galleries/{gallery}/subjects/{subject_id}"): (lambda c: c.delete_subject("g", "s"),),
    ("POST", "/v1/galleries/{gallery}/subjects/{subject_id}/templates"): (
        lambda c: c.add("g", "s", b"x", consent="C", expires=WHEN),
        lambda c: c.add("g", "s", Address("https://a/b")),
    ),
    ("POST", "/v1/galleries/{gallery}/subjects/{subject_id}/merge"): (lambda c: c.merge("g", "s", "t"),),
    ("GET", "/v1/galleries/{gallery}/subjects/{subject_id}/export"): (lambda c: c.export("g", "s"),),
    ("GET", "/v1/galleries/{gallery}/subjects/{subject_id}/thumbnail"): (lambda c: c.thumbnail("g", "s"),),
    ("POST", "/v1/galleries/{gallery}/cluster"): (lambda c: c.cluster("g", [b"x"], rate=0.02),),
    ("POST", "/v1/galleries/{gallery}/purge"): (lambda c: c.purge("g"),),
    ("GET", "/v1/jobs"): (lambda c: c.jobs(),),
    ("GET", "/v1/jobs/{job}"): (lambda c: c.job("0" * 16),),
    ("DELETE", "/v1/jobs/{job}"): (lambda c: c.cancel("0" * 16),),
    ("GET", "/v1/jobs/{job}/faces/{face}/thumbnail"): (lambda c: c.face_thumbnail("0" * 16, 2),),
    ("POST", "/v1/jobs/{job}/groups/{group}/enrol"): (lambda c: c.enrol_group("0" * 16, 1, "s", **FULL),),
    ("GET", "/v1/reviews"): (lambda c: c.reviews(state="open", limit=5),),
    ("GET", "/v1/reviews/{review}"): (lambda c: c.review("0" * 16),),
    ("GET", "/v1/reviews/{review}/picture"): (lambda c: c.review_picture("0" * 16),),
    ("POST", "/v1/reviews/{review}/decision"): (lambda c: c.decide("0" * 16, "same"),),
    ("GET", "/v1/audit"): (lambda c: c.audit(before=9, limit=5),),
    ("GET", "/v1/audit/verify"): (lambda c: c.verify_audit(),),
    ("GET", "/v1/keys"): (lambda c: c.keys(),),
    ("POST", "/v1/keys"): (lambda c: c.create_key("n", ["read"]),),
    ("DELETE", "/v1/keys/{key}"): (lambda c: c.revoke_key("0" * 12),),
}
# What a form cannot hold beside a file, or the client has no need to send: see `CALLS` for the rest.
NOT_SENT = {("POST", "/v1/galleries/{gallery}/subjects", "image"), (
    "POST", "/v1/galleries/{gallery}/subjects/{subject_id}/templates", "image",
)}  # fmt: skip


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    app = create_app(Settings(data=str(tmp_path_factory.mktemp("contract"))))
    found: dict[str, Any] = json.loads(json.dumps(app.openapi()))
    app.state.service.close()
    return found


def operations(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method.upper(), path): operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method != "parameters"
    }


def sample(schema: dict[str, Any], document: dict[str, Any]) -> Any:
    """The smallest value of a schema."""
    if "$ref" in schema:
        return sample(document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]], document)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return sample(schema["anyOf"][0], document)
    match schema.get("type"):
        case "object":
            return {k: sample(v, document) for k, v in schema.get("properties", {}).items()}
        case "array":
            several = schema.get("prefixItems", [schema["items"]] if "items" in schema else [])
            return [sample(s, document) for s in several]
        case "string":
            return "2030-01-01T00:00:00Z" if schema.get("format") == "date-time" else "text"
        case "integer" | "number":
            return 1
        case "boolean":
            return True
        case _:
            return None


class Recorder:
    """Answers as the document says, and keeps what was asked."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document, self.asked = document, list[httpx.Request]()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        operation = operations(self.document)[self.matched(request)]
        status, answer = next((s, a) for s, a in operation["responses"].items() if s.startswith("2"))
        content = answer.get("content", {}).get("application/json")
        if content is None:
            return httpx.Response(int(status), content=b"" if status == "204" else b"bytes")
        return httpx.Response(int(status), json=sample(content["schema"], self.document))

    def matched(self, request: httpx.Request) -> tuple[str, str]:
        path = request.url.raw_path.decode().partition("?")[0]
        fits = [
            (m, p)
            for m, p in operations(self.document)
            if m == request.method and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", p), path)
        ]
        return min(fits, key=lambda f: f[1].count("{"))


def sent(request: httpx.Request) -> set[str]:
    """Names of the fields of a body."""
    kind = request.headers.get("content-type", "")
    if kind == "application/json":
        return set(json.loads(request.content))
    if not kind:
        return set()
    message = message_from_bytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + request.content)
    return {str(p.get_param("name", header="content-disposition")) for p in message.get_payload()}  # type: ignore[union-attr]


def test_every_route_has_a_method(document: dict[str, Any]) -> None:
    assert set(CALLS) == set(operations(document)) - NOT_FOR_CLIENTS
    assert len(CALLS) == 36


@pytest.mark.parametrize("at", CALLS, ids=lambda a: f"{a[0]} {a[1]}")
def test_a_method_goes_to_its_route_with_every_field(document: dict[str, Any], at: tuple[str, str]) -> None:
    fields, query = set[str](), set[str]()
    operation = operations(document)[at]
    for call in CALLS[at]:
        recorder = Recorder(document)
        with Client("http://localhost", key="vk_x", http=httpx.MockTransport(recorder)) as client:
            answer = call(client)
        assert [recorder.matched(r) for r in recorder.asked] == [at]
        fields |= sent(recorder.asked[0])
        query |= set(recorder.asked[0].url.params)
        assert recorder.asked[0].headers["authorization"] == "Bearer vk_x"
        if dataclasses.is_dataclass(answer):
            schema = next(a for s, a in operation["responses"].items() if s.startswith("2"))
            name = schema["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[1]
            assert type(answer).__name__ == name
    content = operation.get("requestBody", {}).get("content", {})
    expected = {f for kind in content.values() for f in kind["schema"]["properties"]}
    assert fields == {f for f in expected if (*at, f) not in NOT_SENT}
    assert query == {p["name"] for p in operation.get("parameters", []) if p["in"] == "query"}


def shape(kind: Any) -> Any:
    """A Python type as plain data, to be compared with a schema."""
    origin, args = get_origin(kind), get_args(kind)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return kind.__name__
    if origin in (Union, types.UnionType):
        return frozenset(shape(a) for a in args)
    if origin is Literal:
        return args[0] if len(args) == 1 else frozenset(args)
    if origin is tuple:
        return ("list", shape(args[0])) if args[-1] is Ellipsis else ("row", *(shape(a) for a in args))
    if origin is dict:
        return "object"
    return {str: "string", int: "integer", float: "number", bool: "boolean", datetime: "date-time", type(None): "null"}[
        kind
    ]


def shape_of(schema: dict[str, Any]) -> Any:
    """A schema in the same form."""
    if "$ref" in schema:
        return schema["$ref"].rsplit("/", 1)[1]
    if "anyOf" in schema:
        return frozenset(shape_of(s) for s in schema["anyOf"])
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return frozenset(schema["enum"])
    if "prefixItems" in schema:
        return ("row", *(shape_of(s) for s in schema["prefixItems"]))
    if schema["type"] == "array":
        return ("list", shape_of(schema["items"]))
    return schema["format"] if schema.get("format") == "date-time" else schema["type"]


ANSWERS = [n for n in vultus.client.__all__ if n not in {"Address", "Client", "Retries"}]


@pytest.mark.parametrize("name", ANSWERS)
def test_every_member_of_an_answer_has_the_type_of_the_document(document: dict[str, Any], name: str) -> None:
    kind, schema = getattr(vultus.client, name), document["components"]["schemas"][name]
    hints = get_type_hints(kind)
    assert {f: shape(t) for f, t in hints.items()} == {f: shape_of(s) for f, s in schema["properties"].items()}
    must = {f.name for f in dataclasses.fields(kind) if f.default is dataclasses.MISSING}
    assert must == set(schema.get("required", []))


def test_the_client_has_every_shape(document: dict[str, Any]) -> None:
    framework = {"HTTPValidationError", "ValidationError", "Problem", "SessionAnswer"}
    assert set(document["components"]["schemas"]) - framework == set(ANSWERS)
    assert len(ANSWERS) == 32


def test_every_public_method_is_called_above() -> None:
    code = Path(__file__).read_text(encoding="utf-8")
    public = {n for n, _ in inspect.getmembers(Client, inspect.isfunction) if not n.startswith("_")}
    derived = {"close", "every_subject", "wait"}  # made of others
    assert {n for n in public if f"c.{n}(" not in code} == derived
