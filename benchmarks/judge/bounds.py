"""How soon any test could know: Wald's bound, and the two bars made from it.

A test that is wrong with chance at most α and always detects needs on average log(1/α)/I seconds, where I is what a
second of traffic tells against the closest healthy world: R·min_p [w·KL(p_c‖ψ0·p) + (1-w)·KL(p_b‖p)] nats with the
candidate's share w and stable observed at the same time. No method can be faster; ours adds one to two scrapes,
because counts come in scrapes and no single scrape may decide.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import log

MARGIN, ALPHA = 1.25, 0.001
GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class Bars:
    """Seconds: the bound, what the gate must reach on average, and what would be hard but not absurd."""

    bound: float

    @property
    def must(self) -> float:
        return 1.5 * self.bound + 10

    @property
    def moonshot(self) -> float:
        return 1.25 * self.bound + 5


def bars(rate: float, p_c: float, p_b: float, *, alpha: float = ALPHA, share: float = 0.05) -> Bars:
    return Bars(log(1 / alpha) / information(rate, p_c, p_b, share, MARGIN))


def information(rate: float, p_c: float, p_b: float, share: float, margin: float) -> float:
    """Nats a second."""

    def nats(p: float) -> float:
        return share * divergence(p_c, margin * p) + (1 - share) * divergence(p_b, p)

    return rate * nats(lowest(nats, p_b / 2, min(p_c, 0.99) / margin))


def divergence(a: float, b: float) -> float:
    """Kullback and Leibler's, of two coins."""
    return a * log(a / b) + (1 - a) * log((1 - a) / (1 - b))


def lowest(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a function with one valley is lowest, by golden section."""
    while high - low > 1e-12:
        left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
        low, high = (low, right) if function(left) < function(right) else (left, high)
    return (low + high) / 2
