"""Visitors who keep their connections, send at a steady pace, never retry, and remember everything.

In one process with what moves the weights, so that both read the same clock: when a request was sent, when its answer
came, who gave it. A request that is lost is sent once more over a fresh connection, and only what becomes of that is
noted beside it: that is what a client sees that retries idempotent requests.
"""

import asyncio
import time
from collections import Counter
from contextlib import suppress
from typing import NamedTuple, Self
from urllib.parse import urlsplit

from testbed.load import Answer, Connection, Dropped

_TIMEOUT_S = 5.0


class Visit(NamedTuple):
    """One request.

    Attributes:
        sent_at: `time.monotonic()`, seconds.
        version: who answered; None when it was lost.
        lost: how, None when it was answered: `reused:eof`, `fresh:proxy-503`, …
        lost_again: whether a second try was lost too.
    """

    sent_at: float
    version: str | None = None
    lost: str | None = None
    lost_again: bool = False


class Crowd:
    """Some connections to one address; a context manager while they are to be busy."""

    def __init__(self, url: str, connections: int = 40, rate: float = 800.0) -> None:
        """Take the address, how many connections stay open, and requests a second of all of them together."""
        where = urlsplit(url)
        self._host, self._port = where.hostname or "", where.port or 80
        self._request = f"GET {where.path} HTTP/1.1\r\nHost: {where.netloc}\r\n\r\n".encode()
        self._connections, self._every_s = connections, connections / rate
        self.visits: list[Visit] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        began = time.monotonic()
        for number in range(self._connections):
            first = began + self._every_s * number / self._connections
            self._tasks.append(asyncio.create_task(self._keep_coming(first)))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def since(self, moment: float, until: float = float("inf")) -> list[Visit]:
        """Requests that were sent in between."""
        return [visit for visit in self.visits if moment <= visit.sent_at < until]

    async def _keep_coming(self, due: float) -> None:
        connection: Connection | None = None
        try:
            while True:
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                due = max(due + self._every_s, time.monotonic() - 1)
                connection = await self._visit(connection)
        finally:
            if connection:
                connection.close()

    async def _visit(self, connection: Connection | None) -> Connection | None:
        if connection and connection.closed_by_peer:  # in order, while idle: costs no request
            connection.close()
            connection = None
        kind, sent_at = "reused" if connection else "fresh", time.monotonic()
        try:
            connection = connection or await Connection.open(self._host, self._port)
            answer = await self._asked(connection)
        except Dropped as dropped:
            if connection:
                connection.close()
            self.visits.append(Visit(sent_at, None, f"{kind}:{dropped}", await self._lost_again()))
            return None
        self.visits.append(Visit(sent_at, answer.version))
        if not answer.keep:
            connection.close()
        return connection if answer.keep else None

    async def _asked(self, connection: Connection) -> Answer:
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                answer = await connection.exchange(self._request)
        except TimeoutError as error:
            raise Dropped("timeout") from error
        if answer.version is None or answer.status >= 400:
            raise Dropped(f"status-{answer.status}")
        return answer

    async def _lost_again(self) -> bool:
        with suppress(Dropped):
            connection = await Connection.open(self._host, self._port)
            try:
                await self._asked(connection)
            finally:
                connection.close()
            return False
        return True


async def split_of(url: str, requests: int, connections: int = 16) -> Counter[str | None]:
    """Who answers so many requests, sent as fast as they are answered."""
    crowd = Crowd(url, connections, rate=1e9)
    async with crowd:
        while len(crowd.visits) < requests:  # noqa: ASYNC110 - a counter, not an event, and read by nobody else
            await asyncio.sleep(0.02)
    return Counter(visit.version for visit in crowd.visits[:requests])
