"""The fence before every write: what comes too late, or is somebody else's, is kept off."""

from typing import Protocol

from rollout.errors import RouteOwned, Superseded


class Fenced(Protocol):
    """What wants to write."""

    @property
    def epoch(self) -> int:
        """Its fence; only ever grows."""

    @property
    def owner(self) -> str:
        """Who will hold the route."""


def fence(place: object, epoch: int, owner: str | None, write: Fenced) -> None:
    """Keep a write off a route.

    Args:
        place: the route, in words.
        epoch: fence of the newest write that the route carries; 0 if none.
        owner: who holds it; None if nobody.
        write: what is about to be written.

    Raises:
        Superseded: the route carries a newer epoch.
        RouteOwned: another owner holds the route.
    """
    if epoch > write.epoch:
        raise Superseded(f"{place} carries epoch {epoch}: a write of epoch {write.epoch} is too late")
    if owner not in {None, write.owner}:
        raise RouteOwned(f"{place} is held by {owner}, not {write.owner}: end or restore that rollout")
