"""What is in force and what has drained: said only when it is known.

The incident: what is written is not yet in force (argo-rollouts #4595).
"""

import pytest

from activities.routers.alb import AlbRouter
from rollout.errors import NotPermitted, RouterUnreachable, SluiceError, Throttled
from testbed.aws.simulated import SimulatedAws
from tests.activities.routers.alb_incidents import AlbIncidents, Workers, back, raised
from tests.activities.routers.alb_stand import AlbStand, alb_route
from tests.activities.routers.contract import canaries, proven, until

pytestmark = pytest.mark.server

QUICK = {"quiet_for": 0.8, "metrics_lag": 0.2}


class TestProof(AlbIncidents):
    async def test_nothing_is_in_force_before_it_had_time_to_settle(
        self, aws: SimulatedAws, worker: Workers, stand: AlbStand
    ) -> None:
        aws.fault(effect_delay_s=0.4)
        router = AlbRouter(alb_route(), worker(settle=0.6))
        await router.write(raised(100))
        state = await router.read()
        assert (state.percent, state.in_force, state.proof) == (100, None, "")
        assert "believed to be in force in" in str(state.problem)
        # A worker that did not write it does not know better.
        assert (await AlbRouter(alb_route(), worker(settle=0.6)).read()).in_force is None
        await proven(router, 100)
        assert await canaries(stand, 20) == 20

    async def test_a_released_route_that_settles_keeps_nobody_from_starting(self, worker: Workers) -> None:
        router = AlbRouter(alb_route(), worker(settle=600))
        await router.write(back(1))
        state = await router.read()
        assert (state.in_force, state.problem) == (None, None)

    async def test_a_proof_says_rule_weights_epoch_and_health(self, router: AlbRouter) -> None:
        await router.write(raised(25))
        assert (await proven(router, 25)).proof == (
            "rule default forwards checkout-blue 3, checkout-green 1; epoch 1; healthy targets: candidate 1, stable 1"
        )

    async def test_a_pool_has_drained_when_cloudwatch_has_counted_nothing_for_long_enough(
        self, aws: SimulatedAws, worker: Workers, stand: AlbStand
    ) -> None:
        aws.fault(minute_s=0.2)
        router = AlbRouter(alb_route(header=None), worker(**QUICK))
        await canaries(stand, 30)

        async def counted() -> bool:
            return await router.in_flight("stable") > 5

        await until(counted)
        await router.write(raised(100))
        assert await router.in_flight("stable") >= 1

        async def drained() -> bool:
            return await router.in_flight("stable") == 0

        await until(drained)
        assert await AlbRouter(alb_route(candidate="ghost"), worker()).in_flight("candidate") == 0

    async def test_minutes_that_are_not_complete_yet_are_not_taken_for_quiet(
        self, aws: SimulatedAws, worker: Workers
    ) -> None:
        router = AlbRouter(alb_route(header=None), worker(quiet_for=0.2, metrics_lag=3600))
        assert await router.in_flight("candidate") == 0  # nobody ever wrote
        await router.write(raised(5))
        await router.write(back(2))
        assert await router.in_flight("candidate") == 1

    @pytest.mark.parametrize(
        ("trouble", "error", "said"),
        [
            ("deny", NotPermitted, "cloudwatch:GetMetricData"),
            ("throttle", Throttled, "GetMetricData"),
            ("unavailable", RouterUnreachable, "GetMetricData"),
        ],
    )
    async def test_cloudwatch_that_does_not_answer_is_no_drained_pool(
        self, aws: SimulatedAws, router: AlbRouter, trouble: str, error: type[SluiceError], said: str
    ) -> None:
        aws.fault(**{trouble: ["GetMetricData"]})
        with pytest.raises(error, match=said):
            await router.in_flight("stable")
