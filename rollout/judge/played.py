"""One gate of a recorded run, line by line: the folds of a rollout, fed from a file.

These two classes change while a run is read, unlike everything else in the core: a line is one of half a million, and
nobody but `backtest.py` holds them.
"""

from dataclasses import dataclass
from typing import NamedTuple

from rollout.gates import CountingGate, ProportionGate, ThresholdGate
from rollout.gates.ceiling import CeilingGate
from rollout.judge import threshold
from rollout.judge.evidence import BETA, Batch, Evidence, Tally, Test, not_excluded, update
from rollout.judge.merge import Schedule, test_for
from rollout.judge.split import Split, black_hole
from rollout.judge.threshold import Vector, text_seconds
from rollout.judge.verdict import GateState, Verdict


class Rung(NamedTuple):
    """A time of unchanged percent.

    Attributes:
        number: counted from 0 over the run.
        percent: percent of traffic on the candidate, 0 to 100.
        since_ms: the last line before it, or 0: when the percent was changed at the earliest.
    """

    number: int
    percent: float
    since_ms: int

    @property
    def compares(self) -> bool:
        """Whether both versions have traffic."""
        return 0 < self.percent < 100


class Answer(NamedTuple):
    """What a gate says, and the same for people."""

    verdict: Verdict
    sentence: str


@dataclass(frozen=True)
class Terms:
    """How a gate that counts is judged, whatever the stage.

    Attributes:
        gate: what the user wrote.
        alpha: its part of the false-alarm budget.
        phi: dispersion, 1 or more.
        schedule: when its bets are placed.
    """

    gate: CountingGate
    alpha: float
    phi: float
    schedule: Schedule

    @property
    def wait_ms(self) -> int:
        """For how long after a change of percent counts mean nothing, milliseconds."""
        return round(self.gate.waits.total_seconds() * 1000)

    def test(self, number: int, start: float) -> Test:
        """The test of one rung."""
        return test_for(self.gate, alpha=self.alpha, phi=self.phi, stage=number, start=start, schedule=self.schedule)


class Counts:
    """A gate that counts.

    Attributes:
        evidence: everything that was judged.
        compared: the same when both versions had traffic last.
        heard_ms: the last line with any trial, milliseconds; None before the first.
    """

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.evidence = self.compared = Evidence()
        self.heard_ms: int | None = None
        self._test = terms.test(-1, 0.0)
        self._before_ms = 0
        self._starts = list(terms.schedule.starts)
        self._counted = [False, False]  # candidate, stable
        self._unmet = 0  # trials of stable since the candidate's last one
        self._wait_ms = terms.wait_ms

    def watched_again(self, at_ms: int) -> None:
        """Nobody asked until now: that time spends no bets and belongs to no batch."""
        self._before_ms = max(self._before_ms, at_ms)

    def see(self, at_ms: int, rung: Rung, tally: Tally) -> None:
        """Fold one line's counts, of a rung in which the gate is watched or nothing is compared."""
        began_ms, self._before_ms = self._before_ms, at_ms
        if tally.n_c or tally.n_b:
            self.heard_ms = at_ms
            self._counted[0] |= bool(tally.n_c)
            self._counted[1] |= bool(tally.n_b)
            self._unmet = 0 if tally.n_c else self._unmet + tally.n_b
        if self._wait_ms and began_ms < rung.since_ms + self._wait_ms:
            return
        if rung.number != self._test.stage:
            start = self._starts.pop(0) if rung.compares and self._starts else 0.0
            self._test = self.terms.test(rung.number, start)
            self._unmet = 0 if tally.n_c else tally.n_b
        # Before the candidate has traffic no time passes: bets for later must not be spent on it.
        span_ms = at_ms - began_ms if rung.percent else 0
        self.evidence = update(self._test, self.evidence, Batch(span_ms, *tally))
        if rung.compares:
            self.compared = self.evidence

    def answer(self, rung: Rung, end_ms: int, patience_ms: int, *, watched: bool) -> Answer:
        """What it says at a run's end.

        Args:
            rung: the last one of the run.
            end_ms: time of the run's last line.
            patience_ms: silence for longer than this is no data.
            watched: whether the spec watches this gate at the last percent.
        """
        if silent := [side for side, heard in zip(("candidate", "stable"), self._counted, strict=True) if not heard]:
            return Answer(Verdict.NO_DATA, f"{' and '.join(silent)} counted nothing in the whole run")
        if watched and rung.compares:
            if end_ms - max(self.heard_ms or 0, rung.since_ms) > patience_ms:
                since = text_seconds(end_ms - (self.heard_ms or 0))
                return Answer(Verdict.NO_DATA, f"nothing was counted in the last {since}")
            if lost := self._lost(rung):
                return Answer(Verdict.NO_DATA, lost)
        counts, known = self.counts(self.compared.here), self.compared
        if known.proven_fine:
            return Answer(Verdict.HEALTHY, f"{counts}: proven not {self.terms.gate.proof:g}× worse")
        if known.stage < 0:
            return Answer(Verdict.UNDECIDED, "counts never matured")
        ratio = self.excludes_above
        left = f"not excluded: up to {ratio:.3g}× worse ({100 - 100 * BETA:g} % sure)" if ratio else "nothing excluded"
        return Answer(Verdict.UNDECIDED, f"{counts}: {left}")

    def _lost(self, rung: Rung) -> str | None:
        if isinstance(self.terms.gate, ProportionGate):
            return None
        return black_hole(Split(since_ms=rung.number, missed=self._unmet), rung.percent / 100)

    @property
    def excludes_above(self) -> float | None:
        """How much worse the candidate can still be after the last stage that compared; None: nothing is excluded."""
        test = self.terms.test(self.compared.stage, 0.0)
        ratio = not_excluded(test, self.compared.here)
        return None if ratio is None else round(ratio, 3)

    @staticmethod
    def counts(tally: Tally) -> str:
        """`candidate 12 of 3400 (0.35 %), stable 190 of 64000 (0.3 %)`."""
        sides = (("candidate", tally.n_c, tally.x_c), ("stable", tally.n_b, tally.x_b))
        shown = [f"{side} {x} of {n}" + (f" ({100 * x / n:.2g} %)" if n else "") for side, n, x in sides]
        return ", ".join(shown)


class Values:
    """A gate that asks whether it is bad now.

    Attributes:
        state: what `threshold.fold` knows; its watermark is the last query that did not fail.
    """

    def __init__(self, gate: ThresholdGate | CeilingGate) -> None:
        self.gate = gate
        self.state = GateState(watermark_ms=-1)

    def watched_again(self, _at_ms: int) -> None:
        """Nobody asked until now: it must not answer for that time."""
        self.state = GateState(watermark_ms=-1)

    def see(self, at_ms: int, vector: Vector | None) -> None:
        """Fold one line's value; None leaves everything as it is.

        Raises:
            ValueError: not later than the last one.
        """
        if vector is not None:
            self.state = threshold.fold(self.gate, self.state, at_ms, vector, counting=True)

    def answer(self, rung: Rung, end_ms: int, patience_ms: int, *, watched: bool) -> Answer:
        """What it says at a run's end; arguments as in `Counts.answer`."""
        silent_ms = end_ms - max(self.state.watermark_ms, rung.since_ms)
        if watched and self.state.watermark_ms >= 0 and silent_ms > patience_ms:
            since = text_seconds(end_ms - self.state.watermark_ms)
            return Answer(Verdict.NO_DATA, f"no answer in the last {since}")
        return Answer(self.state.verdict, self.state.sentence)
