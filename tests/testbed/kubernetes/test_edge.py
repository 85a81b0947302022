"""A cluster as the router of a bed: what operators copy is what runs, and an image decides where visitors go."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from testbed.edge import ALL_EDGES, CLUSTERS, EDGES
from testbed.kubernetes import gateway, objects
from testbed.kubernetes.edge import (
    CANDIDATE_IMAGE,
    KINDS,
    MANIFESTS,
    NAMESPACE,
    STABLE_IMAGE,
    Kind,
    KubernetesEdge,
    manifests,
    rights,
)
from testbed.kubernetes.rules import Site, version_of
from testbed.processes import wait_until
from testbed.programs import Shop
from tests.kubernetes_bed import control_plane_or_skip

IMAGE = "/spec/template/spec/containers/0/image"


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory, shop_parts: dict[str, Shop]) -> Iterator[KubernetesEdge]:
    control_plane_or_skip()
    made = started(tmp_path_factory.mktemp("edge"), shop_parts, "rolling-update")
    yield made
    made.stop()
    assert not any(part.running for part in made.parts)


def started(folder: Path, shops: dict[str, Shop], kind: Kind) -> KubernetesEdge:
    """An edge in front of the shops."""
    stable, candidate = shops["stable"].port, shops["canary"].port
    workload = kind == "gateway-api"
    edge = KubernetesEdge(folder, stable_port=stable, candidate_port=candidate, kind=kind, workload=workload)
    return edge.start()


def answered(edge: KubernetesEdge, count: int = 24) -> set[str]:
    """Versions that answer so many visitors."""
    found = [httpx.get(edge.url, trust_env=False) for _ in range(count)]
    assert {answer.status_code for answer in found} == {200}
    return {answer.headers["X-Version"] for answer in found}


def roll(edge: KubernetesEdge, image: str) -> None:
    """Change the image, as `kubectl set image` does, without waiting for anybody to look at new pods."""
    operations: list[dict[str, Any]] = [
        {"op": "add", "path": "/spec/minReadySeconds", "value": 0},
        {"op": "replace", "path": IMAGE, "value": image},
    ]
    edge.control_plane.api.patch("Deployment", "checkout", operations, NAMESPACE, how="json")


def ready(edge: KubernetesEdge) -> list[str]:
    """Images of the pods that are ready, sorted."""
    pods = edge.control_plane.api.list("Pod", NAMESPACE)
    return sorted(
        pod["spec"]["containers"][0]["image"]
        for pod in pods
        if any(each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", []))
    )


@pytest.mark.server
def test_an_image_moves_visitors_and_a_reset_brings_them_back(edge: KubernetesEdge) -> None:
    assert all(part.running for part in edge.parts)
    assert answered(edge) == {"stable"}
    roll(edge, CANDIDATE_IMAGE)
    edge.control_plane.wait(lambda: ready(edge) == [CANDIDATE_IMAGE] * 6, "every pod has the candidate's image")
    edge.plane.settled()
    assert answered(edge) == {"canary"}
    edge.control_plane.api.patch("Deployment", "checkout", {"metadata": {"annotations": {"mark": "x"}}}, NAMESPACE)
    edge.reset()
    found = edge.control_plane.api.get("Deployment", "checkout", NAMESPACE)
    assert "mark" not in found["metadata"]["annotations"]
    assert answered(edge) == {"stable"}


@pytest.mark.server
def test_an_image_that_is_broken_never_gets_a_visitor_and_is_given_up(edge: KubernetesEdge) -> None:
    def reasons() -> set[str]:
        found = edge.control_plane.api.get("Deployment", "checkout", NAMESPACE)
        return {each["reason"] for each in found["status"]["conditions"]}

    roll(edge, f"{CANDIDATE_IMAGE}-broken")
    edge.control_plane.wait(lambda: "ProgressDeadlineExceeded" in reasons(), "Kubernetes gives up", within_s=60)
    assert ready(edge) == [STABLE_IMAGE] * 5
    assert answered(edge) == {"stable"}
    edge.reset()


@pytest.mark.server
def test_the_worker_may_do_what_its_rights_say_and_no_more(edge: KubernetesEdge) -> None:
    settings = tomllib.loads(edge.settings("edge"))["connections"]["edge"]
    assert (settings["kind"], settings["kubeconfig"]) == ("kubernetes", str(edge.kubeconfig))
    assert edge.kubeconfig.stat().st_mode & 0o077 == 0
    plane = edge.control_plane
    with plane.client(plane.token("sluice", "sluice-worker")) as worker:
        assert worker.get("Deployment", "checkout", NAMESPACE)["spec"]["replicas"] == 6
        with pytest.raises(RuntimeError, match="403"):
            worker.get("Service", "checkout", NAMESPACE)


@pytest.mark.server
@pytest.mark.timeout(120)
def test_weights_of_the_copied_route_are_what_visitors_get(tmp_path: Path, shop_parts: dict[str, Shop]) -> None:
    control_plane_or_skip()
    edge = started(tmp_path, shop_parts, "gateway-api")
    try:
        api = edge.control_plane.api
        api.patch("Deployment", "checkout-canary", {"spec": {"replicas": 1}}, NAMESPACE)
        weight = [{"op": "replace", "path": "/spec/rules/0/backendRefs/0/weight", "value": 0},
                  {"op": "replace", "path": "/spec/rules/0/backendRefs/1/weight", "value": 1}]  # fmt: skip
        assert answered(edge) == {"stable"}
        api.patch("HTTPRoute", "checkout", weight, NAMESPACE, how="json")
        wait_until(lambda: ready(edge).count(CANDIDATE_IMAGE) == 1, within_s=30, what="the candidate's pod is ready")
        wait_until(
            lambda: httpx.get(edge.url, trust_env=False).headers.get("X-Version") == "canary",
            within_s=30,
            what="the endpoint is told",
        )
        assert answered(edge) == {"canary"}
        edge.reset()
        assert answered(edge) == {"stable"}
        assert api.get("Deployment", "checkout-canary", NAMESPACE)["spec"]["replicas"] == 0
    finally:
        edge.stop()


@pytest.mark.parametrize("kind", KINDS)
def test_a_route_names_what_its_manifests_make(kind: Kind, tmp_path: Path) -> None:
    edge = KubernetesEdge(tmp_path, stable_port=1, candidate_port=2, service="search", kind=kind)
    made = {(each["kind"], each["metadata"]["name"]) for each in manifests(kind, "search")}
    route = edge.route("edge")
    kinds = {"http_route": "HTTPRoute", "ingress": "Ingress", "virtual_service": "VirtualService"}
    kinds |= {"deployment": "Deployment", "candidate": "Service", "stable": "Service"}
    named = {(kinds[field], name) for field, name in route.items() if field in kinds}
    assert len(named) in {1, 3}
    assert named <= made
    assert {each["metadata"]["namespace"] for each in manifests(kind, "search")} == {NAMESPACE}
    assert not any("checkout" in str(each["metadata"]) for each in manifests(kind, "search"))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_rights_of_its_own(kind: Kind) -> None:
    found = rights(kind)
    assert [each["kind"] for each in found].count("ServiceAccount") == 1
    bound = {each["roleRef"]["name"] for each in found if each["kind"] == "RoleBinding"}
    assert bound == {each["metadata"]["name"] for each in found if each["kind"] == "Role"}
    assert f"sluice-{kind}" in bound


def pod(name: str, image: str) -> dict[str, Any]:
    return {"kind": "Pod", "metadata": {"name": name}, "spec": {"containers": [{"name": "app", "image": image}]}}


def slice_of(service: str, *pods: str) -> dict[str, Any]:
    endpoints = [{"targetRef": {"name": name}, "conditions": {"ready": True}} for name in pods]
    metadata = {"name": service, "creationTimestamp": "", "labels": {"kubernetes.io/service-name": service}}
    return {"kind": "EndpointSlice", "metadata": metadata, "endpoints": endpoints}


def test_a_pod_without_a_label_is_known_by_its_image() -> None:
    assert version_of(pod("a", "shop/checkout:7")) == "shop/checkout:7"
    labelled = pod("a", "shop/checkout:7")
    labelled["metadata"]["labels"] = {"version": "canary"}
    assert version_of(labelled) == "canary"


def test_weights_of_an_http_route_hold_however_many_pods_a_backend_has() -> None:
    route = objects.http_route("checkout", {"checkout": 95, "checkout-canary": 5})
    route["metadata"]["creationTimestamp"] = ""
    names = ("checkout", "checkout-canary")
    seen = {
        "HTTPRoute": {"checkout": route},
        "Service": {name: objects.service(name, {"app": name}) for name in names},
        "Pod": {f"old-{n}": pod(f"old-{n}", STABLE_IMAGE) for n in range(6)} | {"new": pod("new", CANDIDATE_IMAGE)},
        "EndpointSlice": {
            "checkout": slice_of("checkout", *(f"old-{n}" for n in range(6))),
            "checkout-canary": slice_of("checkout-canary", "new"),
        },
    }
    (rule,) = gateway.rules(Site(seen, {STABLE_IMAGE: "127.0.0.1:1", CANDIDATE_IMAGE: "127.0.0.1:2"}))
    weights = {choice.address: choice.weight for choice in rule.choices}
    assert weights["127.0.0.1:2"] * 19 == weights["127.0.0.1:1"]


def test_pods_of_the_candidate_are_there_where_no_workload_brings_them(tmp_path: Path) -> None:
    def replicas(kind: Kind, *, workload: bool = False) -> list[int]:
        made = manifests(kind, "checkout", workload=workload)
        return [each["spec"]["replicas"] for each in made if each["kind"] == "Deployment"]

    assert replicas("gateway-api", workload=True) == [6, 0]
    assert replicas("gateway-api") == [6, 6]
    assert replicas("rolling-update") == [6]
    edges = [KubernetesEdge(tmp_path, stable_port=1, candidate_port=2, workload=each) for each in (False, True)]
    assert [edge.workload("prod") for edge in edges] == [
        None,
        {
            "kind": "kubernetes-deployment",
            "connection": "prod",
            "namespace": NAMESPACE,
            "candidate": "checkout-canary",
            "stable": "checkout",
        },
    ]
    roles = [each["metadata"]["name"] for each in rights("gateway-api", workload=True) if each["kind"] == "Role"]
    assert roles == ["sluice-gateway-api", "sluice-kubernetes-deployment"]


def test_a_cluster_is_chosen_by_the_kind_of_its_route() -> None:
    assert set(CLUSTERS) == {*KINDS, "gateway-api-workload"}
    assert not set(CLUSTERS) & set(EDGES)
    assert set(ALL_EDGES) == set(CLUSTERS) | set(EDGES)


def test_the_images_of_the_bed_are_those_of_the_manifests() -> None:
    texts = [(MANIFESTS / name).read_text(encoding="utf-8") for name in ("checkout.yaml", "checkout-canary.yaml")]
    assert f"image: {STABLE_IMAGE}\n" in texts[0]
    assert f"image: {CANDIDATE_IMAGE}\n" in texts[1]
