"""Many who ask the same question at the same time get one answer, and none that is older than their question.

Ten rollouts in a namespace look at the same list of Ingresses and the same Services. Whoever asks while a request is
under way waits for it to end, and then one request serves all who have waited: it is sent after each of them asked, so
it shows every write that had ended by then. To hand out the answer of the request under way would be cheaper still, but
it may have been sent before the asker's own write; and a cache would be older than that. Neither can prove anything.

What is handed out is one value for all, so nobody may change it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")

PATIENCE_S = 0.1  # a request that takes longer may hang, and must not make others do so


class Joining:
    """Questions under way, by their keys; for one event loop at a time."""

    def __init__(self) -> None:
        """Nobody has asked yet."""
        self._sent: dict[Hashable, asyncio.Future[Any]] = {}
        self._waiting: dict[Hashable, asyncio.Future[Any]] = {}

    async def ask(self, key: Hashable, send: Callable[[], Awaitable[T]]) -> T:
        """Ask, together with everybody who waits to ask the same.

        Args:
            key: tells questions apart.
            send: asks; whoever asked first sends for the others.

        Raises:
            Exception: whatever `send` raises, to each of them.
        """
        if key not in self._waiting:
            self._waiting[key] = asyncio.ensure_future(self._in_turn(key, send))
            self._waiting[key].add_done_callback(_seen)
        answer: T = await asyncio.shield(self._waiting[key])  # one who gives up does not take it from the others
        return answer

    async def _in_turn(self, key: Hashable, send: Callable[[], Awaitable[T]]) -> T:
        try:
            if key in self._sent:
                await asyncio.wait({self._sent[key]}, timeout=PATIENCE_S)
        finally:
            mine = self._waiting.pop(key)  # from here on it is too late to join
        self._sent[key] = mine
        try:
            return await send()
        finally:
            if self._sent.get(key) is mine:
                del self._sent[key]


def _seen(ended: asyncio.Future[Any]) -> None:
    """Look at a failure, whether or not anybody still waits for it: the loop would complain that nobody did."""
    if not ended.cancelled():
        ended.exception()
