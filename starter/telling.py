"""`approve`, `reject`, `hold`, `resume`, `advance`, `abort`: what people say to a rollout.

Each is sent as an update, because an update answers: obeyed, or refused and why. When nobody answers in time, the
signal of the same name is left instead, which waits for a worker. Both may then arrive. That is harmless for what
stops; but an approval or an advance that arrives twice would also count for the *next* stage, which nobody has looked
at. So for those two the rollout is first asked where it is: an update then names its stage, and where nobody answers
the signal is all that is sent.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated
from uuid import uuid4

import typer
from pydantic import ValidationError
from temporalio.client import (
    Client,
    WorkflowHandle,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
    WorkflowUpdateStage,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from rollout import names
from rollout.commands import approval_target
from rollout.messages import Command
from starter.exits import Exit, Sorry
from starter.options import ByOption, EnvironmentOption, JsonOption, RolloutArgument, user
from starter.printing import say, show, show_json, words
from starter.reaching import NO_ANSWER, PATIENCE, reach
from starter.rollouts import Run, find
from starter.seeing import NO_WORKER, PAUSED, look

_HELP = {
    names.APPROVE: "Say yes to a stage that asks.\n\nAn early yes for a later stage is kept.",
    names.REJECT: "Say no: all traffic goes back to stable.",
    names.HOLD: "Stop the bake clock; nothing moves.",
    names.RESUME: "Go on after a hold.\n\nA route that somebody else has changed is put right.",
    names.ADVANCE: "End this bake now and go on.",
    names.ABORT: "Stop: all traffic goes back to stable at once.",
}
_FOR_ONE_STAGE = {names.APPROVE, names.ADVANCE}

CommentOption = Annotated[str | None, typer.Option("--comment", help="Why; kept in the history.")]
StageOption = Annotated[
    str | None, typer.Option("--stage", help="The stage it is meant for; default: the one it is at.")
]


@dataclass(frozen=True)
class Said:
    """What came of a command.

    Attributes:
        how: "update" if the rollout answered, "signal" if it was left for it.
        answer: A sentence.
    """

    how: str
    answer: str


def _command(name: str) -> Callable[..., Exit]:
    def run(
        rollout: RolloutArgument,
        *,
        environment: EnvironmentOption = None,
        by: ByOption = None,
        comment: CommentOption = None,
        stage: StageOption = None,
        as_json: JsonOption = False,
    ) -> Exit:
        command = _written(by or user(), comment, stage)

        async def job(client: Client) -> tuple[Run, Said]:
            found = await find(client, rollout, environment, running=True)
            return found, await tell(client, found, name, command)

        found, said = reach(job)
        if as_json:
            show_json(
                {"workflow_id": found.workflow_id, "command": name, "sent_as": said.how, "answer": said.answer},
            )
        elif said.how == "update":
            show(words(f"{found.workflow_id}: {said.answer}"))
        else:
            say(f"{found.workflow_id}: {said.answer}", "yellow")
        return Exit.OK

    run.__doc__ = _HELP[name]
    return run


def _written(by: str | None, comment: str | None, stage: str | None) -> Command:
    try:
        return Command(by=by, comment=comment, stage=stage)
    except ValidationError as error:
        first = error.errors()[0]
        raise Sorry(f"--{first['loc'][0]}: {first['msg']}", code=Exit.USAGE) from error


async def tell(client: Client, run: Run, name: str, command: Command) -> Said:
    """Send a command as an update, or leave it as a signal when nobody answers.

    Raises:
        Sorry: it is refused, with the rollout's own reason, or the rollout has ended.
    """
    handle = client.get_workflow_handle(run.workflow_id, run_id=run.run_id)
    try:
        if name in _FOR_ONE_STAGE and command.stage is None:
            sight = await look(client, run.workflow_id, run.run_id)
            if sight.silent:
                return await _leave(handle, name, command, sight.silent)
            if sight.plan and sight.status:
                progress = sight.status.progress
                index = approval_target(sight.plan, progress, command) if name == names.APPROVE else progress.stage
                title = None if index is None else sight.plan.stages[index].title
                command = command.model_copy(update={"stage": title})
        said = await _ask(handle, name, command)
        return said if isinstance(said, Said) else await _leave(handle, name, command, said)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            raise Sorry(f"{run.workflow_id} has ended meanwhile; `sluice status {run.workflow_id}` says how") from error
        raise


async def _ask(handle: WorkflowHandle[object, object], name: str, command: Command) -> Said | str:
    """Send the update; why nobody took it if nobody did."""
    try:
        update = await handle.start_update(
            name,
            _payload(command),
            id=f"sluice-{uuid4()}",
            result_type=str,
            wait_for_stage=WorkflowUpdateStage.ACCEPTED,
            rpc_timeout=PATIENCE,
        )
    except WorkflowUpdateRPCTimeoutOrCancelledError:
        return NO_WORKER
    except RPCError as error:
        if error.status in NO_ANSWER:
            return NO_WORKER
        if error.status is RPCStatusCode.FAILED_PRECONDITION:  # updates are refused then, signals still queue
            return PAUSED
        raise
    try:
        return Said("update", await update.result(rpc_timeout=PATIENCE))
    except WorkflowUpdateRPCTimeoutOrCancelledError:
        return Said("update", f"{name}: accepted; the worker was lost before it answered")
    except WorkflowUpdateFailedError as error:
        reason = error.cause.message if isinstance(error.cause, ApplicationError) else str(error.cause)
        raise Sorry(f"{handle.id}: refused: {reason}") from error


async def _leave(handle: WorkflowHandle[object, object], name: str, command: Command, why: str) -> Said:
    await handle.signal(name, _payload(command), rpc_timeout=PATIENCE)
    return Said(
        "signal",
        f"{why}; {name} is left as a signal, to be obeyed (or noted with the reason why not) once a worker answers",
    )


def _payload(command: Command) -> dict[str, str]:
    return command.model_dump(exclude_none=True)


def add(app: typer.Typer) -> None:
    """Give the application these commands."""
    for name in names.COMMANDS:
        app.command(name)(_command(name))
