"""Routes of an Envoy that lead to the candidate without being a split of the two pools.

They follow no percent, so while one of them gives the candidate anything not even 0 % is true. A route beside a third
cluster is quietened on the way back; nothing is raised while there is any. The operator's own rule that forces the
candidate by a header is none: whoever sends that header has asked for it.
"""

import json
from collections.abc import Iterator
from typing import Any

from rollout.base import Told
from rollout.routes import EnvoyRoute

Json = dict[str, Any]


class Stray(Told):
    """A place that leads to the candidate and cannot be weighed.

    Attributes:
        name: what it is, for people.
        weight: what it gives to the candidate; None if that cannot be told, as with a plugin.
        others: what it gives to all others.
    """

    name: str
    weight: int | None = None
    others: int = 0

    @property
    def leaks(self) -> bool:
        """Whether the candidate may get requests here whatever the percent is."""
        return self.weight != 0


def clusters_of(entry: Json) -> dict[str, int]:
    """Cluster → weight of a route's `weighted_clusters`; one that is named twice counts twice."""
    weights: dict[str, int] = {}
    for share in entry.get("route", {}).get("weighted_clusters", {}).get("clusters", []):
        name = share.get("name", "")
        weights[name] = weights.get(name, 0) + int(share.get("weight", 0))
    return weights


def strays(resource: Json, route: EnvoyRoute) -> Iterator[Stray]:
    """Every such place in a RouteConfiguration, in order."""
    candidate = route.candidate_pool
    for host in resource.get("virtual_hosts", []):
        for entry in host.get("routes", []):
            if _is_beside_others(entry, route):
                weights = clusters_of(entry)
                weight = weights.pop(candidate)
                drawn = "runtime_key_prefix" in entry["route"]["weighted_clusters"]
                yield Stray(name=named(entry), weight=None if drawn else weight, others=sum(weights.values()))
            elif _names(entry.get("route", {}).get("inline_cluster_specifier_plugin"), candidate):
                yield Stray(name=f"the plugin of {named(entry)}")
    yield from unlisted(resource, route)


def unlisted(resource: Json, route: EnvoyRoute) -> Iterator[Stray]:
    """Those in no list of routes: a virtual host's `matcher`, and plugins for the whole configuration."""
    for host in resource.get("virtual_hosts", []):
        if _names(host.get("matcher"), route.candidate_pool):
            yield Stray(name=f"the matcher of virtual host {host.get('name', '')}")
    if _names(resource.get("cluster_specifier_plugins"), route.candidate_pool):
        yield Stray(name="a plugin in cluster_specifier_plugins")


def quieten(entry: Json, route: EnvoyRoute) -> None:
    """Take the candidate's weight off a route that has it beside others, as long as those have any.

    Envoy refuses a route without any weight; and with a `runtime_key_prefix` the weight would not be what counts.
    """
    shares = entry.get("route", {}).get("weighted_clusters", {})
    others = {name: weight for name, weight in clusters_of(entry).items() if name != route.candidate_pool}
    if not _is_beside_others(entry, route) or "runtime_key_prefix" in shares or not sum(others.values()):
        return
    for share in shares["clusters"]:
        if share.get("name") == route.candidate_pool and share.get("weight"):
            share["weight"] = 0
    if "total_weight" in shares:
        shares["total_weight"] = sum(others.values())


def why(found: Stray, route: EnvoyRoute) -> str:
    """What is wrong with it, and what to do."""
    given = "a weight that cannot be told" if found.weight is None else f"weight {found.weight}"
    lone = "" if found.others or not found.weight else ", and nothing else there has weight"
    return (
        f"{found.name} leads to {route.candidate_pool} with {given}{lone}, and no percent moves it: take "
        f"{route.candidate_pool} out of it, or let it have {route.candidate_pool} and {route.stable_pool} only"
    )


def named(entry: Json) -> str:
    """A route, for people."""
    return f"the route {entry.get('name') or json.dumps(entry.get('match', {}))}"


def _is_beside_others(entry: Json, route: EnvoyRoute) -> bool:
    names = clusters_of(entry).keys()
    return route.candidate_pool in names and not names <= {route.candidate_pool, route.stable_pool}


def _names(value: Any, cluster: str) -> bool:  # noqa: ANN401 - any JSON
    """Whether a cluster's name stands anywhere in some JSON."""
    if isinstance(value, dict):
        return any(_names(each, cluster) for each in value.values())
    return any(_names(each, cluster) for each in value) if isinstance(value, list) else value == cluster
