"""`threshold`: an expression and a limit with the `for:` semantics of a Prometheus alerting rule, exactly.

One state per output label set (Prometheus `rules/alerting.go`, `AlertingRule.Eval`): bad for the first time at t →
pending, activeAt = t; still bad at a later t with t - activeAt ≥ `for` → firing (`for: 2m` at 15 s needs nine bad
evaluations); `for: 0` fires at once. Not bad, NaN or gone → forgotten, the clock restarts from zero. An evaluation that
failed never reaches this fold, so the state stays untouched while the clock, being only activeAt, runs on.

Two things differ from an alert, on purpose. Nothing finite to look at is `no-data`, not "fine"; and a pending rule is
`undecided`, so that a bake does not end inside the two minutes in which the rule is making up its mind.
"""

from datetime import timedelta
from math import isfinite, isnan

from rollout.durations import text
from rollout.gates import ThresholdGate
from rollout.judge.verdict import GateState, Verdict

Vector = dict[str, float]
"""One instant vector: label set (as text) → value."""


def fold(gate: ThresholdGate, state: GateState, at_ms: int, vector: Vector, *, counting: bool) -> GateState:
    """Fold one evaluation into the state.

    Args:
        gate: the limit.
        state: the state before.
        at_ms: evaluation time, Unix milliseconds; must be later than the state's watermark.
        vector: the expression's value at that time; empty when nothing answers.
        counting: whether this tick counts towards the bake (it does not while held or waiting for people).

    Raises:
        ValueError: the tick is not later than the watermark; folding it again would count it twice.
    """
    if at_ms <= state.watermark_ms:
        msg = f"evaluation at {at_ms} ms is not after the watermark {state.watermark_ms} ms"
        raise ValueError(msg)
    bad = {labels: value for labels, value in vector.items() if gate.is_bad(value)}
    active = {labels: state.active.get(labels, at_ms) for labels in bad}
    firing = {labels: since for labels, since in active.items() if at_ms - since >= gate.for_.total_seconds() * 1000}
    seen = any(isfinite(value) for value in vector.values()) or bool(bad)
    verdict = _verdict(firing=bool(firing), pending=bool(active), seen=seen)
    return GateState(
        watermark_ms=at_ms,
        observed_ms=state.observed_ms + (at_ms - state.watermark_ms if counting and seen else 0),
        active=active,
        verdict=verdict,
        sentence=_sentence(gate, verdict, vector, active, at_ms),
        blind_since_ms=None if seen else state.blind_since_ms or at_ms,
    )


def _verdict(*, firing: bool, pending: bool, seen: bool) -> Verdict:
    if firing:
        return Verdict.BREACHED
    if pending:
        return Verdict.UNDECIDED
    return Verdict.HEALTHY if seen else Verdict.NO_DATA


def _sentence(gate: ThresholdGate, verdict: Verdict, vector: Vector, active: dict[str, int], at_ms: int) -> str:
    if verdict is Verdict.NO_DATA:
        return "the query answers NaN: nothing to count yet" if vector else "the query answers nothing"
    values = {labels: value for labels, value in vector.items() if not isnan(value)}
    worst = max(values, key=lambda labels: (labels in active, _badness(gate, values[labels])))
    shown = f"{values[worst]:.4g}{f' for {worst}' if worst else ''}"
    if verdict is Verdict.HEALTHY:
        return f"{shown}, limit {gate.limit}"
    since = text_seconds(at_ms - active[worst])
    return f"{shown}, beyond its limit for {since} (limit: {gate.limit})"


def _badness(gate: ThresholdGate, value: float) -> float:
    return value if gate.above is not None else -value


def text_seconds(milliseconds: int) -> str:
    """Milliseconds as whole seconds for people: `2m`, `0s`."""
    return text(timedelta(seconds=milliseconds // 1000))
