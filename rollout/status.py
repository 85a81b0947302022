"""The answer of the `status` query: everything a person or a script wants, flat on top, whole below."""

from datetime import datetime, timedelta

from pydantic import Field

from rollout.base import Told
from rollout.happened import Phase
from rollout.plan import Plan
from rollout.progress import Progress
from rollout.spec import RolloutSpec
from rollout.story import details


class RolloutStatus(Told):
    """Where a rollout is."""

    workflow_id: str
    service: str
    environment: str
    candidate: str
    stable: str
    phase: Phase
    percent: float = Field(description="percent of traffic on the candidate, proven")
    stage: str | None = None
    bake: timedelta | None = Field(default=None, description="wanted observed time at this stage")
    baked: timedelta = Field(default=timedelta(), description="observed up to the last report of the watch")
    bake_ends_about: datetime | None = Field(default=None, description="if every gate has data until then")
    reason: str | None = Field(default=None, description="why it is held, or why it goes back")
    notes: tuple[str, ...] = ()
    details: str = Field(description="the same as Markdown, as the UI shows it")
    progress: Progress


def status(spec: RolloutSpec, plan: Plan | None, progress: Progress) -> RolloutStatus:
    """Make the answer."""
    stage = plan.stages[progress.stage] if plan else None
    baking = progress.phase is Phase.BAKING and progress.moving is None
    ends = (
        progress.watching_since + max(timedelta(), stage.bake - progress.baked)
        if baking and stage and progress.watching_since
        else None
    )
    reason = progress.stop.reason if progress.stop else progress.held.reason if progress.held else None
    return RolloutStatus(
        workflow_id=spec.workflow_id,
        service=spec.service,
        environment=spec.environment,
        candidate=spec.release.candidate,
        stable=spec.release.stable,
        phase=progress.phase,
        percent=progress.percent,
        stage=stage.title if stage else None,
        bake=stage.bake if stage else None,
        baked=progress.baked,
        bake_ends_about=ends,
        reason=reason,
        notes=progress.notes,
        details=details(spec, plan, progress),
        progress=progress,
    )
