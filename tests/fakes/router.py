"""A router in memory: fenced like the real ones, it remembers every write, and its faults are plain attributes.

It passes the contract of the real ones (`test_router.py`): a write is atomic, an older epoch and a foreign owner are
refused, the same again is no write, `release` takes the owner off and leaves the epoch, written is not yet in force,
and a router that is away takes no raise but the way back.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from activities.ports import Pool, RouteState, Write
from rollout.errors import Misconfigured, RouteOwned, RouteRejected, RouterUnreachable, Superseded


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
        finest: smallest percent that it can send to either pool.
        proves_after_s: seconds that it says a proof takes.
        drains_after_s: seconds that it says draining takes.
        open_requests: pool → requests in flight.
        reachable: whether the router itself answers; its configuration can be written all the same.
        writable: whether its configuration can be written.
        proves: whether a write ever comes into force.
        proof_takes_s: seconds between a write and its being in force.
        before_write: awaited before a write takes effect; other readers and writers go on meanwhile.
        rejects: why every write is refused by the router itself; None: it is not.
        breaks_with: raised by every read and write; for errors that are in nobody's tree.
        moves: it moves traffic by itself after a write, until `arrive`.
        failed: why it will never arrive by itself.
        sides: pool → hash of its pods.
        paused: whether it was told to stay where it is.
        drift: what somebody else did to it although its percent is the same; the next write puts it right.
        reads: how often it was read.
        written: every accepted write, oldest first.
        refused: every write that the fence turned away.
    """

    name: str
    percent: float = 0
    epoch: int = 0
    owner: str | None = None
    forced: bool = False
    healthy: dict[Pool, int] = field(default_factory=lambda: {"candidate": 2, "stable": 2})
    finest: float = 0.01
    proves_after_s: float = 0
    drains_after_s: float = 0
    open_requests: dict[Pool, int] = field(default_factory=dict)
    reachable: bool = True
    writable: bool = True
    proves: bool = True
    proof_takes_s: float = 0
    before_write: Callable[[], Awaitable[object]] | None = None
    rejects: str | None = None
    breaks_with: Exception | None = None
    moves: bool = False
    failed: str | None = None
    sides: dict[Pool, str] = field(default_factory=dict)
    paused: bool = False
    drift: str | None = None
    reads: int = 0
    written: list[Written] = field(default_factory=list)
    refused: list[Write] = field(default_factory=list)
    _in_force: float = 0
    _shown: bool = True
    _changed_at: float = float("-inf")
    _arrived: bool = True

    async def read(self) -> RouteState:
        """See `ports.Router.read`."""
        self.reads += 1
        self._answer()
        if self.proves and time.monotonic() >= self._changed_at + self.proof_takes_s:
            self._shown = True
        shown = self._shown and self._arrived and self.drift is None
        moving = "paused half-way" if self.paused else "half of the pods are new"
        return RouteState(
            percent=self.percent,
            in_force=self.percent if shown else None,
            epoch=self.epoch,
            owner=self.owner,
            forced=self.forced,
            healthy=dict(self.healthy),
            finest=self.finest,
            proves_after_s=self.proves_after_s,
            drains_after_s=self.drains_after_s,
            moving=None if self._arrived or not self._shown or self.drift else moving,
            failed=self.failed,
            sides=dict(self.sides),
            problem=self.drift if self._shown else f"{self.name} still shows {self._in_force:g} %",
            proof=f"{self.name} shows {self.percent:g} % of epoch {self.epoch}" if shown else "",
        )

    async def write(self, write: Write) -> None:
        """See `ports.Router.write`; a write that has begun is not stopped by its caller's end."""
        await asyncio.shield(self._write(write))

    async def in_flight(self, pool: Pool) -> int:
        """See `ports.Router.in_flight`."""
        self._answer()
        return self.open_requests.get(pool, 0)

    def arrive(self) -> None:
        """What it moves by itself is where it belongs."""
        self._arrived = True

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

    async def _write(self, write: Write) -> None:
        if self.breaks_with:
            raise self.breaks_with
        if self.before_write:
            await self.before_write()
        self._fence(write)
        owner, forced = None if write.release else write.owner, write.header and not write.release
        same = (self.percent, self.epoch, self.owner, self.forced) == (write.percent, write.epoch, owner, forced)
        if same and self.paused == write.pause:
            return
        self._refuse(write)
        self.written.append(Written(time.monotonic(), self.percent, write))
        self.epoch, self.owner, self.forced, self.paused = write.epoch, owner, forced, write.pause
        self.drift = None
        if self.moves and write.percent != self.percent:
            self._arrived, self.failed = write.percent == 0, None
        self._put(write.percent)

    def _fence(self, write: Write) -> None:
        if self.epoch > write.epoch:
            self.refused.append(write)
            raise Superseded(f"{self.name} carries epoch {self.epoch}, not {write.epoch}")
        if self.owner not in {None, write.owner}:
            self.refused.append(write)
            raise RouteOwned(f"{self.name} is held by {self.owner}")

    def _refuse(self, write: Write) -> None:
        if not self.writable or (write.percent and not self.reachable):
            raise RouterUnreachable(f"{self.name} does not answer")
        if write.percent and "candidate" not in self.healthy:
            raise Misconfigured(f"{self.name} knows no pool of the candidate")
        if self.rejects:
            raise RouteRejected(self.rejects)

    def _put(self, percent: float) -> None:
        if self._shown:
            self._in_force = self.percent
        self.percent, self._shown, self._changed_at = percent, False, time.monotonic()

    def _answer(self) -> None:
        if self.breaks_with:
            raise self.breaks_with
        if not self.reachable:
            raise RouterUnreachable(f"{self.name} does not answer")
