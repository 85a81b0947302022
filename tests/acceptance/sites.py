"""A service in a cluster as its team keeps it: Deployments, Services, and the object that says who gets the traffic.

A test looks at it with the test bed's own client, never with the eyes of the product.
"""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any, ClassVar

from testbed.kubernetes import ApiRefused, objects

if TYPE_CHECKING:
    from testbed.kubernetes import Api
    from tests.acceptance.clients import Clients

CANDIDATE, STABLE, APP = "checkout-canary", "checkout", "shop"
HEADER = {"name": "X-Canary", "candidate": "always", "stable": "never"}
CONNECTION = "cluster"
MARK = "sluice.dev/rollout"
NOT_FOUND = 404


class Site:
    """Two Deployments behind a route, in a namespace of their own, which stays until the control plane goes.

    Deleting a namespace asks for every kind of object that there is; the stories that still play would wait for that.

    Attributes:
        kind: of the route.
        marked: kind and name of the object that carries our mark.
        namespace: where everything is.
        stable_pods: pods of stable at the start; the candidate has none.
    """

    kind: ClassVar[str]
    marked: ClassVar[tuple[str, str]]
    follows: ClassVar[bool] = True
    """Whether a workload gives the candidate its pods; else the route itself does."""

    def __init__(self, clients: Clients, stable_pods: int, **deployment: Any) -> None:
        self._clients, self.stable_pods, self._deployment = clients, stable_pods, deployment
        self.namespace = ""

    @property
    def api(self) -> Api:
        """The administrator's client, in whatever thread."""
        return self._clients.mine

    def put_up(self) -> None:
        """Make the namespace and everything in it; it stands once it is settled."""
        self.namespace = f"site-{secrets.token_hex(4)}"
        self.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}})
        for manifest in self.manifests():
            self.api.create(manifest, self.namespace)

    def is_settled(self) -> bool:
        """Whether the controllers have seen everything, and stable has its pods."""
        found = {each["metadata"]["name"]: each for each in self.api.list("Deployment", self.namespace)}
        stands = objects.available(found[STABLE]) == found[STABLE]["spec"]["replicas"]
        return stands and all(objects.available(each) >= 0 for each in found.values())

    def manifests(self) -> list[dict[str, Any]]:
        """What the team applies."""
        told = []
        for name, version, pods in ((STABLE, "stable", self.stable_pods), (CANDIDATE, "canary", 0)):
            labels = {"app": APP, "track": version}
            more = self._deployment if name == CANDIDATE else {}
            told.append(objects.deployment(name, "shop:1.0", pods, labels, version=version, **more))
            told.append(objects.service(name, labels))
        return told

    def route(self, **more: Any) -> dict[str, Any]:
        """The route as a spec names it."""
        return {"kind": self.kind, "connection": CONNECTION, "namespace": self.namespace, **self._places(), **more}

    def workload(self, **more: Any) -> dict[str, Any] | None:
        """The workload as a spec names it."""
        if not self.follows:
            return None
        names = {"namespace": self.namespace, "candidate": CANDIDATE, "stable": STABLE}
        return {"kind": "kubernetes-deployment", "connection": CONNECTION, **names, **more}

    def _places(self) -> dict[str, Any]:
        return {"candidate": CANDIDATE, "stable": STABLE}

    # ── what is there ────────────────────────────────────────────────────────────────────────────

    def split(self) -> dict[str, Any]:
        """The object that carries the mark."""
        kind, name = self.marked
        return self.api.get(kind, name, self.namespace)

    def percent(self) -> float:
        """Percent of the traffic that goes to the candidate, as the object says it."""
        raise NotImplementedError

    def mark(self) -> dict[str, Any]:
        """What we left on it."""
        found: dict[str, Any] = json.loads((self.split()["metadata"].get("annotations") or {}).get(MARK, "{}"))
        return found

    def forced(self) -> bool:
        """Whether rules of the forced header are there."""
        return False

    def replicas(self, name: str = CANDIDATE) -> int:
        """Pods that a Deployment shall have."""
        return int(self.api.get("Deployment", name, self.namespace)["spec"]["replicas"])

    def available(self, name: str = CANDIDATE) -> int:
        """Pods of a Deployment that are available."""
        return objects.available(self.api.get("Deployment", name, self.namespace))

    def image(self, name: str = CANDIDATE) -> str:
        """Image of a Deployment's template."""
        found = self.api.get("Deployment", name, self.namespace)
        return str(found["spec"]["template"]["spec"]["containers"][0]["image"])

    # ── what its team does ───────────────────────────────────────────────────────────────────────

    def deliver(self, image: str, *, ready: str | None = None, replicas: int | None = None) -> None:
        """Somebody's pipeline puts a version into the candidate's Deployment.

        Args:
            image: of its container.
            ready: fate of its pods: `never` or `crash`; by default they become ready.
            replicas: written in the same request.
        """
        template = {
            "metadata": {"annotations": {"kwok.test/ready": ready}},
            "spec": {"containers": [{"name": "app", "image": image}]},
        }
        spec = {"template": template} | ({} if replicas is None else {"replicas": replicas})
        self.api.patch("Deployment", CANDIDATE, {"spec": spec}, self.namespace, how="strategic", fieldManager="ci")

    def scale(self, name: str, replicas: int) -> None:
        """What an autoscaler, or a person, does."""
        body = {"spec": {"replicas": replicas}}
        self.api.patch("Deployment", name, body, self.namespace, subresource="scale", fieldManager="hpa")

    def heal(self) -> None:
        """Whatever kept the candidate's pods from becoming ready is over."""
        annotations = {"kwok.test/ready": None}
        for pod in self.api.list("Pod", self.namespace, labels="track=canary"):
            self.api.patch("Pod", pod["metadata"]["name"], {"metadata": {"annotations": annotations}}, self.namespace)

    def has_timed_out(self) -> bool:
        """Whether the candidate's Deployment says that its deadline is over."""
        found = self.api.get("Deployment", CANDIDATE, self.namespace)
        conditions = found.get("status", {}).get("conditions") or []
        return any(each.get("reason") == "ProgressDeadlineExceeded" for each in conditions)

    def restart(self, name: str) -> None:
        """`kubectl rollout restart`."""
        annotations = {"kubectl.kubernetes.io/restartedAt": "2026-11-20T10:02:00Z"}
        body = {"spec": {"template": {"metadata": {"annotations": annotations}}}}
        self.api.patch("Deployment", name, body, self.namespace, fieldManager="kubectl-rollout")

    def by_hand(self, *operations: dict[str, Any]) -> None:
        """What a person changes with kubectl in the object that splits."""
        kind, name = self.marked
        self.api.patch(kind, name, list(operations), self.namespace, how="json", fieldManager="kubectl-edit")


class GatewaySite(Site):
    """An HTTPRoute."""

    kind = "gateway-api"
    marked = ("HTTPRoute", "checkout")

    def manifests(self) -> list[dict[str, Any]]:
        return [*super().manifests(), objects.http_route("checkout", {CANDIDATE: 0, STABLE: 100})]

    def _places(self) -> dict[str, Any]:
        return {**super()._places(), "http_route": "checkout", "header": HEADER}

    def is_settled(self) -> bool:
        split = self.split()
        told = [each["conditions"] for each in split.get("status", {}).get("parents") or []]
        seen = [each.get("observedGeneration", 0) for conditions in told for each in conditions]
        return super().is_settled() and bool(seen) and min(seen) >= split["metadata"]["generation"]

    def _rules(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.split()["spec"]["rules"]
        return found

    def percent(self) -> float:
        [split] = [rule for rule in self._rules() if len(rule["backendRefs"]) == 2]
        return _share({each["name"]: each.get("weight", 1) for each in split["backendRefs"]}, CANDIDATE)

    def forced(self) -> bool:
        return len(self._rules()) > 1


class NginxSite(Site):
    """Two Ingresses of ingress-nginx, the second of which Sluice makes."""

    kind = "ingress-nginx"
    marked = ("Ingress", "checkout-canary")

    def manifests(self) -> list[dict[str, Any]]:
        return [*super().manifests(), objects.ingress("checkout", STABLE)]

    def _places(self) -> dict[str, Any]:
        return {**super()._places(), "ingress": "checkout", "header": HEADER}

    def percent(self) -> float:
        annotations = self._annotations()
        weight = float(annotations.get(f"{objects.NGINX}canary-weight", 0))
        return weight * 100 / float(annotations.get(f"{objects.NGINX}canary-weight-total", 100))

    def forced(self) -> bool:
        return any("canary-by-header" in name for name in self._annotations())

    def _annotations(self) -> dict[str, str]:
        """Those of the canary Ingress; none while there is none."""
        try:
            found: dict[str, str] = self.split()["metadata"]["annotations"]
        except ApiRefused as refused:
            if refused.code != NOT_FOUND:
                raise
            return {}
        return found if found.get(f"{objects.NGINX}canary") == "true" else {}


class IstioSite(Site):
    """A VirtualService that splits between two hosts."""

    kind = "istio"
    marked = ("VirtualService", "checkout")

    def manifests(self) -> list[dict[str, Any]]:
        return [*super().manifests(), objects.virtual_service("checkout", {CANDIDATE: 0, STABLE: 100})]

    def _places(self) -> dict[str, Any]:
        return {**super()._places(), "virtual_service": "checkout", "header": HEADER}

    def _destination(self, of: dict[str, Any]) -> str:
        return str(of["destination"]["host"])

    def _candidate(self) -> str:
        return CANDIDATE

    def percent(self) -> float:
        [split] = [each for each in self.split()["spec"]["http"] if each.get("name") == "primary"]
        weights = {self._destination(each): each.get("weight", 0) for each in split["route"]}
        return _share(weights, self._candidate())

    def forced(self) -> bool:
        return len(self.split()["spec"]["http"]) > 1


class SubsetSite(IstioSite):
    """A VirtualService that splits between two subsets of one host."""

    def manifests(self) -> list[dict[str, Any]]:
        subsets = {"v2": {"track": "canary"}, "v1": {"track": "stable"}}
        return [
            *Site.manifests(self),
            objects.service(APP, {"app": APP}),
            objects.destination_rule(APP, APP, subsets),
            objects.virtual_service("checkout", {"v2": 0, "v1": 100}, host=APP),
        ]

    def _places(self) -> dict[str, Any]:
        return {**super()._places(), "host": APP, "candidate": "v2", "stable": "v1"}

    def _destination(self, of: dict[str, Any]) -> str:
        return str(of["destination"]["subset"])

    def _candidate(self) -> str:
        return "v2"


class ReplicasSite(Site):
    """No router: the numbers of pods behind one Service."""

    kind = "replicas"
    marked = ("Deployment", STABLE)
    follows = False

    def manifests(self) -> list[dict[str, Any]]:
        return [*super().manifests(), objects.service(APP, {"app": APP})]

    def _places(self) -> dict[str, Any]:
        return {**super()._places(), "service": APP}

    def percent(self) -> float:
        return _share({name: self.replicas(name) for name in (CANDIDATE, STABLE)}, CANDIDATE)


class RollingSite(Site):
    """One Deployment whose pods are replaced in place."""

    kind = "rolling-update"
    marked = ("Deployment", STABLE)
    follows = False

    def manifests(self) -> list[dict[str, Any]]:
        return [objects.deployment(STABLE, "shop:1.0", self.stable_pods, {"app": APP}, **self._deployment)]

    def route(self, **more: Any) -> dict[str, Any]:
        told = {"deployment": STABLE, "image": "shop:2.0", **more}
        return {"kind": self.kind, "connection": CONNECTION, "namespace": self.namespace, **told}

    def percent(self) -> float:
        return 0.0 if self.image(STABLE) == "shop:1.0" else 100.0

    def deadline(self, seconds: int) -> None:
        """Somebody changes the time that its pods may take to become ready."""
        body = {"spec": {"progressDeadlineSeconds": seconds}}
        self.api.patch("Deployment", STABLE, body, self.namespace, fieldManager="kubectl-edit")

    def images(self) -> dict[str, int]:
        """Image → pods that are there and not ending."""
        pods = [each for each in self.api.list("Pod", self.namespace) if "deletionTimestamp" not in each["metadata"]]
        images = [each["spec"]["containers"][0]["image"] for each in pods]
        return {image: images.count(image) for image in images}


def _share(weights: dict[str, int], candidate: str) -> float:
    total = sum(weights.values())
    return weights.get(candidate, 0) * 100 / total if total else 0.0
