"""Rollouts that decide differently from the recorded ones: a replay that cannot fail would prove nothing."""

import asyncio
import time
from typing import Any

from temporalio import workflow

from rollout import names
from rollout.decide import Shift
from rollout.happened import RolloutResult
from workflows.rollout import Rollout


@workflow.defn(name=names.ROLLOUT)
class ShiftsTwice(Rollout):
    """Moves the traffic twice at each stage."""

    @workflow.init
    def __init__(self, *inputs: Any) -> None:
        super().__init__(*inputs)

    @workflow.run
    async def run(self, *inputs: Any) -> RolloutResult:
        return await super().run(*inputs)

    async def _shift(self, step: Shift) -> None:
        await super()._shift(step)
        await super()._shift(step)


@workflow.defn(name=names.ROLLOUT)
class DrainsFirst(Rollout):
    """Drains before the traffic has come back."""

    @workflow.init
    def __init__(self, *inputs: Any) -> None:
        super().__init__(*inputs)

    @workflow.run
    async def run(self, *inputs: Any) -> RolloutResult:
        return await super().run(*inputs)

    async def _roll_back(self) -> None:
        await self._drain("candidate")
        await super()._roll_back()


@workflow.defn(name=names.ROLLOUT)
class Sleeps(Rollout):
    """Waits a little before preflight: one timer more."""

    @workflow.init
    def __init__(self, *inputs: Any) -> None:
        super().__init__(*inputs)

    @workflow.run
    async def run(self, *inputs: Any) -> RolloutResult:
        await asyncio.sleep(1)
        return await super().run(*inputs)


@workflow.defn(name=names.ROLLOUT)
class Same(Rollout):
    """Overrides in the same way and decides the same."""

    @workflow.init
    def __init__(self, *inputs: Any) -> None:
        super().__init__(*inputs)

    @workflow.run
    async def run(self, *inputs: Any) -> RolloutResult:
        return await super().run(*inputs)

    async def _drain(self, pool: str) -> None:
        await super()._drain(pool)


@workflow.defn(name=names.ROLLOUT)
class LooksAtTheClock(Rollout):
    """Asks the machine for the time; does nothing with it, so no replay can tell by the history."""

    @workflow.init
    def __init__(self, *inputs: Any) -> None:
        super().__init__(*inputs)

    @workflow.run
    async def run(self, *inputs: Any) -> RolloutResult:
        time.time()
        return await super().run(*inputs)
