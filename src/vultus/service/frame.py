"""What surrounds every request: an id, headers that keep browsers safe, a line in the log and the counters."""

from __future__ import annotations

import logging
import secrets
import time
from urllib.parse import quote, unquote_to_bytes

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vultus.errors import BadRequest
from vultus.service.metrics import Metrics
from vultus.service.problems import internal, of_error

_log = logging.getLogger("vultus.service.access")

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(self), microphone=(), geolocation=()"),
)
_GONE = 499  # the client left before there was an answer; stands in the log and the counters only
_LASTING = (b"strict-transport-security", b"max-age=31536000")


class Frame:
    """The outermost layer of the service.

    Args:
        app: what the request goes to.
        metrics: counts it.
        tls: whether the service itself speaks TLS.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics, tls: bool) -> None:
        self._app, self._metrics = app, metrics
        self._headers = (*HEADERS, _LASTING) if tls else HEADERS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = scope["request_id"] = secrets.token_hex(8)
        began, status = time.perf_counter(), 0

        async def framed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                have = {k.lower() for k, _ in message["headers"]}
                extra = [(k, v) for k, v in self._headers if k not in have]
                if b"cache-control" not in have:
                    extra.append((b"cache-control", b"no-store"))
                message = {**message, "headers": [*message["headers"], *extra, (b"x-request-id", request_id.encode())]}
            await send(message)

        try:
            scope["path"] = kept_segments(scope)
            await self._app(scope, receive, framed)
        except ClientDisconnect:
            status = status or _GONE
        except BadRequest as problem:
            if status:
                raise
            await of_error(problem, Request(scope))(scope, receive, framed)
        except Exception as problem:  # noqa: BLE001 - a fault of any kind is told as one, and noted without its message
            _log.error("fault", extra={"request": request_id, "kind": type(problem).__name__, "at": _place(problem)})
            if not status:
                await internal()(scope, receive, framed)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            seconds = time.perf_counter() - began
            self._metrics.requests.labels(route, _method(scope), str(status)).inc()
            self._metrics.seconds.labels(route).observe(seconds)
            _log.info(
                "request",
                extra={
                    "request": request_id,
                    "method": _method(scope),
                    "route": route,
                    "status": status,
                    "milliseconds": round(1000 * seconds, 1),
                },
            )


def kept_segments(scope: Scope) -> str:
    """The path, decoded but for slashes and percent signs inside its segments, so that no id becomes a path.

    Raises:
        BadRequest: it is not UTF-8.
    """
    raw: bytes | None = scope.get("raw_path")
    if raw is None:
        return str(scope["path"])
    parts = []
    for segment in raw.partition(b"?")[0].split(b"/"):
        try:
            text = unquote_to_bytes(segment).decode("utf-8")
        except UnicodeDecodeError:
            raise BadRequest("the address is not UTF-8; percent-encode it") from None
        parts.append(text.replace("%", quote("%")).replace("/", quote("/", safe="")))
    return "/".join(parts)


def _method(scope: Scope) -> str:
    method = str(scope["method"])
    return method if method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} else "other"


def _place(problem: BaseException) -> str:
    """Module and line where it was raised; no message, which may hold data."""
    trace = problem.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f"{trace.tb_frame.f_globals.get('__name__', '')}:{trace.tb_lineno}"
