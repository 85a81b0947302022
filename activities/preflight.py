"""Preflight: read everything a rollout will need, write nothing, refuse with all reasons at once."""

import asyncio
import time
from typing import assert_never

from temporalio import activity

from activities import canary
from activities.asking import now
from activities.learning import Learnt, learn
from activities.ports import Connections, RouteState
from rollout import names
from rollout.errors import Misconfigured
from rollout.gates import AlertGate, CeilingGate, CountingGate, KayentaGate, ProbeGate, ThresholdGate, WebGate
from rollout.judge import alert
from rollout.judge.bets import LEAST_STABLE
from rollout.judge.labels import parsed
from rollout.judge.threshold import Tick, Vector
from rollout.messages import PlanRollout
from rollout.plan import Facts, Plan, RouteFact, plan
from rollout.queries import metric_names
from rollout.routes import Route
from rollout.spec import RolloutSpec


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
        routes = await asyncio.gather(*(self._route(route) for route in spec.routes))
        gates = dict(
            zip(spec.gates, await asyncio.gather(*(self._gate(spec, name) for name in spec.gates)), strict=True)
        )
        people, strangers = self._people(spec)
        facts = Facts(
            routes=tuple(routes),
            people=people,
            started_by=spec.requested_by or await _starter(),
            problems=(*(f"gate {name}: {found.problem}" for name, found in gates.items() if found.problem), *strangers),
            notes=tuple(f"gate {name}: {note}" for name, found in gates.items() for note in found.notes),
            judged={name: gates[name].judged for name, gate in spec.gates.items() if isinstance(gate, CountingGate)},
        )
        return plan(spec, facts, owner=order.owner)

    async def _route(self, route: Route) -> RouteFact:
        try:
            state = await self._connections.router(route).read()
        except Misconfigured as error:
            return RouteFact(route=str(route), problem=str(error))
        return RouteFact(
            route=str(route),
            percent=state.percent,
            epoch=state.epoch,
            owner=state.owner,
            problem=_unfit(route, state),
        )

    async def _gate(self, spec: RolloutSpec, name: str) -> Learnt:
        """What is known about one gate: how it is judged, a reason to refuse, remarks."""
        now_ms = time.time_ns() // 1_000_000
        try:
            match spec.gates[name]:
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


def _unfit(route: Route, state: RouteState) -> str | None:
    """Why a readable route cannot be used."""
    if state.problem:
        return state.problem
    pools = {"candidate": route.candidate_pool, "stable": route.stable_pool}
    for pool, called in pools.items():
        healthy = {str(name): count for name, count in state.healthy.items()}.get(pool)
        if healthy is None:
            return f"the router knows no pool {called!r} ({pool})"
        if healthy == 0:
            return f"the {pool} pool {called!r} has no healthy member"
    return None


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
