"""What a part is: a name, how to recognise it, how to have it."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """One thing that the project runs on.

    Attributes:
        name: What `--only` calls it.
        what: What it is for, for `--list`.
        version: Returns the version in place, or nothing when there is none or another is wanted.
        obtain: Puts it in place. Raises `UnavailableError` when it cannot be had.
        needs: Parts that must be in place before.
        optional: Whether the project does without it; in CI (`CI` set) nothing is optional.
    """

    name: str
    what: str
    version: Callable[[], str | None]
    obtain: Callable[[], None]
    needs: tuple[str, ...] = ()
    optional: bool = False
