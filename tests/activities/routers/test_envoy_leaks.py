"""Envoy: ways to the candidate that no percent moves, writes that Envoy missed, matches that its dump spells anew."""

import copy
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from activities.ports import Write
from activities.routers.envoy.layer import RuntimeLayer
from activities.routers.envoy.routes import Json, desired, view
from activities.routers.envoy.values import desired_values
from activities.routers.envoy.wiring import wiring
from rollout.errors import Misconfigured, NotPermitted, RouteRejected
from rollout.routes import EnvoyRoute, Sticky
from testbed.programs import Shop
from tests.activities.routers.contract import HEADER, OWNER, canaries, proven
from tests.activities.routers.documents import BY_COOKIE, CANDIDATE, ROUTE, STABLE, document, to, write
from tests.activities.routers.envoy_stand import EdgeEnvoy, EnvoyStand, RuntimeEnvoy, RuntimeStand, route_of
from tests.activities.routers.envoy_standing import serving, standing
from tests.activities.routers.test_envoy_reading import Admin, router

EU = "checkout-stable-eu"


def among(prefix: str = "/api", *, shares: Json | None = None, **weights: int) -> Json:
    names = {"candidate": CANDIDATE, "stable": STABLE, "eu": EU}
    clusters = [{"name": names[name], "weight": weight} for name, weight in weights.items()]
    action = {"prefix_rewrite": "/", "weighted_clusters": {"clusters": clusters, **(shares or {})}}
    return {"match": {"prefix": prefix}, "route": action}


def first(made: Json) -> Json:
    return dict(made["resources"][0]["virtual_hosts"][0]["routes"][0])


def weights(entry: Json) -> dict[str, int]:
    return {share["name"]: share["weight"] for share in entry["route"]["weighted_clusters"]["clusters"]}


# ── Without an Envoy ────────────────────────────────────────────────────────────────────────────

PLUGIN = {"extension": {"name": "lua", "typed_config": {"default_cluster": CANDIDATE}}}
LEAKS = {
    "beside a third": document(among(candidate=50, stable=40, eu=0), to(STABLE)),
    "beside one that is not stable": document(among(candidate=1, eu=99), to(STABLE)),
    "with a header match": document(
        {**among(candidate=1, eu=9), "match": {"prefix": "/", "headers": [{"name": "x-a"}]}}, to(STABLE)
    ),
    "named twice": document(among(candidate=5, eu=9), to(STABLE)),
    "drawn from the runtime": document(among(shares={"runtime_key_prefix": "w"}, candidate=0, eu=9), to(STABLE)),
    "alone beside nothing": document(among(candidate=5, eu=0), to(STABLE)),
    "a plugin of the route": document(
        {"match": {"prefix": "/p"}, "route": {"inline_cluster_specifier_plugin": PLUGIN}}, to(STABLE)
    ),
    "a plugin of the configuration": document(to(STABLE), cluster_specifier_plugins=[PLUGIN]),
}
_TWICE = LEAKS["named twice"]["resources"][0]["virtual_hosts"][0]["routes"][0]["route"]["weighted_clusters"]
_TWICE["clusters"].append({"name": CANDIDATE, "weight": 0})
LEAKS["a matcher"] = document(to(STABLE))
LEAKS["a matcher"]["resources"][0]["virtual_hosts"].append({"name": "tree", "matcher": {"on_no_match": [CANDIDATE]}})
LEFT = {"drawn from the runtime", "alone beside nothing", "a matcher"} | {name for name in LEAKS if "plugin" in name}


@pytest.mark.parametrize("route", [ROUTE, BY_COOKIE])
@pytest.mark.parametrize("name", LEAKS)
async def test_a_way_to_the_candidate_that_no_percent_moves_is_named_and_nothing_is_in_force(
    tmp_path: Path, name: str, route: EnvoyRoute
) -> None:
    state = await router(tmp_path, LEAKS[name], Admin(LEAKS[name]), route).read()
    assert (state.in_force, state.proof) == (None, "")
    assert state.problem is not None
    assert state.problem.startswith("checkout.json: the " if name != "a plugin of the configuration" else "checkout")
    assert "no percent moves it: take checkout-candidate out of it" in state.problem


@pytest.mark.parametrize("name", LEAKS)
def test_nothing_is_raised_beside_it_and_the_way_back_is_open(name: str) -> None:
    before = copy.deepcopy(LEAKS[name])
    with pytest.raises(Misconfigured, match=r"envoy edge-1/checkout: .* leads to checkout-candidate .*nothing was"):
        desired(LEAKS[name], ROUTE, write(5))
    back = view(desired(LEAKS[name], ROUTE, write(0, release=True)), ROUTE)
    assert back.percents() == [0]
    assert (back.strays == [0]) is (name not in LEFT)
    assert LEAKS[name] == before


@pytest.mark.parametrize("release", [True, False])
def test_the_way_back_takes_the_candidates_weight_and_keeps_the_rest(release: bool) -> None:
    seed = document(among(shares={"total_weight": 100}, candidate=50, stable=40, eu=10), to(STABLE))
    back = desired(seed, ROUTE, write(0, header=False, release=release))
    assert weights(first(back)) == {CANDIDATE: 0, STABLE: 40, EU: 10}
    assert first(back)["route"]["weighted_clusters"]["total_weight"] == 50
    assert desired(back, ROUTE, write(0, header=False, release=release)) == back


async def test_without_weight_it_is_no_leak_but_named_before_anything_is_raised(tmp_path: Path) -> None:
    seed = document(among(candidate=0, stable=90, eu=10), to(STABLE))
    state = await router(tmp_path, seed, Admin(seed)).read()
    assert state.in_force == 0
    assert state.problem is not None
    assert 'the route {"prefix": "/api"} leads to checkout-candidate with weight 0' in state.problem
    raised = desired(document(to(STABLE)), ROUTE, write(25))
    raised["resources"][0]["virtual_hosts"][0]["routes"].append(first(seed))
    state = await router(tmp_path, raised, Admin(raised)).read()
    assert (state.percent, state.in_force) == (25, None)  # its visitors see another percent


async def test_an_envoy_that_still_gives_weight_there_does_not_prove_zero(tmp_path: Path) -> None:
    seed = document(among(candidate=50, stable=40, eu=0), to(STABLE))
    back = desired(seed, ROUTE, write(0))
    running = copy.deepcopy(back)
    running["resources"][0]["virtual_hosts"][0]["routes"][0] = first(seed)
    assert (await router(tmp_path, back, Admin(running)).read()).in_force is None
    assert (await router(tmp_path, back, Admin(back)).read()).in_force == 0


async def test_the_operators_own_way_to_force_the_candidate_is_none_of_these(tmp_path: Path) -> None:
    forced = {"match": {"prefix": "/", "headers": [{"name": "x-team"}]}, "route": {"cluster": CANDIDATE}}
    mirrored = to("payments", "/pay", request_mirror_policies=[{"cluster": CANDIDATE}])
    seed = document(forced, mirrored, among("/eu", stable=50, eu=50), to(STABLE))
    state = await router(tmp_path, seed, Admin(seed)).read()
    assert (state.in_force, state.problem) == (0, None)
    assert view(desired(seed, ROUTE, write(5)), ROUTE).percents() == [5]


@pytest.mark.parametrize("name", ["a matcher", "a plugin of the configuration"])
def test_values_of_the_runtime_do_not_move_them_either(name: str) -> None:
    [resource] = LEAKS[name]["resources"]
    leak = wiring([{"configs": [{"route_config": resource}]}], route_of()).leak
    assert leak is not None
    assert "a weight that cannot be told" in leak


# ── A route file ────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[EdgeEnvoy, Shop]]:
    with serving(tmp_path_factory.mktemp("leaks"), EdgeEnvoy) as parts:
        yield parts


@pytest.fixture
async def stand(parts: tuple[EdgeEnvoy, Shop]) -> AsyncIterator[EnvoyStand]:
    async with standing(EnvoyStand, parts) as stand:
        yield stand


async def add(stand: EnvoyStand, entry: Json) -> None:
    seed = stand.document()
    seed["resources"][0]["virtual_hosts"][0]["routes"].insert(0, entry)
    await stand.put(seed)


@pytest.mark.server
class TestRouteFile:
    async def test_zero_is_proven_only_when_the_third_clusters_route_gives_the_candidate_nothing(
        self, stand: EnvoyStand
    ) -> None:
        adapter = stand.router()
        await add(stand, among(candidate=50, stable=40, eu=0))
        state = await adapter.read()
        assert (state.percent, state.in_force) == (0, None)
        before = stand.written()
        with pytest.raises(Misconfigured, match="/api"):
            await adapter.write(Write(percent=5, epoch=1, owner=OWNER))
        assert stand.written() == before
        await adapter.write(Write(percent=0, epoch=2, owner=OWNER, header=False, release=True))
        await proven(adapter, 0)
        seen = [(await stand.http.get(f"{stand.url}api")).headers["X-Version"] for _ in range(30)]
        assert set(seen) == {"stable"}
        assert weights(first(stand.document())) == {CANDIDATE: 0, STABLE: 40, EU: 0}

    async def test_where_nothing_else_has_weight_the_way_back_names_it(self, stand: EnvoyStand) -> None:
        adapter = stand.router()
        await add(stand, among(candidate=50, eu=0))
        await adapter.write(Write(percent=0, epoch=2, owner=OWNER, header=False, release=True))
        state = await adapter.read()
        assert (state.percent, state.in_force, state.epoch) == (0, None, 2)
        assert state.problem is not None
        assert "with weight 50, and nothing else there has weight" in state.problem

    @pytest.mark.parametrize("percent", [0, 25])
    async def test_the_same_write_again_repairs_what_envoy_did_not_notice(
        self, stand: EnvoyStand, percent: float
    ) -> None:
        adapter, asked = stand.router(), Write(percent=percent, epoch=2, owner=OWNER)
        await adapter.write(Write(percent=50, epoch=1, owner=OWNER))
        wanted = desired(stand.document(), route_of(weights="file"), asked)
        stand.envoy.route_file.write_text(json.dumps(wanted), encoding="utf-8")  # in place: Envoy looks at renames
        assert (await adapter.read()).in_force is None
        await adapter.write(asked)
        await proven(adapter, percent)
        assert stand.document() == wanted
        after = stand.written()
        await adapter.write(asked)
        assert stand.written() == after

    async def test_the_same_write_again_says_when_envoy_refuses_it(self, stand: EnvoyStand) -> None:
        adapter, asked = stand.router(), Write(percent=25, epoch=2, owner=OWNER)
        await adapter.write(Write(percent=50, epoch=1, owner=OWNER))
        wanted = desired(stand.document(), route_of(weights="file"), asked)
        wanted["resources"][0]["virtual_hosts"][0]["domains"] = []
        await stand.put(wanted)
        with pytest.raises(RouteRejected, match="it was written before, and is left"):
            await adapter.write(asked)
        assert stand.document() == wanted

    async def test_the_same_write_again_is_not_believed_unseen(self, stand: EnvoyStand) -> None:
        adapter, asked = stand.router(), Write(percent=25, epoch=1, owner=OWNER)
        await adapter.write(asked)
        with stand.gate.letting("closed"), pytest.raises(NotPermitted):
            await adapter.write(asked)
        await proven(adapter, 25)
        back = Write(percent=0, epoch=2, owner=OWNER)
        with stand.gate.letting("closed"):
            for _ in range(2):
                await adapter.write(back)
        await proven(adapter, 0)

    @pytest.mark.parametrize("sticky", [None, Sticky()])
    async def test_matches_of_the_operator_with_defaults_in_them_come_into_force(
        self, stand: EnvoyStand, sticky: Sticky | None
    ) -> None:
        adapter = stand.sticky_router(sticky) if sticky else stand.router()
        asked = [
            {"name": "x-team", "invert_match": False, "string_match": {"exact": "qa", "ignore_case": False}},
            {"name": "x-age", "range_match": {"start": 0, "end": 10}, "treat_missing_header_as_empty": False},
        ]
        await add(stand, {"match": {"prefix": "/", "headers": asked}, "route": {"cluster": STABLE}})
        for epoch, percent in enumerate((25, 0), start=1):
            await adapter.write(Write(percent=percent, epoch=epoch, owner=OWNER))
            assert (await proven(adapter, percent)).forced
        theirs = {"X-Team": "qa", "X-Age": "7"}
        assert await canaries(stand, 5, {**theirs, HEADER.name: HEADER.candidate}) == 5


# ── The runtime ─────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def runtime_parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RuntimeEnvoy, Shop]]:
    with serving(tmp_path_factory.mktemp("runtime-leaks"), RuntimeEnvoy) as parts:
        yield parts


@pytest.fixture
async def runtime(runtime_parts: tuple[RuntimeEnvoy, Shop]) -> AsyncIterator[RuntimeStand]:
    async with standing(RuntimeStand, runtime_parts) as stand:
        yield stand


@pytest.mark.server
class TestRuntime:
    @pytest.mark.parametrize("percent", [0, 25])
    async def test_the_same_write_again_repairs_what_envoy_did_not_notice(
        self, runtime: RuntimeStand, percent: float
    ) -> None:
        adapter, asked = runtime.router(), Write(percent=percent, epoch=2, owner=OWNER)
        await adapter.write(Write(percent=50, epoch=1, owner=OWNER))
        wanted = desired_values(route_of(), asked)
        for key, value in wanted.items():
            (runtime.folder / "checkout" / key).write_text(value, encoding="utf-8")  # in place: Envoy looks at swaps
        assert (await adapter.read()).in_force is None
        await adapter.write(asked)
        await proven(adapter, percent)
        assert await RuntimeLayer(runtime.folder, "checkout").read() == wanted
        after = runtime.written()
        await adapter.write(asked)
        assert runtime.written() == after

    async def test_the_same_write_again_is_not_believed_unseen(self, runtime: RuntimeStand) -> None:
        adapter, asked = runtime.router(), Write(percent=25, epoch=1, owner=OWNER)
        await adapter.write(asked)
        with runtime.gate.letting("closed"), pytest.raises(NotPermitted):
            await adapter.write(asked)
        await proven(adapter, 25)
