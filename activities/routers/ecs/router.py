"""ECS: two services, each behind its own target group of one rule.

The rule is another router's business (`alb`), handed over ready made; this one sees to it that tasks are there before
traffic is. Letting ECS move the rule itself (its own canary, linear and blue/green deployments) was rejected: it knows
equal steps or two steps, not 5/25/50/100, and judges by CloudWatch alarms alone.

Only a raise looks at ECS. The way back moves the rule at once, and neither waits for ECS nor asks it anything; the
candidate's tasks then run on without traffic until somebody scales them down.
"""

import asyncio

from activities.aws import AwsClients, Json, code_of
from activities.finishing import finished
from activities.ports import Pool, Router, RouteState, Write
from activities.routers.ecs.services import Service, needed, next_step, services, waiting
from rollout.errors import Misconfigured, NotReady, RouterUnreachable, SluiceError
from rollout.routes import EcsRoute

_LOOK_S = 1.0  # the most that a look at ECS may cost who only wants to know what the rule does


class EcsRouter:
    """One rule in front of two services."""

    def __init__(self, route: EcsRoute, aws: AwsClients, rule: Router) -> None:
        """Take the route, the region's clients, and the router of the rule."""
        self._route, self._aws, self._rule = route, aws, rule
        self._names: dict[Pool, str] = {"candidate": route.candidate_service, "stable": route.stable_service}

    async def read(self) -> RouteState:
        """See `ports.Router.read`.

        What ECS says is for those who want to raise: without its answer the rule is read all the same, and the
        candidate counts as not able to take traffic.
        """
        remember_s = self._aws.connection.remember.total_seconds()
        state, known = await asyncio.gather(self._rule.read(), self._known(remember_s))
        if isinstance(known, SluiceError):
            problem: str | None = str(known)
            healthy: dict[Pool, int] = {**state.healthy, "candidate": 0}
        else:
            found = {pool: known.get(name) for pool, name in self._names.items()}
            problem = self._problem(known) or self._idle(known)
            healthy = {
                pool: count if service.running else 0
                for pool, count in state.healthy.items()
                if (service := found[pool]) is not None
            }
            told = ", ".join(service.tasks for service in found.values() if service)
            state = state.model_copy(update={"proof": f"{state.proof}; {told}" if state.proof else ""})
        if state.owner:
            problem = None  # it speaks against starting; a rollout that runs meets it at its next raise
        return state.model_copy(update={"healthy": healthy, "problem": state.problem or problem})

    async def write(self, write: Write) -> None:
        """See `ports.Router.write`.

        Raises:
            NotReady: the candidate's service has not enough running tasks yet; it was scaled up if need be.
            Misconfigured: a service is missing, or is deployed by somebody who moves the rule himself.
        """
        if write.percent > 0 and await self._raises(write):  # the way back asks nothing first
            await self._make_room(write.percent)
        await self._rule.write(write)

    async def in_flight(self, pool: Pool) -> int | None:
        """See `ports.Router.in_flight`."""
        return await self._rule.in_flight(pool)

    async def _raises(self, write: Write) -> bool:
        """Whether the write raises the percent; one that the rule's router will refuse scales nothing."""
        state = await self._rule.read()
        refused = (
            state.epoch > write.epoch or state.owner not in {None, write.owner} or len(state.healthy) < len(self._names)
        )
        return not refused and write.percent > state.percent

    async def _make_room(self, percent: float) -> None:
        async with self._aws.alone(("ecs", self._route.cluster, self._route.candidate_service)):
            known = await self._services(within_s=0)
            if problem := self._problem(known):
                raise Misconfigured(f"{self._route}: {problem}; nothing was written")
            candidate, stable = (known[name] for name in self._names.values())
            tasks = needed(percent, stable, self._route.min_healthy)
            step = next_step(candidate, stable, tasks)
            if step == "go":
                return
            if step == "scale":
                names: Json = {"cluster": self._route.cluster, "service": candidate.name}
                await finished(self._aws.call("ecs", "update_service", **names, desiredCount=tasks))
        raise NotReady(f"{self._route}: {waiting(candidate, stable, percent, tasks)}; the rule is as it was")

    async def _known(self, within_s: float) -> dict[str, Service] | SluiceError:
        """Both services, or why ECS does not tell; soon, because a proof of the rule must not wait for ECS."""
        try:
            async with asyncio.timeout(_LOOK_S):
                return await self._services(within_s)
        except SluiceError as error:
            return error
        except TimeoutError:
            return RouterUnreachable(f"{self._route}: ecs DescribeServices was not answered within {_LOOK_S:g} s")

    async def _services(self, within_s: float) -> dict[str, Service]:
        """Both services by name, those that exist."""
        names: Json = {"cluster": self._route.cluster, "services": list(self._names.values())}
        try:
            return services(await self._aws.recent("ecs", "describe_services", within_s=within_s, **names))
        except Misconfigured as error:
            if code_of(error) != "ClusterNotFoundException":
                raise
            where = f"ECS in {self._aws.connection.region}"
            raise Misconfigured(f"{self._route}: {where} has no cluster {self._route.cluster}") from error

    def _problem(self, known: dict[str, Service]) -> str | None:
        """Why these services cannot be used; None if they can."""
        for pool, name in self._names.items():
            if name not in known:
                return (
                    f"cluster {self._route.cluster} has no active service {name} ({pool}); create it, or name another"
                )
        return next((problem for service in known.values() if (problem := service.unusable())), None)

    def _idle(self, known: dict[str, Service]) -> str | None:
        """Why a rollout cannot start although the services are as they should be; None if it can."""
        for pool, name in self._names.items():
            if known[name].running == 0:
                return f"service {name} ({pool}) runs no task: let at least one run, so that it can be looked at first"
        return None
