"""What each kind of gate asks at a poll, and of whom. The answers are folded by the pure core (`rollout/watch.py`).

One exhaustive match: a new kind of gate is a `case` here that mypy misses until it is there.
"""

import asyncio
from collections.abc import Mapping
from typing import assert_never

from activities import canary
from activities.ports import Connections
from rollout import watch
from rollout.gates import (
    AlertGate,
    CeilingGate,
    CountingGate,
    KayentaGate,
    LatencyGate,
    ProbeGate,
    ProportionGate,
    ThresholdGate,
    WebGate,
)
from rollout.judge import alert, probe, web
from rollout.judge.counters import Series
from rollout.judge.counting import Counted
from rollout.judge.effective import effective
from rollout.judge.threshold import Tick, Vector
from rollout.judge.verdict import GateState
from rollout.messages import WatchHealth


async def asked(connections: Connections, order: WatchHealth, name: str, state: GateState, now_ms: int) -> GateState:
    """Ask a gate for everything since its watermark, and fold it.

    Args:
        connections: where to ask.
        order: the watch.
        name: the gate.
        state: its state before.
        now_ms: Unix milliseconds; nothing later is asked for.

    Raises:
        MetricsUnavailable: no complete answer.
        Misconfigured: the question is wrong.
    """
    gate = order.gates[name]
    match gate:
        case CountingGate():
            window = watch.wanted(state, now_ms)
            if window is None:  # nothing to count yet; the clock goes on
                return watch.fold_counts(order, name, state, Counted((), ()), now_ms)
            seen = await counted(connections, gate, *window, native=name in order.native)
            return watch.fold_counts(order, name, state, seen, window[1])
        case ThresholdGate() | CeilingGate():
            ticks = watch.due(order, state, now_ms)
            if ticks is None:
                return state
            answers = await _evaluated(connections, gate, *ticks, watch.poll_ms(order))
            return watch.fold_gate(order, name, state, answers)
        case KayentaGate():
            question, tolerated = watch.canary_of(order, gate), name in order.acknowledged
            return await canary.judged(connections, question, state, now_ms, tolerated=tolerated)
        case AlertGate() | ProbeGate() | WebGate():
            if now_ms <= state.watermark_ms:
                return state
            return watch.fold_gate(order, name, state, {now_ms: await now(connections, gate, now_ms)})
        case _ as never:
            assert_never(never)


async def now(connections: Connections, gate: AlertGate | ProbeGate | WebGate, now_ms: int) -> Tick:
    """What a gate says that can only be asked about the present."""
    match gate:
        case AlertGate():
            return alert.judged(gate, await connections.metrics(gate.connection).alerts(), now_ms)
        case ProbeGate():
            return probe.judged(gate, await connections.web(gate.connection).fetch(probe.request(gate)))
        case WebGate():
            return web.judged(gate, await connections.web(gate.connection).fetch(web.request(gate)))
        case _ as never:
            assert_never(never)


async def _evaluated(
    connections: Connections, gate: ThresholdGate | CeilingGate, start_ms: int, end_ms: int, step_ms: int
) -> Mapping[int, Tick | Vector]:
    """A tick for every evaluation time, out of all that the gate asks."""
    source = connections.metrics(gate.connection)
    answers = await asyncio.gather(*(source.evaluate(query, start_ms, end_ms, step_ms) for query in gate.queries))
    if isinstance(gate, CeilingGate) and gate.worse_than is not None:
        return dict(answers[0])
    return {at_ms: effective(gate, [answer.get(at_ms, {}) for answer in answers]) for at_ms in answers[0]}


async def counted(
    connections: Connections, gate: CountingGate, after_ms: int, until_ms: int, *, native: bool
) -> Counted:
    """Raw samples of what a gate counts, both selectors up to the same moment."""
    source = connections.metrics(gate.connection)
    if native and isinstance(gate, LatencyGate):
        limit_s = gate.slower_than.total_seconds()
        window = (after_ms, until_ms)
        (trials, generous), (_, strict) = await asyncio.gather(
            source.histograms(gate.native, limit_s, *window, straddle="within"),
            source.histograms(gate.native, limit_s, *window, straddle="beyond"),
        )
        # A bucket around the limit never speaks against the candidate: its side counts it as within, stable's beyond.
        mine = gate.versions.candidate
        within = [series for series in generous if series.labels.get(gate.versions.label) == mine]
        return Counted(trials, within + [series for series in strict if series.labels.get(gate.versions.label) != mine])
    lag_ms = round(gate.matures_in.total_seconds() * 1000) if isinstance(gate, ProportionGate) else 0
    trials, events = await asyncio.gather(
        source.samples(gate.of_versions(gate.trials), after_ms - lag_ms, until_ms - lag_ms),
        source.samples(gate.of_versions(gate.events), after_ms, until_ms),
    )
    return Counted(tuple(_later(series, lag_ms) for series in trials) if lag_ms else trials, events)


def _later(series: Series, by_ms: int) -> Series:
    """The sessions of `by_ms` ago are those whose successes come now."""
    return Series(series.labels, tuple((at_ms + by_ms, value) for at_ms, value in series.points))
