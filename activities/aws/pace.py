"""How fast one family of AWS calls is made: a pace that all routes of a worker share, and that gives way when told to.

AWS counts `Describe*` calls in one bucket for an account and region (40, refilled at 10 a second), which everybody else
in the account empties too. So the pace is a part of that, and who hears "Throttling" halves it for all; botocore's own
retries, which know nothing of other callers, are switched off.

The way back has a lane of its own: it waits for no other call, and a pace that was slowed down does not slow it. Both
lanes together stay within AWS's bucket as long as nobody else empties it.
"""

import asyncio
import time

from rollout.errors import Throttled

_BURST = 10  # calls at once after a rest
_URGENT_BURST = 25  # of those in haste, besides
_SLOWEST = 16  # times slower than wanted, at most
_RECOVERY = 1.1  # faster after every answer


class Pace:
    """When the next call may be made."""

    def __init__(self, name: str, calls_per_second: float) -> None:
        """Take a name for messages, and the pace that is wanted."""
        self._name, self._wanted, self._rate = name, calls_per_second, calls_per_second
        self._booked_until = self._urgent_until = self._not_before = time.monotonic()

    async def turn(self, patience_s: float, *, urgent: bool = False) -> None:
        """Wait for this call's turn.

        Args:
            patience_s: the longest to wait.
            urgent: take the turn from the lane of the way back.

        Raises:
            Throttled: the turn would come later than that; the call must not be made.
        """
        wait_s = self._urgent_wait_s() if urgent else self._wait_s()
        if wait_s > patience_s:
            why = "" if self._rate == self._wanted or urgent else ", slowed down because AWS was asked too often"
            pace = f"{self._wanted if urgent else self._rate:.2g} a second{why}"
            raise Throttled(f"{self._name} are made at {pace}; this one's turn would be in {wait_s:.1f} s")
        if urgent:
            self._urgent_until = max(self._urgent_until, time.monotonic()) + 1 / self._wanted
        else:
            self._booked_until = max(self._booked_until, time.monotonic()) + 1 / self._rate
        await asyncio.sleep(wait_s)

    async def soon(self, at_most_s: float) -> None:
        """Wait for this call's turn, and take it early if it would come later than in so many seconds."""
        now = time.monotonic()
        booked = max(self._booked_until, now)
        wait_s = min(max(booked - now - (_BURST - 1) / self._wanted, 0), at_most_s)
        self._booked_until = min(booked + 1 / self._wanted, now + (_BURST - 1) / self._wanted + at_most_s)
        await asyncio.sleep(wait_s)

    def slower(self) -> None:
        """AWS said that it was asked too often: half the pace, and nothing at all for two calls' time."""
        self._rate = max(self._rate / 2, self._wanted / _SLOWEST)
        self._not_before = time.monotonic() + 2 / self._rate

    def faster(self) -> None:
        """AWS answered: a little faster again, up to the pace that is wanted."""
        self._rate = min(self._rate * _RECOVERY, self._wanted)

    def _wait_s(self) -> float:
        now = time.monotonic()
        booked = max(self._booked_until, now)
        return max(booked - now - (_BURST - 1) / self._rate, self._not_before - now, 0)

    def _urgent_wait_s(self) -> float:
        now = time.monotonic()
        return max(max(self._urgent_until, now) - now - (_URGENT_BURST - 1) / self._wanted, 0)
