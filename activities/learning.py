"""What stable's own past says about a gate that counts: does it count at all, how bursty is it, what can a bake see?

Asked before anything moves, by preflight and by `sluice plan --prometheus` alike, so the plan promises what the rollout
will judge. Rates here only size things up; evidence is made of raw increments (`rollout/judge/counters.py`).
"""

import asyncio
from datetime import timedelta
from typing import Final, NamedTuple

from activities.ports import Connections, MetricSource
from rollout.durations import text
from rollout.errors import MetricsUnavailable
from rollout.gates import CountingGate, LatencyGate, ProportionGate
from rollout.judge import dispersion
from rollout.judge.detect import Traffic
from rollout.judge.detectable import Detectable, detectable
from rollout.judge.dispersion import BLOCK_S, Block, Dispersion
from rollout.judge.labels import parsed
from rollout.judging import test_of, watched_in
from rollout.plan import Judged, stages
from rollout.queries import labelled, metric_names
from rollout.spec import RolloutSpec

PAST: Final = timedelta(hours=6)
_PODS: Final = "job, instance, pod, namespace"


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
    if problem := await _unknown(source, gate):
        return Learnt(problem=problem)
    native = isinstance(gate, LatencyGate) and bool(await source.missing(metric_names(gate.trials)))
    if problem := await _unfit(source, gate, now_ms, native=native):
        return Learnt(problem=problem)
    if native:
        learnt, traffic = dispersion.assumed("the past of native histograms is not read"), None
    else:
        learnt, traffic = await _past(source, gate, now_ms)
    judged = Judged(
        phi=learnt.phi,
        dispersion=learnt.source,
        native=native,
        sees=_sees(spec, name, gate, traffic, learnt.phi) if traffic else (),
    )
    quiet = () if traffic else ("stable has counted nothing yet, so nobody knows what the bakes can see",)
    return Learnt(judged=judged, notes=quiet)


async def _unknown(source: MetricSource, gate: CountingGate) -> str | None:
    """A metric that the server has never heard of."""
    names = {*metric_names(gate.trials), *metric_names(gate.events)}
    missing = await source.missing(tuple(sorted(names)))
    if missing and isinstance(gate, LatencyGate):  # a native histogram has neither _count nor _bucket
        missing = await source.missing(metric_names(gate.native))
    if not missing:
        return None
    return f"no series is named {', '.join(missing)}; a misspelt metric would never see anything"


async def _unfit(source: MetricSource, gate: CountingGate, now_ms: int, *, native: bool) -> str | None:
    """What keeps stable's series from being counted: the wrong label, or a limit inside a bucket."""
    label = gate.versions.label
    trials = gate.native if native and isinstance(gate, LatencyGate) else gate.trials
    seen = await _values(source, label, trials, now_ms)
    if gate.versions.stable not in seen:
        values = ", ".join(sorted(value for value in seen if value)) or "none"
        return f'no series of {trials} has {label}="{gate.versions.stable}"; its values are {values}'
    if not isinstance(gate, LatencyGate) or native or await _values(source, "le", gate.events, now_ms):
        return None
    bounds = await _values(source, "le", labelled(gate.histogram, {}, "_bucket"), now_ms)
    shown = ", ".join(sorted((bound for bound in bounds if bound), key=float)) or "none"
    limit = text(gate.slower_than)
    return f"slower_than: {limit} is no boundary of {gate.histogram}; its boundaries are {shown} seconds"


async def _values(source: MetricSource, label: str, selector: str, now_ms: int) -> set[str]:
    """Values of a label among the series that are there now."""
    answers = await source.evaluate(f"count by ({label}) ({selector})", now_ms, now_ms, 1000)
    return {parsed(key).get(label, "") for vector in answers.values() for key in vector}


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
            source.evaluate(f"sum by ({_PODS}) ({labelled(selector, {label: stable})})", start_ms, end_ms, step_ms)
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
            (planned[index].percent, planned[index].bake),
        )
        for index in watched_in(planned, name)
    )
