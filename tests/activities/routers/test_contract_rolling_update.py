import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.testing import ActivityEnvironment

from activities.ports import Write
from activities.traffic import TrafficActivities
from rollout.errors import Misconfigured, NotRestored, RouteOwned, Superseded
from rollout.messages import RestoreTraffic
from testbed.kubernetes.control_plane import ControlPlane
from testbed.programs import Shop
from tests.activities.routers import contract
from tests.activities.routers.cancelled_contract import CancelledContract
from tests.activities.routers.contract import OWNER, PLACE, Only, RouterContract, Stand, canaries, proven
from tests.activities.routers.rolling_stand import (
    PATIENCE_S,
    THIRD,
    DeploymentStand,
    StatefulSetStand,
    eventually,
    standing,
)


@pytest.fixture(scope="module")
def shops(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    folder = tmp_path_factory.mktemp("shops")
    with Shop(folder, version="stable") as stable, Shop(folder, version="canary") as canary:
        yield {each.version: each.url.removeprefix("http://") for each in (stable, canary)}


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pods are replaced one after the other: that takes longer than a router that is told two weights."""
    monkeypatch.setattr(contract, "PROVEN_WITHIN_S", PATIENCE_S)


@pytest.mark.server
class TestStatefulSet(RouterContract, CancelledContract):
    """All of it, save for what pods that are replaced in place cannot have, told where it is asked otherwise."""

    @pytest.fixture
    async def stand(
        self, control_plane: ControlPlane, namespace: str, shops: dict[str, str], tmp_path: Path
    ) -> AsyncIterator[StatefulSetStand]:
        async with standing(StatefulSetStand, control_plane, namespace) as stand:
            stand.percents = tuple(each for each in stand.percents if each != 0.25)  # it never goes down, but to 0
            stand.make("checkout", "cart")
            stand.visited(shops, tmp_path)
            yield stand

    async def test_a_route_that_nobody_touched_has_no_candidate_and_no_owner(self, stand: Stand) -> None:
        """Its pools are both all available pods."""
        state = await stand.router().read()
        assert (state.percent, state.in_force, state.epoch, state.owner, state.forced) == (0, 0, 0, None, False)
        assert state.healthy == {"candidate": 4, "stable": 4}
        assert (state.problem, state.moving, state.failed, state.finest) == (None, None, None, 25)

    async def test_a_pool_that_the_router_does_not_know_gets_nothing(self, stand: Stand) -> None:
        """An image is not known to anybody before a pod wants it; a container is."""
        assert isinstance(stand, StatefulSetStand)
        before = stand.written()
        router = type(stand.rolling())(stand.route(container="sidecar"), stand.cluster)
        for asking in (router.read(), router.write(Write(percent=25, epoch=1, owner=OWNER))):
            with pytest.raises(Misconfigured, match="no container 'sidecar'; there are: app"):
                await asking
        assert stand.written() == before

    async def test_release_takes_mark_and_rules_off_and_keeps_percent_and_fence(self, stand: Stand) -> None:
        """What comes next has another image."""
        assert isinstance(stand, StatefulSetStand)
        router = stand.router()
        await router.write(Write(percent=100, epoch=3, owner=OWNER))
        await proven(router, 100)
        await router.write(Write(percent=100, epoch=4, owner=OWNER, release=True))
        state = await proven(router, 100)
        assert (state.owner, state.epoch) == (None, 4)
        with pytest.raises(Superseded):
            await router.write(Write(percent=5, epoch=3, owner=OWNER))
        with pytest.raises(Misconfigured, match="nothing to roll out"):
            await router.write(Write(percent=5, epoch=5, owner="rollout:prod/next"))
        following = stand.rolling(image=THIRD)
        await following.write(Write(percent=5, epoch=5, owner="rollout:prod/next"))
        assert (await proven(following, 5)).owner == "rollout:prod/next"

    async def test_a_change_by_hand_is_noticed_and_put_right_by_the_next_write(self, stand: Stand) -> None:
        """More new pods than wanted are noticed; Kubernetes turns none of them back, except all."""
        assert isinstance(stand, StatefulSetStand)
        router = stand.router()
        await router.write(Write(percent=5, epoch=1, owner=OWNER))
        await proven(router, 5)
        await stand.drift(75)
        state = await router.read()
        assert (state.percent, state.in_force, state.moving) == (75, None, None)
        assert "partition is 1, 75 %; Sluice left it at 3 (last set by kubectl-edit" in str(state.problem)
        await eventually(stand, lambda: stand.status("updatedReplicas") == 3, "the new partition is reached")
        with pytest.raises(Misconfigured, match="only goes up, or back to 0 %"):
            await router.write(Write(percent=5, epoch=2, owner=OWNER))
        await router.write(Write(percent=75, epoch=3, owner=OWNER))
        assert (await proven(router, 75)).epoch == 3
        await router.write(Write(percent=0, epoch=4, owner=OWNER))
        await proven(router, 0)


@pytest.mark.server
class TestDeployment:
    """The contract as far as 0 % and 100 % go: what is between them is the Deployment's own and cannot be written.

    The shared suite asks for 5 % and 50 % in nearly every test, so what it asks is asked here anew.
    """

    @pytest.fixture
    async def stand(
        self, control_plane: ControlPlane, namespace: str, shops: dict[str, str], tmp_path: Path
    ) -> AsyncIterator[DeploymentStand]:
        async with standing(DeploymentStand, control_plane, namespace) as stand:
            stand.make("checkout")
            stand.visited(shops, tmp_path)
            yield stand

    async def test_a_route_that_nobody_touched_has_no_candidate_and_no_owner(self, stand: DeploymentStand) -> None:
        state = await stand.router().read()
        assert (state.percent, state.in_force, state.epoch, state.owner, state.forced) == (0, 0, 0, None, False)
        assert state.healthy == {"candidate": 6, "stable": 6}
        assert (state.problem, state.moving, state.failed, state.finest) == (None, None, None, 100)
        assert [*state.sides] == ["stable"]
        assert await stand.router().in_flight("stable") is None

    async def test_both_percents_come_into_force_with_proof_and_visitors_follow(self, stand: DeploymentStand) -> None:
        router = stand.router()
        for epoch, percent in enumerate((0, 100, 0, 100, 100, 0), start=1):
            await router.write(Write(percent=percent, epoch=epoch, owner=OWNER))
            state = await proven(router, percent)
            assert (state.percent, state.epoch, state.owner) == (percent, epoch, OWNER)
            assert f"epoch {epoch}" in state.proof
            assert await canaries(stand, 40) == 40 * percent / 100

    async def test_what_is_between_is_no_percent_of_a_deployment(self, stand: DeploymentStand) -> None:
        before = stand.written()
        with pytest.raises(Misconfigured, match="cannot take 5 %; it knows 0 and 100"):
            await stand.router().write(Write(percent=5, epoch=1, owner=OWNER))
        assert stand.written() == before

    @pytest.mark.parametrize("percent", [0, 100])
    async def test_the_same_write_again_writes_nothing(self, stand: DeploymentStand, percent: float) -> None:
        router, write = stand.router(), Write(percent=percent, epoch=1, owner=OWNER)
        await router.write(write)
        before = stand.written()
        await router.write(write)
        await stand.rolling(cluster=stand.worker()).write(write)
        assert stand.written() == before

    async def test_writes_of_several_workers_at_once_leave_the_newest(self, stand: DeploymentStand) -> None:
        writes = [Write(percent=100, epoch=epoch, owner=OWNER) for epoch in range(1, 6)]
        routers = [stand.rolling(cluster=stand.worker()) for _ in writes]
        done = await asyncio.gather(
            *(router.write(each) for router, each in zip(routers, writes, strict=True)), return_exceptions=True
        )
        assert {type(each) for each in done} <= {type(None), Superseded}
        assert (await proven(stand.router(), 100)).epoch == 5
        await stand.router().write(Write(percent=0, epoch=6, owner=OWNER))  # the way back was not overwritten
        await proven(stand.router(), 0)

    async def test_a_late_write_and_another_owner_are_kept_off(self, stand: DeploymentStand) -> None:
        router = stand.router()
        await router.write(Write(percent=100, epoch=7, owner=OWNER))
        before = stand.written()
        with pytest.raises(Superseded):
            await router.write(Write(percent=0, epoch=6, owner=OWNER))
        with pytest.raises(RouteOwned, match=OWNER):
            await router.write(Write(percent=0, epoch=8, owner="rollout:prod/other"))
        assert stand.written() == before

    async def test_a_rollout_that_was_released_and_not_over_goes_back(self, stand: DeploymentStand) -> None:
        router = stand.router()
        await router.write(Write(percent=100, epoch=3, owner=OWNER))
        await proven(router, 100)
        await router.write(Write(percent=100, epoch=4, owner=OWNER, release=True))
        await router.write(Write(percent=0, epoch=5, owner=OWNER, release=True))
        assert (await proven(router, 0)).owner is None

    async def test_release_keeps_percent_and_fence_and_a_way_back_for_nobody_else(self, stand: DeploymentStand) -> None:
        router = stand.router()
        await router.write(Write(percent=100, epoch=3, owner=OWNER))
        await proven(router, 100)
        for _ in range(2):
            await router.write(Write(percent=100, epoch=4, owner=OWNER, release=True))
        state = await proven(router, 100)
        assert (state.owner, state.epoch) == (None, 4)
        assert "nothing to roll out" in str(state.problem)
        with pytest.raises(Misconfigured, match="nothing to roll out"):
            await router.write(Write(percent=100, epoch=5, owner="rollout:prod/next"))
        with pytest.raises(Superseded):
            await router.write(Write(percent=0, epoch=3, owner=OWNER))
        following = stand.rolling(image=THIRD)
        assert (await following.read()).problem is None
        await following.write(Write(percent=100, epoch=5, owner="rollout:prod/next"))
        assert (await proven(following, 100)).owner == "rollout:prod/next"
        await following.write(Write(percent=0, epoch=6, owner="rollout:prod/next", release=True))
        await proven(following, 0)
        assert set(stand.images()) == {"shop:2.0"}  # stable is what was there at the start of this one

    async def test_the_way_back_works_from_where_nobody_has_been(self, stand: DeploymentStand) -> None:
        router = stand.router(unknown_candidate=True)
        await router.write(Write(percent=0, epoch=1, owner=OWNER, release=True))
        state = await proven(router, 0)
        assert (state.owner, state.epoch) == (None, 1)

    @pytest.mark.parametrize("percent", [0, 100])
    async def test_every_state_can_be_brought_back_to_stable(self, stand: DeploymentStand, percent: float) -> None:
        router = stand.router()
        await router.write(Write(percent=percent, epoch=1, owner=OWNER))
        await proven(router, percent)
        await stand.drift(60)
        state = await router.read()
        assert (state.percent, state.in_force) == (0, None)
        assert "last set by kubectl-set" in str(state.problem)
        await router.write(Write(percent=0, epoch=2, owner=OWNER, header=False, release=True))
        state = await proven(router, 0)
        assert (state.owner, state.epoch) == (None, 2)
        assert await canaries(stand, 40) == 0
        assert set(stand.images()) == {"shop:1.0"}

    async def test_what_is_wrong_with_the_way_there_has_the_right_name(self, stand: DeploymentStand) -> None:
        for name, error in stand.troubles.items():
            before = stand.written()
            async with stand.trouble(name):
                with pytest.raises(error):
                    await stand.router().write(Write(percent=100, epoch=1, owner=OWNER))
            assert stand.written() == before, name

    async def test_a_way_back_that_met_trouble_ends_when_the_trouble_is_over(self, stand: DeploymentStand) -> None:
        hands = TrafficActivities(Only(stand))
        for number, name in enumerate(stand.troubles):
            await stand.router().write(Write(percent=100, epoch=3 * number + 1, owner=OWNER))
            await proven(stand.router(), 100)
            order = RestoreTraffic(
                routes=(PLACE,), epoch=3 * number + 2, owner=OWNER, prove_within=timedelta(seconds=PATIENCE_S)
            )
            async with stand.trouble(name):
                with suppress(NotRestored):
                    hasty = order.model_copy(update={"prove_within": timedelta(seconds=0.5)})
                    await ActivityEnvironment().run(hands.restore_traffic, hasty)
            await ActivityEnvironment().run(hands.restore_traffic, order)
            assert await canaries(stand, 20) == 0, name

    async def test_a_cancelled_write_is_finished_all_the_same(self, stand: DeploymentStand) -> None:
        router = stand.router()
        writing = asyncio.ensure_future(router.write(Write(percent=100, epoch=1, owner=OWNER)))
        await asyncio.sleep(0)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        await proven(router, 100)

    async def test_two_deployments_move_at_once_and_leave_each_other_alone(self, stand: DeploymentStand) -> None:
        stand.make("cart")
        routers = (stand.router(), stand.other_router())
        for epoch, percents in enumerate(((100, 0), (0, 100), (0, 0)), start=1):
            writes = [Write(percent=each, epoch=epoch, owner=f"{OWNER}-{n}") for n, each in enumerate(percents)]
            await asyncio.gather(*(router.write(each) for router, each in zip(routers, writes, strict=True)))
            for router, each in zip(routers, writes, strict=True):
                assert (await proven(router, each.percent)).owner == each.owner
