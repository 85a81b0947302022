"""The pure half of Envoy's runtime: golden values, properties, recorded answers of Envoy 1.40, and the wiring."""

import copy
import json
import os
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.ports import Write
from activities.routers.envoy.connection import EnvoyConnection
from activities.routers.envoy.layer import RuntimeLayer
from activities.routers.envoy.routes import Json
from activities.routers.envoy.runtime import EnvoyRuntimeRouter
from activities.routers.envoy.values import desired_values, keys_of, missing_layer, shown_values, view_values
from activities.routers.envoy.wiring import wiring
from rollout.errors import Misconfigured, RouterUnreachable
from rollout.routes import EnvoyRoute, ForcedHeader
from tests.activities.routers.documents import write

FOLDER = Path(__file__).parent / "envoy_runtime"
ROUTE = EnvoyRoute(connection="edge-1", service="checkout", weights="runtime", header=ForcedHeader())
CANDIDATE = "sluice.checkout.checkout-candidate"
STABLE = "sluice.checkout.checkout-stable"


def recorded(name: str) -> Json:
    return dict(json.loads((FOLDER / "recorded" / f"{name}.json").read_bytes()))


# ── Values ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.json")), ids=lambda file: file.stem)
def test_the_values_are_what_the_golden_file_says(file: Path) -> None:
    case = json.loads(file.read_bytes())
    made = desired_values(EnvoyRoute(**case["route"]), Write(**case["write"]))
    assert made == case["expected"], json.dumps(made, indent=2)


PERCENTS = st.integers(0, 10_000).map(lambda hundredths: hundredths / 100)


@given(PERCENTS, st.integers(0, 2**62), st.text(min_size=1), st.booleans())
def test_what_was_written_reads_back(percent: float, epoch: int, owner: str, header: bool) -> None:
    values = desired_values(ROUTE, Write(percent=percent, epoch=epoch, owner=owner, header=header))
    seen = view_values(values, ROUTE)
    assert (seen.percent, seen.mark.epoch, seen.mark.owner, seen.forced) == (percent, epoch, owner, header)
    assert set(values) == set(keys_of(ROUTE))
    assert sum(seen.split.values()) == 10_000
    assert all(value == value.strip() and value[0] != "#" and "\n" not in value for value in values.values())


def test_without_any_value_all_is_on_stable() -> None:
    seen = view_values({}, ROUTE)
    assert (seen.percent, seen.mark.epoch, seen.mark.owner, seen.forced) == (0, 0, None, False)


@pytest.mark.parametrize("key", ["epoch", "forced", "checkout-stable"])
def test_a_value_that_is_no_number_is_named(key: str) -> None:
    with pytest.raises(Misconfigured, match=rf"sluice\.checkout\.{key} is 'many'"):
        view_values({f"sluice.checkout.{key}": "many"}, ROUTE)


@pytest.mark.parametrize("pool", ["forced", "owner", "a/b"])
def test_a_cluster_whose_name_cannot_be_a_key_is_refused(pool: str) -> None:
    with pytest.raises(Misconfigured, match="cannot have a runtime value"):
        desired_values(ROUTE.model_copy(update={"candidate": pool}), write(5))


# ── What Envoy shows ────────────────────────────────────────────────────────────────────────────


def test_recorded_values_are_read_and_another_services_are_not() -> None:
    running = shown_values(recorded("runtime"), ROUTE)
    assert running.ours == desired_values(ROUTE, write(5, epoch=7))
    assert (running.loaded, running.overrides) == (True, {})


def test_a_recorded_override_has_the_last_word() -> None:
    running = shown_values(recorded("runtime_overridden"), ROUTE)
    assert running.overrides == {CANDIDATE: ("admin", "4000"), STABLE: ("admin", "6000")}
    assert running.ours == desired_values(ROUTE, write(5, epoch=7))


def test_a_layer_below_has_no_word_as_long_as_ours_speaks() -> None:
    answer: Json = {"layers": ["base", "sluice-checkout"], "entries": {CANDIDATE: {"layer_values": ["9", "5"]}}}
    assert shown_values(answer, ROUTE).overrides == {}
    answer["entries"][CANDIDATE]["layer_values"] = ["9", ""]
    assert shown_values(answer, ROUTE).overrides == {CANDIDATE: ("base", "9")}
    assert not shown_values({"layers": ["base"], "entries": {}}, ROUTE).loaded


def test_the_recorded_bootstrap_has_the_layer_and_a_layer_of_another_kind_is_none() -> None:
    assert missing_layer(recorded("layers"), ROUTE) is None
    for absent in ({}, {"configs": [{"bootstrap": {"layered_runtime": {"layers": [{"name": "sluice-checkout"}]}}}]}):
        assert "{name: sluice-checkout, disk_layer: {symlink_root: " in str(missing_layer(absent, ROUTE))


# ── Wiring ──────────────────────────────────────────────────────────────────────────────────────


def test_the_recorded_routes_of_the_example_are_wired() -> None:
    seen = wiring([{}, recorded("routes")], ROUTE)
    assert (seen.leak, seen.lack) == (None, None)


def routes_of(dump: Json) -> list[Json]:
    [config] = [each["route_config"] for each in dump["configs"] if each["route_config"]["name"] == "checkout"]
    return list(config["virtual_hosts"][0]["routes"])


def changed(change: Callable[[list[Json]], object]) -> Json:
    dump = copy.deepcopy(recorded("routes"))
    routes = routes_of(dump)
    change(routes)
    [config] = [each["route_config"] for each in dump["configs"] if each["route_config"]["name"] == "checkout"]
    config["virtual_hosts"][0]["routes"] = routes
    return dump


def weighs(routes: list[Json]) -> Json:
    shares: Json = routes[-1]["route"]["weighted_clusters"]
    return shares


LEAKS = {
    "weights of their own": lambda routes: weighs(routes).pop("runtime_key_prefix"),
    "another prefix": lambda routes: weighs(routes).update(runtime_key_prefix="sluice.cart"),
    "a third cluster": lambda routes: weighs(routes)["clusters"].append({"name": "x", "weight": 1}),
    "a fallback to the candidate": lambda routes: weighs(routes)["clusters"][0].update(weight=1),
    "no fallback at all": lambda routes: weighs(routes)["clusters"][1].update(weight=0),
    "a route past the weights": lambda routes: routes.append(
        {"match": {"prefix": "/v2"}, "route": {"cluster": "checkout-candidate"}}
    ),
    "a rule that is always on": lambda routes: routes[0]["match"]["runtime_fraction"].update(
        default_value={"numerator": 100}
    ),
}
LACKS = {
    "a route to stable only": lambda routes: routes.append(
        {"match": {"prefix": "/v2"}, "route": {"cluster": "checkout-stable"}}
    ),
    "no weights": lambda routes: routes.pop(),
    "no rule for the candidate": lambda routes: routes.pop(0),
    "no rule for stable": lambda routes: routes.pop(1),
    "rules behind the weights": lambda routes: routes.reverse(),
    "a rule for another value": lambda routes: routes[0]["match"]["headers"][0].update(string_match={"exact": "yes"}),
    "a rule for another path": lambda routes: routes[0]["match"].update(prefix="/v2"),
    "a rule for two headers": lambda routes: routes[0]["match"]["headers"].append({"name": "x-b"}),
}


@pytest.mark.parametrize("name", LEAKS)
def test_what_leads_to_the_candidate_without_a_value_is_a_leak(name: str) -> None:
    assert wiring([changed(LEAKS[name])], ROUTE).leak


@pytest.mark.parametrize("name", LACKS)
def test_what_would_not_follow_the_values_is_a_lack_but_no_leak(name: str) -> None:
    seen = wiring([changed(LACKS[name])], ROUTE)
    assert (bool(seen.lack), seen.leak) == (True, None)


def test_rules_do_not_matter_to_a_spec_without_a_header() -> None:
    plain = ROUTE.model_copy(update={"header": None})
    assert wiring([changed(lambda routes: routes.pop(0))], plain).lack is None


def test_what_is_the_operators_own_is_none_of_our_business() -> None:
    def change(routes: list[Json]) -> None:
        forced = {"prefix": "/", "headers": [{"name": "x-team", "string_match": {"exact": "qa"}}]}
        routes.insert(0, {"match": forced, "route": {"cluster": "checkout-candidate"}})
        routes.insert(0, {"match": {"prefix": "/pay"}, "route": {"cluster": "payments"}})
        routes.insert(0, {"match": {"path": "/gone"}, "direct_response": {"status": 410}})

    seen = wiring([changed(change)], ROUTE)
    assert (seen.leak, seen.lack) == (None, None)


def test_every_listener_must_be_wired() -> None:
    both = [recorded("routes"), changed(LEAKS["weights of their own"])]
    assert wiring(both, ROUTE).leak
    assert wiring(both[::-1], ROUTE).leak


def test_the_rule_to_add_has_what_its_route_asks_for() -> None:
    def change(routes: list[Json]) -> None:
        team = {"name": "x-team", "present_match": True}
        for route in routes:
            route["match"].setdefault("headers", []).insert(0, team)
        routes.pop(0)

    lack = wiring([changed(change)], ROUTE).lack
    assert lack is not None
    rule = json.loads(lack.partition("; add ")[2])

    def mend(routes: list[Json]) -> None:
        change(routes)
        routes.insert(0, rule)

    seen = wiring([changed(mend)], ROUTE)
    assert (seen.leak, seen.lack) == (None, None)


def test_the_weights_to_write_are_wired() -> None:
    lack = wiring([changed(lambda routes: routes.pop())], ROUTE).lack
    assert lack is not None
    line = json.loads(lack.partition(" with ")[2])

    def mend(routes: list[Json]) -> None:
        routes[-1] = {"match": {"prefix": "/"}, "route": line}

    assert wiring([changed(mend)], ROUTE).lack is None


# ── Reading with an admin interface that is made up ─────────────────────────────────────────────


def router(folder: Path, answer: Callable[[httpx.Request], httpx.Response]) -> EnvoyRuntimeRouter:
    http = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    return EnvoyRuntimeRouter(ROUTE, EnvoyConnection(admin="http://127.0.0.1:9901", runtime=folder), http)


@pytest.mark.parametrize(
    ("path", "nonsense"),
    [
        ("/runtime", {"layers": 7}),
        ("/runtime", {"layers": ["a"], "entries": {CANDIDATE: 7}}),
        ("/config_dump", {"configs": 7}),
        ("/config_dump", {"configs": [{"route_config": {"name": "checkout", "virtual_hosts": 7}}]}),
        ("/config_dump", {"configs": [{"bootstrap": 7}]}),
    ],
)
async def test_an_admin_interface_that_is_none_is_unreachable(tmp_path: Path, path: str, nonsense: Json) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=nonsense if request.url.path == path else {})

    with pytest.raises(RouterUnreachable, match="envoy edge-1/checkout"):
        await router(tmp_path, answer).read()


async def test_a_layer_that_envoy_does_not_load_is_named(tmp_path: Path) -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        if request.url.path == "/runtime":
            return httpx.Response(200, json={"layers": ["admin"], "entries": {}})
        if "mask" in request.url.params:
            return httpx.Response(200, json=recorded("layers"))
        dumped = request.url.params.get("resource") == "static_route_configs"
        return httpx.Response(200, json=recorded("routes") if dumped else {})

    layer = RuntimeLayer(tmp_path, "checkout")
    state = await router(tmp_path, answer).read()
    assert (state.percent, state.in_force, state.problem) == (0, 0, None)  # there is nothing to load yet
    await layer.replace(desired_values(ROUTE, write(5)))
    state = await router(tmp_path, answer).read()
    assert (state.percent, state.in_force) == (5, None)
    assert state.problem is not None
    assert "Envoy cannot read its layer sluice-checkout" in state.problem
    assert "/clusters" in asked


async def test_a_swap_lasts_until_envoy_has_read_the_values(tmp_path: Path) -> None:
    wanted = desired_values(ROUTE, write(0))
    shown: Json = {"layers": ["sluice-checkout"], "entries": {}}
    late = {"layers": ["sluice-checkout"], "entries": {key: {"layer_values": [value]} for key, value in wanted.items()}}
    runtime = iter([shown, shown, shown, late])  # the first is asked before anything is written

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/runtime":
            return httpx.Response(200, json=next(runtime))
        pools = [{"name": "checkout-candidate"}, {"name": "checkout-stable"}]
        return httpx.Response(200, json={"cluster_statuses": pools})

    await router(tmp_path, answer).write(write(0))
    assert next(runtime, None) is None
    assert await RuntimeLayer(tmp_path, "checkout").read() == wanted


# ── The folder of a layer ───────────────────────────────────────────────────────────────────────


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def test_a_failed_swap_leaves_the_old_values_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = RuntimeLayer(tmp_path, "checkout")
    await layer.replace({"a": "1"})
    before = names(tmp_path)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RouterUnreachable, match="No space left"):
        await layer.replace({"a": "2"})
    assert await layer.read() == {"a": "1"}
    assert names(tmp_path) == before


async def test_versions_of_a_service_with_a_longer_name_are_left_alone(tmp_path: Path) -> None:
    other = RuntimeLayer(tmp_path, "a.b")
    await other.replace({"a": "1"})
    for count in range(9):
        await RuntimeLayer(tmp_path, "a").replace({"a": str(count)})
    assert await other.read() == {"a": "1"}
    assert await RuntimeLayer(tmp_path, "a").read() == {"a": "8"}


async def test_a_folder_that_is_away_is_unreachable(tmp_path: Path) -> None:
    layer = RuntimeLayer(tmp_path / "none", "checkout")
    with pytest.raises(RouterUnreachable, match="none"):
        await layer.replace({})
    with pytest.raises(RouterUnreachable, match="none"):
        async with layer.alone():
            pytest.fail("there is nothing to lock")
