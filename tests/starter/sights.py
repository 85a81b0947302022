"""A rollout at a few moments, made by hand: what the screens are given."""

from datetime import UTC, datetime, timedelta
from typing import Any

from rollout.happened import Approved, Phase
from rollout.judge.verdict import GateState, Verdict
from rollout.messages import TrafficShifted, Unseen, Watching
from rollout.plan import Facts, Plan, plan
from rollout.progress import Progress
from rollout.spec import RolloutSpec
from rollout.status import status
from starter.rollouts import Run
from starter.seeing import Sight, Work

NOW = datetime(2026, 11, 22, 3, 12, 5, tzinfo=UTC)
BEGAN = NOW - timedelta(minutes=12)

SPEC = RolloutSpec.model_validate(
    {
        "service": "checkout",
        "environment": "prod",
        "release": {"candidate": "1.42.0", "stable": "1.41.3"},
        "strategy": {
            "stages": [
                {"name": "internal QA", "percent": 5, "bake": "10m", "approval": {}},
                {"name": "half", "percent": 50, "bake": "30m"},
                {"name": "everyone", "percent": 100, "bake": "10m"},
            ]
        },
        "routes": [{"kind": "envoy", "connection": "edge-1", "service": "checkout"}],
        "gates": {"errors": {"query": "errors / requests", "above": 0.05, "for": "2m"}},
    }
)


def planned() -> Plan:
    return plan(SPEC, Facts(started_by="cleo"), owner=SPEC.workflow_id)


def gate(verdict: Verdict, sentence: str, observed: timedelta = timedelta()) -> GateState:
    return GateState(
        watermark_ms=1, observed_ms=observed // timedelta(milliseconds=1), verdict=verdict, sentence=sentence
    )


def at_half() -> Progress:
    """The first stage is done and approved; the second bakes."""
    progress = Progress().planned(planned()).shifting(5, 1).shifted(TrafficShifted(percent=5, epoch=1), BEGAN)
    progress = progress.recording(baked=timedelta(minutes=10)).approved(0, Approved(by="ana", at=BEGAN))
    progress = progress.next_stage(NOW).shifting(50, 2).shifted(TrafficShifted(percent=50, epoch=2), NOW)
    return progress.watching(Phase.BAKING, NOW - timedelta(seconds=90))


def live(verdict: Verdict = Verdict.HEALTHY, sentence: str = "0.002, limit above 0.05 for 2m") -> Watching:
    states = {"errors": gate(verdict, sentence, timedelta(seconds=90))}
    return Watching(states=states, watermark_ms=1)


def blind() -> Watching:
    return Watching(watermark_ms=1, unseen={"gate errors": Unseen(since_ms=1, reason="connection refused")})


def run(**changes: Any) -> Run:
    known: dict[str, Any] = {
        "workflow_id": SPEC.workflow_id,
        "run_id": "01a2",
        "state": "Running",
        "started": BEGAN,
        "closed": None,
        "service": "checkout",
        "environment": "prod",
        "version": "1.42.0",
        "phase": "Baking",
        "percent": 50,
    }
    return Run(**known | changes)


def sight(progress: Progress | None = None, **changes: Any) -> Sight:
    known: dict[str, Any] = {
        "run": run(),
        "status": status(SPEC, planned(), progress or at_half()),
        "plan": planned(),
        "live": live(),
    }
    return Sight(**known | changes)


def tried(attempt: int, failure: str) -> tuple[Work, ...]:
    return (Work("watch_health", attempt, failure),)
