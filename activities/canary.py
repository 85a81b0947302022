"""Asking for the series of a `kayenta` gate's judgements, and looking at its queries before anything moves.

Both sides of a metric come from range queries over the same window and are folded in a thread: ranking fifty long
series takes seconds, in which other rollouts' polls and heartbeats must not wait.
"""

import asyncio
from math import isnan
from typing import Final

from activities.learning import Learnt
from activities.ports import Connections, MetricSource
from rollout.errors import Misconfigured
from rollout.gates import KayentaGate
from rollout.gates.kayenta import KayentaMetric
from rollout.judge import canary, judgements
from rollout.judge.canary import Points, Question
from rollout.judge.threshold import Vector
from rollout.judge.verdict import GateState
from rollout.judging import watched_in
from rollout.plan import stages
from rollout.queries import metric_names
from rollout.spec import RolloutSpec

_AT_ONCE: Final = 8  # metrics; a gate may have fifty, and the server has other guests


async def judged(
    connections: Connections, question: Question, state: GateState, now_ms: int, *, tolerated: bool
) -> GateState:
    """Make the judgements that have become due, in order.

    Args:
        connections: where to ask.
        question: gate and circumstances.
        state: its state before.
        now_ms: Unix milliseconds; nothing later is asked for.
        tolerated: whether judging goes on after a breach.

    Raises:
        MetricsUnavailable: no complete answer; everything since `state` is asked again.
        Misconfigured: a question is wrong.
    """
    source = connections.metrics(question.gate.connection)
    state = canary.entered(question, state)
    for window in canary.due(question, state, now_ms):
        if canary.settled(state, tolerated=tolerated):
            break
        seen = await _series(source, question.gate, judgements.times(question.gate, window))
        state = await asyncio.to_thread(canary.fold, question, state, window, seen)
    return canary.polled(question, state, now_ms)


async def look(connections: Connections, spec: RolloutSpec, name: str, gate: KayentaGate, now_ms: int) -> Learnt:
    """Preflight: the queries parse, every series is known, the windows can be judged.

    Raises:
        MetricsUnavailable: the metrics server does not answer.
        Misconfigured: it refuses a query, or one answers several series.
    """
    source = connections.metrics(gate.connection)
    planned = stages(spec)
    bakes = {planned[index].title: planned[index].bake for index in watched_in(planned, name)}
    for title, bake in bakes.items():
        if problem := judgements.unfit(gate, bake):
            return Learnt(problem=f"stage {title}: {problem}")
    asked = [query for metric in gate.metrics for query in (metric.candidate, metric.stable)]
    now = await _series(source, gate, range(now_ms, now_ms + 1, 1000))
    if unknown := await source.missing(tuple(sorted({each for query in asked for each in metric_names(query)}))):
        return Learnt(problem=f"no series is named {', '.join(unknown)}; a misspelt metric would never see anything")
    notes = [f"stage {title}: {note}" for title, bake in bakes.items() for note in judgements.remarks(gate, bake)]
    if silent := [metric for metric, points in now.items() if isnan(points.stable[0])]:
        notes.append(f"answers nothing for stable yet: {', '.join(silent)}")
    return Learnt(notes=tuple(notes))


async def _series(source: MetricSource, gate: KayentaGate, times: range) -> dict[str, Points]:
    """Both sides of every metric at these times."""
    few = asyncio.Semaphore(_AT_ONCE)

    async def of(metric: KayentaMetric) -> Points:
        async with few:
            sides = {"the candidate": metric.candidate, "stable": metric.stable}
            answers = await asyncio.gather(
                *(source.evaluate(query, times[0], times[-1], times.step) for query in sides.values())
            )
        candidate, stable = (
            _one(f"metric {metric.name}: the query about {side}", answer, times)
            for side, answer in zip(sides, answers, strict=True)
        )
        return Points(candidate, stable)

    found = await asyncio.gather(*(of(metric) for metric in gate.metrics))
    return {metric.name: points for metric, points in zip(gate.metrics, found, strict=True)}


def _one(what: str, answer: dict[int, Vector], times: range) -> tuple[float, ...]:
    """The only series of an answer, NaN where it has no point.

    Raises:
        Misconfigured: there are several.
    """
    labels = sorted({key for vector in answer.values() for key in vector})
    if len(labels) > 1:
        raise Misconfigured(
            f"{what} answers {len(labels)} series, such as {labels[0]}; aggregate in the query: sum(…), avg(…)"
        )
    return tuple(answer.get(at_ms, {}).get(labels[0] if labels else "", float("nan")) for at_ms in times)
