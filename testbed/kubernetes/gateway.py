"""HTTPRoutes as an implementation of Gateway API reads them, and the status that it writes.

Left out, as no rollout uses them: filters, query parameters, hosts (a namespace is one site), and regular expressions,
which hold for nobody. A route without `parentRefs` is attached to nothing and serves nobody.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from testbed.kubernetes.rules import Condition, Rule, Site, blended

if TYPE_CHECKING:
    from testbed.kubernetes.api import Object

KINDS: Final = ("HTTPRoute", "Service", "EndpointSlice", "Pod")
CONTROLLER: Final = "testbed.sluice.dev/plane"
_PATHS: Final = {"Exact": "exact", "PathPrefix": "path"}
_HEADERS: Final = {"Exact": "exact"}


def rules(site: Site) -> list[Rule]:
    """The rules of all routes in the order of precedence of the specification.

    An exact path comes first, then longer prefixes, a method, and more headers; among equals the older route and the
    earlier rule. So a match of a header wins over none, wherever it stands.
    """
    found: list[tuple[tuple[bool, int, bool, int], Rule]] = []
    for route in site.all("HTTPRoute"):
        if not route["spec"].get("parentRefs"):
            continue
        for rule in route["spec"].get("rules") or []:
            found += [(_precedence(match), _rule(rule, match, site)) for match in rule.get("matches") or [{}]]
    return [rule for _, rule in sorted(found, key=lambda each: each[0])]  # stable: age and order break ties


def _precedence(match: Object) -> tuple[bool, int, bool, int]:
    path = match.get("path") or {}
    value = path.get("value", "/")
    return path.get("type") != "Exact", -len(value), "method" not in match, -len(match.get("headers") or [])


def _rule(rule: Object, match: Object, site: Site) -> Rule:
    path = match.get("path") or {}
    how = _PATHS.get(path.get("type", "PathPrefix"), "unknown")
    conditions = [Condition("path", how, path.get("value", "/"))]
    if "method" in match:
        conditions.append(Condition("method", "exact", match["method"]))
    for header in match.get("headers") or []:
        how = _HEADERS.get(header.get("type", "Exact"), "unknown")
        conditions.append(Condition("header", how, header["value"], header["name"].lower()))
    shares = []
    for backend in rule.get("backendRefs") or []:
        weight = int(backend.get("weight", 1))
        if not site.has_service(backend["name"]):
            # A reference to nothing: its share, and only its share, is answered with 500.
            gone = blended([(1, [])], status=500, why=f"there is no Service {backend['name']}")
            shares.append((weight, list(gone)))
            continue
        own = blended([(1, site.service(backend["name"], 1))], status=503, why=f"{backend['name']} has no ready pod")
        shares.append((weight, list(own)))
    choices = blended(shares, status=500, why="")
    return Rule(tuple(conditions), tuple(choice for choice in choices if choice.weight), empty=500)


def parents(route: Object, site: Site, *, refused: bool) -> list[Object]:
    """The status that a controller writes for a route.

    Args:
        route: As it was read.
        site: What it was rendered with.
        refused: Whether the route is not taken.

    Returns:
        One entry for each parent; transition times of conditions that have not changed are kept.
    """
    named = [each["name"] for rule in route["spec"].get("rules") or [] for each in rule.get("backendRefs") or []]
    missing = sorted({name for name in named if not site.has_service(name)})
    accepted = ("False", "UnsupportedValue", "refused by the test bed") if refused else ("True", "Accepted", "")
    resolved = ("True", "ResolvedRefs", "")
    if missing:
        resolved = ("False", "BackendNotFound", f"no Service {', '.join(missing)}")
    written = []
    for place, parent in enumerate(route["spec"].get("parentRefs") or []):
        entries = route.get("status", {}).get("parents") or []
        before = entries[place].get("conditions", []) if place < len(entries) else []
        conditions = [
            _condition(kind, *what, route["metadata"]["generation"], before)
            for kind, what in (("Accepted", accepted), ("ResolvedRefs", resolved))
        ]
        written.append({"parentRef": parent, "controllerName": CONTROLLER, "conditions": conditions})
    return written


def _condition(kind: str, status: str, reason: str, message: str, generation: int, before: list[Object]) -> Object:
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    since = [each["lastTransitionTime"] for each in before if each["type"] == kind and each["status"] == status]
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "observedGeneration": generation,
        "lastTransitionTime": since[0] if since else now,
    }
