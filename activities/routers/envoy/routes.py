"""Envoy's route configuration as a document: what a write makes of it, and what is seen in it. Without any I/O.

The file belongs to the operator, so it is edited and never replaced: `desired` rewrites the routes that lead to the two
pools, adds or removes the forced-header rules and what keeps users on a version (`sticky_users`), leaves a mark in the
metadata, and keeps everything else as it is. Fields are read as Envoy's documentation spells them (`virtual_hosts`).
"""

import copy
import re
from collections.abc import Iterator
from typing import Any

from pydantic import Field

from activities.ports import Write
from activities.routers.envoy import sticky_users
from activities.routers.envoy.strays import clusters_of, quieten, strays, why
from rollout.base import Told, percent_text
from rollout.errors import Misconfigured
from rollout.routes import EnvoyRoute, Sticky

Json = dict[str, Any]

_WHOLE = 10_000  # weights are hundredths of a percent
_FORCED = re.compile(r"sluice-forced-(candidate|stable)(-\d+)?")
_OURS = re.compile(f"{_FORCED.pattern}|{sticky_users.FIRST_VISIT.pattern}")


class Mark(Told):
    """What the last write left in the metadata; epoch 0 if there was none."""

    epoch: int = 0
    owner: str | None = None
    percent: float | None = None


class View(Told):
    """What Sluice looks at in a route configuration: equal views carry the same traffic for the same owner.

    Attributes:
        mark: who wrote last.
        splits: cluster → weight, candidate first, for every route to the pools, in order; rules for first visits too.
        forced: name, cluster and header matches of every forced-header rule, in order.
        sticky: how each of the splits chooses by user, empty where it does not; nothing if the spec does not ask.
        strays: what other routes give to the candidate, whom no percent moves; None where that cannot be told.
    """

    mark: Mark
    splits: list[dict[str, int]]
    forced: list[tuple[str, str, list[Json]]]
    sticky: list[Json] = Field(default_factory=list)
    strays: list[int | None] = Field(default_factory=list)

    def percents(self) -> list[float]:
        """Percent on the candidate for every route to the pools; one with only zero weights counts as 0."""
        return [round(100 * next(iter(split.values())) / (sum(split.values()) or 1), 2) for split in self.splits]

    def __str__(self) -> str:
        """`5 %`, or `5 %, 25 %` when the routes disagree."""
        return ", ".join(map(percent_text, dict.fromkeys(self.percents())))


def desired(document: Json, route: EnvoyRoute, write: Write) -> Json:
    """The operator's document with what one write changes.

    Args:
        document: a DiscoveryResponse with one RouteConfiguration; not changed.
        route: names the two clusters, the forced header and what tells users apart.
        write: percent, epoch and owner.

    Raises:
        Misconfigured: nothing in the document leads to the pools, the percent has no whole weight, users cannot be
            kept on a version, or a percent above 0 is asked for and a route to the candidate would not follow it.
    """
    weights = weights_of(write.percent, route)
    view(document, route)  # refuses what is not understood
    wanted = copy.deepcopy(document)
    resource = wanted["resources"][0]
    _take_off(resource)
    if write.percent > 0 and (stray := next(strays(resource, route), None)):
        raise Misconfigured(f"{route}: {why(stray, route)}; nothing was written")
    several = len(view(wanted, route).splits) > 1
    # At 0 % nothing may be left: neither a cookie nor a header leads anyone to the candidate then.
    sticky = route.sticky if write.percent > 0 and not write.release else None
    count = 0
    for host in resource["virtual_hosts"]:
        entries: list[Json] = []
        for entry in host.get("routes", []):
            if _split(entry, route):
                suffix = f"-{count}" if several else ""
                entries += _rules(entry, route, write, suffix)
                _weigh(entry["route"], weights)
                if sticky:
                    entries += _stick(entry, route, sticky, suffix)
                count += 1
            quieten(entry, route)  # only the way back comes here with any
            entries.append(entry)
        if "routes" in host:
            host["routes"] = entries
    owner = {} if write.release else {"owner": write.owner}
    marks = resource.setdefault("metadata", {}).setdefault("filter_metadata", {})
    marks["sluice"] = {"epoch": write.epoch, **owner, "percent": write.percent}
    wanted["version_info"] = f"sluice epoch={write.epoch} percent={write.percent:g}"
    return wanted


def view(document: Json, route: EnvoyRoute) -> View:
    """What Sluice looks at in a route file.

    Raises:
        Misconfigured: it is not one RouteConfiguration of the service's name with a route to the pools.
    """
    where = f"{route}: {route.service}.json"
    try:
        [resource] = document["resources"]
        name, seen = resource.get("name"), _view(resource, route)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        msg = f"{where} is not a DiscoveryResponse with one RouteConfiguration: {type(error).__name__} {error}"
        raise Misconfigured(msg) from error
    if name != route.service:
        raise Misconfigured(f'{where} holds the route configuration "{name}"; it must be named "{route.service}"')
    if not seen.splits:
        pools = f"{route.candidate_pool} or {route.stable_pool}"
        raise Misconfigured(f"{where} has no route to {pools}: add one to stable, or name the clusters in the spec")
    return seen


def shown(dump: Json, route: EnvoyRoute) -> list[tuple[str, View]]:
    """Version and view of every route configuration of the service's name in Envoy's dump: one for each listener."""
    found = [(each.get("version_info", ""), each.get("route_config", {})) for each in dump.get("configs", [])]
    return [(version, _view(resource, route)) for version, resource in found if resource.get("name") == route.service]


def weights_of(percent: float, route: EnvoyRoute) -> dict[str, int]:
    """Weights of the two clusters, candidate first: hundredths of a percent, so their sum is always 10 000.

    Raises:
        Misconfigured: the percent is no such weight.
    """
    candidate = round(percent * 100)
    if not 0 <= candidate <= _WHOLE or abs(percent * 100 - candidate) > 1e-6:
        raise Misconfigured(f"{route} cannot take {percent} %: 0 to 100 in steps of 0.01 is possible")
    return {route.candidate_pool: candidate, route.stable_pool: _WHOLE - candidate}


def _split(entry: Json, route: EnvoyRoute) -> dict[str, int] | None:
    """Weights that a route gives to the pools; None if it is about anything else."""
    action = entry.get("route", {})
    weights = clusters_of(entry)
    pools = (route.candidate_pool, route.stable_pool)
    if cluster := action.get("cluster"):
        weights = {cluster: _WHOLE}
        if cluster == route.candidate_pool and entry.get("match", {}).get("headers"):
            return None  # the operator's own rule that forces the candidate: not ours to weigh
    if not weights or not weights.keys() <= set(pools):
        return None
    if "runtime_key_prefix" in action.get("weighted_clusters", {}):
        raise ValueError("weighted_clusters with a runtime_key_prefix take their weights from somewhere else")
    return {pool: weights.get(pool, 0) for pool in pools}


def _view(resource: Json, route: EnvoyRoute) -> View:
    entries = [entry for host in resource.get("virtual_hosts", []) for entry in host.get("routes", [])]
    rules = [entry for entry in entries if _FORCED.fullmatch(entry.get("name", ""))]
    found = [(entry, split) for entry in entries if entry not in rules and (split := _split(entry, route))]
    return View(
        mark=resource.get("metadata", {}).get("filter_metadata", {}).get("sluice", {}),
        splits=[split for _, split in found],
        sticky=[sticky_users.shown(entry) for entry, _ in found] if route.sticky else [],
        forced=[
            (rule["name"], rule["route"].get("cluster", ""), sticky_users.spelt(rule["match"].get("headers", [])))
            for rule in rules
        ],
        strays=[stray.weight for stray in strays(resource, route)],
    )


def _take_off(resource: Json) -> None:
    """Take away every rule of ours and whatever makes users sticky; weights and mark stay."""
    for host in resource["virtual_hosts"]:
        if "routes" in host:
            host["routes"] = [entry for entry in host["routes"] if not _OURS.fullmatch(entry.get("name", ""))]
        for entry in host.get("routes", []):
            sticky_users.unstick(entry)


def _stick(entry: Json, route: EnvoyRoute, sticky: Sticky, suffix: str) -> list[Json]:
    try:
        return list(sticky_users.stick(entry, sticky, suffix))
    except ValueError as error:
        msg = f"{route} cannot keep users on a version: {error}; leave `sticky` out, or drop that in the file"
        raise Misconfigured(msg) from error


def _rules(entry: Json, route: EnvoyRoute, write: Write, suffix: str) -> Iterator[Json]:
    """Copies of a route that ask for the forced header as well; none if there shall be none."""
    if route.header is None or write.release or not write.header:
        return
    values = {"candidate": route.header.candidate, "stable": route.header.stable}
    for (side, value), cluster in zip(values.items(), (route.candidate_pool, route.stable_pool), strict=True):
        rule = {**copy.deepcopy(entry), "name": f"sluice-forced-{side}{suffix}"}
        header = {"name": route.header.name.lower(), "string_match": {"exact": value}}
        rule["match"]["headers"] = [*rule["match"].get("headers", []), header]
        rule["route"].pop("weighted_clusters", None)
        rule["route"]["cluster"] = cluster
        yield rule


def _weigh(action: Json, weights: dict[str, int]) -> None:
    shares = action.setdefault("weighted_clusters", {})
    present = {share["name"]: share for share in shares.get("clusters", [])}
    # The candidate always comes first: with a hash policy, users that it has once stay its users as the percent rises.
    shares["clusters"] = [{**present.get(name, {"name": name}), "weight": weight} for name, weight in weights.items()]
    if "total_weight" in shares:
        shares["total_weight"] = _WHOLE
    action.pop("cluster", None)
