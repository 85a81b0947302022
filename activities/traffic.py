"""Moving traffic: shift, restore, drain. Read → compare → write → read back, fenced by an epoch.

Every activity can be repeated at any point: an attempt that finds its own write in place writes nothing, one that comes
too late is refused by the fence, and none believes a write before the router shows it in force.
"""

import asyncio
import logging
import time
from contextlib import suppress

from temporalio import activity

from activities.boundary import beating
from activities.mitigation import switched_off
from activities.pods import kept_on_candidate, prepared, removed, still_kept
from activities.ports import Connections, FlagState, Router, RouteState, Write
from activities.proving import proven
from rollout import names
from rollout.base import percent_text
from rollout.errors import (
    Drifted,
    NotReady,
    NotRestored,
    Permanent,
    RouteOwned,
    SluiceError,
    Superseded,
)
from rollout.messages import DrainPool, PoolDrained, RestoreTraffic, ShiftTraffic, TrafficRestored, TrafficShifted
from rollout.routes import FlagRoute, Route

log = logging.getLogger("sluice.traffic")

FIRST_LOOK_SECONDS = 0.3
DRAIN_LOOK_SECONDS = 0.25
DRAIN_BEAT_SECONDS = 6.0


class TrafficActivities:
    """The hands on the routes."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    @activity.defn(name=names.PREPARE_PODS)
    async def prepare_pods(self, order: ShiftTraffic) -> None:
        """Get the candidate the pods that a percent needs; no route is looked at, and none is written.

        Raises:
            NotReady: not all of them are ready yet.
            SluiceError: whatever the workload says.
        """
        async with beating():
            await prepared(self._connections, order)

    @activity.defn(name=names.SHIFT_TRAFFIC)
    async def shift_traffic(self, order: ShiftTraffic) -> TrafficShifted:
        """Move every route to the percent, in order, and prove each before the next.

        Raises:
            Drifted: a route is neither where we left it nor where it should go.
            NotReady: the candidate pool has no healthy member.
            NotProven: written, but not shown in force within `prove_within`.
            SluiceError: whatever the router says.
        """
        written, proof, moving, settles_s = [], [], [], 0.0
        async with beating():
            await prepared(self._connections, order)
            for route in order.routes:
                try:
                    router = self._connections.router(route)
                    proves_after_s = await _shift(router, route, order)
                    if proves_after_s is not None:
                        written.append(str(route))
                    or_moving, not_before_s = not order.release, proves_after_s or 0
                    state = await _proven(
                        router, route, order.percent, order, or_moving=or_moving, not_before_s=not_before_s
                    )
                    proof.append(state.proof)
                    settles_s = max(settles_s, state.settles_after_s)
                    if state.in_force != order.percent:
                        moving.append(f"{route}: {state.moving}")
                except SluiceError as error:
                    error.highest = order.percent if proof else None
                    raise
            # Whoever has not heard of it yet is on the other side than the counts would be held against.
            await asyncio.sleep(0 if order.release else settles_s)
        log.info(
            "traffic shifted rollout=%s percent=%g written=%s", order.owner, order.percent, ", ".join(written) or "none"
        )
        return TrafficShifted(
            percent=order.percent,
            epoch=order.epoch,
            written=tuple(written),
            proof=tuple(proof),
            moving="; ".join(moving) or None,
            paused=order.pause,
        )

    @activity.defn(name=names.RESTORE_TRAFFIC)
    async def restore_traffic(self, order: RestoreTraffic) -> TrafficRestored:
        """Bring every route back to where it was, all at once, whatever is found there.

        Raises:
            NotRestored: not every route proves it yet; says which and why. Always worth trying again.
        """
        async with beating():
            kept = await kept_on_candidate(self._connections, order, activity.info().scheduled_time)
            ways = [_restore(self._connections, route, order, kept) for route in order.routes]
            ends = await asyncio.gather(*ways, return_exceptions=True)
        problems = [
            f"{route}: {end}" for route, end in zip(order.routes, ends, strict=True) if isinstance(end, Exception)
        ]
        if problems:
            raise NotRestored("; ".join(problems))
        states = [end for end in ends if isinstance(end, tuple)]
        if any(state.percent > order.percent for _, state in states):
            raise NotRestored(still_kept(kept, order))
        log.warning("traffic restored to stable rollout=%s routes=%d", order.owner, len(states))
        return TrafficRestored(
            epoch=order.epoch,
            percent=max(state.percent for _, state in states),
            left_off=_left_off(order, [state for _, state in states]),
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
        async with beating(DRAIN_BEAT_SECONDS):
            while True:
                routers = [self._connections.router(route) for route in order.routes]
                counts = await asyncio.gather(*(router.in_flight(order.pool) for router in routers))
                open_now = sum(count for count in counts if count is not None)
                # Where nobody can tell, open requests get all the time there is, and nothing is gained by asking often.
                untold = None in counts
                quiet = quiet + 1 if open_now == 0 and not untold else 0
                left_s = until - time.monotonic()
                if quiet == 2 or left_s <= 0:
                    return PoolDrained(in_flight=open_now, removed=await removed(self._connections, order))
                await asyncio.sleep(min(1.0, left_s) if untold else DRAIN_LOOK_SECONDS)


async def _shift(router: Router, route: Route, order: ShiftTraffic) -> float | None:
    """Write one route if it needs it; seconds until that can be proven at the earliest, None if nothing was written."""
    state = await router.read()
    _fence(route, state, order)
    ours = state.epoch == order.epoch and state.percent == order.percent
    if ours and state.in_force == order.percent and not order.pause:
        return None
    if not ours and state.percent not in {order.expected, order.percent} and not order.reassert:
        found, left = percent_text(state.percent), percent_text(order.expected)
        who = state.problem or "somebody else changed it"
        raise Drifted(f"{route} is at {found}, we left it at {left}: {who}; nothing was written")
    # A fix must be able to replace pods that are all dead.
    if order.percent > state.percent and not state.healthy.get("candidate") and not route.in_place:
        raise NotReady(f"{route}: the candidate pool has no healthy member, so nothing may be sent to it")
    await router.write(
        Write(
            percent=order.percent,
            epoch=order.epoch,
            owner=order.owner,
            header=not order.release,
            release=order.release,
            pause=order.pause,
        )
    )
    return state.proves_after_s


def _fence(route: Route, state: RouteState, order: ShiftTraffic) -> None:
    if state.epoch > order.epoch:
        raise Superseded(
            f"{route} carries epoch {state.epoch}, newer than this write's {order.epoch}; it came too late"
        )
    if state.owner not in {None, order.owner}:
        raise RouteOwned(f"{route} is held by {state.owner}")


async def _restore(
    connections: Connections, route: Route, order: RestoreTraffic, kept: float
) -> tuple[str | None, RouteState]:
    """Bring one route back.

    Args:
        connections: for its adapter.
        route: which.
        order: the way back.
        kept: percent that must stay on the candidate for now.

    Returns:
        What was found that was not ours, and the state that is proven: where it was at the start, or what is kept.
    """
    router = connections.router(route)
    foreign, state, not_before_s = None, None, 0.0
    with suppress(SluiceError, TimeoutError):  # the way back does not depend on being able to look first
        async with asyncio.timeout(FIRST_LOOK_SECONDS):
            state = await router.read()
    # What is written and not in force is written again: the adapter knows whether that needs anything.
    if state is None or state.epoch != order.epoch or not _is_back(state, order.percent):
        foreign = _foreign(route, state, order)
        percent = 0 if state is None else min(kept, state.percent)
        if percent > order.percent and (lowered := await _lowered(router, route, order, percent)):
            return foreign, lowered
        back = Write(percent=order.percent, epoch=order.epoch, owner=order.owner, header=False, release=True)
        await router.write(back)
        not_before_s = state.proves_after_s if state else 0.0
    state = await _proven(router, route, order.percent, order, or_off=True, not_before_s=not_before_s)
    if order.switch_off and isinstance(route, FlagRoute):
        why = f"{order.owner}: way back"
        state = await switched_off(connections.flag(route), route, why, order.prove_within)
    return foreign, state


def _foreign(route: Route, state: RouteState | None, order: RestoreTraffic) -> str | None:
    """What the way back is about to overwrite that is not ours; what an earlier attempt of it wrote is."""
    if state is None or state.epoch == order.epoch:
        return None
    if state.percent not in order.expected:
        return f"{route} was at {percent_text(state.percent)}, which is not ours"
    return state.problem if route.in_place and state.owner == order.owner else None


def _left_off(order: RestoreTraffic, states: list[RouteState]) -> tuple[str, ...]:
    """Flags that somebody has switched off meanwhile: they would be on otherwise."""
    off = [
        f"{route} was switched off by {state.changed_by or 'somebody else'}; it is left off"
        for route, state in zip(order.routes, states, strict=True)
        if isinstance(state, FlagState) and not state.on
    ]
    return tuple(off) if order.percent and not order.switch_off else ()


def _is_back(state: RouteState, percent: float) -> bool:
    """Whether a route is where it was at the start, or is a flag that somebody has switched off: nobody sees more."""
    return state.in_force == percent or (isinstance(state, FlagState) and not state.on and state.in_force == 0)


async def _lowered(router: Router, route: Route, order: RestoreTraffic, percent: float) -> RouteState | None:
    """Bring a route as far back as stable can take it; None if the route will never have that, and must go to 0 %."""
    with suppress(Permanent):
        await router.write(Write(percent=percent, epoch=order.epoch, owner=order.owner, header=False))
        return await _proven(router, route, percent, order)
    return None


async def _proven(
    router: Router,
    route: Route,
    percent: float,
    order: ShiftTraffic | RestoreTraffic,
    *,
    or_moving: bool = False,
    or_off: bool = False,
    not_before_s: float = 0,
) -> RouteState:
    """Look until the router shows the percent of the order's epoch in force.

    If that will do: or moves there by itself, or is a flag that was switched off.
    """

    def missing(state: RouteState) -> str | None:
        if state.epoch > order.epoch:
            raise Superseded(f"{route} carries epoch {state.epoch}, newer than {order.epoch}")
        there = _is_back(state, percent) if or_off else state.in_force == percent
        there = there or (or_moving and state.moving is not None and state.percent == percent)
        if there and state.epoch == order.epoch:
            return None
        return state.problem or state.moving or f"it shows {state.in_force} %, epoch {state.epoch}"

    what = f"{route}: {percent_text(percent)} is not in force"
    return await proven(router.read, missing, what, order.prove_within, not_before_s=not_before_s)
