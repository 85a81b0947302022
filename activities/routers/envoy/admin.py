"""Envoy's admin interface: questions in its own JSON, pools and their health, and what may not be asked.

It has no user and no password, so operators close it: `allow_paths` answers 403, as does a proxy in front. That is a
missing permission and no outage, and is said so, with the path to allow.
"""

import asyncio
from typing import Any

import httpx

from activities.ports import Pool, Write
from activities.routers.envoy.connection import EnvoyConnection
from rollout.errors import Misconfigured, NotPermitted, RouterUnreachable
from rollout.routes import EnvoyRoute

Json = dict[str, Any]

UNANSWERED = (RouterUnreachable, NotPermitted)
"""What `ask` raises; the way back works with either."""

_UNFIT = ("failed_active_health_check", "failed_outlier_check", "pending_dynamic_removal", "pending_active_hc")
_UNFIT_EDS = ("UNHEALTHY", "DRAINING", "TIMEOUT")
_CLOSED = {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}


def members(clusters: Json, name: str) -> list[Json] | None:
    """Hosts of a cluster in Envoy's answer to `/clusters?format=json`; None if Envoy does not know the cluster."""
    known = {cluster["name"]: cluster.get("host_statuses", []) for cluster in clusters.get("cluster_statuses", [])}
    return known.get(name)


def is_fit(host: Json) -> bool:
    """Whether a host takes traffic; `eds_health_status` alone stays HEALTHY while active health checks fail."""
    status = host.get("health_status", {})
    return not any(status.get(flag) for flag in _UNFIT) and status.get("eds_health_status") not in _UNFIT_EDS


class EnvoyAdmin:
    """The admin interface of one Envoy, asked about one route."""

    def __init__(self, route: EnvoyRoute, connection: EnvoyConnection, http: httpx.AsyncClient) -> None:
        """Take the route, the Envoy that has it, and a client that follows no redirects and knows no proxies."""
        self._route, self._connection, self._http = route, connection, http
        self._pools: dict[Pool, str] = {"candidate": route.candidate_pool, "stable": route.stable_pool}

    async def ask(self, path: str, **query: str) -> Json:
        """Envoy's JSON answer to a question.

        Raises:
            RouterUnreachable: no answer in time, or none that is JSON.
            NotPermitted: it may not be asked this.
        """
        answer = await self._request("GET", path, query)
        try:
            return dict(answer.json())
        except (TypeError, ValueError) as error:
            raise RouterUnreachable(f"{self._route}: Envoy's admin at {answer.url} answers no JSON: {error}") from error

    async def tell(self, path: str, **query: str) -> None:
        """Change something in the running Envoy.

        Raises:
            RouterUnreachable: no answer in time, or a refusal.
            NotPermitted: it may not be told this.
        """
        await self._request("POST", path, query)

    async def healthy(self) -> dict[Pool, int]:
        """Members able to take traffic; a pool that Envoy does not know is missing."""
        clusters = await self.ask("/clusters", format="json")
        hosts = {pool: members(clusters, name) for pool, name in self._pools.items()}
        return {pool: sum(map(is_fit, found)) for pool, found in hosts.items() if found is not None}

    async def in_flight(self, pool: Pool) -> int:
        """See `ports.Router.in_flight`; a pool that Envoy does not know serves none."""
        hosts = members(await self.ask("/clusters", format="json"), self._pools[pool]) or []
        stats = [each for host in hosts for each in host.get("stats", [])]
        return sum(int(each.get("value", 0)) for each in stats if each["name"] in {"rq_active", "rq_pending_active"})

    async def refuse_unknown(self, weights: dict[str, int], write: Write) -> None:
        """See to it that no share is given to a cluster that Envoy does not know: it accepts that and answers 503.

        Raises:
            Misconfigured: it does not know one; on the way back one without a share may be gone already.
        """
        clusters = await self.ask("/clusters", format="json")
        leaving = write.release or write.percent == 0
        for pool, name in self._pools.items():
            if members(clusters, name) is None and (weights[name] or not leaving):
                raise Misconfigured(f"{self._route}: Envoy knows no cluster {name} for the {pool}; nothing was written")

    async def _request(self, method: str, path: str, query: dict[str, str]) -> httpx.Response:
        url = self._connection.admin.rstrip("/") + path
        try:
            async with asyncio.timeout(self._connection.timeout_s):
                answer = await self._http.request(method, url, params=query, timeout=self._connection.timeout_s)
            if answer.status_code in _CLOSED:
                raise NotPermitted(
                    f"{self._route}: Envoy's admin answers {method} {url} with {answer.status_code}: let this worker "
                    f"ask {path} (`allow_paths` in Envoy's `admin`, or the proxy in front of it)"
                )
            return answer.raise_for_status()
        except (httpx.HTTPError, TimeoutError) as error:
            raise RouterUnreachable(f"{self._route}: no answer from Envoy's admin at {url}: {error!r}") from error
