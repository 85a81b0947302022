"""What can be seen of a rollout right now, put together from three places.

The `status` query says where it is, but only a worker can answer it. The heartbeats of the pending activity have the
numbers of this very second, which the workflow is told only when something is to be decided. The server's own record
and its search attributes are always there. A sight says which of them were silent.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pydantic import ValidationError
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.client import Client, WorkflowQueryFailedError
from temporalio.service import RPCError, RPCStatusCode

from rollout import names
from rollout.happened import Phase
from rollout.judge.verdict import GateState
from rollout.messages import Watched, Watching
from rollout.plan import Plan
from rollout.progress import observed
from rollout.status import RolloutStatus
from starter.reaching import NO_ANSWER, PATIENCE
from starter.rollouts import Run, record

NO_WORKER = "no worker is answering"
PAUSED = (
    "somebody paused the run in Temporal, where no worker may act or answer, also on an abort, while timers go on; end "
    "that with `temporal workflow unpause`"
)


@dataclass(frozen=True)
class Work:
    """An activity that is being done or waits to be tried again.

    Attributes:
        attempt: Counted from 1.
        failure: What the last attempt failed with; empty if none did.
    """

    name: str
    attempt: int
    failure: str


@dataclass(frozen=True)
class Sight:
    """A rollout at one moment.

    Attributes:
        run: What the server knows.
        status: What a worker answered; an older answer, or None, when `silent` says why.
        plan: The stages; None until preflight is over or when nobody answered yet.
        live: The last heartbeat of the watch.
        works: Pending activities.
        silent: Why some of this is old or missing; None when everybody answered.
    """

    run: Run
    status: RolloutStatus | None = None
    plan: Plan | None = None
    live: Watching | None = None
    works: tuple[Work, ...] = ()
    silent: str | None = None

    @property
    def phase(self) -> Phase | None:
        """Where in its life it is; None before a worker has begun, and for a phase that this version does not know."""
        if self.status:
            return self.status.phase
        return Phase(self.run.phase) if self.run.phase in set(Phase) else None

    @property
    def percent(self) -> float | None:
        """Percent on the candidate, proven."""
        return self.status.percent if self.status else self.run.percent

    @property
    def gates(self) -> dict[str, GateState]:
        """What every gate of the present stage says, the newest that is known."""
        known = self.status.progress.gates if self.status else {}
        newest = known | (self.live.states if self.live else {})
        if self.plan and self.status:
            wanted = self.plan.stages[self.status.progress.stage].gates
            return {name: newest[name] for name in wanted if name in newest}
        return newest

    @property
    def baked(self) -> timedelta:
        """Observed time of the present bake."""
        told = self.status.baked if self.status else timedelta()
        if self.live is None or self.phase is not Phase.BAKING:
            return told
        return max(told, observed(Watched(why="interrupted", watching=self.live)))


async def look(client: Client, workflow_id: str, run_id: str, before: Sight | None = None) -> Sight:
    """Look at a rollout once; takes as long as `PATIENCE` when no worker answers.

    Args:
        client: Of Temporal.
        workflow_id: Of the rollout.
        run_id: Of the run, so that a later run is never mistaken for it.
        before: The sight before, whose plan and answer are kept where nobody answers now.

    Raises:
        Sorry: the server does not know it.
        RPCError: the server does not answer.
    """
    # Who has looked before will look again: it is told at once that the server is away.
    answer = await record(client, workflow_id, run_id, retry=before is None)
    run = Run.of(answer.workflow_execution_info)
    status, plan, silent = (before.status, before.plan, None) if before else (None, None, None)
    if run.state == "Paused":
        silent = PAUSED
    else:
        try:
            status, plan = await _asked(client, run, plan)
        except _Silence as silence:
            silent = str(silence)
            # An answer from before the end would contradict the end.
            status = status if run.open else None
    pending = answer.pending_activities
    return Sight(run, status, plan, await _live(client, pending), tuple(_work(info) for info in pending), silent)


class _Silence(Exception):
    """Nobody answered, or not what was asked."""


async def _asked(client: Client, run: Run, plan: Plan | None) -> tuple[RolloutStatus | None, Plan | None]:
    """Ask the worker where it is, and for the plan as long as that is unknown."""
    queries = [names.STATUS] if plan else [names.STATUS, names.PLAN]
    told, *planned = await asyncio.gather(*(_query(client, run, query) for query in queries))
    try:
        status = RolloutStatus.model_validate(told) if told else None
        return status, Plan.model_validate(planned[0]) if planned and planned[0] else plan
    except ValidationError as error:
        raise _Silence("a worker answered something that this version of sluice does not understand") from error


async def _query(client: Client, run: Run, name: str) -> Any:  # noqa: ANN401 - a query's JSON
    handle = client.get_workflow_handle(run.workflow_id, run_id=run.run_id)
    try:
        return await handle.query(name, rpc_timeout=PATIENCE)
    except WorkflowQueryFailedError as error:
        raise _Silence(f"the worker cannot answer: {error}") from error
    except RPCError as error:
        # The second is the server's own "no poller seen for task queue recently".
        if error.status in NO_ANSWER or error.status is RPCStatusCode.FAILED_PRECONDITION:
            raise _Silence(NO_WORKER) from error
        raise _Silence(f"the worker cannot answer: {error.message}") from error
    except ValueError as error:  # paused since we looked; the SDK does not know the status
        raise _Silence(PAUSED) from error


async def _live(client: Client, pending: Sequence[PendingActivityInfo]) -> Watching | None:
    for info in pending:
        if info.activity_type.name == names.WATCH_HEALTH and info.heartbeat_details.payloads:
            try:
                (found,) = await client.data_converter.decode(info.heartbeat_details.payloads, [Watching])
            except (ValidationError, ValueError):
                return None  # of another version; the query still answers
            return found if isinstance(found, Watching) else None
    return None


def _work(info: PendingActivityInfo) -> Work:
    failure = info.last_failure.message if info.HasField("last_failure") else ""
    paused = info.state == PendingActivityState.PENDING_ACTIVITY_STATE_PAUSED
    note = "paused in Temporal" if paused else ""
    return Work(info.activity_type.name, info.attempt, "; ".join(filter(None, [failure, note])))
