"""Sticky cookies beat weights."""

import pytest

from activities.routers.alb import AlbRouter
from testbed.aws.simulated import SimulatedAws
from tests.activities.routers.alb_incidents import AlbIncidents, Workers, back, done, raised
from tests.activities.routers.alb_stand import alb_route
from tests.activities.routers.contract import proven
from tests.activities.routers.sticky_contract import seen_by, users

pytestmark = pytest.mark.server


class TestSticky(AlbIncidents):
    @pytest.mark.parametrize("release", [False, True])
    async def test_who_has_a_cookie_of_the_candidate_leaves_it_at_zero(
        self, aws: SimulatedAws, worker: Workers, release: bool
    ) -> None:
        router = AlbRouter(alb_route(sticky={"ttl": "1h"}), worker())
        people = users(40)
        await router.write(raised(50))
        await proven(router, 50)
        once = await seen_by(aws.url, people)
        assert set(once) == {"canary", "stable"}
        assert await seen_by(aws.url, people) == once
        await router.write(raised(0, 2, header=False, release=release))
        await proven(router, 0)
        assert set(await seen_by(aws.url, people)) == {"stable"}
        assert len(done(aws, "ModifyListener")) == 2  # in the same write as the weight

    async def test_stickiness_of_the_operator_never_leads_back_to_the_candidate(
        self, aws: SimulatedAws, worker: Workers
    ) -> None:
        aws.set_weights_by_hand({"checkout-blue": 1, "checkout-green": 0}, sticky_s=3600)
        router = AlbRouter(alb_route(), worker())
        people = users(40)
        await router.write(raised(50))
        await proven(router, 50)
        assert set(await seen_by(aws.url, people)) == {"canary", "stable"}
        await router.write(back(2))
        state = await proven(router, 0)
        assert set(await seen_by(aws.url, people)) == {"stable"}
        assert "stickiness (3600 s) stays off" in state.proof

    async def test_the_last_users_of_stable_come_along_at_hundred(self, aws: SimulatedAws, worker: Workers) -> None:
        router = AlbRouter(alb_route(sticky={"ttl": "1h"}), worker())
        people = users(40)
        await router.write(raised(50))
        await proven(router, 50)
        await seen_by(aws.url, people)
        await router.write(raised(100, 2))
        await proven(router, 100)
        assert set(await seen_by(aws.url, people)) == {"canary"}
