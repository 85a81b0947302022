"""The fake keeps every promise of the real routers, visitors included."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import ClassVar

import pytest
from aiohttp import web

from activities.ports import Pool, Router
from rollout.errors import RouteRejected, RouterUnreachable
from tests.activities.routers.contract import (
    HEADER,
    CountingStand,
    ForcedHeaderContract,
    InFlightContract,
    RefusalContract,
    RefusingStand,
    RestartContract,
    RouterContract,
    StoppableStand,
)
from tests.fakes.router import FakeRouter


class FakeStand(RefusingStand, StoppableStand, CountingStand):
    """The fake in front of two shops, with a door for visitors that follows what is in force."""

    troubles: ClassVar = {"away": RouterUnreachable, "refusing": RouteRejected}

    def __init__(self) -> None:
        self.fake = FakeRouter("edge-1", healthy={"candidate": 1, "stable": 1})
        self._other = FakeRouter("edge-2")
        self.stable_takes_s = 0.0
        self._sent = 0.0

    def router(self, *, unknown_candidate: bool = False) -> Router:
        if unknown_candidate:
            self.fake.name = "ghost"
            self.fake.healthy.pop("candidate", None)
        return self.fake

    def other_router(self) -> Router:
        return self._other

    async def drift(self, percent: float) -> None:
        self.fake.edit(percent)

    @asynccontextmanager
    async def trouble(self, name: str) -> AsyncIterator[None]:
        undo: Callable[[], None]
        if name == "away":
            self.stop()
            undo = self.start
        else:
            await self.spoil()
            undo = lambda: setattr(self.fake, "rejects", None)  # noqa: E731
        yield
        undo()

    def written(self) -> object:
        return len(self.fake.written)

    async def spoil(self) -> None:
        self.fake.rejects = "look into the router's log"

    def stop(self) -> None:
        self.fake.reachable = False

    def start(self) -> None:
        self.fake.reachable = True

    @asynccontextmanager
    async def slow(self) -> AsyncIterator[None]:
        self.stable_takes_s = 0.6
        yield
        self.stable_takes_s = 0

    async def answer(self, request: web.Request) -> web.Response:
        """Answer a visitor; of a hundred, exactly as many as the percent says meet the candidate."""
        pool = self._chosen(request.headers.get(HEADER.name))
        self.fake.open_requests[pool] = self.fake.open_requests.get(pool, 0) + 1
        await asyncio.sleep(self.stable_takes_s if pool == "stable" else 0)
        self.fake.open_requests[pool] -= 1
        return web.Response(headers={"X-Version": "canary" if pool == "candidate" else "stable"})

    def _chosen(self, forced: str | None) -> Pool:
        if self.fake.forced and forced in {HEADER.candidate, HEADER.stable}:
            return "candidate" if forced == HEADER.candidate else "stable"
        self._sent += self.fake.percent
        meets = self._sent >= 100
        self._sent %= 100
        return "candidate" if meets else "stable"


class TestFake(RouterContract, ForcedHeaderContract, RefusalContract, RestartContract, InFlightContract):
    @pytest.fixture
    async def stand(self) -> AsyncIterator[FakeStand]:
        stand = FakeStand()
        door = web.Application()
        door.router.add_get("/", stand.answer)
        runner = web.AppRunner(door)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        stand.url = site.name
        yield stand
        await runner.cleanup()
