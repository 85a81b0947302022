"""HTTPRoutes of a real API server for the contract, and API servers that are not as they should be."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from activities.kubernetes import ANNOTATION, Cluster
from activities.routers.gateway_api import GatewayApiRouter
from rollout.errors import RouterUnreachable
from rollout.routes import GatewayApiRoute
from testbed.kubernetes import ApiRefused, objects
from tests.activities.routers.contract import HEADER, until
from tests.activities.routers.kubernetes_stand import CANDIDATE, STABLE, KubernetesStand

ALLOWED = (("gateway.networking.k8s.io", "httproutes", ("get", "patch")),)


def delivered(name: str) -> dict[str, Any]:
    """An HTTPRoute as an operator applies it: everything to stable."""
    return objects.http_route(name, {CANDIDATE: 0, STABLE: 1})


FORCED = {"type": "Exact", "name": HEADER.name, "value": HEADER.candidate}


def furnished() -> dict[str, Any]:
    """An HTTPRoute with much in it that is none of our business; `pay` and the last rule split."""
    modifier = {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "X-Shop", "value": "1"}]}}
    matches = [
        {"path": {"type": "PathPrefix", "value": "/pay"}, "method": "POST"},
        {"path": {"type": "Exact", "value": "/card"}, "headers": [{"name": "X-Team", "value": "a"}]},
    ]
    split = [{"name": CANDIDATE, "port": 80, "weight": 0}, {"name": STABLE, "port": 80, "weight": 1}]
    images = {"name": "images", "matches": [{"path": {"value": "/img"}}], "backendRefs": [{"name": STABLE, "port": 80}]}
    pay = {
        "name": "pay",
        "matches": matches,
        "filters": [modifier],
        "timeouts": {"request": "5s"},
        "backendRefs": split,
    }
    manifest = objects.http_route("checkout", {})
    manifest["metadata"] |= {"labels": {"team": "a"}, "annotations": {"owner": "ana"}}
    manifest["spec"]["rules"] = [images, pay, {"name": "all", "backendRefs": split}]
    return manifest


class Deaf(Cluster):
    """Does not hear the answer to its first patch."""

    lost = False

    async def patch(self, *arguments: Any, **more: Any) -> dict[str, Any]:
        found = await super().patch(*arguments, **more)
        if self.lost or more.get("dry_run"):
            return found
        self.lost = True
        raise RouterUnreachable("the answer was lost")


class Older(Cluster):
    """An API server whose HTTPRoutes have no names of rules."""

    async def patch(self, *arguments: Any, **more: Any) -> dict[str, Any]:
        found = await super().patch(*arguments, **more)
        for rule in found["spec"]["rules"] if more.get("dry_run") else ():
            rule.pop("name", None)
        return found


@asynccontextmanager
async def denied(stand: "GatewayStand") -> AsyncIterator[None]:
    """An admission policy refuses every change of HTTPRoutes of the namespace while this lasts."""
    name = f"denied-{stand.namespace}"
    rule = {
        "apiGroups": ["gateway.networking.k8s.io"], "apiVersions": ["*"], "operations": ["UPDATE"],
        "resources": ["httproutes"],
    }  # fmt: skip
    here = {"matchLabels": {"kubernetes.io/metadata.name": stand.namespace}}
    no = {"expression": "false", "message": "no changes on Fridays"}
    policy = {"matchConstraints": {"resourceRules": [rule], "namespaceSelector": here}, "validations": [no]}
    binding = {"policyName": name, "validationActions": ["Deny"]}
    version = "admissionregistration.k8s.io/v1"
    for kind, spec in (("ValidatingAdmissionPolicy", policy), ("ValidatingAdmissionPolicyBinding", binding)):
        stand.api.create({"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec})
    try:
        await until(lambda: refuses(stand, expected=True))
        yield
    finally:
        for kind in ("ValidatingAdmissionPolicyBinding", "ValidatingAdmissionPolicy"):
            stand.api.delete(kind, name)
        await until(lambda: refuses(stand, expected=False))


async def refuses(stand: "GatewayStand", *, expected: bool) -> bool:
    """Whether a change is refused as expected by now; policies come and go with some delay."""
    body = {"metadata": {"labels": {"tried": "1"}}}
    try:
        stand.api.patch("HTTPRoute", "checkout", body, stand.namespace, dryRun="All")
    except ApiRefused:
        return expected
    return not expected


class GatewayStand(KubernetesStand):
    def made(self, cluster: Cluster | None = None, **fields: Any) -> GatewayApiRouter:
        asked = {"http_route": "checkout", "candidate": CANDIDATE, "stable": STABLE, "header": HEADER, **fields}
        route = GatewayApiRoute(connection="prod", namespace=self.namespace, **asked)
        return GatewayApiRouter(route, cluster or self.cluster)

    def other_router(self) -> GatewayApiRouter:
        return self.made(http_route="search")

    def found(self) -> dict[str, Any]:
        return self.api.get("HTTPRoute", "checkout", self.namespace)

    def written(self) -> object:
        # Not its resourceVersion: the controller writes its status some time after us. The mark tells the time.
        metadata = self.found()["metadata"]
        return metadata["uid"], metadata["generation"], (metadata.get("annotations") or {}).get(ANNOTATION)

    async def drift(self, percent: float) -> None:
        weights = enumerate((percent, 100 - percent))
        path = "/spec/rules/0/backendRefs"
        changes = ({"op": "add", "path": f"{path}/{n}/weight", "value": round(each)} for n, each in weights)
        self.by_hand("HTTPRoute", "checkout", *changes)
        await self.settled()
