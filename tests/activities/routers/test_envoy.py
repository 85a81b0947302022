"""The pure half: golden requests, properties, and the recorded answers of Envoy 1.40."""

import copy
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.ports import Write
from activities.routers.envoy.admin import is_fit, members
from activities.routers.envoy.connection import EnvoyConnection
from activities.routers.envoy.routes import Json, Mark, View, desired, shown, view
from rollout.errors import Misconfigured
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

GOLDEN = sorted((Path(__file__).parent / "envoy").glob("*.json"))


def routes_of(made: Json) -> list[Json]:
    return [route for host in made["resources"][0]["virtual_hosts"] for route in host["routes"]]


# ── Golden requests ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: file.stem)
def test_the_document_becomes_what_the_golden_file_says(file: Path) -> None:
    case = json.loads(file.read_bytes())
    made = desired(case["document"], EnvoyRoute(**case["route"]), Write(**case["write"]))
    assert made == case["expected"], json.dumps(made, indent=2)


# ── Properties ──────────────────────────────────────────────────────────────────────────────────

PERCENTS = st.integers(0, 10_000).map(lambda hundredths: hundredths / 100)
WRITES = st.builds(write, PERCENTS, st.integers(0, 2**53), header=st.booleans(), release=st.booleans())
WORDS = st.text(st.characters(categories=["L", "N", "P"]), max_size=8)
FOREIGN = st.one_of(
    st.builds(to, st.just("payments"), timeout=WORDS),
    st.builds(lambda code: {"match": {"path": "/x"}, "direct_response": {"status": code}}, st.integers(200, 599)),
    st.just(
        {"match": {"prefix": "/mix"}, "route": {"weighted_clusters": {"clusters": [{"name": STABLE}, {"name": "x"}]}}}
    ),
    st.just({"match": {"prefix": "/h"}, "route": {"cluster_header": "x-cluster"}, "name": "sluice-forced-elsewhere"}),
)
OURS = st.one_of(
    st.builds(to, st.sampled_from([CANDIDATE, STABLE]), timeout=WORDS),
    st.builds(shares, candidate=st.integers(0, 100), stable=st.integers(1, 100)),
    st.builds(shares, stable=st.integers(1, 100)),
    st.builds(to, st.just(STABLE), hash_policy=st.just([{"header": {"header_name": "x-team"}}])),
)
ROUTES = st.sampled_from([ROUTE, BY_COOKIE, BY_HEADER])
DOCUMENTS = st.builds(
    lambda before, ours, after, extra: document(*before, ours[0], *after, *ours[1:], extra=extra),
    st.lists(FOREIGN, max_size=3),
    st.lists(OURS, min_size=1, max_size=3),
    st.lists(FOREIGN, max_size=3),
    st.dictionaries(WORDS, WORDS, max_size=2),
)


@given(DOCUMENTS, WRITES)
def test_weights_are_never_negative_and_always_sum_up(before: Json, asked: Write) -> None:
    for split in view(desired(before, ROUTE, asked), ROUTE).splits:
        assert list(split) == [CANDIDATE, STABLE]
        assert min(split.values()) >= 0
        assert sum(split.values()) == 10_000
        assert split[CANDIDATE] == round(asked.percent * 100)


@given(DOCUMENTS, ROUTES, WRITES)
def test_the_same_write_twice_is_the_same_as_once(before: Json, route: EnvoyRoute, asked: Write) -> None:
    once = desired(before, route, asked)
    assert desired(once, route, asked) == once


@given(DOCUMENTS, ROUTES, WRITES)
def test_the_operators_document_is_not_touched_in_memory(before: Json, route: EnvoyRoute, asked: Write) -> None:
    kept = copy.deepcopy(before)
    desired(before, route, asked)
    assert before == kept


@given(DOCUMENTS, ROUTES, WRITES, ROUTES, WRITES)
def test_only_the_last_write_counts(
    before: Json, one: EnvoyRoute, first: Write, other: EnvoyRoute, last: Write
) -> None:
    assert desired(desired(before, one, first), other, last) == desired(before, other, last)


@given(DOCUMENTS, st.sampled_from([BY_COOKIE, BY_HEADER]), WRITES, st.booleans())
def test_the_way_back_leaves_nothing_that_keeps_users(
    before: Json, route: EnvoyRoute, asked: Write, released: bool
) -> None:
    back = write(0, epoch=9, release=released)
    assert desired(desired(before, route, asked), route, back) == desired(before, ROUTE, back)


@given(DOCUMENTS, st.sampled_from([BY_COOKIE, BY_HEADER]), PERCENTS.filter(bool))
def test_every_route_to_the_pools_chooses_by_user(before: Json, route: EnvoyRoute, percent: float) -> None:
    seen = view(desired(before, route, write(percent)), route)
    assert all(each["hash_policy"] for each in seen.sticky)
    assert {tuple(split) for split in seen.splits} == {(CANDIDATE, STABLE)}
    assert set(seen.percents()) == {percent}


def test_what_the_operator_changed_in_the_meantime_is_kept() -> None:
    made = desired(document(to(STABLE)), BY_HEADER, write(5))
    theirs = [{"header": {"header_name": "x-team"}}]
    routes_of(made)[-1]["route"]["hash_policy"] = theirs
    back = desired(made, BY_HEADER, write(0, epoch=2))
    assert routes_of(back)[-1]["route"]["hash_policy"] == theirs
    assert "metadata" not in routes_of(back)[-1]


def test_metadata_of_the_operator_stays_beside_ours() -> None:
    entry = {**to(STABLE), "metadata": {"filter_metadata": {"team": {"name": "shop"}}}}
    made = desired(document(entry), BY_HEADER, write(5))
    assert set(routes_of(made)[-1]["metadata"]["filter_metadata"]) == {"team", "sluice"}
    back = desired(made, BY_HEADER, write(0, epoch=2))
    assert routes_of(back)[-1]["metadata"] == entry["metadata"]


def test_a_draw_by_header_cannot_be_sticky_but_can_go_back() -> None:
    seed = document(shares(stable=100))
    routes_of(seed)[0]["route"]["weighted_clusters"]["header_name"] = "x-draw"
    with pytest.raises(Misconfigured, match="draw by header x-draw already"):
        desired(seed, BY_COOKIE, write(5))
    assert set(view(desired(seed, BY_COOKIE, write(0)), BY_COOKIE).percents()) == {0}


def test_the_defaults_that_a_dump_leaves_out_make_no_difference() -> None:
    policy = [{"header": {"header_name": "x-team"}, "terminal": False}]
    made = desired(document(to(STABLE, hash_policy=policy)), BY_COOKIE, write(5))
    dumped = copy.deepcopy(made)
    del routes_of(dumped)[-1]["route"]["hash_policy"][0]["terminal"]
    assert view(made, BY_COOKIE) == view(dumped, BY_COOKIE)
    routes_of(dumped)[-1]["route"]["hash_policy"][0]["terminal"] = True
    assert view(made, BY_COOKIE) != view(dumped, BY_COOKIE)


@given(DOCUMENTS, WRITES)
def test_everything_of_the_operator_stays(before: Json, asked: Write) -> None:
    after = desired(before, ROUTE, asked)
    assert after["resources"][0]["extra"] == before["resources"][0]["extra"]
    kept = [route for route in routes_of(after) if route.get("name") not in forced_names(after)]
    assert [route["match"] for route in kept] == [route["match"] for route in routes_of(before)]
    for old, new in zip(routes_of(before), kept, strict=True):
        if is_ours(old):
            assert new["route"].get("timeout") == old["route"].get("timeout")
        else:
            assert new == old


def is_ours(route: Json) -> bool:
    return bool(view(document(route, to(STABLE)), ROUTE).splits[1:])


def forced_names(made: Json) -> set[str]:
    return {name for name, _, _ in view(made, ROUTE).forced}


@given(DOCUMENTS, WRITES)
def test_forced_rules_come_in_pairs_right_before_their_route(before: Json, asked: Write) -> None:
    after = desired(before, ROUTE, asked)
    routes = routes_of(after)
    places = [
        place for place, route in enumerate(routes) if is_ours(route) and route.get("name") not in forced_names(after)
    ]
    if asked.release or not asked.header:
        assert not forced_names(after)
        return
    assert len(forced_names(after)) == 2 * len(places)
    for place in places:
        candidate, stable = routes[place - 2 : place]
        assert candidate["route"]["cluster"] == CANDIDATE
        assert stable["route"]["cluster"] == STABLE
        for rule, value in ((candidate, "true"), (stable, "false")):
            assert rule["match"].pop("headers")[-1] == {"name": "x-canary", "string_match": {"exact": value}}
            assert rule["match"] == routes[place]["match"]


@given(DOCUMENTS, PERCENTS)
def test_what_was_written_reads_back(before: Json, percent: float) -> None:
    made = desired(before, ROUTE, write(percent, epoch=4))
    seen = view(made, ROUTE)
    assert set(seen.percents()) == {percent}
    assert (seen.mark.epoch, seen.mark.owner) == (4, "rollout:prod/checkout")


# ── What is refused ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (document(to("payments")), "no route to checkout-candidate or checkout-stable"),
        (document(), "no route to"),
        ({}, "not a DiscoveryResponse"),
        ({"resources": []}, "not a DiscoveryResponse"),
        ({"resources": [{}, {}]}, "not a DiscoveryResponse"),
        ({"resources": ["text"]}, "not a DiscoveryResponse"),
        ({"resources": [{"name": "checkout", "virtual_hosts": "all"}]}, "not a DiscoveryResponse"),
        (document(to(STABLE), metadata={"filter_metadata": {"sluice": {"epoch": "x"}}}), "not a DiscoveryResponse"),
        (
            {"resources": [{**document(to(STABLE))["resources"][0], "name": "cart"}]},
            'holds the route configuration "cart"',
        ),
        (
            document({"route": {"weighted_clusters": {"runtime_key_prefix": "w", "clusters": [{"name": STABLE}]}}}),
            "runtime_key_prefix",
        ),
    ],
)
def test_a_document_that_is_not_understood_is_named(broken: Json, words: str) -> None:
    with pytest.raises(Misconfigured, match=words) as refused:
        desired(broken, ROUTE, write())
    assert "envoy edge-1/checkout: checkout.json" in str(refused.value)


@pytest.mark.parametrize("percent", [-1, 100.01, 0.001, 33.333])
def test_a_percent_without_whole_weights_is_refused(percent: float) -> None:
    with pytest.raises(Misconfigured, match=r"0\.01"):
        desired(document(to(STABLE)), ROUTE, write(percent))


@pytest.mark.parametrize("url", ["127.0.0.1:9901", "ftp://127.0.0.1", "http://user:word@127.0.0.1", "http://"])
def test_an_admin_address_is_an_url_without_a_password(url: str) -> None:
    with pytest.raises(ValueError, match="admin"):
        EnvoyConnection(admin=url, routes=Path())


# ── Recorded answers of Envoy ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "percents"),
    [
        ("config_dump_seed", [0]),
        ("config_dump_weight_zero", [0]),
        ("config_dump_weighted_headers_metadata", [0, 5]),  # the operator's rule that forces the candidate is not ours
        ("config_dump_weight_hundred", [100]),
    ],
)
def test_recorded_weights_are_read(name: str, percents: list[float]) -> None:
    [(_, seen)] = shown(recorded(name), ROUTE)
    assert seen.percents() == percents


def test_a_recorded_mark_is_read() -> None:
    [(version, seen)] = shown(recorded("config_dump_weighted_headers_metadata"), ROUTE)
    assert (version, seen.mark.epoch, seen.mark.owner) == ("gen-3", 3, "rollout:prod/checkout")


def test_another_service_and_an_unknown_cluster_are_not_ours() -> None:
    assert shown(recorded("config_dump_seed"), EnvoyRoute(connection="e", service="cart")) == []
    [(_, seen)] = shown(recorded("config_dump_unknown_cluster"), ROUTE)
    assert seen == View(mark=Mark(), splits=[], forced=[])
    assert shown({}, ROUTE) == []


@pytest.mark.parametrize(
    ("name", "candidates"), [("clusters_healthy", 1), ("clusters_candidate_down", 0), ("clusters_starting", 1)]
)
def test_recorded_health_is_read(name: str, candidates: int) -> None:
    hosts = members(recorded(name), CANDIDATE)
    assert hosts is not None
    assert sum(map(is_fit, hosts)) == candidates
    assert members(recorded(name), "ghost") is None


@pytest.mark.parametrize(
    ("status", "takes_traffic"),
    [
        ({}, True),
        ({"eds_health_status": "DEGRADED"}, True),
        ({"eds_health_status": "DRAINING"}, False),
        ({"eds_health_status": "HEALTHY", "failed_outlier_check": True}, False),
        ({"eds_health_status": "HEALTHY", "pending_active_hc": True}, False),
    ],
)
def test_a_host_takes_traffic_unless_anything_speaks_against_it(status: Json, takes_traffic: bool) -> None:
    assert is_fit({"health_status": status}) is takes_traffic
