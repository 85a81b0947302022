"""Ingresses as ingress-nginx reads them: a main one, and a canary beside it told by annotations.

As that controller does it: a header comes before the weight; `always` and `never` mean something only while no value is
asked for; a weight that is no number counts as 0; and the canary's share goes to the main one when its Service is not
there or has no pod. Left out: cookies, patterns, and hosts, of which only equality of the two Ingresses is asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from testbed.kubernetes.objects import NGINX
from testbed.kubernetes.rules import Choice, Condition, Rule, Site, blended

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.kubernetes.api import Object

KINDS: Final = ("Ingress", "Service", "EndpointSlice", "Pod")
_PATHS: Final = {"Exact": "exact", "Prefix": "path", "ImplementationSpecific": "path"}


def rules(site: Site) -> list[Rule]:
    """The rules of all main Ingresses, longer paths first, each after those of its canary's header."""
    found: list[tuple[int, list[Rule]]] = []
    for ingress in site.all("Ingress"):
        if _is_canary(ingress):
            continue
        for host, path in _paths(ingress):
            where = Condition("path", _PATHS.get(path.get("pathType", ""), "path"), path.get("path") or "/")
            main = site.service(path["backend"]["service"]["name"], 1)
            canary = _canary_of(site, host, path)
            found.append((-len(where.value), _rules(where, main, canary, site)))
    return [rule for _, group in sorted(found, key=lambda each: each[0]) for rule in group]


def _rules(where: Condition, main: list[Choice], canary: tuple[Object, str] | None, site: Site) -> list[Rule]:
    stays = Rule((where,), blended([(1, main)], status=503, why="no ready pod"))
    if canary is None:
        return [stays]
    ingress, backend = canary
    own = site.service(backend, 1)
    if not own:
        return [stays]
    forced = Rule((where,), tuple(own))
    total = max(1, _number(ingress, "canary-weight-total", 100))
    weight = min(total, max(0, _number(ingress, "canary-weight", 0)))
    shares = [(total - weight, main), (weight, own)]
    split = Rule((where,), blended(shares, status=503, why="no ready pod"))
    header = _annotation(ingress, "canary-by-header").lower()
    if not header:
        return [split]
    value = _annotation(ingress, "canary-by-header-value")
    if value:
        return [_with(forced, header, value), split]
    return [_with(forced, header, "always"), _with(stays, header, "never"), split]


def _with(rule: Rule, header: str, value: str) -> Rule:
    return Rule((*rule.conditions, Condition("header", "exact", value, header)), rule.choices)


def _canary_of(site: Site, host: str, path: Object) -> tuple[Object, str] | None:
    """The oldest canary of the same host and path, and its Service: no more than one counts."""
    for ingress in site.all("Ingress"):
        for other, place in _paths(ingress) if _is_canary(ingress) else ():
            if other == host and (place.get("path") or "/") == (path.get("path") or "/"):
                return ingress, place["backend"]["service"]["name"]
    return None


def _paths(ingress: Object) -> Iterator[tuple[str, Object]]:
    for rule in ingress["spec"].get("rules") or []:
        for path in (rule.get("http") or {}).get("paths") or []:
            yield rule.get("host", ""), path


def _is_canary(ingress: Object) -> bool:
    return _annotation(ingress, "canary") == "true"


def _annotation(ingress: Object, name: str) -> str:
    return str((ingress["metadata"].get("annotations") or {}).get(f"{NGINX}{name}", ""))


def _number(ingress: Object, name: str, otherwise: int) -> int:
    try:
        return int(_annotation(ingress, name))
    except ValueError:
        return otherwise
