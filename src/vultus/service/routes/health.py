"""Whether the service lives and is ready, what it counts, and the page's session."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from vultus.errors import NotAllowed, NotReady
from vultus.service.access import authenticated, checked_key, same_origin, service_of
from vultus.service.bodies import contract, read_body
from vultus.service.keys import SCOPES, ApiKey
from vultus.service.metrics import TYPE
from vultus.service.problems import responses
from vultus.service.schemas import Health, SessionAnswer, SessionRequest
from vultus.service.sessions import COOKIE

router = APIRouter(responses=responses())


@router.get("/healthz", tags=["health"])
async def healthz() -> Health:
    """The process answers."""
    return Health(status="ok")


@router.get("/readyz", tags=["health"])
async def readyz(request: Request) -> Health:
    """The model is loaded and tested, and requests are taken."""
    service = service_of(request)
    if service.engine.failure is not None:
        raise NotReady(f"the model cannot be loaded: {service.engine.failure.code}")
    service.engine.ready  # noqa: B018 - raises
    return Health(status="ready")


@router.get("/metrics", tags=["health"], response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(request: Request) -> Response:
    """Counters for Prometheus; needs a key with the scope `read`, unless the settings say otherwise."""
    service = service_of(request)
    if not service.settings.metrics_open and not authenticated(request).may("read"):
        raise NotAllowed("the key lacks the scope read")
    service.metrics.audit_entries.set(service.audit.head.number)
    return Response(service.metrics.text(), media_type=TYPE)


@router.post("/session", tags=["session"], openapi_extra=contract(SessionRequest, forms=False))
async def start(request: Request, response: Response) -> SessionAnswer:
    """Exchange a key for a session: a cookie that no script can read, and a token that each change must carry."""
    service = service_of(request)
    same_origin(request)
    body = await read_body(request, SessionRequest, forms=False)
    key = checked_key(request, f"Bearer {body.key}")
    cookie, session = service.sessions.start(key.key_id)
    await service.run(
        service.audit.record, action="session.start", key=key.key_id, request=request.scope.get("request_id")
    )
    response.set_cookie(
        COOKIE,
        cookie,
        httponly=True,
        samesite="strict",
        secure=request.headers.get("origin", "").startswith("https:"),
        path="/",
    )
    return _session(session.csrf, key)


@router.get("/session", tags=["session"])
async def session_(request: Request) -> SessionAnswer:
    """The session of the cookie, for a page that was loaded anew."""
    service = service_of(request)
    caller = authenticated(request)
    csrf = service.sessions.get(request.cookies.get(COOKIE, "")).csrf
    return _session(csrf, caller.key)


@router.delete("/session", tags=["session"], status_code=204)
async def end(request: Request) -> Response:
    """End the session."""
    authenticated(request)
    service_of(request).sessions.end(request.cookies.get(COOKIE, ""))
    gone = Response(status_code=204)
    gone.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return gone


def _session(csrf: str, key: ApiKey) -> SessionAnswer:
    return SessionAnswer(csrf=csrf, key_id=key.key_id, name=key.name, scopes=[s for s in SCOPES if s in key.scopes])
