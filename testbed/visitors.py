"""Who sends the load: a crowd that keeps nothing, or users who keep cookies and remember which version they saw.

Users exist to prove that a router keeps them: a user has one request under way at a time, as nobody can show a cookie
before it was given, and the versions that each one saw stand in the order of the visits, repetitions left out. They
go into a file beside the report (`load.json` → `load.users.json`), so that the report stays as small as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable

CROWD: Final = 10_000  # names that a crowd goes by


class Visitor:
    """One user.

    Attributes:
        name: What `X-User` says.
        versions: Versions seen, in order, only the changes: `["stable", "canary"]`.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.versions: list[str] = []
        self._cookies: dict[str, str] = {}

    def fields(self) -> list[str]:
        """Header lines that say who asks."""
        lines = [f"X-User: {self.name}"]
        if self._cookies:
            lines.append("Cookie: " + "; ".join(f"{name}={value}" for name, value in self._cookies.items()))
        return lines

    def was_told(self, version: str | None, cookies: Iterable[str]) -> None:
        """Keep the cookies of an answer, and the version if it is another than at the last visit.

        Args:
            version: The answer's `X-Version`, None for an answer of the proxy's own.
            cookies: Values of `Set-Cookie`; of the attributes only `Max-Age=0` counts.
        """
        for line in cookies:
            pair, *attributes = line.split(";")
            name, _, value = pair.strip().partition("=")
            if "max-age=0" in (attribute.strip().lower() for attribute in attributes):
                self._cookies.pop(name, None)
            else:
                self._cookies[name] = value
        if version is not None and self.versions[-1:] != [version]:
            self.versions.append(version)


class Visitors:
    """All users, or a crowd."""

    def __init__(self, users: int, draw: random.Random) -> None:
        self._draw = draw
        self._all = [Visitor(f"u{number}") for number in range(users)]
        self._at_home = list(self._all)

    def leave(self) -> Visitor | None:
        """Somebody who has no request under way, by chance; None if everybody has one."""
        if not self._all:
            return Visitor(f"u{self._draw.randrange(CROWD)}")
        if not self._at_home:
            return None
        place = self._draw.randrange(len(self._at_home))
        self._at_home[place], self._at_home[-1] = self._at_home[-1], self._at_home[place]
        return self._at_home.pop()

    def come_back(self, visitor: Visitor) -> None:
        """The request has ended, well or not."""
        if self._all:
            self._at_home.append(visitor)

    def versions(self) -> dict[str, list[str]]:
        """Name → versions seen, of everybody who has seen any; nothing for a crowd."""
        return {visitor.name: visitor.versions for visitor in self._all if visitor.versions}
