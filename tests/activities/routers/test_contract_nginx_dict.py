import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from activities.ports import Write
from activities.routers.nginx.connection import NginxConnection, NginxHost
from activities.routers.nginx.document import Document
from activities.routers.nginx.shared_dict import NginxDictRouter
from rollout.errors import Misconfigured, RouteRejected, RouterUnreachable
from rollout.routes import NginxRoute, Sticky
from testbed.nginx_lua import NginxLua
from tests.activities.routers.cancelled_contract import CancelledContract
from tests.activities.routers.contract import (
    OWNER,
    ForcedHeaderContract,
    InFlightContract,
    RefusalContract,
    RestartContract,
    RouterContract,
    canaries,
    proven,
    until,
)
from tests.activities.routers.nginx_dict_stand import NginxStand, Parts, running, standing
from tests.activities.routers.sticky_contract import StickyContract, seen_by, users


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    with running(tmp_path_factory.mktemp("nginx-lua")) as parts:
        yield parts


@pytest.fixture
async def stand(parts: Parts) -> AsyncIterator[NginxStand]:
    async with standing(parts) as stand:
        yield stand


@pytest.mark.server
class TestNginxDict(
    RouterContract, ForcedHeaderContract, RestartContract, InFlightContract, RefusalContract, CancelledContract
):
    async def test_a_reload_keeps_the_split_and_its_visitors(self, stand: NginxStand) -> None:
        router = stand.router()
        await router.write(Write(percent=100, epoch=1, owner=OWNER))
        before = workers(stand.nginx)
        stand.nginx.reload()

        async def all_are_new() -> bool:
            return bool(found := workers(stand.nginx)) and not found & before

        await until(all_are_new)
        assert (await proven(router, 100)).epoch == 1
        assert await canaries(stand, 10) == 10
        await router.write(Write(percent=0, epoch=2, owner=OWNER))
        assert await canaries(stand, 10) == 0

    async def test_one_of_many_writers_of_one_tag_wins(self, stand: NginxStand) -> None:
        await stand.router().write(Write(percent=5, epoch=1, owner=OWNER))
        tag = (await stand.shared.http.get(stand.document)).headers["etag"]
        document = Document.model_validate_json(stand.file.read_bytes())
        wanted = [document.model_copy(update={"weight": weight}) for weight in range(1, 41)]
        puts = [
            stand.shared.http.put(stand.document, content=each.content(), headers={"If-Match": tag}) for each in wanted
        ]
        codes = [answer.status_code for answer in await asyncio.gather(*puts)]
        assert sorted(codes) == [204] + [412] * 39
        winner = wanted[codes.index(204)]
        assert Document.model_validate_json(stand.file.read_bytes()) == winner
        assert (await stand.router().read()).in_force == winner.weight / 100

    async def test_every_worker_decides_by_what_is_shown(self, stand: NginxStand) -> None:
        router, pids = stand.router(), workers(stand.nginx)
        for epoch in range(1, 31):
            percent = 100 * (epoch % 2)
            await router.write(Write(percent=percent, epoch=epoch, owner=OWNER))
            assert await canaries(stand, 6) == 6 * (epoch % 2)
        assert workers(stand.nginx) == pids
        assert len(pids) == 2

    async def test_the_way_back_does_not_wait_for_a_disk_and_is_not_called_done_without_it(
        self, stand: NginxStand
    ) -> None:
        router = stand.router()
        await router.write(Write(percent=100, epoch=1, owner=OWNER))
        stand.folder_away()
        with pytest.raises(RouterUnreachable, match="runs with 0 %, but that is not on disk"):
            await router.write(Write(percent=0, epoch=2, owner=OWNER, release=True))
        assert await canaries(stand, 10) == 0
        state = await router.read()
        assert (state.percent, state.in_force) == (0, None)
        assert state.problem is not None
        assert "a restart would forget it" in state.problem
        stand.folder_back()  # with the old document in it
        assert (await proven(router, 0)).epoch == 2
        assert Document.model_validate_json(stand.file.read_bytes()).epoch == 2

    async def test_a_folder_that_is_gone_is_named_and_nothing_changes(self, stand: NginxStand) -> None:
        router = stand.router()
        stand.folder_away()
        with pytest.raises(RouteRejected, match=r"nginx edge-1 cannot keep the document.*No such file"):
            await router.write(Write(percent=100, epoch=1, owner=OWNER))
        assert await canaries(stand, 5) == 0

    async def test_a_deaf_nginx_takes_the_way_back_from_disk(self, stand: NginxStand) -> None:
        router = stand.router()
        await router.write(Write(percent=100, epoch=1, owner=OWNER))
        async with stand.trouble("frozen"):
            route = NginxRoute(connection="edge", service="checkout", mode="shared-dict")
            await stand.made(route, timeout_s=0.2).write(Write(percent=0, epoch=2, owner=OWNER, release=True))
        assert (await proven(router, 0)).epoch == 2
        assert await canaries(stand, 5) == 0

    async def test_a_document_changed_by_hand_on_disk_is_drift(self, stand: NginxStand) -> None:
        router = stand.router()
        await router.write(Write(percent=5, epoch=1, owner=OWNER))
        stand.file.write_bytes(stand.file.read_bytes().replace(b"500", b"7500"))
        state = await router.read()
        assert (state.percent, state.in_force) == (75, None)
        assert state.problem is not None
        assert re.search(r"runs with epoch 1: .*candidate 5 %.*says epoch 1: .*candidate 75 %", state.problem)
        await router.write(Write(percent=5, epoch=2, owner=OWNER))
        await proven(router, 5)

    async def test_a_broken_document_on_disk_leaves_all_traffic_on_stable_and_is_named(self, stand: NginxStand) -> None:
        router = stand.router()
        await router.write(Write(percent=100, epoch=1, owner=OWNER))
        stand.stop()
        stand.file.write_bytes(b'{"weight": "many"')
        stand.start()
        assert await canaries(stand, 5) == 0
        state = await router.read()
        assert (state.percent, state.in_force) == (0, None)
        assert state.problem is not None
        assert "not one JSON object" in state.problem
        await router.write(Write(percent=25, epoch=2, owner=OWNER))
        await proven(router, 25)

    async def test_a_pool_that_does_not_answer_has_no_healthy_member(self, stand: NginxStand, parts: Parts) -> None:
        _, _, candidate = parts
        candidate.stop()
        try:
            assert (await stand.router().read()).healthy == {"candidate": 0, "stable": 1}
        finally:
            candidate.start()
        assert (await stand.router().read()).healthy == {"candidate": 1, "stable": 1}

    async def test_a_worker_that_died_takes_its_count_along(self, stand: NginxStand) -> None:
        router, before = stand.router(), workers(stand.nginx)
        async with stand.slow():
            visits = [asyncio.ensure_future(canaries(stand, 1)) for _ in range(3)]

            async def all_are_waiting() -> bool:
                return await router.in_flight("stable") == 3

            await until(all_are_waiting)
            for pid in before:
                os.kill(pid, 9)
            ends = await asyncio.gather(*visits, return_exceptions=True)
        assert {type(end) for end in ends} == {httpx.RemoteProtocolError}

        async def nobody_is_there() -> bool:
            try:
                return await router.in_flight("stable") == 0
            except RouterUnreachable:
                return False  # of a connection that a dying worker still took

        await until(nobody_is_there)

    async def test_a_request_that_is_sent_on_inside_nginx_counts_once(self, stand: NginxStand) -> None:
        answer = await stand.shared.http.get(f"{stand.url}again/missing")
        assert (answer.status_code, answer.headers["X-Version"]) == (200, "stable")
        async with stand.slow():
            visit = asyncio.ensure_future(stand.shared.http.get(f"{stand.url}again/missing"))

            async def it_waits() -> bool:
                return await stand.router().in_flight("stable") == 1

            await until(it_waits)
            await visit

        async def it_has_ended() -> bool:
            return await stand.router().in_flight("stable") == 0

        await until(it_has_ended)
        assert b'"in_flight":{"checkout-stable":0}' in (await stand.shared.http.get(stand.document)).content

    async def test_a_service_that_nginx_does_not_have_is_named(self, stand: NginxStand) -> None:
        router = stand.made(NginxRoute(connection="edge", service="search", mode="shared-dict"))
        for act in (router.read, lambda: router.write(Write(percent=0, epoch=1, owner=OWNER))):
            with pytest.raises(Misconfigured, match=r"knows no service search .*sluice\.setup"):
                await act()

    async def test_another_folder_than_nginx_uses_is_said_before_a_rollout(
        self, stand: NginxStand, tmp_path: Path
    ) -> None:
        hosts = (NginxHost(name="edge-1", state=stand.nginx.admin_url),)
        route = NginxRoute(connection="edge", service="checkout", mode="shared-dict")
        router = NginxDictRouter(route, NginxConnection(hosts=hosts, folder=tmp_path), stand.shared)
        state = await router.read()
        assert state.in_force == 0
        assert state.problem is not None
        assert f"the connection says folder {tmp_path}" in state.problem


def workers(nginx: NginxLua) -> set[int]:
    children = Path(f"/proc/{nginx.pid}/task/{nginx.pid}/children").read_text(encoding="utf-8")
    return {int(pid) for pid in children.split()}


@pytest.mark.server
class TestStickyNginxDict(StickyContract):
    async def test_the_first_visit_already_has_the_version_of_all_others(self, stand: NginxStand) -> None:
        router = stand.sticky_router(Sticky(cookie="who", ttl=timedelta(minutes=10)))
        await router.write(Write(percent=50, epoch=1, owner=OWNER))
        await proven(router, 50)
        answer = await stand.shared.http.get(stand.url)
        cookie = answer.headers["Set-Cookie"]
        assert re.fullmatch(r"who=[0-9a-f]{16}; Path=/; Max-Age=600; HttpOnly; SameSite=Lax", cookie)
        people = users(100)
        assert await seen_by(stand.url, people) == await seen_by(stand.url, people)
        stand.shared.http.cookies.clear()
        again = await stand.shared.http.get(stand.url, headers={"Cookie": f"a=b; {cookie.split(';')[0]}; c=d"})
        assert "Set-Cookie" not in again.headers
        assert again.headers["X-Version"] == answer.headers["X-Version"]

    async def test_users_who_are_no_longer_kept_are_drift(self, stand: NginxStand, sticky: Sticky) -> None:
        router = stand.sticky_router(sticky)
        await router.write(Write(percent=25, epoch=1, owner=OWNER))
        document = json.loads(stand.file.read_bytes())
        await stand.put(json.dumps({key: value for key, value in document.items() if "user" not in key}).encode())
        state = await router.read()
        assert (state.percent, state.in_force) == (25, None)
        assert state.problem is not None
        assert "no longer keeps users" in state.problem
        await router.write(Write(percent=25, epoch=2, owner=OWNER))
        await proven(router, 25)
