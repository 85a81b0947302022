"""Following a rollout to its end, through restarts of everything: the server, the workers, and the network between.

A person gets one screen that is redrawn. A pipe gets a line whenever something changes, so a CI log stays short.
"""

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from rich.live import Live
from temporalio.client import Client
from temporalio.service import RPCError

from rollout.happened import Phase
from starter.endings import Ending, ending
from starter.exits import Exit
from starter.printing import answers, say, show_json, words
from starter.reaching import NO_ANSWER, address
from starter.rollouts import Run
from starter.screens import change, line, screen
from starter.seeing import Sight, look

EVERY_S: Final = 1.0
_WANTS_A_PERSON: Final = {Phase.HELD, Phase.STUCK}

Show = Callable[[Sight], None]


async def follow(client: Client, run: Run, *, wait: bool, as_json: bool) -> Exit:
    """Show a rollout until it ends, then say how.

    Args:
        client: Of Temporal.
        run: Which.
        wait: Also through a hold; otherwise that is an end for us, with its own exit code.
        as_json: Lines go to standard error, the end is one object on standard output.

    Returns:
        The exit code of the outcome.
    """
    try:
        with viewer(as_json=as_json) as show:
            end = await watch(client, run, show, wait=wait)
    except asyncio.CancelledError:
        say(f"no longer watching; {run.workflow_id} goes on")
        raise
    if as_json:
        show_json(as_object(run, end))
    else:
        answers().print(words(end.sentence, "green" if end.code is Exit.OK else "bold red"), soft_wrap=True)
    return end.code


async def watch(client: Client, run: Run, show: Show, *, wait: bool) -> Ending:
    """Look again and again until the run is closed; an outage of the server is waited out."""
    before: Sight | None = None
    while True:
        try:
            sight = await look(client, run.workflow_id, run.run_id, before)
            end = None if sight.run.open else await ending(client, sight.run)
        except RPCError as error:
            if before is None or error.status not in NO_ANSWER:
                raise
            sight, end = replace(before, silent=f"Temporal at {address()} does not answer; trying again"), None
        show(sight)
        if end:
            return end
        if not wait and sight.phase in _WANTS_A_PERSON:
            reason = sight.status.reason if sight.status else None
            return Ending(Exit.HELD, f"{run.release}: {sight.phase}: {reason or 'see `sluice status`'}")
        before = sight
        await asyncio.sleep(EVERY_S)


@contextmanager
def viewer(*, as_json: bool) -> Iterator[Show]:
    """The screen for a person, lines for everything else."""
    if answers().is_terminal and not as_json:
        with Live(console=answers(), auto_refresh=False, transient=False) as live:
            yield lambda sight: live.update(screen(sight, _now()), refresh=True)
        return
    stream = sys.stderr if as_json else sys.stdout
    seen: list[object] = []

    def show(sight: Sight) -> None:
        if not seen or seen[-1] != change(sight):
            seen[:] = [change(sight)]
            print(words(line(sight, _now())).plain, file=stream, flush=True)

    yield show


def as_object(run: Run, end: Ending) -> dict[str, object]:
    """An ending for a machine."""
    return {
        "workflow_id": run.workflow_id,
        "run_id": run.run_id,
        "exit_code": int(end.code),
        "sentence": end.sentence,
        "result": end.result.model_dump(mode="json") if end.result else None,
    }


def _now() -> datetime:
    return datetime.now(UTC)
