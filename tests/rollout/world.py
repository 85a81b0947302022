"""A world in which decisions are carried out as the workflow does it, and in which anything may happen in between.

It is a stand-in for `workflows/rollout.py`, its activities and its people: one event at a time, no clock but its own.
What must hold at every single step is in `_check` and `_to`.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, assert_never

from rollout import mitigating, names
from rollout.commands import obey, refusal
from rollout.decide import (
    Advance,
    Ask,
    Decision,
    Expire,
    Hold,
    Mitigate,
    Promote,
    RollBack,
    Shift,
    Watch,
    decide,
    settle,
)
from rollout.happened import Phase
from rollout.judge.verdict import GateState, Verdict
from rollout.messages import Command, FlagTurnedOff, TrafficRestored, TrafficShifted, Unseen, Watched, Watching
from rollout.plan import Plan
from rollout.progress import MOST_BLIND_REPORTS, MOST_REASSERTIONS, Progress
from rollout.spec import RolloutSpec
from rollout.status import status
from tests.rollout.given import NOW, planned
from tests.rollout.happening import Away, Event, Fails, Loses, Reports, Say, Sees, Wait, Why, Works

ENDED = {Phase.PROMOTED, Phase.ROLLED_BACK, Phase.ABORTED, Phase.REJECTED, Phase.EXPIRED}
ROUTE = "envoy edge-1/checkout"


@dataclass
class World:
    """One rollout and everything around it."""

    spec: RolloutSpec
    plan: Plan = field(init=False)
    progress: Progress = field(default_factory=Progress)
    now: datetime = NOW
    doing: Decision | None = None
    seen: Watching | None = None
    waited: timedelta = timedelta()
    decisions: list[Decision] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.plan = planned(self.spec)
        self._to(self.progress.planned(self.plan))

    # ── the workflow ────────────────────────────────────────────────────────────────────────────

    def go_on(self) -> None:
        """Carry out whatever needs nothing from the world, and begin what does."""
        if self.over:
            return
        for _ in range(10 * len(self.plan.stages)):
            decision = self._decide()
            if decision == self.doing and not isinstance(decision, RollBack):
                return
            self._let_go()
            decision = self._decide()  # what an interrupted watch saw may change it
            self._check(decision)
            match decision:
                case Ask() | Advance() | Hold() | Expire():
                    self._settle(decision)
                    continue
                case Shift():
                    self._to(self.progress.shifting(decision.percent, self.progress.epoch + 1))
                case Watch():
                    self._begin_watch(decision)
                case Mitigate():
                    self._to(self.progress.in_phase(Phase.MITIGATING))
                case Promote():
                    self._to(self.progress.in_phase(Phase.FINALIZING))
                case RollBack():
                    self._roll_back()
                case _ as never:
                    assert_never(never)
            self.doing = decision
            return
        raise AssertionError("it decides for ever and does nothing")

    def finish(self) -> None:
        """Nothing bad happens any more and nobody says anything: it ends, or it waits for people."""
        for _ in range(20 * len(self.plan.stages)):
            self.go_on()
            if self.over or self.waits_for_people:
                return
            if isinstance(self.doing, Watch) and self.doing.until is not None:
                self.now = max(self.now, self.doing.until)
                self.waited = max(self.waited, self._within())
            else:
                for what in list(self.seen.unseen if self.seen else ()):
                    self.happens(Loses(what, lost=False))
                self.happens(Works())
        raise AssertionError("it neither ends nor waits for people")

    @property
    def over(self) -> bool:
        return self.progress.phase in ENDED

    @property
    def waits_for_people(self) -> bool:
        return isinstance(self.doing, Watch) and self.doing.phase is Phase.HELD

    # ── what happens ────────────────────────────────────────────────────────────────────────────

    def happens(self, event: Event) -> None:
        """One event; one that cannot happen now does not."""
        if self.over:
            return
        match event:
            case Say():
                self._say(event)
            case Wait(seconds):
                self._wait(timedelta(seconds=seconds))
            case Away(seconds):
                self._pass(timedelta(seconds=seconds))
            case Works():
                self._works()
            case Fails():
                self._fails(event)
            case Sees(gate, verdict):
                self._sees(gate, verdict)
            case Loses(what, lost):
                self._loses(what, lost=lost)
            case Reports(why):
                self._reports(why)
            case _ as never:
                assert_never(never)

    def _say(self, said: Say) -> None:
        command = Command(by=said.by, stage=said.stage)
        if refusal(self.spec, self.plan, self.progress, said.name, command) is None:
            self._to(obey(self.plan, self.progress, said.name, command, self.now))

    def _pass(self, time: timedelta) -> None:
        if isinstance(self.doing, Watch) and self.doing.until is not None:
            time = min(time, self.doing.until - self.now)
        self.now += time
        if self.progress.held is None and self.progress.waiting_since is not None:
            self.waited += time

    def _wait(self, time: timedelta) -> None:
        before = self.now
        self._pass(time)
        if self.seen is not None:
            more = (self.now - before) // timedelta(milliseconds=1) if self._counting else 0
            self.seen = Watching(
                states={name: self._later(name, known, more) for name, known in self.seen.states.items()},
                watermark_ms=milliseconds(self.now),
                observed_ms=self.seen.observed_ms + more,
                unseen=self.seen.unseen,
            )

    def _later(self, name: str, known: GateState, more: int) -> GateState:
        if self.seen is None or f"gate {name}" in self.seen.unseen:
            return known
        blind = known.verdict is Verdict.NO_DATA
        later = {"watermark_ms": milliseconds(self.now), "observed_ms": known.observed_ms + (0 if blind else more)}
        return known.model_copy(update=later)

    def _works(self) -> None:
        match self.doing:
            case Shift(percent) if self.progress.stop is None:
                self._to(self.progress.shifted(TrafficShifted(percent=percent, epoch=self.progress.epoch), self.now))
                self.doing = None
            case Mitigate() if self.progress.stop is None:
                told = FlagTurnedOff(by_us=True, proof="it is off")
                self._to(mitigating.turned_off(self.progress, told, self.spec, self.now))
                self.doing = None
            case Watch(phase=Phase.MITIGATING) if self.seen is not None and not self.seen.unseen:
                for name in self.seen.states:
                    self._sees(name, Verdict.HEALTHY)
                mitigation = mitigating.current(self.progress, self.spec)
                assert mitigation is not None
                self._wait(mitigation.then_watch)
                self._end_watch("recovered")
            case Promote() if self.progress.stop is None:
                self._to(self.progress.ended(Phase.PROMOTED, self.now))
            case Watch(counting=True) if self.seen is not None and not self.seen.unseen:
                for name in self.seen.states:
                    self._sees(name, Verdict.HEALTHY)
                self._wait(self.plan.stages[self.progress.stage].bake)
                self._end_watch("baked")

    def _fails(self, event: Fails) -> None:
        if not isinstance(self.doing, Shift | Promote | Mitigate) or self.progress.stop is not None:
            return
        if isinstance(self.doing, Mitigate):
            why = "it is still on" if event.drifted else "HTTP 500"
            self._to(mitigating.not_turned_off(self.progress, why, self.spec, self.now))
            self.doing = None
            return
        if event.partly and isinstance(self.doing, Shift):
            self._to(self.progress.but(percent=max(self.progress.percent, self.doing.percent)))
        if event.drifted:
            self._to(self.progress.drifted("it moved", self.spec, self.now))
        else:
            self._to(self.progress.hold("could not prove it: HTTP 500", None, self.now, acknowledged="drift"))
        self.doing = None

    def _sees(self, gate: str, verdict: Verdict) -> None:
        if self.seen is not None and gate in self.seen.states:
            said = self.seen.states[gate].model_copy(update={"verdict": verdict, "sentence": f"it is {verdict}"})
            self.seen = self.seen.model_copy(update={"states": self.seen.states | {gate: said}})

    def _loses(self, what: str, *, lost: bool) -> None:
        if self.seen is not None and (what == ROUTE or what.removeprefix("gate ") in self.seen.states):
            rest = {name: gap for name, gap in self.seen.unseen.items() if name != what}
            gap = {what: Unseen(since_ms=self.seen.watermark_ms, reason="no answer")} if lost else {}
            self.seen = self.seen.model_copy(update={"unseen": rest | gap})

    def _reports(self, why: Why) -> None:
        if not isinstance(self.doing, Watch) or self.seen is None:
            return
        known, reports = self.doing.acknowledged, self.progress.blind_reports < MOST_BLIND_REPORTS
        bad = [n for n, s in self.seen.states.items() if s.verdict is Verdict.BREACHED and n not in known]
        blind = bool(self.seen.unseen)
        may = {
            "baked": False,
            "interrupted": True,
            "breached": bool(bad),
            "drifted": "drift" not in known,
            "no-data": blind and "no-data" not in known,
            "blind": blind and reports and self.progress.blind is None,
            "sighted": not blind and reports and self.progress.blind is not None,
            "recovered": False,
        }
        if may[why]:
            self._end_watch(why, gate=bad[0] if why == "breached" else None)

    # ── small things ────────────────────────────────────────────────────────────────────────────

    def _decide(self) -> Decision:
        return decide(self.plan, self.progress, self.now)

    @property
    def _counting(self) -> bool:
        return isinstance(self.doing, Watch) and self.doing.counting

    def _within(self) -> timedelta:
        approval = self.plan.stages[self.progress.stage].approval
        return approval.within if approval else timedelta()

    def _let_go(self) -> None:
        if isinstance(self.doing, Watch):
            self._end_watch("interrupted")
        self.doing = None

    def _begin_watch(self, step: Watch) -> None:
        gates = self.plan.stages[self.progress.stage].gates if self.progress.percent else ()
        now_ms = milliseconds(self.now)
        fresh = GateState(watermark_ms=now_ms)
        self.seen = Watching(
            states={name: mitigating.clocked(self.progress).get(name, fresh) for name in gates},
            watermark_ms=now_ms,
            observed_ms=self.progress.baked // timedelta(milliseconds=1),
        )
        self._to(self.progress.watching(step.phase, self.now))

    def _end_watch(self, why: Why, gate: str | None = None) -> None:
        assert isinstance(self.doing, Watch)
        assert self.seen is not None
        result = Watched(why=why, gate=gate, reason=f"it is {why}", watching=self.seen)
        self._to(self.progress.watched(result, self.spec, self.now, counted=self.doing.counting))
        self.doing = self.seen = None

    def _settle(self, turn: Ask | Advance | Hold | Expire) -> None:
        if isinstance(turn, Ask):
            self.waited = timedelta()
        self._to(settle(turn, self.progress, self.now))

    def _roll_back(self) -> None:
        stop = self.progress.stop
        assert stop is not None
        self._to(self.progress.in_phase(Phase.ROLLING_BACK))
        if self.progress.touched:
            self._to(self.progress.in_phase(Phase.STUCK))
            self._to(self.progress.restored(TrafficRestored(epoch=self.progress.epoch + 1)))
        self._to(self.progress.ended(stop.outcome, self.now))

    # ── what must hold ──────────────────────────────────────────────────────────────────────────

    def _check(self, decision: Decision) -> None:
        """Before anything is done."""
        progress, stage = self.progress, self.plan.stages[self.progress.stage]
        self.decisions.append(decision)
        if progress.stop is not None:
            assert decision == RollBack(progress.stop), "nothing but the way back after a stop"
            return
        aborted = obey(self.plan, progress, names.ABORT, Command(), self.now)
        assert isinstance(decide(self.plan, aborted, self.now), RollBack), "an abort turns every state around"
        if progress.breach is not None:
            going_up = isinstance(decision, Shift) and decision.percent > progress.percent
            assert not going_up, "nothing is raised while a gate is breached"
            assert isinstance(decision, Mitigate | Watch | Shift)
            flags = [each.flag for each in progress.mitigated]
            assert len(flags) == len(set(flags)), "no flag is turned off twice"
        elif progress.held is not None:
            assert isinstance(decision, Watch), "nothing moves while held"
            assert decision.phase is Phase.HELD
        match decision:
            case Shift(percent, expected, reassert):
                assert percent == stage.percent or (percent == expected and reassert), "percents rise by plan only"
                assert percent >= progress.percent == expected
                asks_before = stage.approval is not None and stage.approval.before
                assert percent == expected or not asks_before or progress.stage in progress.approvals
            case Advance() | Promote():
                answers = {known.verdict for known in progress.gates.values()}
                oldest = min((known.watermark_ms for known in progress.gates.values()), default=milliseconds(self.now))
                wrote = isinstance(self.decisions[-2], Shift | Promote)  # nobody watches during a write; at most 2 min
                fresh = wrote or milliseconds(self.now) - oldest <= 15_000
                seen = progress.baked >= stage.bake and answers <= {Verdict.HEALTHY} and fresh and not progress.unseen
                assert progress.advanced_by is not None or seen, (
                    "a stage is left healthy, seen to be so now, or by hand"
                )
                assert stage.approval is None or progress.stage in progress.approvals, "asked means answered"
            case Expire() | Hold():
                assert self.waited >= self._within(), "held time does not count"
                assert progress.stage not in progress.approvals

    def _to(self, after: Progress) -> None:
        """At every change of the progress."""
        before, self.progress = self.progress, after
        assert before.stop is None or after.stop == before.stop, "the first reason stays"
        assert set(before.approvals) <= set(after.approvals), "a yes is kept"
        assert after.stage != before.stage or after.baked >= before.baked, "observed time does not shrink"
        assert after.reassertions <= MOST_REASSERTIONS, "no endless fight"
        assert before.stop is None or after.percent <= before.percent, "nothing is raised after a stop"
        up = [percent for percent in after.percents_seen if percent]
        assert up == sorted(set(up)), "proven percents rise"
        assert Progress.model_validate_json(after.model_dump_json()) == after, "it survives the wire"
        self._look()

    def _look(self) -> None:
        """What an operator sees of it."""
        answer = status(self.spec, self.plan, self.progress)
        assert len(answer.details.encode()) <= 20_000
        assert "|" not in answer.details
        if self.progress.stop is None and self.progress.phase not in ENDED:
            assert f"--workflow-id {self.spec.workflow_id} --name {names.ABORT}`" in answer.details


def milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def written(**fields: Any) -> dict[str, Any]:
    """The fields that are not None."""
    return {name: value for name, value in fields.items() if value is not None}
