"""Search attributes: what the UI's list can show and filter by. One upsert a change, as each one is a history event."""

from typing import Any

from temporalio import workflow
from temporalio.common import SearchAttributeKey, SearchAttributeUpdate

from rollout import names
from rollout.progress import Progress
from rollout.spec import RolloutSpec

_SERVICE = SearchAttributeKey.for_keyword(names.SERVICE)
_ENVIRONMENT = SearchAttributeKey.for_keyword(names.ENVIRONMENT)
_STRATEGY = SearchAttributeKey.for_keyword(names.STRATEGY)
_PHASE = SearchAttributeKey.for_keyword(names.PHASE)
_VERSION = SearchAttributeKey.for_keyword(names.VERSION)
_PERCENT = SearchAttributeKey.for_int(names.PERCENT)


def introduce(spec: RolloutSpec, progress: Progress) -> None:
    """Everything that is known at the start."""
    workflow.upsert_search_attributes(
        [
            _SERVICE.value_set(spec.service),
            _ENVIRONMENT.value_set(spec.environment),
            _STRATEGY.value_set(spec.strategy.kind),
            _VERSION.value_set(spec.release.candidate),
            *_moving(progress),
        ]
    )


def update(before: Progress, after: Progress) -> None:
    """Phase and percent, if they changed."""
    if (before.phase, int(before.percent)) != (after.phase, int(after.percent)):
        workflow.upsert_search_attributes(_moving(after))


def _moving(progress: Progress) -> list[SearchAttributeUpdate[Any]]:
    return [_PHASE.value_set(progress.phase), _PERCENT.value_set(int(progress.percent))]
