"""Invented users: what is doubted is what chance would not show."""

import pytest
from scipy.stats import binom  # type: ignore[import-untyped]  # scipy ships no types

from activities.probing import plausible, probes


@pytest.mark.parametrize("percent", [0.01, 1, 5, 25, 50, 99, 99.99])
def test_chance_gives_a_false_alarm_less_than_once_in_a_million(percent: float) -> None:
    believed, total = plausible(percent, 200), 200
    least, most = believed[0], believed[-1]
    outside = binom.cdf(least - 1, total, percent / 100) + binom.sf(most, total, percent / 100)
    assert 0 <= outside <= 1e-6
    inner = binom.cdf(least, total, percent / 100), binom.sf(most - 1, total, percent / 100)
    assert all(each > 5e-7 for each in inner)  # and no wider than that


def test_nobody_is_nobody_and_everybody_is_everybody() -> None:
    assert (plausible(0, 200), plausible(100, 200)) == (range(1), range(200, 201))
    assert 0 not in plausible(25, 200)
    assert 200 not in plausible(75, 200)


def test_invented_users_are_told_apart() -> None:
    assert len({*probes(200)}) == 200
