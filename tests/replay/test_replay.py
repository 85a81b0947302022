"""Today's workflow takes the decisions of every recorded run again."""

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner
from temporalio.workflow import NondeterminismError

from rollout import names
from tests.replay import planted
from tests.replay.record import HISTORIES
from tests.replay.scenarios import SCENARIOS
from workflows.converter import DATA_CONVERTER
from workflows.rollout import Rollout
from workflows.unknown import UnknownType

# As in `worker.py`, and as strict as the SDK is: nothing of ours comes from outside of the sandbox, and whoever asks
# for the time, for chance or for the environment is stopped. The worker goes without (ADR 11), so it is tried here.
RUNNERS: dict[str, Callable[[], WorkflowRunner]] = {
    "as in the worker": UnsandboxedWorkflowRunner,
    "in the sandbox": SandboxedWorkflowRunner,
}
ENDS = {
    "promoted": "Promoted",
    "switched": "Aborted",
    "rolled_back": "RolledBack",
    "aborted": "Aborted",
    "rejected": "Rejected",
    "expired": "Expired",
    "held": "Promoted",
    "misunderstood": "Rejected",
    "blind": "RolledBack",
    "cancelled": "Canceled",
    "overdue": "RolledBack",
    "refused": "Refused",
    "misread": "BadInput",
    "stuck": "Aborted",
    "mitigated": "Promoted",
    "unmitigated": "RolledBack",
    "flagged": "Aborted",
    "crowded_out": "RolledBack",
    "experiment": "Promoted",
}


def recorded(name: str) -> WorkflowHistory:
    """One recorded run."""
    return WorkflowHistory.from_json(f"rollout:test/{name}", (HISTORIES / f"{name}.json").read_text(encoding="utf-8"))


def replay(name: str, workflow: type = Rollout, runner: str = "as in the worker") -> None:
    """Run today's code over a history; raises if it wants anything else."""
    replayer = Replayer(
        workflows=[workflow, UnknownType],
        workflow_runner=RUNNERS[runner](),
        data_converter=DATA_CONVERTER,
    )
    asyncio.run(replayer.replay_workflow(recorded(name)))


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_recorded_run_replays(name: str, runner: str) -> None:
    replay(name, runner=runner)


def test_the_sandbox_stops_who_looks_at_the_clock() -> None:
    replay("refused", planted.LooksAtTheClock)
    with pytest.raises(Exception, match=r"time\.time"):
        replay("refused", planted.LooksAtTheClock, "in the sandbox")


@pytest.mark.parametrize(
    ("workflow", "name"),
    [(planted.ShiftsTwice, "promoted"), (planted.DrainsFirst, "aborted"), (planted.Sleeps, "refused")],
)
def test_a_planted_change_is_found(workflow: type, name: str) -> None:
    with pytest.raises(NondeterminismError):
        replay(name, workflow)


def test_a_change_is_found_by_what_it_changes_and_not_by_being_a_subclass() -> None:
    replay("promoted", planted.Same)
    replay("refused", planted.DrainsFirst)


def test_every_way_to_end_is_recorded() -> None:
    assert {path.stem for path in HISTORIES.iterdir()} == set(SCENARIOS) == set(ENDS)
    assert {name: end(recorded(name)) for name in SCENARIOS} == ENDS
    assert {*names.FAILURES, "Promoted", "Canceled"} == set(ENDS.values())


def test_every_activity_and_every_command_is_recorded() -> None:
    found = {said for name in SCENARIOS for event in recorded_events(name) for said in mentioned(event)}
    activities = {
        names.PLAN_ROLLOUT,
        names.PREPARE_PODS,
        names.SHIFT_TRAFFIC,
        names.WATCH_HEALTH,
        names.RESTORE_TRAFFIC,
        names.DRAIN_POOL,
        names.APPLY_MITIGATION,
    }
    assert activities | set(names.COMMANDS) <= found


def end(history: WorkflowHistory) -> str:
    """How a run ended: the type of its failure, or Promoted, or Canceled."""
    last = history.events[-1]
    if last.HasField("workflow_execution_failed_event_attributes"):
        return last.workflow_execution_failed_event_attributes.failure.application_failure_info.type
    return "Canceled" if last.HasField("workflow_execution_canceled_event_attributes") else "Promoted"


def recorded_events(name: str) -> list[dict[str, Any]]:
    """The events of one recorded run."""
    events: list[dict[str, Any]] = json.loads((HISTORIES / f"{name}.json").read_text(encoding="utf-8"))["events"]
    return events


def mentioned(event: dict[str, Any]) -> Iterator[str]:
    """Activity types, signals and updates that an event is about."""
    yield event.get("activityTaskScheduledEventAttributes", {}).get("activityType", {}).get("name", "")
    yield event.get("workflowExecutionSignaledEventAttributes", {}).get("signalName", "")
    update = event.get("workflowExecutionUpdateAcceptedEventAttributes", {}).get("acceptedRequest", {})
    yield update.get("input", {}).get("name", "")
