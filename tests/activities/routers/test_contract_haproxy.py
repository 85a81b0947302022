import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from activities.ports import Write
from activities.routers.haproxy import HaproxyConnection, HaproxyRouter
from rollout.errors import Misconfigured, RouterUnreachable, Superseded
from rollout.routes import ForcedHeader, HaproxyRoute, Sticky
from tests.activities.routers.cancelled_contract import CancelledContract
from tests.activities.routers.contract import (
    OWNER,
    ForcedHeaderContract,
    InFlightContract,
    RestartContract,
    RouterContract,
    canaries,
    proven,
)
from tests.activities.routers.haproxy_stand import Delivered, HaproxyStand, OverTcp, Parts, serving
from tests.activities.routers.sticky_contract import StickyContract


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    with serving(tmp_path_factory.mktemp("haproxy"), "map") as running:
        yield running


@contextmanager
def unwritable(file: Path) -> Iterator[None]:
    """Nobody can replace the file, not even root: a folder is where the new one would be made."""
    obstacle = file.with_name(f".{file.name}.new")
    obstacle.mkdir()
    try:
        yield
    finally:
        obstacle.rmdir()


@contextmanager
def unlockable(file: Path) -> Iterator[None]:
    """Nobody can lock the file, for the same reason."""
    lock = Path(f"{file}.lock")
    lock.unlink()
    lock.mkdir()
    try:
        yield
    finally:
        lock.rmdir()


@asynccontextmanager
async def mute() -> AsyncIterator[str]:
    """A TCP server that takes whatever comes and never answers; gives its address."""
    held: list[asyncio.StreamWriter] = []

    async def take(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    try:
        yield "{}:{}".format(*server.sockets[0].getsockname())
    finally:
        server.close()
        for writer in held:
            writer.close()
        await server.wait_closed()


@pytest.mark.server
class TestMap(Delivered, RouterContract, ForcedHeaderContract, RestartContract, InFlightContract, CancelledContract):
    async def test_a_weight_that_is_no_number_is_named_as_the_zero_that_it_means(self, stand: HaproxyStand) -> None:
        router = stand.router()
        await router.write(Write(percent=25, epoch=1, owner=OWNER))
        stand.haproxy.ask(f"set map {stand.map} weight abc")
        state = await router.read()
        assert (state.percent, state.in_force) == (25, None)
        assert state.problem == "HAProxy shows weight 'abc' (which it takes for 0), checkout.map says 25 %"
        await router.write(Write(percent=25, epoch=1, owner=OWNER))
        await proven(router, 25)

    async def test_a_writer_that_died_between_file_and_memory_is_noticed_and_finished(
        self, stand: HaproxyStand
    ) -> None:
        router = stand.router()
        await router.write(Write(percent=25, epoch=1, owner=OWNER))
        stand.map.write_text(stand.map.read_text().replace("weight 2500", "weight 5000").replace("epoch 1", "epoch 2"))
        state = await router.read()
        assert (state.percent, state.in_force, state.epoch) == (50, None, 2)
        assert state.problem == "HAProxy shows 25 %, checkout.map says 50 %"
        await router.write(Write(percent=50, epoch=2, owner=OWNER))
        await proven(router, 50)

    async def test_a_newer_mark_in_memory_alone_is_a_fence_too(self, stand: HaproxyStand) -> None:
        before = stand.written()
        stand.haproxy.ask(f"add map {stand.map} epoch 9")
        for percent in (0, 5):
            with pytest.raises(Superseded):
                await stand.router().write(Write(percent=percent, epoch=8, owner=OWNER))
        assert stand.written() == before

    async def test_a_raise_that_no_file_can_keep_is_undone(self, stand: HaproxyStand) -> None:
        router = stand.router()
        await router.write(Write(percent=5, epoch=1, owner=OWNER))
        with unwritable(stand.map), pytest.raises(RouterUnreachable, match=r"checkout\.map cannot be replaced"):
            await router.write(Write(percent=75, epoch=2, owner=OWNER))
        assert (await proven(router, 5)).epoch == 1

    async def test_the_way_back_is_gone_in_memory_though_no_file_can_keep_it(self, stand: HaproxyStand) -> None:
        router, back = stand.router(), Write(percent=0, epoch=2, owner=OWNER, header=False, release=True)
        await router.write(Write(percent=100, epoch=1, owner=OWNER))
        with unwritable(stand.map), pytest.raises(RouterUnreachable, match="could be reached is at 0 %"):
            await router.write(back)
        assert await canaries(stand, 20) == 0
        assert (await router.read()).problem == "HAProxy shows 0 %, checkout.map says 100 %"
        await router.write(back)
        await proven(router, 0)

    async def test_the_way_back_needs_no_file_that_can_be_understood(self, stand: HaproxyStand) -> None:
        router = stand.router()
        await router.write(Write(percent=100, epoch=1, owner=OWNER))
        stand.map.write_bytes(b"epoch 1\nepoch 1\nweight \xff\n")
        with pytest.raises(Misconfigured, match=r"checkout\.map is no text"):
            await router.write(Write(percent=50, epoch=2, owner=OWNER))
        with pytest.raises(Misconfigured, match=r"checkout\.map is no text"):
            await router.write(Write(percent=0, epoch=2, owner=OWNER))
        assert await canaries(stand, 20) == 0

    async def test_the_way_back_needs_no_folder_in_which_a_lock_can_be_made(self, stand: HaproxyStand) -> None:
        router = stand.router()
        await router.write(Write(percent=100, epoch=1, owner=OWNER))
        with unlockable(stand.map):
            for percent in (50, 0):
                with pytest.raises(RouterUnreachable, match=r"checkout\.map\.lock cannot be opened"):
                    await router.write(Write(percent=percent, epoch=2, owner=OWNER))
        assert await canaries(stand, 20) == 0

    async def test_a_map_that_haproxy_does_not_read_is_told_with_the_line_to_add(self, stand: HaproxyStand) -> None:
        router = stand.made(service="cart", candidate="checkout-candidate", stable="checkout-stable")
        file = stand.haproxy.folder / "cart.map"
        file.write_text("header X-Canary\nweight 0\n")
        line = re.escape(f"http-request set-var(txn.sluice) str(weight),map({file},0)")
        with pytest.raises(Misconfigured, match=line):
            await router.read()
        for percent in (5, 0):
            with pytest.raises(Misconfigured, match=line):
                await router.write(Write(percent=percent, epoch=1, owner=OWNER))

    async def test_what_haproxy_cfg_does_not_read_is_told_before_anything_is_written(self, stand: HaproxyStand) -> None:
        before = stand.written()
        for router, words in (
            (stand.made(header=ForcedHeader(name="X-Team")), "reads header X-Canary, .* the spec wants X-Team"),
            (stand.made(sticky=Sticky(cookie="who")), "reads cookie sluice-user, .* the spec wants who"),
        ):
            state = await router.read()
            assert state.in_force == 0
            assert re.search(words, state.problem or "")
            with pytest.raises(Misconfigured, match=words):
                await router.write(Write(percent=5, epoch=1, owner=OWNER))
        assert stand.written() == before
        await router.write(Write(percent=0, epoch=1, owner=OWNER))
        await proven(router, 0)

    async def test_comments_and_lines_of_the_operator_survive(self, stand: HaproxyStand) -> None:
        before = stand.map.read_text()
        stand.map.write_text(f"{before}# mine\nmirror   off and on\n")
        router = stand.router()
        await router.write(Write(percent=5, epoch=1, owner=OWNER))
        await router.write(Write(percent=0, epoch=2, owner=OWNER, release=True))
        await proven(router, 0)
        assert stand.map.read_text().splitlines() == [
            *(line for line in before.splitlines() if line != "weight 0"), "# mine", "mirror   off and on",
            "weight 0", "epoch 2",
        ]  # fmt: skip
        assert " mirror off and on\n" in stand.haproxy.ask(f"show map {stand.map}")

    async def test_a_socket_that_never_answers_costs_no_more_than_its_timeout(self, stand: HaproxyStand) -> None:
        route = HaproxyRoute(connection="edge-1", service="checkout")
        async with mute() as address, asyncio.timeout(3):
            router = HaproxyRouter(route, HaproxyConnection(socket=address, folder=stand.haproxy.folder, timeout_s=0.1))
            before = stand.written()
            for asking in (
                router.read(),
                router.in_flight("stable"),
                router.write(Write(percent=5, epoch=1, owner="")),
            ):
                with pytest.raises(RouterUnreachable, match=r"within 0\.1 s"):
                    await asking
            assert stand.written() == before
            # Nobody knows whether that HAProxy still sends users to the candidate: the file alone is no way back.
            with pytest.raises(RouterUnreachable, match=r"within 0\.1 s"):
                await router.write(Write(percent=0, epoch=1, owner=""))
        assert "epoch 1" in stand.map.read_text()


@pytest.mark.server
class TestMapOverTcp(Delivered, RouterContract):
    kind = OverTcp


@pytest.mark.server
class TestStickyMap(Delivered, StickyContract):
    async def test_the_cookie_is_handed_out_once_and_places_its_very_first_visit(self, stand: HaproxyStand) -> None:
        router = stand.sticky_router(Sticky(ttl=timedelta(minutes=10)))
        await router.write(Write(percent=50, epoch=1, owner=OWNER))
        await proven(router, 50)
        async with httpx.AsyncClient(trust_env=False) as new, httpx.AsyncClient(trust_env=False) as http:
            answer = await new.get(stand.url)
            cookie = answer.headers["Set-Cookie"]
            assert re.fullmatch(r"sluice-user=[0-9a-f-]{36}; Path=/; Max-Age=600; HttpOnly; SameSite=Lax", cookie)
            headers = {"Cookie": f"a=b; {cookie.split(';')[0]}; c=d"}
            again = [await http.get(stand.url, headers=headers) for _ in range(8)]
        assert {each.headers["X-Version"] for each in again} == {answer.headers["X-Version"]}
        assert not any("Set-Cookie" in each.headers for each in again)
