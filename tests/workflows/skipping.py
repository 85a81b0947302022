"""Skipping a workflow's time: the one file that knows the server's experimental feature.

Time is skipped only while no activity runs, and a rollout is nearly always watched by one; what can be skipped is the
back-off between the attempts of an activity that fails. That is enough for the minutes after which Sluice gives up or
raises an alarm. Workflow time is then ahead of the activities' clock: a rollout that skipped must not bake afterwards.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

from temporalio.testing import TimeSkipper

from tests.workflows.trial import Trial

DYNAMIC_CONFIG: Final = {
    "frontend.WorkflowTimeSkippingEnabled": "true",
    # Skipped timers otherwise wait in a look-ahead of a second, and are polled twenty times a second.
    "history.timerProcessorMaxTimeShift": '"1ms"',
    "history.timerProcessorMaxPollRPS": "5000",
}


@asynccontextmanager
async def skipping(trial: Trial, span: timedelta) -> AsyncIterator[None]:
    """Skip up to a span while the body looks on; the rollout must have ended when the body has."""
    skipped = asyncio.create_task(TimeSkipper(trial.client).fast_forward(trial.handle, span))
    try:
        yield
        await skipped  # a call that is pending when the interpreter ends may take it down
    finally:
        skipped.cancel()
