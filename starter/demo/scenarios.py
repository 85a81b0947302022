"""What the demo plays: four short stories about the same spec, and how each must end.

A scenario is data: the moments at which somebody does something, and the end that is promised. The spec is the example
that people copy, read from its file, so what the demo shows is what a plain `temporal workflow start` does with it.
"""

import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from rollout.complaints import read_spec
from rollout.plan import PlannedStage, stages
from rollout.progress import Phase
from rollout.spec import RolloutSpec
from testbed.parts import REPOSITORY

SPEC_FILE: Final = REPOSITORY / "examples" / "checkout.json"
FAILING_SHARE: Final = 0.10
SLOWER_BY_MS: Final = 400.0  # the limit of the gate `latency` is 300 ms
TURNING_POINT: Final = 25.0  # percent at which things go wrong in the scenarios that do not end well
MOST_EVENTS: Final = 120
MOST_AFTER_POLL_S: Final = 2.0


class NoSpec(RuntimeError):
    """The example spec is missing or no longer fits the demo; the message says why."""


class Doing(StrEnum):
    """What somebody can do to a rollout in the demo."""

    APPROVE = "approve"
    BREAK = "break"
    SLOW_DOWN = "slow-down"
    ABORT = "abort"


@dataclass(frozen=True)
class Act:
    """Something that somebody does at a moment of the rollout.

    Attributes:
        doing: What.
        phase: The rollout is in this phase,
        percent: this percent of the traffic is proven, any when None,
        after_s: and both have been seen for so many seconds.
        before: What the screen says until then.
        after: What it says from then on.
    """

    doing: Doing
    phase: Phase
    percent: float | None
    after_s: float
    before: str
    after: str


@dataclass(frozen=True)
class Scenario:
    """One story.

    Attributes:
        name: As on the command line.
        title: As a person reads it.
        acts: Who does what, in order.
        outcome: How the rollout must end.
        caught_by: The gate that must end it; None where a gate must not.
    """

    name: str
    title: str
    acts: tuple[Act, ...]
    outcome: Phase
    caught_by: str | None = None

    def percents(self, planned: tuple[PlannedStage, ...]) -> tuple[float, ...]:
        """Percents that must be proven, in order, ending with 0 when the traffic has to come back."""
        ladder = tuple(stage.percent for stage in planned)
        if self.outcome is Phase.PROMOTED:
            return ladder
        return (*(percent for percent in ladder if percent <= TURNING_POINT), 0.0)


_APPROVE = Act(
    doing=Doing.APPROVE,
    phase=Phase.AWAITING_APPROVAL,
    percent=None,
    after_s=1.5,
    before="it asks for an approval; the demo is about to give it",
    after="approved by ana",
)
_BREAK = Act(
    doing=Doing.BREAK,
    phase=Phase.BAKING,
    percent=TURNING_POINT,
    after_s=0.0,
    before=f"at {TURNING_POINT:g} % the candidate will start to fail",
    after=f"the candidate now fails {FAILING_SHARE * 100:g} % of its requests; nobody but the gates looks",
)
_SLOW_DOWN = Act(
    doing=Doing.SLOW_DOWN,
    phase=Phase.BAKING,
    percent=TURNING_POINT,
    after_s=0.0,
    before=f"at {TURNING_POINT:g} % the candidate will become slow",
    after=f"every answer of the candidate now takes {SLOWER_BY_MS:g} ms longer; not one of them is an error",
)
_ABORT = Act(
    doing=Doing.ABORT,
    phase=Phase.BAKING,
    percent=TURNING_POINT,
    after_s=3.0,
    before="in the middle of this bake somebody will abort with the temporal command line",
    after="sent: temporal workflow signal --name abort",
)

GOOD: Final = Scenario("good", "a healthy release goes all the way, with one approval", (_APPROVE,), Phase.PROMOTED)
BAD: Final = Scenario(
    "bad", "it starts to fail at 25 %, gates roll it back", (_APPROVE, _BREAK), Phase.ROLLED_BACK, "errors"
)
SLOW: Final = Scenario("slow", "no error, but slow from 25 % on", (_APPROVE, _SLOW_DOWN), Phase.ROLLED_BACK, "latency")
ABORT: Final = Scenario("abort", "a person stops it with the temporal command line", (_APPROVE, _ABORT), Phase.ABORTED)
ALL: Final = (GOOD, BAD, SLOW, ABORT)


def chosen(name: str) -> tuple[Scenario, ...]:
    """Scenarios by the name given on the command line; none for an unknown one."""
    return ALL if name == "all" else tuple(scenario for scenario in ALL if scenario.name == name)


@dataclass(frozen=True)
class Script:
    """The spec that every scenario starts.

    Attributes:
        file: Where it was read.
        written: As in the file: what is sent to Temporal.
        spec: The same, understood.
        stages: Its rungs, lowest first.
    """

    file: Path
    written: dict[str, Any]
    spec: RolloutSpec
    stages: tuple[PlannedStage, ...]

    @property
    def most_to_zero_s(self) -> float:
        """Seconds from a breach that can be seen in the metrics to the proof of 0 %, at most."""
        return self.spec.policy.poll.total_seconds() + MOST_AFTER_POLL_S


def read_script(file: Path = SPEC_FILE) -> Script:
    """Read the spec.

    Raises:
        NoSpec: It is missing, not valid, or has no stage or gate with which the scenarios turn.
    """
    try:
        written = json.loads(file.read_text(encoding="utf-8"))
        spec = read_spec((written,))
    except OSError as error:
        raise NoSpec(f"{file} cannot be read ({error.strerror}); the demo runs in a clone of the repository") from error
    except ValueError as error:
        raise NoSpec(f"{file}: {error}") from error
    script = Script(file, written, spec, stages(spec))
    if TURNING_POINT not in {stage.percent for stage in script.stages}:
        raise NoSpec(f"{file} has no stage of {TURNING_POINT:g} %, where the demo's scenarios turn")
    if missing := [each.caught_by for each in ALL if each.caught_by and each.caught_by not in spec.gates]:
        raise NoSpec(f"{file} has no gate {missing[0]}, which ends one of the demo's scenarios")
    return script
