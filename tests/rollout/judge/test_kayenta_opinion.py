"""A second opinion on our Mann-Whitney test: scipy's ranks and p-values, and what must hold for any samples."""

from collections.abc import Sequence
from math import inf, sqrt
from random import Random
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu, rankdata  # type: ignore[import-untyped]  # scipy ships no types

from rollout.judge.kayenta import Judged, Label, _Ranks, classify, location_shift, score

Samples = list[float]

# Small whole numbers tie often, and shifting them by quarters is exact.
samples = st.lists(st.integers(-12, 12).map(float), min_size=2, max_size=25)
positive = st.lists(st.integers(1, 40).map(float), min_size=2, max_size=25)
labels = st.sampled_from([Label.PASS, Label.HIGH, Label.LOW, Label.ERROR, Label.NODATA, Label.NODATA_FAIL_METRIC])
judged = st.lists(st.builds(Judged, labels, st.tuples(st.sampled_from("ab"))), min_size=1, max_size=8)


def by_scipy(shift: float, experiment: Samples, control: Samples) -> float:
    """The statistic from scipy's average ranks, the long way."""
    n, m = len(experiment), len(control)
    ranks = rankdata([*(value - shift for value in experiment), *control])
    w = float(ranks[:n].sum()) - n * (n + 1) / 2 - n * m / 2
    ties = sum(int(t) ** 3 - int(t) for t in np.unique(ranks, return_counts=True)[1])
    sigma = sqrt(n * m / 12 * (n + m + 1 - ties / ((n + m) * (n + m - 1))))
    return (w - 0.5 * float(np.sign(w))) / sigma


def spread(*sides: Sequence[float]) -> bool:
    return any(len(set(side)) > 1 for side in sides)


@given(samples, samples)
def test_scipy_counts_the_same_pairs_and_finds_the_same_p_value(experiment: Samples, control: Samples) -> None:
    assume(len({*experiment, *control}) > 1)
    ranks = _Ranks(experiment, control)
    says = mannwhitneyu(experiment, control, alternative="two-sided", method="asymptotic", use_continuity=True)
    assert ranks.compare(0.0)[0] == says.statistic
    assert 2 * NormalDist().cdf(-abs(ranks.statistic(0.0))) == pytest.approx(says.pvalue, abs=1e-12)


@given(samples, samples, st.integers(-80, 80).map(lambda quarters: quarters / 4))
def test_scipy_ranks_the_same_under_any_shift(experiment: Samples, control: Samples, shift: float) -> None:
    assume(spread(experiment, control))
    assert _Ranks(experiment, control).statistic(shift) == pytest.approx(by_scipy(shift, experiment, control), abs=1e-9)


@given(samples, samples, st.sampled_from([0.5, 0.9, 0.95, 0.98, 0.999]))
def test_the_limits_are_where_the_statistic_steps_over_its_quantile(
    experiment: Samples, control: Samples, confidence: float
) -> None:
    assume(spread(experiment, control))
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    least, most = min(experiment) - max(control), max(experiment) - min(control)
    shift = location_shift(experiment, control, confidence)
    assert least <= shift.low <= shift.estimate <= shift.high <= most
    for root, level in zip(shift, (z, 0, -z), strict=True):
        before = inf if root == least else by_scipy(root - 0.25, experiment, control)
        after = -inf if root == most else by_scipy(root + 0.25, experiment, control)
        assert before >= level >= after


@given(samples, samples)
def test_swapping_the_sides_turns_the_shift_round(experiment: Samples, control: Samples) -> None:
    there, back = location_shift(experiment, control, 0.98), location_shift(control, experiment, 0.98)
    assert [-limit for limit in reversed(back)] == pytest.approx(list(there), rel=1e-8, abs=1e-10)


@given(positive, positive, st.integers(-40, 40), st.randoms(use_true_random=False))
def test_neither_the_unit_nor_the_order_matters(
    experiment: Samples, control: Samples, power: int, shuffled: Random
) -> None:
    scaled = [value * 2.0**power for value in experiment], [value * 2.0**power for value in control]
    for side in scaled:
        shuffled.shuffle(side)
    assert classify(*scaled)[:3] == classify(experiment, control)[:3]


@example([30.0] * 9 + [31.0], [1.0] * 9 + [2.0], 5)
@given(positive, positive, st.integers(0, 50))
def test_higher_still_is_still_high(experiment: Samples, control: Samples, more: int) -> None:
    if classify(experiment, control).label is Label.HIGH:
        assert classify([value + more for value in experiment], control).label is Label.HIGH


@given(positive, positive)
def test_a_direction_hides_the_other_one_only(experiment: Samples, control: Samples) -> None:
    either = classify(experiment, control).label
    assert classify(experiment, control, direction="increase").label == (Label.PASS if either is Label.LOW else either)
    assert classify(experiment, control, direction="decrease").label == (Label.PASS if either is Label.HIGH else either)


@given(judged, st.randoms(use_true_random=False))
def test_a_score_is_a_percentage_in_any_order(metrics: list[Judged], shuffled: Random) -> None:
    value = score(metrics, {"a": 30}).value
    assert 0 <= value <= 100
    assert score(shuffled.sample(metrics, len(metrics)), {"a": 30}).value == value


@given(judged, st.sampled_from("ab"))
def test_a_failure_in_place_of_a_pass_never_raises_the_score(metrics: list[Judged], group: str) -> None:
    passed = Judged(Label.PASS, (group,))
    failed = passed._replace(label=Label.HIGH)
    assert score([*metrics, failed]).value <= score([*metrics, passed]).value
    assert score([*metrics, failed._replace(critical=True)]).value == 0
