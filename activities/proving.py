"""Looking until what was written is shown in force: the one loop behind every proof."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

from activities.ports import RouteState
from rollout.errors import NotProven, RouterUnreachable

LOOK_AGAIN_SECONDS = 0.05
MOST_BETWEEN_LOOKS_SECONDS = 2.0

S = TypeVar("S", bound=RouteState)


async def proven(
    look: Callable[[], Awaitable[S]],
    missing: Callable[[S], str | None],
    what: str,
    within: timedelta,
    *,
    not_before_s: float = 0,
) -> S:
    """Look until nothing is missing.

    Args:
        look: reads the state; unreachable is no end.
        missing: why a state does not prove it yet, None if it does; what it raises ends the looking.
        what: what is not proven, for the error: `<what> after 30 s: <why>`.
        within: since now; looked at once at least.
        not_before_s: when it can be proven at the earliest, seconds from now: where nothing confirms a write, looking
            earlier proves nothing and costs everybody's requests.

    Raises:
        NotProven: it was not, with the last reason.
    """
    began = time.monotonic()
    until = began + within.total_seconds()
    await asyncio.sleep(min(not_before_s, within.total_seconds()))
    while True:
        believed = 0.0
        try:
            state = await look()
        except RouterUnreachable as error:
            problem = str(error)
        else:
            why = missing(state)
            if why is None:
                return state
            problem, believed = why, began + state.proves_after_s
        if time.monotonic() >= until:
            raise NotProven(f"{what} after {within.total_seconds():g} s: {problem}")
        await asyncio.sleep(max(LOOK_AGAIN_SECONDS, min(MOST_BETWEEN_LOOKS_SECONDS, believed - time.monotonic())))
