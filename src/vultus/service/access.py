"""Who asks, and may he? A key in the Authorization header, or the page's cookie with its token."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, cast

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer

from vultus.errors import NotAllowed, NotAuthenticated
from vultus.service.core import Service
from vultus.service.keys import ApiKey
from vultus.service.sessions import COOKIE, TOKEN, fits

_SAFE = {"GET", "HEAD"}
_bearer = HTTPBearer(auto_error=False, scheme_name="key", description="An API key.")
_cookie = APIKeyCookie(name=COOKIE, auto_error=False, scheme_name="session", description="The page's session.")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Args:
        key: the key, or that of the session.
        request_id: of this request.
    """

    key: ApiKey
    request_id: str

    def may(self, scope: str) -> bool:
        """Whether the key has a scope."""
        return scope in self.key.scopes

    @property
    def facts(self) -> dict[str, str]:
        """Who and which request, for the audit log."""
        return {"key": self.key.key_id, "request": self.request_id}


def service_of(request: Request) -> Service:
    """The service that a request came to."""
    return cast("Service", request.app.state.service)


def authenticated(request: Request) -> Caller:
    """The caller of a request.

    Raises:
        NotAuthenticated: no key and no session, or one that is not valid.
        NotAllowed: a session's request comes from another site, or lacks its token.
        LockedOut, RateLimited: too many failures, or too many requests.
    """
    service = service_of(request)
    header, cookie = request.headers.get("authorization"), request.cookies.get(COOKIE)
    if header is not None:
        key = checked_key(request, header)
    elif cookie is not None:
        key = _of_session(request, cookie)
    else:
        raise NotAuthenticated("no key was sent; expected the header Authorization: Bearer KEY")
    service.bucket.take(key.key_id)
    return Caller(key, request.scope.get("request_id", ""))


def checked_key(request: Request, header: str) -> ApiKey:
    """The key of an Authorization header; failures count by address.

    Raises:
        NotAuthenticated: it is not valid.
        LockedOut: too many were not.
    """
    service = service_of(request)
    address = f"address:{request.client.host if request.client else ''}"
    kind, _, text = header.partition(" ")
    try:
        if kind.lower() != "bearer":
            raise NotAuthenticated("expected the header Authorization: Bearer KEY")
        key = service.keys.check(text.strip())
    except NotAuthenticated:
        service.attempts.check(address)
        service.attempts.failed(address)
        raise
    return key


def _of_session(request: Request, cookie: str) -> ApiKey:
    service = service_of(request)
    session = service.sessions.get(cookie)
    if request.method not in _SAFE:
        same_origin(request)
        if not fits(session, request.headers.get(TOKEN)):
            raise NotAllowed(f"the request lacks the session's token; expected the header {TOKEN}")
    key = service.keys.get(session.key_id)
    if key.revoked is not None:
        service.sessions.end(cookie)
        raise NotAuthenticated("the session's key was revoked; sign in with another")
    return key


def same_origin(request: Request) -> None:
    """Refuse what a browser sends for a page of another site.

    Raises:
        NotAllowed: the Origin, or Sec-Fetch-Site, is another's.
    """
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
    # the host alone: something in front of the service may have the TLS
    host = request.headers.get("host", "")
    if (origin is not None and origin not in {f"http://{host}", f"https://{host}"}) or site in {
        "cross-site",
        "same-site",
    }:
        raise NotAllowed("the request comes from another site")
    if origin is None and site is None:
        raise NotAllowed("the request names no Origin; a browser does")


def needs(*scopes: str) -> Any:
    """A dependency: the caller has one of the scopes."""

    async def check(
        request: Request,
        _key: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)] = None,
        _session: Annotated[str | None, Security(_cookie)] = None,
    ) -> Caller:
        caller = authenticated(request)
        if not caller.key.scopes.intersection(scopes):
            raise NotAllowed(f"the key lacks the scope {' or '.join(scopes)}")
        return caller

    return Depends(cast("Callable[..., Awaitable[Caller]]", check))
