"""ECS services: running tasks follow the desired count after a while, and so do the targets of their load balancers.

moto keeps a service and never runs a task of it. Here a task is an address of a private network, registered with the
service's target groups while it runs. Deployments of ECS's own (canary, linear, blue/green) are shown as configured
and never carried out.
"""

from __future__ import annotations

import asyncio
import zlib
from typing import TYPE_CHECKING, Any, Final

from testbed.aws.wire import Refusal

if TYPE_CHECKING:
    from testbed.aws.account import Account, Target
    from testbed.aws.elbv2 import LoadBalancing
    from testbed.aws.faults import Injector
    from testbed.aws.moto import Moto
    from testbed.aws.wire import Call, Params

MAX_DESCRIBED: Final = 10
_WRITES: Final = ("CreateService", "UpdateService", "DeleteService")


class Services:
    """Answers the operations of ecs."""

    def __init__(self, moto: Moto, account: Account, injector: Injector, balancing: LoadBalancing) -> None:
        """Take what it needs.

        Args:
            moto: keeps the services.
            account: keeps what runs.
            injector: for how long starting a task takes.
            balancing: where tasks are registered as targets.
        """
        self._moto, self._account, self._injector, self._balancing = moto, account, injector, balancing
        self._settling: set[asyncio.Task[None]] = set()

    async def handle(self, call: Call) -> Params:
        """Answer a call.

        Raises:
            Refusal: AWS's refusal, or moto's.
        """
        if call.operation == "DescribeServices" and len(call.params.get("services") or []) > MAX_DESCRIBED:
            raise Refusal("InvalidParameterException", f"At most {MAX_DESCRIBED} services can be described at once")
        answer = await self._moto.ask("ecs", call.operation, call.params)
        if call.operation == "DescribeServices":
            return {**answer, "services": [self._shown(service) for service in answer["services"]]}
        if call.operation in _WRITES:
            self._take(answer["service"], call)
            return {"service": self._shown(answer["service"])}
        return answer

    def resume(self) -> None:
        """Go on with what was still settling when the gate ended."""
        for arn, kept in self._account.kept.services.items():
            if kept["running"] != kept["desired"]:
                self._settle_later(arn)

    def _take(self, service: Params, call: Call) -> None:
        arn = service["serviceArn"]
        kept = self._account.kept.services.setdefault(arn, {"running": 0, "desired": 0, "events": [], "config": {}})
        kept["desired"] = 0 if call.operation == "DeleteService" else service["desiredCount"]
        kept["balancers"] = service.get("loadBalancers") or kept.get("balancers") or []
        kept["config"] = {**kept["config"], **(call.params.get("deploymentConfiguration") or {})}
        self._account.save()
        self._settle_later(arn)

    def _settle_later(self, arn: str) -> None:
        task = asyncio.get_running_loop().create_task(self._settle(arn))
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)

    async def _settle(self, arn: str) -> None:
        await asyncio.sleep(self._injector.faults.ecs_delay_s)
        kept = self._account.kept.services[arn]
        before, now = kept["running"], kept["desired"]
        kept["running"] = now
        for balancer in kept["balancers"]:
            group = balancer.get("targetGroupArn")
            if group is None:
                continue
            old, new = _tasks(arn, before, balancer), _tasks(arn, now, balancer)
            await self._balancing.take_off(group, [target for target in old if target not in new])
            await self._balancing.put(group, new)
        self._account.save()

    def _shown(self, service: Params) -> Params:
        kept: dict[str, Any] | None = self._account.kept.services.get(service["serviceArn"])
        if kept is None:
            return service
        counts = {
            "desiredCount": kept["desired"],
            "runningCount": kept["running"],
            "pendingCount": max(0, kept["desired"] - kept["running"]),
        }
        state = "COMPLETED" if kept["running"] == kept["desired"] else "IN_PROGRESS"
        primary = {**(service.get("deployments") or [{}])[0], **counts, "status": "PRIMARY", "rolloutState": state}
        primary["rolloutStateReason"] = f"ECS deployment {primary.get('id')} {state.lower()}."
        config = {**(service.get("deploymentConfiguration") or {}), **kept["config"]}
        return {**service, **counts, "deployments": [primary], "deploymentConfiguration": config}


def _tasks(service_arn: str, count: int, balancer: Params) -> list[Target]:
    network = zlib.crc32(service_arn.encode()) % 200
    return [(f"10.1.{network}.{10 + number}", int(balancer["containerPort"])) for number in range(count)]
