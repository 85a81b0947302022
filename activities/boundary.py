"""Where domain errors become Temporal's: the only place that turns one into the other.

`Temporary` is retried after its own delay and stays out of the error metrics; `Permanent` is not retried. The type is
the class name, which is what operators filter by. Also here: the steady heartbeat of activities that have nothing to
report but their being alive, so that a killed worker is noticed in seconds.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from rollout.errors import MetricsUnavailable, SluiceError, Temporary

# Each costs the server a transaction; the next one may be 2.6 s late before it calls an activity dead (5 s).
BEAT_SECONDS = 2.4


class Boundary(Interceptor):
    """Translates the errors of every activity."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002 - SDK name
        """Put the translation around an activity."""
        return _Translated(next)


class _Translated(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002, ANN401 - SDK signature
        try:
            return await super().execute_activity(input)
        except SluiceError as error:
            raise translated(error) from None  # the sentence is the whole cause; traces would exceed what a UI shows


def translated(error: SluiceError) -> ApplicationError:
    """The same error as Temporal knows it."""
    temporary = isinstance(error, Temporary | MetricsUnavailable)
    return ApplicationError(
        str(error),
        *([] if error.highest is None else [error.highest]),
        type=type(error).__name__,
        non_retryable=not temporary,
        next_retry_delay=error.retry_after if isinstance(error, Temporary) else None,
        category=ApplicationErrorCategory.BENIGN if temporary else ApplicationErrorCategory.UNSPECIFIED,
    )


class Beats:
    """The heartbeats of one activity: one whenever there is news, and one whenever there was none for some seconds."""

    def __init__(self, every_s: float, details: Callable[[], tuple[Any, ...]]) -> None:
        """Take the distance and what to tell; the server counts from the activity's start, so nothing is sent yet."""
        self._every_s, self._details = every_s, details
        self._last_s = time.monotonic()

    def now(self) -> None:
        """Tell it now."""
        self._last_s = time.monotonic()
        activity.heartbeat(*self._details())

    async def go_on(self) -> None:
        """Never be silent for longer, until cancelled."""
        while True:
            silent_s = time.monotonic() - self._last_s
            if silent_s >= self._every_s:
                self.now()
            else:
                await asyncio.sleep(self._every_s - silent_s)


@asynccontextmanager
async def beating(
    every_s: float = BEAT_SECONDS, details: Callable[[], tuple[Any, ...]] = tuple
) -> AsyncIterator[Beats]:
    """Heartbeat while the body runs, with the details of the moment; the body may beat more often."""
    beats = Beats(every_s, details)
    task = asyncio.create_task(beats.go_on())
    try:
        yield beats
    finally:
        task.cancel()
