"""Every activity the story uses, with its timeouts, retries and the one line that the UI shows for it."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import Priority, RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.exceptions import TimeoutError as TemporalTimeoutError
from temporalio.workflow import ActivityCancellationType, ActivityHandle

from activities.mitigation import MitigationActivities
from activities.preflight import PreflightActivities
from activities.traffic import TrafficActivities
from activities.watching import WatchingActivities
from rollout import mitigating, story
from rollout.base import percent_text
from rollout.decide import Mitigate, Shift, Watch
from rollout.durations import text
from rollout.happened import Phase
from rollout.judge.merge import budgets
from rollout.judging import tests
from rollout.messages import (
    ApplyMitigation,
    DrainPool,
    FlagTurnedOff,
    PlanRollout,
    PoolDrained,
    RestoreTraffic,
    ShiftTraffic,
    TrafficRestored,
    TrafficShifted,
    Watched,
    WatchHealth,
    Watching,
)
from rollout.plan import Judged, Plan
from rollout.progress import MOST_BLIND_REPORTS, Progress
from rollout.routes import FlagRoute
from rollout.spec import RolloutSpec
from rollout.strategies import FlagStrategy

_ALIVE = timedelta(seconds=5)  # a killed worker's short activities are noticed after this
_UNHURRIED = timedelta(seconds=15)  # those of one that nothing waits for
_SOON = RetryPolicy(initial_interval=timedelta(seconds=1), backoff_coefficient=1.0)
_FOR_EVER = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=10))
SETTLING = timedelta(minutes=1)  # the most that applications may take to have a flag's change that is proven
_URGENT = Priority(priority_key=1)


def plan(spec: RolloutSpec, owner: str) -> ActivityHandle[Plan]:
    """Preflight."""
    return workflow.start_activity_method(
        PreflightActivities.plan_rollout,
        PlanRollout(spec=spec, owner=owner),
        start_to_close_timeout=timedelta(seconds=30),
        schedule_to_close_timeout=timedelta(minutes=1),
        retry_policy=_SOON,
        summary=story.short(f"preflight of {spec.service} {spec.release.candidate} for {spec.environment}"),
    )


def brings_pods(spec: RolloutSpec, progress: Progress, step: Shift) -> bool:
    """Whether pods are to be waited for while users are on the candidate already, who must not go unwatched."""
    return spec.workload is not None and step.percent > progress.percent > 0


def prepare(spec: RolloutSpec, owner: str, step: Shift, epoch: int) -> ActivityHandle[None]:
    """Get the candidate the pods for a percent; gives up after `ready_within`, and the rollout is held."""
    return workflow.start_activity_method(
        TrafficActivities.prepare_pods,
        _shift_order(spec, owner, step, epoch),
        start_to_close_timeout=timedelta(seconds=30),
        schedule_to_close_timeout=spec.policy.ready_within,
        heartbeat_timeout=_ALIVE,
        retry_policy=_SOON,
        summary=story.short(f"pods for {percent_text(step.percent)}"),
    )


def shift(
    spec: RolloutSpec, owner: str, step: Shift, epoch: int, *, release: bool = False, with_pods: bool = False
) -> ActivityHandle[TrafficShifted]:
    """Move the traffic and prove it; gives up after `ready_within`, and the rollout is held.

    Args:
        spec: what was asked for.
        owner: who holds the routes.
        step: where to.
        epoch: the fence.
        release: take our mark off.
        with_pods: the pods for it were there a moment ago, so it is not waited for them again, unwatched.
    """
    once = spec.policy.prove_within * len(spec.routes) + timedelta(seconds=15) + settling(spec)
    summary = story.pause_summary(spec) if step.pause else story.shift_summary(spec, step.expected, step.percent)
    return workflow.start_activity_method(
        TrafficActivities.shift_traffic,
        _shift_order(spec, owner, step, epoch, release=release),
        start_to_close_timeout=once,
        schedule_to_close_timeout=once if with_pods else spec.policy.ready_within + settling(spec),
        heartbeat_timeout=_ALIVE,
        retry_policy=RetryPolicy(
            initial_interval=timedelta(seconds=1), backoff_coefficient=1.0, non_retryable_error_types=["NotProven"]
        ),
        summary=story.short(f"release our mark: {percent_text(step.percent)} stays") if release else summary,
    )


def _shift_order(spec: RolloutSpec, owner: str, step: Shift, epoch: int, *, release: bool = False) -> ShiftTraffic:
    return ShiftTraffic(
        routes=spec.routes,
        percent=step.percent,
        expected=step.expected,
        epoch=epoch,
        owner=owner,
        prove_within=spec.policy.prove_within,
        reassert=step.reassert,
        release=release,
        pause=step.pause,
        workload=spec.workload,
    )


def watch(spec: RolloutSpec, plan_: Plan, progress: Progress, step: Watch, owner: str) -> ActivityHandle[Watched]:
    """Watch health; the workflow races it and never has to wait for its end."""
    stage = plan_.stages[progress.stage]
    at = judged_as(plan_, progress)
    mitigation = mitigating.current(progress, spec)
    bake, observed = (
        (mitigation.then_watch, progress.breach.watched)
        if mitigation and progress.breach
        else (stage.bake, progress.baked)
    )
    poll = spec.policy.poll
    reports = progress.blind_reports < MOST_BLIND_REPORTS
    # A candidate without traffic has nothing to be judged by, except by what a stage at 0 % watches.
    # A rolling update that was written and not proven may be replacing pods.
    replaced = stage.rolls and progress.reaching is not None
    gates = plan_.stages[at].gates if progress.percent or replaced or (progress.arrived and not stage.percent) else ()
    arrived = progress.moved_at or workflow.now()
    return workflow.start_activity_method(
        WatchingActivities.watch_health,
        WatchHealth(
            gates={name: spec.gates[name] for name in gates},
            states={name: state for name, state in mitigating.clocked(progress).items() if name in gates},
            since_ms=milliseconds(workflow.now()),
            bake=bake if step.counting else None,
            poll=poll,
            no_data_hold=spec.policy.no_data.hold,
            observed_ms=round(observed.total_seconds() * 1000),
            acknowledged=step.acknowledged,
            announced_blind=True if progress.blind is not None else False if reports else None,
            routes=spec.routes,
            percent=progress.percent,
            epoch=progress.epoch,
            owner=owner if progress.touched else None,
            patient_since_ms=milliseconds(progress.resumed_at) if progress.resumed_at else 0,
            tests=tests(spec, plan_, at) if gates else {},
            budgets=budgets(spec.gates, spec.policy.false_rollback),
            parked={
                name: state.evidence.value
                for name, state in progress.gates.items()
                if state.evidence and name not in gates
            },
            forced=any(route.forced_header is not None for route in spec.routes),
            sticky=any(route.sticky_users for route in spec.routes),
            undecided=spec.policy.undecided,
            early=stage.early and progress.arrived and mitigation is None,
            arrived_ms=milliseconds(arrived),
            native=tuple(name for name in gates if plan_.judged.get(name, Judged()).native),
            rolling=progress.moving is not None or replaced,
            users=spec.strategy.users if isinstance(spec.strategy, FlagStrategy) and stage.percent < 100 else None,
            recovering=progress.breach.gates if progress.breach else {},
        ),
        start_to_close_timeout=spec.policy.max_duration + timedelta(hours=1),
        # It beats at every poll, and after 5.5 s of silence.
        heartbeat_timeout=min(2 * poll + timedelta(seconds=1), timedelta(seconds=8)),
        retry_policy=_SOON,
        cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        summary=story.short(_watch_summary(stage.title, stage.bake, progress, step)),
    )


def mitigate(spec: RolloutSpec, owner: str, progress: Progress, step: Mitigate) -> ActivityHandle[FlagTurnedOff]:
    """Turn a flag off and prove it; the way back waits no longer than `prove_within`, and as long for applications."""
    mitigation = spec.mitigations[step.mitigation]
    gate = progress.breach.gate if progress.breach else ""
    return workflow.start_activity_method(
        MitigationActivities.apply_mitigation,
        ApplyMitigation(
            flag=mitigation.flag,
            why=f"{owner}: gate {gate} is breached",
            prove_within=mitigation.prove_within,
            recent=2 * mitigation.then_watch,
        ),
        schedule_to_close_timeout=2 * mitigation.prove_within + timedelta(seconds=5),
        heartbeat_timeout=_ALIVE,
        retry_policy=RetryPolicy(
            initial_interval=timedelta(seconds=1), backoff_coefficient=1.0, non_retryable_error_types=["NotProven"]
        ),
        priority=_URGENT,
        summary=story.short(f"turn off {mitigation.flag}: gate {gate} is breached"),
    )


def restore(spec: RolloutSpec, owner: str, progress: Progress, epoch: int) -> ActivityHandle[TrafficRestored]:
    """The way back: for ever, and before anything else in the queue."""
    ours = {0.0, *progress.percents_seen, progress.percent}
    if progress.reaching is not None:
        ours.add(progress.reaching)
    reason = progress.stop.reason if progress.stop else ""
    off = isinstance(spec.strategy, FlagStrategy) and spec.strategy.way_back == "off"
    return workflow.start_activity_method(
        TrafficActivities.restore_traffic,
        RestoreTraffic(
            routes=spec.routes,
            expected=tuple(sorted(ours)),
            epoch=epoch,
            owner=owner,
            prove_within=spec.policy.prove_within,
            workload=spec.workload if spec.policy.restore == "capped" else None,
            capped_for=spec.policy.alarm_after,
            percent=0 if off else progress.start,
            switch_off=off,
        ),
        start_to_close_timeout=2 * spec.policy.prove_within + timedelta(seconds=15),
        heartbeat_timeout=_ALIVE,
        retry_policy=_FOR_EVER,
        priority=_URGENT,
        summary=story.short(f"{percent_text(progress.percent)} → {story.way_back(spec, progress)}: {reason}"),
    )


def drain(spec: RolloutSpec, owner: str, pool: str, epoch: int) -> ActivityHandle[PoolDrained]:
    """Let a pool finish what it has begun; a router that cannot say is asked for a minute."""
    return workflow.start_activity_method(
        TrafficActivities.drain_pool,
        DrainPool(
            routes=spec.routes,
            pool="stable" if pool == "stable" else "candidate",
            timeout=spec.policy.drain,
            workload=spec.workload,
            epoch=epoch,
            owner=owner,
        ),
        start_to_close_timeout=spec.policy.drain + timedelta(seconds=15),
        schedule_to_close_timeout=spec.policy.drain + timedelta(minutes=1),
        heartbeat_timeout=_UNHURRIED,
        retry_policy=_SOON,
        summary=f"drain {pool}, at most {text(spec.policy.drain)}",
    )


def settling(spec: RolloutSpec) -> timedelta:
    """What applications may take to have a flag's change that is proven."""
    return SETTLING if any(isinstance(route, FlagRoute) for route in spec.routes) else timedelta()


def judged_as(plan_: Plan, progress: Progress) -> int:
    """Number of the stage whose percent is there: as that one it is judged.

    Once every pod is replaced, there is nothing left to compare with, whether or not the next stage was reached yet.
    """
    stage = plan_.stages[progress.stage]
    if progress.arrived:
        return progress.stage + (stage.rolls and progress.moving is None)
    return progress.stage if stage.percent == progress.percent else max(0, progress.stage - 1)


def call_off(handle: ActivityHandle[Any]) -> None:
    """Cancel what nobody waits for any more; how it ends does not matter, and is not logged as a forgotten failure."""
    handle.cancel()
    handle.add_done_callback(lambda ended: None if ended.cancelled() else ended.exception())


@contextmanager
def called_off_too(handle: ActivityHandle[Any]) -> Iterator[None]:
    """A cancel request ends the waiting and not the activity: without this, a raise would still be tried."""
    try:
        yield
    except asyncio.CancelledError:
        call_off(handle)
        raise


def _watch_summary(title: str, bake: timedelta, progress: Progress, step: Watch) -> str:
    at = percent_text(progress.percent)
    match step.phase:
        case Phase.BAKING if step.rolling:
            return f"watch while it moves: {progress.moving}"
        case Phase.BAKING:
            left = bake - progress.baked
            return f"bake {text(left)} at {at}" if left > timedelta() else f"a gate makes up its mind at {at}"
        case Phase.SHIFTING:
            return f"watch at {at} while pods become ready"
        case Phase.MITIGATING:
            return f"watch at {at} with the flag off"
        case Phase.AWAITING_APPROVAL:
            return f"watch at {at}, waiting for approval of {title}"
        case _:
            return f"watch at {at} while held"


def milliseconds(moment: datetime) -> int:
    """Unix milliseconds."""
    return round(moment.timestamp() * 1000)


def why(error: ActivityError) -> tuple[str, str]:
    """Type and sentence of what an activity failed with."""
    cause = error.cause
    if isinstance(cause, ApplicationError):
        return cause.type or "Error", cause.message
    if isinstance(cause, TemporalTimeoutError):
        inner = cause.cause
        told = f": {inner.message}" if isinstance(inner, ApplicationError) else ""
        return "TimedOut", f"no success in time{told}"
    return type(cause).__name__, str(cause or error)


def highest_proven(error: ActivityError) -> float | None:
    """Highest percent that a route had proven when a shift of several routes failed; None if none had."""
    details = error.cause.details if isinstance(error.cause, ApplicationError) else ()
    return float(details[0]) if details and isinstance(details[0], int | float) else None


def last_heartbeat(error: ActivityError) -> Watching | None:
    """What a watch that timed out had seen last."""
    details = error.cause.last_heartbeat_details if isinstance(error.cause, TemporalTimeoutError) else ()
    return Watching.model_validate(details[0]) if details else None
