"""Every factor is worth at most 1 on average where the candidate is fine: counted out, table by table, and by others.

Second opinions come from scipy (binomial and Fisher's non-central hypergeometric distributions, log-gamma) and from
`ville`, whose Bayes factor is an integral over all of our alternatives at once.
"""

from collections.abc import Callable, Iterator
from itertools import product
from math import comb, exp, inf, log
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import gammaln, logsumexp  # type: ignore[import-untyped]  # scipy ships no types
from scipy.stats import binom, nchypergeom_fisher  # type: ignore[import-untyped]  # scipy ships no types
from ville import BernoulliTest  # type: ignore[import-untyped]  # ville ships no types

from rollout.judge.evidence import FINE, HIGHER, WORSE
from rollout.judge.odds import above, odds, whose
from rollout.judge.split import LESS, MORE
from tests.rollout.given import LIGHT

Table = tuple[int, int, int, int]
Factors = Callable[[int, int, int, int, float, tuple[float, ...]], list[float]]

SPLITS = ((1, 1), (1, 9), (3, 2), (2, 19), (12, 4), (7, 7))
SHARES = (0.001, 0.01, 0.05, 0.2, 0.45)
NULLS = (1.0, 1.1, 1.25, 2.0)
WHOLE = 1 + 1e-9
PHI = 3  # size of a cluster


def chances(n: int, p: float) -> list[float]:
    return [comb(n, x) * p**x * (1 - p) ** (n - x) for x in range(n + 1)]


def tables(n_c: int, n_b: int, p_c: float, p_b: float) -> Iterator[tuple[float, int, int]]:
    """Every outcome of both sides with its chance."""
    for (x_c, of_c), (x_b, of_b) in product(enumerate(chances(n_c, p_c)), enumerate(chances(n_b, p_b))):
        yield of_c * of_b, x_c, x_b


def expected(
    factors: Factors, null: float, ratios: tuple[float, ...], sizes: tuple[int, int], shares: tuple[float, float]
) -> float:
    """The greatest expectation of all alternatives' factors."""
    n_c, n_b = sizes
    every = [(chance, factors(n_c, x_c, n_b, x_b, null, ratios)) for chance, x_c, x_b in tables(n_c, n_b, *shares)]
    return max(sum(chance * exp(logs[number]) for chance, logs in every) for number in range(len(ratios)))


def odds_at(share: float, ratio: float) -> float:
    """The share whose odds are `ratio` times those of another."""
    return ratio * share / (1 - share + ratio * share)


def times(null: float, parts: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(null * part for part in parts)


def harmless(null: float) -> Iterator[tuple[float, float]]:
    """Candidates that are at most `null` times worse, on the boundary first."""
    for p_b, part in product(SHARES, (1.0, 0.8, 0.3, 0.0)):
        if null * p_b <= 1:
            yield part * null * p_b, p_b


def harmful(null: float) -> Iterator[tuple[float, float]]:
    """Candidates that are at least `null` times worse, on the boundary first."""
    for p_b, part in product(SHARES, (1.0, 1.3, 2.0)):
        if part * null * p_b <= 1:
            yield part * null * p_b, p_b


# ── whose: rare events ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("null", NULLS)
def test_no_candidate_within_the_margin_makes_any_factor_worth_more_than_1(null: float) -> None:
    worse = times(null, WORSE)
    for sizes, shares in product(SPLITS, harmless(null)):
        assert expected(whose, null, worse, sizes, shares) <= WHOLE, (sizes, shares)


@pytest.mark.parametrize("null", NULLS)
def test_no_candidate_beyond_the_limit_earns_any_proof_of_health(null: float) -> None:
    fine = times(null, FINE)
    for sizes, shares in product(SPLITS, harmful(null)):
        assert expected(whose, null, fine, sizes, shares) <= WHOLE, (sizes, shares)


def test_a_bet_of_this_kind_loses_next_to_nothing_on_the_boundary() -> None:
    """Rare events are nearly Poisson, and for Poisson the expectation is exactly 1."""
    assert expected(whose, 1.25, (2.5,), (12, 4), (1.25e-4, 1e-4)) == pytest.approx(1, abs=1e-5)


def test_a_candidate_beyond_the_margin_makes_the_factors_grow() -> None:
    assert expected(whose, 1.25, (5.0,), (12, 12), (0.5, 0.1)) > 1.5
    assert expected(whose, 2.0, (1.0,), (12, 12), (0.1, 0.1)) > 1.02


@given(st.tuples(*[st.integers(1, 60)] * 2, *[st.integers(0, 9)] * 2), st.sampled_from(NULLS), st.floats(0.2, 200))
@LIGHT
def test_it_is_the_likelihood_ratio_of_whose_event_it_was(table: Table, null: float, ratio: float) -> None:
    n_c, n_b, x_c, x_b = table
    new, old = (each * n_c / (each * n_c + n_b) for each in (ratio, null))
    theirs = binom.logpmf(x_c, x_c + x_b, new) - binom.logpmf(x_c, x_c + x_b, old)
    assert whose(n_c, x_c, n_b, x_b, null, (ratio,))[0] == pytest.approx(theirs, abs=1e-9)


@pytest.mark.parametrize("order", ["cbbcccbc", "bbbbbb", "cccc", "cb"])
def test_all_alternatives_together_are_the_bayes_factor_of_ville(order: str) -> None:
    """A uniform prior on the candidate's share of events, integrated numerically over our factors."""
    n_c, n_b, null = 30, 70, 1.25
    own = null * n_c / (null * n_c + n_b)
    theirs = BernoulliTest(own).fit(np.array([side == "c" for side in order], dtype=float)).e_values_[-1]
    shares = (np.arange(4000) + 0.5) / 4000
    ratios = tuple((shares * n_b / (1 - shares) / n_c).tolist())
    ours = np.mean(np.exp(whose(n_c, order.count("c"), n_b, order.count("b"), null, ratios)))
    assert ours == pytest.approx(theirs, rel=1e-5)


@given(st.lists(st.tuples(*[st.integers(0, 9)] * 2), min_size=2, max_size=5), st.integers(1, 9), st.integers(1, 9))
@LIGHT
def test_while_the_split_stays_the_sums_say_what_the_batches_say(
    events: list[tuple[int, int]], n_c: int, n_b: int
) -> None:
    ratios = times(1.25, WORSE)
    parts = np.sum([whose(n_c, x_c, n_b, x_b, 1.25, ratios) for x_c, x_b in events], axis=0)
    of_c, of_b = np.sum(events, axis=0).tolist()
    whole = whose(n_c * len(events), of_c, n_b * len(events), of_b, 1.25, ratios)
    assert whole == pytest.approx(parts.tolist(), abs=1e-8)


@given(st.tuples(*[st.integers(1, 500)] * 2, *[st.integers(0, 50)] * 2), st.floats(0.1, 9), st.floats(0.1, 9))
@LIGHT
def test_it_does_not_matter_who_is_called_the_candidate(table: Table, null: float, ratio: float) -> None:
    n_c, n_b, x_c, x_b = table
    there = whose(n_c, x_c, n_b, x_b, null, (ratio,))[0]
    assert whose(n_b, x_b, n_c, x_c, 1 / null, (1 / ratio,))[0] == pytest.approx(there, abs=1e-7)


@pytest.mark.parametrize("table", [(0, 0, 99, 5), (99, 5, 0, 0), (0, 0, 0, 0), (50, 0, 60, 0)])
def test_without_events_or_without_one_side_nothing_moves(table: Table) -> None:
    assert whose(*table, 1.25, WORSE) == [0.0] * len(WORSE)
    assert odds(*table, 1.25, WORSE) == [0.0] * len(WORSE)


# ── odds: proportions ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("null", [*NULLS, 1 / 1.1])
def test_given_the_events_of_both_sides_the_odds_factor_is_worth_exactly_1_on_the_boundary(null: float) -> None:
    for (n_c, n_b), p_b in product(SPLITS, (0.05, 0.45)):
        ratios = (*times(null, WORSE), *times(null, FINE))
        weights, sums = np.zeros(n_c + n_b + 1), np.zeros((n_c + n_b + 1, len(ratios)))
        for chance, x_c, x_b in tables(n_c, n_b, odds_at(p_b, null), p_b):
            weights[x_c + x_b] += chance
            sums[x_c + x_b] += chance * np.exp(odds(n_c, x_c, n_b, x_b, null, ratios))
        assert sums / weights[:, None] == pytest.approx(np.ones_like(sums), abs=1e-9)


@pytest.mark.parametrize("null", NULLS)
def test_inside_the_null_the_odds_factors_are_worth_less_in_both_directions(null: float) -> None:
    for sizes, p_b, part in product(SPLITS, (0.05, 0.45), (0.2, 0.7, 1.0)):
        better, worse = odds_at(p_b, part * null), odds_at(p_b, null / part)
        assert expected(odds, null, times(null, WORSE), sizes, (better, p_b)) <= WHOLE
        assert expected(odds, null, times(null, FINE), sizes, (worse, p_b)) <= WHOLE


@given(
    st.tuples(st.integers(1, 300), st.integers(1, 300), st.floats(0, 1), st.floats(0, 1)),
    st.sampled_from(NULLS),
    st.floats(0.2, 150),
)
@LIGHT
def test_scipy_finds_the_same_likelihood_ratio_of_odds(
    table: tuple[int, int, float, float], null: float, ratio: float
) -> None:
    n_c, n_b, of_c, of_b = table
    x_c, x_b = round(of_c * n_c), round(of_b * n_b)
    new, old = (
        nchypergeom_fisher.logpmf(x_c, n_c + n_b, n_c, x_c + x_b, each) if each != 1 else _central(n_c, x_c, n_b, x_b)
        for each in (ratio, null)
    )
    if min(new, old) > -600:  # below that scipy answers -inf
        assert odds(n_c, x_c, n_b, x_b, null, (ratio,))[0] == pytest.approx(new - old, rel=1e-6, abs=1e-7)


def _central(n_c: int, x_c: int, n_b: int, x_b: int) -> float:
    ways = [gammaln(n + 1) - gammaln(x + 1) - gammaln(n - x + 1) for n, x in ((n_c, x_c), (n_b, x_b))]
    every = n_c + n_b, x_c + x_b
    return float(sum(ways) - (gammaln(every[0] + 1) - gammaln(every[1] + 1) - gammaln(every[0] - every[1] + 1)))


@pytest.mark.parametrize("ratio", [0.01, 0.35, 2.2, 120.0, 900.0])
@pytest.mark.parametrize(
    "table", [(50_000, 1_500, 950_000, 28_500), (2_000, 1_999, 2_000, 1), (40, 40, 9_000, 10), (1, 0, 100_000, 77_777)]
)
def test_sums_over_very_many_ways_are_those_of_scipy(table: Table, ratio: float) -> None:
    n_c, x_c, n_b, x_b = table
    u = np.arange(max(0, x_c + x_b - n_b), min(n_c, x_c + x_b) + 1)
    ways = -gammaln(u + 1) - gammaln(n_c - u + 1) - gammaln(x_c + x_b - u + 1) - gammaln(n_b - x_c - x_b + u + 1)
    theirs = x_c * log(ratio / 1.1) + logsumexp(ways + u * log(1.1)) - logsumexp(ways + u * log(ratio))
    assert odds(*table, 1.1, (ratio,))[0] == pytest.approx(theirs, rel=1e-7, abs=1e-7)


@given(
    st.tuples(st.integers(1, 200), st.integers(1, 200), st.floats(0, 1), st.floats(0, 1)),
    st.floats(1, 3),
    st.floats(1.1, 50),
)
@LIGHT
def test_fewer_successes_are_more_failures(table: tuple[int, int, float, float], null: float, ratio: float) -> None:
    n_c, n_b, of_c, of_b = table
    x_c, x_b = round(of_c * n_c), round(of_b * n_b)
    failures = odds(n_c, n_c - x_c, n_b, n_b - x_b, null, (ratio,))[0]
    assert odds(n_c, x_c, n_b, x_b, 1 / null, (1 / ratio,))[0] == pytest.approx(failures, abs=1e-7)
    assert odds(n_b, n_b - x_b, n_c, n_c - x_c, 1 / null, (1 / ratio,))[0] == pytest.approx(failures, abs=1e-7)


@pytest.mark.parametrize("table", [(5, 6, 10, 1), (5, 1, 10, 11)])
def test_more_events_than_trials_are_refused(table: Table) -> None:
    n_c, x_c, n_b, x_b = table
    with pytest.raises(ValueError, match=rf"^{x_c} of {n_c} and {x_b} of {n_b}: more events than trials$"):
        odds(*table, 1.1, (2.0,))


# ── above: one sample ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("null", [0.001, 0.05, 0.4])
def test_a_share_on_the_right_side_of_its_limit_makes_no_factor_worth_more_than_1(null: float) -> None:
    higher = tuple(min(null * each, 0.9) for each in HIGHER)
    lower = (*times(null, LESS), null / 2)
    for n, part in product((1, 4, 25), (1.0, 0.6, 0.0)):
        shares = null * part, null + (1 - null) * (1 - part)
        for p, alternatives in zip(shares, (higher, lower), strict=True):
            worth = sum(chance * np.exp(above(n, x, null, alternatives)) for x, chance in enumerate(chances(n, p)))
            assert np.max(worth) <= WHOLE
            assert part != 1.0 or worth == pytest.approx(np.ones(len(alternatives)), abs=1e-9)


@given(st.integers(0, 5000), st.floats(0, 1), st.floats(0.001, 0.9), st.floats(0.001, 0.95))
@LIGHT
def test_scipy_finds_the_same_likelihood_ratio_of_a_share(n: int, of: float, null: float, p: float) -> None:
    x = round(n * of)
    theirs = binom.logpmf(x, n, p) - binom.logpmf(x, n, null)
    assert above(n, x, null, (p,))[0] == pytest.approx(theirs, rel=1e-6, abs=1e-6)


def test_all_shares_together_are_the_bayes_factor_of_ville() -> None:
    seen = np.array([1, 0, 0, 1, 1, 0, 1, 1, 1, 0, 1], dtype=float)
    shares = (np.arange(2000) + 0.5) / 2000
    ours = np.mean(np.exp(above(len(seen), int(seen.sum()), 0.3, tuple(shares.tolist()))))
    assert ours == pytest.approx(BernoulliTest(0.3).fit(seen).e_values_[-1], rel=1e-6)


def test_events_without_trials_cannot_make_the_rest_negative() -> None:
    assert above(0, 2, 0.1, (0.2,)) == [pytest.approx(2 * log(2))]
    assert above(0, 0, 0.1, MORE) == [0.0] * len(MORE)


# ── Cap and dispersion only take away ───────────────────────────────────────────────────────────


@pytest.mark.parametrize("cap", [0.0, 0.5, 3.0, inf])
def test_a_cap_only_takes_away(cap: float) -> None:
    def capped(*table: Any) -> list[float]:
        return [min(each, cap) for each in whose(*table)]

    for sizes, shares in product(SPLITS[:4], harmless(1.25)):
        plain = expected(whose, 1.25, times(1.25, WORSE), sizes, shares)
        assert expected(capped, 1.25, times(1.25, WORSE), sizes, shares) <= min(WHOLE, plain + 1e-12)


@pytest.mark.parametrize("null", NULLS)
def test_events_that_always_come_in_threes_are_worth_1_when_divided_by_three(null: float) -> None:
    """n requests as n/3 clusters that fail as one: x = 3·y, and log S / 3 is the factor of y in n/3 trials."""
    worse = times(null, WORSE)
    for (n_c, n_b), (p_c, p_b) in product(SPLITS[:4], harmless(null)):
        threes = sum(
            chance * np.exp(np.array(whose(PHI * n_c, PHI * x_c, PHI * n_b, PHI * x_b, null, worse)) / PHI)
            for chance, x_c, x_b in tables(n_c, n_b, p_c, p_b)
        )
        assert np.max(threes) <= WHOLE
        ones = expected(whose, null, worse, (n_c, n_b), (p_c, p_b))
        assert np.max(threes) == pytest.approx(ones, abs=1e-9)


def test_without_the_division_events_that_come_in_threes_break_the_promise() -> None:
    worth = sum(
        chance * exp(whose(30, 3 * x_c, 30, 3 * x_b, 1.25, (2.5,))[0])
        for chance, x_c, x_b in tables(10, 10, 0.125, 0.1)
    )
    assert worth > 1.05
