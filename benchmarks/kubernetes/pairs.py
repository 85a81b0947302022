"""What a rollout moves: stable's Ingress in front of two Services with played pods. The canary Ingress is Sluice's."""

from dataclasses import dataclass

from benchmarks.kubernetes.sightings import Key
from testbed.kubernetes import Api, ControlPlane, objects, wait_available

CANDIDATE, STABLE = "shop-canary", "shop"


@dataclass(frozen=True)
class Pair:
    """One service's Ingress and, later, its canary."""

    namespace: str
    name: str

    @property
    def canary(self) -> Key:
        """The canary Ingress."""
        return self.namespace, f"{self.name}-canary"


def pairs(plane: ControlPlane, prefix: str, count: int, *, a_namespace: int = 10, stable: int = 1) -> list[Pair]:
    """Make Ingresses, each with a host of its own.

    Args:
        plane: where.
        prefix: their names begin so.
        count: how many.
        a_namespace: how many share a namespace, its two Services and their pods.
        stable: pods of stable in each namespace; the candidate has one.
    """
    made: list[Pair] = []
    for first in range(0, count, a_namespace):
        namespace = _namespace(plane, stable)
        for number in range(first, min(count, first + a_namespace)):
            pair = Pair(namespace, f"{prefix}-{number}")
            plane.api.create(objects.ingress(pair.name, STABLE, host=f"{pair.name}.test"), namespace)
            made.append(pair)
    for namespace in {pair.namespace for pair in made}:
        wait_available(plane.api, namespace, STABLE, stable, within_s=120)
        wait_available(plane.api, namespace, CANDIDATE, 1, within_s=120)
    return made


def make_unready(api: Api, namespace: str) -> None:
    """Make one of stable's pods unready, for good."""
    pod = api.list("Pod", namespace, labels=f"app={STABLE}")[0]["metadata"]["name"]
    api.patch("Pod", pod, {"metadata": {"annotations": {"kwok.test/ready": "never"}}}, namespace)
    unready = [{"type": kind, "status": "False"} for kind in ("Ready", "ContainersReady")]
    api.patch("Pod", pod, {"status": {"conditions": unready}}, namespace, how="strategic", subresource="status")


def ready(api: Api, namespace: str, deployment: str) -> int:
    """Ready pods of a Deployment, as its status says."""
    return int(api.get("Deployment", deployment, namespace)["status"].get("readyReplicas") or 0)


def _namespace(control_plane: ControlPlane, stable: int) -> str:
    namespace = control_plane.namespace()
    for name, replicas in ((STABLE, stable), (CANDIDATE, 1)):
        control_plane.api.create(objects.deployment(name, replicas=replicas), namespace)
        control_plane.api.create(objects.service(name, {"app": name}), namespace)
    return namespace
