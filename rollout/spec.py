"""The spec: what a person writes to roll one release of one service out into one environment.

It names things and holds no address and no secret: whoever may start rollouts cannot point the worker's credentials
somewhere else. Cross-references are checked here, so a spec that parses can be planned.
"""

from datetime import datetime, timedelta
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from rollout.base import Name, Written
from rollout.durations import Duration, text
from rollout.gates import CountingGate, Gate, ProportionGate
from rollout.names import workflow_id
from rollout.routes import Route
from rollout.strategies import Stage, Strategy

Label = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=63)]


class Release(Written):
    """What is rolled out, and what it replaces."""

    candidate: str = Field(min_length=1, max_length=128, description="version to be rolled out")
    stable: str = Field(min_length=1, max_length=128, description="version serving before")
    commit: str | None = None
    committed_at: datetime | None = None


class Approvals(Written):
    """Who may approve at all."""

    people: tuple[Name, ...] = Field(default=(), description="groups from the worker's settings that stages may name")
    four_eyes: bool = Field(default=False, description="whoever started the rollout cannot approve it")


class NoData(Written):
    """What to do when health cannot be seen."""

    hold: Duration = Field(default=timedelta(minutes=5), description="how long to wait for data, bake clock stopped")
    then: Literal["rollback", "hold"] = "rollback"


def _not_too_often(poll: timedelta) -> timedelta:
    if poll < timedelta(seconds=1):
        msg = "polls must be at least 1s apart"
        raise ValueError(msg)
    return poll


class Policy(Written):
    """How careful and how patient the rollout is."""

    poll: Annotated[Duration, AfterValidator(_not_too_often)] = Field(
        default=timedelta(seconds=5), description="how often health and routes are read"
    )
    false_rollback: float = Field(
        default=0.01,
        gt=0,
        le=0.2,
        description="chance, over the whole rollout and all gates that count, to blame a healthy candidate",
    )
    undecided: Literal["advance", "extend", "hold"] = Field(
        default="advance", description="at a bake's end, when counts prove neither harm nor health"
    )
    no_data: NoData = NoData()
    drift: Literal["hold", "reassert"] = Field(
        default="hold", description="what to do when a route was changed by others"
    )
    max_duration: Duration = Field(default=timedelta(hours=24), description="after this the rollout goes back")
    prove_within: Duration = Field(
        default=timedelta(seconds=10), description="how long a router may take to show a write"
    )
    drain: Duration = Field(default=timedelta(seconds=30), description="how long in-flight requests may take to finish")
    alarm_after: Duration = Field(default=timedelta(minutes=1), description="a way back unproven for so long is Stuck")


class RolloutSpec(Written):
    """One rollout."""

    schema_: Literal[1] = Field(default=1, alias="schema")
    service: Label
    environment: Label
    release: Release
    strategy: Strategy = Strategy()
    routes: tuple[Route, ...] = Field(min_length=1, max_length=20)
    gates: dict[Name, Gate] = Field(default_factory=dict)
    approvals: Approvals = Approvals()
    policy: Policy = Policy()
    requested_by: str | None = Field(default=None, max_length=128, description="who starts it; needed for four eyes")

    @property
    def workflow_id(self) -> str:
        """The ID of this rollout's workflow, which is the service's lock."""
        return workflow_id(self.environment, self.service)

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        used = {name for name, gate in self.gates.items() if gate.standing and not gate.compares}
        for index, stage in enumerate(self.strategy.stages):
            where = f"strategy.stages[{index}] ({stage.title})"
            _refuse_unknown(f"{where}.gates", set(stage.gates or ()), set(self.gates), "gates")
            used |= set(self.gates_of(stage))
            if stage.approval:
                _refuse_unknown(
                    f"{where}.approval.from", set(stage.approval.from_), set(self.approvals.people), "approvals.people"
                )
            _refuse_short(where, stage, self.policy.poll, watched=bool(self.gates_of(stage)))
            _refuse_alone(where, stage, self.gates)
        if unused := sorted(set(self.gates) - used):
            msg = f"gates.{unused[0]} is watched by no stage: name it in a stage's `gates`, or set `standing: true`"
            if self.gates[unused[0]].compares:
                msg += " (at 100 % stable has no traffic to compare with)"
            raise ValueError(msg)
        for name, gate in self.gates.items():
            _refuse_counting(name, gate, self)
        places = [str(route) for route in self.routes]
        if twice := sorted({place for place in places if places.count(place) > 1}):
            msg = f"routes name {twice[0]} twice"
            raise ValueError(msg)
        return self

    def gates_of(self, stage: Stage) -> dict[str, Gate]:
        """The gates watched in a stage: its own plus the standing ones, in the spec's order.

        At 100 % stable has no traffic: a gate that compares could say nothing and is not watched.
        """
        own = set(self.gates if stage.gates is None else stage.gates)
        return {
            name: gate
            for name, gate in self.gates.items()
            if (gate.standing or name in own) and not (gate.compares and stage.percent == 100)
        }


def _refuse_unknown(where: str, named: set[str], known: set[str], source: str) -> None:
    if unknown := sorted(named - known):
        msg = f"{where}: {unknown[0]!r} is not one of {source}: {', '.join(sorted(known)) or 'none are defined'}"
        raise ValueError(msg)


def _refuse_alone(where: str, stage: Stage, gates: dict[str, Gate]) -> None:
    for name in stage.gates or ():
        if gates[name].compares and stage.percent == 100:
            msg = (
                f"{where}.gates: {name} compares the candidate with stable, which has no traffic at 100 %; leave it "
                "out here, or make this stage 99 % and add one at 100 %"
            )
            raise ValueError(msg)


RESERVED = ("drift", "split", "no-data")


def _refuse_counting(name: str, gate: Gate, spec: RolloutSpec) -> None:
    """Users who change sides, or counts that mean nothing before the bake is over."""
    if name in RESERVED:
        msg = f"gates.{name}: this name means something else to us; choose another"
        raise ValueError(msg)
    if not isinstance(gate, CountingGate):
        return
    if isinstance(gate, ProportionGate):
        loose = [str(route) for route in spec.routes if not route.sticky_users]
        if loose:
            msg = f"gates.{name} compares users, but {loose[0]} sends every request anew; set `sticky` on the route"
            raise ValueError(msg)
    for stage in spec.strategy.stages:
        if name in spec.gates_of(stage) and gate.waits and gate.waits >= stage.bake:
            field = "matures_in" if isinstance(gate, ProportionGate) else "warm_up"
            msg = (
                f"gates.{name}.{field}: {text(gate.waits)} is not shorter than the bake of {stage.title}, "
                f"{text(stage.bake)}: it could say nothing there"
            )
            raise ValueError(msg)


def _refuse_short(where: str, stage: Stage, poll: timedelta, *, watched: bool) -> None:
    if watched and stage.bake < 2 * poll:
        msg = f"{where}.bake: {text(stage.bake)} is shorter than two polls of {text(poll)}: it could see nothing"
        raise ValueError(msg)
