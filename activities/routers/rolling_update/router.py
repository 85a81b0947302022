"""The hands: one look is the workload, its ReplicaSets and, while something moves, its pods; one write is one patch."""

import asyncio
import time

from activities.fence import fence
from activities.finishing import finished
from activities.kubernetes import (
    DEPLOYMENT,
    POD,
    REPLICA_SET,
    STATEFUL_SET,
    Cluster,
    Json,
    mark_of,
    rewrite,
    suspects,
)
from activities.ports import Pool, RouteState, Write
from activities.routers.rolling_update import deployment, stateful_set
from activities.routers.rolling_update.pods import owned_by, selector_of
from activities.routers.rolling_update.reading import Reading, reading
from activities.routers.rolling_update.recording import Record, recorded
from activities.routers.rolling_update.sides import sides
from activities.routers.rolling_update.templates import template_of
from activities.routers.rolling_update.workload import Progress, Seen, count, is_paused, is_under_way, replicas
from activities.routers.rolling_update.writing import begins, desired
from rollout.errors import Misconfigured
from rollout.routes import RollingUpdateRoute

_SEEN_WITHIN_S, _LOOK_AGAIN_S = 3.0, 0.05


class RollingUpdateRouter:
    """One Deployment, or one StatefulSet."""

    def __init__(self, route: RollingUpdateRoute, cluster: Cluster) -> None:
        """Take the route and its cluster."""
        self._route, self._cluster = route, cluster
        self._kind = DEPLOYMENT if route.deployment else STATEFUL_SET
        self._where = (route.namespace, route.workload)

    async def read(self) -> RouteState:
        """See `ports.Router.read`.

        Both pools count as the pods that are available, of whatever template: Kubernetes itself sends traffic to ready
        pods only, so a candidate that has none yet is one without traffic, not one that is dead.

        Raises:
            Misconfigured: the workload or the container does not exist.
        """
        found = await self._cluster.get(self._kind, *self._where)
        if found is None:
            raise Misconfigured(f"{self._route}: there is no {self._kind.name} {'/'.join(self._where)}")
        view = reading(found, self._route)
        seen = Seen(found, await self._sets(found), [])
        if not (progress := self._progress(seen, view)).arrived:
            seen = seen._replace(pods=await self._pods(found))
            progress = self._progress(seen, view)
        available = count(found, "availableReplicas")
        return RouteState(
            percent=view.percent,
            in_force=view.percent if progress.arrived and not view.drift else None,
            epoch=view.mark.epoch,
            owner=view.mark.owner,
            healthy={"candidate": available, "stable": available},
            finest=100 if self._route.deployment else stateful_set.finest(replicas(found)),
            moving=None if progress.arrived or view.drift else progress.words,
            failed=progress.failed if view.mark.owner and not view.drift else None,
            sides=sides(seen, self._route, view.record if view.mark.owner else Record(revision=view.record.revision)),
            problem=view.drift or self._problem(found, view, progress),
            proof=self._proof(view, progress) if progress.arrived and not view.drift else "",
        )

    async def write(self, write: Write) -> None:
        """See `ports.Router.write`; finishes even if the caller is cancelled.

        Raises:
            NotReady: another rollout of the workload is under way.
            Drifted: this very write was made before, and somebody has changed the workload since.
            Misconfigured: there is nothing to roll out, no way back is known, or no roll can begin; says why.
        """
        await finished(self._write(write))

    async def in_flight(self, pool: Pool) -> int | None:
        """Nobody tells: a pod that ends has its grace period for its requests."""
        del pool
        return None

    async def _write(self, write: Write) -> None:
        async def change(found: Json) -> list[Json] | None:
            mark = mark_of(found)
            fence(self._route, mark.epoch, mark.owner, write)
            revision = await self._revision(found) if begins(found, self._route, write) else None
            return desired(found, self._route, write, time.time(), revision)

        found = await rewrite(self._cluster, self._kind, self._where, change)
        if self._route.stateful_set and write.percent == 0:
            await self._free(found)

    async def _free(self, found: Json) -> None:
        """Delete the pods that would keep the way back for ever; once more at every attempt."""
        revision, until = recorded(mark_of(found)).revision, time.monotonic() + _SEEN_WITHIN_S
        # A pod that is deleted before the controller has seen stable's template would be made as it was.
        while revision is None or stateful_set.revision_of(found) != revision:
            if revision is None or time.monotonic() >= until:
                return
            await asyncio.sleep(_LOOK_AGAIN_S)
            found = await self._cluster.get(self._kind, *self._where, urgent=True) or found
        if not stateful_set.is_settled(found):
            for pod in stateful_set.stuck(found, await self._pods(found, urgent=True)):
                name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
                await self._cluster.delete(POD, self._route.namespace, name, uid=uid)

    async def _revision(self, found: Json) -> str | None:
        """What the pods are labelled with, as they are now."""
        if self._route.stateful_set:
            return stateful_set.revision_of(found)
        seen = Seen(found, await self._sets(found, urgent=True), [])
        return deployment.hash_of(deployment.set_of(seen, template_of(found)))

    async def _sets(self, found: Json, *, urgent: bool = False) -> list[Json]:
        if self._route.stateful_set:
            return []
        sets = await self._cluster.every(REPLICA_SET, self._route.namespace, selector_of(found), urgent=urgent)
        return owned_by(found, sets)

    async def _pods(self, found: Json, *, urgent: bool = False) -> list[Json]:
        """Pods of the workload; those of a Deployment are owned by its ReplicaSets and told by their hashes."""
        pods = await self._cluster.every(POD, self._route.namespace, selector_of(found), urgent=urgent)
        return owned_by(found, pods) if self._route.stateful_set else pods

    def _progress(self, seen: Seen, view: Reading) -> Progress:
        now = time.time()
        if self._route.deployment:
            return deployment.progress(seen, rising=view.percent > 0, since=view.mark.at, now=now)
        return stateful_set.progress(
            seen,
            percent=view.percent,
            stable=view.record.revision if view.mark.owner else None,
            paused=view.record.paused,
            since=view.mark.at,
            now=now,
        )

    def _problem(self, found: Json, view: Reading, progress: Progress) -> str | None:
        """Why nobody should begin here, or why it is not in force although nothing moves."""
        if view.mark.owner is not None:
            return None
        kind = deployment if self._route.deployment else stateful_set
        if objection := kind.objection(found):
            who = suspects(found, "f:spec", "f:paused") if is_paused(found) else ""
            return f"{objection}{who}"
        if is_under_way(found) or not progress.arrived:
            return f"a rollout of it is under way: {progress.words}"
        if view.percent == 100:
            return f"nothing to roll out: it runs {self._route.image} already"
        return None

    def _proof(self, view: Reading, progress: Progress) -> str:
        return f"{self._kind.name} {'/'.join(self._where)} of epoch {view.mark.epoch}: {progress.words}"
