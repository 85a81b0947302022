"""What an experiment has shown holds whenever one looks, for every share, split and rate; and says so in words."""

from itertools import product
from math import comb, exp, inf, isfinite, log, log1p, sqrt

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rollout.judge import effect as inner
from rollout.judge.effect import EVENTS, Effect, effect
from rollout.judge.evidence import Tally
from rollout.judge.sample_ratio import BETS, log_bets
from tests.rollout.given import LIGHT

SHARES = st.sampled_from([0.01, 0.1, 0.5, 0.9])


@st.composite
def tallies(draw: st.DrawFn, most: int = 10**7, least: int = 0) -> Tally:
    n_c, n_b = draw(st.integers(least, most)), draw(st.integers(least, most))
    return Tally(n_c, draw(st.integers(0, n_c)), n_b, draw(st.integers(0, n_b)))


def seen(total: Tally, share: float = 0.5, phi: float = 1.0, confidence: float = 0.95) -> Effect:
    return effect(total, name="conversion", share=share, bad="down", phi=phi, counted="sessions", confidence=confidence)


def swapped(total: Tally) -> Tally:
    return Tally(total.n_b, total.x_b, total.n_c, total.x_c)


def times(total: Tally, many: int) -> Tally:
    return Tally(*(many * count for count in total))


# ── What an interval is, whatever the counts ────────────────────────────────────────────────────


@given(tallies(), SHARES, st.sampled_from([1.0, 3.0, 250.0]))
@LIGHT
def test_an_interval_holds_what_was_observed_and_is_never_nan(total: Tally, share: float, phi: float) -> None:
    told = seen(total, share, phi)
    assert -1 <= told.difference_low <= told.difference_high <= 1
    assert 0 <= told.ratio_low <= (inf if told.ratio_high is None else told.ratio_high)
    assert told.ratio_high is None or isfinite(told.ratio_high)
    if told.candidate_rate is not None and told.stable_rate is not None:
        slack = 1e-9
        assert told.difference_low - slack <= told.candidate_rate - told.stable_rate <= told.difference_high + slack
    if told.ratio is not None:
        assert told.ratio_low * (1 - 1e-9) <= told.ratio <= (told.ratio_high or inf) * (1 + 1e-9)
    assert "nan" not in told.sentence
    assert "inf" not in told.sentence
    assert Effect.model_validate_json(told.model_dump_json()) == told


@given(tallies(), SHARES)
@LIGHT
def test_ratio_and_difference_never_contradict_each_other(total: Tally, share: float) -> None:
    told = seen(total, share)
    assert (told.ratio_low > 1 + 1e-9) <= (told.difference_low > 0)
    assert (told.difference_low > 1e-9) <= (told.ratio_low > 1)
    assert (told.ratio_high is not None and told.ratio_high < 1 - 1e-9) <= (told.difference_high < 0)


@given(tallies(), SHARES, st.sampled_from([1.0, 2.5]))
@LIGHT
def test_it_reads_the_same_from_the_other_side(total: Tally, share: float, phi: float) -> None:
    one, other = seen(total, share, phi), seen(swapped(total), 1 - share, phi)
    assert one.difference_low == pytest.approx(-other.difference_high, abs=1e-8)
    assert one.difference_high == pytest.approx(-other.difference_low, abs=1e-8)
    if other.ratio_high is not None and other.ratio_high < 1e6:
        assert one.ratio_low == pytest.approx(1 / other.ratio_high, rel=1e-6)


@given(tallies(most=10**5, least=1), SHARES, st.integers(2, 50))
@LIGHT
def test_more_data_of_the_same_rates_never_say_less(total: Tally, share: float, many: int) -> None:
    few, more = seen(total, share), seen(times(total, many), share)
    assert more.difference_high - more.difference_low <= few.difference_high - few.difference_low + 1e-9
    if few.ratio_high is not None and few.ratio_low > 0:
        assert more.ratio_high is not None
        assert more.ratio_high / more.ratio_low <= few.ratio_high / few.ratio_low * (1 + 1e-9)


@given(tallies(most=10**6, least=1), SHARES)
@LIGHT
def test_surer_is_wider_and_so_are_clusters(total: Tally, share: float) -> None:
    plain = seen(total, share)
    for wider in (seen(total, share, confidence=0.99), seen(total, share, phi=3)):
        assert wider.difference_low <= plain.difference_low + 1e-9
        assert wider.difference_high >= plain.difference_high - 1e-9
        assert wider.ratio_low <= plain.ratio_low + 1e-9


@given(tallies(most=5000, least=20), SHARES, st.floats(-1.5, 1.5), st.floats(-1.5, 1.5), st.floats(-1, 1))
@LIGHT
def test_the_interval_holds_everything_that_the_counts_do_not_exclude(
    total: Tally, share: float, of_events: float, of_others: float, of_level: float
) -> None:
    """The search along the edge finds the extremes: no (θ1, θ0, q) within lies outside of what it reports."""
    n_c, x_c, n_b, x_b = total
    assume(x_c and x_b and n_c > x_c and n_b > x_b)
    with_it, without = log(x_c / x_b), log((n_c - x_c) / (n_b - x_b))
    t1 = with_it + of_events * 3 * sqrt(1 / x_c + 1 / x_b)
    t0 = without + of_others * 3 * sqrt(1 / (n_c - x_c) + 1 / (n_b - x_b))
    proven = _log_m(x_c, x_b, share, EVENTS, t1) + _log_m(n_c - x_c, n_b - x_b, share, BETS, t0)
    assume(proven < log(1 / 0.045))
    low, high = inner._level(x_c + x_b, n_c + n_b, 1.0, log(1 / 0.005))
    odds = (low + (high - low) * (1 + of_level) / 2) / (1 - (low + (high - low) * (1 + of_level) / 2))
    ours, theirs = (1 + exp(-t0)) / (1 + exp(-t1)), (1 + exp(t0)) / (1 + exp(t1))
    p_c, p_b = odds * ours / (1 + odds * ours), odds * theirs / (1 + odds * theirs)
    told = seen(total, share)
    assert told.difference_low - 1e-6 <= p_c - p_b <= told.difference_high + 1e-6
    assert told.ratio_low * (1 - 1e-6) <= p_c / p_b <= (told.ratio_high or inf) * (1 + 1e-6)


def _log_m(ours: int, theirs: int, share: float, bets: tuple[float, ...], t: float) -> float:
    return log_bets(ours, theirs, share, bets) + ours * log1p(exp(-t)) + theirs * log1p(exp(t))


# ── The promise ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("trials", [1, 2, 7])
@pytest.mark.parametrize(("split", "p_c", "p_b"), [(0.5, 0.2, 0.2), (0.3, 0.9, 0.1), (0.05, 0.01, 0.4)])
def test_both_bets_together_are_expected_to_win_nothing(trials: int, split: float, p_c: float, p_b: float) -> None:
    """All tables of a few trials, the bets near a half whatever the split: E[M1·M0] is 1."""
    cells = (split * p_c, (1 - split) * p_b, split * (1 - p_c), (1 - split) * (1 - p_b))
    t1, t0 = log(cells[0] / cells[1]), log(cells[2] / cells[3])
    expected = 0.0
    for a, b, c in product(range(trials + 1), repeat=3):
        d = trials - a - b - c
        if d < 0:
            continue
        ways = comb(trials, a) * comb(trials - a, b) * comb(trials - a - b, c)
        chance = ways * cells[0] ** a * cells[1] ** b * cells[2] ** c * cells[3] ** d
        expected += chance * exp(_log_m(a, b, 0.5, EVENTS, t1) + _log_m(c, d, 0.5, BETS, t0))
    assert expected == pytest.approx(1, abs=1e-7)  # what lgamma knows near four million


@pytest.mark.parametrize(
    ("share", "split", "p_c", "p_b", "phi"),
    [
        (0.5, 0.5, 0.025, 0.025, 1),
        (0.5, 0.47, 0.1, 0.08, 1),
        (0.1, 0.1, 0.3, 0.3, 1),
        (0.5, 0.5, 0.05, 0.05, 3),
    ],
)
def test_an_interval_that_is_looked_at_all_the_time_holds_the_truth(
    share: float, split: float, p_c: float, p_b: float, phi: int
) -> None:
    """150 experiments, 60 looks each: at most 5 % may ever miss; a book's interval misses in a quarter of them.

    Only looks whose estimate is 2.3 standard errors off are computed: no interval is narrower.
    """
    draw, paths, looks = np.random.default_rng(11), 150, 60
    ours = draw.binomial(600, split, (paths, looks))
    n = np.stack([ours, 600 - ours], axis=2)
    x = phi * np.cumsum(draw.binomial(n, (p_c, p_b)), axis=1)
    n = phi * np.cumsum(n, axis=1)
    missed = by_the_book = 0
    for path in range(paths):
        ever = book = False
        for (n_c, n_b), (x_c, x_b) in zip(n[path].tolist(), x[path].tolist(), strict=True):
            if not x_c or not x_b:
                continue
            error = sqrt(phi * (1 / x_c - 1 / n_c + 1 / x_b - 1 / n_b))
            off = abs(log(x_c * n_b / (x_b * n_c) * p_b / p_c)) / error
            book = book or off > 1.96
            if off < 2.3:
                continue
            told = seen(Tally(n_c, x_c, n_b, x_b), share, phi)
            inside = told.difference_low <= p_c - p_b <= told.difference_high
            ever = ever or not (inside and told.ratio_low <= p_c / p_b <= (told.ratio_high or inf))
        missed, by_the_book = missed + ever, by_the_book + book
    assert missed / paths <= 0.05
    assert by_the_book / paths > 0.15


# ── How much it says ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("days", "errors"), [(1, 3.25), (7, 3.55), (14, 3.7)])
def test_its_width_at_the_traffic_of_the_article(days: int, errors: float) -> None:
    """350 a minute at 2.5 %, half and half: in standard errors of the log-ratio; a single look has 1.96."""
    n = 252_000 * days
    told = seen(Tally(n, n // 40, n, n // 40))
    assert told.ratio_high is not None
    error = sqrt(2 * (40 - 1) / n)
    assert 2.9 < log(told.ratio_high) / error < errors


@pytest.mark.parametrize(("trials", "least", "most"), [(20_000, 0, 0.1), (150_000, 0.6, 0.95), (250_000, 0.95, 1)])
def test_a_lift_of_a_tenth_is_shown_once_there_are_enough_trials(trials: int, least: float, most: float) -> None:
    draw = np.random.default_rng(5).binomial(trials, (0.0275, 0.025), (60, 2)).tolist()
    found = [seen(Tally(trials, x_c, trials, x_b)).shown for x_c, x_b in draw]
    assert least <= found.count("better") / 60 <= most
    assert "worse" not in found


def test_a_broken_candidate_is_shown_after_few_trials() -> None:
    assert seen(Tally(1000, 2, 1000, 30)).shown == "worse"
    assert seen(Tally(50, 2, 950, 30)).shown is None


# ── Zeros ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("total", [Tally(), Tally(0, 0, 500, 9), Tally(500, 9, 0, 0)])
def test_without_one_side_nothing_is_excluded(total: Tally) -> None:
    told = seen(total)
    assert (told.difference_low, told.difference_high, told.ratio_low, told.ratio_high) == (-1, 1, 0, None)
    assert told.shown is None
    assert told.sentence == f"conversion: nothing to compare yet: {total.n_c} and {total.n_b} sessions"


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_where_nothing_is_split_nothing_is_excluded(share: float) -> None:
    assert seen(Tally(9000, 100, 9000, 900), share).shown is None


def test_without_events_only_the_difference_is_bounded() -> None:
    told = seen(Tally(1000, 0, 1000, 0))
    assert (told.ratio, told.ratio_low, told.ratio_high) == (None, 0, None)
    assert -0.02 < told.difference_low < 0 < told.difference_high < 0.02


def test_events_without_their_trials_count_as_trials() -> None:
    assert seen(Tally(3, 5, 100, 2)) == seen(Tally(5, 5, 100, 2))


# ── In words ────────────────────────────────────────────────────────────────────────────────────


def test_the_sentence_has_the_numbers() -> None:
    assert seen(Tally(12_034, 314, 12_101, 302)).sentence == (
        "conversion: 2.61 % against 2.50 % of stable: +4.6 % relative, between \u221217.3 % and +32.3 % "
        "(95 %, whenever looked at), 12 034 and 12 101 sessions: no effect shown"
    )


@pytest.mark.parametrize(
    ("total", "words"),
    [
        (Tally(1000, 0, 1000, 0), "none on either side: between \u22121.1 and +1.1 percentage points ("),
        (Tally(1000, 30, 1000, 0), "3.00 % against 0 % of stable: between +0.5 and +6.6 percentage points ("),
        (Tally(9, 0, 900, 20), "0 % against 2.22 % of stable: \u2212100.0 % relative, nothing excluded yet ("),
        (Tally(10, 2, 10, 2), "20.0 % against 20.0 % of stable: 0.0 % relative, between"),
    ],
)
def test_zeros_have_words_of_their_own(total: Tally, words: str) -> None:
    assert words in seen(total).sentence


def test_which_way_is_bad_decides_what_is_better() -> None:
    more, fewer = Tally(90_000, 2700, 90_000, 2200), Tally(90_000, 2200, 90_000, 2700)
    assert [seen(more).shown, seen(fewer).shown] == ["better", "worse"]
    assert [effect(total, name="errors", share=0.5).shown for total in (more, fewer)] == ["worse", "better"]
    assert seen(more).sentence.endswith("90 000 and 90 000 sessions: better")


def test_what_is_rounded_is_rounded_to_the_careful_side() -> None:
    told = seen(Tally(10**9, 25_000_000, 10**9, 25_000_000))
    assert told.ratio_high is not None
    words = told.sentence.partition("between ")[2].partition(" (")[0].replace("\u2212", "-").replace(" %", "")
    low, high = (float(word) for word in words.split(" and "))
    assert low <= 100 * (told.ratio_low - 1)
    assert high >= 100 * (told.ratio_high - 1)
    assert high - low < 0.3
