"""What to do next: one pure function of (plan, progress, now). Nothing else in Sluice decides.

The workflow carries the decision out and asks again; while it carries one out it keeps asking whether the answer is
still the same, and lets go as soon as it is not. That is the whole concurrency story: no flags, no second state
machine.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import assert_never

from rollout.plan import Plan, PlannedStage
from rollout.progress import Phase, Progress, Stop


@dataclass(frozen=True)
class Shift:
    """Write a percent to every route and prove it."""

    percent: float
    expected: float
    reassert: bool


@dataclass(frozen=True)
class Watch:
    """Watch health.

    Attributes:
        phase: what the wait is called.
        counting: whether the bake clock runs.
        acknowledged: what may not end the watch again.
        until: when the decision must be made anew even if nothing happens.
    """

    phase: Phase
    counting: bool
    acknowledged: tuple[str, ...] = ()
    until: datetime | None = None


@dataclass(frozen=True)
class Ask:
    """Start asking people for their approval."""


@dataclass(frozen=True)
class Advance:
    """The stage is done; go to the next."""


@dataclass(frozen=True)
class Hold:
    """Hold by policy."""

    reason: str


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


Decision = Shift | Watch | Ask | Advance | Hold | Expire | Promote | RollBack


def decide(plan: Plan, progress: Progress, now: datetime) -> Decision:
    """Decide the next step.

    Args:
        plan: the stages.
        progress: where the rollout is.
        now: the workflow's time.
    """
    if progress.stop is not None:
        return RollBack(progress.stop)
    if progress.held is not None:
        return Watch(Phase.HELD, counting=False, acknowledged=progress.held.acknowledged)
    stage = plan.stages[progress.stage]
    asks = stage.approval is not None and progress.stage not in progress.approvals
    if not progress.arrived:
        if asks and stage.approval is not None and stage.approval.before:
            if progress.reassert:
                return Shift(progress.percent, expected=progress.percent, reassert=True)
            return _wait_for_people(stage, progress, now)
        return Shift(stage.percent, expected=progress.percent, reassert=progress.reassert)
    by_hand = progress.advanced_by is not None
    if progress.baked < stage.bake and not by_hand and not progress.proven:
        return Watch(Phase.BAKING, counting=True, acknowledged=progress.tolerated)
    if asks:
        return _wait_for_people(stage, progress, now)
    if progress.doubts(stage) and not by_hand:  # also between a yes and the next percent
        return Watch(Phase.BAKING, counting=True, acknowledged=progress.tolerated)
    return Promote() if progress.stage == len(plan.stages) - 1 else Advance()


def settle(turn: Ask | Advance | Hold | Expire, progress: Progress, now: datetime) -> Progress:
    """Carry out a decision that needs nothing from the world."""
    match turn:
        case Ask():
            return progress.asked(now)
        case Advance():
            return progress.next_stage(now)
        case Hold(reason):
            return progress.hold(reason, None, now).but(waiting_since=None)
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
