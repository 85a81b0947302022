"""What to do next: one pure function of (plan, progress, now). Nothing else in Sluice decides.

The workflow carries the decision out and asks again; while it carries one out it keeps asking whether the answer is
still the same, and lets go as soon as it is not. That is the whole concurrency story: no flags, no second state
machine.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import assert_never

from rollout.happened import Breach, Phase, Stop
from rollout.plan import Plan, PlannedStage
from rollout.progress import Progress

UNWATCHED = "unwatched"  # what a hold acknowledges after pods were replaced with nobody looking


@dataclass(frozen=True)
class Shift:
    """Write a percent to every route and prove it.

    Attributes:
        percent: wanted.
        expected: what was proven last.
        reassert: overwrite drift.
        pause: routers that move traffic by themselves stay where they are.
    """

    percent: float
    expected: float
    reassert: bool
    pause: bool = False


@dataclass(frozen=True)
class Watch:
    """Watch health.

    Attributes:
        phase: what the wait is called.
        counting: whether the bake clock runs.
        acknowledged: what may not end the watch again.
        until: when the decision must be made anew even if nothing happens.
        rolling: a router moves traffic by itself: until it has arrived.
    """

    phase: Phase
    counting: bool
    acknowledged: tuple[str, ...] = ()
    until: datetime | None = None
    rolling: bool = False


@dataclass(frozen=True)
class Mitigate:
    """Turn a flag off, instead of bringing the traffic back.

    Attributes:
        mitigation: index in the spec's mitigations.
    """

    mitigation: int


@dataclass(frozen=True)
class Ask:
    """Start asking people for their approval."""


@dataclass(frozen=True)
class Advance:
    """The stage is done; go to the next."""


@dataclass(frozen=True)
class Hold:
    """Hold by policy; `acknowledged` does not hold the stage again."""

    reason: str
    acknowledged: str | None = None


@dataclass(frozen=True)
class Expire:
    """Nobody approved in time, and policy sends the traffic back."""

    reason: str


@dataclass(frozen=True)
class Promote:
    """Every stage is done."""


@dataclass(frozen=True)
class RollBack:
    """Bring the traffic back."""

    stop: Stop


Decision = Shift | Watch | Mitigate | Ask | Advance | Hold | Expire | Promote | RollBack


def decide(plan: Plan, progress: Progress, now: datetime) -> Decision:
    """Decide the next step.

    Args:
        plan: the stages.
        progress: where the rollout is.
        now: the workflow's time.
    """
    if progress.stop is not None:
        return RollBack(progress.stop)
    stage = plan.stages[progress.stage]
    if progress.breach is not None:  # also while held: what is bad does not wait for a person
        return _breached(stage, progress, progress.breach)
    if progress.held is not None:
        return _held(stage, progress, progress.held.acknowledged)
    if not progress.arrived:
        return _reach(stage, progress, now)
    return _on_its_way(progress) or _there(plan, stage, progress, now)


def _there(plan: Plan, stage: PlannedStage, progress: Progress, now: datetime) -> Decision:
    """What to do at a stage's percent."""
    if stage.rolls:  # every pod is replaced; what is left to be seen is the next stage's
        return _rolled(stage, progress)
    by_hand = progress.advanced_by is not None
    if progress.baked < stage.bake and not by_hand and not progress.proven:
        return Watch(Phase.BAKING, counting=True, acknowledged=progress.tolerated)
    if _asks(stage, progress):
        return _wait_for_people(stage, progress, now)
    if progress.doubts(stage) and not by_hand:  # also between a yes and the next percent
        return Watch(Phase.BAKING, counting=True, acknowledged=progress.tolerated)
    return Promote() if progress.stage == len(plan.stages) - 1 else Advance()


def _breached(stage: PlannedStage, progress: Progress, breach: Breach) -> Decision:
    if not breach.off:
        return Mitigate(breach.mitigation)
    if (step := _to_be_paused(stage, progress)) is not None:  # nothing rises while a gate is breached
        return step
    if progress.reassert and progress.held is None:
        return Shift(progress.percent, expected=progress.percent, reassert=True)
    acknowledged = progress.held.acknowledged if progress.held else progress.tolerated
    return Watch(Phase.MITIGATING, counting=True, acknowledged=acknowledged)


def _rolled(stage: PlannedStage, progress: Progress) -> Decision:
    unwatched = progress.unwatched(stage)
    if unwatched and UNWATCHED not in progress.tolerated:
        return Hold(f"{', '.join(unwatched)}: nothing was seen while pods were replaced", UNWATCHED)
    return Advance()


def _held(stage: PlannedStage, progress: Progress, acknowledged: tuple[str, ...]) -> Decision:
    return _to_be_paused(stage, progress) or Watch(Phase.HELD, counting=False, acknowledged=acknowledged)


def _to_be_paused(stage: PlannedStage, progress: Progress) -> Shift | None:
    """What tells a router that moves traffic by itself to stay where it is; None if there is nothing to be told."""
    if progress.moving is not None and not progress.paused:
        return Shift(progress.percent, expected=progress.percent, reassert=False, pause=True)
    if stage.rolls and progress.reaching is not None and not progress.paused:  # written, and nobody knows how far it is
        return Shift(progress.reaching, expected=progress.percent, reassert=False, pause=True)
    return None


def _reach(stage: PlannedStage, progress: Progress, now: datetime) -> Decision:
    if _asks(stage, progress) and stage.approval is not None and stage.approval.before:
        if progress.reassert:
            return Shift(progress.percent, expected=progress.percent, reassert=True)
        return _wait_for_people(stage, progress, now)
    return Shift(stage.percent, expected=progress.percent, reassert=progress.reassert)


def _on_its_way(progress: Progress) -> Decision | None:
    """What to do while a router moves traffic by itself; None if none does."""
    if progress.paused:  # and nobody holds it any more
        return Shift(progress.percent, expected=progress.percent, reassert=progress.reassert)
    if progress.moving is not None:
        return Watch(Phase.BAKING, counting=False, acknowledged=progress.tolerated, rolling=True)
    return None


def _asks(stage: PlannedStage, progress: Progress) -> bool:
    return stage.approval is not None and progress.stage not in progress.approvals


def settle(turn: Ask | Advance | Hold | Expire, progress: Progress, now: datetime) -> Progress:
    """Carry out a decision that needs nothing from the world."""
    match turn:
        case Ask():
            return progress.asked(now)
        case Advance():
            return progress.next_stage(now)
        case Hold(reason, acknowledged):
            return progress.hold(reason, None, now, acknowledged=acknowledged).but(waiting_since=None)
        case Expire(reason):
            return progress.stopped(Phase.EXPIRED, reason, now)
        case _ as never:
            assert_never(never)


def _wait_for_people(stage: PlannedStage, progress: Progress, now: datetime) -> Decision:
    if stage.approval is None or progress.waiting_since is None:
        return Ask()
    until = progress.waiting_since + stage.approval.within
    if now < until:
        return Watch(Phase.AWAITING_APPROVAL, counting=False, acknowledged=progress.tolerated, until=until)
    reason = f"nobody approved {stage.title} in time"
    match stage.approval.then:
        case "rollback":
            return Expire(reason)
        case "hold":
            return Hold(reason)
        case _ as never:
            assert_never(never)
