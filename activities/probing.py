"""Invented users, and whether it is plausible that so many of them are given a variation. Pure.

Which users a percent reaches is a hash's business, and every flag service has another one; how many of a fixed set it
reaches is not. At 0 % nobody, at 100 % everybody; in between the number is binomial, and doubted is what a flag that is
right would show less than once in a million times, both tails together (Clopper and Pearson 1934). Such a count catches
what no read-back can: an evaluator that is broken, or has another file.
"""

import math
from functools import lru_cache

_FALSE_ALARM = 1e-6


def probes(count: int) -> tuple[str, ...]:
    """The keys of so many users that nobody else has."""
    return tuple(f"sluice-probe-{number}" for number in range(1, count + 1))


@lru_cache(maxsize=256)
def plausible(percent: float, total: int) -> range:
    """How many of so many users may be given the candidate.

    Args:
        percent: share of users who should be, 0 to 100.
        total: users asked about.
    """
    share = min(max(percent / 100, 0.0), 1.0)
    chances = [math.comb(total, count) * share**count * (1 - share) ** (total - count) for count in range(total + 1)]
    return range(_left_out(chances), total - _left_out(chances[::-1]) + 1)


def _left_out(chances: list[float]) -> int:
    """How many counts at the beginning are too unlikely, taken together."""
    together, count = 0.0, 0
    for chance in chances:
        together += chance
        if together > _FALSE_ALARM / 2:
            break
        count += 1
    return count
