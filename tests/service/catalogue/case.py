"""One bad request, and what it must get."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

BOUNDARY = "------------------------catalogue"
Expected = tuple[int, str | None]


@dataclass(frozen=True, slots=True)
class Case:
    """One bad request.

    Args:
        name: what is bad about it.
        expected: status and code; a code of None for what is refused before it is a request.
        method, path: as they are sent; `{gallery}` stands for one that is there.
        content: the body.
        headers: besides Host, Authorization and Content-Length; None as a value leaves a usual one out.
        wire: bytes for the socket in place of all these; `{key}` stands for the key.
        chunks: the body in pieces, without a stated length.
    """

    name: str
    expected: Expected
    method: str = "POST"
    path: str = "/v1/detect"
    content: bytes = b""
    headers: dict[str, str | None] = field(default_factory=dict)
    wire: bytes | None = None
    chunks: Sequence[bytes] = ()


Maker = Callable[[], Iterable[Case]]
CLASSES: dict[str, Maker] = {}


def kind(name: str) -> Callable[[Maker], Maker]:
    """Register a class of cases."""

    def register(maker: Maker) -> Maker:
        assert name not in CLASSES
        CLASSES[name] = maker
        return maker

    return register


def in_json(body: Any, expected: Expected, name: str, path: str = "/v1/detect", method: str = "POST") -> Case:
    """A body of JSON: bytes as they are, anything else encoded."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Case(name, expected, method, path, content, {"Content-Type": "application/json"})


def form(parts: Sequence[tuple[str, bytes | str]], *, filename: str = "a.jpg", mime: str = "image/jpeg") -> bytes:
    """A multipart body: bytes are files, text is fields."""
    out = b""
    for name, value in parts:
        out += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"'.encode()
        if isinstance(value, bytes):
            out += f'; filename="{filename}"\r\nContent-Type: {mime}\r\n\r\n'.encode() + value
        else:
            out += b"\r\n\r\n" + value.encode("utf-8", "surrogatepass")
        out += b"\r\n"
    return out + f"--{BOUNDARY}--\r\n".encode()


def in_form(
    parts: Sequence[tuple[str, bytes | str]], expected: Expected, name: str, path: str = "/v1/detect", **how: str
) -> Case:
    """A body of a form."""
    return Case(name, expected, "POST", path, form(parts, **how), {"Content-Type": FORM})


def as_picture(contents: Iterable[tuple[str, bytes]], expected: Expected) -> Iterator[Case]:
    """Contents in place of a picture: in a form, in JSON, and to routes that take turns."""
    others = ("/v1/embed", "/v1/galleries/{gallery}/identify", "/v1/galleries/{gallery}/subjects")
    for number, (name, content) in enumerate(contents):
        if number % 3 == 2:
            text = base64.b64encode(content).decode()
            yield in_json({"image": text}, expected, f"{name}, in JSON")
            continue
        path = others[number // 3 % len(others)] if number % 3 == 1 else "/v1/detect"
        more = [("subject_id", "new")] if path.endswith("subjects") else []
        yield in_form([("image", content), *more], expected, name, path)


FORM = f"multipart/form-data; boundary={BOUNDARY}"
PARSE: Expected = (422, "parse_error")
UNSUPPORTED: Expected = (415, "unsupported")
TOO_LARGE: Expected = (413, "too_large")
ARGUMENT: Expected = (422, "bad_argument")
BAD: Expected = (400, "bad_request")
MEDIA: Expected = (415, "unsupported_body")
METHOD: Expected = (405, "method_not_allowed")
NOT_FOUND: Expected = (404, "not_found")
KEY: Expected = (401, "not_authenticated")
FORBIDDEN: Expected = (403, "not_allowed")
REFUSED: Expected = (400, None)
