"""`error-ratio`, `latency`, `proportion`: a poll's raw samples, folded into a gate's state and answer.

The steps are files of their own: samples become increments (`counters.py`), increments become evidence (`evidence.py`)
and a look at the traffic itself (`split.py`). Here they are joined, and the answer is put into one sentence that a
person can repeat in a meeting. What is never said: "healthy" for want of data, and "bad" for want of it either.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from rollout.gates import CountingGate, ProportionGate
from rollout.judge import counters, evidence, split
from rollout.judge.counters import Counters, Series
from rollout.judge.evidence import BETA, Batch, Evidence, Tally, Test
from rollout.judge.split import Split
from rollout.judge.threshold import text_seconds
from rollout.judge.verdict import GateState, Verdict

_SIDES: tuple[Literal["stable", "candidate"], ...] = ("stable", "candidate")


class Question(NamedTuple):
    """What does not change during one watch.

    Attributes:
        gate: what the user wrote.
        test: how it is judged in this stage.
        since_ms: when this watch began, Unix milliseconds.
        arrived_ms: when the stage's percent was proven, Unix milliseconds.
        poll_ms: distance of polls, milliseconds.
        counting: whether the bake clock runs.
        share: share of requests sent to the candidate, 0 to 1; None where counts cannot be held against it: users are
            sticky, or the route is known not to be where it was left.
        forced: whether visitors can choose the candidate by a header.
        undecided: what policy does at the bake's end without a decision.
    """

    gate: CountingGate
    test: Test
    since_ms: int
    arrived_ms: int
    poll_ms: int
    counting: bool = True
    share: float | None = 0.05
    forced: bool = True
    undecided: Literal["advance", "extend", "hold"] = "advance"


class Counted(NamedTuple):
    """What the metrics server said at a poll: raw samples of both selectors, asked up to the same moment."""

    trials: Sequence[Series]
    events: Sequence[Series]


def ripe_ms(question: Question) -> int:
    """When counting may begin after the last change of weight, Unix milliseconds.

    A conversion belongs to a session of `matures_in` ago, so for so long after a change of weight the two sides' shares
    of conversions are not yet the shares of their sessions. Caches of a fresh candidate are cold for `warm_up`.
    """
    return question.arrived_ms + round(question.gate.waits.total_seconds() * 1000)


def entered(question: Question, state: GateState) -> GateState:
    """The state with which a watch begins; counters begin anew where counting was interrupted or must wait."""
    known, ripe = state.counters, ripe_ms(question)
    waits = ripe > question.arrived_ms
    if known is None or (waits and known.since_ms < ripe):
        known = counters.begin(ripe if waits else question.since_ms)
    asked_ms = state.watermark_ms if state.counters else question.since_ms  # what was not watched was not silent
    changes = {"counters": known, "evidence": state.evidence or Evidence(), "watermark_ms": asked_ms}
    return state.model_copy(update=changes)


def fold(question: Question, state: GateState, seen: Counted, now_ms: int) -> GateState:
    """Fold one poll.

    Args:
        question: gate and circumstances.
        state: the state before; `entered` has prepared it.
        seen: raw samples since `counters.wanted_after`.
        now_ms: until when samples were asked for, Unix milliseconds.
    """
    before, known, traffic = state.counters, state.evidence or Evidence(), state.split or Split()
    if before is None:
        before = counters.begin(question.since_ms)
    after, batches = counters.fold(
        before, question.gate.versions, seen.trials, seen.events, good=question.gate.counts_good, until_ms=now_ms
    )
    silent = _silent(question, after, now_ms)
    proven: Evidence | None = None  # a breach is one, also if nobody was awake and better scrapes came later
    splits = question.share is not None and not silent and not isinstance(question.gate, ProportionGate)
    for batch, ended_ms in _ended(after, batches):
        known = evidence.update(question.test, known, batch)
        proven = proven or (known if _enough(question, known) else None)
        # What was served while the move was under way (pods may have had to come first) was split as before.
        if question.share is not None and splits and ended_ms > question.arrived_ms:
            traffic = split.update(
                traffic, batch, since_ms=question.arrived_ms, share=question.share, forced=question.forced
            )
    answer = _breach(question, proven) if proven else _answer(question, after, known, traffic, now_ms)
    return state.model_copy(
        update={
            "watermark_ms": max(state.watermark_ms, now_ms),
            "observed_ms": state.observed_ms + _observed(question, state, before, after, now_ms),
            "verdict": answer.verdict,
            "sentence": answer.sentence,
            "blind_since_ms": (state.blind_since_ms or now_ms) if answer.verdict is Verdict.NO_DATA else None,
            "enough": question.undecided == "advance"
            and question.gate.require is None
            and known.stage == question.test.stage
            and known.here.n_c >= question.gate.min_requests
            and known.here.n_b > 0,
            "counters": after,
            "evidence": known,
            "split": traffic,
        }
    )


def _ended(after: Counters, batches: list[Batch]) -> list[tuple[Batch, int]]:
    """Each batch, and when it ended, Unix milliseconds: one begins where the one before ended."""
    ended, at_ms = [], after.closed_ms
    for batch in reversed(batches):
        ended.append((batch, at_ms))
        at_ms -= batch.span_ms
    return ended[::-1]


def _observed(question: Question, state: GateState, before: Counters, after: Counters, now_ms: int) -> int:
    """What a poll adds to the bake, milliseconds: time for which both sides' samples exist, or which had to pass."""
    if not question.counting:
        return 0
    if now_ms < ripe_ms(question):
        return min(now_ms - max(state.watermark_ms, question.since_ms), 2 * question.poll_ms)
    within_ms = after.watermark_ms - max(before.watermark_ms, question.since_ms)
    return max(0, min(after.observed_ms - before.observed_ms, within_ms))


class _Answer(NamedTuple):
    verdict: Verdict
    sentence: str


def _answer(question: Question, after: Counters, known: Evidence, traffic: Split, now_ms: int) -> _Answer:
    ripe = ripe_ms(question)
    if now_ms < ripe:
        return _Answer(Verdict.UNDECIDED, f"waits {text_seconds(ripe - now_ms)} until counts have matured")
    patience_ms, silent = _patience_ms(question, after), _silent(question, after, now_ms)
    if silent and now_ms - ripe > patience_ms:
        return _Answer(Verdict.NO_DATA, f"no samples of {' and '.join(silent)} for {text_seconds(patience_ms)}")
    # Who is not scraped may well count; only who is, and stays at zero, gets no traffic.
    if not silent and (lost := _lost(question, traffic)):
        return _Answer(Verdict.BREACHED, lost)
    here = known.here if known.stage == question.test.stage else Tally()
    counts = _counts(question, here)
    if _enough(question, known):
        return _breach(question, known)
    if not here.n_c or not here.n_b:
        return _Answer(Verdict.UNDECIDED, f"{counts}: nothing to compare yet")
    if not here.x_c and not here.x_b:
        return _Answer(Verdict.UNDECIDED, f"{counts}: none on either side, so there is no ratio yet")
    if known.stage == question.test.stage and known.proven_fine:
        return _Answer(Verdict.HEALTHY, f"{counts}: proven not {question.test.proof:g}× worse")
    return _Answer(Verdict.UNDECIDED, f"{counts}: {_left_open(question, here)}")


def _patience_ms(question: Question, after: Counters) -> int:
    """After how long a side without samples is silent: three scrapes, or polls where nobody was ever scraped."""
    scrape_ms = after.scrape_ms if after.pods else question.poll_ms
    return 3 * max(scrape_ms, question.poll_ms)


def _silent(question: Question, after: Counters, now_ms: int) -> list[str]:
    """Sides whose newest sample is old."""
    return [side for side in _SIDES if after.newest[side] < now_ms - _patience_ms(question, after)]


def _lost(question: Question, traffic: Split) -> str | None:
    if question.share is None or traffic.since_ms != question.arrived_ms:
        return None
    return split.black_hole(traffic, question.share)


def _breach(question: Question, known: Evidence) -> _Answer:
    total = _counts(question, known.total)
    return _Answer(Verdict.BREACHED, f"{total}: {_worse(question, known.total)}, evidence {_digits(known.value)}")


def _enough(question: Question, known: Evidence) -> bool:
    """Whether a gate's evidence suffices alone."""
    return known.value * question.test.alpha >= 1


def _digits(value: float) -> str:
    """A number for a sentence: `2.9`, `120`, `over a million`."""
    if value > 1e6:
        return "over a million"
    return f"{value:.0f}" if value >= 99.5 else f"{value:.2g}"


def _counts(question: Question, tally: Tally) -> str:
    """`candidate 12 of 3400 (0.35 %), stable 190 of 64000 (0.3 %)`."""
    sides = (("candidate", tally.n_c, tally.x_c), ("stable", tally.n_b, tally.x_b))
    shown = [f"{side} {x} of {n}" + (f" ({_digits(100 * x / n)} %)" if n else "") for side, n, x in sides]
    return f"{question.gate.noun}: {', '.join(shown)}"


def _worse(question: Question, tally: Tally) -> str:
    higher, lower = tally.crossed(question.test.bad)
    if not lower:
        return "stable has none" if question.test.bad == "up" else "the candidate has none"
    return f"{_digits(higher / lower)}× {'more' if question.test.bad == 'up' else 'fewer'} than stable"


def _left_open(question: Question, here: Tally) -> str:
    ratio = evidence.not_excluded(question.test, here)
    if ratio is None:
        return "nothing excluded yet"
    way = "worse" if question.test.bad == "up" else "fewer"
    return f"not excluded: up to {_digits(ratio)}× {way} ({100 - 100 * BETA:g} % sure)"
