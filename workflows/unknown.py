"""A mistyped workflow type ends at once with a sentence instead of waiting for a worker that will never come."""

from collections.abc import Sequence

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from rollout import names


@workflow.defn(dynamic=True)
class UnknownType:
    """Whatever is started on our task queue and is not ours."""

    @workflow.run
    async def run(self, _inputs: Sequence[RawValue]) -> None:
        """Fail with the right name."""
        asked = workflow.info().workflow_type
        raise ApplicationError(
            f"unknown workflow type {asked!r}: use {names.ROLLOUT}", type="BadInput", non_retryable=True
        )
