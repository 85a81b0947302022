"""The story of one rollout. `run` asks `decide` what is next and does it, until the traffic is where it belongs.

Rules that keep it true: handlers only change the progress, they never wait and never raise; every step lets go as soon
as the decision is no longer its own; the way back is one path, whoever started it; the phase is upserted before any
raise, because a closed run keeps its last value. Nothing here knows a router or a metrics server.
"""

import asyncio
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any, assert_never

from pydantic import ValidationError
from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.workflow import ActivityHandle

from rollout import ending, experiment, mitigating, names, story
from rollout.base import percent_text
from rollout.decide import (
    Advance,
    Ask,
    Decision,
    Expire,
    Hold,
    Mitigate,
    Promote,
    RollBack,
    Shift,
    Watch,
    decide,
    settle,
)
from rollout.durations import text
from rollout.happened import Phase, RolloutResult
from rollout.messages import Watched
from workflows import steps, visibility
from workflows.operated import Operated


@workflow.defn(name=names.ROLLOUT, failure_exception_types=[ValidationError, TypeError])
class Rollout(Operated):
    """Roll one release of one service out, and back if anything is wrong."""

    @workflow.init
    def __init__(self, *inputs: Any) -> None:  # noqa: ANN401 - whatever the CLI sent; read_spec tells what is wrong
        super().__init__(inputs)
        self._cancelled = False
        self._epoch = 0  # the last one given out

    @workflow.run
    async def run(self, *_: Any) -> RolloutResult:  # noqa: ANN401 - read in __init__, before any handler
        """From preflight to a named end with the weights proven."""
        self._begin()
        try:
            await self._preflight()
            deadline = asyncio.create_task(self._max_duration())
            if await self._climb():
                deadline.cancel()
                return await self._end(Phase.PROMOTED)
        except asyncio.CancelledError:
            self._cancelled = True
            self._to(self._progress.stopped(Phase.ABORTED, "cancelled", workflow.now()))
        except ApplicationError:
            raise
        except Exception as bug:  # noqa: BLE001 - a bug of ours must not leave users at 25 %
            workflow.logger.exception("rollout failed by a bug; going back")
            reason = f"internal error, please report it: {type(bug).__name__}: {bug}"
            self._to(self._progress.stopped(Phase.ROLLED_BACK, reason, workflow.now()))
        await self._roll_back()
        return await self._end(self._progress.stop.outcome if self._progress.stop else Phase.ROLLED_BACK)

    async def _climb(self) -> bool:
        """Do what `decide` says until there is nothing left (True) or the traffic must go back (False)."""
        while True:
            match self._decide():
                case Shift() as step:
                    await self._shift(step)
                case Watch() as step:
                    await self._watch(step, while_=step)
                case Mitigate() as step:
                    await self._mitigate(step)
                case Ask() | Advance() | Hold() | Expire() as turn:
                    self._to(settle(turn, self._progress, workflow.now()))
                case Promote():
                    if await self._finalize():
                        return True
                case RollBack():
                    return False
                case _ as never:
                    assert_never(never)

    # ── steps ────────────────────────────────────────────────────────────────────────────────────

    def _begin(self) -> None:
        info = workflow.info()
        if self._spec is None:
            raise ApplicationError(self._complaint, type="BadInput", non_retryable=True)
        visibility.introduce(self._spec, self._progress)
        self._tell(self._spec)
        if not re.fullmatch(names.OWNER, self._owner):
            self._refuse(
                "its workflow ID is kept by the routers as their owner's mark, so it may hold letters, digits and "
                f". _ : / @ - only, at most 200 of them; start it as {self._spec.workflow_id}"
            )
        if info.execution_timeout or info.run_timeout:
            self._refuse(
                "it was started with an execution or run timeout: the server would kill it without putting the traffic "
                "back; start it without, and set policy.max_duration"
            )

    async def _preflight(self) -> None:
        handle = steps.plan(self.spec, self._owner)
        await workflow.wait_condition(lambda: handle.done() or self._progress.stop is not None)
        if not handle.done():
            steps.call_off(handle)
            return
        try:
            self._plan = await handle
        except ActivityError as error:
            self._refuse(steps.why(error)[1])
        else:
            self._to(self._progress.planned(self._plan))

    async def _max_duration(self) -> None:
        limit = self.spec.policy.max_duration
        await workflow.sleep(limit, summary=f"max_duration {text(limit)}")
        self._to(self._progress.stopped(Phase.ROLLED_BACK, f"max_duration of {text(limit)} is over", workflow.now()))

    async def _shift(self, step: Shift) -> None:
        epoch, asked, brought = self._next_epoch(), step, steps.brings_pods(self.spec, self._progress, step)
        if brought and step.reassert:  # what was found elsewhere is put right before anything is waited for
            step, brought = Shift(self._progress.percent, expected=self._progress.percent, reassert=True), False
        elif brought and not await self._bring_pods(step, epoch):
            return
        self._to(self._progress.shifting(step.percent, epoch))
        handle = steps.shift(self.spec, self._owner, step, epoch, with_pods=brought)
        with steps.called_off_too(handle):
            await workflow.wait_condition(lambda: handle.done() or self._decide() != asked)
            if not handle.done() and self._progress.stop is None:  # held: what is written may prove itself, no more
                with suppress(TimeoutError):
                    await workflow.wait_condition(
                        lambda: handle.done() or self._progress.stop is not None,
                        timeout=self.spec.policy.prove_within + steps.settling(self.spec),
                        timeout_summary="hold waits for the proof",
                    )
        if not handle.done():
            steps.call_off(handle)  # its epoch is old as soon as the way back has one: a late write of it is refused
            if step.pause:  # whether it did, the next write will see
                self._to(self._progress.but(paused=True, goes_on="the router has not answered yet"))
            elif self._progress.held is not None:
                called_off = f"the way to {step.percent:g} % was called off"
                self._to(self._progress.hold(called_off, None, workflow.now(), acknowledged="drift"))
            return
        try:
            shifted = await handle
        except ActivityError as error:
            self._unshifted(error, step)
        else:
            self._to(self._progress.shifted(shifted, workflow.now()))

    async def _bring_pods(self, step: Shift, epoch: int) -> bool:
        """Get the next percent its pods while the present one is watched; False if something came between."""
        self._to(self._progress.in_phase(Phase.SHIFTING))
        handle = steps.prepare(self.spec, self._owner, step, epoch)
        with steps.called_off_too(handle):
            with suppress(TimeoutError):  # those that are there already cost no watch
                await workflow.wait_condition(
                    lambda: handle.done() or self._decide() != step,
                    timeout=self.spec.policy.poll,
                    timeout_summary="pods, unless they are there",
                )
            while not handle.done() and self._decide() == step:
                eyes = Watch(Phase.SHIFTING, counting=False, acknowledged=self._progress.tolerated)
                await self._watch(eyes, while_=step, or_until=handle.done)
        if not handle.done():
            steps.call_off(handle)
            return False
        try:
            await handle
        except ActivityError as error:
            reason = f"could not get the pods for {percent_text(step.percent)}: {steps.why(error)[1]}"
            self._to(self._progress.hold(reason, None, workflow.now()))
            return False
        return self._decide() == step

    def _unshifted(self, error: ActivityError, step: Shift) -> None:
        if step.pause:  # tried once: it is held already
            why = steps.why(error)[1]
            self._to(self._progress.but(paused=True, goes_on=why).noted(f"could not be paused: {why}"))
        else:
            self._held_by(error, f"could not prove {step.percent:g} %")

    async def _watch(self, step: Watch, *, while_: Decision, or_until: Callable[[], bool] = lambda: False) -> None:
        """Watch until it is over, the decision is another one, or something else has happened."""
        now = workflow.now()
        self._to(self._progress.watching(step.phase, now, totals=experiment.is_one(self.spec)))
        handle = steps.watch(self.spec, self.plan, self._progress, step, self._owner)
        left = step.until - now if step.until else None
        with suppress(TimeoutError):  # the decision is made anew by the caller
            await workflow.wait_condition(
                lambda: handle.done() or or_until() or self._decide() != while_,
                timeout=left,
                timeout_summary="approval expires",
            )
        if not handle.done():
            steps.call_off(handle)
            await workflow.wait_condition(lambda: handle.done() or self._progress.stop is not None)
        if handle.done():
            await self._fold(handle, counted=step.counting)

    async def _fold(self, handle: ActivityHandle[Watched], *, counted: bool) -> None:
        try:
            watched: Watched = await handle
        except ActivityError as error:
            seen = steps.last_heartbeat(error)
            if seen is None:
                return
            watched = Watched(why="interrupted", watching=seen)
        self._to(self._progress.watched(watched, self.spec, workflow.now(), counted=counted))

    async def _mitigate(self, step: Mitigate) -> None:
        """Turn a flag off; if that does not work, what comes next is decided as if there were none."""
        self._to(self._progress.in_phase(Phase.MITIGATING))
        handle = steps.mitigate(self.spec, self._owner, self._progress, step)
        await workflow.wait_condition(lambda: handle.done() or self._progress.stop is not None)
        if not handle.done():
            steps.call_off(handle)
            self._to(mitigating.called_off(self._progress, self.spec))
            return
        now = workflow.now()
        try:
            off = await handle
        except ActivityError as error:
            kind, why = steps.why(error)
            maybe_off = kind in {"NotProven", "TimedOut"}
            self._to(mitigating.not_turned_off(self._progress, why, self.spec, now, maybe_off=maybe_off))
        else:
            self._to(mitigating.turned_off(self._progress, off, self.spec, now))

    async def _finalize(self) -> bool:
        """Prove 100 % once more without our marks, drain stable; False if something came between."""
        self._to(self._progress.in_phase(Phase.FINALIZING).but(epoch=self._next_epoch()))
        step = Shift(self._progress.percent, expected=self._progress.percent, reassert=False)
        handle = steps.shift(self.spec, self._owner, step, self._progress.epoch, release=True)
        await workflow.wait_condition(lambda: handle.done() or self._progress.stop is not None)
        if not handle.done():
            steps.call_off(handle)
            return False
        try:
            await handle
        except ActivityError as error:
            self._held_by(error, "could not finish")
            return False
        await self._drain("stable")
        return self._progress.stop is None

    async def _roll_back(self) -> None:
        """The one way back. It cannot be cancelled, and it never gives up."""
        self._to(self._progress.in_phase(Phase.ROLLING_BACK))
        if not self._progress.touched:
            return
        epoch = self._next_epoch()
        handle = steps.restore(self.spec, self._owner, self._progress, epoch)
        self._to(self._progress.but(epoch=epoch))
        if not await self._uncancelled(handle.done, self.spec.policy.alarm_after):
            self._to(self._progress.in_phase(Phase.STUCK))
            workflow.logger.error("0 percent is not proven", extra={"service": self.spec.service})
            await self._uncancelled(handle.done)
        self._to(self._progress.restored(await handle).in_phase(Phase.ROLLING_BACK))
        await self._drain("candidate")

    async def _drain(self, pool: str) -> None:
        handle = steps.drain(self.spec, self._owner, pool, self._progress.epoch)
        going_up = self._progress.stop is None
        if going_up:  # a cancel still means back
            await workflow.wait_condition(lambda: handle.done() or self._progress.stop is not None)
        else:
            await self._uncancelled(handle.done)
        if not handle.done():
            steps.call_off(handle)
            return
        try:
            drained = await handle
        except ActivityError as error:
            self._to(self._progress.noted(f"the {pool} pool's open requests are unknown: {steps.why(error)[1]}"))
        else:
            if drained.in_flight:
                note = f"{drained.in_flight} requests were still open in the {pool} pool after the drain timeout"
                self._to(self._progress.noted(note))
            if drained.removed:
                self._to(self._progress.noted(drained.removed))

    async def _end(self, phase: Phase) -> RolloutResult:
        self._to(self._progress.ended(phase, workflow.now()))
        await self._uncancelled(workflow.all_handlers_finished)
        started_at = workflow.info().start_time
        result = ending.result(phase, self.spec, self._plan, self._progress, started_at, workflow.now())
        if phase is Phase.PROMOTED:
            return result
        if self._cancelled:
            raise asyncio.CancelledError
        raise ApplicationError(story.ending(result), result, type=phase.value, non_retryable=True)

    # ── small things ─────────────────────────────────────────────────────────────────────────────

    def _decide(self) -> Decision:
        if self._progress.stop is not None:
            return RollBack(self._progress.stop)
        return decide(self.plan, self._progress, workflow.now())

    def _next_epoch(self) -> int:
        """Larger than any before, also after a reset or a run that was terminated: time does not go back."""
        self._epoch = max(self._epoch + 1, self._progress.epoch + 1, steps.milliseconds(workflow.now()))
        return self._epoch

    def _held_by(self, error: ActivityError, what: str) -> None:
        kind, reason = steps.why(error)
        now = workflow.now()
        proven = steps.highest_proven(error)
        if proven is not None and proven > self._progress.percent:
            in_place = any(route.in_place for route in self.spec.routes)
            self._to(self._progress.but(percent=proven, moving="a part of it may be on its way" if in_place else None))
        if kind == "Drifted":
            self._to(self._progress.drifted(reason, self.spec, now))
        else:
            self._to(self._progress.hold(f"{what}: {reason}", None, now, acknowledged="drift"))

    def _refuse(self, reason: str) -> None:
        self._to(self._progress.in_phase(Phase.REFUSED).noted(reason))
        release = f"{self.spec.service} {self.spec.release.candidate} in {self.spec.environment}"
        raise ApplicationError(f"{release}: refused: {reason}", type="Refused", non_retryable=True)

    async def _uncancelled(self, condition: Callable[[], bool], within: timedelta | None = None) -> bool:
        """Wait through a cancel request, which is remembered; False if the time was over first."""
        until = workflow.now() + within if within else None
        while not condition():
            try:
                await workflow.wait_condition(
                    condition, timeout=until - workflow.now() if until else None, timeout_summary="alarm"
                )
            except asyncio.CancelledError:
                self._cancelled = True
            except TimeoutError:
                return False
        return True
