"""The simulated AWS account as a stand of the contract, and its clients."""

from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest

from activities.aws import AwsClients, AwsConnection
from activities.ports import Router
from activities.routers.alb import AlbRouter
from rollout.errors import NotPermitted, RouterUnreachable, SluiceError, Throttled
from rollout.routes import AlbRoute
from testbed.aws.simulated import SimulatedAws
from testbed.programs import Shop
from tests.activities.routers.contract import HEADER, Stand

FAULTS = {
    "throttled": {"throttle": ["Describe*"]},
    "denied": {"deny": ["Modify*"]},
    "slow": {"hang": ["Describe*"]},
}
OTHER = 200


def clients(aws: SimulatedAws, threads: ThreadPoolExecutor, **settings: Any) -> AwsClients:
    """As of a connection whose owner is in a hurry."""
    quick = {"calls_per_second": 1000, "settle": 0.1, "healthy_for": 0.05, "remember": 0, "timeout_s": 1}
    told = {"region": aws.region, "endpoint_url": aws.endpoint_url, **quick, **settings}
    return AwsClients(AwsConnection.model_validate(told), threads)


def alb_route(**more: Any) -> AlbRoute:
    named = {"load_balancer": "shop", "port": 80, "stable": "checkout-blue", "candidate": "checkout-green"}
    return AlbRoute.model_validate({"connection": "cloud", "header": HEADER, **named, **more})


class AlbStand(Stand):
    troubles: ClassVar[dict[str, type[SluiceError]]] = {
        "throttled": Throttled,
        "denied": NotPermitted,
        "slow": RouterUnreachable,
    }

    def __init__(self, aws: SimulatedAws, api: AwsClients) -> None:
        self.aws, self.api, self.url = aws, api, aws.url

    def router(self, *, unknown_candidate: bool = False) -> Router:
        return AlbRouter(alb_route(**({"candidate": "ghost"} if unknown_candidate else {})), self.api)

    def other_router(self) -> Router:
        return AlbRouter(alb_route(rule=OTHER), self.api)

    def written(self) -> object:
        elbv2 = self.aws.client("elbv2")
        done = [call for call in self.aws.calls() if call["error"] is None]
        changes = [call for call in done if call["operation"].startswith(("Modify", "Create", "Delete", "Set"))]
        return len(changes), elbv2.describe_tags(ResourceArns=[self.aws.listener_arn])["TagDescriptions"]

    async def drift(self, percent: float) -> None:
        self.aws.set_weights_by_hand({"checkout-blue": 100 - round(percent), "checkout-green": round(percent)})

    @asynccontextmanager
    async def trouble(self, name: str) -> AsyncIterator[None]:
        self.aws.fault(**FAULTS[name])
        try:
            yield
        finally:
            self.aws.heal()

    def add_other_rule(self) -> str:
        groups = [{"TargetGroupArn": self.aws.group_arn(f"checkout-{name}")} for name in ("blue", "green")]
        made = self.aws.client("elbv2").create_rule(
            ListenerArn=self.aws.listener_arn,
            Priority=OTHER,
            Conditions=[{"Field": "path-pattern", "PathPatternConfig": {"Values": ["/other*"]}}],
            Actions=[
                {
                    "Type": "forward",
                    "ForwardConfig": {"TargetGroups": [{**groups[0], "Weight": 100}, {**groups[1], "Weight": 0}]},
                }
            ],
        )
        return str(made["Rules"][0]["RuleArn"])


@contextmanager
def account(folder: Path) -> Iterator[SimulatedAws]:
    """A simulated account in front of two shops, whose credentials are in the environment."""
    stable, candidate = Shop(folder, version="stable"), Shop(folder, version="canary")
    bed = SimulatedAws(folder, stable_port=stable.port, candidate_port=candidate.port)
    with pytest.MonkeyPatch.context() as environment, stable, candidate, bed:
        for name, value in bed.environment.items():
            environment.setenv(name, value)
        yield bed
