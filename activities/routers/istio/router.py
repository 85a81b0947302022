"""One HTTP route of a VirtualService, read and written."""

import asyncio
import time

from activities.fence import fence
from activities.finishing import finished
from activities.kubernetes import (
    VIRTUAL_SERVICE,
    Cluster,
    Json,
    Mark,
    guarded,
    mark_of,
    rewrite,
    suspects,
    unsettled,
    written,
)
from activities.kubernetes.entries import forgotten, is_other, note_of, noted
from activities.kubernetes.splitting import Split, strayed
from activities.ports import Pool, RouteState, Write
from activities.routers.istio.http import MATCHES, desired, forces, is_forced, names, split_of, view
from activities.routers.istio.status import is_told, unreconciled
from activities.routers.istio.subsets import standing
from rollout.base import percent_text
from rollout.errors import Misconfigured, NotReady, SluiceError
from rollout.routes import IstioRoute

_HTTP = ("f:spec", "f:http")


class IstioRouter:
    """Two destinations in one HTTP route of a VirtualService."""

    def __init__(self, route: IstioRoute, cluster: Cluster) -> None:
        """Take the route and its cluster."""
        self._route, self._cluster = route, cluster
        self._where = (route.namespace, route.virtual_service)
        self._key = ("istio", *self._where)

    async def read(self) -> RouteState:
        """See `ports.Router.read`.

        What stands behind the destinations is for those who want to raise: without it the route is read all the same,
        and nobody counts as ready.
        """
        found, (healthy, untold) = await asyncio.gather(self._cluster.get(VIRTUAL_SERVICE, *self._where), self._told())
        if found is None:
            raise Misconfigured(f"there is no VirtualService {'/'.join(self._where)}; apply it, or name another")
        split, mark = view(found, self._route), mark_of(found)
        wrong, unproven = self._drifted(found, split, mark), self._unproven(found, mark)
        known: dict[Pool, int] = {pool: count for pool, count in healthy.items() if split.of(pool)}
        # What was just released may be taken again: that it is new speaks against nobody's start.
        waits = unproven if mark.owner or is_told(found) else None
        return RouteState(
            percent=split.percent,
            in_force=None if wrong or unproven else split.percent,
            epoch=mark.epoch,
            owner=mark.owner,
            forced=is_forced(found, self._route),
            healthy=known,
            proves_after_s=0 if is_told(found) else self._cluster.connection.settle.total_seconds(),
            problem=wrong or waits or split.unfit(names(self._route)) or untold,
            proof="" if wrong or unproven else self._proof(found, split, mark),
        )

    async def write(self, write: Write) -> None:
        """See `ports.Router.write`; finishes even if the caller is cancelled.

        Raises:
            Drifted: somebody gave a share to another destination; only the way back overwrites it.
        """
        await finished(self._write(write))

    async def in_flight(self, pool: Pool) -> int | None:
        """Never known: the API tells nothing of requests."""
        del pool
        return None

    async def _write(self, write: Write) -> None:
        async def change(found: Json) -> list[Json] | None:
            before, split = mark_of(found), view(found, self._route)
            fence(self._route, before.epoch, before.owner, write)
            changes = desired(found, self._route, write)
            forced = forces(self._route, write, split)
            note = self._note(found, before, write, forced=forced)
            mark = written(write, time.time()).model_copy(update={"more": note})  # its keys are names of users
            if not changes and mark.same_as(before):
                return None
            if write.percent > 0 and (changes or not write.release):
                await self._refuse_unready(split, write)
            return guarded(found, mark, *changes)

        found = await rewrite(self._cluster, VIRTUAL_SERVICE, self._where, change)
        self._unsettled(found, mark_of(found))  # from now on, by the clock of this worker

    async def _refuse_unready(self, split: Split, write: Write) -> None:
        healthy = await standing(self._cluster, self._route)
        for pool, name in names(self._route).items():
            if pool not in healthy and (pool == "candidate" or write.percent < 100):
                missing = (
                    "no DestinationRule defines it, or it has no Service" if self._route.host else "it is no Service"
                )
                raise Misconfigured(f"{self._route}: {name} ({pool}) cannot be sent to: {missing}; nothing was written")
        if write.percent > split.percent and not healthy["candidate"]:
            raise NotReady(
                f"{self._route}: {names(self._route)['candidate']} has no ready pod, so nothing more may be sent to "
                "it; nothing was written"
            )

    async def _told(self) -> tuple[dict[Pool, int], str | None]:
        """Pool → ready pods; nobody is ready, and why that is not known, if the API server does not tell."""
        try:
            return await standing(self._cluster, self._route), None
        except SluiceError as error:
            return dict.fromkeys(names(self._route), 0), str(error)

    def _unproven(self, found: Json, mark: Mark) -> str | None:
        """Why the proxies may not yet do what is written; None if they do."""
        new = self._unsettled(found, mark)  # also where Istio tells, so that nothing is forgotten if it no longer does
        return unreconciled(found) if is_told(found) else new

    def _unsettled(self, found: Json, mark: Mark) -> str | None:
        generation = (found["metadata"].get("uid"), found["metadata"].get("generation"))
        words = unsettled(self._cluster, self._key, generation, mark.at)
        return f"{words}: Istio confirms nothing" if words else None

    def _drifted(self, found: Json, split: Split, mark: Mark) -> str | None:
        """What somebody else changed, and who may have been it; None if nothing is known to be."""
        words = split.misleading() or strayed(split, mark)
        note = note_of(mark, self._route.http) if mark.owner else {}
        if not words and is_other(split_of(found, self._route)[1], MATCHES, note):
            words = f"{split.where} no longer has the matches that it had when Sluice wrote: is it the same?"
        if not words and note.get("forced") and not is_forced(found, self._route):
            words = f"the forced-header routes that Sluice wrote are gone from {self._route}"
        return f"{words}{suspects(found, *_HTTP)}" if words else None

    def _note(self, found: Json, before: Mark, write: Write, *, forced: bool) -> Json:
        """What to find again: which entry it was, and that forced ones are next to it."""
        if write.release:
            return forgotten(before, self._route.http)
        return noted(before, self._route.http, split_of(found, self._route)[1], MATCHES, forced=forced)

    def _proof(self, found: Json, split: Split, mark: Mark) -> str:
        """What is shown, and why it is believed."""
        generation, settle_s = found["metadata"].get("generation", 0), self._cluster.connection.settle.total_seconds()
        why = "reconciled, says Istio" if is_told(found) else f"unchanged for {settle_s:g} s"
        return (
            f"VirtualService {'/'.join(self._where)} of epoch {mark.epoch}, generation {generation}, gives "
            f"{percent_text(split.percent)} to {names(self._route)['candidate']}; {why}"
        )
