"""`start`: hand a spec to Temporal, and stay until it is clear whether it was taken."""

import asyncio
import shlex
from typing import Annotated, Any
from urllib.parse import quote

import typer
from temporalio.client import Client
from temporalio.common import (
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
)
from temporalio.exceptions import WorkflowAlreadyStartedError

from rollout import names, story
from rollout.base import percent_text
from rollout.happened import Phase
from rollout.spec import RolloutSpec
from starter.endings import ending
from starter.exits import Exit, Sorry
from starter.following import as_object, follow
from starter.options import ByOption, JsonOption, NoWaitOption, SpecArgument, user
from starter.printing import fields, say, show, show_json, words
from starter.reaching import PATIENCE, address, reach
from starter.rollouts import Run, record
from starter.seeing import Sight, look
from starter.specfile import SpecFile, load

LOOK_AGAIN_S = 0.2
_UNDECIDED = {None, Phase.PREFLIGHT, Phase.REFUSED}  # a refused run is closed a moment after it says so


def start(
    source: SpecArgument,
    *,
    watch: Annotated[bool, typer.Option("--watch", help="Follow it to its end; exit with its outcome's code.")] = False,
    no_wait: NoWaitOption = False,
    by: ByOption = None,
    as_json: JsonOption = False,
) -> Exit:
    """Start a rollout. Only one may run for a service in an environment.

    Returns when preflight has passed, or with 1 and the reasons when it refused. With --watch: 0 promoted, 10 rolled
    back, 11 aborted, 12 rejected or expired, and with --no-wait 13 as soon as it is held or stuck.
    """
    file = load(source)
    written = _signed(file, by)

    async def job(client: Client) -> Exit:
        run = await begin(client, file.spec, written)
        if watch:
            say(f"started {run.workflow_id}")
            return await follow(client, run, wait=not no_wait, as_json=as_json)
        return await _first_word(client, file, run, as_json=as_json)

    return reach(job)


def _signed(file: SpecFile, by: str | None) -> dict[str, Any]:
    """The spec as written, with the name of who starts it."""
    known = file.spec.requested_by
    if known and by and by != known:
        raise Sorry(f"{file.name} says requested_by: {known}, --by says {by}; leave one out", code=Exit.USAGE)
    if known or not (by or user()):
        return file.written
    return {**file.written, "requested_by": by or user()}


async def begin(client: Client, spec: RolloutSpec, written: dict[str, Any]) -> Run:
    """Start the workflow.

    Raises:
        Sorry: a rollout of the service is running there already.
    """
    release = f"{spec.service} {spec.release.stable} → {spec.release.candidate} in {spec.environment}"
    try:
        handle = await client.start_workflow(
            names.ROLLOUT,
            written,
            id=spec.workflow_id,
            task_queue=names.TASK_QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
            static_summary=story.short(release),
            search_attributes=_marks(spec),
            rpc_timeout=PATIENCE,
        )
    except WorkflowAlreadyStartedError as error:
        raise Sorry(await _running(client, spec.workflow_id)) from error
    return Run.of((await record(client, handle.id, handle.result_run_id or "")).workflow_execution_info)


async def _running(client: Client, workflow_id: str) -> str:
    """Which rollout is in the way, and what can be done."""
    sight = await look(client, workflow_id, "")
    where = f" at {percent_text(sight.percent)}" if sight.percent is not None else ""
    phase = sight.phase or "not begun"
    return (
        f"{sight.run.release} is already running{where} ({phase}); look with `sluice status {workflow_id}`, stop it "
        f"with `sluice abort {workflow_id}`"
    )


async def _first_word(client: Client, file: SpecFile, run: Run, *, as_json: bool) -> Exit:
    """Wait until preflight has said yes or no, but not for long."""
    sight: Sight | None = None
    try:
        async with asyncio.timeout(PATIENCE.total_seconds()):
            sight = await look(client, run.workflow_id, run.run_id)
            while sight.run.open and sight.phase in _UNDECIDED:
                await asyncio.sleep(LOOK_AGAIN_S)
                sight = await look(client, run.workflow_id, run.run_id)
    except TimeoutError:
        pass
    if sight and not sight.run.open:
        end = await ending(client, sight.run)
        if as_json:
            show_json(as_object(run, end))
        else:
            say(end.sentence, "" if end.code is Exit.OK else "bold red")
        return end.code
    phase = sight.phase if sight else None
    if as_json:
        show_json({"workflow_id": run.workflow_id, "run_id": run.run_id, "phase": phase})
    else:
        _welcome(client, file, run, phase)
    if phase is None:
        say("no worker is answering yet; it begins as soon as one runs (`sluice worker`)", "yellow")
    return Exit.OK


def _welcome(client: Client, file: SpecFile, run: Run, phase: Phase | None) -> None:
    rows = fields()
    rows.add_row("started", words(f"{run.workflow_id} ({run.release}), {phase or 'waiting for a worker'}"))
    rows.add_row("follow", words(f"sluice watch {run.workflow_id}"))
    rows.add_row("stop", words(f"sluice abort {run.workflow_id}"))
    if file.name.endswith(".json"):
        rows.add_row("same as", words(_temporal_line(file)))
    if page := _page(client, run):
        rows.add_row("page", words(page))
    show(rows)


def _temporal_line(file: SpecFile) -> str:
    parts = ["temporal", "workflow", "start", "--type", names.ROLLOUT, "--task-queue", names.TASK_QUEUE]
    parts += ["--workflow-id", file.spec.workflow_id, "--fail-existing", "--input-file", file.name]
    return shlex.join(parts)


def _page(client: Client, run: Run) -> str | None:
    """The run's web page, where its address is known: a development server with its default ports."""
    if address() not in {"localhost:7233", "127.0.0.1:7233"}:
        return None
    place = f"namespaces/{quote(client.namespace, safe='')}/workflows/{quote(run.workflow_id, safe='')}/{run.run_id}"
    return f"http://localhost:8233/{place}"


def _marks(spec: RolloutSpec) -> TypedSearchAttributes:
    """What lists shall show before a worker has begun; the workflow sets the same again and keeps them up to date."""
    marks = {
        names.SERVICE: spec.service,
        names.ENVIRONMENT: spec.environment,
        names.STRATEGY: spec.strategy.kind,
        names.VERSION: spec.release.candidate,
    }
    return TypedSearchAttributes(
        [SearchAttributePair(SearchAttributeKey.for_keyword(name), value) for name, value in marks.items()]
    )


def add(app: typer.Typer) -> None:
    """Give the application this command."""
    app.command()(start)
