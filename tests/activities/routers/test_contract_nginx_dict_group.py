import re
from collections.abc import AsyncIterator, Iterator

import pytest

from activities.ports import RouteState, Write
from activities.routers.nginx.shared_dict import NginxDictRouter
from rollout.errors import RouteRejected, RouterUnreachable, Superseded
from rollout.routes import NginxRoute
from testbed.nginx_lua import NginxLua
from tests.activities.routers.contract import (
    HEADER,
    OWNER,
    proven,
)
from tests.activities.routers.nginx_dict_stand import NginxStand, Parts, running, standing


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    with running(tmp_path_factory.mktemp("nginx-lua")) as parts:
        yield parts


@pytest.fixture
async def stand(parts: Parts) -> AsyncIterator[NginxStand]:
    async with standing(parts) as stand:
        yield stand


@pytest.fixture(scope="module")
def second(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NginxLua]:
    _, stable, candidate = parts
    folder = tmp_path_factory.mktemp("nginx-lua-2")
    with NginxLua(folder, stable_port=stable.port, candidate_port=candidate.port, name="nginx-2") as nginx:
        yield nginx


@pytest.mark.server
class TestTwoNginx:
    @pytest.fixture
    async def both(self, stand: NginxStand, second: NginxLua) -> NginxDictRouter:
        second.reset()
        return self.group(stand, second)

    @staticmethod
    def group(stand: NginxStand, second: NginxLua) -> NginxDictRouter:
        route = NginxRoute(connection="edge", service="checkout", mode="shared-dict", header=HEADER)
        return stand.made(route, second)

    @staticmethod
    async def each(stand: NginxStand, second: NginxLua) -> tuple[RouteState, RouteState]:
        """What each of them shows, asked alone."""
        other = NginxStand(second, stand.stable, stand.shared)
        return await stand.router().read(), await other.router().read()

    async def test_they_move_together_and_are_in_force_together(
        self, stand: NginxStand, second: NginxLua, both: NginxDictRouter
    ) -> None:
        for epoch, percent in enumerate((25, 100, 0), start=1):
            await both.write(Write(percent=percent, epoch=epoch, owner=OWNER))
            state = await proven(both, percent)
            assert [(each.in_force, each.epoch) for each in await self.each(stand, second)] == [(percent, epoch)] * 2
            assert state.proof.count(f"epoch {epoch}") == 2

    async def test_one_that_was_changed_alone_is_drift(
        self, stand: NginxStand, second: NginxLua, both: NginxDictRouter
    ) -> None:
        await both.write(Write(percent=5, epoch=1, owner=OWNER))
        await NginxStand(second, stand.stable, stand.shared).drift(40)
        state = await both.read()
        assert (state.percent, state.in_force) == (40, None)
        assert state.problem is not None
        assert re.search(r"the hosts differ: edge-1 .* 5 %.*edge-2 .* 40 %", state.problem)
        await both.write(Write(percent=5, epoch=2, owner=OWNER))
        await proven(both, 5)

    @pytest.mark.parametrize("percent", [0, 5])
    async def test_what_one_refuses_is_undone_on_the_other(
        self, stand: NginxStand, second: NginxLua, both: NginxDictRouter, percent: float
    ) -> None:
        if percent:
            await both.write(Write(percent=percent, epoch=1, owner=OWNER))
        away = second.folder.with_name("away")
        second.folder.rename(away)
        try:
            with pytest.raises(RouteRejected, match=r"edge-2.*No such file"):
                await both.write(Write(percent=75, epoch=2, owner=OWNER))
            assert [each.percent for each in await self.each(stand, second)] == [percent] * 2
        finally:
            away.rename(second.folder)
        assert [each.epoch for each in await self.each(stand, second)] == [1 if percent else 0] * 2
        await both.write(Write(percent=75, epoch=3, owner=OWNER))
        await proven(both, 75)

    async def test_one_that_is_away_stops_a_raise_but_not_the_way_back_of_the_other(
        self, stand: NginxStand, second: NginxLua, both: NginxDictRouter
    ) -> None:
        await both.write(Write(percent=50, epoch=1, owner=OWNER))
        before = stand.written()
        second.stop()
        try:
            with pytest.raises(RouterUnreachable, match="edge-2"):
                await both.write(Write(percent=75, epoch=2, owner=OWNER))
            assert stand.written() == before
            with pytest.raises(RouterUnreachable, match="edge-2"):
                await both.write(Write(percent=0, epoch=2, owner=OWNER))
            assert (await stand.router().read()).in_force == 0
        finally:
            second.start()
        await both.write(Write(percent=0, epoch=2, owner=OWNER))
        assert (await proven(both, 0)).epoch == 2

    async def test_one_that_carries_a_newer_epoch_fences_both(
        self, stand: NginxStand, second: NginxLua, both: NginxDictRouter
    ) -> None:
        await NginxStand(second, stand.stable, stand.shared).router().write(Write(percent=5, epoch=9, owner=OWNER))
        before = stand.written()
        with pytest.raises(Superseded):
            await both.write(Write(percent=50, epoch=8, owner=OWNER))
        assert stand.written() == before
