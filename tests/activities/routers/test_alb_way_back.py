"""The way back of many routes of one connection, at the pace and with the waits that a connection has by default."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any, cast

import pytest
from temporalio.testing import ActivityEnvironment

from activities.aws import AwsClients, AwsConnection
from activities.ports import Connections, Router
from activities.routers.alb import AlbRouter
from activities.traffic import TrafficActivities
from rollout.errors import NotRestored
from rollout.messages import RestoreTraffic, TrafficRestored
from rollout.routes import AlbRoute, Route
from testbed.aws.simulated import SimulatedAws
from tests.activities.routers.alb_incidents import AlbIncidents
from tests.activities.routers.alb_stand import alb_route
from tests.activities.routers.contract import OWNER

pytestmark = pytest.mark.server

ROUTES = 10


class ByRoute:
    """One router for each route, all with the same clients, as the worker has them."""

    def __init__(self, api: AwsClients) -> None:
        self._api, self._made = api, dict[AlbRoute, Router]()

    def router(self, route: Route) -> Router:
        assert isinstance(route, AlbRoute)
        return self._made.setdefault(route, AlbRouter(route, self._api))


def split_rules(aws: SimulatedAws) -> list[str]:
    """Rules of one listener, each of which sends everything to the candidate."""
    weights = {"checkout-blue": 0, "checkout-green": 1}
    groups = [{"TargetGroupArn": aws.group_arn(name), "Weight": weight} for name, weight in weights.items()]
    arns = []
    for number in range(ROUTES):
        path = {"Field": "path-pattern", "PathPatternConfig": {"Values": [f"/{number}/*"]}}
        made = aws.client("elbv2").create_rule(
            ListenerArn=aws.listener_arn,
            Priority=100 * (number + 1),
            Conditions=[path],
            Actions=[{"Type": "forward", "ForwardConfig": {"TargetGroups": groups}}],
        )
        arns.append(made["Rules"][0]["RuleArn"])
    return arns


class TestManyRoutes(AlbIncidents):
    async def test_ten_rules_of_a_listener_are_back_and_proven_within_two_attempts(self, aws: SimulatedAws) -> None:
        split_rules(aws)
        routes = tuple(alb_route(rule=100 * (number + 1), header=None) for number in range(ROUTES))
        order = RestoreTraffic(
            routes=routes, epoch=3, owner=OWNER, expected=(0, 100), prove_within=timedelta(seconds=30)
        )
        settings: dict[str, Any] = {"region": aws.region, "endpoint_url": aws.endpoint_url}
        aws.fault(bucket=[40, 10])
        with ThreadPoolExecutor(8) as threads:
            api = AwsClients(AwsConnection.model_validate(settings), threads)
            hands = TrafficActivities(cast("Connections", ByRoute(api)))
            restored, failures = await attempts(hands, order)
            await api.aclose()
        assert restored is not None, failures
        assert len(restored.proof) == ROUTES
        assert [call["operation"] for call in aws.calls() if call["error"]] == []


async def attempts(hands: TrafficActivities, order: RestoreTraffic) -> tuple[TrafficRestored | None, list[str]]:
    """The activity, tried twice as Temporal would."""
    failures = list[str]()
    for _ in range(2):
        try:
            return await ActivityEnvironment().run(hands.restore_traffic, order), failures
        except NotRestored as error:
            failures.append(str(error))
            await asyncio.sleep(0.25)
    return None, failures
