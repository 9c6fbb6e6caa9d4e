"""What a caller is told when something is refused or fails: problem documents (RFC 9457) with the library's codes."""

from __future__ import annotations

import http
import logging
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from vultus import errors
from vultus.errors import VultusError

MEDIA = "application/problem+json"
_log = logging.getLogger("vultus.service")

# The first class that an error is an instance of decides.
STATUS: tuple[tuple[type[VultusError], int], ...] = (
    (errors.ImageTooLarge, 413),
    (errors.UnsupportedImage, 415),
    (errors.ImageError, 422),
    (errors.NoFace, 422),
    (errors.ManyFaces, 409),
    (errors.FaceError, 422),
    (errors.ModelMismatch, 409),
    (errors.NoThreshold, 422),
    (errors.TooFewComparisons, 422),
    (errors.BadTemplate, 422),
    (errors.GalleryMissing, 404),
    (errors.SubjectUnknown, 404),
    (errors.SubjectExists, 409),
    (errors.RequestConflict, 409),
    (errors.ArchiveRefused, 422),
    (errors.GalleryFull, 507),
    (errors.GalleryBusy, 503),
    (errors.GalleryReadOnly, 503),
    (errors.GalleryUnavailable, 503),
    (errors.GalleryCorrupt, 503),
    (errors.GalleryLocked, 503),
    (errors.BadRequest, 400),
    (errors.RequestTooLarge, 413),
    (errors.RequestTooSlow, 408),
    (errors.UnsupportedBody, 415),
    (errors.NotAuthenticated, 401),
    (errors.NotAllowed, 403),
    (errors.LockedOut, 429),
    (errors.RateLimited, 429),
    (errors.Overloaded, 503),
    (errors.DeadlineExceeded, 503),
    (errors.NotReady, 503),
    (errors.NotFound, 404),
    (errors.GalleryExists, 409),
    (errors.StateConflict, 409),
    (errors.AuditUnavailable, 503),
    (errors.AuditBroken, 503),
    (errors.FetchRefused, 422),
    (errors.BadArgument, 422),
)
RETRY = 1
_BY_HTTP = {404: "not_found", 405: "method_not_allowed", 400: "bad_request", 401: "not_authenticated"}


def status_of(problem: VultusError) -> int:
    """The HTTP status of a deliberate error; 500 for one that no request should cause."""
    return next((status for kind, status in STATUS if isinstance(problem, kind)), 500)


def document(
    status: int,
    code: str,
    detail: str,
    *,
    request: Request | None = None,
    headers: dict[str, str] | None = None,
    **more: Any,
) -> Response:
    """A problem document.

    Args:
        status: of HTTP.
        code: stable, the library's own.
        detail: for people to read.
        request: what it answers, for its id.
        headers: to send besides.
        more: further members.
    """
    body = {
        "type": "about:blank",
        "title": http.HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
    }
    if request is not None:
        body["request_id"] = request.scope.get("request_id", "")
    return JSONResponse(body | more, status, headers, media_type=MEDIA)


def of_error(problem: VultusError, request: Request | None = None) -> Response:
    """The problem document of a deliberate error."""
    status = status_of(problem)
    if status == 500:
        _log.error("internal error", extra={"code": problem.code, "kind": type(problem).__name__})
        return internal(request)
    headers = {}
    if status in (429, 503):
        headers["Retry-After"] = str(int(getattr(problem, "retry_after", RETRY)) or RETRY)
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if status in (408, 413) and not isinstance(problem, errors.ImageError):
        headers["Connection"] = "close"
    return document(status, problem.code, _said(problem), request=request, headers=headers)


def _said(problem: VultusError) -> str:
    """The message, without the place of a file: callers know galleries by name."""
    if isinstance(problem, errors.GalleryError) and not isinstance(
        problem, errors.SubjectExists | errors.SubjectUnknown | errors.RequestConflict
    ):
        return (type(problem).__doc__ or "").strip().splitlines()[0]
    if isinstance(problem, errors.SubjectUnknown):
        return "no such subject is enrolled in this gallery"
    if isinstance(problem, errors.SubjectExists):
        return "a subject of this id is enrolled already; add photos to it, or choose another id"
    if isinstance(problem, errors.RequestConflict):
        return "this idempotency key was used before for another request; use a new one"
    return str(problem)


def internal(request: Request | None = None) -> Response:
    """What is said of a fault of the service: nothing but the request's id."""
    return document(500, "internal_error", "the service failed; the log names this request", request=request)


def register(app: FastAPI, routes: Sequence[APIRoute]) -> None:
    """Let every error of an application become a problem document.

    Args:
        app: the application.
        routes: of it, which say what methods an address has.
    """

    @app.exception_handler(VultusError)
    async def _deliberate(request: Request, problem: VultusError) -> Response:
        return of_error(problem, request)

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, problem: RequestValidationError) -> Response:
        return document(422, "bad_argument", told(problem.errors()), request=request)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, problem: HTTPException) -> Response:
        headers, status, detail = dict(problem.headers or {}), problem.status_code, str(problem.detail)
        methods = _methods(routes, request.scope["path"])
        if status in (404, 405) and methods and request.method not in methods:
            # the page answers for all addresses, and would say that there is no such file
            headers["Allow"] = ", ".join(methods)
            status, detail = 405, "Method Not Allowed"
        code = _BY_HTTP.get(status, "error")
        return document(status, code, detail, request=request, headers=headers)

    @app.exception_handler(Exception)
    async def _fault(request: Request, _: Exception) -> Response:
        return internal(request)


def _methods(routes: Sequence[APIRoute], path: str) -> list[str]:
    """What an address can be asked with; where none is known the page's own answer stands."""
    return sorted({m for route in routes if route.path_regex.match(path) for m in route.methods or ()})


def told(found: Any) -> str:
    """Validation errors in words: where and what, never the value, which may be biometric."""
    lines = [f"{'.'.join(str(p) for p in e['loc'])}: {e['msg']}" for e in list(found)[:5]]
    return "; ".join(lines)


def _schema() -> dict[str, Any]:
    text = {"type": "string"}
    return {
        "type": "object",
        "required": ["type", "title", "status", "code", "detail"],
        "properties": {
            "type": text,
            "title": text,
            "status": {"type": "integer"},
            "code": text,
            "detail": text,
            "request_id": text,
        },
    }


def responses(*extra: int) -> dict[int | str, dict[str, Any]]:
    """What every route may answer besides its result, for the contract."""
    known = sorted({400, 401, 403, 404, 405, 408, 409, 413, 415, 422, 429, 500, 503, 507, *extra})
    return {
        s: {
            "description": http.HTTPStatus(s).phrase,
            "content": {MEDIA: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for s in known
    }


PROBLEM_SCHEMA = _schema()
