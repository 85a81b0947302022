"""What the demo plays: short stories about a few specs, and how each must end.

A scenario is data: the moments at which somebody does something, and the end that is promised. The specs are examples
that people copy, read from their files, so what the demo shows is what a plain `temporal workflow start` does with it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from rollout.complaints import read_spec
from rollout.happened import Phase
from rollout.plan import PlannedStage, stages
from rollout.spec import RolloutSpec
from testbed.edge import CLUSTERS
from testbed.kubernetes.edge import CANDIDATE_IMAGE
from testbed.parts import REPOSITORY

CANARY_FILE: Final = REPOSITORY / "examples" / "checkout.json"
BLUE_GREEN_FILE: Final = REPOSITORY / "examples" / "checkout-blue-green.json"
FLAG_FILE: Final = REPOSITORY / "examples" / "checkout-flag.json"
ROLLING_FILE: Final = REPOSITORY / "examples" / "checkout-rolling.json"
ROLLING: Final = "rolling-update"
FAILING_SHARE: Final = 0.10
SLOWER_BY_MS: Final = 400.0  # the limit of the gate `latency` is 300 ms
TURNING_POINT: Final = 25.0  # percent at which things go wrong in the scenarios that do not end well
MOST_EVENTS: Final = 120
MOST_EVENTS_WITH_FLAG: Final = 150  # a flag that is switched, the watch after it, a hold and somebody's word
MOST_AFTER_POLL_S: Final = 2.0
MOST_FOR_PODS_S: Final = 15.0  # Kubernetes may have to bring old pods back first: one wave, `minReadySeconds` of it


class NoSpec(RuntimeError):
    """The example spec is missing or no longer fits the demo; the message says why."""


class Doing(StrEnum):
    """What somebody can do to a rollout in the demo."""

    APPROVE = "approve"
    BREAK = "break"
    SLOW_DOWN = "slow-down"
    ABORT = "abort"
    BREAK_FEATURE = "break-feature"
    RESUME = "resume"


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
        file: The spec that is started.
        turns_at: Percent at which things go wrong, where they do.
        route: What of the spec's route is another.
        most_events: Events of its history, at most.
        spares: Whether a flag that is turned off must be enough: what fails is a feature, and the release stays.
    """

    name: str
    title: str
    acts: tuple[Act, ...]
    outcome: Phase
    caught_by: str | None = None
    file: Path = CANARY_FILE
    turns_at: float = TURNING_POINT
    route: Mapping[str, str] = field(default_factory=dict)
    most_events: int = MOST_EVENTS
    spares: bool = False

    @property
    def rolls(self) -> bool:
        """Whether it is about pods that are replaced in place, not about traffic that is split."""
        return self.file == ROLLING_FILE

    @property
    def turns(self) -> bool:
        """Whether something goes wrong in it."""
        return self.outcome is not Phase.PROMOTED or self.spares

    def fits(self, router: str) -> bool:
        """Whether it makes sense on a router; what a flag does is the same on all of them, so clusters are left out."""
        return self.rolls == (router == ROLLING) and not (self.spares and router in CLUSTERS)

    def percents(self, planned: tuple[PlannedStage, ...]) -> tuple[float, ...]:
        """Percents that must be proven, in order, ending with 0 when the traffic has to come back."""
        ladder = tuple(percent for percent, _ in groupby(stage.percent for stage in planned))
        if self.outcome is Phase.PROMOTED:
            return ladder
        return (*(percent for percent in ladder if percent <= self.turns_at), 0.0)


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
_BREAK_FEATURE = replace(
    _BREAK,
    doing=Doing.BREAK_FEATURE,
    before=f"the candidate's new feature is on for everybody; at {TURNING_POINT:g} % it will start to fail",
    after=f"the new feature now fails {FAILING_SHARE * 100:g} % of the candidate's requests; only the gates look",
)
_RESUME = Act(
    doing=Doing.RESUME,
    phase=Phase.HELD,
    percent=TURNING_POINT,
    after_s=3.0,
    before="the feature is off, the release stays: it waits for a person",
    after="ana has seen it and resumed: the release goes on without the feature",
)

GOOD: Final = Scenario("good", "a healthy release goes all the way, with one approval", (_APPROVE,), Phase.PROMOTED)
BAD: Final = Scenario(
    "bad", "it starts to fail at 25 %, gates roll it back", (_APPROVE, _BREAK), Phase.ROLLED_BACK, "errors"
)
SLOW: Final = Scenario("slow", "no error, but slow from 25 % on", (_APPROVE, _SLOW_DOWN), Phase.ROLLED_BACK, "latency")
ABORT: Final = Scenario("abort", "a person stops it with the temporal command line", (_APPROVE, _ABORT), Phase.ABORTED)
FLAG: Final = Scenario(
    "flag",
    "a feature fails: it goes, the release stays",
    (_BREAK_FEATURE, _RESUME),
    Phase.PROMOTED,
    "errors",
    FLAG_FILE,
    most_events=MOST_EVENTS_WITH_FLAG,
    spares=True,
)
BLUE_GREEN: Final = Scenario(
    "blue-green",
    "a look at 0 %, an approval, then everything at once",
    (_APPROVE,),
    Phase.PROMOTED,
    file=BLUE_GREEN_FILE,
)
FLIP_BACK: Final = Scenario(
    "flip-back",
    "it fails after the switch and is flipped back, the old colour being warm",
    (_APPROVE, replace(_BREAK, percent=100.0, before="after the switch the candidate will start to fail")),
    Phase.ROLLED_BACK,
    "fast-5xx",
    BLUE_GREEN_FILE,
    100.0,
)
ROLLED: Final = Scenario(
    "rolling", "a Deployment replaces its pods, all of them healthy", (), Phase.PROMOTED, file=ROLLING_FILE
)
ROLLING_BAD: Final = Scenario(
    "rolling-bad",
    "new pods fail while old ones are still there, and are taken away again",
    (replace(_BREAK, percent=100.0, before="the first new pods will start to fail"),),
    Phase.ROLLED_BACK,
    "errors",
    ROLLING_FILE,
    100.0,
)
NEVER_READY: Final = Scenario(
    "never-ready",
    "new pods never become ready; Kubernetes gives up, Sluice puts the old template back",
    (),
    Phase.ROLLED_BACK,
    file=ROLLING_FILE,
    turns_at=100.0,
    route={"image": f"{CANDIDATE_IMAGE}-broken"},
)
ALL: Final = (GOOD, BAD, SLOW, ABORT, FLAG, BLUE_GREEN, FLIP_BACK, ROLLED, ROLLING_BAD, NEVER_READY)


def fitting(router: str) -> tuple[Scenario, ...]:
    """Scenarios that make sense on a router."""
    return tuple(scenario for scenario in ALL if scenario.fits(router))


def chosen(name: str, router: str) -> tuple[Scenario, ...]:
    """Scenarios by the name given on the command line; none for an unknown one, or one that does not fit the router."""
    return tuple(scenario for scenario in fitting(router) if name in {"all", scenario.name})


@dataclass(frozen=True)
class Script:
    """The spec that a scenario starts.

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
        pods_s = MOST_FOR_PODS_S if any(stage.rolls for stage in self.stages) else 0.0
        return self.spec.policy.poll.total_seconds() + MOST_AFTER_POLL_S + pods_s

    @property
    def flag(self) -> str | None:
        """Key of the flag that a breach would turn off, None without one."""
        return next((each.flag.key for each in self.spec.mitigations), None)

    def on(self, route: dict[str, Any], workload: dict[str, Any] | None = None) -> "Script":
        """The same on another route; what asks through the forced header says what that route wants to hear.

        Args:
            route: As in a spec.
            workload: Pods that follow the traffic, if any do.
        """
        written = self.written | {"routes": [route]} | ({"workload": workload} if workload else {})
        forced = route.get("header")
        if forced:
            written["gates"] = {name: _asking(gate, forced) for name, gate in self.written["gates"].items()}
        return replace(self, **_understood(written))

    def sent(self, directory: Path) -> Path:
        """A file with what is sent to Temporal: its own, or one in the directory where the route is another."""
        if json.loads(self.file.read_text(encoding="utf-8")) == self.written:
            return self.file
        file = directory / self.file.name
        file.write_text(json.dumps(self.written, indent=2), encoding="utf-8")
        return file


def _asking(gate: dict[str, Any], forced: dict[str, str]) -> dict[str, Any]:
    if gate.get("header", {}).get("name") != forced["name"]:
        return gate
    return gate | {"header": {"name": forced["name"], "value": forced["candidate"]}}


def _understood(written: dict[str, Any]) -> dict[str, Any]:
    spec = read_spec((written,))
    return {"written": written, "spec": spec, "stages": stages(spec)}


def read_script(file: Path = CANARY_FILE) -> Script:
    """Read a spec.

    Raises:
        NoSpec: It is missing, not valid, or has no stage or gate with which the scenarios turn.
    """
    try:
        script = Script(file, **_understood(json.loads(file.read_text(encoding="utf-8"))))
    except OSError as error:
        raise NoSpec(f"{file} cannot be read ({error.strerror}); the demo runs in a clone of the repository") from error
    except ValueError as error:
        raise NoSpec(f"{file}: {error}") from error
    played = [each for each in ALL if each.file.name == file.name]
    percents = {stage.percent for stage in script.stages}
    if nowhere := [each.turns_at for each in played if each.turns and each.turns_at not in percents]:
        raise NoSpec(f"{file} has no stage of {nowhere[0]:g} %, where the demo's scenarios turn")
    if missing := [each.caught_by for each in played if each.caught_by and each.caught_by not in script.spec.gates]:
        raise NoSpec(f"{file} has no gate {missing[0]}, which ends one of the demo's scenarios")
    if script.flag is None and any(each.spares for each in played):
        raise NoSpec(f"{file} names no flag in mitigations, which one of the demo's scenarios turns off")
    return script
