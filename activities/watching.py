"""Watching a stage: one heartbeating activity that polls, folds and returns only when something is to be decided.

A timer and a short activity per poll was rejected: eleven history events a poll, half an hour until continue-as-new.
Exactness does not come from the heartbeat but from the metrics store: a new attempt goes on at the watermark and asks
for every tick since.
"""

import asyncio
import time
from datetime import timedelta

from temporalio import activity

from activities import asking
from activities.boundary import beating
from activities.ports import Connections, RouteState
from rollout import names, watch
from rollout.base import percent_text
from rollout.errors import SluiceError
from rollout.judge.verdict import GateState
from rollout.messages import Watched, WatchHealth, Watching
from rollout.routes import Route

_BEAT_S = 5.5  # at least; polls that are on time are beats enough
_WAITING_BEAT_S = 2.0  # while a person or a pod is waited for: who answers is heard with the next beat
_EARLY_MS = 100
_AGAIN_S = 0.5  # when nothing is missing but a route's proof


class WatchingActivities:
    """The eyes on gates and routes."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    @activity.defn(name=names.WATCH_HEALTH)
    async def watch_health(self, order: WatchHealth) -> Watched:
        """Watch until a gate is breached, the bake is done, a route drifts, data stay away, or we are called off."""
        watching = _resumed() or watch.begin(order)
        lateness = activity.metric_meter().create_histogram_timedelta(
            "sluice_poll_lateness", "how late health polls are: late polls see breaches late"
        )
        try:
            # Neither the pause between two polls nor a slow answer is a dead worker.
            least_s = _WAITING_BEAT_S if order.bake is None else _BEAT_S
            async with beating(min(least_s, 1.1 * order.poll.total_seconds()), lambda: (watching,)) as beats:
                while True:
                    watching, drift = await self._poll(order, watching)
                    beats.now()
                    lateness.record(timedelta(milliseconds=watching.late_ms))
                    if ended := watch.conclude(order, watching, drift, _now_ms()):
                        return ended
                    await _next_poll(order, soon=watch.ripe(order, watching))
        except asyncio.CancelledError:
            details = activity.cancellation_details()
            if details is None or not (details.cancel_requested or details.not_found):
                raise  # the worker stops: another one goes on from the last heartbeat
            return Watched(why="interrupted", watching=watching)

    async def _poll(self, order: WatchHealth, before: Watching) -> tuple[Watching, str | None]:
        now_ms = _now_ms()
        order, errors = watch.sided(order, before.sides)
        dead: set[str] = set()
        states, looks = await asyncio.gather(
            asyncio.gather(*(self._gate(order, name, state, now_ms, errors) for name, state in before.states.items())),
            asyncio.gather(*(self._look(order, route, errors, dead) for route in order.routes)),
        )
        drifts, seen = [drift for drift, _ in looks], [state for _, state in looks if state is not None]
        after = before.model_copy(
            update={
                "states": dict(states),
                "watermark_ms": now_ms,
                # Without gates the clock is the evidence: what passed while nobody was here does not count.
                "observed_ms": before.observed_ms
                + min(now_ms - max(before.watermark_ms, order.since_ms), 2 * watch.poll_ms(order)),
                "dead": {place: before.dead.get(place, now_ms) for place in sorted(dead)},
                "moving": _moving(seen, before.moving if len(seen) < len(order.routes) else None),
                "failed": next((state.failed for state in seen if state.failed), None),
                "sides": before.sides | {str(pool): told for state in seen for pool, told in state.sides.items()},
                "late_ms": max(0, now_ms - before.watermark_ms - watch.poll_ms(order)),
            }
        )
        after = after.model_copy(update={"unseen": watch.unseen(order, after, errors, now_ms)})
        return after, next((drift for drift in drifts if drift), None)

    async def _gate(
        self, order: WatchHealth, name: str, state: GateState, now_ms: int, errors: dict[str, str]
    ) -> tuple[str, GateState]:
        """Ask a gate and fold what it says; an error leaves its state untouched."""
        if name in errors:
            return name, state
        try:
            return name, await asking.asked(self._connections, order, name, state, now_ms)
        except SluiceError as error:
            errors[name] = str(error)
            return name, state

    async def _look(
        self, order: WatchHealth, route: Route, errors: dict[str, str], dead: set[str]
    ) -> tuple[str | None, RouteState | None]:
        """Compare a route with what was proven: a sentence if it drifted, and what it is."""
        try:
            state = await self._connections.router(route).read()
        except SluiceError as error:
            errors[str(route)] = str(error)
            return None, None
        return self._compared(order, route, state, errors, dead), state

    def _compared(
        self, order: WatchHealth, route: Route, state: RouteState, errors: dict[str, str], dead: set[str]
    ) -> str | None:
        if state.percent != order.percent:
            told = f"{route} is at {percent_text(state.percent)}, we left it at {percent_text(order.percent)}"
            return f"{told}: {state.problem}" if state.problem else told  # who it was, where the router knows that
        if order.owner is not None and (state.owner, state.epoch) != (order.owner, order.epoch):
            return f"{route} no longer carries our mark (epoch {order.epoch}) but epoch {state.epoch} of {state.owner}"
        if route.in_place and state.problem and state.in_force is None:
            return state.problem  # paused, resumed or edited by somebody else: the percent does not tell
        if state.failed or (state.moving and order.rolling):
            return None  # it will never be there, or is on its way by itself
        dies = order.percent > 0 and state.healthy.get("candidate") == 0
        if state.in_force != order.percent and not (dies and route.in_place):
            errors[str(route)] = state.problem or state.moving or f"it does not prove {percent_text(order.percent)}"
        elif dies:
            # The dead count no errors: a gate that looks back for minutes would call them healthy.
            errors[str(route)] = "the candidate pool has no healthy member"
            if state.healthy.get("stable") or route.in_place:
                dead.add(str(route))
        return None


def _moving(seen: list[RouteState], otherwise: str | None) -> str | None:
    """What moves by itself or is not in force; what was said before where a route cannot be read."""
    words = [state.moving or state.problem or "not in force" for state in seen if state.in_force is None]
    return "; ".join(words) or otherwise


def _resumed() -> Watching | None:
    details = activity.info().heartbeat_details
    return Watching.model_validate(details[0]) if details else None


async def _next_poll(order: WatchHealth, *, soon: bool) -> None:
    """Wait for the next tick of the grid that began at `since_ms`, or less.

    Timers may fire a millisecond early. Gates would not be asked for a tick that is still to come, and then the next
    poll, a whole step later, would be the first to see a breach.
    """
    step, now_ms = watch.poll_ms(order), _now_ms()
    left_ms = step - (now_ms - order.since_ms) % step
    if soon and left_ms > _AGAIN_S * 1000:
        await asyncio.sleep(_AGAIN_S)
        return
    await asyncio.sleep(left_ms / 1000)
    # More than a little is a clock that was put back.
    while 0 < (early_ms := now_ms + left_ms - _now_ms()) <= _EARLY_MS:  # noqa: ASYNC110 - it is time that is awaited
        await asyncio.sleep((early_ms + 1) / 1000)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
