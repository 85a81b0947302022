"""Large accounts, each test on top of the last: what was added stays (argo-rollouts #1963, #2569)."""

import pytest

from activities.routers.alb import AlbRouter
from rollout.errors import Misconfigured
from testbed.aws.simulated import SimulatedAws
from tests.activities.routers.alb_incidents import AlbIncidents, Workers, back, done, marks, raised, weights
from tests.activities.routers.alb_stand import alb_route
from tests.activities.routers.contract import proven

pytestmark = pytest.mark.server


class TestScale(AlbIncidents):
    async def test_the_load_balancer_is_found_among_301(self, furnished: SimulatedAws, router: AlbRouter) -> None:
        furnished.add_load_balancers(300)
        await router.write(raised(5))
        assert (await proven(router, 5)).healthy == {"candidate": 1, "stable": 1}

    async def test_target_groups_are_found_among_more_than_a_page(
        self, furnished: SimulatedAws, router: AlbRouter
    ) -> None:
        furnished.add_target_groups(21)
        assert (await router.read()).healthy == {"candidate": 1, "stable": 1}

    async def test_the_101st_rule_splits_and_keeps_its_forced_rules_to_itself(
        self, aws: SimulatedAws, worker: Workers
    ) -> None:
        aws.add_rules(98)  # 98 and the two forced ones are the hundred that a load balancer may have
        await (first := AlbRouter(alb_route(), worker())).write(raised(25))
        assert (await proven(first, 25)).forced
        assert len(aws.rules()) == 101
        assert weights(aws) == {"checkout-blue": 3, "checkout-green": 1}
        # Another worker has to find the forced rules by their tags.
        second = AlbRouter(alb_route(), worker())
        assert (await second.read()).forced
        await second.write(back(2))
        assert len(aws.rules()) == 99

    async def test_forced_rules_are_found_by_tags_told_for_twenty_things_at_a_time(
        self, aws: SimulatedAws, worker: Workers, router: AlbRouter
    ) -> None:
        elbv2 = aws.client("elbv2")
        for number in range(30):
            header = {"HttpHeaderName": "X-Team", "Values": [f"team-{number}"]}
            elbv2.create_rule(
                ListenerArn=aws.listener_arn,
                Priority=100 + number,
                Conditions=[{"Field": "http-header", "HttpHeaderConfig": header}],
                Actions=[{"Type": "forward", "TargetGroupArn": aws.group_arn("checkout-blue")}],
            )
        await router.write(raised(5))
        assert (await proven(router, 5)).forced
        await AlbRouter(alb_route(), worker()).write(back(2))
        assert len(aws.rules()) == 31

    async def test_without_room_for_the_forced_rules_no_traffic_moves(
        self, aws: SimulatedAws, router: AlbRouter
    ) -> None:
        aws.add_rules(99)
        for percent in (0, 5):
            with pytest.raises(Misconfigured, match="no room for the two rules of the forced header"):
                await router.write(raised(percent))
        assert done(aws, "Modify") == []
        assert len(aws.rules()) == 100  # the one that had room is gone again
        assert not [key for key in marks(aws) if key.startswith("sluice:epoch")]
        state = await router.read()
        assert (state.in_force, state.forced) == (0, False)
        assert "99 rules of 100" in str(state.problem)  # preflight refuses
        await AlbRouter(alb_route(header=None), router._aws).write(raised(5))
        assert weights(aws) == {"checkout-blue": 19, "checkout-green": 1}
