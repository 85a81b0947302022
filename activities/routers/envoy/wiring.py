"""Whether a running Envoy's route configuration takes its weights from the runtime, as `weights: runtime` needs it.

Values that no route looks at move no traffic, and Envoy says nothing about them: so the configuration in force is
looked through, in every listener that has it. It is the operator's and never written, so what is missing is said as
the line to add.
"""

import json
from collections.abc import Iterable
from typing import Any

from activities.routers.envoy.strays import clusters_of, named, unlisted, why
from activities.routers.envoy.values import key_of, prefix_of
from rollout.base import Told
from rollout.routes import EnvoyRoute

Json = dict[str, Any]


class Wiring(Told):
    """What speaks against a route configuration.

    Attributes:
        leak: why not even 0 % can be proven: something leads to the candidate whatever the values say.
        lack: why nothing above 0 % can be given.
    """

    leak: str | None = None
    lack: str | None = None


def wiring(dumps: Iterable[Json], route: EnvoyRoute) -> Wiring:
    """What speaks against the route configurations of the service's name.

    Args:
        dumps: Envoy's `/config_dump`, of its static and of its dynamic route configurations.
        route: names the service, its clusters and the forced header.
    """
    dumped = [each.get("route_config", {}) for dump in dumps for each in dump.get("configs", [])]
    found = [config for config in dumped if config.get("name") == route.service]
    if not found:
        return Wiring(leak=f"Envoy has no route configuration {route.service}: no listener has one of this name")
    each = [_wiring(config, route) for config in found]
    leaks, lacks = [one.leak for one in each if one.leak], [one.lack for one in each if one.lack]
    return Wiring(leak=next(iter(leaks), None), lack=next(iter(lacks), None))


def _wiring(config: Json, route: EnvoyRoute) -> Wiring:
    leak, lack, weighed = next((why(stray, route) for stray in unlisted(config, route)), None), None, 0
    for host in config.get("virtual_hosts", []):
        rules: list[Json] = []
        for entry in host.get("routes", []):
            clusters = _clusters(entry)
            if not _concerns(entry, clusters, route):
                continue
            if _forced_key(entry) == key_of(route, "forced"):
                rules.append(entry)
                always = entry["match"]["runtime_fraction"].get("default_value", {}).get("numerator")
                leak = leak or (
                    f"{named(entry)} is forced without any value: its numerator must be 0" if always else None
                )
            elif _is_weighed(entry, clusters, route):
                weighed += 1
                lack = lack or _unforced(entry, rules, route)
            else:
                line = f"{named(entry)} does not take its weights from the runtime; it needs {_weighed_line(route)}"
                leak = leak or (line if route.candidate_pool in clusters else None)
                lack = lack or line
    if not weighed:
        lack = lack or f"route configuration {route.service} has no route with {_weighed_line(route)}"
    return Wiring(leak=leak, lack=lack)


def _clusters(entry: Json) -> dict[str, int]:
    """Cluster → weight that a route gives without any runtime value."""
    action = entry.get("route", {})
    if cluster := action.get("cluster"):
        return {cluster: 1}
    return clusters_of(entry)


def _concerns(entry: Json, clusters: dict[str, int], route: EnvoyRoute) -> bool:
    if route.candidate_pool not in clusters:
        return bool(clusters) and clusters.keys() == {route.stable_pool}
    # The operator's own rule that forces the candidate is the operator's.
    forced = "cluster" in entry["route"] and bool(entry.get("match", {}).get("headers"))
    return not forced or _forced_key(entry) == key_of(route, "forced")


def _is_weighed(entry: Json, clusters: dict[str, int], route: EnvoyRoute) -> bool:
    shares = entry["route"].get("weighted_clusters", {})
    pools = {route.candidate_pool, route.stable_pool}
    on_stable = not clusters.get(route.candidate_pool) and clusters.get(route.stable_pool, 0) > 0
    return shares.get("runtime_key_prefix") == prefix_of(route) and clusters.keys() == pools and on_stable


def _forced_key(entry: Json) -> str | None:
    if "cluster" not in entry.get("route", {}):
        return None
    found: str | None = entry.get("match", {}).get("runtime_fraction", {}).get("runtime_key")
    return found


def _unforced(entry: Json, rules: list[Json], route: EnvoyRoute) -> str | None:
    """Which forced-header rule is missing in front of a route; None if none is."""
    if route.header is None:
        return None
    sides = {route.candidate_pool: route.header.candidate, route.stable_pool: route.header.stable}
    for pool, value in sides.items():
        if not any(_forces(rule, entry, route.header.name, value, pool) for rule in rules):
            key = {"default_value": {"numerator": 0}, "runtime_key": key_of(route, "forced")}
            header = {"name": route.header.name.lower(), "string_match": {"exact": value}}
            match = entry.get("match", {})
            headers = [*match.get("headers", []), header]
            rule = {"match": {**match, "headers": headers, "runtime_fraction": key}, "route": {"cluster": pool}}
            return f"{named(entry)} has no forced-header rule for {pool} in front of it; add {json.dumps(rule)}"
    return None


def _forces(rule: Json, entry: Json, name: str, value: str, pool: str) -> bool:
    match, wanted = dict(rule.get("match", {})), dict(entry.get("match", {}))
    match.pop("runtime_fraction", None)
    headers, theirs = match.pop("headers", []), wanted.pop("headers", [])
    own = [header for header in headers if header not in theirs]
    return (
        match == wanted
        and len(headers) == len(theirs) + 1
        and [header.get("name", "").lower() for header in own] == [name.lower()]
        and own[0].get("string_match", {}).get("exact") == value
        and rule["route"].get("cluster") == pool
    )


def _weighed_line(route: EnvoyRoute) -> str:
    clusters = [{"name": route.candidate_pool, "weight": 0}, {"name": route.stable_pool, "weight": 100}]
    return json.dumps({"weighted_clusters": {"runtime_key_prefix": prefix_of(route), "clusters": clusters}})
