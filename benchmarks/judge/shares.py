"""What some rollouts out of many say about a share, and delays of which some are censored."""

from collections.abc import Callable
from dataclasses import dataclass
from math import exp, inf, lgamma, log, log1p, sqrt

import numpy as np

from benchmarks.judge.world import Floats

SURE = 0.95  # of a limit, one-sided
Z = 1.6448536269514722  # its normal quantile


@dataclass(frozen=True)
class Share:
    """`hits` out of `of`."""

    hits: int
    of: int

    @classmethod
    def within(cls, found: Floats, seconds: float = inf) -> "Share":
        return cls(int((np.isfinite(found) & (found <= seconds)).sum()), len(found))

    @property
    def value(self) -> float:
        return self.hits / self.of

    @property
    def upper(self) -> float:
        """Greatest true share that 95 % of such runs would not contradict: Clopper-Pearson, Wilson for many hits."""
        if self.hits == self.of:
            return 1.0
        if self.hits > 60:
            return _wilson(self.hits, self.of, Z)
        return _root(lambda p: _at_most(self.hits, self.of, p) - (1 - SURE))

    @property
    def lower(self) -> float:
        """Least true share likewise."""
        if self.hits == 0:
            return 0.0
        if self.hits > 60:
            return _wilson(self.hits, self.of, -Z)
        return _root(lambda p: _at_most(self.hits - 1, self.of, p) - SURE)

    def __str__(self) -> str:
        return f"{percent(self.value)} (≤ {percent(self.upper)})"


def percent(share: float) -> str:
    """Percent without the sign, with as many digits as tell something."""
    value = 100 * share
    return f"{value:.3f}" if value < 0.1 else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def _at_most(hits: int, of: int, p: float) -> float:
    """Chance of at most so many hits."""
    ways = lgamma(of + 1)
    each = (ways - lgamma(k + 1) - lgamma(of - k + 1) + k * log(p) + (of - k) * log1p(-p) for k in range(hits + 1))
    return sum(exp(term) for term in each)


def _root(falling: Callable[[float], float]) -> float:
    low, high = 1e-12, 1 - 1e-12
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > 0 else (low, middle)
    return (low + high) / 2


def _wilson(hits: int, of: int, z: float) -> float:
    p, z2 = hits / of, z * z
    return (p + z2 / (2 * of) + z * sqrt(p * (1 - p) / of + z2 / (4 * of * of))) / (1 + z2 / of)


@dataclass(frozen=True)
class Delays:
    """Seconds until a rollback, infinite where there was none, as seen until `horizon_s`."""

    found: Floats
    horizon_s: float

    @property
    def seen(self) -> Floats:
        return np.where(self.found <= self.horizon_s, self.found, np.inf)

    @property
    def share(self) -> Share:
        return Share.within(self.found, self.horizon_s)

    @property
    def mean(self) -> float | None:
        """None when more than one in a thousand was not seen; fewer count as ending at the horizon."""
        if self.share.value < 0.999:
            return None
        return float(np.minimum(self.seen, self.horizon_s).mean())

    @property
    def error(self) -> float:
        """Standard error of the mean."""
        return float(np.minimum(self.seen, self.horizon_s).std() / sqrt(len(self.found)))

    def quantile(self, part: float) -> float:
        ordered = np.sort(self.seen)
        return float(ordered[max(0, int(np.ceil(part * len(ordered))) - 1)])

    def __str__(self) -> str:
        median, late = (seconds(self.quantile(part), self.horizon_s) for part in (0.5, 0.95))
        if self.share.hits == self.share.of:
            return f"{median} / {late}"
        if self.share.value < 0.5:
            return f"never ({100 * self.share.value:.0f} %)"
        return f"{median} / {late} ({100 * self.share.value:.0f} %)"


def seconds(value: float, horizon_s: float) -> str:
    return f"{value:.0f}" if np.isfinite(value) else f">{horizon_s:.0f}"
