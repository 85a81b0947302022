"""A VirtualService as Sluice looks at it, and the changes that a write makes of it; no API.

Only two weights are changed, at their places; they are relative to their sum (Istio before 1.15 wanted a sum of 100,
and its webhook refuses another).

The forced header is two more HTTP routes, copies of the one that splits with the header in every match and one
destination each. The first that fits wins, so they stand right before it. Not at the very top: there they would also
take the requests of routes that the operator put before the split.
"""

import copy

from activities.kubernetes import Json, mark_of
from activities.kubernetes.entries import forced_name, note_of, reentered, split_at
from activities.kubernetes.splitting import Share, Split, moved
from activities.ports import Pool, Write
from activities.routers.istio.hosts import is_same
from rollout.errors import Misconfigured
from rollout.routes import ForcedHeader, IstioRoute

_PLACES = "/spec/http"
MATCHES = "match"


def names(route: IstioRoute) -> dict[Pool, str]:
    """Pool → its subset or host, in words."""
    of = f" of {route.host}" if route.host else ""
    kind = "subset" if route.host else "host"
    return {"candidate": f"{kind} {route.candidate}{of}", "stable": f"{kind} {route.stable}{of}"}


def http_of(found: Json) -> list[Json]:
    """The HTTP routes of a VirtualService, in their order."""
    return found.get("spec", {}).get("http") or []


def split_of(found: Json, route: IstioRoute) -> tuple[int, Json]:
    """The HTTP route that splits, and its position.

    Raises:
        Misconfigured: there is no such HTTP route, or it sends requests nowhere.
    """
    where = f"VirtualService {route.namespace}/{route.virtual_service}"
    note = note_of(mark_of(found), route.http)
    position, entry = split_at(http_of(found), route.http, f"{where} has no http", MATCHES, note)
    if not entry.get("route"):
        raise Misconfigured(f"http {route.http} of {where} has no `route` (it delegates, redirects or answers itself)")
    return position, entry


def view(found: Json, route: IstioRoute) -> Split:
    """How the HTTP route splits.

    Raises:
        Misconfigured: there is no such HTTP route.
    """
    position, entry = split_of(found, route)
    destinations = entry["route"]
    path = f"{_PLACES}/{position}/route"
    # A single destination gets everything, whatever its weight.
    weights = [100] if len(destinations) == 1 else [int(each.get("weight") or 0) for each in destinations]
    shares = (
        Share(f"{path}/{n}/weight", _pool(each["destination"], route), _called(each["destination"]), weight)
        for n, (each, weight) in enumerate(zip(destinations, weights, strict=True))
    )
    return Split(f"http {route.http} of VirtualService {route.namespace}/{route.virtual_service}", tuple(shares))


def is_forced(found: Json, route: IstioRoute) -> bool:
    """Whether both forced-header routes are there."""
    return _forced_names(route) <= {entry.get("name") for entry in http_of(found)}


def desired(found: Json, route: IstioRoute, write: Write) -> list[Json]:
    """The JSON patch operations that make one write, without the mark; none if all is there already.

    Args:
        found: the VirtualService as it is.
        route: names HTTP route, destinations and header.
        write: percent, and whether the forced-header routes shall be there.

    Raises:
        Misconfigured: the destinations are not there, or the percent cannot be sent.
        Drifted: somebody else gets a share; only the way back takes it.
    """
    split = view(found, route)
    weights = moved(split, write.percent, names(route))
    position, entry = split_of(found, route)
    wanted: list[Json] = []
    if route.header and forces(route, write, split):
        wanted = [_forced(entry, route, route.header, pool) for pool in names(route)]
    # The weights first: what follows changes the position in their paths.
    return weights + reentered(http_of(found), wanted, _forced_names(route), position, _PLACES)


def forces(route: IstioRoute, write: Write, split: Split) -> bool:
    """Whether the forced-header routes shall be there after a write; no way back waits for where they would lead."""
    wanted = route.header is not None and write.header and not write.release
    return wanted and (write.percent > 0 or split.unfit(names(route)) is None)


def _pool(destination: Json, route: IstioRoute) -> Pool | None:
    written: dict[Pool, str] = {"candidate": route.candidate, "stable": route.stable}
    host = (destination["host"], route.namespace)
    if route.host is None:
        return next((pool for pool, name in written.items() if is_same(host, (name, route.namespace))), None)
    if not is_same(host, (route.host, route.namespace)):
        return None
    return next((pool for pool, name in written.items() if name == destination.get("subset")), None)


def _called(destination: Json) -> str:
    subset = f"subset {destination['subset']} of " if destination.get("subset") else ""
    return f"{subset}{destination['host']}"


def _forced_names(route: IstioRoute) -> set[str]:
    return {forced_name(pool, route.http) for pool in names(route)}


def _forced(entry: Json, route: IstioRoute, header: ForcedHeader, pool: Pool) -> Json:
    """A copy of the HTTP route for requests with the header, with one destination; all else it has is copied too."""
    made = copy.deepcopy(entry)
    value = header.candidate if pool == "candidate" else header.stable
    made["name"] = forced_name(pool, route.http)
    made["match"] = [_narrowed(match, header.name, value, route) for match in entry.get("match") or [{}]]
    [only] = [each for each in made["route"] if _pool(each["destination"], route) == pool]
    made["route"] = [{**only, "weight": 100}]
    return made


def _narrowed(match: Json, name: str, value: str, route: IstioRoute) -> Json:
    looks_at = {key.lower() for kind in ("headers", "withoutHeaders") for key in match.get(kind) or {}}
    if name.lower() in looks_at:
        raise Misconfigured(
            f"{route} looks at header {name} already, in its own matches: force by another, in `header`"
        )
    there = copy.deepcopy(match)
    return {**there, "headers": {**(there.get("headers") or {}), name.lower(): {"exact": value}}}
