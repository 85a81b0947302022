import re
from collections.abc import Iterator

import pytest

from activities.ports import Write
from rollout.errors import Misconfigured, NotReady
from tests.activities.routers.contract import (
    OWNER,
    ForcedHeaderContract,
    InFlightContract,
    RestartContract,
    RouterContract,
    canaries,
    proven,
)
from tests.activities.routers.haproxy_stand import Delivered, HaproxyStand, Parts, PinningHaproxy, serving
from tests.activities.routers.sticky_contract import seen_by, users


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    with serving(tmp_path_factory.mktemp("haproxy"), "server-weights") as running:
        yield running


@pytest.mark.server
class TestServerWeights(Delivered, RouterContract, ForcedHeaderContract, RestartContract, InFlightContract):
    async def test_the_percent_that_weights_really_give_is_in_the_proof(self, stand: HaproxyStand) -> None:
        router = stand.router()
        await router.write(Write(percent=33.3, epoch=1, owner=OWNER))
        state = await proven(router, 33.3)
        assert state.finest == 0.389
        assert "33.33 % by weights search-candidate-1 128, search-stable-1 256" in state.proof

    async def test_a_percent_that_no_weights_come_near_is_refused(self, stand: HaproxyStand) -> None:
        before = stand.written()
        with pytest.raises(Misconfigured, match=r"cannot take 0\.1 %: .* give 0\.389 % at best"):
            await stand.router().write(Write(percent=0.1, epoch=1, owner=OWNER))
        assert stand.written() == before

    async def test_weights_changed_by_hand_are_put_right_by_the_same_write_again(self, stand: HaproxyStand) -> None:
        for epoch, percent in enumerate((5, 0), start=1):
            write = Write(percent=percent, epoch=epoch, owner=OWNER)
            await stand.router().write(write)
            await stand.drift(40)
            state = await stand.router().read()
            assert (state.percent, state.in_force) == (40, None)
            assert f"search.map says {percent} %" in str(state.problem)
            await stand.router().write(write)
            await proven(stand.router(), percent)

    async def test_candidates_taken_away_by_hand_are_noticed(self, stand: HaproxyStand) -> None:
        router = stand.router()
        await router.write(Write(percent=5, epoch=1, owner=OWNER))
        stand.haproxy.ask("set server search/search-candidate-1 state drain")
        state = await router.read()
        assert (state.percent, state.in_force, state.healthy["candidate"]) == (0, None, 0)
        assert "HAProxy shows 0 % by weights" in str(state.problem)

    async def test_weights_that_a_restart_would_forget_are_noticed(self, stand: HaproxyStand) -> None:
        router = stand.router()
        await router.write(Write(percent=5, epoch=1, owner=OWNER))
        file = stand.map.with_suffix(".state")
        file.write_text(file.read_text().replace(" 247 100 ", " 100 100 "))
        state = await router.read()
        assert (state.percent, state.in_force) == (5, None)
        assert state.problem == "HAProxy shows weight 247 of search-stable-1, search.state says 100"
        await router.write(Write(percent=5, epoch=1, owner=OWNER))
        await proven(router, 5)

    async def test_a_missing_state_file_is_no_obstacle_to_the_way_back(self, stand: HaproxyStand) -> None:
        router = stand.router()
        await router.write(Write(percent=100, epoch=1, owner=OWNER))
        stand.map.with_suffix(".state").unlink()
        for percent in (50, 0):
            with pytest.raises(Misconfigured, match=r"search\.state is missing"):
                await router.write(Write(percent=percent, epoch=2, owner=OWNER))
        assert await canaries(stand, 20) == 0

    async def test_a_server_of_no_pool_must_have_no_traffic(self, stand: HaproxyStand) -> None:
        router = stand.made(candidate="search-candidate", stable="search-stable-2")
        assert "search-stable-1 has traffic, too" in str((await router.read()).problem)
        with pytest.raises(Misconfigured, match="search-stable-2"):
            await router.write(Write(percent=5, epoch=1, owner=OWNER))


@pytest.fixture(scope="module")
def pinning(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    with serving(tmp_path_factory.mktemp("pinning"), "server-weights", PinningHaproxy) as running:
        yield running


@pytest.mark.server
class TestServersThatKeepTheirUsers(Delivered):
    @pytest.fixture
    def parts(self, pinning: Parts) -> Parts:
        return pinning

    async def test_users_pinned_to_the_candidate_leave_it_on_the_way_back_and_may_return_later(
        self, stand: HaproxyStand
    ) -> None:
        router, people = stand.router(), users(20)
        await router.write(Write(percent=100, epoch=1, owner=OWNER))
        assert set(await seen_by(stand.url, people)) == {"canary"}
        await stand.drift(0)
        assert set(await seen_by(stand.url, people)) == {"canary"}  # what weights alone do to a pinned user
        await router.write(Write(percent=0, epoch=2, owner=OWNER, header=False, release=True))
        state = await proven(router, 0)
        assert state.healthy == {"candidate": 1, "stable": 1}
        assert set(await seen_by(stand.url, people)) == {"stable"}
        await router.write(Write(percent=100, epoch=3, owner=OWNER))
        assert set(await seen_by(stand.url, users(20))) == {"canary"}

    async def test_a_restart_leaves_the_candidate_in_maintenance(self, stand: HaproxyStand) -> None:
        router, people = stand.router(), users(20)
        await router.write(Write(percent=100, epoch=1, owner=OWNER))
        await seen_by(stand.url, people)
        stand.stop()
        await router.write(Write(percent=0, epoch=2, owner=OWNER, header=False, release=True))
        stand.start()
        await proven(router, 0)
        assert set(await seen_by(stand.url, people)) == {"stable"}

    async def test_a_candidate_that_died_in_maintenance_gets_no_traffic_and_stays_there(
        self, stand: HaproxyStand, parts: Parts
    ) -> None:
        router, back = stand.router(), Write(percent=0, epoch=1, owner=OWNER, header=False, release=True)
        await router.write(back)
        before = stand.written()
        parts[2].stop()
        try:
            with pytest.raises(NotReady, match="search-candidate-1 is DOWN"):
                await router.write(Write(percent=100, epoch=2, owner=OWNER))
            assert stand.written() == before
            assert "search-candidate-1,MAINT" in re.sub(
                r"(search-candidate-1),.*(MAINT)", r"\1,\2", stand.haproxy.ask("show stat -1 4 -1")
            )
            assert await canaries(stand, 10) == 0
        finally:
            parts[2].start()
        await router.write(Write(percent=100, epoch=2, owner=OWNER))
        await proven(router, 100)
