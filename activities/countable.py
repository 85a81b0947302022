"""Whether the series that a gate selects can be counted at all.

Asked before anything moves, because a wrong selector does not fail: one that sees no error looks like health, one that
sees every pod twice looks like twice the proof, and one that selects too much ends in the middle of a rollout. All
questions go out at once, so that a slow server delays a start by one answer and not by six. Reading the label names by
another endpoint (`/api/v1/series`) was rejected: it is one more thing that a proxy in front of the server must allow.
"""

import asyncio
import re
from collections.abc import Iterable
from datetime import timedelta
from typing import Final, NamedTuple

from activities.ports import MetricSource
from rollout.durations import text
from rollout.errors import MetricsUnavailable, Misconfigured
from rollout.gates import CountingGate, LatencyGate
from rollout.judge.counters import MOST_SERIES
from rollout.judge.labels import parsed
from rollout.judge.threshold import Vector
from rollout.queries import labelled, selector

PAST: Final = timedelta(hours=6)
PODS: Final = ("job", "instance", "pod", "namespace")
COPIES: Final = ("replica", "prometheus", "prometheus_replica", "receive", "receive_replica", "monitor")
"""Labels by which servers that scrape the same pods twice tell their copies apart."""

_CURE = "narrow the selector, or drop labels such as the path by a recording rule with `sum without (path)`"
_MATCHER = re.compile(r"([a-zA-Z_]\w*)\s*(=~|!~|!=|=)\s*(\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|`[^`]*`)")


class Countable(NamedTuple):
    """What is known about a gate's series.

    Attributes:
        native: whether the histogram is a native one.
        problems: why they cannot be counted, one sentence each.
        notes: what a person should know.
    """

    native: bool = False
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class _Seen(NamedTuple):
    """What the server knows; of every vector the values are numbers of series.

    Attributes:
        missing: metrics without any series.
        trials: series of both versions, by version, pod and copy.
        natives: the same of a native histogram.
        events: series of the events, by version.
        ever: the same of the last hours; None where that is not asked, or is too much to ask.
        own: series of the events' metric, by the labels that its selector names; None likewise.
    """

    missing: tuple[str, ...]
    trials: Vector
    natives: Vector
    events: Vector
    ever: Vector | None
    own: Vector | None


async def countable(source: MetricSource, gate: CountingGate, now_ms: int) -> Countable:
    """Look at the series of a gate that counts.

    Raises:
        MetricsUnavailable: the metrics server does not answer.
        Misconfigured: it refuses a selector.
    """
    seen = await _look(source, gate, now_ms)
    if unknown := _unknown(gate, seen.missing):
        return Countable(problems=(f"no series is named {unknown}; a misspelt metric would never see anything",))
    native = isinstance(gate, LatencyGate) and selector(gate.trials)[0] in seen.missing
    trials = seen.natives if native else seen.trials
    if gate.versions.stable not in _values(trials, gate.versions.label):
        written = gate.histogram if native and isinstance(gate, LatencyGate) else gate.trials
        return Countable(native, (await _without_stable(source, gate, written, now_ms),))
    problems, notes = [], []
    if isinstance(gate, LatencyGate) and not native and not seen.events:
        problems.append(await _no_boundary(source, gate, now_ms))
    elif not native:
        problems += _unlabelled(gate, seen)
        if not seen.ever and seen.ever is not None and not problems:
            notes.append(f"no {gate.noun} were ever selected by {gate.events} in the last {text(PAST)}; is it right?")
    if copies := _copies(gate, trials):
        problems.append(
            f"the same pod is there more than once (label {copies}): ask one replica or deduplicate, otherwise "
            "evidence counts twice"
        )
    much = _too_many(gate, trials, {} if native or gate.counts_good else seen.events)
    problems += much.problems
    notes += much.notes
    if any(not parsed(key).keys() & set(PODS) for key in trials):
        notes.append("its series name no pod: a restart cannot be told from a fall; keep the label instance")
    return Countable(native, tuple(problems), tuple(notes))


async def _look(source: MetricSource, gate: CountingGate, now_ms: int) -> _Seen:
    """Ask everything at once."""
    label, latency = gate.versions.label, isinstance(gate, LatencyGate)
    detailed = (label, *PODS, *COPIES)
    return _Seen(
        *await asyncio.gather(
            source.missing(_names(gate)),
            _counted(source, detailed, gate.of_versions(gate.trials), now_ms),
            _counted(source, detailed, gate.native if isinstance(gate, LatencyGate) else "", now_ms),
            _counted(source, (label,), gate.events, now_ms),
            _if_possible(source, (label,), "" if latency else f"last_over_time({gate.events}[{text(PAST)}])", now_ms),
            _if_possible(source, () if latency else _own(gate.events), selector(gate.events)[0], now_ms),
        )
    )


async def _counted(source: MetricSource, labels: Iterable[str], of: str, now_ms: int) -> Vector:
    """Numbers of series now, by these labels; nothing is asked without labels or selector."""
    by = ", ".join(dict.fromkeys(labels))
    if not by or not of:
        return {}
    answers = await source.evaluate(f"count by ({by}) ({of})", now_ms, now_ms, 1000)
    return next(iter(answers.values()), {})


async def _if_possible(source: MetricSource, labels: tuple[str, ...], of: str, now_ms: int) -> Vector | None:
    """The same, of what may be too much to ask; a selector that is wrong is refused in the other questions as well."""
    if not labels or not of:
        return None
    try:
        return await _counted(source, labels, of, now_ms)
    except (MetricsUnavailable, Misconfigured):
        return None


def _names(gate: CountingGate) -> tuple[str, ...]:
    written = [gate.trials, gate.events, *([gate.histogram] if isinstance(gate, LatencyGate) else [])]
    return tuple(sorted({selector(each)[0] for each in written}))


def _unknown(gate: CountingGate, missing: tuple[str, ...]) -> str:
    """Metrics that the server should know and does not; a service without errors may have no series of them."""
    trials, events = selector(gate.trials)[0], selector(gate.events)[0]
    if isinstance(gate, LatencyGate):  # a native histogram has neither _count nor _bucket
        name = selector(gate.histogram)[0]
        return name if name in missing and {trials, events} & set(missing) else ""
    return ", ".join(missing) if trials in missing else ""


def _own(written: str) -> tuple[str, ...]:
    """Labels that a selector names, apart from those that it wants to be absent."""
    found = _MATCHER.findall(selector(written)[1])
    wanted = [label for label, how, value in found if (how, value[1:-1]) not in {("=", ""), ("!~", ".+")}]
    return tuple(dict.fromkeys(wanted))


def _values(vector: Vector, label: str) -> set[str]:
    return {value for key in vector if (value := parsed(key).get(label))}


async def _without_stable(source: MetricSource, gate: CountingGate, written: str, now_ms: int) -> str:
    label = gate.versions.label
    values = _shown(_values(await _counted(source, (label,), written, now_ms), label))
    return f'no series of {written} has {label}="{gate.versions.stable}"; its values are {values}'


async def _no_boundary(source: MetricSource, gate: LatencyGate, now_ms: int) -> str:
    buckets = await _counted(source, ("le",), labelled(gate.histogram, {}, "_bucket"), now_ms)
    shown = ", ".join(sorted(_values(buckets, "le"), key=float)) or "none"
    limit = text(gate.slower_than)
    return f"slower_than: {limit} is no boundary of {gate.histogram}; its boundaries are {shown} seconds"


def _unlabelled(gate: CountingGate, seen: _Seen) -> list[str]:
    """Why the events would never be seen: a label that nothing has, or the versions' label is not on them."""
    name, sides = selector(gate.events)[0], gate.versions
    if seen.own and (strange := [label for label in _own(gate.events) if not _values(seen.own, label)]):
        labels = f"no series of {name} has the label {', '.join(strange)}"
        return [f"{labels}, which {gate.events} asks for; it would see none of the {gate.noun}, or all requests"]
    known = seen.events if seen.ever is None else seen.ever
    values = _values(known, sides.label)
    if not known or values & {sides.stable, sides.candidate}:
        return []
    wanted = f'{sides.label}="{sides.stable}" or {sides.label}="{sides.candidate}"'
    return [f"no series of {gate.events} has {wanted}; its values are {_shown(values)}"]


def _copies(gate: CountingGate, trials: Vector) -> str:
    """Labels of which one pod has several values."""
    values: dict[tuple[str, ...], set[str]] = {}
    for key in trials:
        labels = parsed(key)
        pod = tuple(labels.get(label, "") for label in (gate.versions.label, *PODS))
        for copy in COPIES:
            values.setdefault((copy, *pod), set()).add(labels.get(copy, ""))
    several = {copy for (copy, *_), each in values.items() if len(each) > 1}
    return ", ".join(copy for copy in COPIES if copy in several and copy != gate.versions.label)


def _too_many(gate: CountingGate, trials: Vector, events: Vector) -> Countable:
    sides = {gate.versions.stable, gate.versions.candidate}
    of_trials = round(sum(trials.values()))
    of_events = round(sum(many for key, many in events.items() if parsed(key).get(gate.versions.label) in sides))
    total = of_trials + of_events
    parts = f"{total} series to count ({of_trials} of the trials and {of_events} of the {gate.noun})"
    if total > MOST_SERIES:
        return Countable(problems=(f"{parts}, more than {MOST_SERIES}: {_CURE}",))
    if 4 * total > 3 * MOST_SERIES:
        return Countable(notes=(f"{parts}, of at most {MOST_SERIES}; new pods add to them: {_CURE}",))
    return Countable()


def _shown(values: set[str]) -> str:
    return ", ".join(sorted(values)) or "none"
