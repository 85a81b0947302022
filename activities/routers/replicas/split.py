"""How many pods make a percent: pure counting.

The candidate's are rounded up, so that a stage never judges less than it asked for; stable keeps at least one below
100 %, because the last pod is not a rounding.
"""

import math
from typing import NamedTuple

from rollout.errors import Misconfigured

_STEP = 0.01  # percents come in steps of this, so 33.34 % of three pods is one of them


class Aim(NamedTuple):
    """Pods of each Deployment."""

    candidate: int
    stable: int


def aim(percent: float, total: int) -> Aim:
    """The pods that make a percent.

    Args:
        percent: wanted on the candidate, 0 to 100.
        total: pods of both together.

    Raises:
        Misconfigured: so few pods cannot be split, or there is no such percent.
    """
    if not 0 <= percent <= 100:
        raise Misconfigured(f"{percent} % is no share: 0 to 100 is possible")
    if percent in {0, 100}:
        return Aim(total, 0) if percent else Aim(0, total)
    if total < 2:
        raise Misconfigured(f"{total} pod cannot be split, stable needs at least 2 replicas at the start")
    candidate = math.ceil(round((percent - _STEP) * total / 100, 9))
    candidate = min(max(candidate, 1), total - 1)
    return Aim(candidate, total - candidate)


def share(candidate: int, stable: int) -> float:
    """Percent of the pods that are the candidate's; 0 if there are none at all."""
    return round(100 * candidate / (candidate + stable), 2) if candidate else 0.0


def finest(total: int) -> float:
    """The smallest percent that so many pods can make; what rounds to one pod is one pod."""
    return math.floor(10_000 / total) / 100 if total > 1 else 100.0
