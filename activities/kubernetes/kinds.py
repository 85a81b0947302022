"""The kinds of objects that Sluice reads or writes, and where the API has them."""

from typing import NamedTuple


class Kind(NamedTuple):
    """One kind.

    Attributes:
        name: as a manifest spells it: `Deployment`.
        version: group and version: `apps/v1`, or `v1` for the core.
        plural: as addresses and RBAC rules spell it: `deployments`.
    """

    name: str
    version: str
    plural: str

    @property
    def group(self) -> str:
        """Its group, empty for the core."""
        return self.version.rpartition("/")[0]

    def path(self, namespace: str, name: str | None = None, sub: str | None = None) -> str:
        """Where one object is, or all of a namespace; with `sub` a part of it, such as `scale`."""
        root = f"/apis/{self.version}" if self.group else f"/api/{self.version}"
        return "/".join((root, "namespaces", namespace, self.plural, *(part for part in (name, sub) if part)))


DEPLOYMENT = Kind("Deployment", "apps/v1", "deployments")
REPLICA_SET = Kind("ReplicaSet", "apps/v1", "replicasets")
STATEFUL_SET = Kind("StatefulSet", "apps/v1", "statefulsets")
POD = Kind("Pod", "v1", "pods")
SERVICE = Kind("Service", "v1", "services")
ENDPOINT_SLICE = Kind("EndpointSlice", "discovery.k8s.io/v1", "endpointslices")
INGRESS = Kind("Ingress", "networking.k8s.io/v1", "ingresses")
HTTP_ROUTE = Kind("HTTPRoute", "gateway.networking.k8s.io/v1", "httproutes")
VIRTUAL_SERVICE = Kind("VirtualService", "networking.istio.io/v1", "virtualservices")
DESTINATION_RULE = Kind("DestinationRule", "networking.istio.io/v1", "destinationrules")
POD_AUTOSCALER = Kind("HorizontalPodAutoscaler", "autoscaling/v2", "horizontalpodautoscalers")
DISRUPTION_BUDGET = Kind("PodDisruptionBudget", "policy/v1", "poddisruptionbudgets")
