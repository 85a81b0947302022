"""Replays recorded health through a spec's gates, with no server: would they have caught it, or cried wolf?

The same folds as in a rollout (`evidence.update`, `threshold.fold`, `merge.caught`) on lines instead of polls. What a
recording cannot tell is decided thus:

- The dispersion φ is what the gate says itself, else the caller's, else estimated from stable's batches of the same run
  (`dispersion.neighbours`), before, beside and after what is judged: lines know no pods and no hours before the run.
- A change of percent begins a stage; stages take the schedule's masses in the order in which they come.
- At 0 % and at 100 % nothing is compared; counts are added up, watched or not, and prove nothing.
- A batch that began less than `matures_in` or `warm_up` after a change of percent is not judged, as in a rollout.
- A run stops at its first breach, also of a gate that only holds. There is no mitigation and no person.
- A gate is judged at the percents where the spec watches it, and begins anew when it is watched again, as in a rollout;
  its bets wait for them. At a percent that the spec does not have all gates are watched, before the start none is.
- A gate that the spec watches at no percent of the run decides nothing about the run, unless it never has an answer.
- Silence at the end is no health: a gate that should be watched and has heard nothing for `policy.no_data.hold`, or
  whose candidate counts nothing while stable does, ends with no-data.
"""

from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from functools import lru_cache
from math import isnan
from typing import Any, NamedTuple

from rollout.durations import text
from rollout.judge.dispersion import Block, Dispersion, given, neighbours
from rollout.judge.merge import Budget, alpha_of, budgets, caught, schedule, shares
from rollout.judge.packed import Packed
from rollout.judge.played import Answer, Counts, Rung, Terms, Values
from rollout.judge.samples import Line, Replayable, replayable
from rollout.judge.threshold import Vector
from rollout.judge.verdict import Verdict
from rollout.judging import schedule_of, watched_in
from rollout.plan import stages
from rollout.spec import RolloutSpec

ESTIMATED = "estimated from stable's own counts"
_WORST_FIRST = (Verdict.NO_DATA, Verdict.UNDECIDED, Verdict.HEALTHY)


@dataclass(frozen=True)
class GateOutcome:
    """What a gate says at a run's end.

    Attributes:
        verdict: its answer.
        evidence: e-value that the candidate is worse; None for gates that do not count.
        candidate: trials and events of the whole run, as far as they were judged; None likewise.
        stable: the same of stable.
        excludes_above: the smallest ratio that is excluded in the last stage that compared; None: no ratio is.
        sentence: the verdict for people.
        dispersion: how many events were taken to come at once; None for gates that do not count.
    """

    verdict: Verdict
    evidence: float | None
    candidate: tuple[int, int] | None
    stable: tuple[int, int] | None
    excludes_above: float | None
    sentence: str
    dispersion: Dispersion | None = None


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        run: its name; None if it has none.
        verdict: breached, else no-data, else undecided, else healthy.
        gate: the gate that was breached.
        at: seconds since the run began: of the breach, or the last line.
        percent: percent of traffic on the candidate then.
        reason: for people.
        gates: by name, in the spec's order.
    """

    run: str | int | None
    verdict: Verdict
    gate: str | None
    at: float
    percent: float
    reason: str
    gates: dict[str, GateOutcome]

    def as_json(self) -> dict[str, Any]:
        """The object that `sluice backtest --json` prints."""
        told = asdict(self)
        for gate in told["gates"].values():
            del gate["sentence"], gate["dispersion"]
        told["percent"] = int(self.percent) if self.percent == int(self.percent) else self.percent
        return told


class _Breach(NamedTuple):
    gate: str
    at: float
    percent: float
    sentence: str


class Backtest:
    """`see` every line, then ask for the `outcomes`.

    Attributes:
        gates: which gates are replayed, and which are not.
        notes: what a recording cannot tell about this spec, one sentence each.
    """

    def __init__(self, spec: RolloutSpec, *, phi: float | None = None) -> None:
        """Prepare.

        Args:
            spec: whose gates.
            phi: dispersion of gates that leave it to stable's past, 1 or more; None: estimated from each run.
        """
        self.spec = spec
        self.gates: Replayable = replayable(spec.gates)
        self.budgets: tuple[Budget, ...] = budgets(spec.gates, spec.policy.false_rollback)
        self.enough = min((1 / budget.alpha for budget in self.budgets), default=0.0)
        self.patience_ms = _ms(spec.policy.no_data.hold)
        self.terms = {name: self._terms(name, phi) for name in self.gates.counting}
        self.notes = _notes(self.gates)
        self.watched = lru_cache(maxsize=1024)(self._watched)
        self._given = None if phi is None else Dispersion(phi=phi, source="given on the command line")
        self._runs: dict[str | int | None, Packed] = {}

    def _terms(self, name: str, phi: float | None) -> Terms:
        gate, planned = self.gates.counting[name], stages(self.spec)
        placed = schedule_of(planned, name) if watched_in(planned, name) else schedule([3_600_000])
        return Terms(
            gate,
            alpha=shares(self.spec.gates)[name] * alpha_of(gate, self.spec.policy.false_rollback),
            phi=phi or 1.0,
            schedule=placed,
        )

    def dispersion(self, name: str, blocks: list[Block], seconds: float) -> Dispersion:
        """How many events of a gate are taken to come at once in a run.

        Args:
            name: the gate.
            blocks: what stable counted.
            seconds: length of the run.
        """
        gate = self.gates.counting[name]
        if gate.dispersion != "auto":
            return given(gate.dispersion)
        if self._given:
            return self._given
        events = sum([x for _, x in blocks])
        lasted = text(timedelta(seconds=round(seconds)))
        phi = neighbours(blocks, kind=self.terms[name].test(0, 0.0).kind)
        return Dispersion(phi=phi, source=f"{ESTIMATED}: {events} {gate.noun} in {lasted}")

    def _watched(self, percent: float) -> frozenset[str]:
        """The gates that the spec watches at a percent; all of them where it has no such stage, none before it."""
        found = [stage.gates for stage in stages(self.spec) if stage.percent == percent]
        return frozenset(found[0] if found else self.spec.gates if percent else ())

    def folded(self, percent: float) -> frozenset[str]:
        """The gates whose lines are folded at a percent; counts also where there is nothing to compare."""
        return self.watched(percent) | (frozenset() if 0 < percent < 100 else self.gates.counting.keys())

    def see(self, line: Line) -> None:
        """Take one line.

        Raises:
            BadLine: it comes before the line that its run had last, or gives a gate two values at one time.
        """
        run = self._runs.get(line.run)
        if run is None:
            run = self._runs[line.run] = Packed(line.run)
        run.add(line)

    def outcomes(self) -> list[Outcome]:
        """Replay every run, in the order of their first lines."""
        return [_Run(self, run).outcome() for run in self._runs.values()]


class _Run:
    """One run."""

    def __init__(self, backtest: Backtest, lines: Packed) -> None:
        self.of, self.lines = backtest, lines
        stable = lines.stable()
        self.dispersions = {
            name: backtest.dispersion(name, stable.get(name, []), lines.last) for name in backtest.terms
        }
        self.counts = {
            name: Counts(replace(terms, phi=self.dispersions[name].phi)) for name, terms in backtest.terms.items()
        }
        self.values = {name: Values(gate) for name, gate in backtest.gates.rules.items()}
        self.rung = Rung(-1, -1.0, 0)
        self.at_ms = 0  # stays where the run stops
        self.breach: _Breach | None = None
        self.folded: frozenset[str] = frozenset()  # at this percent
        self.asked: frozenset[str] = frozenset()  # at any percent until now
        self.passed_over: dict[str, bool] = {}  # gate → whether it has ever had an answer where nobody asked

    def _replay(self) -> None:
        for line in self.lines:
            at_ms = line.at_ms
            if line.percent != self.rung.percent:
                self._climb(line.percent)
            self.breach, self.at_ms = self._fold(line, at_ms), at_ms
            if self.breach:
                return

    def _climb(self, percent: float) -> None:
        self.rung = Rung(self.rung.number + 1, percent, self.at_ms)
        folded = self.of.folded(percent)
        for name in folded - self.folded:
            if played := self.counts.get(name) or self.values.get(name):
                played.watched_again(self.at_ms)
        self.folded = folded
        self.asked |= self.of.watched(percent)

    def _fold(self, line: Line, at_ms: int) -> _Breach | None:
        bad: list[tuple[str, str]] = []
        for name, vector in line.values.items():
            if name not in self.folded:
                self._pass_over(name, vector)
                continue
            values = self.values[name]
            values.see(at_ms, vector)
            if values.state.verdict is Verdict.BREACHED:
                bad.append((name, values.state.sentence))
        suspicious = False
        for name, tally in line.counts.items():
            if name not in self.folded:
                self.passed_over[name] = True
                continue
            counts = self.counts[name]
            counts.see(at_ms, self.rung, tally)
            suspicious = suspicious or counts.evidence.value >= self.of.enough
        if suspicious and (found := self._caught()):
            bad.append(found)
        if not bad:
            return None
        order = list(self.of.spec.gates)
        gate, sentence = min(bad, key=lambda pair: (self._only_holds(pair[0]), order.index(pair[0])))
        does = "would hold" if self._only_holds(gate) else "would roll back"
        return _Breach(gate, line.at, line.percent, f"{gate}: {sentence}; {does}")

    def _pass_over(self, name: str, vector: Vector | None) -> None:
        """Keep of a rule that is not watched only whether its query ever answers: one that never does is broken."""
        if vector is not None:
            answers = any(not isnan(value) for value in vector.values())
            self.passed_over[name] = answers or self.passed_over.get(name, False)

    def _caught(self) -> tuple[str, str] | None:
        """The gate whose evidence, with that of all the others, is enough; no weighted mean exceeds its greatest."""
        found = caught({name: counts.evidence.value for name, counts in self.counts.items()}, self.of.budgets)
        led = found.led_by(self.folded) if found else None
        if led is None:
            return None
        counts = self.counts[led.gate]
        others = f", with {' and '.join(led.others)}" if led.others else ""
        return led.gate, f"{counts.counts(counts.evidence.total)}, evidence {led.evidence:.3g}{others}"

    def _only_holds(self, gate: str) -> bool:
        return self.of.spec.gates[gate].on_breach == "hold"

    def outcome(self) -> Outcome:
        """How it ends."""
        self._replay()
        run = self.lines.run
        gates = {name: self._gate(name) for name in self.of.spec.gates if name not in self.of.gates.others}
        if self.breach:
            gate, at, percent, sentence = self.breach
            return Outcome(run, Verdict.BREACHED, gate, at, percent, sentence, gates)
        asked = {name: each for name, each in gates.items() if name in self.asked or self._decides(name)}
        verdict = min((each.verdict for each in asked.values()), key=_WORST_FIRST.index, default=Verdict.NO_DATA)
        reasons = [f"{name}: {each.sentence}" for name, each in asked.items() if each.verdict is verdict]
        reason = "; ".join(reasons) or "the spec watches no gate here that can be replayed"
        return Outcome(run, verdict, None, self.lines.last, self.rung.percent, reason, gates)

    def _decides(self, name: str) -> bool:
        """Whether a gate that the spec watches at no percent of the run has a say."""
        if name in self.passed_over:
            return not self.passed_over[name]
        return name in self.counts and self.counts[name].heard_ms is not None

    def _gate(self, name: str) -> GateOutcome:
        played = self.counts.get(name) or self.values[name]
        watched = name in self.of.watched(self.rung.percent)
        answer = played.answer(self.rung, self.at_ms, self.of.patience_ms, watched=watched)
        if self.breach and self.breach.gate == name:
            answer = Answer(Verdict.BREACHED, self.breach.sentence)
        elif name in self.passed_over and name not in self.asked:
            why = "the spec watches it at no percent of this run"
            answer = Answer(Verdict.NO_DATA, why if self.passed_over[name] else "the query answers nothing")
        if isinstance(played, Values):
            return GateOutcome(answer.verdict, None, None, None, None, answer.sentence)
        n_c, x_c, n_b, x_b = played.evidence.total
        value = played.evidence.value
        return GateOutcome(
            answer.verdict,
            value,
            (n_c, x_c),
            (n_b, x_b),
            played.excludes_above,
            answer.sentence,
            self.dispersions[name],
        )


def _notes(gates: Replayable) -> tuple[str, ...]:
    notes = [f"{name}: not replayed; a recording does not hold what it asks" for name in gates.others]
    for name, gate in gates.rules.items():
        if len(gate.queries) > 1:
            notes.append(f"{name}: replayed by its value alone, without `requests` and `unless_baseline`")
    return tuple(notes)


def _ms(duration: timedelta) -> int:
    return round(duration.total_seconds() * 1000)
