"""Envoy: weighted clusters in a route configuration that Envoy reads from a file.

The file belongs to the operator, so it is edited and never replaced: `desired` rewrites the routes that lead to the two
pools, adds or removes the forced-header rules and what keeps users on a version (`envoy_sticky`), leaves a mark in the
metadata, and keeps everything else as it is.
Envoy's runtime (`runtime_modify`) would need no file, but forgets the weights when it restarts; a file does not.

Read-back compares mark, weights, rules and hash policies, never the version alone: an identical resource under a new
version leaves the version in Envoy's dump as it was (1.40). Why Envoy refused a file is in its log and nowhere else;
over the admin interface one only sees a counter move. Fields are read as Envoy's documentation spells them
(`virtual_hosts`).
"""

import asyncio
import copy
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import httpx
from pydantic import Field

from activities import envoy_sticky
from activities.config_file import ConfigFile
from activities.ports import Pool, RouteState, Write
from rollout.base import Told, Written, percent_text
from rollout.errors import Misconfigured, RouteOwned, RouteRejected, RouterUnreachable, Superseded
from rollout.routes import EnvoyRoute, Sticky

Json = dict[str, Any]

_WHOLE = 10_000  # weights are hundredths of a percent
_FORCED = re.compile(r"sluice-forced-(candidate|stable)(-\d+)?")
_OURS = re.compile(f"{_FORCED.pattern}|{envoy_sticky.FIRST_VISIT.pattern}")
_UNFIT = ("failed_active_health_check", "failed_outlier_check", "pending_dynamic_removal", "pending_active_hc")
_UNFIT_EDS = ("UNHEALTHY", "DRAINING", "TIMEOUT")
_SETTLE_S, _POLL_S = 2.0, 0.02
_HASTE_S = 0.3  # the most that looking first may cost the way back


class EnvoyConnection(Written):
    """Where an Envoy is.

    Attributes:
        kind: always "envoy".
        admin: URL of the admin interface, without user and password.
        routes: folder of the route files, which Envoy reads and this worker may write.
        timeout_s: for one request to the admin interface, seconds.
    """

    kind: Literal["envoy"] = "envoy"
    admin: str = Field(pattern=r"^https?://[^@\s]+$")
    routes: Path
    timeout_s: float = Field(default=2, gt=0)


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
    """

    mark: Mark
    splits: list[dict[str, int]]
    forced: list[tuple[str, str, list[Json]]]
    sticky: list[Json] = Field(default_factory=list)

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
        Misconfigured: nothing in the document leads to the pools, the percent has no whole weight, or users cannot be
            kept on a version.
    """
    weights = _weights(write.percent, route)
    view(document, route)  # refuses what is not understood
    wanted = copy.deepcopy(document)
    resource = wanted["resources"][0]
    _take_off(resource)
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


def members(clusters: Json, name: str) -> list[Json] | None:
    """Hosts of a cluster in Envoy's answer to `/clusters?format=json`; None if Envoy does not know the cluster."""
    known = {cluster["name"]: cluster.get("host_statuses", []) for cluster in clusters.get("cluster_statuses", [])}
    return known.get(name)


def is_fit(host: Json) -> bool:
    """Whether a host takes traffic; `eds_health_status` alone stays HEALTHY while active health checks fail."""
    status = host.get("health_status", {})
    return not any(status.get(flag) for flag in _UNFIT) and status.get("eds_health_status") not in _UNFIT_EDS


def _weights(percent: float, route: EnvoyRoute) -> dict[str, int]:
    candidate = round(percent * 100)
    if not 0 <= candidate <= _WHOLE or abs(percent * 100 - candidate) > 1e-6:
        raise Misconfigured(f"{route} cannot take {percent} %: 0 to 100 in steps of 0.01 is possible")
    return {route.candidate_pool: candidate, route.stable_pool: _WHOLE - candidate}


def _split(entry: Json, route: EnvoyRoute) -> dict[str, int] | None:
    """Weights that a route gives to the pools; None if it is about anything else."""
    action = entry.get("route", {})
    shares = action.get("weighted_clusters", {})
    weights = {share.get("name", ""): int(share.get("weight", 0)) for share in shares.get("clusters", [])}
    pools = (route.candidate_pool, route.stable_pool)
    if cluster := action.get("cluster"):
        weights = {cluster: _WHOLE}
        if cluster == route.candidate_pool and entry.get("match", {}).get("headers"):
            return None  # the operator's own rule that forces the candidate: not ours to weigh
    if not weights or not weights.keys() <= set(pools):
        return None
    if "runtime_key_prefix" in shares:
        raise ValueError("weighted_clusters with a runtime_key_prefix take their weights from somewhere else")
    return {pool: weights.get(pool, 0) for pool in pools}


def _view(resource: Json, route: EnvoyRoute) -> View:
    entries = [entry for host in resource.get("virtual_hosts", []) for entry in host.get("routes", [])]
    rules = [entry for entry in entries if _FORCED.fullmatch(entry.get("name", ""))]
    found = [(entry, split) for entry in entries if entry not in rules and (split := _split(entry, route))]
    return View(
        mark=resource.get("metadata", {}).get("filter_metadata", {}).get("sluice", {}),
        splits=[split for _, split in found],
        sticky=[envoy_sticky.shown(entry) for entry, _ in found] if route.sticky else [],
        forced=[(rule["name"], rule["route"].get("cluster", ""), rule["match"].get("headers", [])) for rule in rules],
    )


def _take_off(resource: Json) -> None:
    """Take away every rule of ours and whatever makes users sticky; weights and mark stay."""
    for host in resource["virtual_hosts"]:
        if "routes" in host:
            host["routes"] = [entry for entry in host["routes"] if not _OURS.fullmatch(entry.get("name", ""))]
        for entry in host.get("routes", []):
            envoy_sticky.unstick(entry)


def _stick(entry: Json, route: EnvoyRoute, sticky: Sticky, suffix: str) -> list[Json]:
    try:
        return list(envoy_sticky.stick(entry, sticky, suffix))
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


class EnvoyRouter:
    """One route configuration of one Envoy."""

    def __init__(self, route: EnvoyRoute, connection: EnvoyConnection, http: httpx.AsyncClient) -> None:
        """Take the route, the Envoy that has it, and a client that follows no redirects and knows no proxies."""
        self._route, self._connection, self._http = route, connection, http
        self._file = ConfigFile(connection.routes / f"{route.service}.json")
        self._pools: dict[Pool, str] = {"candidate": route.candidate_pool, "stable": route.stable_pool}

    async def read(self) -> RouteState:
        """See `ports.Router.read`."""
        document = self._file.parsed(await self._file.read())
        written = view(document, self._route)
        running = await self._shown()
        problem = await self._problem(written, running, document.get("version_info", ""))
        problem = problem or self._lost_users(document, written)
        # What speaks against sticky users is for preflight; the percent is in force all the same.
        unfit = None if problem or written.mark.owner else await self._unfit(document)
        clusters = await self._ask("/clusters", format="json")
        hosts = {pool: members(clusters, name) for pool, name in self._pools.items()}
        weights = ", ".join(f"{name} {weight}" for name, weight in written.splits[0].items())
        return RouteState(
            percent=max(written.percents()),
            in_force=None if problem else written.percents()[0],
            epoch=written.mark.epoch,
            owner=written.mark.owner,
            forced=bool(written.forced),
            healthy={pool: sum(map(is_fit, found)) for pool, found in hosts.items() if found is not None},
            problem=problem or unfit,
            proof="" if problem else f'Envoy shows "{running[0][0]}": {weights}',
        )

    async def write(self, write: Write) -> None:
        """See `ports.Router.write`; takes up to about two seconds, until Envoy shows or refuses it.

        It finishes even if the caller is cancelled: stopping between the rename and Envoy's refusal would leave a file
        behind with which Envoy serves nothing after its next start.
        """
        await asyncio.shield(self._write(write))

    async def in_flight(self, pool: Pool) -> int:
        """See `ports.Router.in_flight`; a pool that Envoy does not know serves none."""
        hosts = members(await self._ask("/clusters", format="json"), self._pools[pool]) or []
        stats = [each for host in hosts for each in host.get("stats", [])]
        return sum(int(each.get("value", 0)) for each in stats if each["name"] in {"rq_active", "rq_pending_active"})

    async def _write(self, write: Write) -> None:
        async with self._file.alone():
            previous = await self._file.read()
            document = self._file.parsed(previous)
            self._fence(view(document, self._route).mark, write)
            wanted = desired(document, self._route, write)
            if wanted == document:
                return
            before: int | None = None
            try:
                async with asyncio.timeout(None if write.percent else _HASTE_S):
                    self._refuse_unknown(await self._ask("/clusters", format="json"), write)
                    before, _ = await self._refusals()
            except (RouterUnreachable, TimeoutError):
                if write.percent > 0:
                    raise  # the way back, though, is written blind: Envoy reads it as soon as it can
            await self._file.replace(json.dumps(wanted, indent=2, ensure_ascii=False).encode() + b"\n")
            if before is not None and await self._is_refused(view(wanted, self._route), before):
                await self._file.replace(previous)
                raise RouteRejected(
                    f"{self._route}: Envoy refused {self._file} with {percent_text(write.percent)}; the previous file "
                    f"is back, and traffic never changed. The reason is in Envoy's log: config update rejected"
                )

    def _lost_users(self, document: Json, written: View) -> str | None:
        """Why users are not kept on their version although the last write kept them; None if they are."""
        mark = written.mark
        if not (self._route.sticky and mark.owner and mark.percent):
            return None
        last = Write(percent=mark.percent, epoch=mark.epoch, owner=mark.owner)
        try:
            wanted = view(desired(document, self._route, last), self._route)
        except Misconfigured as error:
            return str(error)
        if wanted.sticky == written.sticky:
            return None
        return f"{self._file.path.name} no longer keeps users on their version: its hash policy was changed"

    async def _unfit(self, document: Json) -> str | None:
        """Why this Envoy could not keep users on a version; None if it can, or if nobody asks for it."""
        if self._route.sticky is None:
            return None
        try:
            planned = desired(document, self._route, Write(percent=1, epoch=0, owner=""))
            problem = envoy_sticky.too_old(str((await self._ask("/server_info")).get("version", "")))
            if problem or not any("gives" in each for each in view(planned, self._route).sticky):
                return problem
            kinds = ("static_listeners", "dynamic_listeners")
            listeners = [await self._ask("/config_dump", resource=kind) for kind in kinds]
        except (Misconfigured, RouterUnreachable) as error:
            return str(error)  # not raised: the way back reads too, and must not depend on this
        return envoy_sticky.without_ids(listeners, document, self._route.service)

    def _fence(self, mark: Mark, write: Write) -> None:
        if mark.epoch > write.epoch:
            raise Superseded(f"{self._route} carries epoch {mark.epoch}: a write of epoch {write.epoch} is too late")
        if mark.owner not in {None, write.owner}:
            raise RouteOwned(f"{self._route} is held by {mark.owner}, not {write.owner}: end or restore that rollout")

    def _refuse_unknown(self, clusters: Json, write: Write) -> None:
        # Envoy itself accepts a cluster that it does not know, and answers its share with 503.
        weights = _weights(write.percent, self._route)
        leaving = write.release or write.percent == 0  # then a pool without a share may be gone already
        for pool, name in self._pools.items():
            if members(clusters, name) is None and (weights[name] or not leaving):
                raise Misconfigured(f"{self._route}: Envoy knows no cluster {name} for the {pool}; nothing was written")

    async def _is_refused(self, wanted: View, before: int) -> bool:
        """Whether Envoy refuses what was written; no means that it shows it, or has said nothing in time."""
        deadline = (loop := asyncio.get_running_loop()).time() + _SETTLE_S
        while loop.time() < deadline:
            with suppress(RouterUnreachable):
                running = await self._shown()
                if running and all(seen == wanted for _, seen in running):
                    return False
                if (await self._refusals())[0] > before:
                    return True
            await asyncio.sleep(_POLL_S)
        return False

    async def _problem(self, written: View, running: list[tuple[str, View]], version: str) -> str | None:
        """Why the file is not in force, None if it is."""
        file = self._file.path.name
        others = [(there, seen) for there, seen in running if seen != written]
        if running and not others:
            odd = len(set(written.percents())) > 1 or not all(sum(split.values()) for split in written.splits)
            return f"the routes of {file} disagree or weigh nothing: {written}" if odd else None
        problem = f"Envoy has no route configuration {self._route.service}: no listener asks, or {file} is broken"
        for there, seen in others[:1]:
            more = " under another mark, header rule or hash policy" if str(seen) == str(written) else ""
            problem = f'Envoy shows version "{there}" with {seen}, {file} says {written}{more}'
        refused, accepted = await self._refusals()
        if refused and version not in accepted:
            problem += f"; it refused {refused} updates since it started, for reasons that are in its log"
        return problem

    async def _shown(self) -> list[tuple[str, View]]:
        dump = await self._ask("/config_dump", resource="dynamic_route_configs")
        try:
            return shown(dump, self._route)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise RouterUnreachable(f"{self._route}: Envoy's config dump is not understood: {error}") from error

    async def _refusals(self) -> tuple[int, set[str]]:
        """How many route files Envoy has refused since it started, and the versions that it accepted last."""
        name = re.escape(self._route.service)
        asked = rf"\.rds\.{name}\.(update_rejected|update_failure|version_text)$"
        answer = await self._ask("/stats", format="json", filter=asked)
        stats = [(each["name"], each["value"]) for each in answer.get("stats", []) if "name" in each]
        versions = {str(value) for name, value in stats if name.endswith(".version_text")}
        return sum(int(value) for name, value in stats if not name.endswith(".version_text")), versions

    async def _ask(self, path: str, **query: str) -> Json:
        url = self._connection.admin.rstrip("/") + path
        try:
            async with asyncio.timeout(self._connection.timeout_s):
                answer = await self._http.get(url, params=query, timeout=self._connection.timeout_s)
            return dict(answer.raise_for_status().json())
        except (httpx.HTTPError, TimeoutError, TypeError, ValueError) as error:
            raise RouterUnreachable(f"{self._route}: no answer from Envoy's admin at {url}: {error!r}") from error
