"""Read-back, with Envoy's answers made up: what is in force, and what is said where it is not."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from activities.routers.envoy import EnvoyConnection, EnvoyRouter, Json, desired
from rollout.errors import Misconfigured, RouterUnreachable
from rollout.routes import EnvoyRoute
from tests.activities.routers.documents import CANDIDATE, ROUTE, STABLE, document, recorded, shares, to, write


class Admin:
    """Envoy's admin interface: what it shows, and how many files it refused."""

    def __init__(self, running: Json | None, refused: int = 0, version: str = "seed") -> None:
        configs = [] if running is None else [{"version_info": version, "route_config": running["resources"][0]}]
        self.answers: dict[str, Json] = {
            "/config_dump": {"configs": configs},
            "/clusters": recorded("clusters_healthy"),
            "/stats": {
                "stats": [
                    {"name": "http.in.rds.checkout.version_text", "value": version},
                    {"name": "http.in.rds.checkout.update_rejected", "value": refused},
                    {"histograms": {}},
                ]
            },
        }

    def __call__(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=self.answers[request.url.path])


def router(folder: Path, written: Json, admin: Any, route: EnvoyRoute = ROUTE) -> EnvoyRouter:
    (folder / "checkout.json").write_text(json.dumps(written), encoding="utf-8")
    http = httpx.AsyncClient(transport=httpx.MockTransport(admin))
    return EnvoyRouter(route, EnvoyConnection(admin="http://127.0.0.1:9901/", routes=folder), http)


async def test_proof_names_version_and_weights(tmp_path: Path) -> None:
    file = desired(document(to(STABLE)), ROUTE, write(25, epoch=7))
    state = await router(tmp_path, file, Admin(file, version=file["version_info"])).read()
    assert state.in_force == 25
    assert state.proof == 'Envoy shows "sluice epoch=7 percent=25": checkout-candidate 2500, checkout-stable 7500'


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"percent": 5}, 'Envoy shows version "v" with 5 %, checkout.json says 25 %'),
        ({"epoch": 6}, "with 25 %, checkout.json says 25 % under another mark or header rule"),
        ({"header": False}, "under another mark or header rule"),
        ({"release": True}, "under another mark or header rule"),
    ],
)
async def test_anything_that_envoy_shows_otherwise_is_not_in_force(tmp_path: Path, change: Json, words: str) -> None:
    asked = {"percent": 25, "epoch": 7, **change}
    running = desired(document(to(STABLE)), ROUTE, write(**asked))
    file = desired(document(to(STABLE)), ROUTE, write(25, epoch=7))
    state = await router(tmp_path, file, Admin(running, version="v")).read()
    assert (state.percent, state.in_force, state.proof) == (25, None, "")
    assert state.problem is not None
    assert words in state.problem


async def test_refused_files_are_mentioned_only_if_the_file_was_not_accepted(tmp_path: Path) -> None:
    seed = document(to(STABLE))
    state = await router(tmp_path, desired(seed, ROUTE, write()), Admin(seed, refused=2)).read()
    assert state.problem is not None
    assert "refused 2 updates" in state.problem
    state = await router(tmp_path, {**seed, **document(to(CANDIDATE))}, Admin(seed, refused=2)).read()
    assert state.problem is not None
    assert "refused" not in state.problem


async def test_an_envoy_without_the_route_configuration_says_so(tmp_path: Path) -> None:
    state = await router(tmp_path, document(to(STABLE)), Admin(None)).read()
    assert state.in_force is None
    assert state.problem is not None
    assert "has no route configuration checkout" in state.problem


async def test_routes_that_disagree_are_never_in_force_and_count_as_the_highest(tmp_path: Path) -> None:
    file = document(shares(candidate=5, stable=95), shares(candidate=1, stable=3))
    state = await router(tmp_path, file, Admin(file)).read()
    assert (state.percent, state.in_force) == (25, None)
    assert state.problem == "the routes of checkout.json disagree or weigh nothing: 5 %, 25 %"


async def test_every_listener_must_show_it(tmp_path: Path) -> None:
    seed, file = document(to(STABLE)), desired(document(to(STABLE)), ROUTE, write())
    admin = Admin(file)
    admin.answers["/config_dump"]["configs"] += Admin(seed).answers["/config_dump"]["configs"]
    assert (await router(tmp_path, file, admin).read()).in_force is None


async def test_active_and_waiting_requests_are_in_flight(tmp_path: Path) -> None:
    admin = Admin(None)
    stats = admin.answers["/clusters"]["cluster_statuses"][0]["host_statuses"][0]["stats"]
    stats += [{"name": "rq_active", "value": "3"}, {"name": "rq_pending_active", "value": "2"}]
    adapter = router(tmp_path, document(to(STABLE)), admin)
    assert await adapter.in_flight("stable") == 5
    assert await adapter.in_flight("candidate") == 0


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(503, text="no"),
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json=[1]),
        httpx.Response(302, headers={"location": "http://127.0.0.1/login"}),
        httpx.Response(200, json={"configs": [{"route_config": {"name": "checkout", "virtual_hosts": 1}}]}),
    ],
)
async def test_an_admin_interface_that_is_none_is_unreachable(tmp_path: Path, answer: httpx.Response) -> None:
    with pytest.raises(RouterUnreachable, match="envoy edge-1/checkout") as unreachable:
        await router(tmp_path, document(to(STABLE)), lambda _: answer).read()
    assert unreachable.value.__cause__ is not None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"7", b"\xff\xfe{}"])
async def test_a_file_that_is_no_json_object_is_named(tmp_path: Path, content: bytes) -> None:
    adapter = router(tmp_path, {}, Admin(None))
    (tmp_path / "checkout.json").write_bytes(content)
    with pytest.raises(Misconfigured, match=r"checkout\.json is not a JSON object"):
        await adapter.read()
    with pytest.raises(Misconfigured, match=r"checkout\.json is not a JSON object"):
        await adapter.write(write(0))
    assert (tmp_path / "checkout.json").read_bytes() == content
