"""Writes that have begun are finished, whatever becomes of who asked for them.

Half a write is the worst state that a router can be left in: a file replaced and not reloaded, a rule moved and not
marked. So a write is not cancelled with its activity, and a worker that stops waits for those that are under way.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_under_way: set[asyncio.Future[Any]] = set()


async def finished(write: Coroutine[Any, Any, T]) -> T:
    """Run a write to its end, also if the caller is cancelled meanwhile."""
    task = asyncio.ensure_future(write)
    not_left_behind(task)
    return await asyncio.shield(task)


def not_left_behind(begun: asyncio.Future[Any]) -> None:
    """Let a worker that stops wait also for this, such as a command whose caller may go away."""
    _under_way.add(begun)
    begun.add_done_callback(_under_way.discard)


async def all_finished(within_s: float) -> int:
    """Wait for what is under way in this event loop; answers with how many are still under way then.

    Args:
        within_s: how long at most, seconds.
    """
    loop = asyncio.get_running_loop()
    mine = {task for task in _under_way if task.get_loop() is loop}
    if not mine:
        return 0
    _, left = await asyncio.wait(mine, timeout=within_s)
    return len(left)
