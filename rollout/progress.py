"""Where a rollout is: one frozen value, changed only by the transitions below, so every state can be tested and shown.

What happens next is not decided here (`decide.py`), what people may say is not either (`commands.py`), and how it looks
is in `story.py`.
"""

from datetime import datetime, timedelta
from typing import Literal, Self

from pydantic import Field

from rollout import mitigating
from rollout.base import Told
from rollout.happened import Approved, Breach, Held, Mitigated, Phase, StageRecord, Stop
from rollout.judge.verdict import GateState, Verdict
from rollout.messages import TrafficRestored, TrafficShifted, Watched
from rollout.plan import Plan, PlannedStage
from rollout.spec import RolloutSpec
from rollout.watch import old_after

MOST_NOTES = 10
MOST_REASSERTIONS = 3
MOST_BLIND_REPORTS = 10
_NEW_STAGE = {"observed_ms": 0, "bets": None}  # blocks of an earlier percent say little about this one


class Progress(Told):
    """Everything known about a running rollout.

    Attributes:
        stage: index of the stage that is reached for or baked at.
        percent: highest percent that a route has proven.
        reaching: percent being written and not yet proven; None when nothing is in flight.
        touched: whether any route was written; before that there is nothing to put back.
        arrived: whether the stage's percent is proven.
        baked: observed time of the stage's bake so far.
        tolerated: gates that held this stage and were resumed from: they hold it no more, but the stage is not left
            before they are healthy or somebody advances.
        answered: gates that held and were resumed from since the last watch began.
        moved_at: when a percent was last proven, also one that was put right.
        proven: every gate has proven health, and the stage's bake may end early.
        advanced_by: who ended the stage's bake by hand ("" if they did not say), None if nobody.
        reassert: the next shift may overwrite drift.
        unseen: gates and routes that the last watch could not see at its end.
        moving: what a router that moves traffic by itself is still doing, in words; None if nothing moves.
        paused: whether such a router was told to stay where it is.
        goes_on: why it could not be told; it moves on although the rollout is held.
        breach: what a flag is turned off for now; None if nothing is.
        mitigated: every flag that was turned off, or tried, oldest first.
        uneven: what was once wrong with how an experiment's users fell to its sides.
        start: where the routes were before the first write; the way back leads there.
    """

    phase: Phase = Phase.PREFLIGHT
    stage: int = 0
    percent: float = 0
    reaching: float | None = None
    epoch: int = 0
    touched: bool = False
    arrived: bool = False
    baked: timedelta = timedelta()
    watching_since: datetime | None = None
    advanced_by: str | None = None
    proven: bool = False
    moved_at: datetime | None = None
    answered: tuple[str, ...] = ()
    waiting_since: datetime | None = None
    approvals: dict[int, Approved] = Field(default_factory=dict)
    held: Held | None = None
    stop: Stop | None = None
    resumed_at: datetime | None = None
    tolerated: tuple[str, ...] = ()
    reassert: bool = False
    reassertions: int = 0
    gates: dict[str, GateState] = Field(default_factory=dict)
    unseen: tuple[str, ...] = ()
    moving: str | None = None
    paused: bool = False
    goes_on: str | None = None
    breach: Breach | None = None
    mitigated: tuple[Mitigated, ...] = ()
    uneven: str | None = None
    start: float = 0
    blind: str | None = None
    blind_reports: int = 0
    records: tuple[StageRecord, ...] = ()
    percents_seen: tuple[float, ...] = ()
    overwrote: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def but(self, **changes: object) -> Self:
        """The same with some fields changed."""
        return self.model_copy(update=changes)

    @property
    def over(self) -> bool:
        """Whether the way back has begun or the rollout has ended."""
        return self.stop is not None or self.phase in {Phase.PROMOTED, Phase.REFUSED}

    def noted(self, note: str) -> Self:
        """Remember something an operator should see, on one line; the oldest goes first."""
        line = "; ".join(part.strip() for part in note.splitlines() if part.strip())
        return self.but(notes=(*self.notes, line)[-MOST_NOTES:])

    def in_phase(self, phase: Phase) -> Self:
        """Say where we are."""
        return self.but(phase=phase)

    def planned(self, plan: Plan) -> Self:
        """Preflight is over."""
        records = tuple(StageRecord(title=stage.title, percent=stage.percent) for stage in plan.stages)
        return self.but(records=records, epoch=plan.epoch, start=plan.start, percent=plan.start)

    def shifting(self, percent: float, epoch: int) -> Self:
        """A write is about to be sent."""
        return self.but(phase=Phase.SHIFTING, reaching=percent, epoch=epoch, touched=True)

    def shifted(self, shifted: TrafficShifted, now: datetime) -> Self:
        """Every route has proven the percent."""
        proven = self.but(
            percent=shifted.percent,
            reaching=None,
            reassert=False,
            moved_at=now,
            percents_seen=_seen(self, shifted.percent),
            moving=shifted.moving,
            paused=shifted.paused,
            goes_on=None,
        )
        record = self.records[self.stage]
        if shifted.percent != record.percent:  # an earlier stage's percent was put right
            return proven
        if record.arrived_at is None:  # until here the percent before was watched, as it had been
            proven = proven.but(tolerated=(), gates=_fresh(proven.gates))
        return proven.but(arrived=True).recording(arrived_at=record.arrived_at or now)

    def next_stage(self, now: datetime) -> Self:
        """The stage is done; reach for the next one. Evidence is carried, clocks are not."""
        return self.recording(left_at=now).but(
            stage=self.stage + 1,
            arrived=False,
            baked=timedelta(),
            advanced_by=None,
            proven=False,
            waiting_since=None,
            gates=_fresh(self.gates),
        )

    def asked(self, now: datetime) -> Self:
        """People are being asked from now on."""
        return self.but(waiting_since=now)

    def watching(self, phase: Phase, now: datetime, *, totals: bool = False) -> Self:
        """A watch starts; what somebody has answered since the last one is begun anew, maybe without its totals."""
        gates = {name: state.forgiven(totals) if name in self.answered else state for name, state in self.gates.items()}
        return self.but(phase=phase, watching_since=now, gates=gates, answered=())

    def watched(self, result: Watched, spec: RolloutSpec, now: datetime, *, counted: bool) -> "Progress":
        """A watch ended: fold in what it saw, then what follows from the reason.

        A gate that it did not watch is forgotten: asked again in a later stage, it would answer for a time in which
        nobody wanted to know, and its silence since then would count as missing data. Evidence of counts is kept.
        """
        unseen = (*result.watching.unseen, *_outdated(result, spec.policy.poll, now))
        gates = self.parked_without(result) | mitigating.bakes_kept(self, result)
        moving = result.watching.moving if self.moving is not None else None
        seen = self.but(gates=gates, unseen=unseen, blind=self.blind if unseen else None, moving=moving)
        if result.why == "arrived":
            seen = seen.but(moved_at=now)
        if self.breach is not None:
            seen = seen.but(breach=mitigating.watched(self.breach, observed(result)))
        elif counted:
            seen = seen.but(baked=max(self.baked, observed(result)))
        answers = {name: f"{state.verdict}: {state.sentence}" for name, state in result.watching.states.items()}
        seen = seen.recording(baked=seen.baked, gates=answers)
        return seen.concluded(result, spec, now)

    def concluded(self, result: Watched, spec: RolloutSpec, now: datetime) -> "Progress":
        """What follows from the reason for which a watch ended."""
        match result.why:
            case "baked" | "interrupted" | "arrived":
                return self
            case "blind" | "sighted":
                lost = result.why == "blind"
                return self.but(blind=result.reason if lost else None, blind_reports=self.blind_reports + lost)
            case "breached" | "recovered" | "unclear":
                return mitigating.concluded(self, result, spec, now)
            case "proven":
                return self.but(proven=True).recording(proven=True)
            case "doubtful":
                return self.doubted(result, now)
            case "no-data":
                blind = self.but(blind=result.reason)
                if spec.policy.no_data.then == "hold":
                    return blind.hold(f"no data: {result.reason}", None, now, acknowledged="no-data")
                return blind.stopped(Phase.ROLLED_BACK, f"no data: {result.reason}", now)
            case "drifted":
                return self.drifted(result.reason, spec, now)

    def doubted(self, result: Watched, now: datetime) -> Self:
        """Something that a person must look at; users who fall to the wrong sides are never forgotten again."""
        reason = f"{result.gate}: {result.reason}"
        uneven = result.reason if result.gate == "sample-ratio" else self.uneven
        return self.but(uneven=uneven).noted(reason).hold(reason, None, now, acknowledged=result.gate)

    def parked_without(self, result: Watched) -> dict[str, GateState]:
        """What is kept of the gates that a watch did not watch."""
        others = {name: state.parked() for name, state in self.gates.items() if name not in result.watching.states}
        return {name: state for name, state in others.items() if state is not None}

    def drifted(self, reason: str, spec: RolloutSpec, now: datetime) -> Self:
        """A route is not what was proven: put it right a few times if policy says so, else hold; never adopt it."""
        if spec.policy.drift == "reassert" and self.held is None and self.reassertions < MOST_REASSERTIONS:
            again = self.but(reassert=True, arrived=False, reassertions=self.reassertions + 1)
            return again.noted(f"drift put right ({self.reassertions + 1} of {MOST_REASSERTIONS}): {reason}")
        return self.hold(f"drift: {reason}", None, now, acknowledged="drift")

    def hold(self, reason: str, by: str | None, now: datetime, *, acknowledged: str | None = None) -> Self:
        """Nothing moves until somebody resumes. A second reason adds to the first."""
        known = self.held.acknowledged if self.held else ()
        new = (acknowledged,) if acknowledged and acknowledged not in known else ()
        since = self.held.since if self.held else now
        said = self.held.reason.split("; ") if self.held else []
        reasons = "; ".join(said if reason in said else [*said, reason])
        who = by or (self.held.by if self.held else None)
        return self.but(held=Held(reason=reasons, by=who, since=since, acknowledged=(*known, *new)))

    def resumed(self, now: datetime) -> Self:
        """Go on. What drifted is put back; time that was held does not count against an approval's deadline.

        Evidence that somebody has looked at and resumed from is answered: the next watch begins to collect anew.
        """
        if self.held is None:
            return self
        drifted = "drift" in self.held.acknowledged
        waited = self.waiting_since + (now - self.held.since) if self.waiting_since else None
        return self.but(
            held=None,
            resumed_at=now,
            tolerated=tuple(name for name in self.held.acknowledged if name not in {"drift", "no-data"}),
            reassert=self.reassert or drifted,
            arrived=self.arrived and not drifted,
            waiting_since=waited,
            answered=self.held.acknowledged,
        )

    def advanced(self, by: str) -> Self:
        """A person ended this bake."""
        return self.recording(ended_early_by=by or "somebody").but(advanced_by=by)

    def approved(self, stage: int, approval: Approved) -> Self:
        """A person said yes to a stage; a second yes changes nothing."""
        return self if stage in self.approvals else self.but(approvals={**self.approvals, stage: approval})

    def stopped(
        self,
        outcome: Literal[Phase.ROLLED_BACK, Phase.ABORTED, Phase.REJECTED, Phase.EXPIRED],
        reason: str,
        now: datetime,
        *,
        gate: str | None = None,
        by: str | None = None,
    ) -> Self:
        """The traffic goes back. The first reason stays."""
        if self.stop is not None:
            return self
        return self.but(stop=Stop(outcome=outcome, reason=reason, gate=gate, by=by, at=now))

    def restored(self, restored: TrafficRestored) -> Self:
        """Stable has all the traffic again, proven."""
        told = self
        for note in restored.left_off:
            told = told.noted(note)
        return told.but(
            percent=restored.percent,
            reaching=None,
            overwrote=restored.overwrote,
            percents_seen=_seen(self, restored.percent),
        )

    def ended(self, phase: Phase, now: datetime) -> Self:
        """The last phase."""
        return (self.recording(left_at=now) if self.records else self).but(phase=phase)

    def doubts(self, stage: PlannedStage) -> tuple[str, ...]:
        """What keeps a stage after its bake and its approval: gates that do not say healthy, and what was not seen."""
        unsure = tuple(f"gate {name}" for name in stage.gates if name not in self.gates or not self.gates[name].passes)
        return (*unsure, *(what for what in self.unseen if what not in unsure))

    def unwatched(self, stage: PlannedStage) -> tuple[str, ...]:
        """Gates that have seen nothing of the candidate while its pods came, and what could not be seen at the end."""
        blind = [f"gate {name}" for name in stage.gates if not _has_seen(self.gates.get(name))]
        return (*blind, *(what for what in self.unseen if what not in blind))

    def recording(self, **changes: object) -> Self:
        """The same with the present stage's record changed."""
        records = list(self.records)
        records[self.stage] = records[self.stage].model_copy(update=changes)
        return self.but(records=tuple(records))


def _fresh(gates: dict[str, GateState]) -> dict[str, GateState]:
    """Evidence is carried to another percent, clocks and blocks are not."""
    return {name: state.model_copy(update=_NEW_STAGE) for name, state in gates.items()}


def _has_seen(state: GateState | None) -> bool:
    """Whether a gate has had an answer, and one that counts a request of the candidate."""
    if state is None:
        return False
    if state.evidence is not None:
        return state.evidence.total.n_c > 0
    return state.verdict is not Verdict.NO_DATA


def observed(result: Watched) -> timedelta:
    """How much of the bake was seen: the least that any gate has seen, or the clock's where there is none."""
    states = result.watching.states
    least = min((state.observed_ms for state in states.values()), default=result.watching.observed_ms)
    return timedelta(milliseconds=least)


def _outdated(result: Watched, poll: timedelta, now: datetime) -> tuple[str, ...]:
    """Gates whose answer is old news: nobody asked for a while, and an approval that waited for a worker came first.

    A watch that ended by itself has just asked, whatever the difference between its clock and ours.
    """
    if result.why != "interrupted":
        return ()
    oldest_ms = (now - old_after(poll)).timestamp() * 1000
    return tuple(f"gate {name}" for name, state in result.watching.states.items() if state.watermark_ms < oldest_ms)


def _seen(progress: Progress, percent: float) -> tuple[float, ...]:
    seen = progress.percents_seen
    return seen if seen and seen[-1] == percent else (*seen, percent)
