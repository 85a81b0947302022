"""One watch, without its clock and its network: where it starts, what a poll adds, and when it is over.

A poll may bring several ticks per gate (after a crash or an outage the metrics store is asked for everything since the
watermark), so the evidence does not depend on when the polls happened. Property tests cut polls at random places and
expect the same state.
"""

from datetime import timedelta

from rollout.durations import text
from rollout.judge import threshold
from rollout.judge.threshold import Vector, text_seconds
from rollout.judge.verdict import GateState, Verdict
from rollout.messages import Unseen, Watched, WatchHealth, Watching

MOST_TICKS = 500
DEAD_POLLS = 2  # a pool that is dead this long while it has traffic is not a hiccup


def begin(order: WatchHealth) -> Watching:
    """Where a first attempt starts: known states go on, new gates start now."""
    fresh = GateState(watermark_ms=order.since_ms)
    states = {name: order.states.get(name, fresh) for name in order.gates}
    return Watching(states=states, watermark_ms=order.since_ms, observed_ms=order.observed_ms)


def due(order: WatchHealth, state: GateState, now_ms: int) -> tuple[int, int] | None:
    """First and last tick to ask for, Unix milliseconds; None if the next one is still to come."""
    step = poll_ms(order)
    count = min((now_ms - state.watermark_ms) // step, MOST_TICKS)
    return (state.watermark_ms + step, state.watermark_ms + count * step) if count > 0 else None


def fold_gate(order: WatchHealth, name: str, state: GateState, ticks: dict[int, Vector]) -> GateState:
    """Fold a gate's ticks, oldest first; those up to the start of this watch do not count towards the bake.

    Stops at a breach that ends the watch, as a watch that had been awake would have: what came later is not an excuse.
    """
    for at_ms in sorted(ticks):
        counting = order.bake is not None and at_ms > order.since_ms
        state = threshold.fold(order.gates[name], state, at_ms, ticks[at_ms], counting=counting)
        if state.verdict is Verdict.BREACHED and name not in order.acknowledged:
            break
    return state


def unseen(order: WatchHealth, watching: Watching, errors: dict[str, str], now_ms: int) -> dict[str, Unseen]:
    """What cannot be seen now: gates without data or without an answer, routes that cannot be read or proven.

    A question that failed counts from the gate's last answer, unless nobody asked for a while (no worker): then from
    now, or the first failure after an hour's absence would use up all patience at once.
    """
    away = watching.late_ms > poll_ms(order)
    found: dict[str, Unseen] = {}
    for name, state in watching.states.items():
        what = f"gate {name}"
        if name in errors:
            last_ms = now_ms if away else state.blind_since_ms or state.watermark_ms
            found[what] = Unseen(since_ms=_known_since(watching, what, last_ms), reason=errors[name])
        elif state.blind_since_ms is not None:
            found[what] = Unseen(since_ms=state.blind_since_ms, reason=state.sentence)
    for place in (str(route) for route in order.routes):
        if place in errors:
            found[place] = Unseen(since_ms=_known_since(watching, place, now_ms), reason=errors[place])
    return found


def _known_since(watching: Watching, what: str, otherwise_ms: int) -> int:
    return watching.unseen[what].since_ms if what in watching.unseen else otherwise_ms


def conclude(order: WatchHealth, watching: Watching, drift: str | None, now_ms: int) -> Watched | None:
    """Whether a poll ends the watch: the worst news first."""
    for name, state in watching.states.items():
        if state.verdict is Verdict.BREACHED and name not in order.acknowledged:
            return Watched(why="breached", gate=name, reason=state.sentence, watching=watching)
    for place, since_ms in watching.dead.items():
        if now_ms - since_ms >= DEAD_POLLS * poll_ms(order):
            reason = f"{place}: no member of the candidate pool is healthy, for {text_seconds(now_ms - since_ms)}"
            return Watched(why="breached", reason=reason, watching=watching)
    if drift is not None and "drift" not in order.acknowledged:
        return Watched(why="drifted", reason=drift, watching=watching)
    if news := _blindness(order, watching, now_ms):
        return news
    if order.bake is not None and _baked(order, watching):
        return Watched(why="baked", watching=watching)
    return None


def _blindness(order: WatchHealth, watching: Watching, now_ms: int) -> Watched | None:
    longest = max(watching.unseen.items(), key=lambda item: now_ms - item[1].since_ms, default=None)
    if longest is None:
        return Watched(why="sighted", watching=watching) if order.announced_blind else None
    name, gap = longest
    lasted_ms = now_ms - max(gap.since_ms, order.patient_since_ms)
    reason = f"{name}, for {text_seconds(lasted_ms)}: {gap.reason}"
    if lasted_ms >= order.no_data_hold.total_seconds() * 1000 and "no-data" not in order.acknowledged:
        return Watched(why="no-data", reason=f"{reason} (limit {text(order.no_data_hold)})", watching=watching)
    if order.announced_blind is False and timedelta(milliseconds=lasted_ms) >= old_after(order.poll):
        return Watched(why="blind", reason=f"{name}: {gap.reason}", watching=watching)
    return None


def _baked(order: WatchHealth, watching: Watching) -> bool:
    wanted_ms = order.bake.total_seconds() * 1000 if order.bake else 0
    least = min((state.observed_ms for state in watching.states.values()), default=watching.observed_ms)
    healthy = all(state.verdict is Verdict.HEALTHY for state in watching.states.values())
    behind = any(due(order, state, watching.watermark_ms) for state in watching.states.values())
    return least >= wanted_ms and healthy and not behind and not watching.unseen


def old_after(poll: timedelta) -> timedelta:
    """Age at which an answer is old news and silence is worth telling."""
    return max(3 * poll, timedelta(seconds=15))


def poll_ms(order: WatchHealth) -> int:
    """Distance of ticks, milliseconds."""
    return round(order.poll.total_seconds() * 1000)
