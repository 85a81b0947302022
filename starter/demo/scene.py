"""What the demo sees at one moment, gathered from the real parts: the value that every kind of screen draws.

Three sources, none of them the demo's own memory: the rollout's `status` query, the heartbeat of its running watch
(gates between two status changes), and the load's report (what visitors really get).
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from temporalio.client import WorkflowHandle
from temporalio.exceptions import TemporalError

from rollout import names
from rollout.happened import Phase
from rollout.judge.verdict import GateState
from rollout.messages import Watching
from rollout.mitigating import RECOVERED
from rollout.plan import PlannedStage
from rollout.status import RolloutStatus
from starter.demo.scenarios import Scenario
from starter.demo.score import CANDIDATE
from testbed.report import LoadReport
from workflows.converter import DATA_CONVERTER

_ANSWER_WITHIN = timedelta(seconds=2)
_OBSERVED_S = 3


@dataclass(frozen=True)
class Scene:
    """One moment.

    Attributes:
        scenario: What is played.
        number: Of this scenario, counted from 1.
        of: How many are played.
        stages: The rungs, lowest first.
        doing: What the demo does or waits for.
        status: The rollout's own answer, None before the first one.
        watching: What its running watch has last reported.
        load: What visitors got so far.
        link: The run's page.
    """

    scenario: Scenario
    number: int
    of: int
    stages: tuple[PlannedStage, ...]
    doing: str
    status: RolloutStatus | None = None
    watching: Watching | None = None
    load: LoadReport | None = None
    link: str = ""

    @property
    def phase(self) -> str:
        """The rollout's phase, `–` before it has one."""
        return self.status.phase if self.status else "–"

    @property
    def percent(self) -> float:
        """Percent of traffic on the candidate, proven."""
        return self.status.percent if self.status else 0.0

    @property
    def observed_percent(self) -> float:
        """Percent of the visitors' answers that came from the candidate in the last seconds."""
        return 100 * self.load.share(CANDIDATE, seconds=_OBSERVED_S) if self.load else 0.0

    @property
    def gates(self) -> dict[str, GateState]:
        """The newest answer of each gate that the stage watches, by name."""
        if self.watching:
            return self.watching.states
        if self.status is None:
            return {}
        progress = self.status.progress
        return {name: progress.gates[name] for name in self.stages[progress.stage].gates if name in progress.gates}

    @property
    def recovered(self) -> bool:
        """Whether it is held because turning a flag off has helped."""
        mitigated = self.status.progress.mitigated if self.status else ()
        return self.phase == Phase.HELD and bool(mitigated) and mitigated[-1].outcome == RECOVERED

    @property
    def flag(self) -> str:
        """What became of the flag that a breach turns off; empty in a scenario without one."""
        if not self.scenario.spares:
            return ""
        progress = self.status.progress if self.status else None
        if progress and progress.breach and not progress.breach.off:
            return f"being turned off, because gate {progress.breach.gate} is breached"
        last = progress.mitigated[-1] if progress and progress.mitigated else None
        if last is None:
            return "on for everybody"
        if last.off_at is None:
            return f"could not be turned off: {last.outcome}"
        return f"off, proven by evaluation; gate {last.gate}: {last.outcome or 'watched anew'}"

    def baked(self, index: int) -> timedelta:
        """How much of a stage's bake has been observed."""
        if self.status is None or index > self.status.progress.stage or not self.status.progress.records:
            return timedelta()
        baked = self.status.progress.records[index].baked
        if index == self.status.progress.stage and self.phase == Phase.BAKING and self.watching:
            states = self.watching.states.values()
            live_ms = min((state.observed_ms for state in states), default=self.watching.observed_ms)
            return max(baked, timedelta(milliseconds=live_ms))
        return baked


async def look(handle: WorkflowHandle[Any, Any]) -> tuple[RolloutStatus | None, Watching | None]:
    """Ask a rollout where it is; what cannot be answered now is None.

    Args:
        handle: Of the run.

    Returns:
        Its status, and the last heartbeat of its watch if one is running.
    """
    try:
        answer = await handle.query(names.STATUS, rpc_timeout=_ANSWER_WITHIN)
        status = RolloutStatus.model_validate(answer) if answer else None
        return status, await _heartbeat(handle)
    except TemporalError:  # no worker for a moment, or the run has just ended
        return None, None


async def _heartbeat(handle: WorkflowHandle[Any, Any]) -> Watching | None:
    described = await handle.describe(rpc_timeout=_ANSWER_WITHIN)
    for activity in described.raw_description.pending_activities:
        if activity.activity_type.name == names.WATCH_HEALTH and activity.heartbeat_details.payloads:
            (watching,) = await DATA_CONVERTER.decode(activity.heartbeat_details.payloads, [Watching])
            return Watching.model_validate(watching)
    return None
