"""What a closed run proves by itself: its result, and the times that the Temporal server wrote into its history.

Why the history and not what the demo saw while it watched: the demo looks four times a second, and a promise of seconds
must not depend on when it looked.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError

from rollout import names
from rollout.happened import RolloutResult
from rollout.messages import Watched
from rollout.spec import RolloutSpec
from starter.demo.spared import Spared, seconds_of, spared
from workflows.converter import DATA_CONVERTER


@dataclass(frozen=True)
class Evidence:
    """How a run ended, and when its turning points were.

    Attributes:
        outcome: Its last phase, or the type of its failure.
        reason: The sentence of its end; empty when it was promoted.
        percents_seen: Every percent proven, in order.
        events: Events of its history.
        fired_at: Unix seconds of the evaluation or the scrape that breached a gate, or of the poll that heard the
            router give up; None without either.
        caught_by: That gate; None without one.
        told_at: Unix seconds at which the server got a signal to abort, None without one.
        zero_at: Unix seconds at which the server learned that 0 % is proven, None when nothing was put back.
        spared: What came of a flag that was turned off, None when none was touched.
    """

    outcome: str
    reason: str
    percents_seen: tuple[float, ...]
    events: int
    fired_at: float | None = None
    caught_by: str | None = None
    told_at: float | None = None
    zero_at: float | None = None
    spared: Spared | None = None


async def gather(handle: WorkflowHandle[Any, Any], spec: RolloutSpec) -> Evidence:
    """Read it all from the server.

    Args:
        handle: Of a closed run.
        spec: What was started.

    Raises:
        RPCError: The server does not answer.
    """
    outcome, reason, result = await _ending(handle)
    history = (await handle.fetch_history()).events
    completed = _completed(history)
    fired_at = caught_by = zero_at = None
    for kind, event in completed:
        if kind == names.RESTORE_TRAFFIC:
            zero_at = seconds_of(event)
        elif kind == names.WATCH_HEALTH:
            payloads = event.activity_task_completed_event_attributes.result.payloads
            (watched,) = await DATA_CONVERTER.decode(payloads, [Watched])
            if breach := breached_at(watched, spec) or failed_at(watched):
                fired_at, caught_by = breach, watched.gate
    return Evidence(
        outcome=outcome,
        reason=reason,
        percents_seen=result.percents_seen if result else (),
        events=len(history),
        fired_at=fired_at,
        caught_by=caught_by,
        told_at=_told_at(history),
        zero_at=zero_at,
        spared=await spared(result, completed, history),
    )


def breached_at(watched: Watched, spec: RolloutSpec) -> float | None:
    """Unix seconds at which a breach could be seen in the metrics; None when the watch ended otherwise.

    Earlier than the poll that found out, so it counts how late that poll was, too. For a rule: the first tick of the
    polling grid at which an expression has been beyond its limit for the whole of `for`. For a gate that counts: the
    newest scrape that its counts were made of.
    """
    if watched.why != "breached" or watched.gate not in watched.watching.states:
        return None
    state = watched.watching.states[watched.gate]
    if state.counters:
        return state.counters.at_ms / 1000
    lasting: timedelta = getattr(spec.gates[watched.gate], "for_", timedelta())  # some kinds have no `for`
    since_ms = min(state.active.values(), default=state.watermark_ms)
    ticks = math.ceil(lasting / spec.policy.poll)
    return min(since_ms + ticks * spec.policy.poll / timedelta(milliseconds=1), state.watermark_ms) / 1000


def failed_at(watched: Watched) -> float | None:
    """Unix seconds of the poll that heard a router that moves by itself say it will never arrive; None if none did."""
    gave_up = watched.why == "breached" and watched.gate is None and watched.watching.failed is not None
    return watched.watching.watermark_ms / 1000 if gave_up else None


async def _ending(handle: WorkflowHandle[Any, Any]) -> tuple[str, str, RolloutResult | None]:
    try:
        result = RolloutResult.model_validate(await handle.result())
    except WorkflowFailureError as error:
        cause = error.cause
        if not isinstance(cause, ApplicationError):
            return type(cause).__name__.removesuffix("Error"), str(cause), None  # Terminated, Cancelled, Timeout
        if not cause.details:
            return cause.type or "Failed", cause.message, None
        result = RolloutResult.model_validate(cause.details[0])
        return result.outcome, cause.message, result
    return result.outcome, "", result


def _completed(history: Sequence[HistoryEvent]) -> list[tuple[str, HistoryEvent]]:
    """Activity type and completion of every activity that was completed, oldest first."""
    types: dict[int, str] = {}
    found = []
    for event in history:
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
            types[event.event_id] = event.activity_task_scheduled_event_attributes.activity_type.name
        elif event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
            scheduled = event.activity_task_completed_event_attributes.scheduled_event_id
            found.append((types[scheduled], event))
    return found


def _told_at(history: Sequence[HistoryEvent]) -> float | None:
    for event in history:
        if event.workflow_execution_signaled_event_attributes.signal_name == names.ABORT:
            return seconds_of(event)
    return None
