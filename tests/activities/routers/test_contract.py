import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from activities.ports import Router, Write
from activities.routers import router_for
from activities.routers.envoy import EnvoyConnection, EnvoyRouter
from rollout.errors import Misconfigured
from rollout.routes import EnvoyRoute, Sticky
from testbed.envoy import ROUTES, Envoy
from testbed.programs import Shop
from tests.activities.routers.contract import (
    HEADER,
    OWNER,
    RouterContract,
    StickyContract,
    StickyStand,
    canaries,
    proven,
    seen_by,
    until,
    users,
)


class EdgeEnvoy(Envoy):
    """An Envoy whose listener gives requests an id, or none, and rewrites the id as tracing does."""

    ids = True

    def prepare(self) -> None:
        super().prepare()
        file = self.directory / "envoy.json"
        config = json.loads(file.read_bytes())
        [listener] = config["static_resources"]["listeners"]
        manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
        manager.update(generate_request_id=self.ids, tracing={"random_sampling": {"value": 50}})
        file.write_text(json.dumps(config), encoding="utf-8")


class EnvoyStand(StickyStand):
    def __init__(self, envoy: Envoy, stable: Shop, http: httpx.AsyncClient) -> None:
        self.url = envoy.url
        self.envoy = envoy
        self.http = http
        self._stable = stable

    def router(self, *, unknown_candidate: bool = False) -> Router:
        ghost = "ghost" if unknown_candidate else None
        route = EnvoyRoute(connection="edge-1", service="checkout", candidate=ghost, header=HEADER)
        return router_for(route, EnvoyConnection(admin=self.envoy.admin_url, routes=self.envoy.routes), self.http)

    def sticky_router(self, sticky: Sticky) -> Router:
        route = EnvoyRoute(connection="edge-1", service="checkout", header=HEADER, sticky=sticky)
        return router_for(route, EnvoyConnection(admin=self.envoy.admin_url, routes=self.envoy.routes), self.http)

    def written(self) -> object:
        file = self.envoy.route_file.stat()
        return file.st_ino, file.st_mtime_ns, self.envoy.route_file.read_bytes()

    async def spoil(self) -> None:
        document = json.loads(self.envoy.route_file.read_bytes())
        document["resources"][0]["virtual_hosts"][0]["domains"] = []
        await self.put(document)

    async def put(self, document: dict[str, Any]) -> None:
        """What an operator does, and wait until Envoy has looked at it."""
        before = await self._looked()
        fresh = self.envoy.route_file.with_suffix(".operator")
        fresh.write_text(json.dumps(document), encoding="utf-8")
        fresh.rename(self.envoy.route_file)

        async def looked_again() -> bool:
            return await self._looked() > before

        await until(looked_again)

    async def _looked(self) -> int:
        answer = await self.http.get(
            f"{self.envoy.admin_url}/stats", params={"format": "json", "filter": "rds.*attempt"}
        )
        return int(answer.json()["stats"][0]["value"])

    def stop(self) -> None:
        self.envoy.stop()

    def start(self) -> None:
        self.envoy.start()

    @asynccontextmanager
    async def slow(self) -> AsyncIterator[None]:
        self._stable.fault(latency_ms=600)
        try:
            yield
        finally:
            self._stable.fault(latency_ms=0)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Envoy, Shop]]:
    folder = tmp_path_factory.mktemp("envoy")
    stable, candidate = Shop(folder, version="stable"), Shop(folder, version="canary")
    envoy = Envoy(folder, stable_port=stable.port, candidate_port=candidate.port)
    with stable, candidate, envoy:
        yield envoy, stable


@pytest.mark.server
class TestEnvoy(RouterContract):
    @pytest.fixture
    async def stand(self, parts: tuple[Envoy, Shop]) -> AsyncIterator[EnvoyStand]:
        envoy, stable = parts
        async with httpx.AsyncClient(trust_env=False) as http:
            stand = EnvoyStand(envoy, stable, http)
            await stand.put(json.loads((ROUTES / "checkout.json").read_bytes()))
            await proven(stand.router(), 0)
            yield stand

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
        assert await canaries(f"{stand.url}v2/", 5) == 5
        assert await canaries(f"{stand.url}v2/", 5, {HEADER.name: HEADER.stable}) == 0
        assert (await stand.http.get(f"{stand.url}gone")).status_code == 410
        await router.write(Write(percent=0, epoch=9, owner=OWNER, release=True))
        assert await canaries(f"{stand.url}v2/", 5) == 0
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

    async def test_a_cancelled_write_is_finished_all_the_same(self, stand: EnvoyStand) -> None:
        router = stand.router()
        writing = asyncio.ensure_future(router.write(Write(percent=5, epoch=1, owner=OWNER)))
        await asyncio.sleep(0)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        await proven(router, 5)

    async def test_mode_and_folder_stay_as_the_operator_left_them(self, stand: EnvoyStand) -> None:
        stand.envoy.route_file.chmod(0o640)
        await stand.router().write(Write(percent=5, epoch=1, owner=OWNER))
        assert stand.envoy.route_file.stat().st_mode & 0o777 == 0o640
        names = {path.name for path in stand.envoy.routes.iterdir()}
        assert names == {"checkout.json", "checkout.json.lock"}

    async def test_a_missing_file_is_not_made_up(self, stand: EnvoyStand, tmp_path: Path) -> None:
        connection = EnvoyConnection(admin=stand.envoy.admin_url, routes=tmp_path)
        router = EnvoyRouter(EnvoyRoute(connection="edge-1", service="checkout"), connection, stand.http)
        with pytest.raises(Misconfigured, match=r"checkout\.json is missing"):
            await router.write(Write(percent=0, epoch=1, owner=OWNER))


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[EdgeEnvoy, Shop]]:
    folder = tmp_path_factory.mktemp("edge")
    stable, candidate = Shop(folder, version="stable"), Shop(folder, version="canary")
    envoy = EdgeEnvoy(folder, stable_port=stable.port, candidate_port=candidate.port)
    with stable, candidate, envoy:
        yield envoy, stable


@pytest.mark.server
class TestStickyEnvoy(StickyContract):
    @pytest.fixture
    async def stand(self, edge: tuple[EdgeEnvoy, Shop]) -> AsyncIterator[EnvoyStand]:
        envoy, stable = edge
        async with httpx.AsyncClient(trust_env=False) as http:
            stand = EnvoyStand(envoy, stable, http)
            await stand.put(json.loads((ROUTES / "checkout.json").read_bytes()))
            await proven(stand.router(), 0)
            yield stand

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
        self, stand: EnvoyStand, edge: tuple[EdgeEnvoy, Shop]
    ) -> None:
        envoy, _ = edge
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
