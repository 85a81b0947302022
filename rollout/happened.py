"""What has happened in a rollout: phases, stops, holds, answers, stages and mitigations, as the status shows them.

Values only. What leads from one to the other is in `progress.py`.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal

from pydantic import Field

from rollout.base import Told
from rollout.judge.effect import Effect
from rollout.judge.sample_ratio import SampleRatio
from rollout.messages import SeenBad


class Phase(StrEnum):
    """Where in its life a rollout is: the search attribute `RolloutPhase`."""

    PREFLIGHT = "Preflight"
    SHIFTING = "Shifting"
    BAKING = "Baking"
    AWAITING_APPROVAL = "AwaitingApproval"
    HELD = "Held"
    MITIGATING = "Mitigating"
    FINALIZING = "Finalizing"
    PROMOTED = "Promoted"
    ROLLING_BACK = "RollingBack"
    STUCK = "Stuck"
    ROLLED_BACK = "RolledBack"
    ABORTED = "Aborted"
    REJECTED = "Rejected"
    EXPIRED = "Expired"
    REFUSED = "Refused"


class Stop(Told):
    """Why the traffic goes back; the first one wins and nothing may raise a percent after it."""

    outcome: Literal[Phase.ROLLED_BACK, Phase.ABORTED, Phase.REJECTED, Phase.EXPIRED]
    reason: str
    gate: str | None = None
    by: str | None = None
    at: datetime


class Held(Told):
    """Why nothing moves for now.

    Attributes:
        acknowledged: what led here (gate names, "drift", "no-data"); it does not end the standing watch again.
    """

    reason: str
    by: str | None = None
    since: datetime
    acknowledged: tuple[str, ...] = ()


class Approved(Told):
    """Somebody's yes."""

    by: str | None = None
    comment: str | None = None
    at: datetime


class StageRecord(Told):
    """What happened at a stage."""

    title: str
    percent: float
    arrived_at: datetime | None = None
    left_at: datetime | None = None
    baked: timedelta = timedelta()
    ended_early_by: str | None = None
    proven: bool = Field(default=False, description="the bake ended early: every gate had proven health")
    gates: dict[str, str] = Field(default_factory=dict, description="last sentence of each gate")


class Breach(Told):
    """A gate that was breached, and the flag that is to end it; the traffic stays where it is meanwhile.

    Attributes:
        gate: what was breached last.
        reason: its sentence.
        mitigation: index in the spec's mitigations.
        at: when.
        off: whether the flag is proven off.
        gates: every gate that must recover, and how bad each that counts had seen the candidate.
        watched: observed time since then.
    """

    gate: str
    reason: str
    mitigation: int
    at: datetime
    off: bool = False
    gates: dict[str, SeenBad | None]
    watched: timedelta = timedelta()


class Mitigated(Told):
    """What turning a flag off has brought.

    Attributes:
        mitigation: index in the spec's mitigations.
        flag: the flag in words.
        gate: the gate whose breach it was for.
        off_at: when it was proven off; None if it was not.
        proof: what the evaluators showed.
        outcome: recovered, or why it did not help; empty while it is watched.
    """

    mitigation: int
    flag: str
    gate: str
    off_at: datetime | None = None
    proof: str = ""
    outcome: str = ""


class RolloutResult(Told):
    """How a rollout ended; the workflow's result, or the details of its failure."""

    outcome: Phase
    service: str
    environment: str
    candidate: str
    stable: str
    percent: float = Field(description="percent of traffic on the candidate at the end, proven")
    reason: str = ""
    gate: str | None = None
    by: str | None = None
    stage: str | None = Field(default=None, description="stage at which it ended")
    started_at: datetime
    ended_at: datetime
    percents_seen: tuple[float, ...] = Field(default=(), description="every percent proven, in order")
    stages: tuple[StageRecord, ...] = ()
    overwrote: tuple[str, ...] = Field(default=(), description="foreign route values that the way back replaced")
    mitigated: tuple[Mitigated, ...] = Field(default=(), description="flags that were turned off, or tried")
    effects: tuple[Effect, ...] = Field(default=(), description="of an experiment: what each metric shows")
    sample_ratio: SampleRatio | None = Field(default=None, description="of an experiment: how its users fell")
    notes: tuple[str, ...] = ()
