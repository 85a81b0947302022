"""Ways in which users once reached, or an operator once lost, what HAProxy was told to keep; each on a real one."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from activities.ports import Write
from activities.routers.haproxy import HaproxyConnection, HaproxyRouter
from activities.routers.haproxy.memory import Memory
from rollout.errors import Misconfigured, RouterUnreachable
from rollout.routes import HaproxyRoute
from testbed.haproxy import Haproxy
from tests.activities.routers.contract import HEADER, OWNER, canaries, proven
from tests.activities.routers.haproxy_stand import Delivered, HaproxyStand, Parts, PinningHaproxy, serving
from tests.activities.routers.sticky_contract import seen_by, users

BACK: dict[str, Any] = {"percent": 0, "owner": OWNER, "header": False, "release": True}
FORCED = {HEADER.name: HEADER.candidate}


@pytest.fixture(scope="module")
def by_map(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    with serving(tmp_path_factory.mktemp("map"), "map") as running:
        yield running


@pytest.fixture(scope="module")
def by_weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    with serving(tmp_path_factory.mktemp("weights"), "server-weights") as running:
        yield running


class CancelledOnce:
    """Whoever wants to commit is cancelled once, as by a worker that ends."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._commit, self.times = Memory.commit, 0

        async def commit(memory: Memory, version: int) -> None:
            self.times += 1
            if self.times == 1:
                raise asyncio.CancelledError
            await self._commit(memory, version)

        monkeypatch.setattr(Memory, "commit", commit)


class Both:
    async def test_a_blind_way_back_is_finished_in_memory_by_the_same_write(self, stand: HaproxyStand) -> None:
        router, back = stand.router(), Write(epoch=2, **BACK)
        await router.write(Write(percent=50, epoch=1, owner=OWNER))
        stand.haproxy.pause()
        try:
            with pytest.raises(RouterUnreachable):
                await router.write(back)
        finally:
            stand.haproxy.resume()
        assert "epoch 2" in stand.map.read_text()
        assert await canaries(stand, 5, FORCED) == 5  # what memory still says
        assert (await router.read()).in_force is None
        await router.write(back)
        assert (await proven(router, 0)).epoch == 2
        assert await canaries(stand, 20) == 0
        assert await canaries(stand, 5, FORCED) == 0

    async def test_a_memory_that_fails_on_the_way_back_is_repaired_by_the_same_write(
        self, stand: HaproxyStand, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        router, back = stand.router(), Write(epoch=2, **BACK)
        await router.write(Write(percent=50, epoch=1, owner=OWNER))

        async def fails(*_: object) -> int:
            raise RouterUnreachable("no answer")

        with monkeypatch.context() as broken:
            broken.setattr(Memory, "prepare", fails)
            with pytest.raises(RouterUnreachable):
                await router.write(back)
        assert "epoch 2" in stand.map.read_text()
        assert (await router.read()).in_force is None
        await router.write(back)
        await proven(router, 0)
        assert await canaries(stand, 5, FORCED) == 0

    async def test_a_cancelled_raise_is_undone(self, stand: HaproxyStand, monkeypatch: pytest.MonkeyPatch) -> None:
        router = stand.router()
        await router.write(Write(percent=5, epoch=1, owner=OWNER))
        before = [content for _, _, content in stand.written()]  # type: ignore[attr-defined]
        cancelled = CancelledOnce(monkeypatch)
        with pytest.raises(asyncio.CancelledError):
            await router.write(Write(percent=75, epoch=2, owner=OWNER))
        assert cancelled.times
        assert [content for _, _, content in stand.written()] == before  # type: ignore[attr-defined]
        assert (await proven(router, 5)).epoch == 1

    async def test_a_young_haproxy_cannot_say_what_an_older_process_still_serves(self, stand: HaproxyStand) -> None:
        settings = stand.connection.model_dump() | {"hard_stop_after": "1h"}
        asked = HaproxyRoute(connection="edge-1", service=stand.service, mode=stand.mode)
        router = HaproxyRouter(asked, HaproxyConnection.model_validate(settings))
        with pytest.raises(RouterUnreachable, match=r"runs for \d+ s only; a process .* for 1h \(`hard_stop_after`"):
            await router.in_flight("stable")
        assert await stand.router().in_flight("stable") == 0


@pytest.mark.server
class TestMap(Delivered, Both):
    @pytest.fixture
    def parts(self, by_map: Parts) -> Parts:
        return by_map

    async def test_a_pool_whose_name_is_a_command_reaches_no_socket(self, stand: HaproxyStand) -> None:
        shown = "show servers state checkout-stable"
        before = [line.split()[:7] for line in stand.haproxy.ask(shown).splitlines()]
        bad = {"candidate": "x; set server checkout-stable/stable-1 state maint; show info"}
        asked = HaproxyRoute(connection="edge-1", service="checkout").model_copy(update=bad)
        back, up = Write(epoch=1, **BACK), Write(percent=5, epoch=1, owner=OWNER)
        router = HaproxyRouter(asked, stand.connection)
        for asking in (router.read(), router.in_flight("candidate"), router.write(up), router.write(back)):
            with pytest.raises(Misconfigured, match="HAProxy's commands cannot name 'x; set server"):
                await asking
        assert [line.split()[:7] for line in stand.haproxy.ask(shown).splitlines()] == before


@pytest.mark.server
class TestServerWeights(Delivered, Both):
    @pytest.fixture
    def parts(self, by_weights: Parts) -> Parts:
        return by_weights

    async def test_the_header_leads_to_the_candidate_at_0_percent_after_a_rollout_too_where_nobody_is_pinned(
        self, stand: HaproxyStand
    ) -> None:
        router = stand.router()
        await router.write(Write(percent=100, epoch=1, owner=OWNER))
        await router.write(Write(epoch=2, **BACK))
        await router.write(Write(percent=0, epoch=3, owner=OWNER))
        assert (await proven(router, 0)).forced
        assert await canaries(stand, 5, FORCED) == 5
        assert await canaries(stand, 20) == 0


class TablePinning(Haproxy):
    """Its backend `search` keeps users on a server by their address."""

    def configuration(self) -> str:
        table = "\nbackend search\n    stick-table type ip size 1k\n    stick on src\n"
        return super().configuration().replace("\nbackend search\n", table)


class KeptUsers:
    async def test_a_candidate_taken_out_of_maintenance_by_hand_is_noticed_at_0_percent(
        self, stand: HaproxyStand
    ) -> None:
        router, people, back = stand.router(), users(10), Write(epoch=2, **BACK)
        await router.write(Write(percent=100, epoch=1, owner=OWNER))
        assert set(await seen_by(stand.url, people)) == {"canary"}
        await router.write(back)
        await proven(router, 0)
        stand.haproxy.ask("set server search/search-candidate-1 state ready")
        state = await router.read()
        assert (state.percent, state.in_force) == (0, None)
        assert re.search("out of maintenance.*`set server search/search-candidate-1 state maint`", str(state.problem))
        await router.write(back)
        await proven(router, 0)
        assert set(await seen_by(stand.url, people)) == {"stable"}

    async def test_users_leave_a_candidate_at_0_percent_though_the_rollout_keeps_its_header(
        self, stand: HaproxyStand
    ) -> None:
        router, people = stand.router(), users(10)
        await router.write(Write(percent=0, epoch=1, owner=OWNER))
        assert (await proven(router, 0)).forced
        assert await canaries(stand, 3, FORCED) == 3  # the preview before there is any traffic
        await router.write(Write(percent=100, epoch=2, owner=OWNER))
        assert set(await seen_by(stand.url, people)) == {"canary"}
        down = Write(percent=0, epoch=3, owner=OWNER)
        await router.write(down)
        state = await proven(router, 0)
        assert (state.forced, state.healthy) == (False, {"candidate": 1, "stable": 1})
        assert set(await seen_by(stand.url, people)) == {"stable"}
        before = stand.written()
        await router.write(down)
        assert stand.written() == before
        await router.write(Write(percent=100, epoch=4, owner=OWNER))
        assert (await proven(router, 100)).forced


@pytest.mark.server
class TestCookies(Delivered, KeptUsers):
    @pytest.fixture
    def parts(self, tmp_path: Path) -> Iterator[Parts]:
        with serving(tmp_path, "server-weights", PinningHaproxy) as running:
            yield running


@pytest.mark.server
class TestStickTables(Delivered):
    @pytest.fixture
    def parts(self, tmp_path: Path) -> Iterator[Parts]:
        with serving(tmp_path, "server-weights", TablePinning) as running:
            yield running

    async def test_users_of_a_stick_table_leave_a_candidate_at_0_percent(self, stand: HaproxyStand) -> None:
        router = stand.router()
        await router.write(Write(percent=100, epoch=1, owner=OWNER))
        assert await canaries(stand, 5) == 5
        await router.write(Write(percent=0, epoch=2, owner=OWNER))
        await proven(router, 0)
        assert await canaries(stand, 5) == 0


class Spare(Haproxy):
    """Its backend `search` has one more server, for the day when all others are down."""

    pool = "stable"

    def configuration(self) -> str:
        port = self._shops["stable"]
        spare = f"    server search-{self.pool}-spare 127.0.0.1:{port} weight 100 check inter 100ms backup\n"
        return super().configuration().replace("    server search-candidate-1", f"{spare}    server search-candidate-1")


class CandidateSpare(Spare):
    pool = "candidate"


@pytest.mark.server
class TestSpares(Delivered):
    @pytest.fixture
    def parts(self, tmp_path: Path) -> Iterator[Parts]:
        with serving(tmp_path, "server-weights", Spare) as running:
            yield running

    async def test_a_server_that_only_waits_is_not_counted(self, stand: HaproxyStand) -> None:
        router = stand.router()
        await router.write(Write(percent=50, epoch=1, owner=OWNER))
        state = await proven(router, 50)
        assert "spare" not in state.proof
        assert 190 <= await canaries(stand, 400) <= 210  # 267 when it was counted

    async def test_a_server_that_only_waits_is_no_stranger(self, stand: HaproxyStand) -> None:
        state = await stand.made(stable="search-stable-1").read()
        assert (state.in_force, state.problem) == (0, None)


@pytest.mark.server
async def test_a_candidate_that_only_waits_is_a_problem(tmp_path_factory: pytest.TempPathFactory) -> None:
    with serving(tmp_path_factory.mktemp("spare"), "server-weights", CandidateSpare) as (haproxy, stable, _):
        stand = HaproxyStand(haproxy, stable)
        state = await stand.router().read()
        assert state.in_force is None
        assert "search-candidate-spare of the candidate" in str(state.problem)
        with pytest.raises(Misconfigured, match="take the word `backup` from it; nothing was written"):
            await stand.router().write(Write(percent=5, epoch=1, owner=OWNER))
