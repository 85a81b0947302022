"""How a closed run ended: one sentence and one exit code, also when no worker is left to ask."""

from dataclasses import dataclass

from pydantic import ValidationError
from temporalio.client import Client, WorkflowContinuedAsNewError, WorkflowFailureError
from temporalio.exceptions import ApplicationError, CancelledError, TerminatedError
from temporalio.exceptions import TimeoutError as TemporalTimeoutError

from rollout import story
from rollout.happened import Phase, RolloutResult
from starter.exits import Exit, of_phase
from starter.reaching import PATIENCE
from starter.rollouts import Run


@dataclass(frozen=True)
class Ending:
    """How it ended, or why we do not wait any longer.

    Attributes:
        code: Exit code of whoever followed it.
        sentence: For people.
        result: What the rollout left; None when it was stopped from outside.
    """

    code: Exit
    sentence: str
    result: RolloutResult | None = None


async def ending(client: Client, run: Run) -> Ending:
    """Read how a closed run ended."""
    handle = client.get_workflow_handle(run.workflow_id, run_id=run.run_id, result_type=RolloutResult)
    try:
        result = await handle.result(follow_runs=False, rpc_timeout=PATIENCE)
    except WorkflowContinuedAsNewError:
        return Ending(Exit.REFUSED, f"{run.release}: goes on in another run; ask again by its workflow ID")
    except WorkflowFailureError as error:
        return _failed(run, error.cause)
    return Ending(of_phase(result.outcome), story.ending(result), result)


def _failed(run: Run, cause: BaseException) -> Ending:
    match cause:
        case ApplicationError():
            return Ending(_code(cause.type), cause.message, _result(cause))
        case CancelledError():
            where = f"{run.percent} % on the candidate" if run.percent is not None else "before any traffic was moved"
            return Ending(Exit.ABORTED, f"{run.release}: cancelled; it ended as {run.phase or 'not begun'}, {where}")
        case TerminatedError() | TemporalTimeoutError():
            how = "terminated" if isinstance(cause, TerminatedError) else "killed by a Temporal timeout"
            return Ending(
                Exit.REFUSED, f"{run.release}: {how} from outside, so nothing put the traffic back; {_left(run)}"
            )
        case _:
            return Ending(Exit.REFUSED, f"{run.release}: failed: {cause}")


def _code(kind: str | None) -> Exit:
    return of_phase(Phase(kind)) if kind in set(Phase) else Exit.REFUSED


def _result(error: ApplicationError) -> RolloutResult | None:
    try:
        return RolloutResult.model_validate(error.details[0]) if error.details else None
    except ValidationError:
        return None


def _left(run: Run) -> str:
    if run.percent is None:
        return "it had not begun"
    return f"it was last {run.phase} at {run.percent} %: look at the route, and bring it to 0 % by hand"
