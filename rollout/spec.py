"""The spec: what a person writes to roll one release of one service out into one environment.

It names things and holds no address and no secret: whoever may start rollouts cannot point the worker's credentials
somewhere else. Cross-references are checked here, so a spec that parses can be planned.
"""

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from rollout.base import Name, Written
from rollout.durations import Duration, limited, text
from rollout.gates import CountingGate, Gate, ProportionGate, ThresholdGate, by_pods
from rollout.gates.variation import by_variation, variations
from rollout.mitigations import Mitigation, refuse_unfit
from rollout.names import workflow_id
from rollout.routes import AlbRoute, FlagRoute, ReplicasRoute, RollingUpdateRoute, Route
from rollout.strategies import CanaryStrategy, FlagStrategy, RollingStrategy, Rung, Strategy
from rollout.workloads import Workload

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
    ready_within: Annotated[Duration, limited(timedelta(seconds=10))] = Field(
        default=timedelta(minutes=2),
        description="how long the candidate's pods may take to become ready before a percent rises; then it is held",
    )
    drain: Duration = Field(default=timedelta(seconds=30), description="how long in-flight requests may take to finish")
    restore: Literal["capped", "immediate"] = Field(
        default="capped",
        description="capped: with a workload, stable gets back what its ready pods carry, for alarm_after at most",
    )
    alarm_after: Duration = Field(default=timedelta(minutes=1), description="a way back unproven for so long is Stuck")


class RolloutSpec(Written):
    """One rollout."""

    schema_: Literal[1] = Field(default=1, alias="schema")
    service: Label
    environment: Label
    release: Release
    strategy: Strategy = CanaryStrategy()
    routes: tuple[Route, ...] = Field(min_length=1, max_length=20)
    workload: Workload | None = Field(default=None, description="pods that follow the traffic; default: nobody's")
    gates: dict[Name, Gate] = Field(default_factory=dict)
    mitigations: tuple[Mitigation, ...] = Field(
        default=(), max_length=20, description="flags to turn off on a breach, before anything goes back; in order"
    )
    approvals: Approvals = Approvals()
    policy: Policy = Policy()
    requested_by: str | None = Field(default=None, max_length=128, description="who starts it; needed for four eyes")

    @property
    def workflow_id(self) -> str:
        """The ID of this rollout's workflow, which is the service's lock."""
        return workflow_id(self.environment, self.service)

    @model_validator(mode="before")
    @classmethod
    def _counts_variations(cls, written: Any) -> Any:  # noqa: ANN401 - raw input
        """Gates of a flag's ladder compare its variations, unless they say what else."""
        if not isinstance(written, dict):
            return written
        strategy, routes, gates = written.get("strategy"), written.get("routes"), written.get("gates")
        kind = strategy.get("kind") if isinstance(strategy, dict) else getattr(strategy, "kind", None)
        sides = variations(routes[0]) if isinstance(routes, list | tuple) and routes else None
        if kind != "flag" or not isinstance(gates, dict) or sides is None:
            return written
        return {**written, "gates": {name: by_variation(gate, *sides) for name, gate in gates.items()}}

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        used = {name for name, gate in self.gates.items() if gate.standing and not gate.compares}
        for index, stage in enumerate(self.strategy.stages):
            where = self.strategy.where(index)
            _refuse_unknown(f"{where}.gates", set(stage.gates or ()), set(self.gates), "gates")
            used |= set(self.gates_of(stage))
            if stage.approval:
                _refuse_unknown(
                    f"{where}.approval.from", set(stage.approval.from_), set(self.approvals.people), "approvals.people"
                )
            _refuse_short(where, stage, self.policy.poll, watched=bool(self.gates_of(stage)))
            _refuse_alone(where, stage, self.gates, replaced=self.replaces(stage))
        if unused := sorted(set(self.gates) - used):
            msg = f"gates.{unused[0]} is watched by no stage: name it in a stage's `gates`, or set `standing: true`"
            if self.gates[unused[0]].compares:
                msg += " (at 100 % stable has no traffic to compare with)"
            raise ValueError(msg)
        for name, gate in self.gates.items():
            _refuse_counting(name, gate, self)
        for route in self.routes:
            _refuse_clinging(route, self)
            _refuse_standing_still(route, self)
            _refuse_two_hands(route, self)
            _refuse_no_flag(route, self)
        _refuse_no_users(self)
        if isinstance(self.strategy, FlagStrategy) and self.strategy.experiment and self.mitigations:
            msg = "mitigations: an experiment changes nothing but its own flag while it runs; leave them out"
            raise ValueError(msg)
        refuse_unfit(self.mitigations, self.gates, self.routes, self.policy.poll)
        for name, gate in self.gates.items():
            _refuse_unknown_pods(name, gate, self)
        places = [str(route) for route in self.routes]
        if twice := sorted({place for place in places if places.count(place) > 1}):
            msg = f"routes name {twice[0]} twice"
            raise ValueError(msg)
        return self

    def gates_of(self, stage: Rung) -> dict[str, Gate]:
        """The gates watched in a stage: its own plus the standing ones, in the spec's order.

        At 100 % stable has no traffic: a gate that compares could say nothing and is not watched. At 0 % the candidate
        has none: only what asks by itself is watched, and what the stage names.
        """
        named, replaced = set(stage.gates or ()), self.replaces(stage)
        return {
            name: gate
            for name, gate in self.gates.items()
            if name in named or ((gate.standing or stage.gates is None) and (replaced or not _idle(gate, stage)))
        }

    def replaces(self, stage: Rung) -> bool:
        """Whether old pods are replaced by new ones in a stage, so that both have traffic though it is called 100 %."""
        return isinstance(self.strategy, RollingStrategy) and stage == self.strategy.stages[0]


def _refuse_unknown(where: str, named: set[str], known: set[str], source: str) -> None:
    if unknown := sorted(named - known):
        msg = f"{where}: {unknown[0]!r} is not one of {source}: {', '.join(sorted(known)) or 'none are defined'}"
        raise ValueError(msg)


def _idle(gate: Gate, stage: Rung) -> bool:
    """Whether a gate could say nothing at a stage, for want of traffic."""
    return gate.compares if stage.percent == 100 else stage.percent == 0 and gate.needs_traffic


def _refuse_alone(where: str, stage: Rung, gates: dict[str, Gate], *, replaced: bool) -> None:
    for name in stage.gates or ():
        if gates[name].compares and stage.percent == 100 and not replaced:
            msg = (
                f"{where}.gates: {name} compares the candidate with stable, which has no traffic at 100 %; leave it "
                "out here, or make this stage 99 % and add one at 100 %"
            )
            raise ValueError(msg)
        if gates[name].compares and stage.percent == 0:
            msg = f"{where}.gates: {name} compares stable with the candidate, which has no traffic at 0 %; leave it out"
            raise ValueError(msg)


def _refuse_clinging(route: Route, spec: RolloutSpec) -> None:
    """Users whom a cookie of the load balancer keeps on stable for longer than a bake never meet its percent."""
    if not isinstance(route, AlbRoute) or route.sticky is None:
        return
    shortest = min(spec.strategy.stages, key=lambda stage: stage.bake)
    if route.sticky.ttl > shortest.bake:
        msg = (
            f"{route}: users stay on a target group for {text(route.sticky.ttl)}, longer than the bake of "
            f"{shortest.title}, {text(shortest.bake)}: whoever is on stable would not be seen; shorten `sticky.ttl`"
        )
        raise ValueError(msg)


def _refuse_standing_still(route: Route, spec: RolloutSpec) -> None:
    """A strategy that replaces pods, on a route that splits traffic."""
    rolls = isinstance(spec.strategy, RollingStrategy)
    if rolls and not route.in_place:
        msg = f"strategy rolling replaces pods in place, and {route} splits traffic; use a route of kind rolling-update"
        raise ValueError(msg)


def _refuse_no_flag(route: Route, spec: RolloutSpec) -> None:
    """A strategy that moves a flag, on a route that is none; or a flag that is moved by one that moves traffic."""
    if isinstance(spec.strategy, FlagStrategy):
        if spec.workload is not None:
            msg = "workload: strategy flag moves no traffic between pods; leave `workload` out"
            raise ValueError(msg)
        misplaced = None if isinstance(route, FlagRoute) else "is no flag; use strategy canary for it"
    else:
        fits = isinstance(spec.strategy, CanaryStrategy) or not isinstance(route, FlagRoute)
        misplaced = None if fits else "is a flag; use strategy flag for it"
    if misplaced is not None:
        msg = f"strategy {spec.strategy.kind} and {route} do not go together: it {misplaced}"
        raise ValueError(msg)


def _refuse_no_users(spec: RolloutSpec) -> None:
    """An experiment whose users are counted by something else than a gate whose trials could be users."""
    users = spec.strategy.users if isinstance(spec.strategy, FlagStrategy) else None
    if users is not None and not isinstance(spec.gates.get(users), ProportionGate):
        msg = f"strategy.users: {users!r} is no gate of kind proportion; name one whose trials are users"
        raise ValueError(msg)


def _refuse_two_hands(route: Route, spec: RolloutSpec) -> None:
    """Two adapters that would decide the number of the same pods, and keep their marks in the same place."""
    if spec.workload is not None and isinstance(route, ReplicasRoute | RollingUpdateRoute):
        msg = f"workload: {route} decides the number of pods by itself; leave `workload` out"
        raise ValueError(msg)


def _refuse_unknown_pods(name: str, gate: Gate, spec: RolloutSpec) -> None:
    """A gate that wants to know the pods' hashes where no route tells them."""
    if isinstance(gate, ThresholdGate) and gate.versions.by == "pods":
        msg = (
            f"gates.{name}.versions.by: pods: a threshold's query cannot name hashes that nobody knows yet; use a gate "
        )
        raise ValueError(msg + "that counts, such as error-ratio")
    if by_pods(gate) and not any(isinstance(route, RollingUpdateRoute) for route in spec.routes):
        msg = (
            f"gates.{name}.versions.by: pods: only a route of kind rolling-update tells the hashes of old and new pods"
        )
        raise ValueError(msg)


RESERVED = ("drift", "split", "no-data", "sample-ratio")


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


def _refuse_short(where: str, stage: Rung, poll: timedelta, *, watched: bool) -> None:
    if watched and stage.bake < 2 * poll:
        msg = f"{where}.bake: {text(stage.bake)} is shorter than two polls of {text(poll)}: it could see nothing"
        raise ValueError(msg)
