"""What a rollout leaves behind when it ends."""

from datetime import datetime

from rollout import experiment
from rollout.happened import Phase, RolloutResult
from rollout.plan import Plan
from rollout.progress import Progress
from rollout.spec import RolloutSpec


def result(
    phase: Phase, spec: RolloutSpec, plan: Plan | None, progress: Progress, started_at: datetime, ended_at: datetime
) -> RolloutResult:
    """The result: of a promoted rollout its answer, of every other one the details of its failure.

    Args:
        phase: how it ended.
        spec: what was asked for.
        plan: what preflight made of it; None if it never came so far.
        progress: where it got to.
        started_at: start of the workflow.
        ended_at: now.
    """
    stop = progress.stop
    return RolloutResult(
        outcome=phase,
        service=spec.service,
        environment=spec.environment,
        candidate=spec.release.candidate,
        stable=spec.release.stable,
        percent=progress.percent,
        reason=stop.reason if stop else "",
        gate=stop.gate if stop else None,
        by=stop.by if stop else None,
        stage=plan.stages[progress.stage].title if plan else None,
        started_at=started_at,
        ended_at=ended_at,
        percents_seen=progress.percents_seen,
        stages=progress.records,
        overwrote=progress.overwrote,
        mitigated=progress.mitigated,
        effects=experiment.effects(spec, plan, progress.gates) if plan else (),
        sample_ratio=experiment.ratio(spec, plan, progress.gates, progress.uneven) if plan else None,
        notes=progress.notes,
    )
