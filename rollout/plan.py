"""The plan: the spec, compiled. One list of stages whatever the strategy, so that there is one workflow.

`stages()` needs nothing but the spec (that is what `sluice plan` prints); `plan()` adds what preflight found out and
refuses with every reason at once, because an operator who fixes one thing at 3 a.m. wants to know the other four.
"""

from datetime import timedelta

from pydantic import Field

from rollout.base import Percent, Told, percent_text
from rollout.durations import Duration
from rollout.errors import Refused
from rollout.judge.detectable import Detectable
from rollout.spec import RolloutSpec
from rollout.strategies import Approval, FlagStrategy


class PlannedStage(Told):
    """One rung, nothing left to default."""

    title: str
    percent: Percent
    bake: Duration
    gates: tuple[str, ...]
    approval: Approval | None = None
    early: bool = False
    rolls: bool = Field(default=False, description="pods are replaced; it ends when all are, whatever its bake says")


class RouteFact(Told):
    """What preflight read off a route.

    Attributes:
        route: the route in words.
        percent: percent of traffic on the candidate now; None if the route could not be read.
        epoch: fence of the last write that Sluice made there; 0 if none.
        owner: workflow ID that holds the route; None if nobody.
        problem: why the route cannot be used, as a sentence; None if it can.
    """

    route: str
    percent: float | None = None
    epoch: int = 0
    owner: str | None = None
    problem: str | None = None


class Judged(Told):
    """What preflight found out about a gate that counts; fixed for the whole rollout.

    Attributes:
        phi: dispersion, 1 or more.
        dispersion: where it comes from, as a sentence's end.
        native: whether the histogram is a native one.
        sees: for each stage that watches it, what its bake can see at today's traffic.
    """

    phi: float = 3.0
    dispersion: str = "no history: 3 assumed"
    native: bool = False
    sees: tuple[Detectable, ...] = ()


class Facts(Told):
    """Everything preflight found out; reading only."""

    routes: tuple[RouteFact, ...] = ()
    people: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    started_by: str | None = None
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    judged: dict[str, Judged] = Field(default_factory=dict)


class Plan(Told):
    """What will be done: the first thing in the history."""

    stages: tuple[PlannedStage, ...]
    epoch: int = Field(description="highest fence found on the routes; ours start above it")
    start: Percent = Field(default=0, description="where the routes were; the way back leads there")
    people: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    started_by: str | None = None
    notes: tuple[str, ...] = ()
    judged: dict[str, Judged] = Field(default_factory=dict, description="gates that count: how they are judged")

    def may_approve(self, stage: PlannedStage) -> tuple[str, ...] | None:
        """Names of the people who may approve a stage; None: anybody."""
        groups = stage.approval.from_ if stage.approval else ()
        return _members(groups, self.people) if groups else None


def stages(spec: RolloutSpec) -> tuple[PlannedStage, ...]:
    """The rungs of a spec, lowest first."""
    return tuple(
        PlannedStage(
            title=stage.title,
            percent=stage.percent,
            bake=stage.bake,
            gates=tuple(spec.gates_of(stage)),
            approval=stage.approval,
            early=stage.early,
            rolls=spec.replaces(stage),
        )
        for stage in spec.strategy.stages
    )


def shortest(planned: tuple[PlannedStage, ...]) -> timedelta:
    """The least time a plan can take: all bakes, nobody waited for."""
    return sum((stage.bake for stage in planned), timedelta())


def plan(spec: RolloutSpec, facts: Facts, *, owner: str) -> Plan:
    """Compile a spec with the facts of the moment.

    Args:
        spec: what was asked for.
        facts: what preflight read.
        owner: workflow ID of this rollout.

    Raises:
        Refused: with every reason, one a line.
    """
    began = start(spec, facts)
    reasons = [*facts.problems, *(reason for fact in facts.routes if (reason := _objection(fact, owner, began)))]
    if began >= spec.strategy.stages[0].percent > 0:
        reasons.append(f"the flag is at {percent_text(began)} already: begin the stages above that")
    if shortest(stages(spec)) >= spec.policy.max_duration:
        reasons.append("policy.max_duration is not longer than the bakes together: the rollout could never finish")
    if spec.approvals.four_eyes and facts.started_by is None:
        reasons.append("approvals.four_eyes: nobody knows who started this; set requested_by")
    reasons += [reason for stage in stages(spec) if (reason := _nobody(stage, spec, facts))]
    if reasons:
        raise Refused("\n".join(reasons))
    return Plan(
        stages=stages(spec),
        epoch=max((fact.epoch for fact in facts.routes), default=0),
        start=start(spec, facts),
        people=facts.people,
        started_by=facts.started_by,
        notes=facts.notes,
        judged=facts.judged,
    )


def _members(groups: tuple[str, ...], people: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(sorted({person for group in groups for person in people.get(group, ())}))


def _nobody(stage: PlannedStage, spec: RolloutSpec, facts: Facts) -> str | None:
    """Why nobody at all could approve a stage; None if somebody can."""
    if stage.approval is None or not stage.approval.from_:
        return None
    groups = ", ".join(stage.approval.from_)
    may = _members(stage.approval.from_, facts.people)
    if not may:
        return f"stage {stage.title} asks {groups} for approval, but nobody is in there"
    if spec.approvals.four_eyes and set(may) == {facts.started_by}:
        return (
            f"stage {stage.title} asks {groups} for approval, but only {may[0]} is in there, who started it (four eyes)"
        )
    return None


def start(spec: RolloutSpec, facts: Facts) -> float:
    """Where a rollout begins: at 0 %, except for flags, whose share of users may be anywhere; then all at the same."""
    if not isinstance(spec.strategy, FlagStrategy):
        return 0
    return max((fact.percent or 0 for fact in facts.routes), default=0)


def _objection(fact: RouteFact, owner: str, began: float) -> str | None:
    if fact.problem:
        return f"{fact.route}: {fact.problem}"
    if fact.owner is not None and fact.owner != owner:
        return f"{fact.route} is held by {fact.owner}; wait for its end or abort it"
    if fact.percent is None:
        return f"{fact.route} could not be read"
    if began and fact.owner == owner:
        return (
            f"{fact.route} is at {fact.percent:g} %, left by a rollout that was terminated: nobody knows where it was "
            "before; bring it back first, and take its mark off"
        )
    if fact.percent != began and began:
        return f"{fact.route} is at {fact.percent:g} %, another at {began:g} %: bring them to the same"
    if fact.percent != began:
        left_by = " (left by a rollout that was terminated?)" if fact.owner else ""
        return (
            f"{fact.route} already sends {fact.percent:g} % to the candidate{left_by}; "
            "bring it to 0 % or swap the pools' names (`active_color`)"
        )
    return None
