"""A feature flag, which is a place where users are split, and a switch."""

from typing import Protocol

from activities.ports.routing import Router, RouteState, Write


class FlagState(RouteState):
    """What a flag is; its percent counts users, and is 0 while it is switched off, if off means stable's variation.

    Attributes:
        on: whether it is switched on in this environment.
        problem: also, with `in_force` 0, why no rollout could raise it. While it is off, nothing about its share keeps
            `in_force` from being 0.
        locked: why `turn_off` would not work, could not be proven, or would not mean stable's variation (an approval
            is required, a permission or the off variation is missing), as a sentence. What only keeps a percent from
            being placed is a `problem`.
        changed_by: while it is off, who switched it off last; else who changed it last. None if nobody knows.
        off_since_ms: when it was switched off, Unix milliseconds; None while it is on, or if nobody knows for sure.
    """

    on: bool
    locked: str | None = None
    changed_by: str | None = None
    off_since_ms: int | None = None


class FlagService(Router, Protocol):
    """One feature flag in one environment: a route whose percent counts users, and which can be switched off.

    `in_force` is what applications are given: proven by evaluating the flag for a set of keys, not by reading back
    what was written. A flag serves no requests: `in_flight` is 0.
    """

    async def read(self) -> FlagState:
        """See `Router.read`; both variations that the flag has are pools with one healthy member.

        Raises:
            RouterUnreachable: the service does not answer.
            Misconfigured: no such flag, or one that this adapter does not understand; says what to change.
            NotPermitted: the token may not read it.
        """
        ...

    async def write(self, write: Write) -> None:
        """See `Router.write`; a percent above 0 switches on what the rollout found off, and never anything else.

        A flag that carries the mark of the write's owner and is off was switched off by somebody, unless that owner
        found it off and has not raised it since. It stays off: a raise is refused whatever its epoch. `release` is
        accepted: the percent is written behind the switch, for whoever switches it on again, and the owner's mark is
        taken off; the state is then off, 0 % and in force.

        Raises:
            Drifted, RouteRejected: somebody switched it off; nothing was written.
        """
        ...

    async def turn_off(self, why: str) -> bool:
        """Switch it off for everybody, at once; no other setting is changed, and off already is fine.

        It needs no fence: nobody turns it on again but a person.

        Args:
            why: for the service's own log of changes, one line; no secret is in it.

        Returns:
            Whether this call switched it off, or may have; False if it was off already and nothing was written.

        Raises:
            RouterUnreachable: it could not be written.
            Throttled: the service wants to be asked later.
            RouteRejected: the service refused the change; nothing was written.
            NotPermitted: the token may not, or an approval is required.
            Misconfigured: no such flag, or off would not mean stable's variation.
        """
        ...
