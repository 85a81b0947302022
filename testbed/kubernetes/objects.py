"""Manifests as plain dictionaries, as a user would write them; a test changes what it needs changed.

Labels: `labels` select, so they never change; `version` is one more label of the pods, by which the data plane knows
which shop a pod stands for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from testbed.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping

    from testbed.kubernetes.api import Api, Object

Fate = Literal["never", "crash"]
PORT = 8000
NGINX = "nginx.ingress.kubernetes.io/"


def _template(
    image: str, labels: Mapping[str, str], version: str | None, ready_after: str | None, ready: Fate | None, port: int
) -> Object:
    annotations = {"kwok.test/ready-after": ready_after, "kwok.test/ready": ready}
    container = {
        "name": "app",
        "image": image,
        "ports": [{"name": "http", "containerPort": port}],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": port}},
    }
    return {
        "metadata": {
            "labels": {**labels, **({"version": version} if version else {})},
            "annotations": {name: value for name, value in annotations.items() if value},
        },
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 1},
    }


def deployment(  # noqa: PLR0913 - a manifest has as many fields
    name: str,
    image: str = "shop:1.0",
    replicas: int = 2,
    labels: Mapping[str, str] | None = None,
    *,
    version: str | None = None,
    ready_after: str | None = None,
    ready: Fate | None = None,
    max_surge: int | str = 2,
    max_unavailable: int | str = 1,
    progress_deadline_s: int = 600,
    port: int = PORT,
) -> Object:
    """A Deployment of one container.

    Args:
        name: Of the Deployment.
        image: Of its container; never pulled.
        replicas: How many pods.
        labels: By which it selects its pods; `app: name` by default.
        version: Label `version` of the pods; none by default.
        ready_after: How long a pod takes to become ready, as in `2s`; 200 ms by default.
        ready: `never` or `crash` for pods that do not; they do by default.
        max_surge: Pods, or a percentage as a text.
        max_unavailable: Pods, or a percentage as a text.
        progress_deadline_s: Seconds without progress until it is said to have failed.
        port: Of the container.

    Returns:
        The manifest.
    """
    chosen = dict(labels or {"app": name})
    rolling = {"maxSurge": max_surge, "maxUnavailable": max_unavailable}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": chosen},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": chosen},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": rolling},
            "progressDeadlineSeconds": progress_deadline_s,
            "template": _template(image, chosen, version, ready_after, ready, port),
        },
    }


def stateful_set(  # noqa: PLR0913 - a manifest has as many fields
    name: str,
    image: str = "shop:1.0",
    replicas: int = 3,
    labels: Mapping[str, str] | None = None,
    *,
    version: str | None = None,
    ready_after: str | None = None,
    ready: Fate | None = None,
    partition: int = 0,
    parallel: bool = False,
    port: int = PORT,
) -> Object:
    """A StatefulSet of one container; arguments as in `deployment`.

    Args:
        name: Of the StatefulSet and of its Service, which is not made.
        image: Of its container.
        replicas: How many pods.
        labels: By which it selects its pods.
        version: Label `version` of the pods.
        ready_after: How long a pod takes to become ready.
        ready: `never` or `crash` for pods that do not.
        partition: Pods with a lower ordinal keep the old template.
        parallel: Whether pods are started without waiting for the one before.
        port: Of the container.

    Returns:
        The manifest.
    """
    chosen = dict(labels or {"app": name})
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": name, "labels": chosen},
        "spec": {
            "replicas": replicas,
            "serviceName": name,
            "selector": {"matchLabels": chosen},
            "podManagementPolicy": "Parallel" if parallel else "OrderedReady",
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}},
            "template": _template(image, chosen, version, ready_after, ready, port),
        },
    }


def service(name: str, selector: Mapping[str, str], *, port: int = 80, target_port: int = PORT) -> Object:
    """A Service in front of the pods with these labels."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": dict(selector), "ports": [{"name": "http", "port": port, "targetPort": target_port}]},
    }


def http_route(
    name: str,
    weights: Mapping[str, int],
    *,
    forced: Mapping[tuple[str, str], str] | None = None,
    gateway: str = "edge",
    port: int = 80,
) -> Object:
    """An HTTPRoute: a rule for everybody, after a rule for each forced header.

    Args:
        name: Of the route.
        weights: Service → weight, in order.
        forced: Header and its value → Service.
        gateway: What it is attached to.
        port: Of the Services.

    Returns:
        The manifest.
    """
    rules: list[Object] = [
        {
            "matches": [{"headers": [{"name": header, "value": value}]}],
            "backendRefs": [{"name": backend, "port": port}],
        }
        for (header, value), backend in (forced or {}).items()
    ]
    rules.append({"backendRefs": [{"name": each, "port": port, "weight": weight} for each, weight in weights.items()]})
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name},
        "spec": {"parentRefs": [{"name": gateway}], "rules": rules},
    }


def gateway(name: str = "edge", *, class_name: str = "testbed") -> Object:
    """A Gateway with one HTTP listener."""
    listener = {"name": "http", "port": 80, "protocol": "HTTP"}
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {"name": name},
        "spec": {"gatewayClassName": class_name, "listeners": [listener]},
    }


def ingress(
    name: str,
    backend: str,
    *,
    canary: Mapping[str, str] | None = None,
    host: str = "shop.test",
    class_name: str = "nginx",
    port: int = 80,
) -> Object:
    """An Ingress of ingress-nginx with one path.

    Args:
        name: Of the Ingress.
        backend: Service.
        canary: Makes it a canary: annotations without the prefix, as in `canary-weight: "5"`.
        host: That it answers to.
        class_name: Of the controller.
        port: Of the Service.

    Returns:
        The manifest.
    """
    annotations = {} if canary is None else {f"{NGINX}canary": "true"}
    annotations |= {f"{NGINX}{key}": value for key, value in (canary or {}).items()}
    path = {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": backend, "port": {"number": port}}}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": name, "annotations": annotations},
        "spec": {"ingressClassName": class_name, "rules": [{"host": host, "http": {"paths": [path]}}]},
    }


def virtual_service(
    name: str,
    weights: Mapping[str, int],
    *,
    host: str | None = None,
    forced: Mapping[tuple[str, str], str] | None = None,
) -> Object:
    """A VirtualService: a route for everybody, after a route for each forced header.

    Args:
        name: Of the VirtualService, and the host that it is for.
        weights: Subset → weight if there is a `host`, else Service → weight.
        host: Service whose subsets are meant.
        forced: Header (lower case) and its value → subset or Service.

    Returns:
        The manifest.
    """

    def destination(place: str) -> Object:
        return {"host": host, "subset": place} if host else {"host": place}

    routes: list[Object] = [
        {"match": [{"headers": {header: {"exact": value}}}], "route": [{"destination": destination(place)}]}
        for (header, value), place in (forced or {}).items()
    ]
    everybody = [{"destination": destination(place), "weight": weight} for place, weight in weights.items()]
    routes.append({"name": "primary", "route": everybody})
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": name},
        "spec": {"hosts": [host or name], "http": routes},
    }


def destination_rule(name: str, host: str, subsets: Mapping[str, Mapping[str, str]]) -> Object:
    """A DestinationRule: subset → labels of its pods."""
    shown = [{"name": subset, "labels": dict(labels)} for subset, labels in subsets.items()]
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": {"name": name},
        "spec": {"host": host, "subsets": shown},
    }


def hpa(name: str, target: str, *, least: int, most: int, kind: str = "Deployment") -> Object:
    """A HorizontalPodAutoscaler; without metrics it keeps the count between its bounds, and no more."""
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": kind, "name": target},
            "minReplicas": least,
            "maxReplicas": most,
        },
    }


def pdb(name: str, selector: Mapping[str, str], *, min_available: int | str) -> Object:
    """A PodDisruptionBudget."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name},
        "spec": {"minAvailable": min_available, "selector": {"matchLabels": dict(selector)}},
    }


def available(found: Object) -> int:
    """Pods of a Deployment or StatefulSet that are available, -1 while its status is of an older generation."""
    status: dict[str, Any] = found.get("status", {})
    if status.get("observedGeneration", 0) < found["metadata"]["generation"]:
        return -1
    return int(status.get("availableReplicas") or 0)


def wait_available(
    api: Api, namespace: str, name: str, count: int, *, kind: str = "Deployment", within_s: float = 30.0
) -> Object:
    """Wait until so many pods of the current template are available, and no others are left.

    Args:
        api: Client.
        namespace: Of the object.
        name: Of the object.
        count: How many pods.
        kind: `Deployment` or `StatefulSet`.
        within_s: Seconds to wait at most.

    Returns:
        The object as it was then.

    Raises:
        PartFailed: When the time is over.
    """
    found: Object = {}

    def done() -> bool:
        found.update(api.get(kind, name, namespace))
        status = found.get("status", {})
        numbers = [available(found), status.get("updatedReplicas"), status.get("replicas")]
        return numbers == [count] * 3 or (count == 0 and available(found) == 0 and not status.get("replicas"))

    wait_until(done, within_s=within_s, what=f"{kind} {namespace}/{name} has {count} available pods")
    return found
