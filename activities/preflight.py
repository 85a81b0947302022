"""Preflight: read everything a rollout will need, write nothing, refuse with all reasons at once."""

import asyncio
import time
from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import NamedTuple, assert_never

from temporalio import activity

from activities import canary
from activities.asking import now
from activities.learning import Learnt, learn
from activities.mitigation import switchable
from activities.ports import Connections, FlagState, Pool, RouteState
from rollout import names
from rollout.base import percent_text
from rollout.durations import text
from rollout.errors import Misconfigured, NotPermitted
from rollout.gates import (
    AlertGate,
    CeilingGate,
    CountingGate,
    KayentaGate,
    ProbeGate,
    ThresholdGate,
    WebGate,
    by_pods,
    with_sides,
)
from rollout.judge import alert
from rollout.judge.bets import LEAST_STABLE
from rollout.judge.labels import parsed
from rollout.judge.threshold import Tick, Vector
from rollout.messages import PlanRollout
from rollout.plan import Facts, Plan, RouteFact, plan
from rollout.queries import metric_names
from rollout.routes import Route
from rollout.spec import RolloutSpec

SETTLES_WITHIN_S, LOOK_AGAIN_S = 3.0, 0.25
MOST_SETTLING_S = 60.0  # what `workflows/steps.py` gives a flag for reaching every application


class _Look(NamedTuple):
    """What is known about a route, a remark, and what it calls the pods of each pool."""

    fact: RouteFact
    note: str | None = None
    sides: Mapping[Pool, str] = MappingProxyType({})


class _Pods(NamedTuple):
    """What is known about the pods that follow the traffic, which carry a mark as routes do; and remarks."""

    fact: tuple[RouteFact, ...] = ()
    notes: tuple[str, ...] = ()


class PreflightActivities:
    """The look before the leap."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    @activity.defn(name=names.PLAN_ROLLOUT)
    async def plan_rollout(self, order: PlanRollout) -> Plan:
        """Make the plan.

        Raises:
            Refused: with every reason.
            MetricsUnavailable: a metrics server does not answer; worth trying again.
        """
        spec = order.spec
        looks = await asyncio.gather(*(self._route(route, spec) for route in spec.routes))
        sides = {pool: told for look in looks for pool, told in look.sides.items()}
        learnt = await asyncio.gather(*(self._gate(spec, name, sides.get("stable")) for name in spec.gates))
        gates = dict(zip(spec.gates, learnt, strict=True))
        people, strangers = self._people(spec)
        pods = await self._pods(spec)
        flags = await switchable(self._connections, spec.mitigations)
        facts = Facts(
            routes=(*(look.fact for look in looks), *pods.fact),
            people=people,
            started_by=spec.requested_by or await _starter(),
            problems=(
                *(f"gate {name}: {found.problem}" for name, found in gates.items() if found.problem),
                *strangers,
                *flags.problems,
            ),
            notes=(
                *(look.note for look in looks if look.note),
                *pods.notes,
                *flags.notes,
                *(f"gate {name}: {note}" for name, found in gates.items() for note in found.notes),
            ),
            judged={name: gates[name].judged for name, gate in spec.gates.items() if isinstance(gate, CountingGate)},
        )
        return plan(spec, facts, owner=order.owner)

    async def _route(self, route: Route, spec: RolloutSpec) -> _Look:
        """What is known about one route."""
        try:
            state = await self._settled(route)
        except (Misconfigured, NotPermitted) as error:
            return _Look(RouteFact(route=str(route), problem=str(error)))
        fact = RouteFact(
            route=str(route),
            percent=state.percent,
            epoch=state.epoch,
            owner=state.owner,
            problem=_unfit(route, state, brings_pods=spec.workload is not None)
            or _too_coarse(spec, state)
            or _too_slow(spec, state),
        )
        return _Look(fact, _undrained(route, spec, state), state.sides)

    async def _settled(self, route: Route) -> RouteState:
        """A route as it is, looked at again for a moment if anything is wrong: it may have been applied just now."""
        until = time.monotonic() + SETTLES_WITHIN_S
        while True:
            state = await self._connections.router(route).read()
            if state.problem is None or time.monotonic() >= until:
                return state
            await asyncio.sleep(LOOK_AGAIN_S)

    async def _pods(self, spec: RolloutSpec) -> _Pods:
        """What is known about the pods that follow the traffic."""
        if spec.workload is None:
            return _Pods()
        try:
            capacity = await self._connections.workload(spec.workload).capacity()
        except (Misconfigured, NotPermitted) as error:
            return _Pods((RouteFact(route=str(spec.workload), problem=str(error)),))
        nobody = None if capacity.stable_ready else "stable has no ready pod, so nobody could be brought back to it"
        fact = RouteFact(
            route=str(spec.workload), percent=0, epoch=capacity.epoch, owner=capacity.owner, problem=nobody
        )
        return _Pods((fact,), tuple(f"{spec.workload}: {note}" for note in capacity.notes))

    async def _gate(self, spec: RolloutSpec, name: str, old_pods: str | None) -> Learnt:
        """What is known about one gate: how it is judged, a reason to refuse, remarks.

        Args:
            spec: what was asked for.
            name: the gate.
            old_pods: hash of the pods that will be replaced, if any will; new ones have none yet.
        """
        now_ms = time.time_ns() // 1_000_000
        asked = spec.gates[name]
        if by_pods(asked):
            if old_pods is None:
                return Learnt(problem="its route does not tell the hash of the pods that run now")
            asked = with_sides(asked, {"stable": old_pods, "candidate": "not known yet"})
        try:
            match asked:
                case CountingGate() as gate:
                    return await learn(self._connections, spec, name, gate, now_ms)
                case ThresholdGate() | CeilingGate() as gate:
                    return await self._rule(gate, now_ms)
                case KayentaGate() as gate:
                    return await canary.look(self._connections, spec, name, gate, now_ms)
                case AlertGate() as gate:
                    rules = await self._connections.metrics(gate.connection).alerts()
                    told = alert.judged(gate, rules, now_ms)
                    unusable = None if told.vector else told.said
                    return Learnt(problem=alert.firing_before(gate, rules, now_ms) or unusable)
                case ProbeGate() | WebGate() as gate:
                    return _first_answer(gate, await now(self._connections, gate, now_ms))
                case _ as never:
                    assert_never(never)
        except Misconfigured as error:
            return Learnt(problem=str(error))

    async def _rule(self, gate: ThresholdGate | CeilingGate, now_ms: int) -> Learnt:
        source = self._connections.metrics(gate.connection)
        answers = await asyncio.gather(*(source.evaluate(query, now_ms, now_ms, 1000) for query in gate.queries))
        named = {name for query in gate.queries for name in metric_names(query)}
        if unknown := await source.missing(tuple(sorted(named))):
            return Learnt(
                problem=f"no series is named {', '.join(unknown)}; a misspelt metric would never see anything"
            )
        values = [value for vector in answers[0].values() for value in vector.values()]
        if isinstance(gate, CeilingGate) and gate.worse_than is not None:
            return _comparable(gate, next(iter(answers[0].values()), {}))
        if bad := [value for value in values if gate.is_bad(value)]:
            return Learnt(notes=(f"beyond its limit before anything has moved: {bad[0]:.4g}, limit {gate.limit}",))
        return Learnt() if values else Learnt(notes=("answers nothing yet; its bake clock waits for data",))

    def _people(self, spec: RolloutSpec) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
        known, unknown = {}, []
        for group in spec.approvals.people:
            try:
                known[group] = self._connections.people(group)
            except Misconfigured as error:
                unknown.append(f"approvals.people: {error}")
        return known, tuple(unknown)


def _comparable(gate: CeilingGate, vector: Vector) -> Learnt:
    """Whether stable has pods enough to be compared with; the candidate's may still be to come."""
    sides = gate.versions
    stable = sum(1 for pod in vector if parsed(pod).get(sides.label) == sides.stable)
    if stable >= LEAST_STABLE:
        return Learnt()
    few = f'{stable} of stable\'s pods answer ({sides.label}="{sides.stable}"), {LEAST_STABLE} are needed to compare'
    return Learnt(problem=few)


def _first_answer(gate: ProbeGate | WebGate, told: Tick) -> Learnt:
    """A probe may fail before the traffic moves; what cannot be read stops the bake clock later, not the start."""
    if not told.vector:
        return Learnt(notes=(f"{told.said}; its bake clock waits for data",))
    bad = any(gate.is_bad(value) for value in told.vector.values())
    return Learnt(notes=(f"beyond its limit before anything has moved: {told.said}",)) if bad else Learnt()


def _unfit(route: Route, state: RouteState, *, brings_pods: bool) -> str | None:
    """Why a readable route cannot be used; a workload gives the candidate its pods before each raise."""
    if state.problem:
        return state.problem
    if isinstance(state, FlagState) and (locked := state.locked or _too_lazy(state)):
        return locked
    pools = {"candidate": route.candidate_pool, "stable": route.stable_pool}
    for pool, called in pools.items():
        healthy = {str(name): count for name, count in state.healthy.items()}.get(pool)
        if healthy is None:
            return f"the router knows no pool {called!r} ({pool})"
        if healthy == 0 and not route.in_place and not (brings_pods and pool == "candidate"):
            return f"the {pool} pool {called!r} has no healthy member"
    return None


def _too_lazy(state: FlagState) -> str | None:
    """Why nobody could say when applications have a change."""
    if state.settles_after_s <= MOST_SETTLING_S:
        return None
    return (
        f"applications ask for changes every {state.settles_after_s:g} s; at most {MOST_SETTLING_S:g} s are waited for"
    )


def _too_coarse(spec: RolloutSpec, state: RouteState) -> str | None:
    """Why a route cannot take a stage's percent, as it is now."""
    for stage in spec.strategy.stages:
        smaller = min(stage.percent, 100 - stage.percent)
        if 0 < smaller < state.finest:
            finest, wanted = percent_text(state.finest), percent_text(smaller)
            return f"it can send no less than {finest} to either pool, stage {stage.title} wants {wanted}"
    return None


def _too_slow(spec: RolloutSpec, state: RouteState) -> str | None:
    """Why a write could never be proven in the time that it gets."""
    if spec.policy.prove_within.total_seconds() > state.proves_after_s:
        return None
    needs = f"{state.proves_after_s:g} s"
    return f"it can prove a write {needs} after it at the earliest; make policy.prove_within longer than that"


def _undrained(route: Route, spec: RolloutSpec, state: RouteState) -> str | None:
    """What an operator should know about the end of the rollout."""
    if spec.policy.drain.total_seconds() >= state.drains_after_s:
        return None
    given, needs = text(spec.policy.drain), text(timedelta(seconds=state.drains_after_s))
    known = f"{route}: whether a pool has drained is known after {needs}"
    return f"{known}, policy.drain is {given}: it will not be waited for"


async def _starter() -> str | None:
    """Who started the workflow, as the server recorded it: the user part of the client's identity."""
    info = activity.info()
    if info.workflow_id is None:
        return None
    handle = activity.client().get_workflow_handle(info.workflow_id, run_id=info.workflow_run_id)
    async for event in handle.fetch_history_events(page_size=1):
        identity = event.workflow_execution_started_event_attributes.identity
        return identity.removeprefix("temporal-cli:").split("@")[0] or None
    return None
