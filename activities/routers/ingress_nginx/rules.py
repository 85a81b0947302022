"""The rules of stable's Ingress and of the candidate's: which requests they are for, and who gets them.

ingress-nginx joins the two by host and path. What is not in both is not split, so the candidate's has exactly the paths
that lead to stable's Service; paths to other Services stay with their own.
"""

import copy
from collections.abc import Iterator
from typing import NamedTuple

from activities.kubernetes import Json
from activities.routers.ingress_nginx.annotations import PREFIX, annotations_of
from rollout.routes import IngressNginxRoute

MANAGED_BY = "app.kubernetes.io/managed-by"
OURS = "sluice"

_CLASS = "kubernetes.io/ingress.class"  # how a class was named before `ingressClassName`
# A canary inherits everything from the Ingress beside it, except these.
_OWN = (f"{PREFIX}load-balance", f"{PREFIX}upstream-hash-by")
_COPIED = ("ingressClassName", "tls")


class Place(NamedTuple):
    """Requests that are told apart: a host (empty: every one) and a path (empty: the default backend)."""

    host: str
    path: str

    def __str__(self) -> str:
        """`shop.example.com/cart`."""
        return f"{self.host or '*'}{self.path or ' (default backend)'}"


def places(ingress: Json, service: str | None = None) -> set[Place]:
    """What an Ingress sends to a Service; with None, to any."""
    return {place for place, backend in _backends(ingress["spec"]) if service is None or _name(backend) == service}


def ports(ingress: Json, service: str) -> set[str | int]:
    """The ports, by name or number, at which an Ingress expects a Service."""
    led = (backend["service"] for _, backend in _backends(ingress["spec"]) if _name(backend) == service)
    found = [each.get("port") or {} for each in led]
    return {port for each in found if (port := each.get("name") or each.get("number"))}


def desired(stable: Json, route: IngressNginxRoute) -> Json | None:
    """The spec of the candidate's Ingress: stable's, with the other Service; None if nothing in there leads to stable.

    Args:
        stable: stable's Ingress.
        route: names the two Services.
    """
    spec = stable["spec"]
    made: Json = {key: copy.deepcopy(spec[key]) for key in _COPIED if key in spec}
    rules = [copied for rule in spec.get("rules") or [] if (copied := _copied(rule, route))]
    if rules:
        made["rules"] = rules
    if _name(spec.get("defaultBackend")) == route.stable:
        made["defaultBackend"] = _moved(spec["defaultBackend"], route)
    return made if rules or "defaultBackend" in made else None


def manifest(stable: Json, spec: Json, route: IngressNginxRoute, annotations: dict[str, str]) -> Json:
    """The candidate's Ingress as it is made.

    Args:
        stable: stable's Ingress.
        spec: see `desired`.
        route: names it.
        annotations: of the first write, its mark included.
    """
    kept = {key: value for key, value in annotations_of(stable).items() if key == _CLASS or key.startswith(_OWN)}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {
            "name": route.canary_ingress,
            "namespace": route.namespace,
            "labels": {MANAGED_BY: OURS},
            "annotations": {**kept, **annotations},
        },
        "spec": spec,
    }


def is_ours(ingress: Json) -> bool:
    """Whether Sluice made it, so that its rules are Sluice's to renew."""
    return (ingress["metadata"].get("labels") or {}).get(MANAGED_BY) == OURS


def _copied(rule: Json, route: IngressNginxRoute) -> Json | None:
    paths = [each for each in (rule.get("http") or {}).get("paths") or [] if _name(each.get("backend")) == route.stable]
    if not paths:
        return None
    moved = [{**copy.deepcopy(path), "backend": _moved(path["backend"], route)} for path in paths]
    return {**{key: value for key, value in rule.items() if key != "http"}, "http": {"paths": moved}}


def _moved(backend: Json, route: IngressNginxRoute) -> Json:
    return {"service": {**copy.deepcopy(backend["service"]), "name": route.candidate}}


def _backends(spec: Json) -> Iterator[tuple[Place, Json]]:
    for rule in spec.get("rules") or []:
        for path in (rule.get("http") or {}).get("paths") or []:
            yield Place(rule.get("host", ""), path.get("path") or "/"), path.get("backend") or {}
    if "defaultBackend" in spec:
        yield Place("", ""), spec["defaultBackend"]


def _name(backend: Json | None) -> str | None:
    return ((backend or {}).get("service") or {}).get("name")
