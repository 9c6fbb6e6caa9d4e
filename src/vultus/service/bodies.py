"""What a request carries: a form with files, or JSON with base64, as one checked shape."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, TypeVar, get_args, get_origin

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from vultus.errors import BadArgument, BadRequest, UnsupportedBody, VultusError

_M = TypeVar("_M", bound=BaseModel)
JSON, FORM = "application/json", "multipart/form-data"
_REPLACED = {"type": "string", "format": "binary"}


class _InMemory(MultiPartParser):
    """Files of a form stay in memory, which the cap on bodies bounds: no photo touches a disk."""

    spool_max_size = 1 << 40
    ended = False

    def on_end(self) -> None:
        """The last boundary has come."""
        self.ended = True

    async def parse(self) -> FormData:
        """The form; one that breaks off before its last boundary is refused, since something may be missing."""
        self.stream = self._whole(self.stream)
        return await super().parse()

    async def _whole(self, stream: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        async for part in stream:
            yield part
        if not self.ended:
            raise MultiPartException("it breaks off before its last boundary")


async def read_body(request: Request, shape: type[_M], *, forms: bool = True) -> _M:
    """The body as a shape.

    Args:
        request: with a body that is not read yet.
        shape: what it must be.
        forms: whether a form is taken besides JSON.

    Raises:
        UnsupportedBody: it is neither.
        BadRequest: it cannot be parsed.
        RequestTooLarge, RequestTooSlow: it is over a cap.
        RequestValidationError: it is not of the shape.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == JSON:
        content = await request.body()
        try:
            return shape.model_validate_json(content, strict=True)
        except ValidationError as problem:
            raise _invalid(problem) from None
    if kind == FORM and forms:
        try:
            return shape.model_validate(await _form(request, shape), strict=False)
        except ValidationError as problem:
            raise _invalid(problem) from None
    expected = f"{JSON} or {FORM}" if forms else JSON
    raise UnsupportedBody(f"a body of {kind[:100] or 'no media type'!r}; expected {expected}")


async def _form(request: Request, shape: type[BaseModel]) -> dict[str, Any]:
    settings = request.app.state.service.settings
    many = {n for n, f in shape.model_fields.items() if get_origin(f.annotation) is list}
    files = {n for n, f in shape.model_fields.items() if _holds_bytes(f.annotation)}
    found: dict[str, Any] = {}
    parser = _InMemory(
        Headers(scope=request.scope),
        _stream(request),
        max_files=settings.max_parts,
        max_fields=settings.max_parts,
        max_part_size=settings.max_field_bytes,
    )
    try:
        form = await parser.parse()
    except VultusError:
        raise
    except (MultiPartException, LookupError, ValueError) as problem:
        words = problem.message if isinstance(problem, MultiPartException) else "its parts cannot be told apart"
        raise BadRequest(f"the form cannot be parsed: {words}") from problem
    async with _Closing(form):
        for name, part in form.multi_items():
            value = await part.read() if isinstance(part, UploadFile) else part
            if name in files and isinstance(value, str):
                raise BadArgument("a picture came as text; in a form it must be a file, with a file name")
            if name in many:
                found.setdefault(name, []).append(value)
            elif name in found:
                raise BadRequest("the form has a field twice that may stand once")
            else:
                found[name] = value
    return found


def _holds_bytes(annotation: object) -> bool:
    """Whether a field is a picture, several, or perhaps one."""
    return annotation is bytes or any(_holds_bytes(part) for part in get_args(annotation))


class _Closing:
    """Closes the files of a form."""

    def __init__(self, form: Any) -> None:
        self._form = form

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, *_: object) -> None:
        await self._form.close()


async def _stream(request: Request) -> AsyncGenerator[bytes, None]:
    async for part in request.stream():
        yield part


def _invalid(problem: ValidationError) -> RequestValidationError:
    found = problem.errors(include_url=False, include_context=False, include_input=False)
    return RequestValidationError([{**e, "loc": ("body", *e["loc"])} for e in found])


def contract(shape: type[BaseModel], *, forms: bool = True) -> dict[str, Any]:
    """What OpenAPI says of a body that `read_body` reads."""
    schema = shape.model_json_schema(ref_template="#/components/schemas/{model}")
    content: dict[str, Any] = {JSON: {"schema": schema}}
    if forms:
        properties = {name: _in_form(schema["properties"][name]) for name in shape.model_fields}
        form = {**schema, "properties": properties}
        content = {FORM: {"schema": form}, **content}
    return {"requestBody": {"required": True, "content": content}}


def _in_form(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a form's part: files in place of base64, and nothing that is null."""
    if "anyOf" in schema:
        kept = [s for s in schema["anyOf"] if s.get("type") != "null"]
        schema = {**{k: v for k, v in schema.items() if k not in {"anyOf", "default"}}, **kept[0]}
    if schema.get("format") == "byte":
        return _REPLACED
    if schema.get("type") == "array" and schema["items"].get("format") == "byte":
        return {**schema, "items": _REPLACED}
    return schema
