"""A real cluster for the contracts: an API server, two Deployments with played pods, and a plane with real traffic.

The adapter works as a service account that may do what its route needs and nothing else, so every test is one of the
rules in `deploy/kubernetes` too. A backend gives a `Grounds` with its objects, a `KubernetesStand` that makes routers,
and fixtures `grounds` (module) and `stand`; nothing in here knows any kind of route.
"""

import asyncio
import contextlib
from abc import abstractmethod
from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from activities.kubernetes import Cluster, KubernetesConnection
from activities.ports import Router
from rollout.errors import NotPermitted, RouterUnreachable
from testbed.kubernetes import Api, ControlPlane, Plane, objects, wait_available
from testbed.processes import free_ports
from testbed.programs import Shop
from tests.activities.routers.contract import Stand

CANDIDATE, STABLE, APP = "checkout-canary", "checkout", "shop"
READS = ("get", "list")
# What every adapter may look at; a kind of route adds its own objects.
COMMON: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("", "services", READS),
    ("", "pods", READS),
    ("discovery.k8s.io", "endpointslices", READS),
)
Rules = tuple[tuple[str, str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class Grounds:
    """A namespace with a Deployment of one ready pod and a Service for each version, and a plane in front.

    Attributes:
        control_plane: the cluster.
        namespace: where everything is.
        plane: where visitors come in.
        stable: the shop that stands for stable's pods.
        writer: kubeconfig of who may write routes.
        reader: kubeconfig of who may only look.
    """

    control_plane: ControlPlane
    namespace: str
    plane: Plane
    stable: Shop
    writer: Path
    reader: Path

    @property
    def api(self) -> Api:
        """The administrator's client."""
        return self.control_plane.api


def pods(name: str, version: str, replicas: int = 1) -> dict[str, Any]:
    """A Deployment whose pods carry both its own label and that of the application."""
    return objects.deployment(name, replicas=replicas, labels={"app": APP, "track": version}, version=version)


@contextlib.contextmanager
def prepared(
    folder: Path,
    control_plane: ControlPlane,
    kind: Literal["gateway-api", "ingress-nginx", "istio", "service"],
    rules: Rules,
    manifests: tuple[dict[str, Any], ...] = (),
    service: str | None = None,
) -> Iterator[Grounds]:
    """Grounds for a kind of route.

    Args:
        folder: for logs.
        control_plane: the cluster; what the kind needs is installed.
        kind: of the plane.
        rules: API group, plural and verbs of what the adapter may do besides `COMMON`.
        manifests: more objects, made before the plane starts.
        service: of a plane of kind `service`.
    """
    stable, candidate = Shop(folder, version="stable"), Shop(folder, version="canary")
    api, namespace = control_plane.api, control_plane.namespace()
    for name, version in ((STABLE, "stable"), (CANDIDATE, "canary")):
        api.create(pods(name, version), namespace)
        api.create(objects.service(name, {"app": APP, "track": version}), namespace)
    for manifest in manifests:
        api.create(manifest, namespace)
    for name in (STABLE, CANDIDATE):
        wait_available(api, namespace, name, 1)
    looks = tuple((group, plural, tuple(verb for verb in verbs if verb in READS)) for group, plural, verbs in rules)
    writer = account(control_plane, namespace, "writer", COMMON + rules)
    reader = account(control_plane, namespace, "reader", COMMON + looks)
    shops = {version: f"127.0.0.1:{shop.port}" for version, shop in (("stable", stable), ("canary", candidate))}
    plane = Plane(folder, control_plane, namespace, kind=kind, shops=shops, service=service)
    with stable, candidate, plane:
        yield Grounds(control_plane, namespace, plane, stable, writer, reader)
    api.delete("Namespace", namespace)


def account(control_plane: ControlPlane, namespace: str, name: str, rules: Rules) -> Path:
    """A kubeconfig for a service account that may do just this, in its namespace."""
    kubeconfig = control_plane.kubeconfig_for(control_plane.token(namespace, name), namespace=namespace)
    metadata = {"name": name, "namespace": namespace}
    group = "rbac.authorization.k8s.io"
    allowed = [{"apiGroups": [api], "resources": [plural], "verbs": list(verbs)} for api, plural, verbs in rules]
    control_plane.api.create({"apiVersion": f"{group}/v1", "kind": "Role", "metadata": metadata, "rules": allowed})
    control_plane.api.create({
        "apiVersion": f"{group}/v1", "kind": "RoleBinding", "metadata": metadata,
        "roleRef": {"apiGroup": group, "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
    })  # fmt: skip
    return kubeconfig


class Door(Cluster):
    """A cluster that can be made to lead elsewhere, under an adapter that has it already."""

    through: Cluster | None = None

    async def _ask(self, *arguments: Any, **request: Any) -> dict[str, Any]:
        if self.through is not None:
            return await self.through._ask(*arguments, **request)
        return await super()._ask(*arguments, **request)


class KubernetesStand(Stand):
    """A route in a cluster. A subclass says how its router is made, what it has written, and how people change it."""

    troubles: ClassVar = {"forbidden": NotPermitted, "away": RouterUnreachable}
    settle_s: ClassVar[float] = 0.1
    proves_by_itself: ClassVar[bool] = True
    """Whether a proof means that the traffic follows; otherwise visitors wait for the plane."""

    def __init__(self, grounds: Grounds, threads: ThreadPoolExecutor) -> None:
        self.grounds, self._threads = grounds, threads
        self.api, self.namespace, self.plane = grounds.api, grounds.namespace, grounds.plane
        self.url = grounds.plane.url
        self.cluster = self.worker()

    def worker(self, kubeconfig: Path | None = None, **settings: Any) -> Door:
        """What one worker has of the cluster; another one knows nothing of what this one remembers."""
        told = {"kubeconfig": kubeconfig or self.grounds.writer, "settle": self.settle_s, "timeout_s": 5, **settings}
        return Door(KubernetesConnection.model_validate(told), self._threads)

    @abstractmethod
    def made(self, cluster: Cluster | None = None, **fields: Any) -> Router:
        """The adapter, with fields of its route changed."""

    def router(self, *, unknown_candidate: bool = False) -> Router:
        return self.made(candidate="ghost") if unknown_candidate else self.made()

    @asynccontextmanager
    async def trouble(self, name: str) -> AsyncIterator[None]:
        kubeconfig = self.grounds.reader if name == "forbidden" else self._nowhere()
        self.cluster.through = self.worker(kubeconfig)
        try:
            yield
        finally:
            elsewhere, self.cluster.through = self.cluster.through, None
            await elsewhere.aclose()

    async def visit(self, visits: int, headers: dict[str, str] | None = None) -> list[str]:
        if not self.proves_by_itself:
            await self.settled()
        return await super().visit(visits, headers)

    async def settled(self) -> None:
        """Everything that is written now is in force."""
        await asyncio.to_thread(self.plane.settled)

    def again(self, *manifests: Mapping[str, Any]) -> None:
        """Objects as they were delivered: deleted and made anew."""
        for manifest in manifests:
            self.api.delete(manifest["kind"], manifest["metadata"]["name"], self.namespace)
            self.api.create(dict(manifest), self.namespace)

    def by_hand(self, kind: str, name: str, *operations: Mapping[str, Any]) -> dict[str, Any]:
        """What a person changes with kubectl."""
        asked = [dict(operation) for operation in operations]
        return self.api.patch(kind, name, asked, self.namespace, how="json", fieldManager="kubectl-edit")

    def scale(self, name: str, replicas: int) -> None:
        """A Deployment gets so many pods, and has them."""
        self.api.patch("Deployment", name, {"spec": {"replicas": replicas}}, self.namespace)
        wait_available(self.api, self.namespace, name, replicas)

    def _nowhere(self) -> Path:
        """A kubeconfig of an API server that nobody runs."""
        [port] = free_ports(1)
        text = self.grounds.writer.read_text().replace(self.grounds.control_plane.url, f"https://127.0.0.1:{port}")
        path = self.grounds.writer.with_suffix(".nowhere")
        path.write_text(text)
        return path
