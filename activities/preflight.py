"""Preflight: read everything a rollout will need, write nothing, refuse with all reasons at once."""

import asyncio
import time

from temporalio import activity

from activities.ports import Connections, RouteState
from rollout import names
from rollout.errors import Misconfigured
from rollout.gates import Gate
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
        gates = await asyncio.gather(*(self._gate(name, gate) for name, gate in spec.gates.items()))
        people, strangers = self._people(spec)
        facts = Facts(
            routes=tuple(routes),
            people=people,
            started_by=spec.requested_by or await _starter(),
            problems=(*(problem for problem, _ in gates if problem), *strangers),
            notes=tuple(note for _, note in gates if note),
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

    async def _gate(self, name: str, gate: Gate) -> tuple[str | None, str | None]:
        """A reason to refuse, and a remark, about one gate."""
        now_ms = time.time_ns() // 1_000_000
        try:
            source = self._connections.metrics(gate.connection)
            answers = await source.evaluate(gate.query, now_ms, now_ms, 1000)
            unknown = await source.missing(metric_names(gate.query))
        except Misconfigured as error:
            return f"gate {name}: {error}", None
        if unknown:
            return (
                f"gate {name}: no series is named {', '.join(unknown)}; a misspelt metric would never see anything",
                None,
            )
        bad = [value for vector in answers.values() for value in vector.values() if gate.is_bad(value)]
        if bad:
            return None, f"gate {name} is beyond its limit before anything has moved: {bad[0]:.4g}, limit {gate.limit}"
        quiet = not any(answers.values())
        return None, f"gate {name} answers nothing yet; its bake clock waits for data" if quiet else None

    def _people(self, spec: RolloutSpec) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
        known, unknown = {}, []
        for group in spec.approvals.people:
            try:
                known[group] = self._connections.people(group)
            except Misconfigured as error:
                unknown.append(f"approvals.people: {error}")
        return known, tuple(unknown)


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
