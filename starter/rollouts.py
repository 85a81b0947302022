"""Rollouts as the server lists them, and how to find the one that is meant.

This asks the server's own API and not the SDK's `list_workflows` and `describe`: those raise on a run that somebody has
paused in Temporal (status 8 is missing in their enum), so one paused rollout would hide all the others.
"""

import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Self

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import WorkflowExecutionStatus
from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import (
    DescribeWorkflowExecutionRequest,
    DescribeWorkflowExecutionResponse,
    ListWorkflowExecutionsRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from rollout import names
from starter.exits import Exit, Sorry
from starter.reaching import PATIENCE

OURS: Final = f'WorkflowType="{names.ROLLOUT}"'
OPEN: Final = {"Running", "Paused"}
_SERVICE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PAGE: Final = 200


@dataclass(frozen=True)
class Run:
    """One run of a rollout, as the server knows it without asking a worker.

    Attributes:
        state: How Temporal calls it: Running, Completed, Failed, Canceled, Terminated, TimedOut, Paused.
        phase: Last phase that was set; empty before a worker has begun.
        percent: Last percent that was set, whole percent on the candidate.
    """

    workflow_id: str
    run_id: str
    state: str
    started: datetime
    closed: datetime | None
    service: str
    environment: str
    version: str
    phase: str
    percent: int | None

    @classmethod
    def of(cls, info: WorkflowExecutionInfo) -> Self:
        """Read the server's record; what is not marked yet is in the workflow ID."""
        marks = {name: _decoded(value.data) for name, value in info.search_attributes.indexed_fields.items()}
        environment, _, service = info.execution.workflow_id.removeprefix("rollout:").partition("/")
        return cls(
            workflow_id=info.execution.workflow_id,
            run_id=info.execution.run_id,
            state=_state(info.status),
            started=_moment(info.start_time),
            closed=_moment(info.close_time) if info.HasField("close_time") else None,
            service=str(marks.get(names.SERVICE, service)),
            environment=str(marks.get(names.ENVIRONMENT, environment)),
            version=str(marks.get(names.VERSION, "")),
            phase=str(marks.get(names.PHASE, "")),
            percent=marks.get(names.PERCENT),
        )

    @property
    def open(self) -> bool:
        """Whether it has not ended."""
        return self.state in OPEN

    @property
    def release(self) -> str:
        """`checkout 1.42.0 in prod`."""
        return " ".join(filter(None, [self.service, self.version, "in", self.environment]))


async def runs(client: Client, query: str, most: int | None = None) -> list[Run]:
    """Runs that a visibility query finds, in the server's order: open ones first, then those that ended last."""
    return [run async for run in _runs(client, query, most)]


async def record(
    client: Client, workflow_id: str, run_id: str = "", *, retry: bool = True
) -> DescribeWorkflowExecutionResponse:
    """The server's whole record of a run; the latest run unless one is named.

    Args:
        client: Of Temporal.
        workflow_id: Of the rollout.
        run_id: Of the run.
        retry: Whether to try again for some seconds when the server does not answer.

    Raises:
        Sorry: there is none.
    """
    execution = WorkflowExecution(workflow_id=workflow_id, run_id=run_id)
    request = DescribeWorkflowExecutionRequest(namespace=client.namespace, execution=execution)
    try:
        return await client.workflow_service.describe_workflow_execution(request, retry=retry, timeout=PATIENCE)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND and "amespace" not in error.message:
            raise Sorry(f"there is no rollout {workflow_id}; `sluice list --all` shows those that are known") from error
        raise


async def find(client: Client, name: str, environment: str | None, *, running: bool = False) -> Run:
    """The rollout that a person means.

    Args:
        client: Of Temporal.
        name: A workflow ID, `environment/service`, or a service.
        environment: Where, for a service.
        running: Only one that has not ended will do.

    Raises:
        Sorry: none, or more than one is meant.
    """
    if identity := _identity(name, environment):
        run = Run.of((await record(client, identity)).workflow_execution_info)
        if running and not run.open:
            raise Sorry(f"{run.workflow_id} has ended already: {run.phase or run.state}")
        return run
    mine = await _of_service(client, name)
    going = [run for run in mine if run.open]
    if len(going) > 1:
        places = ", ".join(sorted(run.environment for run in going))
        raise Sorry(f"{name} is being rolled out in {places}; say which with --environment")
    if going:
        return going[0]
    if not mine:
        raise Sorry(f"no rollout of {name} is known; `sluice list --all` shows all")
    # Lists lag by a second: one that was started just now may hide behind the one before.
    newest = max(mine, key=lambda run: run.started).workflow_id
    latest = Run.of((await record(client, newest)).workflow_execution_info)
    if running and not latest.open:
        raise Sorry(f"no rollout of {name} is running; `sluice list --all` shows all")
    return latest


def _identity(name: str, environment: str | None) -> str | None:
    if ":" in name or "/" in name:
        if environment:
            raise Sorry(f"{name} says where already; leave --environment out", code=Exit.USAGE)
        return name if ":" in name else names.workflow_id(*name.split("/", 1))
    if not _SERVICE.fullmatch(name):
        raise Sorry(f"{name!r} is neither a workflow ID nor the name of a service", code=Exit.USAGE)
    return names.workflow_id(environment, name) if environment else None


async def _of_service(client: Client, service: str) -> list[Run]:
    # A rollout that no worker has begun yet carries no mark when the Temporal CLI has started it: look at the IDs too.
    marked = await runs(client, f'{OURS} AND {names.SERVICE}="{service}"', most=_PAGE)
    if marked:
        return marked
    return [run for run in await runs(client, f"{OURS} AND CloseTime IS NULL") if run.service == service]


async def _runs(client: Client, query: str, most: int | None) -> AsyncIterator[Run]:
    request = ListWorkflowExecutionsRequest(
        namespace=client.namespace, query=query, page_size=min(most or _PAGE, _PAGE)
    )
    seen = 0
    while True:
        page = await client.workflow_service.list_workflow_executions(request, retry=True, timeout=PATIENCE)
        for info in page.executions:
            if seen == most:
                return
            seen += 1
            yield Run.of(info)
        if not page.next_page_token:
            return
        request.next_page_token = page.next_page_token


def _decoded(data: bytes) -> Any:  # noqa: ANN401 - a search attribute's JSON
    return json.loads(data) if data else None


def _state(status: WorkflowExecutionStatus.ValueType) -> str:
    try:
        name = WorkflowExecutionStatus.Name(status)
    except ValueError:  # of a server newer than this client
        return f"Status{status}"
    return "".join(part.capitalize() for part in name.removeprefix("WORKFLOW_EXECUTION_STATUS_").split("_"))


def _moment(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(tzinfo=UTC)
