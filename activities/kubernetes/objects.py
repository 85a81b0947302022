"""Objects as the API server tells them: plain JSON, so that fields which are newer than us stay as they are."""

from collections.abc import Iterable
from typing import Any

from rollout.errors import Misconfigured

Json = dict[str, Any]
"""An object, or a part of one."""


def escaped(key: str) -> str:
    """A key as a step of a JSON pointer (RFC 6901, section 3)."""
    return key.replace("~", "~0").replace("/", "~1")


def found_in(entries: Iterable[Json], place: str | int, what: str) -> tuple[int, Json]:
    """An entry of a list, by its name or its position.

    Args:
        entries: the list.
        place: a name, or a position from 0.
        what: of which list, for the complaint: `HTTPRoute shop/checkout has no rule`.

    Raises:
        Misconfigured: there is none, or two have the name.
    """
    every = list(enumerate(entries))
    if isinstance(place, int):
        fitting = [each for each in every if each[0] == place]
    else:
        fitting = [each for each in every if each[1].get("name") == place]
    if len(fitting) == 1:
        return fitting[0]
    known = ", ".join(str(entry.get("name", position)) for position, entry in every) or "none"
    raise Misconfigured(f"{what} {place!r}{' only once' if fitting else ''}; there are: {known}")
