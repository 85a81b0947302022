"""`threshold`: an expression and a limit with the `for:` semantics of a Prometheus alerting rule, exactly.

One state per output label set (Prometheus `rules/alerting.go`, `AlertingRule.Eval`): bad for the first time at t →
pending, activeAt = t; still bad at a later t with t - activeAt ≥ `for` → firing (`for: 2m` at 15 s needs nine bad
evaluations); `for: 0` fires at once. Not bad, NaN or gone → forgotten, the clock restarts from zero. An evaluation that
failed never reaches this fold, so the state stays untouched while the clock, being only activeAt, runs on.

Every gate that asks "is it bad now?" is judged here, whoever answers: it is a `Rule`, and what one evaluation brought
is a vector, or a `Tick` with words and excuses where numbers alone do not say it.

Two things differ from an alert, on purpose. Nothing finite to look at is `no-data`, not "fine"; and a pending rule is
`undecided`, so that a bake does not end inside the two minutes in which the rule is making up its mind.
"""

from collections.abc import Mapping
from datetime import timedelta
from math import isfinite, isnan
from types import MappingProxyType
from typing import NamedTuple, Protocol

from rollout.durations import text
from rollout.judge.verdict import GateState, Verdict

Vector = dict[str, float]
"""One instant vector: label set (as text) → value."""


class Rule(Protocol):
    """What is bad, and how long it must be."""

    @property
    def for_(self) -> timedelta:
        """How long it must be bad without a break."""
        ...

    @property
    def limit(self) -> str:
        """What is bad, as a sentence's end."""
        ...

    def is_bad(self, value: float) -> bool:
        """Whether a value is beyond the limit; False for NaN."""
        ...

    def badness(self, value: float) -> float:
        """Greater is worse."""
        ...


class Excuse(NamedTuple):
    """Why a value beyond the limit is not held against the candidate.

    Attributes:
        why: for people, after "but".
        decided: it is known not to be bad; otherwise nothing can be said, whatever the value.
    """

    why: str
    decided: bool


class Tick(NamedTuple):
    """What one evaluation brought.

    Attributes:
        vector: the values; empty when nothing answers.
        said: the same in words, where a number says little; the reason where there is no number.
        excuses: label set → why its value does not count.
    """

    vector: Vector
    said: str = ""
    excuses: Mapping[str, Excuse] = MappingProxyType({})


def fold(
    rule: Rule,
    state: GateState,
    at_ms: int,
    answer: Vector | Tick,
    *,
    counting: bool,
    most_ms: int | None = None,
) -> GateState:
    """Fold one evaluation into the state.

    Args:
        rule: the limit.
        state: the state before.
        at_ms: evaluation time, Unix milliseconds; must be later than the state's watermark.
        answer: the expression's value at that time; empty when nothing answers.
        counting: whether this tick counts towards the bake (it does not while held or waiting for people).
        most_ms: the most that one tick may add to the observed time, milliseconds, for sources that cannot be asked
            about the past; None: everything since the last tick was seen.

    Raises:
        ValueError: the tick is not later than the watermark; folding it again would count it twice.
    """
    if at_ms <= state.watermark_ms:
        msg = f"evaluation at {at_ms} ms is not after the watermark {state.watermark_ms} ms"
        raise ValueError(msg)
    tick = answer if isinstance(answer, Tick) else Tick(answer)
    beyond = [labels for labels, value in tick.vector.items() if rule.is_bad(value)]
    active = {labels: state.active.get(labels, at_ms) for labels in beyond if labels not in tick.excuses}
    firing = any(at_ms - since >= rule.for_.total_seconds() * 1000 for since in active.values())
    seen = any(isfinite(value) for value in tick.vector.values()) or bool(beyond)
    unsure = any(not excuse.decided for excuse in tick.excuses.values())
    verdict = _verdict(firing=firing, pending=bool(active) or unsure, seen=seen)
    passed_ms = at_ms - state.watermark_ms
    passed_ms = passed_ms if most_ms is None else min(passed_ms, most_ms)
    return GateState(
        watermark_ms=at_ms,
        observed_ms=state.observed_ms + (passed_ms if counting and seen else 0),
        active=active,
        verdict=verdict,
        sentence=_sentence(rule, verdict, tick, active, at_ms),
        blind_since_ms=None if seen else state.blind_since_ms or at_ms,
    )


def _verdict(*, firing: bool, pending: bool, seen: bool) -> Verdict:
    if not seen:
        return Verdict.NO_DATA
    if firing:
        return Verdict.BREACHED
    return Verdict.UNDECIDED if pending else Verdict.HEALTHY


def _sentence(rule: Rule, verdict: Verdict, tick: Tick, active: Mapping[str, int], at_ms: int) -> str:
    if verdict is Verdict.NO_DATA:
        nothing = "the query answers NaN: nothing to count yet" if tick.vector else "the query answers nothing"
        return tick.said or nothing
    values = {labels: value for labels, value in tick.vector.items() if not isnan(value)}
    open_ = {labels for labels, excuse in tick.excuses.items() if not excuse.decided}
    worst = max(values, key=lambda labels: (labels in active, labels in open_, rule.badness(values[labels])))
    shown = tick.said or f"{values[worst]:.4g}{f' for {worst}' if worst else ''}"
    if worst in active:
        since = text_seconds(at_ms - active[worst])
        lasted = "" if tick.said and not rule.for_ else f", beyond its limit for {since}"
        return f"{shown}{lasted} (limit: {rule.limit})"
    if worst in tick.excuses:
        return f"{shown}, but {tick.excuses[worst].why} (limit: {rule.limit})"
    return f"{shown}, limit {rule.limit}"


def text_seconds(milliseconds: int) -> str:
    """Milliseconds as whole seconds for people: `2m`, `0s`."""
    return text(timedelta(seconds=milliseconds // 1000))
