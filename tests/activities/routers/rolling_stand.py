"""Workloads of the real control plane whose image decides what becomes of their pods, and visitors of their Service.

The adapter changes an image and nothing else, so an admission policy of the tests gives each pod what its image says:
the label `version` by which the data plane knows it, and the annotation by which kwok chooses its fate.
"""

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from activities.kubernetes import Cluster, KubernetesConnection
from activities.ports import Router, RouteState
from activities.routers.rolling_update import RollingUpdateRouter
from rollout.errors import NotPermitted, RouterUnreachable
from rollout.routes import RollingUpdateRoute
from testbed.kubernetes import objects
from testbed.kubernetes.api import ApiRefused, Object
from testbed.kubernetes.control_plane import ControlPlane
from testbed.kubernetes.plane import Plane
from tests.activities.routers.contract import Stand

OLD, NEW, THIRD = "shop:1.0", "shop:2.0", "shop:3.0"
NEVER, CRASH = "shop:2.0-never", "shop:2.0-crash"
PATIENCE_S = 60.0
_POLICY = "pods-are-as-their-image-says"
_IMAGE = "object.spec.containers[0].image"
_VERSION = f'{_IMAGE}.contains(":2.") ? "canary" : "stable"'
_FATE = f'{_IMAGE}.endsWith("-never") ? "never" : {_IMAGE}.endsWith("-crash") ? "crash" : "yes"'
_PATCH = (
    f'[JSONPatch{{op: "add", path: "/metadata/labels/version", value: {_VERSION}}}, '
    f'JSONPatch{{op: "add", path: "/metadata/annotations/" + jsonpatch.escapeKey("kwok.test/ready"), value: {_FATE}}}]'
)
_RULES = [
    {"apiGroups": ["apps"], "resources": ["deployments", "statefulsets"], "verbs": ["get", "patch"]},
    {"apiGroups": ["apps"], "resources": ["replicasets"], "verbs": ["list"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "delete"]},
]


def image_decides(control_plane: ControlPlane) -> None:
    """Let images decide, in every namespace, for pods with the label `by: image`; once a session."""
    admission = "admissionregistration.k8s.io/v1"
    pods = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    policy = {
        "apiVersion": admission,
        "kind": "MutatingAdmissionPolicy",
        "metadata": {"name": _POLICY},
        "spec": {
            "matchConstraints": {"resourceRules": [pods]},
            "matchConditions": [
                {"name": "asked", "expression": 'object.metadata.?labels["by"].orValue("") == "image"'}
            ],
            "failurePolicy": "Fail",
            "reinvocationPolicy": "Never",
            "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": _PATCH}}],
        },
    }
    binding = {
        "apiVersion": admission,
        "kind": "MutatingAdmissionPolicyBinding",
        "metadata": {"name": _POLICY},
        "spec": {"policyName": _POLICY},
    }
    for manifest in (policy, binding):
        try:
            control_plane.api.create(manifest)
        except ApiRefused as refused:
            if refused.reason != "AlreadyExists":
                raise
    probe: Object = {"apiVersion": "v1", "kind": "Pod", **decided(objects.deployment("probe", NEW))["spec"]["template"]}
    probe["metadata"]["name"] = "never-made"
    control_plane.wait(
        lambda: "version" in control_plane.api.create(probe, "default", dry_run=True)["metadata"]["labels"],
        "images decide",
    )


def decided(manifest: Object) -> Object:
    """A workload whose pods are as their image says."""
    metadata = manifest["spec"]["template"]["metadata"]
    metadata["labels"]["by"] = "image"
    metadata["annotations"]["team"] = "checkout"
    return manifest


class RollingStand(Stand):
    """A workload `checkout` behind a Service; the worker has the rights that the documentation names."""

    troubles = {"denied": NotPermitted, "silent": RouterUnreachable}  # noqa: RUF012 - as the base class has it
    kind: ClassVar[str]

    def __init__(self, control_plane: ControlPlane, namespace: str, threads: ThreadPoolExecutor) -> None:
        self.control_plane, self.namespace, self._threads = control_plane, namespace, threads
        self.api = control_plane.api
        self._clusters: list[Cluster] = []
        self._token = control_plane.token(namespace, "sluice")
        rbac = "rbac.authorization.k8s.io"
        self._role = {"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": {"name": "sluice"}, "rules": _RULES}
        self._binding = {
            "apiVersion": f"{rbac}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "sluice"},
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "sluice"},
            "subjects": [{"kind": "ServiceAccount", "name": "sluice", "namespace": namespace}],
        }
        for manifest in (self._role, self._binding):
            self.api.create(manifest, namespace)
        self.cluster = self.worker()
        self.plane: Plane | None = None

    @abstractmethod
    def manifest(self, name: str) -> Object:
        """A workload as it is before anything is rolled out."""

    def worker(self, **settings: Any) -> Cluster:
        """What one worker has of the cluster."""
        told = {"kubeconfig": self.control_plane.kubeconfig_for(self._token), "timeout_s": 3, **settings}
        self._clusters.append(Cluster(KubernetesConnection.model_validate(told), self._threads))
        return self._clusters[-1]

    def visited(self, shops: Mapping[str, str], directory: Path) -> None:
        """Put visitors in front."""
        self.api.create(objects.service("checkout", {"app": "checkout"}), self.namespace)
        plane = Plane(directory, self.control_plane, self.namespace, kind="service", shops=shops, service="checkout")
        self.plane = plane.start()
        self.url = self.plane.url

    async def aclose(self) -> None:
        for each in self._clusters:
            await each.aclose()
        if self.plane is not None:
            self.plane.stop()

    def make(self, *names: str, change: Callable[[Object], object] | None = None) -> None:
        """Make workloads and wait until they stand."""
        for name in names:
            manifest = decided(self.manifest(name))
            if change is not None:
                change(manifest)
            self.api.create(manifest, self.namespace)
        for name in names:
            pods = int(self.found(name)["spec"]["replicas"])
            objects.wait_available(self.api, self.namespace, name, pods, kind=self.kind, within_s=PATIENCE_S)

    def route(self, name: str = "checkout", image: str = NEW, **more: Any) -> RollingUpdateRoute:
        field = "deployment" if self.kind == "Deployment" else "stateful_set"
        told = {"connection": "prod-eu", "namespace": self.namespace, field: name, "image": image, **more}
        return RollingUpdateRoute.model_validate(told)

    def rolling(self, name: str = "checkout", image: str = NEW, cluster: Cluster | None = None) -> RollingUpdateRouter:
        return RollingUpdateRouter(self.route(name, image), cluster or self.cluster)

    def router(self, *, unknown_candidate: bool = False) -> RollingUpdateRouter:
        return self.rolling(image="ghost:1" if unknown_candidate else NEW)

    def other_router(self) -> RollingUpdateRouter:
        return self.rolling("cart")

    def found(self, name: str = "checkout") -> Object:
        return self.api.get(self.kind, name, self.namespace)

    def status(self, field: str, name: str = "checkout") -> Any:
        """A field of the status as the controller tells it, once it has seen what is written."""
        found = self.found(name)
        if found["status"].get("observedGeneration", 0) < found["metadata"]["generation"]:
            return None
        return found["status"].get(field)

    def written(self) -> object:
        found = self.found()
        annotations = {k: v for k, v in found["metadata"].get("annotations", {}).items() if "kubernetes.io" not in k}
        return annotations, found["spec"]

    def by_hand(self, body: Object, name: str = "checkout", manager: str = "kubectl-edit") -> None:
        """What another person changes."""
        self.api.patch(self.kind, name, body, self.namespace, how="strategic", fieldManager=manager)

    def push(self, image: str, manager: str = "kubectl-set") -> None:
        """Somebody deploys an image."""
        self.by_hand(
            {"spec": {"template": {"spec": {"containers": [{"name": "app", "image": image}]}}}}, manager=manager
        )

    def scale(self, replicas: int, name: str = "checkout") -> None:
        """What an autoscaler does."""
        body = {"spec": {"replicas": replicas}}
        self.api.patch(self.kind, name, body, self.namespace, subresource="scale", fieldManager="hpa")

    def pods(self, name: str = "checkout") -> dict[str, Object]:
        """Pods that are not ending, by name."""
        every = self.api.list("Pod", self.namespace, labels=f"app={name}")
        return {each["metadata"]["name"]: each for each in every if "deletionTimestamp" not in each["metadata"]}

    def images(self, name: str = "checkout") -> list[str]:
        return sorted(each["spec"]["containers"][0]["image"] for each in self.pods(name).values())

    @asynccontextmanager
    async def trouble(self, name: str) -> AsyncIterator[None]:
        if name == "denied":
            self.api.delete("RoleBinding", "sluice", self.namespace)
            self.control_plane.wait(lambda: not self._may(), "the binding has no effect any more")
        else:
            self.control_plane.server.pause()
        try:
            yield
        finally:
            if name == "denied":
                self.api.create(self._binding, self.namespace)
                self.control_plane.wait(self._may, "the binding has an effect again")
            else:
                self.control_plane.server.resume()

    async def visit(self, visits: int, headers: dict[str, str] | None = None) -> list[str]:
        assert self.plane is not None
        await asyncio.to_thread(self.plane.settled)
        return await super().visit(visits, headers)

    def _may(self) -> bool:
        with self.control_plane.client(self._token) as client:
            try:
                client.list("Pod", self.namespace)
            except ApiRefused:
                return False
            return True


S = TypeVar("S", bound=RollingStand)


class DeploymentStand(RollingStand):
    """The article's Deployment: 6 replicas, maxSurge 2, maxUnavailable 1, readiness."""

    kind = "Deployment"
    replicas = 6

    def manifest(self, name: str) -> Object:
        return objects.deployment(name, OLD, self.replicas)

    async def drift(self, percent: float) -> None:
        self.push(THIRD)


class StatefulSetStand(RollingStand):
    """A StatefulSet that makes its pods at once, but replaces one after the other."""

    kind = "StatefulSet"
    replicas = 4

    def manifest(self, name: str) -> Object:
        return objects.stateful_set(name, OLD, self.replicas, parallel=True)

    async def drift(self, percent: float) -> None:
        partition = round(self.replicas * (1 - percent / 100))
        self.by_hand({"spec": {"updateStrategy": {"rollingUpdate": {"partition": partition}}}})


async def seen(router: Router, holds: Callable[[RouteState], object]) -> RouteState:
    """Read until a state is as wanted."""
    state = await router.read()
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not holds(state):
                await asyncio.sleep(0.05)
                state = await router.read()
    except TimeoutError:
        raise AssertionError(f"never seen; the last was {state!r}") from None
    return state


async def eventually(stand: RollingStand, holds: Callable[[], bool], what: str) -> None:
    """Ask the test's own client until something is so."""
    await asyncio.to_thread(lambda: stand.control_plane.wait(holds, what, within_s=PATIENCE_S))


@asynccontextmanager
async def standing(kind: type[S], control_plane: ControlPlane, namespace: str) -> AsyncIterator[S]:
    """A stand, and no workload yet."""
    image_decides(control_plane)
    with ThreadPoolExecutor(16) as threads:
        stand = kind(control_plane, namespace, threads)
        try:
            yield stand
        finally:
            await stand.aclose()
