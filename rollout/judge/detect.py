"""What a stage can see at today's traffic: said before it starts, because a quiet gate must not pass for a good one.

A gate that counts needs time, traffic or a large fault. With I nats for each trial (`information.py`), R trials a
second on both versions together and dispersion φ it takes

    seconds = (1.5·log(1/α) + log(0.5/start))·φ / (R·I) + 2 scrapes

on average. Wald's bound is log(1/α)/(R·I); 1.5 is what mixing over unknown ratios, a start with half of the mass and
the cap cost when measured (`docs/judge.md`); a stage that begins with less mass pays the logarithm. Two scrapes must
agree whatever the fault. A release that is just so bad is caught sooner as often as later: a promise it is not.

No traffic, no stable beside the candidate, a ratio within the margin: never, as infinity or None. Where stable has no
events, or nobody knows how many, ratios mean nothing; then the candidate's share of events that would be seen is told.
"""

from collections.abc import Callable
from math import inf, log
from typing import NamedTuple

from rollout.judge.evidence import RESERVE, Test
from rollout.judge.information import bound, growth, lowest_at, moved

DOUBLE = 2.0
OVERHEAD = 1.5
AS_MEASURED = 0.95
"""Part of the bound that the test gains where `OVERHEAD` was measured; what it loses beyond is added."""

LONGEST_S = 365 * 86_400.0
_FINE = 1.0005  # ratios closer than this are the same


class Traffic(NamedTuple):
    """What is known before the start.

    Attributes:
        per_second: trials of both versions together, a second.
        usual: share of stable's trials with the event, 0 to 1; None if nobody knows.
        scrape_s: time between scrapes, seconds.
    """

    per_second: float
    usual: float | None
    scrape_s: float = 15.0


def seconds_to_detect(test: Test, traffic: Traffic, share: float, ratio: float) -> float:
    """Mean time until a candidate that is bad from the start is caught.

    Args:
        test: how the gate is judged: margin, floor, α, φ, mass at the start.
        traffic: what is known.
        share: share of the trials that is the candidate's, 0 to 1.
        ratio: how many times as bad as stable the candidate is, in `test`'s sense (odds for proportions).

    Returns:
        Seconds; infinite if never, and where stable's share is unknown or 0.
    """
    usual = _turned(test, traffic)
    if not usual:
        return inf
    return _seconds(test, traffic, share, moved(test, usual, ratio))


def smallest_ratio(test: Test, traffic: Traffic, share: float, bake_s: float) -> float | None:
    """The smallest worsening that a bake sees on average; None if it sees none.

    Args:
        test: as in `seconds_to_detect`.
        traffic: as there.
        share: as there.
        bake_s: length of the bake, seconds.
    """
    usual = _turned(test, traffic)
    if not usual:
        return None
    highest = 1e4 if test.kind == "odds" else 1 / usual
    return _least(lambda ratio: seconds_to_detect(test, traffic, share, ratio) <= bake_s, test.margin, highest)


def smallest_share(test: Test, traffic: Traffic, share: float, bake_s: float) -> float | None:
    """The smallest share of events on the candidate that a bake sees if stable has none; arguments as above."""
    return _least(lambda p_c: _seconds(test, traffic, share, p_c, 0.0) <= bake_s, 1e-7, 1.0)


def bake_for(test: Test, traffic: Traffic, share: float, ratio: float = DOUBLE) -> float | None:
    """The bake that sees a worsening, seconds; None if none of up to a year does."""
    seconds = seconds_to_detect(test, traffic, share, ratio)
    return seconds if seconds <= LONGEST_S else None


def share_for(test: Test, traffic: Traffic, bake_s: float, ratio: float = DOUBLE) -> float | None:
    """The smallest share of the trials, 0 to 1, at which a bake sees a worsening; None if there is none.

    More is better only up to about a half: what stable lacks then, the comparison lacks.
    """

    def seconds(share: float) -> float:
        return seconds_to_detect(test, traffic, share, ratio)

    best = lowest_at(seconds, 1e-6, 1 - 1e-6)
    return _least(lambda share: seconds(share) <= bake_s, 1e-6, best)


def _turned(test: Test, traffic: Traffic) -> float | None:
    """Stable's share of events, where more are worse."""
    if traffic.usual is None:
        return None
    return traffic.usual if test.bad == "up" else 1 - traffic.usual


def _seconds(test: Test, traffic: Traffic, share: float, p_c: float, p_b: float | None = None) -> float:
    usual = _turned(test, traffic) if p_b is None else p_b
    gain = min(bound(test, share, p_c, usual or 0.0), growth(test, share, p_c, usual or 0.0) / AS_MEASURED)
    if gain * traffic.per_second <= 0:
        return inf
    nats = OVERHEAD * log(1 / test.alpha) + max(0.0, log(0.5 / max(test.start, RESERVE)))
    return nats * test.phi / (gain * traffic.per_second) + 2 * traffic.scrape_s


def _least(enough: Callable[[float], bool], low: float, high: float) -> float | None:
    """The least value between two from which on it is enough, by bisection of the logarithm."""
    if high <= low or not enough(high):
        return None
    while high / low > _FINE:
        middle = (low * high) ** 0.5
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
