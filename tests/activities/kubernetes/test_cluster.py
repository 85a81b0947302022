"""What the real API server answers, in our words."""

import asyncio
import gc
from collections.abc import Awaitable, Callable

import pytest

from activities.kubernetes import (
    DEPLOYMENT,
    HTTP_ROUTE,
    INGRESS,
    POD,
    SERVICE,
    STATEFUL_SET,
    Absent,
    Cluster,
    Conflict,
    Json,
    Kind,
    rewrite,
)
from rollout.errors import Misconfigured, NotPermitted, RouterUnreachable
from testbed.kubernetes import ControlPlane, objects
from testbed.processes import wait_until_async
from tests.activities.kubernetes.bed import opened

pytestmark = pytest.mark.server

WIDGET = Kind("Widget", "sluice.invalid/v1", "widgets")
SCALE = {"op": "replace", "path": "/spec/replicas", "value": 0}


def at(version: str) -> Json:
    return {"op": "replace", "path": "/metadata/resourceVersion", "value": version}


@pytest.fixture
def shop(control_plane: ControlPlane, namespace: str) -> str:
    """A namespace with a Deployment `shop` without pods."""
    control_plane.api.create(objects.deployment("shop", replicas=0), namespace)
    return namespace


async def test_an_object_that_is_not_there_is_none_and_an_unknown_kind_is_a_mistake(
    cluster: Cluster, namespace: str
) -> None:
    assert await cluster.get(DEPLOYMENT, namespace, "shop") is None
    assert await cluster.every(DEPLOYMENT, namespace) == []
    for ask in (cluster.get(WIDGET, namespace, "shop"), cluster.every(WIDGET, namespace)):
        with pytest.raises(Misconfigured, match="does not know the kind; are its CRDs installed") as refused:
            await ask
        assert not isinstance(refused.value, Absent)


async def test_a_kind_is_known_as_soon_as_it_is_installed(
    control_plane: ControlPlane, cluster: Cluster, namespace: str
) -> None:
    control_plane.install("gateway-api")
    assert await cluster.get(HTTP_ROUTE, namespace, "shop") is None


async def test_what_is_missing_is_named(cluster: Cluster, namespace: str) -> None:
    with pytest.raises(Absent, match=r'deployments.apps "shop" not found'):
        await cluster.patch(DEPLOYMENT, namespace, "shop", [SCALE])
    with pytest.raises(Absent, match='namespaces "nowhere" not found'):
        await cluster.create(INGRESS, "nowhere", objects.ingress("shop", "shop"))


async def test_a_stale_version_is_a_conflict_and_nothing_else_is(
    control_plane: ControlPlane, cluster: Cluster, shop: str
) -> None:
    found = await cluster.get(DEPLOYMENT, shop, "shop")
    assert found
    stale = found["metadata"]["resourceVersion"]
    control_plane.api.patch("Deployment", "shop", {"metadata": {"labels": {"team": "shop"}}}, shop)
    with pytest.raises(Conflict, match="has been modified"):
        await cluster.patch(DEPLOYMENT, shop, "shop", [at(stale), SCALE])
    with pytest.raises(Conflict, match="has been modified"):
        await cluster.merge(DEPLOYMENT, shop, "shop", {"metadata": {"resourceVersion": stale}, "spec": {"replicas": 1}})
    with pytest.raises(Conflict, match="already exists"):
        await cluster.create(DEPLOYMENT, shop, objects.deployment("shop"))


async def test_what_the_api_server_refuses_is_told_in_its_words(cluster: Cluster, shop: str) -> None:
    with pytest.raises(Misconfigured, match=r"\(422\): .*spec.replicas: Invalid value: -1"):
        await cluster.patch(DEPLOYMENT, shop, "shop", [{**SCALE, "value": -1}])
    with pytest.raises(Misconfigured, match=r"\(422\)"):
        await cluster.patch(DEPLOYMENT, shop, "shop", [{"op": "test", "path": "/spec/replicas", "value": 9}])


async def test_who_wrote_is_told_to_everybody_else(cluster: Cluster, shop: str) -> None:
    found = await cluster.patch(DEPLOYMENT, shop, "shop", [{**SCALE, "value": 1}])
    assert "sluice" in {each["manager"] for each in found["metadata"]["managedFields"]}
    merged = await cluster.merge(DEPLOYMENT, shop, "shop", {"spec": {"minReadySeconds": 1}})
    assert merged["spec"]["template"]["spec"]["containers"] == found["spec"]["template"]["spec"]["containers"]


ASKED: dict[str, Callable[[Cluster, str], Awaitable[object]]] = {
    'get resource "deployments" in API group "apps"': lambda c, n: c.get(DEPLOYMENT, n, "shop"),
    'list resource "pods" in API group ""': lambda c, n: c.every(POD, n, "app=shop"),
    'patch resource "deployments" in API group "apps"': lambda c, n: c.patch(DEPLOYMENT, n, "shop", [SCALE]),
    'patch resource "statefulsets" in API group "apps"': lambda c, n: c.merge(STATEFUL_SET, n, "shop", {}),
    'create resource "ingresses"': lambda c, n: c.create(INGRESS, n, objects.ingress("shop", "shop")),
    'delete resource "pods"': lambda c, n: c.delete(POD, n, "shop"),
    'get resource "services"': lambda c, n: c.ready_endpoints(n, "shop"),
}


@pytest.mark.parametrize("words", ASKED)
async def test_a_right_that_is_missing_is_named(control_plane: ControlPlane, shop: str, words: str) -> None:
    token = control_plane.token(shop, "nobody")
    async with opened(control_plane.kubeconfig_for(token)) as nobody:
        with pytest.raises(NotPermitted, match="see deploy/kubernetes for the rule that is missing") as refused:
            await ASKED[words](nobody, shop)
        assert f"cannot {words}" in str(refused.value) or "list resource" in str(refused.value)


async def test_a_quota_is_no_missing_rule(control_plane: ControlPlane, cluster: Cluster, namespace: str) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "none"},
        "spec": {"hard": {"count/deployments.apps": "0"}},
    }
    path = f"/api/v1/namespaces/{namespace}/resourcequotas"
    control_plane.api.request("POST", path, quota)
    status = {"status": {"hard": quota["spec"]["hard"], "used": {"count/deployments.apps": "0"}}}  # type: ignore[index] # a literal above
    content = "application/merge-patch+json"
    control_plane.api.request("PATCH", f"{path}/none/status", status, content=content)

    told: list[str] = []

    async def refused() -> bool:
        try:
            await cluster.create(DEPLOYMENT, namespace, objects.deployment("shop"))
        except NotPermitted as error:
            told.append(str(error))
        else:
            await cluster.delete(DEPLOYMENT, namespace, "shop")
        return bool(told)

    await wait_until_async(refused, within_s=30, what="the quota counts")
    assert "exceeded quota" in told[0]
    assert "rule" not in told[0]


async def test_only_the_very_object_is_deleted_and_one_that_is_gone_is_fine(cluster: Cluster, shop: str) -> None:
    found = await cluster.get(DEPLOYMENT, shop, "shop")
    assert found
    with pytest.raises(Conflict, match="UID"):
        await cluster.delete(DEPLOYMENT, shop, "shop", uid="another")
    await cluster.delete(DEPLOYMENT, shop, "shop", uid=found["metadata"]["uid"])

    async def gone() -> bool:
        return await cluster.get(DEPLOYMENT, shop, "shop") is None

    await wait_until_async(gone, within_s=30, what="it is gone")
    await cluster.delete(DEPLOYMENT, shop, "shop")


async def test_a_pod_with_two_families_of_addresses_is_one_endpoint(
    control_plane: ControlPlane, cluster: Cluster, namespace: str
) -> None:
    bare = objects.service("shop", {})
    del bare["spec"]["selector"]  # slices by hand
    control_plane.api.create(bare, namespace)
    for family, first, second in (("IPv4", "10.9.0.1", "10.9.0.2"), ("IPv6", "fd00::1", "fd00::2")):
        pods = [
            {
                "addresses": [address],
                "conditions": {"ready": ready},
                "targetRef": {"kind": "Pod", "name": name, "uid": name},
            }
            for address, name, ready in ((first, "a", True), (second, "b", False))
        ]
        slice_ = {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": f"shop-{family.lower()}", "labels": {"kubernetes.io/service-name": "shop"}},
            "addressType": family,
            "endpoints": [*pods, {"addresses": ["10.9.0.9" if family == "IPv4" else "fd00::9"]}],
        }
        control_plane.api.create(slice_, namespace)
    # Pod a once, and the two addresses that belong to nothing and say nothing.
    assert await cluster.ready_endpoints(namespace, "shop") == 3
    assert await cluster.ready_endpoints(namespace, "nothing") is None
    assert await cluster.get(SERVICE, namespace, "shop") is not None


async def test_a_change_is_decided_anew_whenever_somebody_else_was_quicker(
    control_plane: ControlPlane, cluster: Cluster, shop: str
) -> None:
    seen: list[str] = []

    async def change(found: Json) -> list[Json]:
        seen.append(found["metadata"]["labels"].get("round", "0"))
        if len(seen) < 4:
            body = {"metadata": {"labels": {"round": str(len(seen))}}}
            control_plane.api.patch("Deployment", "shop", body, shop)
        return [at(found["metadata"]["resourceVersion"]), {**SCALE, "value": int(seen[-1])}]

    after = await rewrite(cluster, DEPLOYMENT, (shop, "shop"), change)
    assert seen == ["0", "1", "2", "3"]
    assert after["spec"]["replicas"] == 3


async def test_who_is_always_too_late_gives_up_and_has_written_nothing(
    control_plane: ControlPlane, cluster: Cluster, shop: str
) -> None:
    rounds = iter(range(100))

    async def change(found: Json) -> list[Json]:
        body = {"metadata": {"labels": {"round": str(next(rounds))}}}
        control_plane.api.patch("Deployment", "shop", body, shop)
        return [at(found["metadata"]["resourceVersion"]), {**SCALE, "value": 9}]

    with pytest.raises(RouterUnreachable, match="changed by others at 8 tries; nothing was written"):
        await rewrite(cluster, DEPLOYMENT, (shop, "shop"), change)
    assert control_plane.api.get("Deployment", "shop", shop)["spec"]["replicas"] == 0


async def test_what_is_gone_cannot_be_rewritten_and_what_needs_nothing_is_not_written(
    cluster: Cluster, shop: str
) -> None:
    async def nothing(found: Json) -> None:
        del found

    before = await cluster.get(DEPLOYMENT, shop, "shop")
    assert before
    await rewrite(cluster, DEPLOYMENT, (shop, "shop"), nothing)
    with pytest.raises(Absent, match=f"there is no Deployment {shop}/ghost"):
        await rewrite(cluster, DEPLOYMENT, (shop, "ghost"), nothing)


async def test_writers_at_the_same_time_lose_nothing(cluster: Cluster, control_plane: ControlPlane, shop: str) -> None:
    """Two workers, ten changes each, of one object."""

    async def up(found: Json) -> list[Json]:
        version, replicas = found["metadata"]["resourceVersion"], found["spec"]["replicas"]
        return [at(version), {**SCALE, "value": replicas + 1}]

    control_plane.api.patch("Deployment", "shop", {"spec": {"paused": True}}, shop)
    async with opened(control_plane.kubeconfig) as other:
        writers = [rewrite(each, DEPLOYMENT, (shop, "shop"), up) for each in (cluster, other) for _ in range(10)]
        ends = await asyncio.gather(*writers, return_exceptions=True)
    written = sum(not isinstance(end, BaseException) for end in ends)
    assert {type(end) for end in ends if isinstance(end, BaseException)} <= {RouterUnreachable}
    assert control_plane.api.get("Deployment", "shop", shop)["spec"]["replicas"] == written


async def test_what_was_opened_is_closed_without_a_warning(control_plane: ControlPlane, shop: str) -> None:
    async with opened(control_plane.kubeconfig) as cluster:
        await asyncio.gather(*(cluster.get(DEPLOYMENT, shop, "shop") for _ in range(12)))
        await cluster.patch(DEPLOYMENT, shop, "shop", [{**SCALE, "value": 0}])
    gc.collect()  # a socket that is left open is a ResourceWarning, and every warning fails a test
