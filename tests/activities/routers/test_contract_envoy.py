"""Envoy with weights in a route file, against the contract suites and what is special about it."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from activities.ports import Write
from activities.routers.envoy import EnvoyRouter
from activities.routers.envoy.connection import EnvoyConnection
from rollout.errors import Misconfigured, NotPermitted
from rollout.routes import EnvoyRoute, Sticky
from testbed.envoy import ROUTES
from testbed.programs import Shop
from tests.activities.routers.cancelled_contract import CancelledContract
from tests.activities.routers.contract import (
    HEADER,
    OWNER,
    ForcedHeaderContract,
    InFlightContract,
    RefusalContract,
    RestartContract,
    RouterContract,
    proven,
)
from tests.activities.routers.envoy_stand import EdgeEnvoy, EnvoyStand
from tests.activities.routers.envoy_standing import serving, standing
from tests.activities.routers.sticky_contract import StickyContract, seen_by, users

Parts = tuple[EdgeEnvoy, Shop]


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    with serving(tmp_path_factory.mktemp("envoy"), EdgeEnvoy) as parts:
        yield parts


@pytest.fixture
async def stand(parts: Parts) -> AsyncIterator[EnvoyStand]:
    async with standing(EnvoyStand, parts) as stand:
        yield stand


async def versions(stand: EnvoyStand, path: str, headers: dict[str, str] | None = None) -> set[str]:
    answers = [await stand.http.get(f"{stand.url}{path}", headers=headers) for _ in range(5)]
    return {answer.headers["X-Version"] for answer in answers}


@pytest.mark.server
class TestEnvoy(
    RouterContract, ForcedHeaderContract, RefusalContract, RestartContract, InFlightContract, CancelledContract
):
    async def test_the_reason_for_a_stale_route_is_named(self, stand: EnvoyStand) -> None:
        router = stand.router()
        await router.write(Write(percent=5, epoch=1, owner=OWNER))
        await stand.spoil()
        text = stand.envoy.route_file.read_text(encoding="utf-8").replace("sluice epoch=1 percent=5", "by hand")
        await stand.put(json.loads(text.replace("9500", "7500").replace("500", "2500", 1)))
        state = await router.read()
        assert state.in_force is None
        assert state.problem is not None
        assert 'Envoy shows version "sluice epoch=1 percent=5" with 5 %' in state.problem
        assert "refused" in state.problem

    async def test_an_edit_in_place_is_drift(self, stand: EnvoyStand) -> None:
        router = stand.router()
        await router.write(Write(percent=5, epoch=1, owner=OWNER))
        text = stand.envoy.route_file.read_text(encoding="utf-8")
        stand.envoy.route_file.write_text(text.replace("9500", "9000").replace(" 500", " 1000"), encoding="utf-8")
        state = await router.read()
        assert (state.percent, state.in_force) == (10, None)
        assert state.problem == 'Envoy shows version "sluice epoch=1 percent=5" with 5 %, checkout.json says 10 %'

    async def test_hosts_and_matches_of_the_operator_survive_a_whole_rollout(self, stand: EnvoyStand) -> None:
        document = json.loads((ROUTES / "checkout.json").read_bytes())
        host = document["resources"][0]["virtual_hosts"][0]
        host["routes"].insert(0, {"match": {"path": "/gone"}, "direct_response": {"status": 410}})
        action = {"cluster": "checkout-stable", "timeout": "3s", "prefix_rewrite": "/"}
        host["routes"].insert(1, {"match": {"prefix": "/v2/"}, "route": action})
        await stand.put(document)
        router = stand.router()
        for epoch, percent in enumerate((5, 100), start=1):
            await router.write(Write(percent=percent, epoch=epoch, owner=OWNER))
            await proven(router, percent)
        assert await versions(stand, "v2/") == {"canary"}
        assert await versions(stand, "v2/", {HEADER.name: HEADER.stable}) == {"stable"}
        assert (await stand.http.get(f"{stand.url}gone")).status_code == 410
        await router.write(Write(percent=0, epoch=9, owner=OWNER, release=True))
        assert await versions(stand, "v2/") == {"stable"}
        routes = json.loads(stand.envoy.route_file.read_bytes())["resources"][0]["virtual_hosts"][0]["routes"]
        assert [route["match"] for route in routes] == [route["match"] for route in host["routes"]]
        assert routes[1]["route"]["timeout"] == "3s"

    async def test_a_frozen_envoy_is_unreachable_within_its_timeout(self, stand: EnvoyStand) -> None:
        connection = EnvoyConnection(admin=stand.envoy.admin_url, routes=stand.envoy.routes, timeout_s=0.1)
        router = EnvoyRouter(EnvoyRoute(connection="edge-1", service="checkout"), connection, stand.http)
        stand.envoy.pause()
        try:
            async with asyncio.timeout(2):
                await router.write(Write(percent=0, epoch=1, owner=OWNER))
        finally:
            stand.envoy.resume()
        await proven(router, 0)

    async def test_mode_and_folder_stay_as_the_operator_left_them(self, stand: EnvoyStand) -> None:
        stand.envoy.route_file.chmod(0o640)
        await stand.router().write(Write(percent=5, epoch=1, owner=OWNER))
        assert stand.envoy.route_file.stat().st_mode & 0o777 == 0o640
        names = {path.name for path in stand.envoy.routes.iterdir()}
        assert names - {"cart.json", "cart.json.lock"} == {"checkout.json", "checkout.json.lock"}

    async def test_a_missing_file_is_not_made_up(self, stand: EnvoyStand, tmp_path: Path) -> None:
        connection = EnvoyConnection(admin=stand.envoy.admin_url, routes=tmp_path)
        router = EnvoyRouter(EnvoyRoute(connection="edge-1", service="checkout"), connection, stand.http)
        with pytest.raises(Misconfigured, match=r"checkout\.json is missing"):
            await router.write(Write(percent=0, epoch=1, owner=OWNER))

    async def test_a_listener_that_reads_another_file_is_noticed(
        self, stand: EnvoyStand, parts: Parts, tmp_path: Path
    ) -> None:
        envoy, _ = parts
        (tmp_path / "checkout.json").write_bytes((ROUTES / "checkout.json").read_bytes())
        stand.stop()
        envoy.elsewhere = tmp_path
        stand.start()
        try:
            router = stand.router()
            await router.write(Write(percent=100, epoch=1, owner=OWNER))
            state = await router.read()
            assert (state.percent, state.in_force) == (100, None)
            assert state.problem == 'Envoy shows version "seed" with 0 %, checkout.json says 100 %'
            assert set(await seen_by(envoy.elsewhere_url, users(5))) == {"stable"}
            fresh = tmp_path / "fresh"
            fresh.write_bytes(envoy.route_file.read_bytes())
            fresh.rename(tmp_path / "checkout.json")
            await proven(router, 100)
            assert set(await seen_by(envoy.elsewhere_url, users(5))) == {"canary"}
        finally:
            stand.stop()
            envoy.elsewhere = None
            stand.start()

    async def test_a_path_that_the_operator_closed_is_named_and_the_way_back_is_open(
        self, stand: EnvoyStand, parts: Parts
    ) -> None:
        envoy, _ = parts
        router = stand.router()
        await router.write(Write(percent=100, epoch=1, owner=OWNER))
        stand.stop()
        envoy.allowed = ("/clusters", "/config_dump", "/server_info")
        stand.start()
        try:
            before = stand.written()
            with pytest.raises(NotPermitted, match=r"/stats with 403.*allow_paths"):
                await router.write(Write(percent=50, epoch=2, owner=OWNER))
            assert stand.written() == before
            await router.write(Write(percent=0, epoch=3, owner=OWNER))
            await proven(router, 0)
        finally:
            stand.stop()
            envoy.allowed = None
            stand.start()


@pytest.mark.server
class TestStickyEnvoy(StickyContract):
    async def test_the_first_visit_already_has_the_version_of_all_others(self, stand: EnvoyStand) -> None:
        router = stand.sticky_router(Sticky(cookie="who", ttl=timedelta(minutes=10)))
        await router.write(Write(percent=50, epoch=1, owner=OWNER))
        await proven(router, 50)
        answer = await stand.http.get(stand.url)
        cookie = answer.headers["Set-Cookie"]
        assert re.fullmatch(r"who=[0-9a-f-]{13}; Path=/; Max-Age=600; HttpOnly; SameSite=Lax", cookie)
        people = users(100)
        assert await seen_by(stand.url, people) == await seen_by(stand.url, people)
        again = await stand.http.get(stand.url, headers={"Cookie": f"a=b; {cookie.split(';')[0]}; c=d"})
        assert "Set-Cookie" not in again.headers
        assert again.headers["X-Version"] == answer.headers["X-Version"]

    async def test_the_operators_own_hash_policy_decides_and_survives(self, stand: EnvoyStand) -> None:
        document = json.loads((ROUTES / "checkout.json").read_bytes())
        [entry] = document["resources"][0]["virtual_hosts"][0]["routes"]
        entry["route"]["hash_policy"] = [{"header": {"header_name": "x-team"}, "terminal": False}]
        await stand.put(document)
        router = stand.sticky_router(Sticky())
        assert (await router.read()).problem is None
        await router.write(Write(percent=50, epoch=1, owner=OWNER))
        await proven(router, 50)
        for team in ("red", "green", "blue"):
            people = users(20)
            assert len(set(await seen_by(stand.url, people, f"X-Team: {team}"))) == 1
            assert not any("Cookie" in line for user in people for line in user.fields())
        await router.write(Write(percent=0, epoch=2, owner=OWNER, release=True))
        await proven(router, 0)
        after = json.loads(stand.envoy.route_file.read_bytes())
        [left] = after["resources"][0]["virtual_hosts"][0]["routes"]
        assert left["route"]["hash_policy"] == entry["route"]["hash_policy"]
        assert set(left["route"]["weighted_clusters"]) == {"clusters"}

    async def test_a_hash_policy_taken_out_in_the_middle_is_drift(self, stand: EnvoyStand, sticky: Sticky) -> None:
        router = stand.sticky_router(sticky)
        await router.write(Write(percent=25, epoch=1, owner=OWNER))
        await proven(router, 25)
        document = json.loads(stand.envoy.route_file.read_bytes())
        del document["resources"][0]["virtual_hosts"][0]["routes"][-1]["route"]["weighted_clusters"]["use_hash_policy"]
        await stand.put(document)
        state = await router.read()
        assert (state.percent, state.in_force) == (25, None)
        assert state.problem == "checkout.json no longer keeps users on their version: its hash policy was changed"
        await router.write(Write(percent=25, epoch=2, owner=OWNER))
        await proven(router, 25)

    async def test_an_envoy_without_request_ids_can_give_no_cookie_and_says_so(
        self, stand: EnvoyStand, parts: Parts
    ) -> None:
        envoy, _ = parts
        stand.stop()
        envoy.ids = False
        stand.start()
        try:
            state = await stand.sticky_router(Sticky()).read()
            assert state.in_force == 0  # the way back does not depend on it
            assert state.problem is not None
            assert "generate_request_id: false" in state.problem
            assert (await stand.sticky_router(Sticky(header="X-User")).read()).problem is None
        finally:
            stand.stop()
            envoy.ids = True
            stand.start()
        assert (await stand.sticky_router(Sticky()).read()).problem is None
