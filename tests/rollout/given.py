"""What the tests of the core take for granted: one spec, its plan, and where a rollout may be on it.

`HEAVY` and `LIGHT` say how hard Hypothesis tries. Both are deterministic, so that a red test is red for everybody;
`SLUICE_EXAMPLES=5000 pytest tests/rollout` searches at random instead, for as long as you like.
"""

import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, settings

from rollout.gates import ThresholdGate
from rollout.happened import Approved, Phase
from rollout.judge.verdict import GateState, Verdict
from rollout.messages import TrafficShifted, Unseen, Watched, Watching
from rollout.plan import Facts, Plan, plan
from rollout.progress import Progress
from rollout.spec import RolloutSpec

ARTICLE = (
    'sum(rate(http_requests_total{version="canary",status=~"5.."}[5m])) '
    '/ sum(rate(http_requests_total{version="canary"}[5m]))'
)
NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
NOW_MS = round(NOW.timestamp() * 1000)
OWNER = "rollout:prod/checkout"
MINUTE = timedelta(minutes=1)

_WANTED = os.environ.get("SLUICE_EXAMPLES")


def _effort(examples: int) -> settings:
    return settings(
        max_examples=int(_WANTED) if _WANTED else examples,
        derandomize=not _WANTED,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )


LIGHT = _effort(60)
HEAVY = _effort(150)


def written(**changes: Any) -> dict[str, Any]:
    """A spec as a person writes it; `changes` replace whole top-level fields, None removes one."""
    whole: dict[str, Any] = {
        "service": "checkout",
        "environment": "prod",
        "release": {"candidate": "1.42.0", "stable": "1.41.3"},
        "strategy": {
            "stages": [
                {"name": "internal QA", "percent": 5, "bake": "10m", "approval": {"from": ["qa"], "within": "1h"}},
                {"name": "half", "percent": 50, "bake": "30m"},
                {"percent": 100, "bake": "10m", "gates": ["errors"]},
            ]
        },
        "routes": [{"kind": "envoy", "connection": "edge-1", "service": "checkout"}],
        "gates": {
            "errors": {"kind": "threshold", "query": ARTICLE, "above": 0.05, "for": "2m"},
            "conversion": {"query": "orders / sessions", "below": 0.02, "on_breach": "hold"},
        },
        "approvals": {"people": ["qa"]},
    } | changes
    return {field: value for field, value in whole.items() if value is not None}


def spec(**changes: Any) -> RolloutSpec:
    return RolloutSpec.model_validate(written(**changes))


def ladder(*stages: Mapping[str, Any]) -> dict[str, Any]:
    return {"stages": list(stages)}


def facts(**changes: Any) -> Facts:
    return Facts.model_validate({"people": {"qa": ("ana", "ben")}, "started_by": "cleo"} | changes)


def planned(wanted: RolloutSpec | None = None, **changes: Any) -> Plan:
    return plan(wanted or spec(), facts(**changes), owner=OWNER)


def state(verdict: Verdict = Verdict.HEALTHY, *, observed: timedelta = timedelta(), **changes: Any) -> GateState:
    """What a gate knows; BREACHED and UNDECIDED since a minute ago."""
    active = {"": NOW_MS - 60_000} if verdict in {Verdict.BREACHED, Verdict.UNDECIDED} else {}
    sentences = {
        Verdict.HEALTHY: "0.01, limit above 0.05 for 2m",
        Verdict.NO_DATA: "the query answers nothing",
    }
    return GateState.model_validate(
        {
            "watermark_ms": NOW_MS,
            "observed_ms": observed // timedelta(milliseconds=1),
            "verdict": verdict,
            "active": active,
            "sentence": sentences.get(verdict, "0.2, beyond its limit for 1m (limit: above 0.05 for 2m)"),
            "blind_since_ms": NOW_MS - 60_000 if verdict is Verdict.NO_DATA else None,
        }
        | changes
    )


def both(verdict: Verdict = Verdict.HEALTHY, *, observed: timedelta = timedelta()) -> dict[str, GateState]:
    """The states of both gates of the usual spec, the first with this verdict."""
    calm = state(observed=observed, sentence="0.03, limit below 0.02")
    return {"errors": state(verdict, observed=observed), "conversion": calm}


def saw(why: str, states: dict[str, GateState] | None = None, **changes: Any) -> Watched:
    """How a watch ended; `unseen` names what it could not see in the end."""
    blind = {what: Unseen(since_ms=NOW_MS - 60_000, reason="no answer") for what in changes.pop("unseen", ())}
    watching = Watching(states=both() if states is None else states, watermark_ms=NOW_MS, unseen=blind)
    return Watched.model_validate({"why": why, "watching": watching} | changes)


def yes(by: str | None = "ana") -> Approved:
    return Approved(by=by, at=NOW)


def begun(wanted: Plan | None = None) -> Progress:
    """Preflight is over, nothing has moved."""
    return Progress().planned(wanted or planned())


def shifted(progress: Progress, percent: float, now: datetime = NOW) -> Progress:
    """One write that worked."""
    epoch = progress.epoch + 1
    return progress.shifting(percent, epoch).shifted(TrafficShifted(percent=percent, epoch=epoch), now)


def baking(stage: int = 0, wanted: Plan | None = None, now: datetime = NOW) -> Progress:
    """The bake of a stage has just begun; the stages before were done as they should."""
    plan_ = wanted or planned()
    progress = begun(plan_)
    for index in range(stage):
        rung = plan_.stages[index]
        done = saw("baked", {name: known for name, known in both(observed=rung.bake).items() if name in rung.gates})
        progress = shifted(progress, rung.percent, now).watching(Phase.BAKING, now)
        progress = progress.approved(index, yes()) if rung.approval else progress
        progress = progress.watched(done, spec(), now, counted=True).next_stage(now)
    return shifted(progress, plan_.stages[stage].percent, now).watching(Phase.BAKING, now)


def baked(stage: int = 0, wanted: Plan | None = None, now: datetime = NOW) -> Progress:
    """The bake of a stage is done and every gate says healthy."""
    plan_ = wanted or planned()
    rung = plan_.stages[stage]
    done = saw("baked", {name: known for name, known in both(observed=rung.bake).items() if name in rung.gates})
    return baking(stage, plan_, now).watched(done, spec(), now, counted=True)


def gate(**changes: Any) -> ThresholdGate:
    return ThresholdGate.model_validate({"query": "x", "above": 0.05, "for": "2m"} | changes)
