"""A whole cluster as the router of a bed: a control plane, the manifests that operators copy, and a plane in front.

Why the manifests of `deploy/kubernetes` and not some of its own: see `testbed.envoy`. What is changed of them on the
way in is only what a demo cannot wait for, see `_hurried`. The pods are played and answer nothing; which of the bed's
two shops stands for a pod is said by its image, so a rolling update moves real visitors although it changes no more.

The worker gets a service account with the rights of `deploy/kubernetes/rbac` and nothing more.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeAlias, get_args

import yaml

from testbed.kubernetes.api import ApiRefused
from testbed.kubernetes.control_plane import ControlPlane
from testbed.kubernetes.credentials import write_kubeconfig
from testbed.kubernetes.objects import wait_available
from testbed.kubernetes.plane import Plane
from testbed.parts import REPOSITORY
from testbed.processes import LOOPBACK, PartFailed

if TYPE_CHECKING:
    from pathlib import Path

    from testbed.kubernetes.api import Object, Objects
    from testbed.part import Part

Kind: TypeAlias = Literal["gateway-api", "ingress-nginx", "istio", "rolling-update"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
"""Routes for which there is an edge."""

MANIFESTS: Final = REPOSITORY / "deploy" / "kubernetes"
NAMESPACE: Final = "shop"
WORKERS_NAMESPACE: Final = "sluice"
ACCOUNT: Final = "sluice-worker"
STABLE_IMAGE: Final = "shop/checkout:1.41.3"
CANDIDATE_IMAGE: Final = "shop/checkout:1.42.0"
PODS_WITHIN_S: Final = 60.0  # two waves that are watched for 10 s each, on a busy machine
DEADLINE_S: Final = 20  # for progress; a version that never becomes ready is to fail while people watch
CONFLICTS: Final = 20  # in a row, with controllers that write while pods come and go; more is a mistake
WORKLOAD: Final = "kubernetes-deployment"
LONG_AGO: Final = "2020-01-01T00:00:00Z"
_CRDS: Final = {"gateway-api", "istio"}
_ROUTES: Final = {"gateway-api": "HTTPRoute", "ingress-nginx": "Ingress", "istio": "VirtualService"}
_NGINX_HEADER: Final = {"name": "X-Canary", "candidate": "always", "stable": "never"}
_HEADER: Final = {"name": "X-Canary", "candidate": "true", "stable": "false"}


def manifests(kind: Kind, service: str, *, workload: bool = False) -> Objects:
    """What an operator applies for a kind of route, from `deploy/kubernetes`.

    Args:
        kind: Of the route.
        service: What the example's service `checkout` is to be called.
        workload: Whether rollouts bring the candidate's pods; else there are as many as stable has.

    Returns:
        Every object, in the order of applying.
    """
    files = ["checkout.yaml"] if kind == "rolling-update" else ["checkout.yaml", "checkout-canary.yaml", f"{kind}.yaml"]
    found: Objects = []
    for file in files:
        # The images keep their name: by them it is known which shop a pod is.
        text = (MANIFESTS / file).read_text(encoding="utf-8").replace("checkout", service)
        found += yaml.safe_load_all(text.replace(f"shop/{service}:", "shop/checkout:"))
    if workload:
        return found
    pods = found[0]["spec"]["replicas"]
    return [_with(each, replicas=pods) if _is_deployment(each) else each for each in found]


class KubernetesEdge:
    """A cluster with one service in front of two shops.

    Attributes:
        url: Where visitors come in, with a slash at the end.
        control_plane: The cluster.
        plane: What stands for kube-proxy, a gateway or an ingress controller.
        kubeconfig: Of the worker's service account; written by the start.
    """

    def __init__(
        self,
        directory: Path,
        *,
        stable_port: int,
        candidate_port: int,
        service: str = "checkout",
        kind: Kind = "rolling-update",
        workload: bool = False,
    ) -> None:
        """Choose every port; nothing is started.

        Args:
            directory: Where data, logs and credentials go.
            stable_port: Of the stable shop.
            candidate_port: Of the candidate shop.
            service: Name of the service: of its Deployment, its Service and its route.
            kind: Of the route.
            workload: Whether rollouts bring the candidate's pods with them.
        """
        self.kind, self.service, self._brings_pods = kind, service, workload
        self.control_plane = ControlPlane(directory / "kubernetes")
        stable, candidate = f"{LOOPBACK}:{stable_port}", f"{LOOPBACK}:{candidate_port}"
        self.plane = Plane(
            directory,
            self.control_plane,
            NAMESPACE,
            kind="service" if kind == "rolling-update" else kind,
            shops={STABLE_IMAGE: stable, CANDIDATE_IMAGE: candidate},
            service=service,
        )
        self.url = self.plane.url
        self.kubeconfig = directory.absolute() / "worker.kubeconfig"
        self._manifests = manifests(kind, service, workload=workload)

    @property
    def parts(self) -> tuple[Part, ...]:
        """Its processes, in the order of starting."""
        return (*self.control_plane.parts, self.plane.proxy)

    def start(self) -> Self:
        """Start the cluster, apply the manifests, wait for the pods, then let visitors in.

        Returns:
            Itself.

        Raises:
            PartMissing: A program or a definition of a resource is not on this machine.
            PartFailed: A part did not come up; nothing is left running.
        """
        with ExitStack() as undo:
            undo.callback(self.stop)
            self.control_plane.start()
            if self.kind in _CRDS:
                self.control_plane.install(self.kind)
            self.control_plane.namespace(NAMESPACE)
            self._write_kubeconfig()
            for manifest in self._manifests:
                self.control_plane.api.create(_hurried(manifest))
            self._await_pods()
            self._slow_down()
            self.plane.start()
            undo.pop_all()
        return self

    def stop(self) -> None:
        """Stop everything, visitors first."""
        self.plane.stop()
        self.control_plane.stop()

    def settings(self, name: str) -> str:
        """A connection of that name for the worker's settings, TOML."""
        # A JSON string is a TOML basic string, escapes included. The plane has a change in force within milliseconds.
        return f"""[connections.{name}]
kind = "kubernetes"
kubeconfig = {json.dumps(str(self.kubeconfig))}
settle = "500ms"
"""

    def route(self, connection: str) -> dict[str, Any]:
        """The route of a spec."""
        stable, candidate = self.service, f"{self.service}-canary"
        route: dict[str, Any] = {"kind": self.kind, "connection": connection, "namespace": NAMESPACE}
        pools = {"candidate": candidate, "stable": stable}
        match self.kind:
            case "rolling-update":
                return {**route, "deployment": self.service, "image": CANDIDATE_IMAGE}
            case "gateway-api":
                return {**route, "http_route": self.service, **pools, "header": dict(_HEADER)}
            case "ingress-nginx":
                return {**route, "ingress": self.service, **pools, "header": dict(_NGINX_HEADER)}
            case "istio":
                return {**route, "virtual_service": self.service, **pools, "header": dict(_HEADER)}

    def workload(self, connection: str) -> dict[str, Any] | None:
        """The workload of a spec; None where somebody else sees to the pods."""
        if not self._brings_pods:
            return None
        pools = {"candidate": f"{self.service}-canary", "stable": self.service}
        return {"kind": WORKLOAD, "connection": connection, "namespace": NAMESPACE, **pools}

    def reset(self) -> None:
        """Apply the manifests again, as an operator would, without what others have added; returns when it counts.

        Raises:
            PartFailed: Pods do not come back, or others write all the time.
        """
        for manifest in self._manifests:
            if manifest["kind"] in {"Deployment", *_ROUTES.values()}:
                self._replace(_patient(manifest))
        self._await_pods()
        self.plane.settled()

    def _replace(self, manifest: Object) -> None:
        for _ in range(CONFLICTS):
            try:
                return self._replace_once(manifest)
            except ApiRefused as refused:
                if refused.reason != "Conflict":
                    raise
        raise PartFailed(f"{manifest['kind']} {manifest['metadata']['name']} is written by others all the time")

    def _replace_once(self, manifest: Object) -> None:
        api, metadata = self.control_plane.api, manifest["metadata"]
        found = api.get(manifest["kind"], metadata["name"], NAMESPACE)
        version = found["metadata"]["resourceVersion"]
        api.replace({**manifest, "metadata": {**metadata, "resourceVersion": version}})

    def _await_pods(self) -> None:
        for deployment in self._deployments():
            name, count = deployment["metadata"]["name"], deployment["spec"]["replicas"]
            wait_available(self.control_plane.api, NAMESPACE, name, count, within_s=PODS_WITHIN_S)

    def _slow_down(self) -> None:
        """Let new pods be watched from now on; those that are there pass for old, so nobody has to wait for them."""
        api = self.control_plane.api
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": LONG_AGO}
        for pod in api.list("Pod", NAMESPACE):
            name, body = pod["metadata"]["name"], {"status": {"conditions": [ready]}}
            api.patch("Pod", name, body, NAMESPACE, how="strategic", subresource="status")
        for deployment in self._deployments():
            name, seconds = deployment["metadata"]["name"], deployment["spec"].get("minReadySeconds", 0)
            api.patch("Deployment", name, {"spec": {"minReadySeconds": seconds}}, NAMESPACE)
        self._await_pods()

    def _deployments(self) -> Objects:
        return [each for each in self._manifests if _is_deployment(each)]

    def _write_kubeconfig(self) -> None:
        """Give the worker its account, with the rights that operators are told to give it."""
        plane = self.control_plane
        plane.namespace(WORKERS_NAMESPACE)
        for manifest in rights(self.kind, workload=self._brings_pods):
            plane.api.create(manifest)
        token = plane.token(WORKERS_NAMESPACE, ACCOUNT)
        write_kubeconfig(self.kubeconfig, url=plane.url, ca_file=plane.ca_file, token=token, namespace=NAMESPACE)


def rights(kind: Kind, *, workload: bool = False) -> Objects:
    """What a worker may do for a kind of route, from `deploy/kubernetes/rbac`; the account is in every file."""
    files = [kind, WORKLOAD] if workload else [kind]
    found: dict[tuple[str, str], Object] = {}
    for file in files:
        for each in yaml.safe_load_all((MANIFESTS / "rbac" / f"{file}.yaml").read_text(encoding="utf-8")):
            found[each["kind"], each["metadata"]["name"]] = each
    return list(found.values())


def _hurried(manifest: Object) -> Object:
    """A manifest for the first start: its pods count as soon as they are ready."""
    return _with(_patient(manifest), minReadySeconds=0) if _is_deployment(manifest) else manifest


def _patient(manifest: Object) -> Object:
    """A manifest with a deadline that a demo can wait for."""
    return _with(manifest, progressDeadlineSeconds=DEADLINE_S) if _is_deployment(manifest) else manifest


def _is_deployment(manifest: Object) -> bool:
    return bool(manifest["kind"] == "Deployment")


def _with(manifest: Object, **fields: int) -> Object:
    return {**manifest, "spec": {**manifest["spec"], **fields}}
