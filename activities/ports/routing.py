"""A place where traffic is split."""

from typing import Literal, Protocol

from pydantic import Field

from rollout.base import Told

Pool = Literal["candidate", "stable"]


class RouteState(Told):
    """What a route is, as the router itself shows it.

    Attributes:
        percent: percent on the candidate in the written configuration, 0 to 100.
        in_force: percent that the running router proves, None while it shows anything else than what is written.
        epoch: fence of the last write Sluice made; 0 if none.
        owner: workflow ID that holds the route, None if nobody.
        forced: whether the forced-header rules are there.
        healthy: pool → members able to take traffic; a pool that the router does not know is missing here.
        finest: smallest percent above 0 that the router can send to either pool as it is now.
        proves_after_s: seconds that pass after a write, at the least, until it can be proven.
        settles_after_s: seconds after which everybody has a change that is proven, because flags are asked
            for now and then; 0 where it is there at once.
        drains_after_s: seconds that pass, at the least, until it can be said that a pool without traffic has drained.
        moving: what a router that moves traffic by itself, pod by pod, is still doing towards what is written, in
            words; not a problem: gates are judged meanwhile, and the bake begins when it has arrived.
        failed: why such a router will never arrive by itself; the candidate is to blame.
        sides: pool → what the metrics of its pods are labelled with, where the router knows it (a pod template's hash).
        problem: why it is not in force, in the router's words where it has any.
        proof: what the router shows, as words for the history.
    """

    percent: float
    in_force: float | None
    epoch: int = 0
    owner: str | None = None
    forced: bool = False
    healthy: dict[Pool, int] = Field(default_factory=dict)
    finest: float = 0.01
    proves_after_s: float = 0
    settles_after_s: float = 0
    drains_after_s: float = 0
    moving: str | None = None
    failed: str | None = None
    sides: dict[Pool, str] = Field(default_factory=dict)
    problem: str | None = None
    proof: str = ""


class Write(Told):
    """One write to a route.

    Attributes:
        percent: wanted percent on the candidate.
        epoch: fence: refused if the route carries a newer one.
        owner: who will hold the route afterwards; the mark of nobody if `release`.
        header: whether the forced-header rules shall be there (if the route asks for them at all).
        release: take the owner's mark off; the epoch stays as a fence.
        pause: stay where the traffic is now, for routers that move it by themselves; others ignore it.
    """

    percent: float
    epoch: int
    owner: str
    header: bool = True
    release: bool = False
    pause: bool = False


class Router(Protocol):
    """One place where traffic is split."""

    async def read(self) -> RouteState:
        """Read what is written and what is in force.

        Raises:
            RouterUnreachable: the admin interface or the configuration cannot be read.
            Misconfigured: what is there is not a configuration this adapter understands; says where.
        """
        ...

    async def write(self, write: Write) -> None:
        """Write once; proof is the caller's business (`read` until it is in force).

        Fenced and atomic: a reader sees the old or the new configuration, and an older epoch never replaces a newer.

        Raises:
            Superseded: the route carries a newer epoch.
            RouteOwned: another owner holds the route.
            Drifted: a flag that was switched off since the same write; it stays off.
            RouteRejected: the router refused the configuration; the previous one is back in place.
            RouterUnreachable: it could not be written, or only in part: what was written is told. Worth another try.
            NotReady: the pool that would get more cannot carry it yet; nothing was raised.
            NotPermitted: the worker may not write it.
            Misconfigured: a pool or a place that the router does not know, or a percent that it cannot send.
        """
        ...

    async def in_flight(self, pool: Pool) -> int | None:
        """Requests that a pool is serving right now; None if this kind of router can never tell.

        Raises:
            RouterUnreachable: the admin interface does not answer.
        """
        ...
