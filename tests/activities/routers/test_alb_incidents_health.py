"""Groups that fail open, are empty, or were never checked (argo-rollouts #4510, #4433)."""

import pytest

from activities.routers.alb import AlbRouter
from rollout.errors import NotReady
from testbed.aws.simulated import SimulatedAws
from tests.activities.routers.alb_incidents import AlbIncidents, back, done, raised, weights
from tests.activities.routers.alb_stand import AlbStand, alb_route
from tests.activities.routers.contract import canaries, proven, until

pytestmark = pytest.mark.server


class TestHealth(AlbIncidents):
    async def test_a_group_that_fails_open_gets_no_traffic(
        self, aws: SimulatedAws, router: AlbRouter, stand: AlbStand
    ) -> None:
        [target] = aws.client("elbv2").describe_target_health(TargetGroupArn=aws.group_arn("checkout-green"))[
            "TargetHealthDescriptions"
        ]
        aws.fault(sick=["{Id}:{Port}".format(**target["Target"])])

        async def sick() -> bool:
            return aws.states("checkout-green") == ["unhealthy"]

        await until(sick)
        assert (await router.read()).healthy == {"candidate": 0, "stable": 1}
        with pytest.raises(NotReady, match=r"checkout-green is not ready: 5 % needs 1 .* 1 unhealthy \(Target\."):
            await router.write(raised(5))
        assert done(aws, "Modify", "AddTags", "CreateRule") == []
        assert await canaries(stand, 20) == 0

    async def test_an_empty_group_gets_no_traffic_and_nobody_a_503(
        self, aws: SimulatedAws, router: AlbRouter, stand: AlbStand
    ) -> None:
        aws.register("checkout-green", 0)
        with pytest.raises(NotReady, match="5 % needs 1 healthy targets, and there are 0"):
            await router.write(raised(5))
        assert await canaries(stand, 40) == 0  # and every visit is answered

    async def test_a_share_needs_as_many_targets_as_stable_has_for_it(
        self, aws: SimulatedAws, router: AlbRouter
    ) -> None:
        aws.register("checkout-blue", 4)

        async def ready() -> bool:
            return aws.states("checkout-blue").count("healthy") == 4

        try:
            await until(ready)
            await router.write(raised(25))
            with pytest.raises(NotReady, match="50 % needs 2 healthy targets, and there are 1"):
                await router.write(raised(50, 2))
            assert (await proven(router, 25)).epoch == 1
            await AlbRouter(alb_route(min_healthy=1), router._aws).write(raised(50, 2))
            await router.write(back(3))  # down is never a question of health
        finally:
            aws.register("checkout-blue", 1)

    async def test_a_group_that_was_in_no_rule_is_first_referred_to_and_then_checked(
        self, aws: SimulatedAws, router: AlbRouter, stand: AlbStand
    ) -> None:
        aws.set_weights_by_hand({"checkout-blue": 1})

        async def unused() -> bool:
            return aws.states("checkout-green") == ["unused"]

        await until(unused)
        assert (await router.read()).healthy == {"candidate": 1, "stable": 1}
        with pytest.raises(NotReady, match="it is now, with weight 0"):
            await router.write(raised(50))
        assert weights(aws) == {"checkout-blue": 1, "checkout-green": 0}
        state = await router.read()
        assert (state.percent, state.in_force, state.epoch) == (0, 0, 0)

        async def taken() -> bool:
            try:
                await router.write(raised(50))
            except NotReady:
                return False
            return True

        await until(taken)
        await proven(router, 50)
        assert 0 < await canaries(stand, 60) < 60
