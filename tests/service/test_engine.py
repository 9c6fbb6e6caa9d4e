"""Overload is refused at once, what waits too long is given up, and a service that stops finishes what it has."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import httpx
import pytest

from vultus.errors import DeadlineExceeded, NotReady, Overloaded, WeightsError
from vultus.service import Settings, create_app
from vultus.service.engine import Engine
from vultus.service.metrics import Metrics


def loaded(**options: object) -> Engine:
    engine = Engine(Settings(threads=1, **options), Metrics())  # type: ignore[arg-type]
    engine.load()
    return engine


def test_at_most_so_many_are_inside(cache: Path) -> None:
    engine = loaded(queue=2)

    async def run() -> None:
        async with engine.admitted(), engine.admitted():
            with pytest.raises(Overloaded):
                async with engine.admitted():
                    pytest.fail("a third was let in")
        async with engine.admitted():
            pass

    asyncio.run(run())
    assert b"vultus_rejected_total 1.0" in engine._metrics.text()
    engine.close()


def test_a_turn_that_comes_too_late_is_given_up(cache: Path) -> None:
    engine = loaded(deadline_seconds=0.2)
    done: list[int] = []
    free = threading.Event()

    async def run() -> None:
        busy = [asyncio.create_task(engine.look(lambda _: free.wait(20))) for _ in range(2)]
        late = asyncio.create_task(engine.look(lambda _: done.append(1)))
        await asyncio.sleep(0.4)
        free.set()
        with pytest.raises(DeadlineExceeded):
            await late
        await asyncio.gather(*busy)

    asyncio.run(run())
    assert done == []
    engine.close()


def test_draining_waits_and_lets_nobody_in(cache: Path) -> None:
    engine = loaded()
    order: list[str] = []

    async def run() -> None:
        async def request() -> None:
            async with engine.admitted():
                await asyncio.sleep(0.2)
                order.append("answered")

        task = asyncio.create_task(request())
        await asyncio.sleep(0.05)
        await engine.drain(10)
        order.append("drained")
        with pytest.raises(NotReady):
            async with engine.admitted():
                pytest.fail("somebody was let in")
        await task

    asyncio.run(run())
    assert order == ["answered", "drained"]
    engine.close()


def test_a_model_that_is_wrong_is_refused(tmp_path: Path) -> None:
    told: list[str] = []
    settings = Settings(data=str(tmp_path), model="nothing-of-this-name")
    app = create_app(settings, on_failure=lambda problem: told.append(problem.code))
    assert app.state.service.engine.models is None
    with pytest.raises(WeightsError):
        app.state.service.engine.load()

    async def run() -> None:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            assert (await client.get("/healthz")).status_code == 200
            answer = await client.get("/readyz")
            assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
            assert answer.headers["retry-after"]

    asyncio.run(run())
    app.state.service.load(app.state.service.engine.settings and (lambda p: told.append(p.code))).join()
    assert told == ["bad_manifest"]
    app.state.service.close()
