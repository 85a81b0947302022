"""Two Deployments: the candidate's follows the percent, stable's is only looked at.

Only ever more pods while a rollout goes on, because pods that are taken away too early cost requests; none at its end,
by scaling and not by deleting, so that the next rollout finds its Deployment and nobody's manifest is recreated.
Replicas are written together with a mark, in one patch of the Deployment: its `scale` has no place for a mark.

How many pods all the traffic needs is what stable should have had at the most since the rollout began. Stable's number
of now would be wrong: an autoscaler takes its pods away as the traffic leaves.
"""

import asyncio
import time
from typing import NamedTuple

from activities.fence import fence
from activities.finishing import finished
from activities.kubernetes import (
    DEPLOYMENT,
    DISRUPTION_BUDGET,
    POD,
    POD_AUTOSCALER,
    Absent,
    Cluster,
    Json,
    Mark,
    guarded,
    mark_of,
    rewrite,
    written,
)
from activities.ports import Capacity, Write
from activities.workload import deployments as seen
from activities.workload.deployments import AGAIN, PODS, WHOLE, Autoscaler
from activities.workload.pods import selector, why
from rollout.errors import Drifted, Misconfigured, NotPermitted, NotReady, SluiceError
from rollout.workloads import KubernetesDeploymentWorkload

_FIGHTS = 3  # how often pods that others took away are given again, for one percent


class Step(NamedTuple):
    """What the candidate needs for one percent.

    Attributes:
        pods: usable ones that it needs; 0 if that does not matter any more.
        replicas: that it shall have; what it has if nothing is to be changed.
        mark: to be left.
    """

    pods: int
    replicas: int
    mark: Mark


def step(found: Json, stable: Json, scaler: Autoscaler | None, write: Write, spare: float) -> Step:
    """What is to be done so that the candidate can carry a percent.

    Args:
        found: the candidate's Deployment.
        stable: stable's.
        scaler: who decides the candidate's replicas, None if nobody else does.
        write: the percent.
        spare: pods beyond the share, percent.

    Raises:
        Drifted: others took its pods away again and again.
    """
    whole = whole_of(found, stable, write)
    now, wants = seen.replicas(found), seen.needed(write.percent, whole, spare)
    if write.release:
        # How many all traffic needs is still asked for if the rollout goes back while stable drains.
        return Step(0, now, written(write, time.time(), **{WHOLE: whole}))
    if scaler:
        # It decides by load, and there is none before the traffic comes: what it decided has to do.
        wants = min(wants, max(now, scaler.least, 1))
        return Step(wants, now, written(write, time.time(), **{WHOLE: whole}))
    again = _again(found, write)
    kept = {PODS: wants, WHOLE: whole, **({AGAIN: again} if again else {})}
    return Step(wants, max(now, wants), written(write, time.time(), **kept))


def whole_of(found: Json, stable: Json, write: Write | None = None) -> int:
    """Pods that all the traffic needs.

    Args:
        found: the candidate's Deployment, whose mark remembers.
        stable: stable's Deployment.
        write: what is about to be written; percents rise within a rollout, so a lower one begins another.
    """
    mark = mark_of(found)
    another = write is not None and (mark.owner != write.owner or (mark.percent or 0) > write.percent)
    return max(seen.replicas(stable), 0 if another else seen.remembered(found, WHOLE))


class KubernetesDeployments:
    """Candidate and stable of one namespace; see `ports.Workloads`."""

    def __init__(self, workload: KubernetesDeploymentWorkload, cluster: Cluster) -> None:
        """Take the workload and its cluster."""
        self._workload, self._cluster = workload, cluster
        self._place = f"Deployment {workload.namespace}/{workload.candidate}"

    async def capacity(self) -> Capacity:
        """See `ports.Workloads.capacity`."""
        found, stable, scalers, budgets = await asyncio.gather(
            self._there(self._workload.candidate), self._there(self._workload.stable), self._scalers(), self._budgets()
        )
        notes = seen.notes(found, stable, scalers)
        if isinstance(budgets, str):
            notes.append(budgets)
        else:
            notes += [note for each in (found, stable) for note in seen.blocked(budgets, each)]
        return _capacity(found, stable, tuple(notes))

    async def prepare(self, write: Write) -> Capacity:
        """See `ports.Workloads.prepare`; a change that has begun is finished even if the caller is cancelled."""
        stable, scalers = await asyncio.gather(self._stable(write), self._scalers())
        scaler = seen.autoscaler(scalers, self._workload.candidate)
        found, wants = await finished(self._scaled(stable, scaler, write))
        pods = seen.pods(found)
        if pods.usable < wants:
            reason = pods.waits_for or await self._why(found, scaler)
            told = f"{pods.usable} of {wants} candidate pods are ready ({self._place}{': ' * bool(reason)}"
            raise NotReady(f"{told}{reason.rstrip('.')})")
        return _capacity(found, stable, tuple(self._short(found, stable, scaler, write)))

    async def remove_candidate(self, write: Write) -> str:
        """See `ports.Workloads.remove_candidate`; finishes even if the caller is cancelled."""
        return await finished(self._removed(write))

    async def carries(self) -> float:
        """See `ports.Workloads.carries`."""
        stable, found = await asyncio.gather(
            self._cluster.get(DEPLOYMENT, self._workload.namespace, self._workload.stable, urgent=True),
            self._candidate(),
        )
        if stable is None:
            return 0
        whole = whole_of(found, stable) if found else seen.replicas(stable)
        return seen.carried(seen.pods(stable).ready, whole)

    async def _scaled(self, stable: Json, scaler: Autoscaler | None, write: Write) -> tuple[Json, int]:
        """The candidate as it was just before it was written, and how many pods it needs.

        As it was, because every patch makes the status lag behind. Nothing is lost: a patch that only leaves a mark
        changes no pods, and one that gives more found too few of them.
        """
        before: list[tuple[Json, Step]] = []

        async def change(found: Json) -> list[Json] | None:
            mark = mark_of(found)
            fence(self._place, mark.epoch, mark.owner, write)
            todo = step(found, stable, scaler, write, self._workload.spare)
            before.append((found, todo))
            return _patch(found, todo.mark, todo.replicas)

        await rewrite(self._cluster, DEPLOYMENT, self._where, change)
        found, todo = before[-1]
        return found, todo.pods

    async def _removed(self, write: Write) -> str:
        wanted = self._workload.remove_candidate
        scaler = seen.autoscaler(await self._scalers(), self._workload.candidate) if wanted else None
        told: list[str] = []

        async def change(found: Json) -> list[Json] | None:
            mark = mark_of(found)
            fence(self._place, mark.epoch, mark.owner, write)
            now = seen.replicas(found)
            if not wanted:
                told.append(f"{self._place} keeps its {now} replicas, as the spec says")
            elif scaler:
                told.append(f"{self._place} keeps its {now} replicas: {scaler} decides about them")
            else:
                told.append(f"{self._place} was scaled from {now} to 0" if now else f"{self._place} has 0 replicas")
                now = 0
            return _patch(found, written(write, time.time()), now)

        try:
            await rewrite(self._cluster, DEPLOYMENT, self._where, change)
        except Absent:
            return f"{self._place} does not exist: nothing was to be removed"
        return told[-1]

    async def _why(self, found: Json, scaler: Autoscaler | None) -> str:
        """What keeps the candidate's pods from being ready, as far as anybody says."""
        if scaler and not seen.replicas(found):
            return f"0 replicas switch {scaler} off: scale it to at least 1 by hand"
        try:
            return why(await self._cluster.every(POD, self._workload.namespace, selector(found)))
        except NotPermitted as error:
            return f"why is not known: {error}"
        except SluiceError:  # only words depend on it
            return ""

    def _short(self, found: Json, stable: Json, scaler: Autoscaler | None, write: Write) -> list[str]:
        """What may become scarce, in words."""
        wants = seen.needed(write.percent, whole_of(found, stable, write), self._workload.spare)
        return [told] if scaler and (told := seen.too_few(scaler, write.percent, wants)) else []

    async def _there(self, name: str) -> Json:
        found = await self._cluster.get(DEPLOYMENT, self._workload.namespace, name)
        if found is None:
            raise Misconfigured(f"there is no Deployment {self._workload.namespace}/{name}; create it, or name another")
        return found

    async def _stable(self, write: Write) -> Json:
        """Stable's Deployment; one without pods if it is gone and only the mark is to be taken off."""
        try:
            return await self._there(self._workload.stable)
        except Misconfigured:
            if write.release:
                return {"metadata": {"name": self._workload.stable}, "spec": {"replicas": 0}}
            raise

    async def _candidate(self) -> Json | None:
        """The candidate for what it remembers; the way back does not depend on it."""
        try:
            return await self._cluster.get(DEPLOYMENT, *self._where, urgent=True)
        except SluiceError:
            return None

    async def _scalers(self) -> list[Json]:
        return await self._cluster.every(POD_AUTOSCALER, self._workload.namespace)

    async def _budgets(self) -> list[Json] | str:
        """Disruption budgets, or why they are not known: nothing depends on them."""
        try:
            return await self._cluster.every(DISRUPTION_BUDGET, self._workload.namespace)
        except NotPermitted as error:
            return f"disruption budgets are not looked at: {error}"

    @property
    def _where(self) -> tuple[str, str]:
        return self._workload.namespace, self._workload.candidate


def _capacity(found: Json, stable: Json, notes: tuple[str, ...]) -> Capacity:
    candidate, other, mark = seen.pods(found), seen.pods(stable), mark_of(found)
    return Capacity(
        candidate_ready=candidate.usable,
        candidate_desired=candidate.desired,
        stable_ready=other.ready,
        stable_desired=other.desired,
        whole=whole_of(found, stable),
        epoch=mark.epoch,
        owner=mark.owner,
        notes=notes,
    )


def _patch(found: Json, mark: Mark, replicas: int) -> list[Json] | None:
    """The patch that leaves a mark and so many replicas; None if both are there already."""
    scale = [{"op": "add", "path": "/spec/replicas", "value": replicas}]
    if replicas != seen.replicas(found):
        return guarded(found, mark, *scale)
    return None if mark.same_as(mark_of(found)) else guarded(found, mark)


def _again(found: Json, write: Write) -> int:
    """How often pods that Sluice gave for this percent were taken away; more than it fights for is drift."""
    mark, before = mark_of(found), seen.remembered(found, AGAIN)
    if (mark.epoch, mark.percent, mark.owner) != (write.epoch, write.percent, write.owner):
        return 0
    lost = seen.scaled_down(found)
    if lost is None:
        return before
    if before >= _FIGHTS:
        raise Drifted(f"{lost}; it gave them {before} times again, they were taken away every time")
    return before + 1
