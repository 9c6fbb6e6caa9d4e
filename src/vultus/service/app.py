"""The application: routes, errors and limits around one service."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.routing import Match, Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from vultus import __version__
from vultus._export import export
from vultus.errors import VultusError
from vultus.gallery.keys import Key
from vultus.service import problems
from vultus.service.core import Service
from vultus.service.frame import Frame
from vultus.service.limits import BodyLimits
from vultus.service.routes import galleries, health, jobs, photos, records, subjects
from vultus.service.settings import Settings

PAGE = Path(__file__).parent / "page"
_DRAIN_SECONDS = 30.0
_DESCRIPTION = (
    "Face recognition on a machine of your own. Pictures come as files of a form or as base64 in JSON. Errors are problem "
    "documents whose `code` is stable. No answer says that a living person was in front of the camera unless an attack "
    "detector is plugged in: `pad` is `not_evaluated`, and a printed photo passes."
)


@export("vultus.service.create_app")
def create_app(
    settings: Settings | None = None,
    *,
    gallery_key: Key | None = None,
    on_first_key: Callable[[str], None] = lambda _: None,
    on_failure: Callable[[VultusError], None] = lambda _: None,
) -> FastAPI:
    """The service as an ASGI application. Its model is loaded when the application starts.

    Args:
        settings: how it runs.
        gallery_key: that galleries and the service's database are encrypted with.
        on_first_key: gets the text of the first key, where there was none.
        on_failure: is called where the model cannot be loaded.

    Raises:
        GalleryError, AuditBroken, AuditUnavailable: the data folder cannot be used.
    """
    chosen = settings or Settings()
    service = Service(chosen, gallery_key=gallery_key)
    first = service.first_key()
    if first is not None:
        on_first_key(first)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.load(on_failure)
        yield
        await service.engine.drain(_DRAIN_SECONDS)
        service.close()

    app = FastAPI(
        title="vultus",
        version=__version__,
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
        generate_unique_id_function=_operation,
    )
    app.state.service = service
    routers = [m.router for m in (photos, galleries, subjects, jobs, records, health)]
    for router in routers:
        app.include_router(router)
    problems.register(app, [r for router in routers for r in router.routes if isinstance(r, APIRoute)])
    app.add_middleware(BodyLimits, most=chosen.max_body_bytes, seconds=chosen.body_seconds)
    app.add_middleware(Frame, metrics=service.metrics, tls=chosen.tls)
    if PAGE.is_dir():
        app.router.routes.append(_Page("/", app=StaticFiles(directory=PAGE, html=True), name="page"))
    plain = app.openapi

    def contract() -> dict[str, Any]:
        document = plain()
        document.setdefault("components", {}).setdefault("schemas", {})["Problem"] = problems.PROBLEM_SCHEMA
        return document

    app.openapi = contract  # type: ignore[method-assign]
    return app


class _Page(Mount):
    """The page's files; a method that a route lacks stays a matter of that route."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether the request is one for a file."""
        if scope.get("method") not in {"GET", "HEAD"} or scope.get("path", "").startswith("/v1/"):
            return Match.NONE, {}
        return super().matches(scope)


def _operation(route: APIRoute) -> str:
    """A short name of each operation, for generated clients."""
    return f"{route.tags[0] if route.tags else 'api'}_{route.name.strip('_')}"
