"""Steady visitors: `python -m testbed.load --url http://127.0.0.1:8080/ --rate 150 --report load.json`.

Why not an off-the-shelf load tool: the promise is "no request is lost because of us", and that needs every single
failure with its kind and whether it happened on a fresh or on a reused connection. A client that retries, or one that
waits for answers before it sends on, hides exactly these. So: open loop, raw connections, no retry.

One request in ten goes over a connection of its own, because routers treat new and old connections differently: a
reload that drops requests on idle keep-alive connections does not touch fresh ones.

With `--users 200` the requests come from 200 users who keep the cookies they are given; see `testbed.visitors`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import time
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from testbed.report import LoadReport
from testbed.visitors import Visitor, Visitors

if TYPE_CHECKING:
    from collections.abc import Sequence

REPORT_EVERY_S: Final = 0.25
WINDOW_S: Final = 30
FRESH_EVERY: Final = 10  # one request in so many gets a connection of its own
MAX_IN_FLIGHT: Final = 500
MAX_LAG_S: Final = 0.5  # after a freeze of the load itself, do not catch up in one burst
HEAD_LIMIT_BYTES: Final = 16_384


class Dropped(Exception):
    """A request got no complete answer; the argument is the kind."""


class Answer(NamedTuple):
    """One complete HTTP answer."""

    status: int
    version: str | None
    keep: bool
    cookies: tuple[str, ...] = ()


class Connection:
    """One raw HTTP/1.1 connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, host: str, port: int) -> Connection:
        """Connect.

        Raises:
            Dropped: When nobody accepts.
        """
        try:
            return cls(*await asyncio.open_connection(host, port, limit=HEAD_LIMIT_BYTES))
        except OSError as error:
            raise Dropped("connect") from error

    @property
    def closed_by_peer(self) -> bool:
        """Whether the other side ended it in order while it was idle, which costs no request."""
        return self._reader.at_eof() or self._writer.is_closing()

    async def exchange(self, request: bytes) -> Answer:
        """Send one request and read the whole answer.

        Raises:
            Dropped: When the answer does not come, or not whole.
        """
        try:
            self._writer.write(request)
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            status = int(head[0].split(" ", 2)[1])
            lines = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in head[1:])]
            fields = dict(lines)
            await self._read_body(fields)
        except asyncio.IncompleteReadError as error:
            raise Dropped("eof") from error
        except ConnectionError as error:
            raise Dropped("reset") from error
        except (ValueError, IndexError, asyncio.LimitOverrunError) as error:
            raise Dropped("bad-response") from error
        cookies = tuple(value for name, value in lines if name == "set-cookie")
        return Answer(status, fields.get("x-version"), fields.get("connection", "").lower() != "close", cookies)

    async def _read_body(self, fields: dict[str, str]) -> None:
        if fields.get("transfer-encoding", "").lower() != "chunked":
            await self._reader.readexactly(int(fields.get("content-length", "0")))
            return
        size = 1
        while size:
            size = int((await self._reader.readuntil(b"\r\n")).split(b";")[0], 16)
            await self._reader.readexactly(size + 2)

    def close(self) -> None:
        """Close without waiting."""
        self._writer.close()


class Tally:
    """Counts outcomes and renders them as a report."""

    def __init__(self, versions: Sequence[str], candidate: str, now: float) -> None:
        self._started_at = now
        self._candidate = candidate
        self._versions = Counter(dict.fromkeys(versions, 0))
        self._dropped: Counter[str] = Counter()
        self._blank = dict.fromkeys((*versions, "bad", "dropped"), 0)
        self._seconds: deque[tuple[int, dict[str, int]]] = deque(maxlen=WINDOW_S)
        self._requests = self._skipped = self._bad = 0
        self._first_bad_at: float | None = None
        self._last_bad_at: float | None = None
        self._last_candidate_at: float | None = None

    def _second(self, now: float) -> dict[str, int]:
        if not self._seconds or self._seconds[-1][0] < int(now):
            self._seconds.append((int(now), dict(self._blank)))
        return self._seconds[-1][1]

    def dropped(self, kind: str, now: float) -> None:
        """Count a request without an answer of the shop, by kind (`reused:eof`)."""
        self._requests += 1
        self._dropped[kind] += 1
        self._second(now)["dropped"] += 1

    def skipped(self) -> None:
        """Count a request that was never sent."""
        self._skipped += 1

    def answered(self, answer: Answer, connection: str, now: float) -> None:
        """Count a complete answer; one of the proxy's own (no `X-Version`, status 400 or more) is a drop.

        Args:
            answer: What came.
            connection: `fresh` or `reused`.
            now: Unix seconds.
        """
        if answer.version is None and answer.status >= 400:
            self.dropped(f"{connection}:proxy-{answer.status}", now)
            return
        self._requests += 1
        version = answer.version or "unknown"
        second = self._second(now)
        self._versions[version] += 1
        second[version] = second.get(version, 0) + 1
        if version == self._candidate:
            self._last_candidate_at = now
        if answer.status >= 500:
            self._bad += 1
            second["bad"] += 1
            self._first_bad_at = self._first_bad_at or now
            self._last_bad_at = now

    def report(self, now: float, *, finished: bool = False) -> LoadReport:
        """Everything so far."""
        return LoadReport(
            started_at=self._started_at,
            written_at=now,
            finished=finished,
            requests=self._requests,
            skipped_requests=self._skipped,
            dropped_requests=self._dropped.total(),
            dropped=dict(self._dropped),
            bad_responses=self._bad,
            first_bad_at=self._first_bad_at,
            last_bad_at=self._last_bad_at,
            versions=dict(self._versions),
            last_candidate_at=self._last_candidate_at,
            last_seconds=list(self._seconds),
        )


@dataclass(frozen=True)
class Options:
    """What to send where, and for how long."""

    url: str
    rate: float
    connections: int
    report: Path
    seconds: float | None
    timeout_s: float
    candidate: str
    seed: int
    users: int = 0


class Load:
    """Sends requests at a steady rate, whatever the answers do."""

    def __init__(self, options: Options) -> None:
        parts = urlsplit(options.url)
        self._host = parts.hostname or "127.0.0.1"
        self._port = parts.port or 80
        self._path = parts.path or "/"
        self._authority = parts.netloc
        self._options = options
        self._visitors = Visitors(options.users, random.Random(options.seed))
        self._idle: deque[Connection] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._tally = Tally(("stable", options.candidate), options.candidate, time.time())
        self.ending = asyncio.Event()

    async def run(self) -> None:
        """Send until the time is over or `ending` is set, finish what is in flight, write the last report."""
        reporter = asyncio.create_task(self._keep_reporting())
        await self._send_paced()
        if self._tasks:
            await asyncio.wait(self._tasks)
        reporter.cancel()
        with suppress(asyncio.CancelledError):
            await reporter
        for connection in self._idle:
            connection.close()
        self._write_report(finished=True)

    async def _send_paced(self) -> None:
        clock = asyncio.get_running_loop().time
        began_s = due_s = clock()
        number = 0
        while not self.ending.is_set():
            now_s = clock()
            if self._options.seconds is not None and now_s - began_s >= self._options.seconds:
                return
            if due_s > now_s:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.ending.wait(), due_s - now_s)
                continue
            due_s = max(due_s, now_s - MAX_LAG_S) + 1 / self._options.rate
            number += 1
            if len(self._tasks) >= MAX_IN_FLIGHT or (visitor := self._visitors.leave()) is None:
                self._tally.skipped()
                continue
            task = asyncio.create_task(self._send(visitor, fresh=number % FRESH_EVERY == 0))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _send(self, visitor: Visitor, *, fresh: bool) -> None:
        connection: Connection | None = None
        kept = False
        kind = "fresh"
        try:
            async with asyncio.timeout(self._options.timeout_s):
                if not fresh:
                    connection = self._take_idle()
                    kind = "reused" if connection else "fresh"
                if connection is None:
                    connection = await Connection.open(self._host, self._port)
                answer = await connection.exchange(self._request(visitor, close=fresh))
            visitor.was_told(answer.version, answer.cookies)
            self._tally.answered(answer, kind, time.time())
            kept = answer.keep and not fresh and len(self._idle) < self._options.connections
        except TimeoutError:
            self._tally.dropped(f"{kind}:timeout", time.time())
        except Dropped as drop:
            self._tally.dropped(f"{kind}:{drop}", time.time())
        finally:
            self._visitors.come_back(visitor)
            if connection is not None:
                if kept:
                    self._idle.append(connection)
                else:
                    connection.close()

    def _take_idle(self) -> Connection | None:
        while self._idle:
            connection = self._idle.popleft()  # the one idle longest: every connection of the pool stays in use
            if not connection.closed_by_peer:
                return connection
            connection.close()
        return None

    def _request(self, visitor: Visitor, *, close: bool) -> bytes:
        lines = [f"GET {self._path} HTTP/1.1", f"Host: {self._authority}", *visitor.fields()]
        if close:
            lines.append("Connection: close")
        return "".join(f"{line}\r\n" for line in (*lines, "")).encode("latin-1")

    async def _keep_reporting(self) -> None:
        while True:
            self._write_report()
            await asyncio.sleep(REPORT_EVERY_S)

    def _write_report(self, *, finished: bool = False) -> None:
        path = self._options.report
        if self._options.users:
            _replace(path.with_suffix(".users.json"), json.dumps(self._visitors.versions()))
        _replace(path, self._tally.report(time.time(), finished=finished).model_dump_json())


def _replace(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text + "\n", encoding="utf-8")
    draft.replace(path)


async def _main(options: Options) -> None:
    load = Load(options)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, load.ending.set)
    await load.run()


def main() -> None:
    """Read the options and send until told to stop."""
    parser = argparse.ArgumentParser(
        prog="python -m testbed.load", description="Steady visitors, every failure counted."
    )
    parser.add_argument("--url", required=True)
    parser.add_argument("--rate", type=float, default=150.0, help="requests a second")
    parser.add_argument("--connections", type=int, default=20, help="kept open and used in turn")
    parser.add_argument("--report", type=Path, required=True, help="JSON file, rewritten every 0.25 s")
    parser.add_argument("--seconds", type=float, default=None, help="how long; until SIGTERM by default")
    parser.add_argument("--timeout-s", type=float, default=5.0, help="of one request, connecting included")
    parser.add_argument("--candidate", default="canary", help="the candidate's X-Version")
    parser.add_argument("--seed", type=int, default=1, help="of the users' names")
    parser.add_argument("--users", type=int, default=0, help="so many, who keep cookies; 0: a crowd that keeps nothing")
    asyncio.run(_main(Options(**vars(parser.parse_args()))))


if __name__ == "__main__":
    main()
