"""What a metrics server still knows of a past time, as a recording: for `sluice backtest --prometheus`.

Counts are folded from raw samples exactly as in a rollout; rules are asked at every poll. A range is asked for piece by
piece, because a server refuses a whole day of raw samples. A server that does not answer ends it: half a recording
would say "nothing was counted" where nobody could ask.
"""

import asyncio
from typing import NamedTuple

from activities.asking import counted
from activities.ports import Connections
from rollout.gates import CountingGate, LatencyGate, ThresholdGate
from rollout.gates.ceiling import CeilingGate
from rollout.judge import counters, recording
from rollout.judge.effective import effective
from rollout.judge.recording import Timed
from rollout.judge.samples import Line, replayable
from rollout.judge.threshold import Vector
from rollout.queries import metric_names
from rollout.spec import RolloutSpec

PIECE_MS = 600_000


class Span(NamedTuple):
    """A time in the past, Unix milliseconds; the end is included."""

    since_ms: int
    until_ms: int


async def recalled(connections: Connections, spec: RolloutSpec, span: Span, percent: float | None = None) -> list[Line]:
    """One run, line by line.

    Args:
        connections: where to ask; each gate by its own connection.
        spec: whose gates.
        span: when the run was.
        percent: percent of traffic on the candidate, all the time; None: its share of what was counted.

    Raises:
        MetricsUnavailable: no complete answer.
        Misconfigured: no such connection, or a query is wrong.
    """
    gates = replayable(spec.gates)
    every_ms = round(spec.policy.poll.total_seconds() * 1000)
    counts, values = await asyncio.gather(
        asyncio.gather(*(_counts(connections, gate, span) for gate in gates.counting.values())),
        asyncio.gather(*(_values(connections, gate, span, every_ms) for gate in gates.rules.values())),
    )
    by_gate = dict(zip(gates.counting, counts, strict=True))
    share = recording.observed_percent(by_gate) if percent is None else percent
    return recording.lines(span.since_ms, share, by_gate, dict(zip(gates.rules, values, strict=True)))


async def _counts(connections: Connections, gate: CountingGate, span: Span) -> list[Timed]:
    """Every complete batch of a gate that counts."""
    native = isinstance(gate, LatencyGate) and await _only_native(connections, gate)
    state, found = counters.begin(span.since_ms), list[Timed]()
    done_ms = counters.wanted_after(state)
    while done_ms < span.until_ms:
        done_ms = min(done_ms + PIECE_MS, span.until_ms)
        seen = await counted(connections, gate, counters.wanted_after(state), done_ms, native=native)
        state, batches = counters.fold(state, gate.versions, *seen, good=gate.counts_good, until_ms=done_ms)
        found += recording.timed(state, batches)
    return found


async def _only_native(connections: Connections, gate: LatencyGate) -> bool:
    """Whether the server has this histogram as a native one only; of an old one that is gone it has neither."""
    source = connections.metrics(gate.connection)
    classic = await source.missing(metric_names(gate.trials))
    return bool(classic) and not await source.missing(metric_names(gate.native))


async def _values(
    connections: Connections, gate: ThresholdGate | CeilingGate, span: Span, every_ms: int
) -> dict[int, Vector | None]:
    """The answer to a rule's query at every poll, without what is stable's."""
    source = connections.metrics(gate.connection)
    answers = await source.evaluate(gate.queries[0], *span, every_ms)
    if isinstance(gate, CeilingGate):
        return {at_ms: effective(gate, [vector]).vector for at_ms, vector in answers.items()}
    return dict(answers)
