"""VirtualServices as Istio reads them: routes in order, the first that fits wins.

As Istio does it: a route without a match is for everybody, a single destination has all of the weight, and a subset
that no DestinationRule defines answers 503. Left out: gateways, retries, mirrors, and hosts (a namespace is one site).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from testbed.kubernetes.rules import Choice, Condition, Rule, Site, blended

if TYPE_CHECKING:
    from testbed.kubernetes.api import Object

KINDS: Final = ("VirtualService", "DestinationRule", "Service", "EndpointSlice", "Pod")


def rules(site: Site) -> list[Rule]:
    """The rules of all VirtualServices, the oldest first, each in its own order."""
    found: list[Rule] = []
    for virtual in site.all("VirtualService"):
        for http in virtual["spec"].get("http") or []:
            routes = http.get("route") or []
            shares = []
            for route in routes:
                weight = int(route.get("weight", 0)) or (100 if len(routes) == 1 else 0)
                shares.append((weight, _destination(route["destination"], site)))
            choices = tuple(choice for choice in blended(shares, status=503, why="no pod or subset") if choice.weight)
            found += [Rule(conditions, choices) for conditions in _matches(http)]
    return found


def _matches(http: Object) -> list[tuple[Condition, ...]]:
    return [
        (*_conditions("path", match.get("uri")), *_conditions("method", match.get("method")), *_headers(match))
        for match in http.get("match") or [{}]
    ]


def _conditions(of: str, wanted: Object | None) -> list[Condition]:
    if wanted is None:
        return []
    ((how, value),) = wanted.items()
    return [Condition("path" if of == "path" else "method", how, value)]


def _headers(match: Object) -> list[Condition]:
    found = []
    for name, wanted in (match.get("headers") or {}).items():
        how, value = next(iter(wanted.items())) if wanted else ("present", "")
        found.append(Condition("header", how, value, name.lower()))
    return found


def _destination(destination: Object, site: Site) -> list[Choice]:
    host = _short(destination["host"])
    subset = destination.get("subset")
    if subset is None:
        return site.service(host, 1)
    for rule in site.all("DestinationRule"):
        for each in rule["spec"].get("subsets") or []:
            if _short(rule["spec"]["host"]) == host and each["name"] == subset:
                version = str((each.get("labels") or {}).get("version", subset))
                return [site.version(version, 1)] if site.has_service(host) else []
    return []


def _short(host: str) -> str:
    """`shop.default.svc.cluster.local` is the Service `shop`."""
    return host.partition(".")[0]
