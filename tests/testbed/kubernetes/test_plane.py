"""The data plane really splits, honours headers, and loses nothing while its rules are changed."""

import time
from collections.abc import Callable, Iterator
from math import sqrt
from pathlib import Path
from typing import Any

import pytest

from testbed.kubernetes import ControlPlane, Plane, objects, wait_available
from testbed.processes import wait_until
from testbed.programs import Load
from tests.testbed.aws.visiting import Visits

pytestmark = pytest.mark.server

REQUESTS = 400
HEADER = {("x-canary", "true"): "canary", ("x-canary", "false"): "stable"}
FORCED = {key: f"shop-{version}" for key, version in HEADER.items()}


class Gateway:
    kind = "gateway-api"

    def __init__(self, control_plane: ControlPlane, namespace: str) -> None:
        self.api, self.namespace = control_plane.api, namespace
        control_plane.install("gateway-api")
        self.api.create(objects.http_route("shop", {"shop-stable": 100, "shop-canary": 0}, forced=FORCED), namespace)

    def shift(self, percent: int) -> None:
        steps: list[dict[str, Any]] = [
            {"op": "replace", "path": f"/spec/rules/2/backendRefs/{place}/weight", "value": weight}
            for place, weight in enumerate((100 - percent, percent))
        ]
        self.api.patch("HTTPRoute", "shop", steps, self.namespace, how="json")


class Nginx:
    kind = "ingress-nginx"

    def __init__(self, control_plane: ControlPlane, namespace: str) -> None:
        self.api, self.namespace = control_plane.api, namespace
        canary = {"canary-by-header": "X-Canary", "canary-by-header-value": "true", "canary-weight": "0"}
        self.api.create(objects.ingress("shop", "shop-stable"), namespace)
        self.api.create(objects.ingress("shop-canary", "shop-canary", canary=canary), namespace)

    def annotate(self, **annotations: str | None) -> None:
        named = {f"{objects.NGINX}{name.replace('_', '-')}": value for name, value in annotations.items()}
        self.api.patch("Ingress", "shop-canary", {"metadata": {"annotations": named}}, self.namespace)

    def shift(self, percent: int) -> None:
        self.annotate(canary_weight=str(percent))


class Istio:
    kind = "istio"

    def __init__(self, control_plane: ControlPlane, namespace: str) -> None:
        self.api, self.namespace = control_plane.api, namespace
        control_plane.install("istio")
        self.api.create(objects.service("shop", {"app": "shop"}), namespace)
        subsets = {version: {"version": version} for version in ("stable", "canary")}
        self.api.create(objects.destination_rule("shop", "shop", subsets), namespace)
        weights = {"stable": 100, "canary": 0}
        self.api.create(objects.virtual_service("shop", weights, host="shop", forced=HEADER), namespace)

    def shift(self, percent: int) -> None:
        steps: list[dict[str, Any]] = [
            {"op": "replace", "path": f"/spec/http/2/route/{place}/weight", "value": weight}
            for place, weight in enumerate((100 - percent, percent))
        ]
        self.api.patch("VirtualService", "shop", steps, self.namespace, how="json")


Router = Gateway | Nginx | Istio


@pytest.fixture
def services(control_plane: ControlPlane, namespace: str) -> None:
    for version in ("stable", "canary"):
        control_plane.api.create(objects.service(f"shop-{version}", {"app": f"shop-{version}"}), namespace)


@pytest.fixture(params=[Gateway, Nginx, Istio], ids=lambda made: made.kind)
def router(request: pytest.FixtureRequest, control_plane: ControlPlane, namespace: str, services: None) -> Router:
    made: Router = request.param(control_plane, namespace)
    return made


Opened = Callable[..., Plane]


@pytest.fixture
def opened(control_plane: ControlPlane, namespace: str, shops: dict[str, str], tmp_path: Path) -> Iterator[Opened]:
    started: list[Plane] = []

    def started_with(kind: Any, **more: Any) -> Plane:
        started.append(Plane(tmp_path, control_plane, namespace, kind=kind, shops=shops, **more).start())
        return started[-1]

    yield started_with
    for plane in started:
        plane.stop()


def assert_share(visits: Visits, percent: float) -> None:
    seen = visits.many(REQUESTS)
    share = percent / 100
    assert seen["canary"] + seen["stable"] == REQUESTS, seen
    assert abs(seen["canary"] - REQUESTS * share) <= 5 * sqrt(REQUESTS * share * (1 - share)), seen


def test_requests_are_split_and_forced_by_header_as_the_objects_say(router: Router, opened: Opened) -> None:
    plane = opened(router.kind)
    with Visits(plane.url) as visits:
        for percent in (0, 25, 100, 0):
            router.shift(percent)
            plane.settled()
            assert_share(visits, percent)
            assert visits.many(50, X_Canary="true") == {"canary": 50}
        if router.kind != "ingress-nginx":  # where any other value falls back to the weight
            router.shift(100)
            plane.settled()
            assert visits.many(50, X_Canary="false") == {"stable": 50}


def test_no_request_is_dropped_while_weights_change(router: Router, opened: Opened, tmp_path: Path) -> None:
    plane = opened(router.kind)
    with Load(tmp_path, url=plane.url, rate=150, connections=20) as load:
        for percent in (10, 50, 90, 30, 0) * 4:
            router.shift(percent)
            plane.settled()
            time.sleep(0.1)
        report = load.finish()
    assert (report.dropped, report.bad_responses, report.skipped_requests) == ({}, 0, 0)
    assert report.versions["canary"] > 50
    assert report.versions["stable"] > 50


def test_a_gateway_says_which_generation_it_has_taken(
    control_plane: ControlPlane, namespace: str, services: None, opened: Opened
) -> None:
    router = Gateway(control_plane, namespace)
    plane = opened(router.kind)

    def told() -> list[tuple[str, str, int]]:
        (parent,) = control_plane.api.get("HTTPRoute", "shop", namespace)["status"]["parents"]
        return [(each["type"], each["status"], each["observedGeneration"]) for each in parent["conditions"]]

    assert told() == [("Accepted", "True", 1), ("ResolvedRefs", "True", 1)]
    plane.refuse = True
    router.shift(100)
    plane.settled()
    assert told() == [("Accepted", "False", 2), ("ResolvedRefs", "True", 2)]
    with Visits(plane.url) as visits:
        assert visits.many(50) == {"stable": 50}
        plane.refuse = False
        router.shift(99)
        plane.settled()
        assert told() == [("Accepted", "True", 3), ("ResolvedRefs", "True", 3)]
        assert visits.many(200)["canary"] > 150


def test_the_share_of_a_service_that_is_not_there_is_answered_with_500(
    control_plane: ControlPlane, namespace: str, services: None, opened: Opened
) -> None:
    router = Gateway(control_plane, namespace)
    router.shift(50)
    control_plane.api.delete("Service", "shop-canary", namespace)
    plane = opened(router.kind)
    with Visits(plane.url) as visits:
        seen = visits.many(REQUESTS)
    assert seen["stable"] + seen["500"] == REQUESTS
    assert abs(seen["500"] - REQUESTS / 2) <= 5 * sqrt(REQUESTS / 4)
    parents = control_plane.api.get("HTTPRoute", "shop", namespace)["status"]["parents"]
    assert parents[0]["conditions"][1]["reason"] == "BackendNotFound"


def test_a_change_is_in_force_after_the_delay_and_not_before(router: Router, opened: Opened) -> None:
    plane = opened(router.kind)
    plane.delay_s = 0.8
    with Visits(plane.url) as visits:
        router.shift(100)
        began = time.monotonic()
        assert visits.one() == "stable"
        plane.settled()
        assert time.monotonic() - began > 0.7
        assert visits.one() == "canary"


def test_a_header_without_a_value_means_always_or_never(
    control_plane: ControlPlane, namespace: str, services: None, opened: Opened
) -> None:
    router = Nginx(control_plane, namespace)
    router.annotate(canary_by_header_value=None, canary_weight="50", canary_weight_total="50")
    plane = opened(router.kind)
    with Visits(plane.url) as visits:
        assert visits.many(50, X_Canary="never") == {"stable": 50}
        assert visits.many(50) == visits.many(50, X_Canary="true") == {"canary": 50}
        router.annotate(canary_weight="0")
        plane.settled()
        assert visits.many(50, X_Canary="always") == {"canary": 50}
        router.annotate(canary_weight_total="200", canary_weight="50")
        plane.settled()
        assert_share(visits, 25)


def test_a_service_is_split_by_its_ready_pods(control_plane: ControlPlane, namespace: str, opened: Opened) -> None:
    api = control_plane.api
    api.create(objects.service("shop", {"app": "shop"}), namespace)
    plane = opened("service", service="shop")
    with Visits(plane.url) as visits:
        assert visits.one() == "503"
        fates: list[tuple[str, int, objects.Fate | None]] = [("stable", 3, None), ("canary", 1, None)]
        for version, replicas, fate in [*fates, ("broken", 2, "never")]:
            labels = {"app": "shop", "track": version}
            manifest = objects.deployment(version, replicas=replicas, labels=labels, version=version, ready=fate)
            api.create(manifest, namespace)
        for version, replicas in (("stable", 3), ("canary", 1)):
            wait_available(api, namespace, version, replicas)

        def listed() -> int:
            slices = api.list("EndpointSlice", namespace)
            return sum(each["conditions"]["ready"] for one in slices for each in one.get("endpoints") or [])

        wait_until(lambda: listed() == 4, within_s=10, what="four pods are ready endpoints")
        plane.settled()
        assert_share(visits, 25)
        api.patch("Deployment", "stable", {"spec": {"replicas": 0}}, namespace)
        wait_until(lambda: listed() == 1, within_s=10, what="one pod is a ready endpoint")
        plane.settled()
        assert_share(visits, 100)


def test_the_last_rules_stay_while_the_api_server_is_away(
    control_plane: ControlPlane, namespace: str, services: None, opened: Opened
) -> None:
    router = Gateway(control_plane, namespace)
    router.shift(100)
    plane = opened(router.kind)
    with Visits(plane.url) as visits:
        control_plane.kill_api()
        try:
            assert visits.many(50) == {"canary": 50}
            plane.proxy.restart()
        finally:
            control_plane.start_api()
    with Visits(plane.url) as visits:
        assert visits.many(50) == {"canary": 50}
        router.shift(0)
        plane.settled()
        assert visits.many(50) == {"stable": 50}
