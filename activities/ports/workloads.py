"""The pods behind a place where traffic is split."""

from typing import Protocol

from activities.ports.routing import Write
from rollout.base import Told


class Capacity(Told):
    """What the pods of a service can take.

    Attributes:
        candidate_ready: pods of the candidate that may get traffic.
        candidate_desired: pods that it shall have.
        stable_ready: ready pods of stable.
        stable_desired: pods that it shall have now.
        whole: pods that all the traffic needs: the most that stable should have had since this rollout began.
        epoch: fence that the candidate carries; 0 if none. A rollout begins with newer ones, whatever its routes carry.
        owner: workflow ID that holds the candidate, None if nobody.
        notes: what an operator should know: who else decides the number of pods, and what that will do.
    """

    candidate_ready: int
    candidate_desired: int
    stable_ready: int
    stable_desired: int
    whole: int
    epoch: int = 0
    owner: str | None = None
    notes: tuple[str, ...] = ()


class Workloads(Protocol):
    """The pods behind a route's two pools."""

    async def capacity(self) -> Capacity:
        """Count pods, and look who else scales them; writes nothing.

        Raises:
            RouterUnreachable: they cannot be counted now.
            NotPermitted: the worker may not look; says what at.
            Misconfigured: candidate or stable does not exist.
        """
        ...

    async def prepare(self, write: Write) -> Capacity:
        """See to it that the candidate can carry a percent: more pods if it needs them, never fewer.

        Fenced like a route, by a mark on the candidate. Called again until it no longer raises, then the percent may be
        raised. With `release`, at the end of a promoted rollout, it takes the owner's mark off.

        Args:
            write: the percent that will be written to the routes, with their epoch and owner.

        Raises:
            NotReady: not all pods that it needs are ready yet; says how many are, and what is known about why.
            Drifted: others take its pods away again and again.
            Superseded: the candidate carries a newer epoch.
            RouteOwned: another owner holds it.
            RouterUnreachable: it could not be read or written.
            NotPermitted: the worker may not; says what.
            Misconfigured: candidate or stable does not exist.
        """
        ...

    async def remove_candidate(self, write: Write) -> str:
        """Take the candidate's pods away, once no traffic can reach them; it stays, without pods.

        Args:
            write: epoch and owner; its percent is 0.

        Returns:
            What was done, or why nothing was, in words.

        Raises:
            Superseded: the candidate carries a newer epoch.
            RouteOwned: another owner holds it.
            RouterUnreachable: it could not be read or written.
            NotPermitted: the worker may not; says what.
        """
        ...

    async def carries(self) -> float:
        """Percent of all traffic that stable's ready pods can carry now, 0 to 100 in steps of 0.01.

        Advice for a way back, which must not wait for ever for it to grow: others may have made stable smaller for
        good, and a bad candidate is worse than a busy stable.

        Raises:
            RouterUnreachable: they cannot be counted now.
            NotPermitted: the worker may not look.
        """
        ...
