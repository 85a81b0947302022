"""`list`, `status`, `watch`: commands that change nothing."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from temporalio.client import Client

from rollout.happened import Phase
from rollout.progress import Progress
from rollout.status import RolloutStatus
from starter.endings import Ending, ending
from starter.exits import Exit, of_phase
from starter.following import follow
from starter.options import EnvironmentOption, JsonOption, NoWaitOption, RolloutArgument
from starter.printing import say, show, show_json, table, words
from starter.reaching import reach
from starter.rollouts import OURS, Run, find, runs
from starter.screens import ago, moment, phase_style, report
from starter.seeing import Sight, look

ENDED_SHOWN = 10


def list_rollouts(
    *,
    everything: Annotated[
        bool, typer.Option("--all", help="Also every ended one that the server still knows.")
    ] = False,
    as_json: JsonOption = False,
) -> Exit:
    """List rollouts, running ones first.

    Then the ten that ended last; --all shows more.
    """
    found = reach(lambda client: _listed(client, None if everything else ENDED_SHOWN))
    if as_json:
        show_json([_row_object(run) for run in found])
        return Exit.OK
    if not found:
        say("no rollouts; `sluice start SPEC` starts one")
        return Exit.OK
    now = datetime.now(UTC)
    rows = table("SERVICE", "ENVIRONMENT", "VERSION", "PHASE", "PERCENT", "STARTED", "STATUS")
    for run in found:
        percent = "" if run.percent is None else f"{run.percent} %"
        phase = words(run.phase or "not begun", phase_style(run.phase))
        when = ago(run.started, now) if now - run.started < timedelta(days=1) else moment(run.started)
        texts = [words(text) for text in (run.service, run.environment, run.version)]
        rows.add_row(*texts, phase, percent, when, run.state)
    show(rows)
    return Exit.OK


def status(
    rollout: RolloutArgument,
    *,
    environment: EnvironmentOption = None,
    as_json: JsonOption = False,
    exit_code: Annotated[
        bool,
        typer.Option(
            "--exit-code",
            help="Exit with what has become of it: 0 on its way or promoted, 10 rolled back, 11 aborted, 12 rejected "
            "or expired, 13 held or stuck, 1 refused or ended from outside.",
        ),
    ] = False,
) -> Exit:
    """Show where a rollout is, and why.

    When no worker answers, what the server last heard.
    """

    async def job(client: Client) -> tuple[Sight, Ending | None]:
        run = await find(client, rollout, environment)
        sight = await look(client, run.workflow_id, run.run_id)
        return sight, None if sight.run.open else await ending(client, sight.run)

    sight, end = reach(job)
    if sight.silent and sight.run.open:
        say(f"{sight.silent}; this is what the server last heard", "yellow")
    if as_json:
        show_json((sight.status or _stand_in(sight, end)).model_dump(mode="json"))
    else:
        show(*report(sight, datetime.now(UTC), end))
    if not exit_code:
        return Exit.OK
    if end:
        return end.code
    return of_phase(sight.phase) if sight.phase else Exit.OK


def watch(
    rollout: RolloutArgument,
    *,
    environment: EnvironmentOption = None,
    no_wait: NoWaitOption = False,
    as_json: JsonOption = False,
) -> Exit:
    """Follow a rollout to its end.

    Exits with 0 promoted, 10 rolled back, 11 aborted, 12 rejected or expired, 1 refused or ended from outside, and
    with --no-wait 13 as soon as it is held or stuck. Survives restarts of the server and of workers. Ctrl-C ends the
    watching only, never the rollout.
    """

    async def job(client: Client) -> Exit:
        run = await find(client, rollout, environment)
        return await follow(client, run, wait=not no_wait, as_json=as_json)

    return reach(job)


async def _listed(client: Client, ended: int | None) -> list[Run]:
    going = await runs(client, f"{OURS} AND CloseTime IS NULL")
    over = await runs(client, f"{OURS} AND CloseTime IS NOT NULL", most=ended)
    return sorted(going, key=lambda run: run.started, reverse=True) + over


def _row_object(run: Run) -> dict[str, Any]:
    return {
        "workflow_id": run.workflow_id,
        "run_id": run.run_id,
        "service": run.service,
        "environment": run.environment,
        "version": run.version or None,
        "phase": run.phase or None,
        "percent": run.percent,
        "started": run.started.isoformat(),
        "closed": run.closed.isoformat() if run.closed else None,
        "status": run.state,
    }


def _stand_in(sight: Sight, end: Ending | None) -> RolloutStatus:
    """The same shape where no worker answers: from the result it left, or from the marks; empty where nobody knows."""
    run, result = sight.run, end.result if end else None
    phase = result.outcome if result else sight.phase or Phase.PREFLIGHT
    percent = float(result.percent if result else run.percent or 0)
    return RolloutStatus(
        workflow_id=run.workflow_id,
        service=run.service,
        environment=run.environment,
        candidate=run.version,
        stable=result.stable if result else "",
        phase=phase,
        percent=percent,
        stage=result.stage if result else None,
        reason=(result.reason or None) if result else None,
        notes=result.notes if result else (),
        details=end.sentence if end else sight.silent or "",
        progress=Progress(phase=phase, percent=percent, records=result.stages if result else ()),
    )


def add(app: typer.Typer) -> None:
    """Give the application these commands."""
    app.command("list")(list_rollouts)
    app.command()(status)
    app.command()(watch)
