"""The ingress-nginx adapter without a cluster: annotations as the controller reads them, rules as they are copied."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from activities.kubernetes import Json, as_annotation, written
from activities.ports import Write
from activities.routers.ingress_nginx import annotations, rules
from activities.routers.ingress_nginx.views import Ingresses, chosen, view
from rollout.errors import Misconfigured
from rollout.routes import ForcedHeader, IngressNginxRoute

N = annotations.PREFIX
ROUTE = IngressNginxRoute(
    connection="prod",
    namespace="shop",
    ingress="checkout",
    candidate="new",
    stable="old",
    header=ForcedHeader(candidate="always", stable="never"),
)


def path(place: str, service: str, port: Json | None = None, kind: str = "Prefix") -> Json:
    return {"path": place, "pathType": kind, "backend": {"service": {"name": service, "port": port or {"number": 80}}}}


def rule(host: str, *paths: Json) -> Json:
    return {"host": host, "http": {"paths": list(paths)}}


MAIN: Json = {
    "metadata": {
        "name": "checkout",
        "annotations": {
            "kubernetes.io/ingress.class": "edge",
            f"{N}upstream-hash-by": "$remote_addr",
            f"{N}proxy-body-size": "8m",
            "example.com/note": "theirs",
        },
    },
    "spec": {
        "ingressClassName": "nginx",
        "tls": [{"hosts": ["shop.test"], "secretName": "cert"}],
        "defaultBackend": {"service": {"name": "old", "port": {"name": "http"}}},
        "rules": [
            rule("shop.test", path("/", "old"), path("/cart", "cart"), path("/pay", "old", {"name": "web"}, "Exact")),
            rule("cart.test", path("/", "cart")),
            {"host": "bare.test"},
            {
                "host": "files.test",
                "http": {
                    "paths": [
                        {"path": "/", "pathType": "Prefix", "backend": {"resource": {"kind": "Bucket", "name": "old"}}}
                    ]
                },
            },
        ],
    },
}
COPIED: Json = {
    "ingressClassName": "nginx",
    "tls": [{"hosts": ["shop.test"], "secretName": "cert"}],
    "defaultBackend": {"service": {"name": "new", "port": {"name": "http"}}},
    "rules": [rule("shop.test", path("/", "new"), path("/pay", "new", {"name": "web"}, "Exact"))],
}


def write(percent: float, epoch: int = 1, **more: Any) -> Write:
    return Write(percent=percent, epoch=epoch, owner="rollout:prod/checkout", **more)


def canary(
    weight: str = "0", spec: Json | None = None, *, ours: bool = True, told: dict[str, str] | None = None
) -> Json:
    labels = {rules.MANAGED_BY: rules.OURS} if ours else {}
    found = {annotations.CANARY: "true", annotations.WEIGHT: weight, annotations.TOTAL: "10000", **(told or {})}
    return {"metadata": {"name": "checkout-canary", "labels": labels, "annotations": found}, "spec": spec or COPIED}


# ── Rules ───────────────────────────────────────────────────────────────────────────────────────


def test_what_leads_to_stable_is_copied_and_nothing_else() -> None:
    assert rules.desired(MAIN, ROUTE) == COPIED
    assert rules.ports(MAIN, "old") == {"http", "web", 80}
    assert {str(place) for place in rules.places(MAIN, "old")} == {"shop.test/", "shop.test/pay", "* (default backend)"}


def test_an_ingress_that_leads_nothing_to_stable_has_nothing_to_copy() -> None:
    spec = {"rules": [rule("cart.test", path("/", "cart"))], "defaultBackend": {"resource": {"name": "old"}}}
    assert rules.desired({**MAIN, "spec": spec}, ROUTE) is None


def test_a_copy_shares_nothing_with_what_it_was_copied_from() -> None:
    made = rules.desired(MAIN, ROUTE) or {}
    made["tls"][0]["hosts"].append("other.test")
    made["rules"][0]["http"]["paths"][0]["backend"]["service"]["port"]["number"] = 1
    assert rules.desired(MAIN, ROUTE) == COPIED


def test_a_canary_inherits_all_annotations_but_those_that_it_must_have_itself() -> None:
    made = rules.manifest(MAIN, COPIED, ROUTE, {annotations.CANARY: "true"})
    assert made["metadata"] == {
        "name": "checkout-canary",
        "namespace": "shop",
        "labels": {"app.kubernetes.io/managed-by": "sluice"},
        "annotations": {
            "kubernetes.io/ingress.class": "edge",
            f"{N}upstream-hash-by": "$remote_addr",
            annotations.CANARY: "true",
        },
    }


# ── Annotations ─────────────────────────────────────────────────────────────────────────────────


@settings(deadline=None)
@given(st.integers(min_value=0, max_value=10_000))
def test_what_is_written_is_what_is_read(hundredths: int) -> None:
    wanted = annotations.desired(ROUTE, write(hundredths / 100))
    made = {"metadata": {"annotations": {key: value for key, value in wanted.items() if value is not None}}}
    shown = annotations.split(made)
    assert (shown.percent, shown.wrong) == (hundredths / 100, None)
    assert annotations.forces(made, ROUTE.header)


@settings(deadline=None)
@given(st.text(max_size=12), st.text(max_size=12))
def test_any_text_is_some_percent_and_a_wrong_one_is_told(weight: str, total: str) -> None:
    shown = annotations.split(canary(weight, told={annotations.TOTAL: total}))
    assert 0 <= shown.percent <= 100
    if not (weight.lstrip("+-").isdigit() and total.lstrip("+-").isdigit()):
        assert shown.wrong


@pytest.mark.parametrize("percent", [-1, 100.5, 0.005])
def test_a_percent_that_has_no_weight_is_refused(percent: float) -> None:
    with pytest.raises(Misconfigured, match=r"in steps of 0\.01"):
        annotations.desired(ROUTE, write(percent))


@pytest.mark.parametrize("end", [{"header": False}, {"release": True}, {"header": False, "release": True}])
def test_whatever_comes_before_the_weight_goes_with_the_way_back(end: dict[str, bool]) -> None:
    wanted = annotations.desired(ROUTE, write(0, **end))
    assert {key for key, value in wanted.items() if value is None} == {
        f"{N}canary-by-header",
        f"{N}canary-by-header-value",
        f"{N}canary-by-header-pattern",
        f"{N}canary-by-cookie",
    }


def test_a_route_without_a_header_leaves_the_operators_alone_while_it_lasts() -> None:
    wanted = annotations.desired(ROUTE.model_copy(update={"header": None}), write(5))
    assert not any("by-header" in key for key in wanted)


def test_a_header_with_a_value_forces_the_candidate_only_and_counts_as_none() -> None:
    told = canary(told={annotations.HEADER: "X-Canary", annotations.VALUE: "true"})
    assert not annotations.forces(told, ROUTE.header)
    with pytest.raises(ValidationError, match="candidate: always, stable: never"):
        IngressNginxRoute(**{**ROUTE.model_dump(), "header": {"candidate": "true", "stable": "false"}})


# ── Both together ───────────────────────────────────────────────────────────────────────────────


def marked(percent: float, weight: str, told: dict[str, str] | None = None, **more: Any) -> Json:
    return canary(weight, told={**as_annotation(written(write(percent, 3), 1.0)), **(told or {})}, **more)


@pytest.mark.parametrize(
    ("found", "unproven", "problem"),
    [
        (Ingresses(MAIN, None), None, None),
        (Ingresses(MAIN, marked(5, "500")), None, None),
        (Ingresses(MAIN, marked(5, "4000")), "gives 40 %, we wrote 5 %", "gives 40 %, we wrote 5 %"),
        (Ingresses(None, marked(0, "0")), None, "there is no Ingress shop/checkout"),
        (Ingresses(None, marked(5, "500")), "there is no Ingress", "there is no Ingress shop/checkout"),
        (Ingresses(MAIN, marked(5, "500", spec={"rules": []})), "renews them", "renews them"),
        (Ingresses(MAIN, marked(0, "0", spec={"rules": []})), None, None),
        (Ingresses(MAIN, marked(0, "0", ours=False, spec={"rules": []})), None, "does not lead * (default backend)"),
        (Ingresses(canary(), None), "itself leads * (default", "to the candidate's Service new"),
        (Ingresses(canary(spec={"rules": []}), None), None, "no path of Ingress shop/checkout leads to Service old"),
        (Ingresses(MAIN, canary("half")), None, "takes for 0"),
        (Ingresses(MAIN, marked(0, "0", {annotations.CANARY: "yes"})), "not marked", "not marked as a canary"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_still_nothing(
    found: Ingresses, unproven: str | None, problem: str | None
) -> None:
    seen = view(found, ROUTE)
    for told, words in ((seen.unproven, unproven), (seen.problem, problem)):
        assert (told is None) if words is None else words in (told or ""), told


def test_an_ingress_of_another_class_is_told() -> None:
    theirs = canary(ours=False, spec={**COPIED, "ingressClassName": "other"})
    assert "is of another class" in (view(Ingresses(MAIN, theirs), ROUTE).problem or "")


def test_a_canary_of_other_requests_is_no_rival_and_one_of_the_same_is() -> None:
    def named(name: str, host: str) -> Json:
        spec = {"rules": [rule(host, path("/", "theirs"))]}
        return {**canary(spec=spec), "metadata": {"name": name, "annotations": {annotations.CANARY: "true"}}}

    found = chosen([MAIN, named("far", "far.test"), named("near", "shop.test"), marked(5, "500")], ROUTE)
    assert [each["metadata"]["name"] for each in found.rivals] == ["near"]
    assert "Ingress near is a canary of Ingress shop/checkout, too" in (view(found, ROUTE).unproven or "")


def test_a_path_for_previews_is_the_operators_business() -> None:
    preview = {**MAIN, "spec": {**MAIN["spec"], "rules": [*MAIN["spec"]["rules"], rule("qa.test", path("/", "new"))]}}
    assert view(Ingresses(preview, None), ROUTE).problem is None
    assert view(Ingresses(preview, marked(5, "500", spec=rules.desired(preview, ROUTE))), ROUTE).unproven is None


def test_stables_ingress_as_a_canary_is_told() -> None:
    main = {**MAIN, "metadata": {"name": "checkout", "annotations": {annotations.CANARY: "true"}}}
    assert "is a canary itself" in (view(Ingresses(main, None), ROUTE).problem or "")
