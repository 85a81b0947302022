"""An account for incidents: what went wrong with load balancers elsewhere is done to this one."""

from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from activities.aws import AwsClients
from activities.ports import Write
from activities.routers.alb import AlbRouter
from testbed.aws.simulated import SimulatedAws
from tests.activities.routers.alb_stand import AlbStand, account, alb_route, clients
from tests.activities.routers.contract import OWNER

Workers = Callable[..., AwsClients]


class AlbIncidents:
    """Fixtures of an account that is healed and reset before every test; inherit it."""

    @pytest.fixture(scope="module")
    @classmethod  # it outlives every instance, and pytest takes no fixture of a module from one
    def furnished(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatedAws]:
        with account(tmp_path_factory.mktemp("aws")) as bed:
            yield bed

    @pytest.fixture
    def aws(self, furnished: SimulatedAws) -> SimulatedAws:
        furnished.heal()
        furnished.register("checkout-green", 1)
        furnished.reset()
        return furnished

    @pytest.fixture
    async def worker(self, aws: SimulatedAws) -> AsyncIterator[Workers]:
        """Makes the clients of one more worker: what another one remembers, it does not know."""
        made: list[AwsClients] = []
        with ThreadPoolExecutor(8) as threads:

            def another(**settings: Any) -> AwsClients:
                made.append(clients(aws, threads, **settings))
                return made[-1]

            yield another
            for each in made:
                await each.aclose()

    @pytest.fixture
    def router(self, worker: Workers) -> AlbRouter:
        return AlbRouter(alb_route(), worker())

    @pytest.fixture
    def stand(self, aws: SimulatedAws, worker: Workers) -> AlbStand:
        return AlbStand(aws, worker())


def raised(percent: float, epoch: int = 1, **more: Any) -> Write:
    return Write(percent=percent, epoch=epoch, owner=OWNER, **more)


def back(epoch: int) -> Write:
    return Write(percent=0, epoch=epoch, owner=OWNER, header=False, release=True)


def done(aws: SimulatedAws, *operations: str) -> list[str]:
    return [call["operation"] for call in aws.calls() if call["operation"].startswith(operations)]


def marks(aws: SimulatedAws) -> dict[str, str]:
    [found] = aws.client("elbv2").describe_tags(ResourceArns=[aws.listener_arn])["TagDescriptions"]
    return {tag["Key"]: tag["Value"] for tag in found["Tags"]}


def weights(aws: SimulatedAws, priority: str = "default") -> dict[str, int]:
    [rule] = [each for each in aws.rules() if each["Priority"] == priority]
    groups = rule["Actions"][-1]["ForwardConfig"]["TargetGroups"]
    return {group["TargetGroupArn"].split("/")[1]: group["Weight"] for group in groups}
