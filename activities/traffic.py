"""Moving traffic: shift, restore, drain. Read → compare → write → read back, fenced by an epoch.

Every activity can be repeated at any point: an attempt that finds its own write in place writes nothing, one that comes
too late is refused by the fence, and none believes a write before the router shows it in force.
"""

import asyncio
import logging
import time
from contextlib import suppress
from datetime import timedelta

from temporalio import activity

from activities.boundary import beating
from activities.ports import Connections, Router, RouteState, Write
from rollout import names
from rollout.base import percent_text
from rollout.errors import (
    Drifted,
    NotProven,
    NotReady,
    NotRestored,
    RouteOwned,
    RouterUnreachable,
    SluiceError,
    Superseded,
)
from rollout.messages import DrainPool, PoolDrained, RestoreTraffic, ShiftTraffic, TrafficRestored, TrafficShifted
from rollout.routes import Route

log = logging.getLogger("sluice.traffic")

LOOK_AGAIN_SECONDS = 0.05
FIRST_LOOK_SECONDS = 0.3
DRAIN_LOOK_SECONDS = 0.25


class TrafficActivities:
    """The hands on the routes."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    @activity.defn(name=names.SHIFT_TRAFFIC)
    async def shift_traffic(self, order: ShiftTraffic) -> TrafficShifted:
        """Move every route to the percent, in order, and prove each before the next.

        Raises:
            Drifted: a route is neither where we left it nor where it should go.
            NotReady: the candidate pool has no healthy member.
            NotProven: written, but not shown in force within `prove_within`.
            SluiceError: whatever the router says.
        """
        written, proof = [], []
        async with beating():
            for route in order.routes:
                try:
                    router = self._connections.router(route)
                    if await _shift(router, route, order):
                        written.append(str(route))
                    proof.append((await _proven(router, route, order.percent, order.epoch, order.prove_within)).proof)
                except SluiceError as error:
                    error.highest = order.percent if proof else None
                    raise
        log.info(
            "traffic shifted rollout=%s percent=%g written=%s", order.owner, order.percent, ", ".join(written) or "none"
        )
        return TrafficShifted(percent=order.percent, epoch=order.epoch, written=tuple(written), proof=tuple(proof))

    @activity.defn(name=names.RESTORE_TRAFFIC)
    async def restore_traffic(self, order: RestoreTraffic) -> TrafficRestored:
        """Bring every route to 0 %, all at once, whatever is found there.

        Raises:
            NotRestored: not every route proves 0 % yet; says which and why. Always worth trying again.
        """
        async with beating():
            ways = [_restore(self._connections, route, order) for route in order.routes]
            ends = await asyncio.gather(*ways, return_exceptions=True)
        problems = [
            f"{route}: {end}" for route, end in zip(order.routes, ends, strict=True) if isinstance(end, Exception)
        ]
        if problems:
            raise NotRestored("; ".join(problems))
        states = [end for end in ends if isinstance(end, tuple)]
        log.warning("traffic restored to stable rollout=%s routes=%d", order.owner, len(states))
        return TrafficRestored(
            epoch=order.epoch,
            overwrote=tuple(foreign for foreign, _ in states if foreign),
            proof=tuple(state.proof for _, state in states),
        )

    @activity.defn(name=names.DRAIN_POOL)
    async def drain_pool(self, order: DrainPool) -> PoolDrained:
        """Wait until a pool without new traffic has finished its requests, or the timeout.

        Raises:
            RouterUnreachable: the router cannot say.
        """
        until = time.monotonic() + order.timeout.total_seconds()
        quiet = 0
        async with beating():
            while True:
                routers = [self._connections.router(route) for route in order.routes]
                open_now = sum(await asyncio.gather(*(router.in_flight(order.pool) for router in routers)))
                quiet = quiet + 1 if open_now == 0 else 0
                if quiet == 2 or time.monotonic() >= until:
                    return PoolDrained(in_flight=open_now)
                await asyncio.sleep(DRAIN_LOOK_SECONDS)


async def _shift(router: Router, route: Route, order: ShiftTraffic) -> bool:
    """Write one route if it needs it; True if written."""
    state = await router.read()
    _fence(route, state, order)
    if state.epoch == order.epoch and state.percent == order.percent:
        return False
    if state.percent not in {order.expected, order.percent} and not order.reassert:
        found, left = percent_text(state.percent), percent_text(order.expected)
        raise Drifted(f"{route} is at {found}, we left it at {left}: somebody else changed it; nothing was written")
    if order.percent > state.percent and not state.healthy.get("candidate"):
        raise NotReady(f"{route}: the candidate pool has no healthy member, so nothing may be sent to it")
    await router.write(
        Write(
            percent=order.percent,
            epoch=order.epoch,
            owner=order.owner,
            header=not order.release,
            release=order.release,
        )
    )
    return True


def _fence(route: Route, state: RouteState, order: ShiftTraffic) -> None:
    if state.epoch > order.epoch:
        raise Superseded(
            f"{route} carries epoch {state.epoch}, newer than this write's {order.epoch}; it came too late"
        )
    if state.owner not in {None, order.owner}:
        raise RouteOwned(f"{route} is held by {state.owner}")


async def _restore(connections: Connections, route: Route, order: RestoreTraffic) -> tuple[str | None, RouteState]:
    router = connections.router(route)
    foreign = None
    state = None
    with suppress(SluiceError, TimeoutError):  # the way back does not depend on being able to look first
        async with asyncio.timeout(FIRST_LOOK_SECONDS):
            state = await router.read()
    if state is None or state.epoch != order.epoch or state.percent != 0:
        if state is not None and state.percent not in order.expected:
            foreign = f"{route} was at {percent_text(state.percent)}, which is not ours"
        await router.write(Write(percent=0, epoch=order.epoch, owner=order.owner, header=False, release=True))
    return foreign, await _proven(router, route, 0, order.epoch, order.prove_within)


async def _proven(router: Router, route: Route, percent: float, epoch: int, within: timedelta) -> RouteState:
    """Look until the router shows the percent of this epoch in force."""
    until = time.monotonic() + within.total_seconds()
    problem = "it was not looked at"
    while True:
        try:
            state = await router.read()
        except RouterUnreachable as error:
            problem = str(error)
        else:
            if state.epoch > epoch:
                raise Superseded(f"{route} carries epoch {state.epoch}, newer than {epoch}")
            if state.in_force == percent and state.epoch == epoch:
                return state
            problem = state.problem or f"it shows {state.in_force} %, epoch {state.epoch}"
        if time.monotonic() >= until:
            raise NotProven(
                f"{route}: {percent_text(percent)} is not in force after {within.total_seconds():g} s: {problem}"
            )
        await asyncio.sleep(LOOK_AGAIN_SECONDS)
