"""Read-back, with Envoy's answers made up: what is in force, and what is said where it is not."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from activities.routers.envoy import EnvoyConnection, EnvoyRouter
from activities.routers.envoy.routes import Json, desired
from rollout.errors import Misconfigured, RouterUnreachable
from rollout.routes import EnvoyRoute
from tests.activities.routers.documents import (
    BY_COOKIE,
    BY_HEADER,
    CANDIDATE,
    ROUTE,
    STABLE,
    document,
    recorded,
    shares,
    to,
    write,
)


class Admin:
    """Envoy's admin interface: what it shows, and how many files it refused."""

    def __init__(self, running: Json | None, refused: int = 0, version: str = "seed") -> None:
        configs = [] if running is None else [{"version_info": version, "route_config": running["resources"][0]}]
        self.answers: dict[str, Json] = {
            "/config_dump": {"configs": configs},
            "/clusters": recorded("clusters_healthy"),
            "/server_info": {"version": "9e558/1.40.0/Clean/RELEASE/BoringSSL"},
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
        ({"epoch": 6}, "with 25 %, checkout.json says 25 % under another mark, header rule or hash policy"),
        ({"header": False}, "under another mark, header rule or hash policy"),
        ({"release": True}, "under another mark, header rule or hash policy"),
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


LISTENER = {
    "listener": {"filter_chains": [{"filters": [{"typed_config": {"rds": {"route_config_name": "checkout"}}}]}]}
}


def with_listener(admin: Admin, **manager: Any) -> Admin:
    listener = json.loads(json.dumps(LISTENER))
    listener["listener"]["filter_chains"][0]["filters"][0]["typed_config"].update(manager)
    admin.answers["/config_dump"]["configs"].append(listener)
    return admin


@pytest.mark.parametrize("route", [BY_COOKIE, BY_HEADER])
async def test_an_envoy_that_keeps_users_has_no_problem(tmp_path: Path, route: EnvoyRoute) -> None:
    seed = document(to(STABLE))
    state = await router(tmp_path, seed, with_listener(Admin(seed)), route).read()
    assert (state.in_force, state.problem) == (0, None)
    file = desired(seed, route, write(25))
    state = await router(tmp_path, file, with_listener(Admin(file)), route).read()
    assert (state.in_force, state.problem) == (25, None)


@pytest.mark.parametrize(
    ("seed", "manager", "version", "words"),
    [
        (document(to(STABLE)), {"generate_request_id": False}, "1.40.0", "generate_request_id: false"),
        (document(to(STABLE)), {}, "1.35.9", "Envoy 1.35 cannot choose by user"),
        (document(to(STABLE), request_headers_to_remove=["X-Request-Id"]), {}, "1.40.0", "removes x-request-id"),
        (
            document(
                {"match": {}, "route": {"weighted_clusters": {"clusters": [{"name": STABLE}], "header_name": "d"}}}
            ),
            {},
            "1.40.0",
            "draw by header d already",
        ),
    ],
)
async def test_an_envoy_that_cannot_keep_users_says_why_and_proves_all_the_same(
    tmp_path: Path, seed: Json, manager: Json, version: str, words: str
) -> None:
    file = desired(seed, ROUTE, write(0, release=True))
    admin = with_listener(Admin(file), **manager)
    admin.answers["/server_info"] = {"version": f"9e558/{version}/Clean"}
    state = await router(tmp_path, file, admin, BY_COOKIE).read()
    assert state.in_force == 0
    assert state.problem is not None
    assert words in state.problem
    assert (await router(tmp_path, file, admin).read()).problem is None


async def test_ids_do_not_matter_where_no_cookie_is_handed_out(tmp_path: Path) -> None:
    for seed, route in (
        (document(to(STABLE)), BY_HEADER),
        (document(to(STABLE, hash_policy=[{"header": {"header_name": "x-team"}}])), BY_COOKIE),
    ):
        admin = with_listener(Admin(seed), generate_request_id=False)
        assert (await router(tmp_path, seed, admin, route).read()).problem is None


async def test_other_listeners_ids_do_not_matter(tmp_path: Path) -> None:
    seed = document(to(STABLE))
    admin = with_listener(Admin(seed), generate_request_id=False, rds={"route_config_name": "cart"})
    assert (await router(tmp_path, seed, admin, BY_COOKIE).read()).problem is None


async def test_an_admin_interface_that_hides_the_listeners_is_a_problem_but_no_failure(tmp_path: Path) -> None:
    seed = document(to(STABLE))
    admin = Admin(seed)

    def hiding(request: httpx.Request) -> httpx.Response:
        return httpx.Response(403) if request.url.path == "/server_info" else admin(request)

    state = await router(tmp_path, seed, hiding, BY_COOKIE).read()
    assert state.in_force == 0
    assert state.problem is not None
    assert "server_info" in state.problem


@pytest.mark.parametrize("route", [BY_COOKIE, BY_HEADER])
async def test_an_envoy_that_shows_another_hash_policy_is_not_in_force(tmp_path: Path, route: EnvoyRoute) -> None:
    file = desired(document(to(STABLE)), route, write(25))
    running = json.loads(json.dumps(file))
    running["resources"][0]["virtual_hosts"][0]["routes"][-1]["route"]["hash_policy"] = [
        {"header": {"header_name": "a"}}
    ]
    state = await router(tmp_path, file, Admin(running), route).read()
    assert state.in_force is None
    assert state.problem is not None
    assert "under another mark, header rule or hash policy" in state.problem


@pytest.mark.parametrize("lost", ["use_hash_policy", "hash_policy", "first visit"])
async def test_a_file_that_no_longer_keeps_users_is_not_in_force_though_envoy_shows_it(
    tmp_path: Path, lost: str
) -> None:
    file = desired(document(to(STABLE)), BY_COOKIE, write(25))
    routes = file["resources"][0]["virtual_hosts"][0]["routes"]
    if lost == "first visit":
        del routes[-2]
    else:
        action = routes[-1]["route"]
        (action if lost in action else action["weighted_clusters"]).pop(lost)
    state = await router(tmp_path, file, Admin(file), BY_COOKIE).read()
    assert state.in_force is None
    assert state.problem == "checkout.json no longer keeps users on their version: its hash policy was changed"


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
