"""What adapters share: one of each thing that is costly to open or must be paced together, such as a client of an API.

An adapter is made anew for every activity; a connection to a machine, a session with an API and the pace at which that
may be asked are not.
"""

from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, Protocol, TypeVar

import httpx

from rollout.errors import Misconfigured


class Closable(Protocol):
    """Something to be closed when the worker ends."""

    async def aclose(self) -> None:
        """Close it."""
        ...


class Connecting(Protocol):
    """Whatever of a spec names a connection: a route, a flag, a workload."""

    connects_to: ClassVar[str]

    @property
    def connection(self) -> str:
        """Its name in the worker's settings."""
        ...


T = TypeVar("T", bound=Closable)
C = TypeVar("C")


class Shared:
    """One for a worker, or for a command that connects by itself."""

    def __init__(self, http: httpx.AsyncClient, threads: ThreadPoolExecutor) -> None:
        """Take a client that follows no redirects and knows no proxies, and the threads for clients that block."""
        self.http, self.threads = http, threads
        self._made: dict[Hashable, Any] = {}

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """What was made for a key, made now if it is the first time.

        Args:
            key: a connection's settings, or a part of them.
            make: makes it; opens nothing yet that would have to be awaited.
        """
        if key not in self._made:
            self._made[key] = make()
        found: T = self._made[key]
        return found

    async def aclose(self) -> None:
        """Close everything that was made."""
        for each in self._made.values():
            await each.aclose()
        self._made.clear()


def of_kind(wanted: type[C], connection: object, by: Connecting, what: str) -> C:
    """A connection of the settings, if it is of the kind that is wanted.

    Args:
        wanted: its class.
        connection: of the name that the spec gives, whatever kind it is.
        by: what names it.
        what: what that is, in a word or two.

    Raises:
        Misconfigured: it is of another kind.
    """
    if isinstance(connection, wanted):
        return connection
    kind, wants = getattr(connection, "kind", "unknown"), by.connects_to
    raise Misconfigured(f"connection {by.connection!r} is of kind {kind}, the {what} wants {wants}")
