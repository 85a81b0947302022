"""The adapter, with the answers of two admin servers made up."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from activities.ports import Write
from activities.routers.nginx.connection import NginxConnection
from activities.routers.nginx.document import Document, desired
from activities.routers.nginx.shared_dict import NginxDictRouter
from activities.shared import Shared
from rollout.errors import Misconfigured, NotPermitted, RouteOwned, RouteRejected, RouterUnreachable, Superseded
from tests.activities.routers.test_nginx_dict import HOSTS, OWNER, ROUTE, shown, write


class Admin:
    """What two nginx answer; `broken` decides first."""

    def __init__(self, broken: Callable[[httpx.Request], httpx.Response | None] = lambda _: None) -> None:
        self.documents: dict[str, bytes] = {}
        self.puts = 0
        self._broken = broken

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        if answer := self._broken(request):
            return answer
        if request.url.path.startswith("/sluice-pool/"):
            return httpx.Response(200, headers={"Sluice-Upstream": "127.0.0.1:1"})
        host, kept = request.url.host, self.documents.get(request.url.host)
        tag = f'"{hashlib.md5(kept, usedforsecurity=False).hexdigest()}"' if kept else None
        if request.method == "GET":
            document = json.loads(kept) if kept else None
            found = shown().model_dump() | {"running": document, "stored": document}
            return httpx.Response(200, json=found, headers={"ETag": tag} if tag else None)
        self.puts += 1
        if request.headers.get("If-Match") != tag:
            return httpx.Response(412)
        if request.method == "DELETE":
            del self.documents[host]
        else:
            self.documents[host] = await request.aread()
        return httpx.Response(204)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as threads:
        yield threads


@pytest.fixture
async def made(tmp_path: Path, threads: ThreadPoolExecutor) -> AsyncIterator[Callable[[Any], NginxDictRouter]]:
    opened = []

    def make(admin: Any) -> NginxDictRouter:
        http = httpx.AsyncClient(transport=httpx.MockTransport(admin))
        opened.append(http)
        connection = NginxConnection(hosts=HOSTS, folder=tmp_path, timeout_s=0.5)
        return NginxDictRouter(ROUTE, connection, Shared(http, threads))

    yield make
    for http in opened:
        await http.aclose()


Make = Callable[[Any], NginxDictRouter]


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (httpx.Response(401), NotPermitted, "answered 401 at http://edge-1:8081/sluice/checkout"),
        (httpx.Response(403), NotPermitted, "GET, PUT and DELETE"),
        (httpx.Response(404), Misconfigured, r"sluice\.setup"),
        (httpx.Response(503, text="no"), RouterUnreachable, "503"),
        (httpx.Response(302, headers={"location": "http://edge-1/login"}), RouterUnreachable, "302"),
        (httpx.Response(200, text="<html>"), RouterUnreachable, "does not answer as sluice.lua"),
        (httpx.Response(200, json=[1]), RouterUnreachable, "does not answer as sluice.lua"),
    ],
)
async def test_an_answer_that_is_none_has_a_name(
    made: Make, answer: httpx.Response, error: type[Exception], words: str
) -> None:
    router = made(lambda _: answer)
    for act in (router.read, lambda: router.write(write()), lambda: router.in_flight("stable")):
        with pytest.raises(error, match=words):
            await act()


async def test_a_refused_document_is_undone_where_it_was_taken(made: Make) -> None:
    def broken(request: httpx.Request) -> httpx.Response | None:
        return httpx.Response(400, text="no") if (request.method, request.url.host) == ("PUT", "edge-2") else None

    admin = Admin(broken)
    with pytest.raises(RouteRejected, match=r"edge-2 refused .*400, no"):
        await made(admin).write(write())
    assert admin.documents == {}


async def test_an_answer_that_was_lost_does_not_leave_the_candidate_with_traffic(made: Make) -> None:
    admin = Admin()
    lost: list[httpx.Response] = []

    async def deaf(request: httpx.Request) -> httpx.Response:
        answer = await admin(request)
        if (request.method, request.url.host) == ("PUT", "edge-2") and not lost:
            lost.append(answer)
            raise httpx.ReadTimeout("lost", request=request)
        return answer

    with pytest.raises(RouterUnreachable, match="edge-2 did not answer to PUT"):
        await made(deaf).write(write())
    assert lost[0].status_code == 204
    assert admin.documents == {}


async def test_what_cannot_be_undone_is_said(made: Make) -> None:
    def broken(request: httpx.Request) -> httpx.Response | None:
        if (request.method, request.url.host) == ("PUT", "edge-2"):
            return httpx.Response(400, text="no")
        return httpx.Response(507, text="disk full") if request.method == "DELETE" else None

    with pytest.raises(RouterUnreachable, match=r"400, no; it may still be in force: .*edge-1.*disk full"):
        await made(Admin(broken)).write(write())


async def test_a_race_is_run_again_and_a_newer_epoch_ends_it(made: Make) -> None:
    admin, before = Admin(), write(5, 3)
    await made(admin).write(before)

    def overtaken(by: Write) -> Callable[[httpx.Request], httpx.Response | None]:
        left = [b"once"]

        def broken(request: httpx.Request) -> httpx.Response | None:
            if (request.method, request.url.host) == ("PUT", "edge-1") and left:
                left.clear()
                admin.documents["edge-1"] = desired(ROUTE, by).content()
            return None

        return broken

    admin._broken = overtaken(write(6, 4))
    await made(admin).write(write(25, 7))
    assert {Document.model_validate_json(each).epoch for each in admin.documents.values()} == {7}
    admin._broken = overtaken(write(50, 9))
    with pytest.raises(Superseded, match="epoch 9"):
        await made(admin).write(write(30, 8))
    epochs = {host: Document.model_validate_json(each).epoch for host, each in admin.documents.items()}
    assert epochs == {"edge-1": 9, "edge-2": 7}


async def test_the_same_write_again_asks_for_no_change(made: Make) -> None:
    admin = Admin()
    await made(admin).write(write())
    before = admin.puts
    await made(admin).write(write())
    await made(admin).write(write(0, 8, release=True))
    await made(admin).write(write(0, 8, release=True))
    assert (before, admin.puts) == (2, 4)


async def test_another_owner_is_left_alone_on_the_way_back_too(made: Make) -> None:
    admin = Admin()
    await made(admin).write(write())
    before = dict(admin.documents)
    with pytest.raises(RouteOwned, match=OWNER):
        await made(admin).write(Write(percent=0, epoch=9, owner="rollout:prod/other", release=True))
    assert admin.documents == before


def without_pools(request: httpx.Request) -> httpx.Response | None:
    return httpx.Response(404) if request.url.path.startswith("/sluice-pool/") else None


async def test_an_admin_server_that_cannot_ask_pools_takes_no_raise_but_the_way_back(made: Make) -> None:
    admin = Admin()
    await made(admin).write(write())
    admin._broken = without_pools
    with pytest.raises(Misconfigured, match="answered 404 to /sluice-pool/"):
        await made(admin).write(write(50, 8))
    await made(admin).write(write(0, 8, release=True))
    found = await made(admin).read()
    assert (found.in_force, found.healthy) == (0, {})
    assert found.problem is not None
    assert "/sluice-pool/" in found.problem


async def test_a_stable_pool_that_is_gone_gets_nothing(made: Make) -> None:
    admin = Admin()
    await made(admin).write(write())
    before = dict(admin.documents)
    admin._broken = lambda request: httpx.Response(502) if request.url.path.startswith("/sluice-pool/") else None
    with pytest.raises(Misconfigured, match="knows no upstream checkout-stable"):
        await made(admin).write(write(0, 8))
    assert admin.documents == before


async def test_a_pool_that_hangs_is_not_healthy_and_the_router_not_away(made: Make) -> None:
    admin = Admin()

    async def hanging(request: httpx.Request) -> httpx.Response:
        if "checkout-candidate" in request.url.path:
            await asyncio.Event().wait()
        return await admin(request)

    assert (await made(hanging).read()).healthy == {"candidate": 0, "stable": 1}


async def test_a_stable_pool_that_hangs_does_not_hold_up_the_way_back(made: Make) -> None:
    admin = Admin()
    await made(admin).write(write())

    async def hanging(request: httpx.Request) -> httpx.Response:
        if request.url.path.startswith("/sluice-pool/"):
            await asyncio.Event().wait()
        return await admin(request)

    await made(hanging).write(write(0, 8))
    assert {Document.model_validate_json(each).weight for each in admin.documents.values()} == {0}


async def test_requests_of_all_hosts_are_in_flight(made: Make) -> None:
    found = shown(in_flight={"checkout-stable": 3}).model_dump()
    router = made(lambda _: httpx.Response(200, json=found))
    assert await router.in_flight("stable") == 6
    assert await router.in_flight("candidate") == 0
