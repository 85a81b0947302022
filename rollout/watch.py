"""One watch, without its clock and its network: where it starts, what a poll adds, and when it is over.

A poll may bring several ticks per gate (after a crash or an outage the metrics store is asked for everything since the
watermark), so the evidence does not depend on when the polls happened. Property tests cut polls at random places and
expect the same state.
"""

from collections.abc import Mapping
from datetime import timedelta

from rollout import recovery
from rollout.durations import text
from rollout.gates import CeilingGate, CountingGate, KayentaGate, by_pods, with_sides
from rollout.judge import canary, ceiling, counting, merge, split, threshold
from rollout.judge.bets import Bets
from rollout.judge.counters import wanted_after
from rollout.judge.counting import Counted, Question
from rollout.judge.sample_ratio import SampleRatio, sample_ratio
from rollout.judge.threshold import Tick, Vector, text_seconds
from rollout.judge.verdict import GateState, Verdict
from rollout.messages import Unseen, Watched, WatchHealth, Watching

_POOLS = ("candidate", "stable")

MOST_TICKS = 500
MOST_AT_ONCE_MS = 600_000
DEAD_POLLS = 2  # a pool that is dead this long while it has traffic is not a hiccup


def begin(order: WatchHealth) -> Watching:
    """Where a first attempt starts: known states go on, new gates start now."""
    fresh = GateState(watermark_ms=order.since_ms)
    states = {name: order.states.get(name, fresh) for name in order.gates}
    for name in order.tests:
        states[name] = counting.entered(question(order, name), states[name])
    moving = "it was not looked at yet" if order.rolling else None
    return Watching(states=states, watermark_ms=order.since_ms, observed_ms=order.observed_ms, moving=moving)


def question(order: WatchHealth, name: str) -> Question:
    """What a gate that counts is asked in this watch."""
    gate = order.gates[name]
    assert isinstance(gate, CountingGate)  # noqa: S101 - a bug: only such gates have a test
    return Question(
        gate=gate,
        test=order.tests[name],
        since_ms=order.since_ms,
        arrived_ms=order.arrived_ms,
        poll_ms=poll_ms(order),
        counting=order.bake is not None,
        share=question_share(order),
        forced=order.forced,
        undecided=order.undecided,
    )


def canary_of(order: WatchHealth, gate: KayentaGate) -> canary.Question:
    """What a `kayenta` gate is asked in this watch."""
    return canary.Question(gate, order.bake, order.since_ms, order.arrived_ms, poll_ms(order))


def question_share(order: WatchHealth) -> float | None:
    """The share of requests that counts are held against; None where users stick, or the route drifts or moves."""
    return None if order.sticky or order.rolling or "drift" in order.acknowledged else order.percent / 100


def sided(order: WatchHealth, sides: Mapping[str, str]) -> tuple[WatchHealth, dict[str, str]]:
    """The order with the hashes of old and new pods in its gates, and for each gate that lacks them why.

    Args:
        order: the watch.
        sides: pool → hash of its pods, as far as a router has told it.
    """
    waiting = [name for name, gate in order.gates.items() if by_pods(gate)]
    if not waiting:
        return order, {}
    known = {name: with_sides(order.gates[name], sides) for name in waiting} if {*sides} >= {*_POOLS} else {}
    lacking = dict.fromkeys(set(waiting) - set(known), "the hash of the new pods is not known yet")
    return order.model_copy(update={"gates": order.gates | known}), lacking


def wanted(state: GateState, now_ms: int) -> tuple[int, int] | None:
    """After when and until when a gate that counts wants samples, Unix milliseconds; a long absence comes in parts."""
    if state.counters is None:
        return None
    after_ms = wanted_after(state.counters)
    until_ms = min(now_ms, max(after_ms, state.watermark_ms) + MOST_AT_ONCE_MS)
    return (after_ms, until_ms) if until_ms > after_ms else None


def fold_counts(order: WatchHealth, name: str, state: GateState, seen: Counted, until_ms: int) -> GateState:
    """Fold what a gate that counts has seen up to a moment."""
    return counting.fold(question(order, name), state, seen, until_ms)


def due(order: WatchHealth, state: GateState, now_ms: int) -> tuple[int, int] | None:
    """First and last tick to ask for, Unix milliseconds; None if the next one is still to come."""
    step = poll_ms(order)
    count = min((now_ms - state.watermark_ms) // step, MOST_TICKS)
    return (state.watermark_ms + step, state.watermark_ms + count * step) if count > 0 else None


def fold_gate(order: WatchHealth, name: str, state: GateState, ticks: Mapping[int, Vector | Tick]) -> GateState:
    """Fold a gate's ticks, oldest first; those up to the start of this watch do not count towards the bake.

    Stops at a breach that ends the watch, as a watch that had been awake would have: what came later is not an excuse.
    """
    for at_ms in sorted(ticks):
        state = _fold_tick(order, name, state, at_ms, ticks[at_ms])
        if _ends(order, name, state):
            break
    return state


def _ends(order: WatchHealth, name: str, state: GateState) -> bool:
    """Whether a gate's answer ends the watch at once."""
    bad = state.verdict is Verdict.BREACHED and name not in order.acknowledged
    return bad and not recovery.waits(order, name)


def _fold_tick(order: WatchHealth, name: str, state: GateState, at_ms: int, answer: Vector | Tick) -> GateState:
    gate = order.gates[name]
    counts = order.bake is not None and at_ms > order.since_ms
    match gate:
        case CountingGate() | KayentaGate():
            msg = f"gate {name} is a {gate.kind}: it has no ticks"
            raise TypeError(msg)
        case CeilingGate(worse_than=float()):
            vector = answer.vector if isinstance(answer, Tick) else answer
            told, bets = ceiling.fold(gate, state, state.bets or Bets(), at_ms, vector, counting=counts)
            return told.model_copy(update={"bets": bets})
        case _:
            return threshold.fold(gate, state, at_ms, answer, counting=counts, most_ms=2 * poll_ms(order))


def unseen(order: WatchHealth, watching: Watching, errors: dict[str, str], now_ms: int) -> dict[str, Unseen]:
    """What cannot be seen now: gates without data or without an answer, routes that cannot be read or proven.

    A question that failed counts from the gate's last answer, unless nobody asked for a while (no worker): then from
    now, or the first failure after an hour's absence would use up all patience at once.
    """
    away = watching.late_ms > poll_ms(order)
    found: dict[str, Unseen] = {}
    for name, state in watching.states.items():
        what = f"gate {name}"
        # Before the first new pod is there nothing can be told of it; how long that may take, its deadline says.
        if order.rolling and (name not in errors or by_pods(order.gates[name])):
            continue
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
    if news := _breached(order, watching) or _misrouted(order, watching) or _died(order, watching, now_ms):
        return news
    if watching.failed is not None:
        return Watched(why="breached", reason=watching.failed, watching=watching)
    if drift is not None and "drift" not in order.acknowledged:
        return Watched(why="drifted", reason=drift, watching=watching)
    if order.rolling and watching.moving is None and not _unread(order, watching):
        return Watched(why="arrived", watching=watching)
    if news := _blindness(order, watching, now_ms):
        return news
    if order.bake is None:
        return None
    if order.recovering:
        return recovery.concluded(
            order, watching, order.bake, lambda state: _behind(order, state, watching.watermark_ms)
        )
    return _end_of_bake(order, watching)


def _breached(order: WatchHealth, watching: Watching) -> Watched | None:
    """A gate's breach, or one that several gates prove together."""
    for name, state in watching.states.items():
        if _ends(order, name, state):
            return Watched(why="breached", gate=name, reason=state.sentence, watching=watching)
    return _merged(order, watching)


def _died(order: WatchHealth, watching: Watching, now_ms: int) -> Watched | None:
    for place, since_ms in watching.dead.items():
        if now_ms - since_ms >= DEAD_POLLS * poll_ms(order):
            reason = f"{place}: no member of the candidate pool is healthy, for {text_seconds(now_ms - since_ms)}"
            return Watched(why="breached", reason=reason, watching=watching)
    return None


def _unread(order: WatchHealth, watching: Watching) -> bool:
    """Whether a route could not be read, so that nobody knows whether it has arrived."""
    return any(str(route) in watching.unseen for route in order.routes)


def _merged(order: WatchHealth, watching: Watching) -> Watched | None:
    """A breach by what several gates prove together, each of them not enough."""
    known = {name: state.evidence.value for name, state in watching.states.items() if state.evidence}
    values = {name: value for name, value in (order.parked | known).items() if name not in order.acknowledged}
    found = merge.caught(values, order.budgets)
    led = found.led_by(watching.states) if found else None
    if led is None:
        return None
    also = f" together with {', '.join(led.others)}" if led.others else ""
    reason = f"{watching.states[led.gate].sentence}{also}; merged evidence {led.evidence:.0f}"
    return Watched(why="breached", gate=led.gate, reason=reason, watching=watching)


def _misrouted(order: WatchHealth, watching: Watching) -> Watched | None:
    """A split that is provably not the commanded one: a person must look."""
    if (fallen := _users(order, watching)) and fallen.wrong and "sample-ratio" not in order.acknowledged:
        return Watched(why="doubtful", gate="sample-ratio", reason=fallen.sentence, watching=watching)
    if "split" in order.acknowledged or question_share(order) is None:
        return None
    for name in order.tests:
        seen = watching.states[name].split
        if seen and seen.since_ms == order.arrived_ms and (reason := split.unbalanced(seen, order.percent / 100)):
            return Watched(why="doubtful", gate="split", reason=reason, watching=watching)
    return None


def _users(order: WatchHealth, watching: Watching) -> SampleRatio | None:
    """How an experiment's users fell to its two sides."""
    state = watching.states.get(order.users) if order.users else None
    total = state.evidence.total if state and state.evidence else None
    return sample_ratio(total.n_c, total.n_b, order.percent / 100) if total else None


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


def ripe(order: WatchHealth, watching: Watching) -> bool:
    """Whether a bake is over but for routes that cannot be seen or proven just now: worth looking again soon.

    A worker that takes over watches a route for a moment before it believes it; a whole poll would lengthen the bake.
    """
    places = {str(route) for route in order.routes}
    if order.bake is None or not watching.unseen or not {*watching.unseen} <= places:
        return False
    return _least_ms(watching) >= order.bake.total_seconds() * 1000


def _least_ms(watching: Watching) -> float:
    """How much of the bake every gate has seen, milliseconds."""
    return min((state.observed_ms for state in watching.states.values()), default=watching.observed_ms)


def _end_of_bake(order: WatchHealth, watching: Watching) -> Watched | None:
    wanted_ms = order.bake.total_seconds() * 1000 if order.bake else 0
    states = watching.states
    least_ms = _least_ms(watching)
    behind = any(_behind(order, state, watching.watermark_ms) for state in states.values())
    if behind or watching.unseen:
        return None
    if least_ms >= wanted_ms:
        if all(state.passes for state in states.values()):
            return Watched(why="baked", watching=watching)
        return _doubt(order, watching)
    proven = bool(order.tests) and all(state.verdict is Verdict.HEALTHY for state in states.values())
    if order.early and proven and least_ms >= 2 * poll_ms(order):
        return Watched(why="proven", watching=watching)
    return None


def _doubt(order: WatchHealth, watching: Watching) -> Watched | None:
    """What policy says about a bake that ends without a decision."""
    if order.undecided != "hold":
        return None
    for name in order.tests:
        told = f"undecided {name}"
        if watching.states[name].verdict is Verdict.UNDECIDED and told not in order.acknowledged:
            reason = f"the bake is over and undecided: {watching.states[name].sentence}"
            return Watched(why="doubtful", gate=told, reason=reason, watching=watching)
    return None


def _behind(order: WatchHealth, state: GateState, now_ms: int) -> bool:
    if state.counters is not None:
        return state.watermark_ms < now_ms - 2 * poll_ms(order)
    return due(order, state, now_ms) is not None


def old_after(poll: timedelta) -> timedelta:
    """Age at which an answer is old news and silence is worth telling."""
    return max(3 * poll, timedelta(seconds=15))


def poll_ms(order: WatchHealth) -> int:
    """Distance of ticks, milliseconds."""
    return round(order.poll.total_seconds() * 1000)
