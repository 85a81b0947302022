"""Likelihood ratios of two ways to ask "whose event was it?", given how many trials each side had.

Both condition on what the two sides have in common (an outage, a drift, a busy hour), so nothing about stable's own
ratio has to be known or constant.

`whose`: for rare events (errors, slow requests). Given that an event happened, was it the candidate's? Null hypothesis:
in every batch p_c ≤ ψ0·p_b. With D(r) = r·n_c + n_b and K = x_c + x_b,

    log S_r = x_c·log(r/ψ0) + K·log(D(ψ0)/D(r)),   r > ψ0.

E[S_r] ≤ exp(p_b·[n_c·ψ0(a - 1) + n_b(b - 1)]) = 1 with a = (r/ψ0)·D(ψ0)/D(r), b = D(ψ0)/D(r), because 1 + z ≤ e^z and
n_c·ψ0·a + n_b·b = D(ψ0): exact for any split, any counts, Bernoulli and Poisson. For r < ψ0 the same formula tests the
opposite null p_c ≥ ψ0·p_b. It is the idea of Lindon and Malek (NeurIPS 2022) and of the anytime-valid log-rank test
(ter Schure et al., arXiv 2011.06931), with the split taken from the observed trials.

`odds`: for proportions that are not rare (conversion, bounce). Fisher's non-central hypergeometric distribution of x_c
given K: log S_ψ = x_c·log(ψ/ψ0) + log Z(ψ0) - log Z(ψ), Z(ψ) = Σ_u C(n_c, u)·C(n_b, K-u)·ψ^u; ψ is the odds ratio, and
the monotone likelihood ratio makes it valid for the whole one-sided null.

Where one side has no trials nothing can be said: every logarithm is 0.
"""

from functools import lru_cache
from math import ceil, lgamma, log, sqrt

NEGLIGIBLE = 1e-20  # so small a part of the greatest term cannot move a double


def whose(n_c: int, x_c: int, n_b: int, x_b: int, null: float, ratios: tuple[float, ...]) -> list[float]:
    """Logarithms of S_r for rare events.

    Args:
        n_c: trials of the candidate, 0 or more.
        x_c: events of the candidate.
        n_b: trials of stable.
        x_b: events of stable.
        null: ψ0, the boundary of the null hypothesis: candidate's ratio to stable's.
        ratios: the alternatives r, as candidate's ratio to stable's.
    """
    events = x_c + x_b
    if not events or not n_c or not n_b:
        return [0.0] * len(ratios)
    base = events * log(null * n_c + n_b) - x_c * log(null)
    return [
        base + x_c * log_r - events * log(r * n_c + n_b) for r, log_r in zip(ratios, _logarithms(ratios), strict=True)
    ]


def odds(n_c: int, x_c: int, n_b: int, x_b: int, null: float, ratios: tuple[float, ...]) -> list[float]:
    """Logarithms of S_ψ for proportions; arguments as in `whose`, with odds ratios, x_c ≤ n_c and x_b ≤ n_b.

    Raises:
        ValueError: more events than trials.
    """
    events = x_c + x_b
    if x_c > n_c or x_b > n_b:
        msg = f"{x_c} of {n_c} and {x_b} of {n_b}: more events than trials"
        raise ValueError(msg)
    least, most = max(0, events - n_b), min(n_c, events)
    if least == most:
        return [0.0] * len(ratios)
    at_null = _log_z(n_c, n_b, events, null)
    return [x_c * log(ratio / null) + at_null - _log_z(n_c, n_b, events, ratio) for ratio in ratios]


def _log_z(n_c: int, n_b: int, events: int, psi: float) -> float:
    """Log Z(ψ), up to a constant that does not depend on ψ: outwards from the greatest term until nothing is added."""
    least, most = max(0, events - n_b), min(n_c, events)
    rest = n_b - events
    # The greatest term: where C(n_c, u)·C(n_b, K-u)·ψ^u stops rising, the lower root of a quadratic equation.
    b, c = psi * (n_c + events) + rest + 2, psi * n_c * events - rest - 1
    root = 2 * c / (b + sqrt(max(0.0, b * b - 4 * (psi - 1) * c)))
    mode = min(max(ceil(root), least), most)
    whole, term = 1.0, 1.0
    for u in range(mode, most):
        term *= psi * (n_c - u) * (events - u) / ((u + 1) * (rest + u + 1))
        whole += term
        if term < NEGLIGIBLE:
            break
    term = 1.0
    for u in range(mode, least, -1):
        term *= u * (rest + u) / (psi * (n_c - u + 1) * (events - u + 1))
        whole += term
        if term < NEGLIGIBLE:
            break
    ways = lgamma(mode + 1) + lgamma(n_c - mode + 1) + lgamma(events - mode + 1) + lgamma(rest + mode + 1)
    return mode * log(psi) - ways + log(whole)


def above(n: int, x: int, null: float, shares: tuple[float, ...]) -> list[float]:
    """Logarithms of the likelihood ratio of one sample: share `p` against `null`.

    With every p > null it tests "the share is at most null", with every p < null "it is at least null".

    Args:
        n: trials.
        x: events among them.
        null: boundary of the null hypothesis, between 0 and 1.
        shares: the alternatives, between 0 and 1.
    """
    rest = max(n - x, 0)
    return [x * with_it + rest * without for with_it, without in _single(null, shares)]


@lru_cache(maxsize=256)
def _logarithms(ratios: tuple[float, ...]) -> tuple[float, ...]:
    return tuple([log(ratio) for ratio in ratios])


@lru_cache(maxsize=256)
def _single(null: float, shares: tuple[float, ...]) -> tuple[tuple[float, float], ...]:
    """What one trial with the event and one without it add."""
    return tuple([(log(p / null), log((1 - p) / (1 - null))) for p in shares])
