"""No router: the Service shares its connections among ready pods, so the number of pods is the weight.

The mark is on stable's Deployment and written before anything moves, so a move that stopped half-way is gone on with by
whoever comes next. The candidate's carries the epoch, too: a late attempt of an older one meets a conflict there, and
cannot scale up what a way back has left at 0. That holds because it reads the candidate before the mark.

A write takes one step and says `NotReady` while pods come up; the way back follows them for some seconds itself.
A PodDisruptionBudget has no say in scaling. What the candidate's containers do is the gates' business.
"""

import asyncio
import time
from contextlib import suppress

from activities.fence import fence
from activities.finishing import finished
from activities.kubernetes import (
    DEPLOYMENT,
    POD,
    POD_AUTOSCALER,
    SERVICE,
    Absent,
    Cluster,
    Conflict,
    Json,
    Mark,
    guarded,
)
from activities.ports import Pool, RouteState, Write
from activities.routers.replicas.deployments import Pods, complaints, pods
from activities.routers.replicas.fitness import scaled_by, unfit
from activities.routers.replicas.split import finest
from activities.routers.replicas.standing import Standing, Step, arrived, kept, step
from rollout.errors import Misconfigured, NotReady, RouterUnreachable, SluiceError
from rollout.routes import ReplicasRoute

_TRIES, _PAUSE_S = 10, 0.03
_FOLLOW_S, _LOOK_S = 8.0, 0.2  # the way back: how long one write follows stable's pods, and how often it looks


class ReplicasRouter:
    """Two Deployments behind one Service."""

    def __init__(self, route: ReplicasRoute, cluster: Cluster) -> None:
        """Take the route and its cluster."""
        self._route, self._cluster = route, cluster

    async def read(self) -> RouteState:
        """See `ports.Router.read`."""
        endpoints, now = await asyncio.gather(
            self._cluster.ready_endpoints(self._route.namespace, self._route.service), self._standing()
        )
        why_not = now.unproven() or (self._strangers(now, endpoints) if now.percent else None)
        return RouteState(
            percent=now.percent,
            in_force=None if why_not else now.percent,
            epoch=now.epoch,
            owner=now.owner,
            healthy=_healthy(now),
            finest=finest(now.total),
            problem=await self._problem(now, why_not),
            proof="" if why_not else now.proof(),
        )

    async def write(self, write: Write) -> None:
        """See `ports.Router.write`; a step that has begun is finished even if the caller is cancelled.

        Raises:
            NotReady: as many pods as are wanted are not ready yet; what they make possible was done. Write it again.
        """
        until = time.monotonic() + (_FOLLOW_S if write.percent == 0 else 0)
        while waits := await finished(self._step(write)):
            if time.monotonic() >= until:
                raise NotReady(f"{self._route}: {waits}")
            await asyncio.sleep(_LOOK_S)

    async def in_flight(self, pool: Pool) -> int | None:
        """Never known: only the pods could tell."""
        del pool
        return None

    async def _step(self, write: Write) -> str | None:
        """Do what can be done now; answers with what has to be waited for, None if nothing."""
        async with self._cluster.alone("replicas", self._route.namespace, self._route.stable):
            for attempt in range(_TRIES):
                try:
                    return await self._moved(write)
                except (Conflict, Absent):  # a status that changes is a change, too
                    await asyncio.sleep(_PAUSE_S * attempt)
        raise RouterUnreachable(f"{self._route}: others were changing its Deployments at {_TRIES} tries")

    async def _moved(self, write: Write) -> str | None:
        now = await self._standing(urgent=True)
        for each in now:
            fence(self._route, each.mark.epoch, each.mark.owner, write)
        if write.percent and not write.release and not _done(now, write):
            await self._refuse_unfit(now)
        wanted = step(now, write, time.time())
        now = await self._grown(now, wanted)
        now, waits = await self._shrunk(now, wanted)
        if waits is None and now.mark != arrived(wanted.mark):
            await self._scaled(now.stable, arrived(wanted.mark))
        return waits

    async def _grown(self, now: Standing, wanted: Step) -> Standing:
        """Mark both, the one with the mark first, and scale up what has to grow."""
        candidate, stable = now
        more = wanted.aim.stable if wanted.aim.stable > stable.wanted else None
        if stable.mark != wanted.mark or more is not None:
            stable = await self._scaled(stable, wanted.mark, more)
        more = wanted.aim.candidate if wanted.aim.candidate > candidate.wanted else None
        if candidate.found and (candidate.mark.epoch < wanted.mark.epoch or more is not None):
            candidate = await self._scaled(candidate, _fenced(wanted), more)
        return Standing(candidate, stable)

    async def _shrunk(self, now: Standing, wanted: Step) -> tuple[Standing, str | None]:
        """Scale down what the other side can do without; what has to be waited for, None if nothing."""
        candidate, stable = now
        waits = None
        if stable.wanted > wanted.aim.stable:
            if candidate.ready < wanted.aim.candidate:
                return now, _ready(candidate, wanted.aim.candidate) + await self._complaints(candidate)
            is_last = candidate.wanted == wanted.aim.candidate
            mark = arrived(wanted.mark) if is_last else wanted.mark
            stable = await self._scaled(stable, mark, wanted.aim.stable)
        if candidate.wanted > wanted.aim.candidate:
            left = kept(now, wanted, max(0.0, time.time() - wanted.mark.at))
            if left < candidate.wanted:
                candidate = await self._scaled(candidate, _fenced(wanted), left)
            if left > wanted.aim.candidate:
                waits = f"{_ready(stable, wanted.aim.stable)}; {left} of {candidate.name} stay until more are"
        return Standing(candidate, stable), waits

    async def _scaled(self, of: Pods, mark: Mark, replicas: int | None = None) -> Pods:
        """Patch one Deployment: its mark and, with a number, its replicas; only if nobody was quicker."""
        operations: list[Json] = [] if replicas is None else [_replicas(replicas)]
        patch = guarded(of.found or {}, mark, *operations)
        return pods(of.name, await self._cluster.patch(DEPLOYMENT, self._route.namespace, of.name, patch))

    async def _complaints(self, of: Pods) -> str:
        """Why pods are not ready, as the end of a sentence."""
        labels = ((of.found or {}).get("spec", {}).get("selector") or {}).get("matchLabels") or {}
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        with suppress(SluiceError):  # what could be done was done, and the reason is only for people
            return complaints(await self._cluster.every(POD, self._route.namespace, selector)) if selector else ""
        return ""

    async def _standing(self, *, urgent: bool = False) -> Standing:
        """Both Deployments, the candidate's first: see the module.

        Raises:
            Misconfigured: there is no Deployment of stable.
        """
        namespace, names = self._route.namespace, (self._route.candidate, self._route.stable)
        found = [await self._cluster.get(DEPLOYMENT, namespace, name, urgent=urgent) for name in names]
        candidate, stable = map(pods, names, found)
        if stable.found is None:
            raise Misconfigured(f"{self._route}: there is no Deployment {namespace}/{stable.name} (stable)")
        return Standing(candidate, stable)

    async def _problem(self, now: Standing, why_not: str | None) -> str | None:
        """What an operator should know; a rollout that runs meets the rest at its next raise."""
        if now.drift() and (scaler := scaled_by(now, await self._autoscalers())):
            return f"{why_not}; {scaler}"
        if why_not or now.owner:
            return why_not
        return await self._unfit(now) or now.candidate.rolling or now.stable.rolling

    async def _refuse_unfit(self, now: Standing) -> None:
        """Refuse a raise that could not be done, or not now."""
        if wrong := await self._unfit(now):
            raise Misconfigured(f"{self._route}: {wrong}; nothing was written")
        if rolling := now.candidate.rolling or now.stable.rolling:
            raise NotReady(f"{self._route}: {rolling}; nothing was written")

    async def _unfit(self, now: Standing) -> str | None:
        service, autoscalers = await asyncio.gather(
            self._cluster.get(SERVICE, self._route.namespace, self._route.service), self._autoscalers()
        )
        return unfit(self._route, now, service, autoscalers)

    async def _autoscalers(self) -> list[Json]:
        return await self._cluster.every(POD_AUTOSCALER, self._route.namespace)

    def _strangers(self, now: Standing, endpoints: int | None) -> str | None:
        """How the Service sees others than the pods of both; None if it sees them all, and no others."""
        ready = now.candidate.ready + now.stable.ready
        if endpoints == ready:
            return None
        seen = "is not there" if endpoints is None else f"has {endpoints} ready pods"
        return f"Service {self._route.place} {seen}, the two Deployments have {ready}"


def _done(now: Standing, write: Write) -> bool:
    """Whether a write has nothing to do but to clean up behind itself."""
    return now.there and (now.mark.epoch, now.mark.owner, now.mark.percent) == (write.epoch, write.owner, write.percent)


def _healthy(now: Standing) -> dict[Pool, int]:
    """Pool → ready pods; a candidate without pods counts as one that can have some, unless it is known to fail."""
    healthy: dict[Pool, int] = {"stable": now.stable.ready}
    if now.candidate.found:
        can_start = now.candidate.wanted == 0 and not now.candidate.failing
        healthy["candidate"] = 1 if can_start else now.candidate.ready
    return healthy


def _fenced(wanted: Step) -> Mark:
    """The mark of the candidate's Deployment: a fence, and nobody's."""
    return Mark(epoch=wanted.mark.epoch, at=wanted.mark.at)


def _replicas(count: int) -> Json:
    return {"op": "add", "path": "/spec/replicas", "value": count}


def _ready(of: Pods, count: int) -> str:
    """`3 of 4 pods of checkout are ready`."""
    return f"{of.ready} of {count} pods of {of.name} are ready"
