"""An HTTPRoute as Sluice looks at it, and the changes that a write makes of it; no API.

Only two weights are changed, at their places. A whole list of rules is never sent: rules, filters and fields that are
newer than Sluice stay as they are (Flagger writes the whole spec anew, and takes users' filters away).

The forced header is two more rules, copies of the one that splits with the header in every match and one backend each.
They stand right behind it: a match of one more header wins wherever it stands, and positions before stay what they are.
"""

import copy

from activities.kubernetes import Json, mark_of
from activities.kubernetes.entries import forced_name, note_of, reentered, split_at
from activities.kubernetes.splitting import Share, Split, moved
from activities.ports import Pool, Write
from rollout.errors import Misconfigured
from rollout.routes import ForcedHeader, GatewayApiRoute

_MOST_RULES, _MOST_MATCHES, _MOST_HEADERS = 16, 128, 16  # of a route, of all its rules, of a match
_PLACES = "/spec/rules"
MATCHES = "matches"
_EVERY_PATH = {"type": "PathPrefix", "value": "/"}  # what the API server fills in; said here, so that it reads back


def names(route: GatewayApiRoute) -> dict[Pool, str]:
    """Pool → its Service."""
    return {"candidate": route.candidate, "stable": route.stable}


def rules_of(found: Json) -> list[Json]:
    """The rules of an HTTPRoute, in their order."""
    return found.get("spec", {}).get("rules") or []


def rule_of(found: Json, route: GatewayApiRoute) -> tuple[int, Json]:
    """The rule that splits, and its position.

    Raises:
        Misconfigured: there is no such rule.
    """
    where = f"HTTPRoute {route.namespace}/{route.http_route}"
    return split_at(rules_of(found), route.rule, f"{where} has no rule", MATCHES, note_of(mark_of(found), route.rule))


def view(found: Json, route: GatewayApiRoute) -> Split:
    """How the rule splits.

    Raises:
        Misconfigured: there is no such rule.
    """
    position, rule = rule_of(found, route)
    path = f"{_PLACES}/{position}/backendRefs"
    backends = enumerate(rule.get("backendRefs") or [])
    shares = (
        Share(f"{path}/{n}/weight", _pool(backend, route), _called(backend, route), int(backend.get("weight", 1)))
        for n, backend in backends
    )
    return Split(f"rule {route.rule} of HTTPRoute {route.namespace}/{route.http_route}", tuple(shares))


def is_forced(found: Json, route: GatewayApiRoute) -> bool:
    """Whether both forced-header rules are there."""
    return _forced_names(route) <= {rule.get("name") for rule in rules_of(found)}


def keeps_users(found: Json, route: GatewayApiRoute) -> str | None:
    """Why some users get what they had, whatever the weights say; None if nobody does."""
    _, rule = rule_of(found, route)
    if "sessionPersistence" not in rule:
        return None
    return (
        f"rule {route.rule} of HTTPRoute {route.namespace}/{route.http_route} has sessionPersistence, which keeps "
        "users on their backend even at weight 0: take it off, or nothing can be brought back to stable"
    )


def desired(found: Json, route: GatewayApiRoute, write: Write) -> list[Json]:
    """The JSON patch operations that make one write, without the mark; none if all is there already.

    Args:
        found: the HTTPRoute as it is.
        route: names rule, backends and header.
        write: percent, and whether the forced-header rules shall be there.

    Raises:
        Misconfigured: rule or backends are not there, the percent cannot be sent, or the rules do not fit in.
        Drifted: somebody else gets a share; only the way back takes it.
    """
    split = view(found, route)
    weights = moved(split, write.percent, names(route))
    if write.percent and (keeps := keeps_users(found, route)) and not write.release:
        raise Misconfigured(f"{keeps}; nothing was written")
    position, rule = rule_of(found, route)
    wanted: list[Json] = []
    if route.header and forces(route, write, split):
        wanted = [_forced(rule, route, route.header, pool) for pool in names(route)]
        _refuse_too_many(rules_of(found), route, wanted)
    # Behind the rule, or the position in the paths of its weights would be another.
    return weights + reentered(rules_of(found), wanted, _forced_names(route), position + 1, _PLACES)


def forces(route: GatewayApiRoute, write: Write, split: Split) -> bool:
    """Whether the forced-header rules shall be there after a write; no way back waits for backends to lead them to."""
    wanted = route.header is not None and write.header and not write.release
    return wanted and (write.percent > 0 or split.unfit(names(route)) is None)


def _pool(backend: Json, route: GatewayApiRoute) -> Pool | None:
    is_service = backend.get("kind", "Service") == "Service" and not backend.get("group")
    if not is_service or backend.get("namespace", route.namespace) != route.namespace:
        return None
    return next((pool for pool, name in names(route).items() if name == backend.get("name")), None)


def _called(backend: Json, route: GatewayApiRoute) -> str:
    kind, namespace = backend.get("kind", "Service"), backend.get("namespace", route.namespace)
    elsewhere = f"{namespace}/" if namespace != route.namespace else ""
    return f"{'' if kind == 'Service' else f'{kind} '}{elsewhere}{backend.get('name')}"


def _forced_names(route: GatewayApiRoute) -> set[str]:
    return {forced_name(pool, route.rule) for pool in names(route)}


def _forced(rule: Json, route: GatewayApiRoute, header: ForcedHeader, pool: Pool) -> Json:
    """A copy of the rule for requests with the header, with one backend; whatever else it has is copied too."""
    made = copy.deepcopy(rule)
    value = header.candidate if pool == "candidate" else header.stable
    made["name"] = forced_name(pool, route.rule)
    made["matches"] = [_narrowed(match, header.name, value, route) for match in rule.get("matches") or [{}]]
    [only] = [backend for backend in made["backendRefs"] if _pool(backend, route) == pool]
    made["backendRefs"] = [{**only, "weight": 1}]
    return made


def _narrowed(match: Json, name: str, value: str, route: GatewayApiRoute) -> Json:
    there = match.get("headers") or []
    if any(str(each.get("name")).lower() == name.lower() for each in there):
        raise Misconfigured(
            f"{route} looks at header {name} already, in its own matches: force by another, in `header`"
        )
    if len(there) >= _MOST_HEADERS:
        raise Misconfigured(f"{route} looks at {len(there)} headers in one match: there is no room for {name}")
    path = match.get("path", _EVERY_PATH)
    return {**copy.deepcopy(match), "path": path, "headers": [*there, {"type": "Exact", "name": name, "value": value}]}


def _refuse_too_many(rules: list[Json], route: GatewayApiRoute, wanted: list[Json]) -> None:
    after = [rule for rule in rules if rule.get("name") not in _forced_names(route)] + wanted
    matches = sum(len(rule.get("matches") or [{}]) for rule in after)
    if len(after) > _MOST_RULES or matches > _MOST_MATCHES:
        raise Misconfigured(
            f"{route}: with the forced header it would have {len(after)} rules with {matches} matches; an HTTPRoute "
            f"has room for {_MOST_RULES} and {_MOST_MATCHES}: split it up, or drop `header`; nothing was written"
        )
