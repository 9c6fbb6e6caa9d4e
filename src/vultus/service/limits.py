"""Caps on what a client sends: the size of a body while it streams, and the time that it may take."""

from __future__ import annotations

import asyncio
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vultus.errors import RequestTooLarge, RequestTooSlow


class BodyLimits:
    """Refuses a body that is too large, by its stated length or as it streams, or that comes too slowly.

    Args:
        app: what the request goes to.
        most: bytes.
        seconds: from the first question for the body to its end.
    """

    def __init__(self, app: ASGIApp, *, most: int, seconds: float) -> None:
        self._app, self._most, self._seconds = app, most, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        stated = next((v for k, v in scope["headers"] if k == b"content-length"), b"0")
        too_long = stated.isdigit() and int(stated[:20]) > self._most
        seen, ended = 0, False
        until: float | None = None

        async def bounded() -> Message:
            nonlocal seen, until, ended
            if ended:
                return await receive()
            if too_long:
                raise RequestTooLarge(f"the body has more than {self._most:,} bytes")
            until = time.monotonic() + self._seconds if until is None else until
            try:
                async with asyncio.timeout(until - time.monotonic()):
                    message = await receive()
            except TimeoutError:
                raise RequestTooSlow(f"the body did not arrive within {self._seconds:g} s") from None
            seen += len(message.get("body", b""))
            ended = not message.get("more_body", False)
            if seen > self._most:
                raise RequestTooLarge(f"the body has more than {self._most:,} bytes")
            return message

        await self._app(scope, bounded, send)
