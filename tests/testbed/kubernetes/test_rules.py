"""What each kind of object means to the data plane, without a server."""

from typing import Any

import pytest

from testbed.kubernetes import gateway, istio, nginx, objects
from testbed.kubernetes.endpoints import rules as service_rules
from testbed.kubernetes.rules import Choice, Condition, Rule, Site, blended

SHOPS = {"shop-stable": "127.0.0.1:1", "shop-canary": "127.0.0.1:2", "1": "127.0.0.1:3", "2": "127.0.0.1:4"}


def site(*manifests: dict[str, Any], shops: dict[str, str] = SHOPS) -> Site:
    """A namespace with these objects, each a second younger than the one before."""
    seen: dict[str, dict[str, Any]] = {}
    for second, manifest in enumerate(manifests):
        named = {"creationTimestamp": f"2026-01-01T00:00:{second:02}Z", "generation": 1, **manifest["metadata"]}
        seen.setdefault(manifest["kind"], {})[named["name"]] = {**manifest, "metadata": named}
    return Site(seen, shops)


def services() -> list[dict[str, Any]]:
    return [objects.service(name, {"app": name}) for name in ("shop-stable", "shop-canary")]


def goes(rules: list[Rule], path: str = "/", **headers: str) -> dict[str, float]:
    """Where a request goes: address or status → share."""
    fields = {name.replace("_", "-").lower(): value for name, value in headers.items()}
    for rule in rules:
        if all(_holds(condition, path, fields) for condition in rule.conditions):
            total = sum(choice.weight for choice in rule.choices)
            if not total:
                return {str(rule.empty): 1.0}
            return {
                choice.address or str(choice.status): choice.weight / total for choice in rule.choices if choice.weight
            }
    return {"404": 1.0}


def _holds(condition: Condition, path: str, headers: dict[str, str]) -> bool:
    if condition.of == "path":
        inside = condition.value == "/" or path.startswith(f"{condition.value}/")
        return path == condition.value or (condition.how == "path" and inside)
    found = headers.get(condition.name)
    if condition.how == "present":
        return found is not None
    return condition.how == "exact" and found == condition.value


def pod(name: str, version: str) -> dict[str, Any]:
    return {"kind": "Pod", "metadata": {"name": name, "labels": {"version": version}}}


def slice_of(service: str, **ready: bool) -> dict[str, Any]:
    return {
        "kind": "EndpointSlice",
        "metadata": {"name": f"{service}-1", "labels": {"kubernetes.io/service-name": service}},
        "endpoints": [
            {"targetRef": {"kind": "Pod", "name": name}, "conditions": {"ready": is_ready}}
            for name, is_ready in ready.items()
        ],
    }


def test_backends_keep_their_shares_whatever_their_own_weights_sum_to() -> None:
    own = [Choice(1, "a"), Choice(2, "b")]
    choices = blended([(3, own), (1, [Choice(7, "c")]), (4, [])], status=500, why="gone")
    total = sum(choice.weight for choice in choices)
    shares = {choice.address or choice.status: choice.weight / total for choice in choices}
    assert shares == {"a": 1 / 8, "b": 2 / 8, "c": 1 / 8, 500: 4 / 8}


def test_a_rule_with_a_header_wins_wherever_it_stands() -> None:
    route = objects.http_route("shop", {"shop-stable": 3, "shop-canary": 1}, forced={("X-Canary", "1"): "shop-canary"})
    route["spec"]["rules"].reverse()
    rules = gateway.rules(site(*services(), route))
    assert goes(rules) == goes(rules, X_Canary="2") == {"127.0.0.1:1": 0.75, "127.0.0.1:2": 0.25}
    assert goes(rules, X_Canary="1") == {"127.0.0.1:2": 1.0}


def test_longer_paths_win_and_older_routes_among_equals() -> None:
    older = objects.http_route("z", {"shop-stable": 1})
    younger = objects.http_route("a", {"shop-canary": 1})
    cart = objects.http_route("cart", {"shop-canary": 1})
    cart["spec"]["rules"][0]["matches"] = [{"path": {"type": "PathPrefix", "value": "/cart"}}]
    rules = gateway.rules(site(*services(), older, younger, cart))
    assert goes(rules) == goes(rules, "/carton") == {"127.0.0.1:1": 1.0}
    assert goes(rules, "/cart") == goes(rules, "/cart/7") == {"127.0.0.1:2": 1.0}


def test_a_route_that_names_no_service_or_no_parent() -> None:
    route = objects.http_route("shop", {"shop-stable": 3, "gone": 1})
    assert goes(gateway.rules(site(*services(), route))) == {"127.0.0.1:1": 0.75, "500": 0.25}
    nothing = objects.http_route("shop", {"shop-stable": 0, "shop-canary": 0})
    assert goes(gateway.rules(site(*services(), nothing))) == {"500": 1.0}
    del route["spec"]["parentRefs"]
    assert goes(gateway.rules(site(*services(), route))) == {"404": 1.0}


def test_a_transition_time_stays_while_a_condition_does() -> None:
    route = objects.http_route("shop", {"shop-stable": 1})
    seen = site(*services(), route)
    (known,) = seen.all("HTTPRoute")
    (first,) = gateway.parents(known, seen, refused=False)
    for each in first["conditions"]:
        each["lastTransitionTime"] = "2026-01-01T00:00:00Z"
    known["status"] = {"parents": [first]}
    assert gateway.parents(known, seen, refused=False) == [first]
    (second,) = gateway.parents(known, seen, refused=True)
    kept = [each["lastTransitionTime"] == "2026-01-01T00:00:00Z" for each in second["conditions"]]
    assert kept == [False, True]


@pytest.mark.parametrize(
    ("annotations", "share"),
    [
        ({"canary-weight": "25"}, 0.25),
        ({"canary-weight": "25", "canary-weight-total": "50"}, 0.5),
        ({"canary-weight": "250"}, 1.0),
        ({"canary-weight": "many"}, 0.0),
        ({}, 0.0),
    ],
)
def test_the_weight_of_a_canary_is_a_share_of_its_total(annotations: dict[str, str], share: float) -> None:
    canary = objects.ingress("canary", "shop-canary", canary=annotations)
    rules = nginx.rules(site(*services(), objects.ingress("shop", "shop-stable"), canary))
    assert goes(rules).get("127.0.0.1:2", 0.0) == share


def test_a_header_of_a_canary_comes_before_its_weight() -> None:
    main = objects.ingress("shop", "shop-stable")
    switch = objects.ingress("canary", "shop-canary", canary={"canary-weight": "50", "canary-by-header": "X-Canary"})
    rules = nginx.rules(site(*services(), main, switch))
    assert goes(rules, X_Canary="always") == {"127.0.0.1:2": 1.0}
    assert goes(rules, X_Canary="never") == {"127.0.0.1:1": 1.0}
    assert goes(rules, X_Canary="true") == {"127.0.0.1:1": 0.5, "127.0.0.1:2": 0.5}
    switch["metadata"]["annotations"][f"{objects.NGINX}canary-by-header-value"] = "true"
    rules = nginx.rules(site(*services(), main, switch))
    assert goes(rules, X_Canary="true") == {"127.0.0.1:2": 1.0}
    assert goes(rules, X_Canary="never") == {"127.0.0.1:1": 0.5, "127.0.0.1:2": 0.5}


def test_a_canary_without_its_service_or_its_main_ingress_has_no_traffic() -> None:
    main = objects.ingress("shop", "shop-stable")
    canary = objects.ingress("canary", "gone", canary={"canary-weight": "100"})
    assert goes(nginx.rules(site(*services(), main, canary))) == {"127.0.0.1:1": 1.0}
    other = objects.ingress("canary", "shop-canary", canary={"canary-weight": "100"}, host="other.test")
    assert goes(nginx.rules(site(*services(), main, other))) == {"127.0.0.1:1": 1.0}
    assert goes(nginx.rules(site(*services(), other))) == {"404": 1.0}


def test_a_virtual_service_is_read_in_its_own_order() -> None:
    virtual = objects.virtual_service("shop", {"shop-stable": 75, "shop-canary": 25})
    assert goes(istio.rules(site(*services(), virtual))) == {"127.0.0.1:1": 0.75, "127.0.0.1:2": 0.25}
    forced = {("x-canary", "true"): "shop-canary.prod.svc.cluster.local"}
    virtual = objects.virtual_service("shop", {"shop-stable": 100, "shop-canary": 0}, forced=forced)
    assert goes(istio.rules(site(*services(), virtual)), X_Canary="true") == {"127.0.0.1:2": 1.0}
    virtual["spec"]["http"].reverse()
    assert goes(istio.rules(site(*services(), virtual)), X_Canary="true") == {"127.0.0.1:1": 1.0}


def test_a_subset_is_what_a_destination_rule_says_and_nothing_without_one() -> None:
    service = objects.service("shop", {"app": "shop"})
    virtual = objects.virtual_service("shop", {"stable": 75, "canary": 25}, host="shop")
    rule = objects.destination_rule("shop", "shop", {"stable": {"version": "1"}})
    assert goes(istio.rules(site(service, virtual, rule))) == {"127.0.0.1:3": 0.75, "503": 0.25}


def test_a_service_without_a_shop_of_its_own_has_those_of_its_ready_pods() -> None:
    pods = [pod("a", "1"), pod("b", "1"), pod("c", "2"), pod("d", "2"), pod("e", "3")]
    slice_ = slice_of("shop", a=True, b=True, c=True, d=False, e=True, f=True)
    service = objects.service("shop", {"app": "shop"})
    shares = goes(service_rules(site(service, slice_, *pods), "shop"))
    assert shares == {"127.0.0.1:3": 0.5, "127.0.0.1:4": 0.25, "502": 0.25}
    assert goes(service_rules(site(service, *pods), "shop")) == {"503": 1.0}
    virtual = objects.virtual_service("shop", {"shop": 100})
    assert goes(istio.rules(site(service, slice_, virtual, *pods))) == shares
