"""One rule of an HTTPRoute, read and written."""

import asyncio
import time
from contextlib import suppress

from activities.fence import fence
from activities.finishing import finished
from activities.kubernetes import (
    HTTP_ROUTE,
    Cluster,
    Conflict,
    Json,
    Mark,
    guarded,
    mark_of,
    rewrite,
    suspects,
    written,
)
from activities.kubernetes.entries import forgotten, is_other, note_of, noted
from activities.kubernetes.splitting import Split, strayed
from activities.ports import Pool, RouteState, Write
from activities.routers.gateway_api.acceptance import acceptance
from activities.routers.gateway_api.rules import MATCHES, desired, forces, is_forced, keeps_users, names, rule_of, view
from rollout.base import percent_text
from rollout.errors import Misconfigured, NotReady, SluiceError
from rollout.routes import GatewayApiRoute

_RULES = ("f:spec", "f:rules")


class GatewayApiRouter:
    """Two backends in one rule of an HTTPRoute."""

    def __init__(self, route: GatewayApiRoute, cluster: Cluster) -> None:
        """Take the route and its cluster."""
        self._route, self._cluster = route, cluster
        self._where = (route.namespace, route.http_route)

    async def read(self) -> RouteState:
        """See `ports.Router.read`.

        What stands behind the two Services is for those who want to raise: without it the route is read all the same,
        and nobody counts as ready.
        """
        found, (healthy, untold) = await asyncio.gather(self._cluster.get(HTTP_ROUTE, *self._where), self._told())
        if found is None:
            raise Misconfigured(f"there is no HTTPRoute {'/'.join(self._where)}; apply it, or name another")
        split, mark, told = view(found, self._route), mark_of(found), acceptance(found)
        wrong = self._drifted(found, split, mark) or keeps_users(found, self._route) or told.problem
        # A backend that is not found costs its own share only: none, if all goes to a stable that is there.
        if not wrong and told.dangling and not (split.percent == 0 and healthy.get("stable")):
            wrong = told.dangling
        known: dict[Pool, int] = {pool: count for pool, count in healthy.items() if split.of(pool)}
        return RouteState(
            percent=split.percent,
            in_force=None if wrong else split.percent,
            epoch=mark.epoch,
            owner=mark.owner,
            forced=is_forced(found, self._route),
            healthy=known,
            problem=wrong or told.dangling or split.unfit(names(self._route)) or untold,
            proof="" if wrong else self._proof(found, split, mark, told.by),
        )

    async def write(self, write: Write) -> None:
        """See `ports.Router.write`; finishes even if the caller is cancelled.

        Raises:
            Drifted: somebody gave a share to another backend; only the way back overwrites it.
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
            operations = guarded(found, mark, *changes)
            if forced and not is_forced(found, self._route):
                await self._refuse_nameless(operations)
            return operations

        await rewrite(self._cluster, HTTP_ROUTE, self._where, change)

    async def _refuse_unready(self, split: Split, write: Write) -> None:
        healthy = await self._services()
        for pool, name in names(self._route).items():
            if pool not in healthy and (pool == "candidate" or write.percent < 100):
                raise Misconfigured(
                    f"there is no Service {self._route.namespace}/{name} for the {pool}; nothing was written"
                )
        if write.percent > split.percent and not healthy["candidate"]:
            raise NotReady(
                f"no endpoint of Service {self._route.namespace}/{self._route.candidate} is ready, so nothing more may "
                "be sent to it; nothing was written"
            )

    async def _refuse_nameless(self, operations: list[Json]) -> None:
        """Ask first whether the rules keep their names: an older Gateway API drops them, and nobody knew them again."""
        with suppress(Conflict):  # the patch itself meets it too, and all is decided anew
            shown = await self._cluster.patch(HTTP_ROUTE, *self._where, operations, dry_run=True)
            if not is_forced(shown, self._route):
                raise Misconfigured(
                    f"{self._route}: this cluster's HTTPRoute has no names of rules, so forced-header rules could not "
                    "be taken off again: install a newer Gateway API, or drop `header`; nothing was written"
                )

    async def _services(self) -> dict[Pool, int]:
        """Pool → ready endpoints of its Service; one without a Service is missing."""
        space, pools = self._route.namespace, names(self._route)
        counts = await asyncio.gather(*(self._cluster.ready_endpoints(space, name) for name in pools.values()))
        return {pool: count for pool, count in zip(pools, counts, strict=True) if count is not None}

    async def _told(self) -> tuple[dict[Pool, int], str | None]:
        """The same for who only looks: nobody is ready, and why that is not known, if the API server does not tell."""
        try:
            return await self._services(), None
        except SluiceError as error:
            return dict.fromkeys(names(self._route), 0), str(error)

    def _drifted(self, found: Json, split: Split, mark: Mark) -> str | None:
        """What somebody else changed, and who may have been it; None if nothing is known to be."""
        words = split.misleading() or strayed(split, mark)
        note = note_of(mark, self._route.rule) if mark.owner else {}
        if not words and is_other(rule_of(found, self._route)[1], MATCHES, note):
            words = f"{split.where} no longer has the matches that it had when Sluice wrote: is it the same?"
        if not words and note.get("forced") and not is_forced(found, self._route):
            words = f"the forced-header rules that Sluice wrote are gone from {self._route}"
        return f"{words}{suspects(found, *_RULES)}" if words else None

    def _note(self, found: Json, before: Mark, write: Write, *, forced: bool) -> Json:
        """What to find again: which entry it was, and that forced ones are next to it."""
        if write.release:
            return forgotten(before, self._route.rule)
        return noted(before, self._route.rule, rule_of(found, self._route)[1], MATCHES, forced=forced)

    def _proof(self, found: Json, split: Split, mark: Mark, by: str) -> str:
        """What is shown, and by whom."""
        generation = found["metadata"].get("generation", 0)
        return (
            f"HTTPRoute {'/'.join(self._where)} of epoch {mark.epoch}, generation {generation}, gives "
            f"{percent_text(split.percent)} to {self._route.candidate}; accepted by {by}"
        )
