"""`kayenta`: a window's series, folded into a gate's state and answer.

`kayenta.py` says what a window is worth, `judgements.py` when it is due; here the two meet the rollout's verdicts:
- An interim score that is not above `marginal` is a breach; the last one must be above it and reach `pass`, else it is
  one too. Until then the gate is undecided and keeps the stage.
- Where a person resumed after a breach, judging goes on; the last word counts.
- While nobody bakes nothing is judged, and the last answer stands.

Two things differ from Kayenta, because silence is no verdict here:
- A window in which no metric has a single point, on either side, is no data. Kayenta fails it with 0, or passes it with
  100 where missing points mean 0. If one side is silent and the other is not, Kayenta's rules hold.
- A window in which no metric could be ranked (`Error`, the rest `Nodata`) is no data; to Kayenta that is 100.
Such a window is looked at again until the next one is over (points may come late), then left behind.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from math import isnan
from typing import NamedTuple

from rollout.durations import text
from rollout.gates.kayenta import KayentaGate, KayentaMetric
from rollout.judge import judgements
from rollout.judge.judgements import Canary, Window
from rollout.judge.kayenta import Classification, Judged, Label, Score, classify, goes_on, score, succeeds
from rollout.judge.verdict import GateState, Verdict

_MOST_SHOWN = 3
_NO_WORD = {Label.NODATA, Label.NODATA_FAIL_METRIC}


class Question(NamedTuple):
    """What does not change during one watch.

    Attributes:
        gate: what the user wrote.
        lifetime: the stage's bake; None while nobody bakes.
        since_ms: when this watch began, Unix milliseconds.
        arrived_ms: when the stage's percent was proven, Unix milliseconds.
        poll_ms: distance of polls, milliseconds.
    """

    gate: KayentaGate
    lifetime: timedelta | None
    since_ms: int
    arrived_ms: int
    poll_ms: int


class Points(NamedTuple):
    """One metric in one window, a point for each of `judgements.times`; NaN where there is none."""

    candidate: tuple[float, ...]
    stable: tuple[float, ...]


def entered(question: Question, state: GateState) -> GateState:
    """The state with which a poll begins: a stage that is new to it is judged from the beginning."""
    if question.lifetime is None:
        waits = {"verdict": Verdict.UNDECIDED, "sentence": "nothing is judged while no bake runs"}
        return state if state.canary else state.model_copy(update=waits)
    if state.canary and state.canary.arrived_ms == question.arrived_ms:
        return state
    first = judgements.window(question.gate, question.lifetime, question.arrived_ms, 1)
    sentence = f"the first of {first.of} judgements is due {text(first.after)} into the stage"
    return state.model_copy(
        update={
            "verdict": Verdict.UNDECIDED,
            "sentence": f"{sentence}, limit {question.gate.limit}",
            "blind_since_ms": None,
            "canary": Canary(question.arrived_ms),
        }
    )


def due(question: Question, state: GateState, now_ms: int) -> tuple[Window, ...]:
    """The windows to judge now, in order, until one is `settled`; `entered` has prepared the state."""
    if question.lifetime is None or state.canary is None:
        return ()
    return judgements.due(question.gate, state.canary, question.lifetime, now_ms)


def settled(state: GateState, *, tolerated: bool) -> bool:
    """Whether no more windows are wanted now: the last word is spoken, or a breach ends the watch.

    What came after such a breach is not an excuse: a watch that had been awake would not have looked at it.
    """
    ended = state.canary is not None and state.canary.ended
    return ended or (state.verdict is Verdict.BREACHED and not tolerated)


def fold(question: Question, state: GateState, asked: Window, seen: Mapping[str, Points]) -> GateState:
    """Judge one window.

    Args:
        question: gate and circumstances.
        state: the state before; `entered` has prepared it.
        asked: one of `due`, the windows before it are settled.
        seen: metric → its points.
    """
    gate = question.gate
    said = {metric.name: _classified(metric, seen[metric.name]) for metric in gate.metrics}
    known = replace(state.canary or Canary(question.arrived_ms), done=asked.number - 1)
    if silence := _silence(said, seen):
        where = f"{silence}, in the window that ended {text(asked.after)} into the stage"
        blind = {"verdict": Verdict.NO_DATA, "blind_since_ms": state.blind_since_ms or asked.end_ms}
        return state.model_copy(update={**blind, "sentence": where, "canary": known})
    total = score(
        [Judged(said[metric.name].label, metric.counts_in, said[metric.name].critical) for metric in gate.metrics],
        gate.weights,
    )
    verdict = _verdict(gate, asked, total.value)
    known = replace(
        known,
        done=asked.number,
        ended=asked.last,
        score=total.value,
        labels={name: said[name].label.value for name in said},
    )
    return state.model_copy(
        update={
            "verdict": verdict,
            "sentence": _sentence(question, asked, verdict, total, _failed(said, seen)),
            "blind_since_ms": None,
            "canary": known,
        }
    )


def polled(question: Question, state: GateState, now_ms: int) -> GateState:
    """A poll is over: the bake clock, which stands still while the last window had no data.

    Between judgements nothing is asked, so the clock counts what passed since the last poll, two polls at most.
    """
    passed_ms = min(now_ms - max(state.watermark_ms, question.since_ms), 2 * question.poll_ms)
    counts = question.lifetime is not None and state.blind_since_ms is None
    return state.model_copy(
        update={
            "watermark_ms": max(state.watermark_ms, now_ms),
            "observed_ms": state.observed_ms + (max(0, passed_ms) if counts else 0),
        }
    )


def _classified(metric: KayentaMetric, points: Points) -> Classification:
    return classify(
        points.candidate,
        points.stable,
        direction=metric.direction,
        nan=metric.nan,
        critical=metric.critical,
        allowed=metric.effect.allowed,
        critical_allowed=metric.effect.critical,
        measure=metric.effect.measure,
        must_have_data=metric.must_have_data,
        outliers=metric.outliers,
    )


def _silent(points: tuple[float, ...]) -> bool:
    return all(isnan(point) for point in points)


def _silence(said: Mapping[str, Classification], seen: Mapping[str, Points]) -> str | None:
    """Why a window says nothing at all; None if it does."""
    if all(_silent(points.candidate) and _silent(points.stable) for points in seen.values()):
        return "no metric has a single point, neither of the candidate nor of stable"
    found = {told.label for told in said.values()}
    if Label.ERROR in found and found <= {Label.ERROR, Label.NODATA}:
        return "no metric can be compared: one point a side, or an infinite value"
    return None


def _verdict(gate: KayentaGate, asked: Window, value: float) -> Verdict:
    if asked.last:
        return Verdict.HEALTHY if succeeds(value, gate.pass_, gate.marginal) else Verdict.BREACHED
    return Verdict.UNDECIDED if goes_on(value, gate.marginal) else Verdict.BREACHED


def _failed(said: Mapping[str, Classification], seen: Mapping[str, Points]) -> list[str]:
    """Metrics that did not pass and why, critical ones first."""
    found = sorted(
        (name for name in said if said[name].label is not Label.PASS), key=lambda name: not said[name].critical
    )
    return [f"{name} ({_reason(said[name], seen[name])})" for name in found]


def _reason(told: Classification, points: Points) -> str:
    if told.label not in _NO_WORD:
        return told.reason
    sides = {"the candidate": points.candidate, "stable": points.stable}
    grave = "critical, " if told.critical else ""
    return f"{grave}no data of {' and '.join(side for side, each in sides.items() if _silent(each))}"


def _sentence(question: Question, asked: Window, verdict: Verdict, total: Score, failed: list[str]) -> str:
    number = f"judgement {asked.number} of {max(asked.number, asked.of)}"
    words = [f"score {total.value:g} in {number}, {text(asked.after)} into the stage"]
    if failed:
        more = len(failed) - _MOST_SHOWN
        shown = ", ".join(failed[:_MOST_SHOWN]) + (f" and {more} more" if more > 0 else "")
        words[0] += f": {shown}"
    if total.reason:
        words.append(total.reason)
    if question.lifetime is not None and verdict is Verdict.UNDECIDED:
        after = judgements.window(question.gate, question.lifetime, question.arrived_ms, asked.number + 1).after
        words.append(f"the next one is due at {text(after)}")
    return f"{'; '.join(words)} (limit: {question.gate.limit})"
