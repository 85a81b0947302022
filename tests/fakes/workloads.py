"""Pods in memory: they come when a test lets them, and what is asked of them is counted.

It passes the contract of the real adapter (`tests/activities/workload/test_fake.py`): more pods and never fewer, an
older epoch and a foreign owner are refused, the same again is no write, an autoscaler is never overruled.
"""

import math
from dataclasses import dataclass, field

from activities.ports import Capacity, Write
from rollout.errors import Drifted, Misconfigured, NotReady, RouteOwned, RouterUnreachable, Superseded


@dataclass
class FakeWorkloads:
    """Candidate and stable.

    Attributes:
        replicas: pods that the candidate shall have; None if there is no such candidate.
        ready: ready pods of the candidate.
        stable: pods that stable shall have; None if there is no such stable.
        stable_ready: ready pods of stable; None: as many as it shall have.
        starts: whether pods that the candidate shall have become ready when they are looked at the next time.
        autoscaler: least and most pods, if one decides about the candidate.
        keep: whether the candidate's pods are kept after a way back.
        spare: pods of the candidate beyond its share, percent.
        reachable: whether pods can be counted and scaled.
        epoch: fence of the last write.
        owner: who holds the candidate.
        notes: told with every capacity.
        writes: what was written, oldest first.
    """

    replicas: int | None = 0
    ready: int = 0
    stable: int | None = 4
    stable_ready: int | None = None
    starts: bool = True
    autoscaler: tuple[int, int] | None = None
    keep: bool = False
    spare: float = 0
    reachable: bool = True
    epoch: int = 0
    owner: str | None = None
    notes: tuple[str, ...] = ()
    writes: list[Write] = field(default_factory=list)
    _percent: float = 0
    _given: int = 0
    _whole: int = 0
    _again: int = 0

    async def capacity(self) -> Capacity:
        """See `ports.Workloads.capacity`."""
        replicas, stable = self._both()
        lost = (f"the candidate has {replicas} pods, Sluice wants {self._given}",) if self._lost(replicas) else ()
        return self._counted(replicas, stable, self.notes + lost)

    async def prepare(self, write: Write) -> Capacity:
        """See `ports.Workloads.prepare`."""
        replicas, stable = self._both(release=write.release)
        self._fence(write)
        another = self.owner != write.owner or self._percent > write.percent
        whole = max(stable, 0 if another else self._whole)
        share = max(1, math.ceil(round(whole * write.percent / 100 * (1 + self.spare / 100), 9)))
        wants, notes = self._wanted(write, share, replicas)
        given = max(replicas, 0 if self.autoscaler else wants)
        if (self.epoch, self.owner, self._percent, replicas) != (*_mark(write), write.percent, given):
            self.writes.append(write)
        self.epoch, self.owner = _mark(write)
        self._percent, self._whole, self.replicas = write.percent, 0 if write.release else whole, given
        self._given = 0 if self.autoscaler else wants
        if self.ready < wants:
            told = f"{self.ready} of {wants} candidate pods are ready"
            self.ready = given if self.starts else self.ready
            raise NotReady(told)
        return self._counted(given, stable, notes)

    async def remove_candidate(self, write: Write) -> str:
        """See `ports.Workloads.remove_candidate`."""
        self._answer()
        if self.replicas is None:
            return "the candidate does not exist: nothing was to be removed"
        self._fence(write)
        before, left = self.replicas, self.replicas if self.keep or self.autoscaler else 0
        if (self.epoch, self.owner, self.replicas) != (*_mark(write), left):
            self.writes.append(write)
        self.epoch, self.owner = _mark(write)
        self.replicas, self.ready, self._percent, self._whole, self._given = left, min(self.ready, left), 0, 0, 0
        if self.keep:
            return f"the candidate keeps its {left} pods, as the spec says"
        return f"an autoscaler decides about its {left} pods" if self.autoscaler else f"scaled from {before} to 0"

    async def carries(self) -> float:
        """See `ports.Workloads.carries`."""
        self._answer()
        ready = (self.stable or 0) if self.stable_ready is None else self.stable_ready
        whole = max(self.stable or 0, 0 if self.replicas is None else self._whole)
        return min(100.0, math.floor(12_500 * ready / whole) / 100) if ready else 0

    def _both(self, *, release: bool = False) -> tuple[int, int]:
        self._answer()
        if self.replicas is None or (self.stable is None and not release):
            raise Misconfigured(f"there is no {'canary' if self.replicas is None else 'stable'}")
        return self.replicas, self.stable or 0

    def _answer(self) -> None:
        if not self.reachable:
            raise RouterUnreachable("pods cannot be counted")

    def _fence(self, write: Write) -> None:
        if self.epoch > write.epoch:
            raise Superseded(f"the candidate carries epoch {self.epoch}")
        if self.owner not in {None, write.owner}:
            raise RouteOwned(f"the candidate is held by {self.owner}")

    def _wanted(self, write: Write, share: int, replicas: int) -> tuple[int, tuple[str, ...]]:
        """Pods to wait for, and what may become scarce."""
        if write.release:
            return 0, ()
        if self.autoscaler:
            least, most = self.autoscaler
            short = f"{write.percent:g} % needs {share} pods, the autoscaler gives {most} at the most"
            return min(share, max(replicas, least, 1)), (short,) * (most < share)
        if (self.epoch, self._percent, self.owner) != (write.epoch, write.percent, write.owner):
            self._again = 0
        elif self._lost(replicas):
            if self._again == 3:
                raise Drifted("its pods were taken away every time")
            self._again += 1
        return share, ()

    def _lost(self, replicas: int) -> bool:
        return self.owner is not None and replicas < self._given

    def _counted(self, replicas: int, stable: int, notes: tuple[str, ...]) -> Capacity:
        return Capacity(
            candidate_ready=min(self.ready, replicas),
            candidate_desired=replicas,
            stable_ready=stable if self.stable_ready is None else self.stable_ready,
            stable_desired=stable,
            whole=max(stable, self._whole),
            epoch=self.epoch,
            owner=self.owner,
            notes=notes,
        )


def _mark(write: Write) -> tuple[int, str | None]:
    return write.epoch, None if write.release else write.owner
