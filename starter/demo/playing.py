"""Playing one scenario: start the rollout, watch it, do what the story says, wait for its end.

The demo is an ordinary user of what it shows: it starts the file as it stands, approves by the update, breaks the
candidate through the shop's own switch, and aborts with the real command line. It never touches the router.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from temporalio.client import Client, WorkflowHandle
from temporalio.exceptions import TemporalError

from rollout import names
from rollout.durations import text
from rollout.happened import Phase
from rollout.messages import Watching
from rollout.status import RolloutStatus
from starter.demo.article import shows
from starter.demo.evidence import Evidence, gather
from starter.demo.ground import Ground
from starter.demo.scenarios import FAILING_SHARE, SLOWER_BY_MS, Act, Doing, Script
from starter.demo.scene import Scene, look
from starter.demo.score import Row, score
from testbed.parts import binary
from testbed.processes import Child, PartFailed, wait_until_async
from testbed.report import LoadReport
from testbed.temporal import no_profile
from workflows.converter import DATA_CONVERTER

LOOK_EVERY_S: Final = 0.25
MOST_S: Final = 150.0  # a scenario takes less than a minute; a noisy machine may need twice that
LATE_DROPS_S: Final = 2.0
_SIGNAL_WITHIN_S: Final = 20.0
_SAID_FOR_S: Final = 2.0

Show = Callable[[Scene], None]


async def play(ground: Ground, script: Script, scene: Scene, show: Show, *, keep: bool) -> Row:
    """Play one scenario to its end.

    Args:
        ground: The running parts.
        script: What to start.
        scene: The first scene.
        show: Called with every new scene.
        keep: Leave the load running.

    Returns:
        What happened, the late drops included.

    Raises:
        PartFailed: A part has ended by itself.
        TemporalError: The server refused or did not answer what the scenario depends on.
    """
    client = await Client.connect(ground.server.address, data_converter=DATA_CONVERTER)
    handle = await client.start_workflow(
        names.ROLLOUT, script.written, id=script.spec.workflow_id, task_queue=names.TASK_QUEUE
    )
    link = ground.link(handle.id, handle.first_execution_run_id or "")
    scene, failing = await _until_closed(
        handle, ground, replace(scene, link=link, doing="the rollout is started"), show
    )
    show(replace(scene, doing="the rollout is over; the load goes on for two seconds to count late drops"))
    await asyncio.sleep(LATE_DROPS_S)
    evidence: Evidence = await gather(handle, script.spec)
    flag_at_end = await asyncio.to_thread(_given, ground) if ground.bed.flag else None
    load = ground.load.report() if keep else await asyncio.to_thread(ground.load.finish)
    failing_load = load if shows(load) else failing
    return score(scene.scenario, script, evidence, load, link, failing_load=failing_load, flag_at_end=flag_at_end)


def _given(ground: Ground) -> str:
    """What the flag gives visitors, in the words of both shops."""
    return " and ".join(sorted(set(ground.bed.variations().values())))


async def _until_closed(
    handle: WorkflowHandle[Any, Any], ground: Ground, scene: Scene, show: Show
) -> tuple[Scene, LoadReport | None]:
    """The last scene, and the newest report of the load that still showed the first bad response."""
    closed = asyncio.create_task(_closed(handle))
    acts = Acts(handle, ground, scene.scenario.acts)
    deadline_s = time.monotonic() + MOST_S
    failing: LoadReport | None = None
    try:
        while not closed.done():
            ground.check()
            status, watching = await look(handle)
            load = ground.load.report()
            failing = load if shows(load) else failing
            scene = replace(
                scene,
                status=status or scene.status,
                watching=watching,
                load=load,
                doing=acts.doing(status or scene.status, watching),
            )
            show(scene)
            await acts.act(status)
            if time.monotonic() > deadline_s:
                await handle.terminate(reason=_stuck(scene))  # it becomes the reason in the scenario's row
            await asyncio.wait({closed}, timeout=LOOK_EVERY_S)
    finally:
        closed.cancel()
    status, _ = await look(handle)
    return replace(scene, status=status or scene.status, watching=None, load=ground.load.report()), failing


async def _closed(handle: WorkflowHandle[Any, Any]) -> None:
    try:
        await handle.result()
    except TemporalError:
        return  # how it ended is read from the server afterwards


def _stuck(scene: Scene) -> str:
    reason = scene.status.reason if scene.status else None
    return f"not over after {MOST_S:g} s: {scene.phase} at {scene.percent:g} %{f', {reason}' if reason else ''}"


class Acts:
    """Does the acts of a scenario, one after the other, each in its moment."""

    def __init__(self, handle: WorkflowHandle[Any, Any], ground: Ground, acts: tuple[Act, ...]) -> None:
        self._handle = handle
        self._ground = ground
        self._coming = list(acts)
        self._moment_since_s: float | None = None
        self._done: Act | None = None
        self._done_at_s = 0.0

    def doing(self, status: RolloutStatus | None, watching: Watching | None = None) -> str:
        """What the screen says: what was just done, what is about to be done, or what is waited for."""
        done = self._done
        if done and (_in_moment(done, status) or time.monotonic() - self._done_at_s < _SAID_FOR_S):
            return done.after
        if self._coming and _in_moment(self._coming[0], status):
            return self._coming[0].before
        if watching and watching.moving:
            return watching.moving
        return _waiting_for(status) if status else "the rollout is started"

    async def act(self, status: RolloutStatus | None) -> None:
        """Do the next act if its moment has come.

        Raises:
            PartFailed: The command line refused.
            TemporalError: The server or the rollout refused.
        """
        if not self._coming or not _in_moment(self._coming[0], status):
            return
        act = self._coming[0]
        self._moment_since_s = self._moment_since_s or time.monotonic()
        if time.monotonic() - self._moment_since_s < act.after_s:
            return
        await self._do(act.doing)
        self._done, self._done_at_s = self._coming.pop(0), time.monotonic()
        self._moment_since_s = None

    async def _do(self, doing: Doing) -> None:
        match doing:
            case Doing.APPROVE:
                await self._handle.execute_update(names.APPROVE, {"by": "ana", "comment": "looks good"})
            case Doing.BREAK:
                await asyncio.to_thread(self._ground.bed.fault, FAILING_SHARE)
            case Doing.SLOW_DOWN:
                await asyncio.to_thread(self._ground.bed.fault, 0.0, SLOWER_BY_MS)
            case Doing.ABORT:
                await self._abort_by_command_line()
            case Doing.BREAK_FEATURE:
                await asyncio.to_thread(self._ground.bed.fault_of_feature, FAILING_SHARE)
            case Doing.RESUME:
                await self._handle.execute_update(names.RESUME, {"by": "ana", "comment": "go on without the feature"})

    async def _abort_by_command_line(self) -> None:
        """What a person would type: `temporal workflow signal --workflow-id … --name abort`."""
        words = ["workflow", "signal", "--workflow-id", self._handle.id, "--name", names.ABORT]
        child = Child.start(
            [binary("temporal"), *words],
            log=self._ground.bed.directory / "temporal-signal.log",
            env={**no_profile(), "TEMPORAL_ADDRESS": self._ground.server.address},
        )
        with child:
            await wait_until_async(
                lambda: not child.running, within_s=_SIGNAL_WITHIN_S, what="the abort signal has been sent"
            )
        if child.exit_code != 0:
            raise PartFailed(f"`temporal {' '.join(words)}` was refused: {child.output().strip()}")


def _waiting_for(status: RolloutStatus) -> str:
    match status.phase:
        case Phase.PREFLIGHT:
            return "routes, pools and queries are looked at; nothing is written yet"
        case Phase.SHIFTING:
            return "the next percent is written, and read back until the router proves it"
        case Phase.BAKING:
            return f"the gates are watched for {text(status.bake or timedelta())} before the next step"
        case Phase.MITIGATING:
            return _mitigating(status)
        case Phase.FINALIZING:
            return "100 % is proven once more, then stable finishes its open requests"
        case Phase.ROLLING_BACK:
            return "all traffic goes back to stable, then the candidate finishes its open requests"
        case Phase.HELD | Phase.STUCK:
            return f"unexpected: {status.reason or 'no reason is given'}"
        case _:
            return "watching"


def _mitigating(status: RolloutStatus) -> str:
    breach = status.progress.breach
    if breach is None or not breach.off:
        return "the flag is turned off, and evaluated as applications do until nobody sees the feature"
    return f"the flag is proven off, the traffic stays: {' and '.join(breach.gates)} must recover now"


def _in_moment(act: Act, status: RolloutStatus | None) -> bool:
    return status is not None and status.phase == act.phase and act.percent in {None, status.percent}
