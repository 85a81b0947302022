"""AWS that is asked too often, or does not answer: no proof is made of it, and the way back is written all the same.

The incidents: argo-rollouts #3333, #3627.
"""

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import cast

import pytest
from temporalio.testing import ActivityEnvironment

from activities.ports import Connections, Router
from activities.routers.alb import AlbRouter
from activities.traffic import TrafficActivities
from rollout.errors import NotRestored, RouterUnreachable, Throttled
from rollout.messages import RestoreTraffic
from rollout.routes import Route
from testbed.aws.simulated import SimulatedAws
from tests.activities.routers.alb_incidents import AlbIncidents, Workers, back, done, raised
from tests.activities.routers.alb_stand import AlbStand, alb_route
from tests.activities.routers.contract import HEADER, OWNER, canaries, proven, until

pytestmark = pytest.mark.server


class TestThrottling(AlbIncidents):
    async def test_a_throttled_look_is_never_a_proof(self, aws: SimulatedAws, router: AlbRouter) -> None:
        await router.write(raised(100))
        for operation in ("DescribeRules", "DescribeTags", "DescribeTargetHealth"):
            aws.fault(throttle=[operation])
            with pytest.raises(Throttled):
                await router.read()
        aws.heal()
        await proven(router, 100)

    @pytest.mark.parametrize("trouble", ["throttle", "deny", "drop"])
    async def test_the_way_back_is_written_although_aws_describes_nothing_and_ends_when_it_does(
        self, aws: SimulatedAws, router: AlbRouter, stand: AlbStand, trouble: str
    ) -> None:
        await router.write(raised(100))
        await proven(router, 100)
        assert await canaries(stand, 5) == 5
        aws.fault(**{trouble: ["Describe*"]})
        with pytest.raises(RouterUnreachable, match="the weights were written, but AWS does not describe the rule"):
            await router.write(back(2))
        assert await canaries(stand, 20) == 0
        assert await canaries(stand, 5, {HEADER.name: HEADER.candidate}) == 0
        aws.heal()
        assert (await router.read()).problem == "the write of epoch 2 (0 %) began and did not end"
        await router.write(back(2))
        state = await proven(router, 0)
        assert (state.owner, state.forced, state.epoch) == (None, False, 2)

    async def test_the_way_back_is_not_proven_before_aws_describes_it(
        self, aws: SimulatedAws, router: AlbRouter, stand: AlbStand
    ) -> None:
        class OnlyThis:
            def router(self, _: Route) -> Router:
                return router

        await router.write(raised(100))
        await proven(router, 100)
        hands = TrafficActivities(cast("Connections", OnlyThis()))
        order = RestoreTraffic(
            routes=(alb_route(),), epoch=2, owner=OWNER, expected=(0, 100), prove_within=timedelta(seconds=3)
        )
        aws.fault(throttle=["DescribeTags"])
        with pytest.raises(NotRestored):
            await ActivityEnvironment().run(hands.restore_traffic, order)
        assert await canaries(stand, 20) == 0
        aws.heal()
        restored = await ActivityEnvironment().run(hands.restore_traffic, order)
        assert "checkout-blue 1, checkout-green 0; epoch 2" in restored.proof[0]

    async def test_the_way_back_waits_for_a_slow_description_no_longer_than_a_second(
        self, aws: SimulatedAws, worker: Workers, stand: AlbStand
    ) -> None:
        router = AlbRouter(alb_route(), worker(timeout_s=30))
        await router.write(raised(100))
        aws.fault(hang=["Describe*"])
        writing = asyncio.ensure_future(router.write(back(2)))

        async def moved() -> bool:
            return await canaries(stand, 20) == 0

        await until(moved)
        aws.heal()
        with suppress(RouterUnreachable):
            await writing
        await router.write(back(2))
        await proven(router, 0)

    async def test_the_way_back_does_not_wait_for_a_raise_that_hangs(
        self, aws: SimulatedAws, worker: Workers, stand: AlbStand
    ) -> None:
        router = AlbRouter(alb_route(header=None), worker(timeout_s=30))
        await router.write(raised(50))
        await proven(router, 50)
        aws.fault(hang=["AddTags"])
        rising = asyncio.ensure_future(router.write(raised(100, 2)))

        async def hangs() -> bool:
            return router._aws.alone(router._place).locked()

        await until(hangs)
        writing = asyncio.ensure_future(router.write(back(3)))

        async def moved() -> bool:
            return await canaries(stand, 20) == 0

        await until(moved)
        aws.heal()
        await asyncio.gather(rising, writing, return_exceptions=True)
        await router.write(back(3))
        assert (await proven(router, 0)).epoch == 3
        assert await canaries(stand, 20) == 0

    async def test_a_worker_that_never_saw_the_rule_cannot_go_back_blind_and_says_why(
        self, aws: SimulatedAws, worker: Workers
    ) -> None:
        aws.fault(throttle=["Describe*"])
        with pytest.raises(Throttled):
            await AlbRouter(alb_route(), worker()).write(back(1))
        assert done(aws, "Modify", "AddTags") == []

    async def test_traffic_goes_back_although_tags_cannot_be_written_and_that_is_told(
        self, aws: SimulatedAws, router: AlbRouter, stand: AlbStand
    ) -> None:
        await router.write(raised(100))
        await proven(router, 100)
        aws.fault(throttle=["AddTags"])
        with pytest.raises(Throttled):
            await router.write(back(2))
        assert await canaries(stand, 20) == 0
        assert await canaries(stand, 5, {HEADER.name: HEADER.candidate}) == 0
        assert (await router.read()).in_force is None
        aws.heal()
        await router.write(back(2))
        assert (await proven(router, 0)).epoch == 2

    async def test_many_rollouts_at_one_load_balancer_share_what_was_described(
        self, aws: SimulatedAws, worker: Workers
    ) -> None:
        shared = worker(remember=60)
        routers = [AlbRouter(alb_route(header=None), shared) for _ in range(20)]
        states = await asyncio.gather(*(router.read() for router in routers for _ in range(5)))
        assert {state.in_force for state in states} == {0}
        described = {name: done(aws, "Describe").count(name) for name in done(aws, "Describe")}
        assert described == {
            "DescribeLoadBalancers": 1,
            "DescribeListeners": 1,
            "DescribeTargetGroups": 2,
            "DescribeRules": 1,
            "DescribeTags": 1,
            "DescribeTargetHealth": 2,
        }

    async def test_a_whole_rollout_stays_within_the_bucket_of_aws(self, aws: SimulatedAws, worker: Workers) -> None:
        aws.fault(bucket=[20, 50])
        router = AlbRouter(alb_route(), worker(calls_per_second=40, remember=0.2))
        for epoch, percent in enumerate((5, 50, 100), start=1):
            await router.write(raised(percent, epoch))
            await proven(router, percent)
        assert [call for call in aws.calls() if call["error"]] == []
