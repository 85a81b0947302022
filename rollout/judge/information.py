"""How fast evidence can grow: nats for each trial, by the best test there could be and by the test that is used.

`bound` is what no valid test can beat with a concurrent control (Wald 1945; analysis in `docs/judge.md`): with share w
of the trials on the candidate, the event's share p_c there and p_b on stable, and the null hypothesis' boundary m,

    I = min_p [ w·KL(p_c ‖ m∘p) + (1 - w)·KL(p_b ‖ p) ],

where m∘p is m·p for ratios and the p with m times the odds for odds ratios. The minimum lies between p_b and the p
whose m∘p is p_c: outside of that both terms grow.

`growth` is what `evidence.update` gains on average with the best of its alternatives. Near 0.5 % it is 99 % of the
bound, at 20 % it is 70 %, and well below the first alternative it is nothing at all, whatever the traffic: a planner
that knew the bound only would promise what the gate cannot do.

Zeros: w = 0, w = 1 and p_c not beyond the boundary give 0. All logarithms are natural.
"""

from collections.abc import Callable
from math import inf, log, sqrt

from rollout.judge.evidence import HIGHER, MOST_SHARE, WORSE, Test

_GOLDEN = (sqrt(5) - 1) / 2
_STEPS = 90  # the golden section to the power of 90 is below what a double can tell apart


def bound(test: Test, share: float, p_c: float, p_b: float) -> float:
    """Nats for each trial that any test may gain at most.

    Args:
        test: its kind and margin count.
        share: share of the trials that is the candidate's, 0 to 1.
        p_c: share of the candidate's trials with the event, 0 to 1.
        p_b: the same for stable.
    """
    highest = moved(test, p_c, 1 / test.margin)
    if highest <= p_b:
        return 0.0

    def cost(p: float) -> float:
        return share * divergence(p_c, moved(test, p, test.margin)) + (1 - share) * divergence(p_b, p)

    return max(cost(lowest_at(cost, p_b, highest)), 0.0)


def growth(test: Test, share: float, p_c: float, p_b: float) -> float:
    """Nats for each trial that our own test gains, before φ; arguments as in `bound`."""
    if not 0 < share < 1:
        return 0.0
    gain = _gain_of_odds if test.kind == "odds" else _gain_of_whose
    worse = max(gain(share, p_c, p_b, test.margin, test.margin * times) for times in WORSE)
    if test.floor is None:
        return max(worse, 0.0)
    above = max(_gain_above(p_c, test.floor, min(test.floor * times, MOST_SHARE)) for times in HIGHER)
    return max(min(worse, share * above), 0.0)


def moved(test: Test, p: float, ratio: float) -> float:
    """The share that is `ratio` times as bad as p: a multiple, or a multiple of the odds; at most 1."""
    if test.kind == "odds":
        return ratio * p / (1 - p + ratio * p)
    return min(ratio * p, 1.0)


def divergence(p: float, q: float) -> float:
    """Kullback-Leibler divergence of two coins, KL(p ‖ q), in nats; infinite where q rules out what p allows."""
    if (p > 0 and q <= 0) or (p < 1 and q >= 1):
        return inf
    return (p * log(p / q) if p > 0 else 0.0) + ((1 - p) * log((1 - p) / (1 - q)) if p < 1 else 0.0)


def lowest_at(cost: Callable[[float], float], low: float, high: float) -> float:
    """Where a function that falls and then rises is lowest, by golden section."""
    for _ in range(_STEPS):
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        low, high = (low, right) if cost(left) <= cost(right) else (left, high)
    return (low + high) / 2


def _gain_of_whose(share: float, p_c: float, p_b: float, null: float, ratio: float) -> float:
    """The expectation of `odds.whose` for one trial."""
    events = share * p_c + (1 - share) * p_b
    less = log((null * share + 1 - share) / (ratio * share + 1 - share))
    return share * p_c * log(ratio / null) + events * less


def _gain_of_odds(share: float, p_c: float, p_b: float, null: float, ratio: float) -> float:
    """The same of `odds.odds`, for many trials: log Z(ψ) is then its greatest term."""
    events = share * p_c + (1 - share) * p_b
    if not 0 < events < 1:
        return 0.0
    return share * p_c * log(ratio / null) + _log_z(share, events, null) - _log_z(share, events, ratio)


def _log_z(share: float, events: float, psi: float) -> float:
    """Log Z(ψ) for each trial; its greatest term splits the events so that their odds ratio is ψ (a quadratic)."""
    rest = 1 - share - events
    b = psi * (share + events) + rest
    root = sqrt(b * b - 4 * (psi - 1) * psi * share * events)
    ours = 2 * psi * share * events / (b + root)  # the root without cancellation, also at ψ = 1
    return share * _entropy(ours / share) + (1 - share) * _entropy((events - ours) / (1 - share)) + ours * log(psi)


def _entropy(p: float) -> float:
    return -p * log(p) - (1 - p) * log(1 - p) if 0 < p < 1 else 0.0


def _gain_above(p_c: float, floor: float, p: float) -> float:
    """The expectation of `odds.above` for one trial of the candidate."""
    return p_c * log(p / floor) + (1 - p_c) * log((1 - p) / (1 - floor))
