"""What goes wrong on demand: refusals, silence, lost answers, late effects, another writer.

Why a model with names and not scripts of answers: a test says which operation fails and how, and needs not know in
which order an adapter calls. The fields are described in the package's docstring.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel, ConfigDict, Field

from testbed.aws.wire import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from testbed.aws.wire import Call

_THROTTLED: Final = {
    "elbv2": ("Throttling", 400),
    "cloudwatch": ("Throttling", 400),
    "ecs": ("ThrottlingException", 400),
    "lambda": ("TooManyRequestsException", 429),
}
_DENIED: Final = {
    "elbv2": ("AccessDenied", 403),
    "cloudwatch": ("AccessDenied", 403),
    "ecs": ("AccessDeniedException", 400),
    "lambda": ("AccessDeniedException", 403),
}
_USER: Final = "arn:aws:iam::123456789012:user/testing"


class Faults(BaseModel):
    """What is wrong with the simulated AWS; nothing by default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    throttle: tuple[str, ...] = ()
    throttle_every: int = Field(default=1, ge=1)
    bucket: tuple[float, float] | None = None
    deny: tuple[str, ...] = ()
    unavailable: tuple[str, ...] = ()
    hang: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    lose_answer: tuple[str, ...] = ()
    delay: tuple[str, ...] = ()
    delay_s: float = Field(default=1.0, ge=0)
    delay_effect: tuple[str, ...] = ()
    delay_effect_s: float = Field(default=1.0, ge=0)
    effect_delay_s: float = Field(default=0.0, ge=0)
    lying_health: bool = False
    sick: tuple[str, ...] = ()
    writer_every: int = Field(default=0, ge=0)
    writer_weights: dict[str, int] = {}
    minute_s: float = Field(default=1.0, gt=0)
    metrics_lag_s: float = Field(default=0.0, ge=0)
    page_size: int = Field(default=20, ge=1, le=400)
    ecs_delay_s: float = Field(default=0.3, ge=0)
    lambda_busy: bool = False


class Dropped(Exception):
    """The connection is to be closed without an answer."""


def _named(call: Call, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(call.operation, pattern) for pattern in patterns)


class Injector:
    """Carries out the faults that concern single calls.

    Attributes:
        faults: those in force.
    """

    def __init__(self, faults: Faults, clock: Callable[[], float]) -> None:
        """Start with these faults.

        Args:
            faults: what is wrong.
            clock: seconds, rising; for the token bucket.
        """
        self.faults = faults
        self._clock = clock
        self._changed = asyncio.Event()
        self._seen: Counter[str] = Counter()
        self._tokens = 0.0
        self._filled_at = clock()
        self._writes = 0

    def change(self, faults: Faults) -> None:
        """Put other faults in force; the bucket is full again and every count begins anew."""
        self.faults = faults
        self._changed.set()  # whoever hangs is let go, without an answer
        self._changed = asyncio.Event()
        self._seen.clear()
        self._tokens = faults.bucket[0] if faults.bucket else 0.0
        self._filled_at = self._clock()
        self._writes = 0

    async def before(self, call: Call) -> None:
        """Fail before anything was done, or let it come late.

        Raises:
            Refusal: throttled, denied or unavailable.
            Dropped: no answer, no effect.
        """
        faults = self.faults
        if self._too_often(call):
            code, status = _THROTTLED[call.service]
            raise Refusal(code, "Rate exceeded", status)
        if _named(call, faults.deny):
            code, status = _DENIED[call.service]
            message = (
                f"User: {_USER} is not authorized to perform: {call.action} because no identity-based policy allows"
            )
            raise Refusal(code, f"{message} the {call.action} action", status)
        if _named(call, faults.unavailable):
            raise Refusal("ServiceUnavailable", "The service is temporarily unavailable.", 503)
        if _named(call, faults.hang):
            await self._changed.wait()
            raise Dropped
        if _named(call, faults.drop):
            raise Dropped
        if _named(call, faults.delay_effect):
            await asyncio.sleep(faults.delay_effect_s)  # whatever becomes of the caller and of the faults

    async def after(self, call: Call) -> None:
        """Fail after it was done.

        Raises:
            Dropped: the answer is lost.
        """
        if _named(call, self.faults.delay):
            await asyncio.sleep(self.faults.delay_s)
        if _named(call, self.faults.lose_answer):
            raise Dropped

    def somebody_writes(self) -> bool:
        """Whether this write of a rule is followed by somebody else's; counts it."""
        self._writes += 1
        return bool(self.faults.writer_every) and self._writes % self.faults.writer_every == 0

    def _too_often(self, call: Call) -> bool:
        faults = self.faults
        if _named(call, faults.throttle):
            self._seen[call.operation] += 1
            if self._seen[call.operation] % faults.throttle_every == 0:
                return True
        if faults.bucket is None or call.service != "elbv2" or not call.operation.startswith("Describe"):
            return False
        burst, per_second = faults.bucket
        now = self._clock()
        self._tokens = min(burst, self._tokens + (now - self._filled_at) * per_second)
        self._filled_at = now
        if self._tokens < 1:
            return True
        self._tokens -= 1
        return False
