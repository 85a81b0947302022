"""What an activity failed with, in a sentence; without a server."""

import pytest
from temporalio.exceptions import ActivityError, ApplicationError, RetryState, TimeoutType
from temporalio.exceptions import TimeoutError as TemporalTimeoutError

from rollout.judge.verdict import GateState
from rollout.messages import Watching
from workflows import steps

AWAY = ApplicationError("edge-1 does not answer", type="RouterUnreachable")


def failed(cause: BaseException | None) -> ActivityError:
    """What a workflow catches when an activity failed for a reason."""
    error = ActivityError(
        "Activity task failed",
        scheduled_event_id=1,
        started_event_id=2,
        identity="worker",
        activity_type="shift_traffic",
        activity_id="1",
        retry_state=RetryState.TIMEOUT,
    )
    error.__cause__ = cause
    return error


def timed_out(type_: TimeoutType, cause: BaseException | None = None, *beats: object) -> TemporalTimeoutError:
    """A timeout as the server reports it."""
    error = TemporalTimeoutError("not enough time", type=type_, last_heartbeat_details=beats)
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("cause", "kind", "sentence"),
    [
        (AWAY, "RouterUnreachable", "edge-1 does not answer"),
        (ApplicationError("no type"), "Error", "no type"),
        (timed_out(TimeoutType.SCHEDULE_TO_CLOSE, AWAY), "TimedOut", "no success in time: edge-1 does not answer"),
        (timed_out(TimeoutType.HEARTBEAT), "TimedOut", "no success in time"),
        (None, "NoneType", "Activity task failed"),
    ],
)
def test_why_finds_the_reason_behind_a_failure(cause: BaseException | None, kind: str, sentence: str) -> None:
    assert steps.why(failed(cause)) == (kind, sentence)


def test_the_last_heartbeat_of_a_watch_that_timed_out_is_what_it_had_seen() -> None:
    seen = Watching(states={"errors": GateState(watermark_ms=7, observed_ms=5)}, watermark_ms=7, observed_ms=5)
    beat = seen.model_dump(mode="json")
    assert steps.last_heartbeat(failed(timed_out(TimeoutType.HEARTBEAT, None, beat))) == seen
    assert steps.last_heartbeat(failed(timed_out(TimeoutType.HEARTBEAT))) is None
    assert steps.last_heartbeat(failed(AWAY)) is None


def test_the_highest_percent_that_a_failed_shift_had_proven_is_known() -> None:
    assert steps.highest_proven(failed(ApplicationError("half of it", 25.0, type="NotProven"))) == 25
    assert steps.highest_proven(failed(AWAY)) is None
    assert steps.highest_proven(failed(None)) is None
