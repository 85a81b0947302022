"""What each Kubernetes adapter does from the first look to the way back, and what it says when it may not."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import NamedTuple

from activities.kubernetes import Cluster, KubernetesConnection
from activities.ports import Router, Workloads, Write
from activities.routers.gateway_api import GatewayApiRouter
from activities.routers.ingress_nginx import IngressNginxRouter
from activities.routers.istio import IstioRouter
from activities.routers.replicas import ReplicasRouter
from activities.routers.rolling_update import RollingUpdateRouter
from activities.workload.kubernetes_deployment import KubernetesDeployments
from rollout.errors import NotReady, SluiceError
from rollout.routes import GatewayApiRoute, IngressNginxRoute, IstioRoute, ReplicasRoute, RollingUpdateRoute
from rollout.workloads import KubernetesDeploymentWorkload
from testbed.kubernetes import ControlPlane, objects
from tests.activities.routers.rolling_stand import NEVER, NEW, OLD, decided, image_decides

OWNER = "rollout:prod/checkout"
WITHIN_S = 30.0
STABLE, CANARY = "checkout", "checkout-canary"


class Play(NamedTuple):
    """One adapter at work.

    Attributes:
        furnish: makes what it needs in a namespace.
        act: does everything that a rollout asks of it, whatever goes wrong; answers with all that it said.
    """

    furnish: Callable[[ControlPlane, str], None]
    act: Callable[[Cluster, str], Awaitable[list[str]]]


def connection(plane: ControlPlane, token: str) -> KubernetesConnection:
    """A worker's with this token, which believes Istio and ingress-nginx at once."""
    return KubernetesConnection(kubeconfig=plane.kubeconfig_for(token), settle=timedelta(0))


async def said(told: list[str], ask: Callable[[], Awaitable[object]]) -> bool:
    """Ask until pods are ready; whether it was answered. What it said is kept."""
    until = time.monotonic() + WITHIN_S
    while True:
        try:
            told.append(str(await ask()))
        except NotReady as error:
            told.append(str(error))
            if "not allowed" in told[-1] or time.monotonic() >= until:
                return False
            await asyncio.sleep(0.05)
        except SluiceError as error:
            told.append(str(error))
            return False
        else:
            return True


async def moved(router: Router, percent: float) -> list[str]:
    """Look, raise, look, go back, look."""
    told: list[str] = []
    await said(told, router.read)
    for epoch, wanted in enumerate((percent, 0), start=1):
        write = Write(percent=wanted, epoch=epoch, owner=OWNER, release=wanted == 0)
        await said(told, lambda write=write: router.write(write))  # type: ignore[misc] # bound on purpose
        await said(told, router.read)
    return told


def _where(namespace: str) -> dict[str, str]:
    return {"connection": "prod-eu", "namespace": namespace}


def two_versions(plane: ControlPlane, namespace: str, *, canaries: int = 1, stables: int = 1) -> None:
    """A Deployment and a Service for each version."""
    for name, version, pods in ((STABLE, "stable", stables), (CANARY, "canary", canaries)):
        labels = {"app": "shop", "track": version}
        plane.api.create(objects.deployment(name, replicas=pods, labels=labels, version=version), namespace)
        plane.api.create(objects.service(name, labels), namespace)
    for name, pods in ((STABLE, stables), (CANARY, canaries)):
        objects.wait_available(plane.api, namespace, name, pods)
        plane.wait(lambda name=name, pods=pods: _ready(plane, namespace, name) == pods, "endpoints")  # type: ignore[misc] # bound on purpose


def _ready(plane: ControlPlane, namespace: str, service: str) -> int:
    slices = plane.api.list("EndpointSlice", namespace, labels=f"kubernetes.io/service-name={service}")
    return sum(each["conditions"]["ready"] for slice_ in slices for each in slice_.get("endpoints") or [])


def _gateway(plane: ControlPlane, namespace: str) -> None:
    plane.install("gateway-api")
    two_versions(plane, namespace)
    plane.api.create(objects.http_route(STABLE, {STABLE: 100, CANARY: 0}), namespace)


async def _gateway_acts(cluster: Cluster, namespace: str) -> list[str]:
    names = {**_where(namespace), "http_route": STABLE, "candidate": CANARY, "stable": STABLE}
    route = GatewayApiRoute.model_validate(names)
    return await moved(GatewayApiRouter(route, cluster), 5)


def _ingress(plane: ControlPlane, namespace: str) -> None:
    two_versions(plane, namespace)
    plane.api.create(objects.ingress(STABLE, STABLE), namespace)


async def _ingress_acts(cluster: Cluster, namespace: str) -> list[str]:
    names = {**_where(namespace), "ingress": STABLE, "candidate": CANARY, "stable": STABLE}
    route = IngressNginxRoute.model_validate(names)
    return await moved(IngressNginxRouter(route, cluster), 5)


def _istio(plane: ControlPlane, namespace: str) -> None:
    plane.install("istio")
    two_versions(plane, namespace)
    subsets = {"canary": {"track": "canary"}, "stable": {"track": "stable"}}
    plane.api.create(objects.service("shop", {"app": "shop"}), namespace)
    plane.wait(lambda: _ready(plane, namespace, "shop") == len(subsets), "endpoints")
    plane.api.create(objects.destination_rule("shop", "shop", subsets), namespace)
    plane.api.create(objects.virtual_service("shop", {"stable": 100, "canary": 0}, host="shop"), namespace)


async def _istio_acts(cluster: Cluster, namespace: str) -> list[str]:
    names = {**_where(namespace), "virtual_service": "shop", "host": "shop", "candidate": "canary", "stable": "stable"}
    route = IstioRoute.model_validate(names)
    return await moved(IstioRouter(route, cluster), 5)


def _replicas(plane: ControlPlane, namespace: str) -> None:
    two_versions(plane, namespace, canaries=0, stables=2)
    plane.api.create(objects.service("shop", {"app": "shop"}), namespace)


async def _replicas_acts(cluster: Cluster, namespace: str) -> list[str]:
    names = {**_where(namespace), "service": "shop", "candidate": CANARY, "stable": STABLE}
    route = ReplicasRoute.model_validate(names)
    return await moved(ReplicasRouter(route, cluster), 50)


def _rolling(plane: ControlPlane, namespace: str) -> None:
    image_decides(plane)
    plane.api.create(decided(objects.deployment(STABLE, OLD, 2, max_surge=1, max_unavailable=0)), namespace)
    plane.api.create(decided(objects.stateful_set("cart", OLD, 2)), namespace)
    objects.wait_available(plane.api, namespace, STABLE, 2)
    objects.wait_available(plane.api, namespace, "cart", 2, kind="StatefulSet")


async def _rolling_acts(cluster: Cluster, namespace: str) -> list[str]:
    """A Deployment's candidate that comes up, and a StatefulSet's that never does, with the pod that it leaves."""
    where = _where(namespace)
    rolling = RollingUpdateRouter(
        RollingUpdateRoute.model_validate({**where, "deployment": STABLE, "image": NEW}), cluster
    )
    told = await moved(rolling, 100)
    stuck = RollingUpdateRouter(
        RollingUpdateRoute.model_validate({**where, "stateful_set": "cart", "image": NEVER}), cluster
    )
    if not await said(told, lambda: stuck.write(Write(percent=50, epoch=1, owner=OWNER))):
        return told
    back, until = Write(percent=0, epoch=2, owner=OWNER, release=True), time.monotonic() + WITHIN_S
    await _until(told, stuck, until, lambda words: "1 of 2 pods are new" in words or "not allowed" in words)
    while "in_force=0" not in told[-1] and "not allowed" not in told[-1] and time.monotonic() < until:
        if await said(told, lambda: stuck.write(back)):
            await said(told, stuck.read)
            await asyncio.sleep(0.1)
    return told


async def _until(told: list[str], router: Router, until: float, holds: Callable[[str], bool]) -> None:
    while time.monotonic() < until:
        await said(told, router.read)
        if holds(told[-1]):
            return
        await asyncio.sleep(0.05)


def _workload(plane: ControlPlane, namespace: str) -> None:
    two_versions(plane, namespace, canaries=0, stables=2)


async def _workload_acts(cluster: Cluster, namespace: str) -> list[str]:
    names = {**_where(namespace), "candidate": CANARY, "stable": STABLE}
    pods: Workloads = KubernetesDeployments(KubernetesDeploymentWorkload.model_validate(names), cluster)
    told: list[str] = []
    await said(told, pods.capacity)
    await said(told, lambda: pods.prepare(Write(percent=100, epoch=1, owner=OWNER)))
    await said(told, pods.carries)
    await said(told, lambda: pods.remove_candidate(Write(percent=0, epoch=2, owner=OWNER, release=True)))
    return told


PLAYS = {
    "gateway-api": Play(_gateway, _gateway_acts),
    "ingress-nginx": Play(_ingress, _ingress_acts),
    "istio": Play(_istio, _istio_acts),
    "replicas": Play(_replicas, _replicas_acts),
    "rolling-update": Play(_rolling, _rolling_acts),
    "kubernetes-deployment": Play(_workload, _workload_acts),
}
