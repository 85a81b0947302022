"""Rules stay what they are, and forced rules are found again.

The incidents: aws-load-balancer-controller #4039, argo-rollouts #2864.
"""

import asyncio
from typing import Any

import pytest

from activities.routers.alb import AlbRouter
from rollout.errors import Misconfigured
from testbed.aws.simulated import SimulatedAws
from tests.activities.routers.alb_incidents import AlbIncidents, Workers, back, done, marks, raised, weights
from tests.activities.routers.alb_stand import OTHER, AlbStand, alb_route
from tests.activities.routers.contract import HEADER, canaries, proven

pytestmark = pytest.mark.server


class TestRules(AlbIncidents):
    async def test_a_rule_is_changed_in_place_and_no_visit_fails(
        self, aws: SimulatedAws, worker: Workers, stand: AlbStand
    ) -> None:
        arn = stand.add_other_rule()
        router = AlbRouter(alb_route(rule=OTHER), worker())
        ended = asyncio.Event()
        visits = 0

        async def visitors() -> None:
            nonlocal visits
            while not ended.is_set():
                await canaries(stand, 20)  # every one must be answered
                visits += 20

        visiting = asyncio.ensure_future(visitors())
        try:
            for epoch, percent in enumerate((5, 50, 100, 0), start=1):
                await router.write(raised(percent, epoch))
                await proven(router, percent)
        finally:
            ended.set()
            await visiting
        assert visits > 100
        [rule] = [each for each in aws.rules() if each["Priority"] == str(OTHER)]
        assert rule["RuleArn"] == arn
        assert [each["Field"] for each in rule["Conditions"]] == ["path-pattern"]
        deleted = [call["params"]["RuleArn"] for call in aws.calls("DeleteRule")]
        assert arn not in deleted

    async def test_two_permanent_groups_take_turns(self, aws: SimulatedAws, worker: Workers, stand: AlbStand) -> None:
        shared = worker()
        colours = ("blue", "green")
        for turn in range(3):
            stable = colours[turn % 2]
            route = alb_route(
                stable=None, candidate=None, blue="checkout-blue", green="checkout-green", active_color=stable
            )
            router = AlbRouter(route, shared)
            assert (await router.read()).in_force == 0
            first = 10 * turn + 1
            for epoch, percent in enumerate((25, 100), start=first):
                await router.write(raised(percent, epoch))
                await proven(router, percent)
            await router.write(raised(100, first + 2, release=True))
            await proven(router, 100)
            assert await canaries(stand, 10) == (10 if stable == "blue" else 0)
        assert set(weights(aws)) == {"checkout-blue", "checkout-green"}
        assert done(aws, "RegisterTargets", "DeregisterTargets", "DeleteTargetGroup") == []
        assert len(aws.rules()) == 1
        assert [key for key in marks(aws) if key.startswith("sluice:epoch")] == ["sluice:epoch-23"]

    async def test_forced_rules_of_a_worker_that_died_are_found_and_deleted(
        self, aws: SimulatedAws, worker: Workers, stand: AlbStand
    ) -> None:
        await AlbRouter(alb_route(), worker()).write(raised(5))
        assert len(aws.rules()) == 3
        without_header = AlbRouter(alb_route(header=None), worker())
        await without_header.write(back(2))
        await proven(without_header, 0)
        assert len(aws.rules()) == 1
        assert await canaries(stand, 5, {HEADER.name: HEADER.candidate}) == 0

    async def test_a_forced_rule_that_somebody_deleted_is_noticed_and_made_again(
        self, aws: SimulatedAws, router: AlbRouter, stand: AlbStand
    ) -> None:
        await router.write(raised(5))
        await proven(router, 5)
        aws.client("elbv2").delete_rule(RuleArn=aws.rules()[0]["RuleArn"])
        state = await router.read()
        assert state.in_force is None
        assert "is gone or was changed" in str(state.problem)
        await router.write(raised(5))
        await proven(router, 5)
        assert await canaries(stand, 5, {HEADER.name: HEADER.candidate}) == 5
        assert await canaries(stand, 5, {HEADER.name: HEADER.stable}) == 0

    async def test_a_priority_that_somebody_takes_meanwhile_is_left_to_him_and_not_jumped_over(
        self, aws: SimulatedAws, worker: Workers
    ) -> None:
        elbv2, api = aws.client("elbv2"), worker()
        router = AlbRouter(alb_route(), api)
        ask = api.call

        async def slower(service: str, operation: str, /, **request: Any) -> dict[str, Any]:
            if operation == "create_rule" and len(aws.rules()) == 1:
                elbv2.create_rule(
                    ListenerArn=aws.listener_arn,
                    Priority=request["Priority"],
                    Conditions=[{"Field": "path-pattern", "PathPatternConfig": {"Values": ["/theirs"]}}],
                    Actions=[{"Type": "forward", "TargetGroupArn": aws.group_arn("checkout-blue")}],
                )
            return await ask(service, operation, **request)

        api.call = slower  # type: ignore[method-assign]  # somebody between our look and our write
        with pytest.raises(Misconfigured, match="somebody took priority 50000 just now"):
            await router.write(raised(5))
        assert {rule["Priority"] for rule in aws.rules()} == {"default", "50000"}
        assert weights(aws) == {"checkout-blue": 1, "checkout-green": 0}
        assert (await router.read()).epoch == 0

    @pytest.mark.parametrize(
        ("route", "problem"),
        [
            ({"load_balancer": "ghost"}, "has no application load balancer ghost"),
            ({"port": 8443}, "no listener on port 8443; there are: 80"),
            ({"rule": 77}, "no such rule; priorities there: default"),
            ({"candidate": "ghost", "stable": "phantom"}, "forwards to neither phantom nor ghost"),
        ],
    )
    async def test_a_name_that_is_not_there_is_named(
        self, worker: Workers, route: dict[str, Any], problem: str
    ) -> None:
        with pytest.raises(Misconfigured, match=problem):
            await AlbRouter(alb_route(**route), worker()).read()

    async def test_a_rule_may_be_named_by_its_arn(self, worker: Workers, stand: AlbStand) -> None:
        router = AlbRouter(alb_route(rule=stand.add_other_rule()), worker())
        await router.write(raised(25))
        assert (await proven(router, 25)).forced
