"""Where domain errors become Temporal's: the only place that turns one into the other.

`Temporary` is retried after its own delay and stays out of the error metrics; `Permanent` is not retried. The type is
the class name, which is what operators filter by. Also here: the steady heartbeat of activities that have nothing to
report but their being alive, so that a killed worker is noticed in seconds.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from rollout.errors import MetricsUnavailable, SluiceError, Temporary

BEAT_SECONDS = 1.0


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
            raise translated(error) from error


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


@asynccontextmanager
async def beating(every_s: float = BEAT_SECONDS, details: Callable[[], tuple[Any, ...]] = tuple) -> AsyncIterator[None]:
    """Heartbeat while the body runs: at once, then every so many seconds, with the details of the moment."""
    beats = asyncio.create_task(_beat(every_s, details))
    try:
        yield
    finally:
        beats.cancel()


async def _beat(every_s: float, details: Callable[[], tuple[Any, ...]]) -> None:
    while True:
        activity.heartbeat(*details())
        await asyncio.sleep(every_s)
