"""What of a tick's answers counts: values beside the requests they are made of and beside stable's.

A ratio of three requests says nothing, and an outage that hits both versions is not the candidate's. Values are not
changed here, they are excused: people read the number that Prometheus gave, and why it does not count.
"""

from collections.abc import Mapping, Sequence
from math import isfinite, isnan

from rollout.gates.ceiling import CeilingGate
from rollout.gates.threshold import ThresholdGate
from rollout.judge import labels
from rollout.judge.threshold import Excuse, Tick, Vector


def effective(gate: ThresholdGate | CeilingGate, answers: Sequence[Vector]) -> Tick:
    """Reduce the answers to a gate's queries, all of one evaluation time, to what is folded.

    Label sets are matched without the label of the versions; a single nameless answer is about all of them. What
    answers twice for the same label set is taken for missing. Missing or too few requests: undecided, whatever the
    value. Missing, infinite or NaN baseline: there is none, and a bad value counts.

    Args:
        gate: whose queries.
        answers: one vector a query, in the order of `gate.queries`.
    """
    value, *others = answers
    if len(answers) != len(gate.queries):
        msg = f"{len(gate.queries)} answers are wanted, not {len(answers)}"
        raise ValueError(msg)
    if isinstance(gate, CeilingGate):
        return _without_stable(gate, value)
    label = gate.versions.label
    requests = _by_others(others[0], label) if gate.requests is not None else None
    baseline = _by_others(others[-1], label) if gate.baseline is not None else None
    excuses: dict[str, Excuse] = {}
    for element, number in value.items():
        if isnan(number):
            continue
        if requests is not None and (why := _too_few(gate, _found(requests, element, label))):
            excuses[element] = Excuse(why, decided=False)
        elif baseline is not None and gate.is_bad(number):
            known = _found(baseline, element, label)
            if known is not None and isfinite(known) and not gate.is_worse(number, known):
                excuses[element] = Excuse(f"stable has {known:.4g}", decided=True)
    return Tick(value, excuses=excuses)


def _without_stable(gate: CeilingGate, value: Vector) -> Tick:
    """Without stable's pods, should the query select both versions: they are not the candidate's fault."""
    label, stable = gate.versions.label, gate.versions.stable
    kept = {element: number for element, number in value.items() if labels.parsed(element).get(label) != stable}
    return Tick(kept, said="the query answers for stable only" if value and not kept else "")


def _too_few(gate: ThresholdGate, count: float | None) -> str | None:
    if count is None or isnan(count):
        return f"nobody says of how many requests (at least {gate.least_requests} are needed)"
    if count < gate.least_requests:
        return f"of {int(count)} requests only, too few to judge"
    return None


def _by_others(vector: Vector, label: str) -> Mapping[str, float]:
    """By label set without one label; what is then no longer told apart is left out."""
    found: dict[str, float] = {}
    twice: set[str] = set()
    for element, number in vector.items():
        key = labels.without(element, label)
        if key in found:
            twice.add(key)
        found[key] = number
    return {key: number for key, number in found.items() if key not in twice}


def _found(known: Mapping[str, float], element: str, label: str) -> float | None:
    exact = known.get(labels.without(element, label))
    return known.get("") if exact is None else exact
