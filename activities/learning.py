"""What stable's own past says about a gate that counts: does it count at all, how bursty is it, what can a bake see?

Asked before anything moves, by preflight and by `sluice plan --prometheus` alike, so the plan promises what the rollout
will judge. Rates here only size things up; evidence is made of raw increments (`rollout/judge/counters.py`).
"""

import asyncio
from datetime import timedelta
from typing import NamedTuple

from activities.countable import PAST, PODS, countable
from activities.ports import Connections, MetricSource
from rollout.errors import MetricsUnavailable
from rollout.gates import CountingGate, ProportionGate
from rollout.judge import dispersion
from rollout.judge.detect import Traffic
from rollout.judge.detectable import Detectable, detectable
from rollout.judge.dispersion import BLOCK_S, Block, Dispersion
from rollout.judging import test_of, watched_in
from rollout.plan import Judged, stages
from rollout.queries import labelled
from rollout.spec import RolloutSpec


class Learnt(NamedTuple):
    """What is known about a gate.

    Attributes:
        judged: how it will be judged.
        problem: why the rollout must not start, as a sentence; None if it may.
        notes: what a person should know.
    """

    judged: Judged = Judged()
    problem: str | None = None
    notes: tuple[str, ...] = ()


async def learn(connections: Connections, spec: RolloutSpec, name: str, gate: CountingGate, now_ms: int) -> Learnt:
    """Look at the past of a gate that counts.

    Raises:
        MetricsUnavailable: the metrics server does not answer at all.
        Misconfigured: it refuses a selector.
    """
    source = connections.metrics(gate.connection)
    found = await countable(source, gate, now_ms)
    if found.problems:
        return Learnt(problem="; ".join(found.problems), notes=found.notes)
    if found.native:
        learnt, traffic = dispersion.assumed("the past of native histograms is not read"), None
    else:
        learnt, traffic = await _past(source, gate, now_ms)
    judged = Judged(
        phi=learnt.phi,
        dispersion=learnt.source,
        native=found.native,
        sees=_sees(spec, name, gate, traffic, learnt.phi) if traffic else (),
    )
    quiet = () if traffic else ("stable has counted nothing yet, so nobody knows what the bakes can see",)
    return Learnt(judged=judged, notes=(*found.notes, *quiet))


async def _past(source: MetricSource, gate: CountingGate, now_ms: int) -> tuple[Dispersion, Traffic | None]:
    """Dispersion and traffic of stable's past; a server that cannot answer so much at once costs the first one only."""
    fixed = None if gate.dispersion == "auto" else dispersion.given(gate.dispersion)
    span = timedelta(hours=1) if fixed else PAST
    try:
        pods = await _blocks(source, gate, now_ms, span)
    except MetricsUnavailable as error:
        return fixed or dispersion.assumed(f"the past could not be read ({error})"), None
    learnt = fixed or dispersion.dispersion(
        pods, kind="odds" if isinstance(gate, ProportionGate) else "whose", noun=gate.noun
    )
    trials = sum(n for blocks in pods.values() for n, _ in blocks)
    events = sum(x for blocks in pods.values() for _, x in blocks)
    if not trials:
        return learnt, None
    busy = [number for number, blocks in enumerate(zip(*pods.values(), strict=True)) if any(n for n, _ in blocks)]
    return learnt, Traffic(trials / ((busy[-1] - busy[0] + 1) * BLOCK_S), events / trials)


async def _blocks(source: MetricSource, gate: CountingGate, now_ms: int, span: timedelta) -> dict[str, list[Block]]:
    """Trials and events of every pod of stable, for blocks of 15 s, oldest first."""
    label, stable, step_ms = gate.versions.label, (gate.versions.stable,), BLOCK_S * 1000
    end_ms = now_ms - now_ms % step_ms
    start_ms = end_ms - round(span / timedelta(milliseconds=1))
    trials, events = await asyncio.gather(
        *(
            source.evaluate(
                f"sum by ({', '.join(PODS)}) ({labelled(selector, {label: stable})})", start_ms, end_ms, step_ms
            )
            for selector in (gate.trials, gate.events)
        )
    )
    times = range(start_ms, end_ms + 1, step_ms)
    pods = sorted({pod for vector in trials.values() for pod in vector})
    found = {}
    for pod in pods:
        n = _increments([trials.get(at, {}).get(pod) for at in times])
        x = _increments([events.get(at, {}).get(pod) for at in times])
        found[pod] = [
            (many, max(0, many - few) if gate.counts_good else min(few, many)) for many, few in zip(n, x, strict=True)
        ]
    return found


def _increments(values: list[float | None]) -> list[int]:
    """Increments of a cumulative counter between neighbouring times; 0 where it was not there, resets seen through."""
    found, before = [], None
    for value in values:
        risen = 0.0 if value is None or before is None else value - before if value >= before else value
        found.append(round(risen))
        before = value if value is not None else before
    return found[1:]


def _sees(spec: RolloutSpec, name: str, gate: CountingGate, traffic: Traffic, phi: float) -> tuple[Detectable, ...]:
    """For each stage that watches a gate, what its bake can see."""
    planned = stages(spec)
    return tuple(
        detectable(
            planned[index].title,
            name,
            gate,
            test_of(spec, planned, name, index, phi),
            traffic,
            # While pods are replaced, old and new share the traffic: half and half on average.
            (50 if planned[index].rolls else planned[index].percent, planned[index].bake),
        )
        for index in watched_in(planned, name)
    )
