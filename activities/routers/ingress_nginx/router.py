"""ingress-nginx: a second Ingress whose annotations say which share of the first one's requests it gets.

One JSON patch moves weight, header and mark together, guarded by the resourceVersion: an Ingress's generation does not
change with its annotations. The Ingress stays at the end of a rollout, as the place of the fence.

The controller confirms nothing, and its pods cannot be asked one by one; so a write is believed `settle` after it was
seen (the connection's setting). ingress-nginx sends the candidate's share to stable while no pod of it is ready.
"""

import asyncio
import time

from activities.fence import fence
from activities.finishing import finished
from activities.kubernetes import (
    INGRESS,
    SERVICE,
    Absent,
    Cluster,
    Conflict,
    Json,
    Mark,
    as_annotation,
    guarded,
    mark_of,
    unsettled,
    written,
)
from activities.ports import Pool, RouteState, Write
from activities.routers.ingress_nginx import annotations, rules
from activities.routers.ingress_nginx.views import Ingresses, chosen, view
from rollout.errors import Misconfigured, RouterUnreachable
from rollout.routes import IngressNginxRoute

_TRIES, _PAUSE_S = 8, 0.03
_SERVED_S = 5.0  # Services that were there are not asked for again so soon: preflight, shift and write all want to know


class IngressNginxRouter:
    """Two Ingresses of one namespace."""

    def __init__(self, route: IngressNginxRoute, cluster: Cluster) -> None:
        """Take the route and its cluster."""
        self._route, self._cluster = route, cluster
        self._place = (route.namespace, route.canary_ingress)
        self._services: dict[Pool, str] = {"candidate": route.candidate, "stable": route.stable}
        self._settle_s = cluster.connection.settle.total_seconds()

    async def read(self) -> RouteState:
        """See `ports.Router.read`."""
        found, healthy = await asyncio.gather(self._found(), self._healthy())
        seen = view(found, self._route)
        early = self._early(found.canary)
        why_not = seen.unproven or early
        # Who raises meets the rest at the write.
        problem = seen.problem or (early if seen.mark.owner else await self._unserved(found))
        return RouteState(
            percent=seen.percent,
            in_force=None if why_not else seen.percent,
            epoch=seen.mark.epoch,
            owner=seen.mark.owner,
            forced=seen.forced,
            healthy=healthy,
            finest=100 / annotations.WHOLE,
            proves_after_s=self._settle_s,
            problem=problem,
            proof="" if why_not else f"{seen.words}, for {self._settle_s:g} s or longer",
        )

    async def write(self, write: Write) -> None:
        """See `ports.Router.write`; finishes even if the caller is cancelled."""
        await finished(self._write(write))

    async def in_flight(self, pool: Pool) -> int | None:
        """Never known: only ingress-nginx's own pods could tell."""
        del pool
        return None

    async def _write(self, write: Write) -> None:
        async with self._cluster.alone("ingress-nginx", *self._place):
            for attempt in range(_TRIES):
                try:
                    after = await self._written(write)
                except (Conflict, Absent):  # made, changed or deleted since it was read
                    await asyncio.sleep(_PAUSE_S * attempt)
                else:
                    self._early(after)  # its time begins now
                    return
        raise RouterUnreachable(f"{self._route}: others were changing it at {_TRIES} tries; nothing was written")

    async def _written(self, write: Write) -> Json:
        """Write unless it is written; answers with the candidate's Ingress as it is then.

        Raises:
            Conflict: somebody else was quicker.
            Absent: somebody has deleted it meanwhile.
        """
        found = await self._found(urgent=True)
        before = mark_of(found.canary) if found.canary else Mark()
        fence(self._route, before.epoch, before.owner, write)
        wanted, mark = annotations.desired(self._route, write), written(write, time.time())
        if found.canary is None:
            await self._refuse_unfit(found, write)
            return await self._cluster.create(INGRESS, self._route.namespace, self._manifest(found, wanted, mark))
        operations = self._operations(found, found.canary, wanted, mark)
        if operations is None:
            return found.canary
        await self._refuse_unfit(found, write)
        return await self._cluster.patch(INGRESS, *self._place, operations)

    def _manifest(self, found: Ingresses, wanted: dict[str, str | None], mark: Mark) -> Json:
        spec = rules.desired(found.stable, self._route) if found.stable else None
        if found.stable is None or spec is None:
            why = view(found, self._route).wrong
            raise Misconfigured(f"{self._route}: Ingress {self._route.canary_ingress} cannot be made: {why}")
        given = {key: value for key, value in wanted.items() if value is not None}
        return rules.manifest(found.stable, spec, self._route, {**given, **as_annotation(mark)})

    def _operations(
        self, found: Ingresses, canary: Json, wanted: dict[str, str | None], mark: Mark
    ) -> list[Json] | None:
        """The patch; None if everything is as it shall be."""
        spec = self._renewed(found, canary) if mark.percent else None  # a weight of 0 needs no rules
        there, before = annotations.annotations_of(canary), mark_of(canary)
        same = all(there.get(key) == value for key, value in wanted.items())
        if same and spec is None and before == mark.model_copy(update={"at": before.at}):
            return None
        replace: list[Json] = [{"op": "replace", "path": "/spec", "value": spec}] if spec else []
        return guarded(canary, mark, *replace, annotations=wanted)

    def _renewed(self, found: Ingresses, canary: Json) -> Json | None:
        """The rules of an Ingress that Sluice made, if stable's were changed."""
        spec = rules.desired(found.stable, self._route) if found.stable and rules.is_ours(canary) else None
        return None if spec == canary["spec"] else spec

    async def _refuse_unfit(self, found: Ingresses, write: Write) -> None:
        """Refuse what would not split as asked; the way back, though, and a release are never refused."""
        if write.percent == 0 or write.release:
            return
        seen = view(found, self._route)
        if wrong := seen.astray or seen.wrong or await self._unserved(found):
            raise Misconfigured(f"{self._route}: {wrong}; nothing was written")

    async def _found(self, *, urgent: bool = False) -> Ingresses:
        return chosen(await self._cluster.every(INGRESS, self._route.namespace, urgent=urgent), self._route)

    async def _healthy(self) -> dict[Pool, int]:
        """Ready pods of each Service that there is."""
        counts = await self._cluster.ready_behind(self._route.namespace, *self._services.values())
        return {pool: counts[name] for pool, name in self._services.items() if name in counts}

    async def _unserved(self, found: Ingresses) -> str | None:
        """Which Service, or port of one, is not there."""
        namespace, names = self._route.namespace, self._services.values()
        expected = rules.ports(found.stable, self._route.stable) if found.stable else set()
        key = ("ingress-nginx served", namespace, *names, *sorted(map(str, expected)))
        if time.monotonic() - self._cluster.memory.get(key, float("-inf")) < _SERVED_S:
            return None
        services = await asyncio.gather(*(self._cluster.get(SERVICE, namespace, name) for name in names))
        for (pool, name), service in zip(self._services.items(), services, strict=True):
            if service is None:
                return f"there is no Service {namespace}/{name} ({pool})"
            offered = {each.get(key) for each in service["spec"].get("ports") or [] for key in ("name", "port")}
            if missing := expected - offered:
                port = min(map(str, missing))
                return f"Service {namespace}/{name} ({pool}) has no port {port}, which {self._route.ingress} leads to"
        self._cluster.memory[key] = time.monotonic()
        return None

    def _early(self, canary: Json | None) -> str | None:
        """Why what is written may not be in force yet; None if it should be."""
        version = (annotations.annotations_of(canary), canary["spec"]) if canary else None
        at = mark_of(canary).at if canary else 0.0
        return unsettled(self._cluster, (INGRESS.name, *self._place), version, at)
