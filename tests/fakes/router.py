"""A router in memory: fenced like the real ones, it remembers every write, and its faults are plain attributes.

What it keeps from the real thing (`activities/ports.py`): a write is atomic, an older epoch and a foreign owner are
refused, `release` takes the owner off and leaves the epoch, and written is not yet in force.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from activities.ports import Pool, RouteState, Write
from rollout.errors import RouteOwned, RouteRejected, RouterUnreachable, Superseded


class Written(NamedTuple):
    """A write that was accepted.

    Attributes:
        at: `time.monotonic()`, seconds.
        before: percent on the candidate until then.
        write: what was written.
    """

    at: float
    before: float
    write: Write


@dataclass
class FakeRouter:
    """One route.

    Attributes:
        name: for messages.
        percent: percent on the candidate in the written configuration.
        epoch: fence of the last write.
        owner: who holds it.
        forced: whether the forced-header rules are there.
        healthy: pool → members able to take traffic.
        open_requests: pool → requests in flight.
        reachable: whether anything is answered at all.
        proves: whether a write ever comes into force.
        proof_takes_s: seconds between a write and its being in force.
        before_write: awaited before a write takes effect; other readers and writers go on meanwhile.
        rejects: why every write is refused by the router itself; None: it is not.
        breaks_with: raised by every read and write; for errors that are in nobody's tree.
        written: every accepted write, oldest first.
        refused: every write that the fence turned away.
    """

    name: str
    percent: float = 0
    epoch: int = 0
    owner: str | None = None
    forced: bool = False
    healthy: dict[Pool, int] = field(default_factory=lambda: {"candidate": 2, "stable": 2})
    open_requests: dict[Pool, int] = field(default_factory=dict)
    reachable: bool = True
    proves: bool = True
    proof_takes_s: float = 0
    before_write: Callable[[], Awaitable[object]] | None = None
    rejects: str | None = None
    breaks_with: Exception | None = None
    written: list[Written] = field(default_factory=list)
    refused: list[Write] = field(default_factory=list)
    _in_force: float = 0
    _shown: bool = True
    _changed_at: float = float("-inf")

    async def read(self) -> RouteState:
        """See `ports.Router.read`."""
        self._answer()
        if self.proves and time.monotonic() >= self._changed_at + self.proof_takes_s:
            self._shown = True
        shown = self._shown
        return RouteState(
            percent=self.percent,
            in_force=self.percent if shown else None,
            epoch=self.epoch,
            owner=self.owner,
            forced=self.forced,
            healthy=dict(self.healthy),
            problem=None if shown else f"{self.name} still shows {self._in_force:g} %",
            proof=f"{self.name} shows {self.percent:g} %" if shown else "",
        )

    async def write(self, write: Write) -> None:
        """See `ports.Router.write`; a write that has begun is not stopped by its caller's end."""
        await asyncio.shield(self._write(write))

    async def _write(self, write: Write) -> None:
        self._answer()
        if self.before_write:
            await self.before_write()
        if self.epoch > write.epoch:
            self.refused.append(write)
            raise Superseded(f"{self.name} carries epoch {self.epoch}, not {write.epoch}")
        if self.owner not in {None, write.owner}:
            self.refused.append(write)
            raise RouteOwned(f"{self.name} is held by {self.owner}")
        if self.rejects:
            raise RouteRejected(self.rejects)
        self.written.append(Written(time.monotonic(), self.percent, write))
        self.epoch = write.epoch
        self.owner = None if write.release else write.owner
        self.forced = write.header and not write.release
        self._put(write.percent)

    async def in_flight(self, pool: Pool) -> int:
        """See `ports.Router.in_flight`."""
        self._answer()
        return self.open_requests.get(pool, 0)

    def edit(self, percent: float) -> None:
        """Somebody changes the route by hand, around us."""
        self._put(percent)

    @property
    def percents(self) -> list[float]:
        """Percents written, in order."""
        return [each.write.percent for each in self.written]

    def since(self, moment: float) -> list[Written]:
        """Writes after a moment of `time.monotonic()`."""
        return [each for each in self.written if each.at > moment]

    def _put(self, percent: float) -> None:
        if self._shown:
            self._in_force = self.percent
        self.percent, self._shown, self._changed_at = percent, False, time.monotonic()

    def _answer(self) -> None:
        if self.breaks_with:
            raise self.breaks_with
        if not self.reachable:
            raise RouterUnreachable(f"{self.name} does not answer")
