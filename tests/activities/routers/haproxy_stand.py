"""A real HAProxy for the contracts: reached over a link, so that the way to it can be spoilt."""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest

from activities.ports import Router
from activities.routers.haproxy import HaproxyConnection, HaproxyRouter
from rollout.errors import NotPermitted, RouterUnreachable
from rollout.routes import HaproxyRoute, Sticky
from testbed.haproxy import Haproxy
from testbed.programs import Shop
from tests.activities.routers.contract import HEADER, CountingStand, until
from tests.activities.routers.slow_shop import slowed
from tests.activities.routers.sticky_contract import StickyStand

NEVER_RELOADED: dict[str, Any] = {"timeout_s": 0.5, "hard_stop_after": "0s"}
Parts = tuple[Haproxy, Shop, Shop]


@contextmanager
def serving(folder: Path, mode: Literal["map", "server-weights"], kind: type[Haproxy] = Haproxy) -> Iterator[Parts]:
    """An HAProxy and its shops, stable first."""
    stable, candidate = Shop(folder, version="stable"), Shop(folder, version="canary")
    haproxy = kind(folder, mode=mode, stable_port=stable.port, candidate_port=candidate.port)
    with stable, candidate, haproxy:
        yield haproxy, stable, candidate


class PinningHaproxy(Haproxy):
    """Its backend `search` keeps users on a server by a cookie of HAProxy's own."""

    def configuration(self) -> str:
        lines = super().configuration()
        lines = lines.replace("\nbackend search\n", "\nbackend search\n    cookie SRV insert indirect nocache\n")
        return re.sub(r"(\n    server search-(stable|candidate)-1 .*)", r"\1 cookie \2", lines)


class HaproxyStand(StickyStand, CountingStand):
    troubles: ClassVar = {"frozen": RouterUnreachable, "level user": NotPermitted}

    def __init__(self, haproxy: Haproxy, stable: Shop) -> None:
        self.haproxy, self._stable = haproxy, stable
        self.url, self.service, self.mode = haproxy.url, haproxy.service, haproxy.mode
        self._door = haproxy.directory / "door.sock"  # a link, so that it can lead to another socket for a while
        self.opens(haproxy.socket)
        if self.mode == "server-weights":
            self.percents = tuple(each for each in self.percents if each != 0.25)  # weights are not that fine

    def opens(self, socket: str) -> None:
        self._door.unlink(missing_ok=True)
        self._door.symlink_to(socket)

    @property
    def connection(self) -> HaproxyConnection:
        return HaproxyConnection(socket=str(self._door), folder=self.haproxy.folder, **NEVER_RELOADED)

    @property
    def map(self) -> Path:
        return self.haproxy.folder / f"{self.service}.map"

    def made(self, **fields: Any) -> HaproxyRouter:
        asked = {"service": self.service, "mode": self.mode, "header": HEADER, **fields}
        return HaproxyRouter(HaproxyRoute(connection="edge-1", **asked), self.connection)

    def router(self, *, unknown_candidate: bool = False) -> Router:
        return self.made(candidate="ghost" if unknown_candidate else None)

    def other_router(self) -> Router:
        service, mode = ("search", "server-weights") if self.mode == "map" else ("checkout", "map")
        return self.made(service=service, mode=mode)

    def sticky_router(self, sticky: Sticky) -> Router:
        return self.made(sticky=sticky)

    def written(self) -> object:
        files = [self.map, self.map.with_suffix(".state")] if self.mode == "server-weights" else [self.map]
        return [(file.stat().st_ino, file.stat().st_mtime_ns, file.read_bytes()) for file in files]

    async def drift(self, percent: float) -> None:
        if self.mode == "map":
            self.haproxy.ask(f"set map {self.map} weight {round(percent * 100)}")
        else:
            weights = {"stable": 100 - percent, "candidate": percent}
            self.haproxy.ask("; ".join(f"set server search/search-{n}-1 weight {w:g}" for n, w in weights.items()))

    @asynccontextmanager
    async def trouble(self, name: str) -> AsyncIterator[None]:
        if name == "level user":
            self.opens(self.haproxy.user_socket)
        else:
            self.haproxy.pause()
        try:
            yield
        finally:
            self.haproxy.resume()
            self.opens(self.haproxy.socket)

    def stop(self) -> None:
        self.haproxy.stop()

    def start(self) -> None:
        self.haproxy.start()

    def slow(self) -> AbstractAsyncContextManager[None]:
        return slowed(self._stable)


class OverTcp(HaproxyStand):
    troubles: ClassVar = {"frozen": RouterUnreachable}

    @property
    def connection(self) -> HaproxyConnection:
        return HaproxyConnection(socket=self.haproxy.tcp_socket, folder=self.haproxy.folder, **NEVER_RELOADED)


class Delivered:
    """A stand that starts as it was delivered; needs a fixture `parts`."""

    kind = HaproxyStand

    @pytest.fixture
    async def stand(self, parts: Parts) -> HaproxyStand:
        haproxy, stable, _ = parts
        haproxy.reset()
        stand = self.kind(haproxy, stable)

        async def fit() -> bool:
            state = await stand.router().read()
            return state.in_force == 0 and state.problem is None and state.healthy == {"candidate": 1, "stable": 1}

        await until(fit)
        return stand
