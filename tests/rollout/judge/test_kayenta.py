"""Kayenta's own tests, asked of our judge.

The rows in `kayenta/*.json` are the numbers of spinnaker/kayenta's tests (Apache License 2.0; the files say which).
Limits and estimates that its suite pins to 1e-6 are compared within 1e-4 where they are what its solver, which stops
1e-4 from the root, happened to leave: there the root is 0 or a multiple of 0.5, and ours says so.
"""

import json
from collections.abc import Sequence
from math import isnan, nan
from pathlib import Path
from time import process_time
from typing import Any

import pytest

from rollout.judge.kayenta import (
    RESOLUTION,
    Label,
    _Ranks,
    classify,
    location_shift,
)

Row = dict[str, Any]
ZEROS = [0.0] * 6


def rows(name: str) -> list[Row]:
    said: dict[str, list[Row]] = json.loads((Path(__file__).parent / "kayenta" / name).read_text(encoding="utf-8"))
    return said["rows"]


def named(row: Row) -> str:
    return str(row["name"])


# ── One metric ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("row", rows("classifier.json"), ids=named)
def test_we_classify_as_kayenta_does(row: Row) -> None:
    said = classify(
        row["e"],
        row["c"],
        tolerance=row["tolerance"],
        confidence=row["conf"],
        direction=row["direction"],
        nan=row["nan"],
        critical=row["critical"],
        allowed=tuple(row["effect"]),
        critical_allowed=tuple(row["critical_effect"]),
        measure=row["measure"],
    )
    assert (said.label.value, said.critical) == (row["expect"], row["expect_critical"])
    assert said.reason
    if "expect_deviation" in row:
        assert said.deviation == pytest.approx(float(row["expect_deviation"]), nan_ok=True)


def test_all_its_cases_are_here() -> None:
    assert [len(rows(name)) for name in ("classifier.json", "mann-whitney.json")] == [34, 4]
    assert {row["expect"] for row in rows("classifier.json")} == {"Pass", "High", "Low", "Nodata"}


@pytest.mark.parametrize(
    ("experiment", "control", "label"),
    [
        pytest.param([0, 1, 2, 1, 0, 0], ZEROS, Label.PASS, id="sparse errors, kayenta#426"),
        pytest.param([100] * 7 + [1] * 3, [1] * 10, Label.PASS, id="seven of ten 100 times higher, spinnaker#6278"),
        pytest.param([100] * 8 + [1] * 2, [1] * 10, Label.HIGH, id="eight of ten 100 times higher, spinnaker#6278"),
    ],
)
def test_we_are_as_blind_as_kayenta(experiment: list[float], control: list[float], label: Label) -> None:
    assert classify(experiment, control).label is label


def test_a_shift_at_zero_has_a_side_and_no_noise() -> None:
    large = next(row for row in rows("classifier.json") if row["name"].endswith("High Metric (Large Input)"))
    grain = RESOLUTION * max(large["e"])
    assert location_shift(large["e"], large["c"], 0.95) == (grain, grain, grain)
    assert location_shift(large["c"], large["e"], 0.95) == (-grain, -grain, -grain)


def test_fractions_and_percents_get_the_same_answer() -> None:
    control = [0.0048, 0.0051, 0.0050, 0.0049, 0.0052, 0.0047, 0.0050, 0.0053, 0.0046, 0.0051]
    experiment = [value + 0.0002 * rank for rank, value in enumerate(control)]
    fractions, percents = (
        location_shift([value * unit for value in experiment], [value * unit for value in control], 0.98)
        for unit in (1, 100)
    )
    assert [limit * 100 for limit in fractions] == pytest.approx(list(percents), rel=1e-6)


def test_constant_sides_need_no_noise() -> None:
    assert location_shift([10.0] * 5, [1.0] * 5, 0.98) == (9, 9, 9)
    assert location_shift([0.3] * 4, [0.1] * 7, 0.98) == (0.3 - 0.1,) * 3
    assert classify([10.0] * 2, [1.0]).label is Label.HIGH
    assert classify([1.0], [10.0] * 2).label is Label.LOW


def test_the_tolerance_forgives_a_share_of_the_shift_in_both_directions() -> None:
    lower = [float(value) for value in range(1, 11)]
    higher = [value + 6 for value in lower]
    assert classify(higher, lower, tolerance=0.01).label is Label.HIGH
    assert classify(lower, higher, tolerance=0.01).label is Label.LOW
    assert classify(higher, lower, tolerance=0.99).label is Label.PASS
    assert classify(lower, higher, tolerance=0.99).label is Label.PASS


def test_an_effect_at_its_threshold_counts() -> None:
    twice, once = [20.0] * 5, [10.0] * 5
    assert classify(twice, once, allowed=(1, 2)).label is Label.HIGH
    assert classify(twice, once, allowed=(1, 2.01)).label is Label.PASS
    assert classify(once, twice, allowed=(0.5, 1)).label is Label.LOW
    assert classify(once, twice, allowed=(0.49, 1)).label is Label.PASS
    assert [classify(twice, once, critical=True, critical_allowed=(1, c)).critical for c in (2, 2.01)] == [True, False]
    assert [classify(once, twice, critical=True, critical_allowed=(c, 1)).critical for c in (0.5, 0.49)] == [
        True,
        False,
    ]


@pytest.mark.parametrize("sides", [([0.0] * 3, [0.0] * 2), ([-1.0, 1.0], [1.0, -1.0]), ([5.0], [5.0])])
def test_equal_sides_have_the_effect_one_whatever_is_measured(sides: tuple[list[float], list[float]]) -> None:
    assert classify(*sides)[:3] == classify(*sides, measure="cles", critical=True)[:3] == (Label.PASS, False, 1)


def test_the_reason_says_what_was_seen() -> None:
    said = classify([20.0] * 5, [10.0] * 5, critical=True)
    assert said.reason == "critically high: shift 10 (10 to 10), effect 2"
    assert classify([20.0] * 5, [10.0] * 5, direction="decrease").reason == "pass: shift 10 (10 to 10), effect 2"


def test_missing_points_are_dropped_or_zero() -> None:
    higher, lower = [20.0, None, 22.0, nan, 21.0, 25.0, 30.0], [1.0, 2.2, 1.1, 2.5, 3.0]
    assert classify(higher, lower).deviation == pytest.approx(23.6 / 1.96)
    assert classify(higher, lower, nan="replace").deviation == pytest.approx(118 / 7 / 1.96)
    assert classify([None] * 3, [0.0] * 2, nan="replace").label is Label.PASS


@pytest.mark.parametrize("sides", [([], [1.0]), ([1.0], []), ([None, nan], [1.0]), ([], [])])
def test_no_data_is_no_pass(sides: tuple[Sequence[float | None], Sequence[float | None]]) -> None:
    assert classify(*sides)[:2] == (Label.NODATA, False)
    assert classify(*sides, critical=True)[:2] == (Label.NODATA, True)
    assert classify(*sides, must_have_data=True)[:2] == (Label.NODATA_FAIL_METRIC, False)
    assert classify(*sides, must_have_data=True, critical=True)[:2] == (Label.NODATA, True)
    assert isnan(classify(*sides).deviation)


def test_the_reason_names_the_side_without_data() -> None:
    assert classify([], [1.0]).reason == "no data for the experiment"
    assert classify([1.0], []).reason == "no data for the control"


@pytest.mark.parametrize("sides", [([5.0], [3.0]), ([1.0, float("inf")], [1.0, 2.0]), ([1e308] * 9, [-1e308] * 9)])
def test_what_cannot_be_ranked_is_an_error_and_loses_critical(sides: tuple[list[float], list[float]]) -> None:
    said = classify(*sides, critical=True)
    assert said[:2] == (Label.ERROR, False)
    assert isnan(said.deviation)


def test_smallest_values_end_too() -> None:
    assert classify([5e-324, 0.0, 0.0], [0.0, 0.0, 0.0]).label is Label.PASS


def test_an_outlier_is_dropped_on_request() -> None:
    control = [float(value) for value in range(1, 201)]
    spiked = [*control, 1e6]
    assert classify(spiked, control).deviation > 40
    assert classify(spiked, control, outliers="remove").deviation == 1
    assert classify([7.0], control, outliers="remove").label is Label.PASS
    assert classify(spiked, control, outliers="remove", outlier_factor=1e5).deviation > 40


@pytest.mark.parametrize("rare", [5.0, 15.0])
def test_what_one_point_in_twenty_does_is_no_outlier(rare: float) -> None:
    experiment, control = [10.0] * 95 + [rare] * 5, [10.0] * 90 + [9.0] * 10
    assert classify(experiment, control, outliers="remove") == classify(experiment, control)


def test_the_usual_effect_depends_on_the_measure() -> None:
    higher, lower = [20.0, 22.0, 21.0, 25.0, 30.0, 28.0], [11.0, 12.2, 11.1, 12.5, 13.0, 12.8]
    assert classify(higher, lower, measure="cles", critical=True)[:3] == (Label.HIGH, True, 1)
    assert classify(lower, higher, measure="cles", critical=True)[:3] == (Label.LOW, True, 0)
    assert classify(lower, higher, critical=True)[:2] == (Label.LOW, True)
    higher, overlapping = higher * 2, [*lower, *lower[1:], 24.0]
    assert classify(higher, overlapping, measure="cles", critical=True)[:2] == (Label.HIGH, True)
    assert classify(overlapping, higher, measure="cles", critical=True)[:2] == (Label.LOW, True)
    assert classify(higher, overlapping, measure="cles").deviation == pytest.approx(1 - 6 / 144)


@pytest.mark.parametrize("wrong", [{"tolerance": -0.1}, {"tolerance": nan}, {"confidence": 1.0}, {"confidence": 0.0}])
def test_impossible_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="tolerance"):
        classify([1.0, 2.0], [3.0, 4.0], **wrong)


@pytest.mark.parametrize("wrong", [{"direction": "up"}, {"measure": "mean"}, {"nan": "none"}, {"outliers": "drop"}])
def test_unknown_words_are_refused_even_without_data(wrong: dict[str, Any]) -> None:
    with pytest.raises(KeyError):
        classify([], [], **wrong)


def test_a_thousand_points_a_side_take_milliseconds() -> None:
    control = [(number * 7919 % 1009) / 1009 + number / 1e6 for number in range(1000)]
    experiment = [(number * 104729 % 1009) / 997 + number / 1e7 for number in range(1000)]

    def spent() -> float:
        before = process_time()
        classify(experiment, control)
        return process_time() - before

    assert min(spent() for _ in range(3)) < 0.1


# ── The shift ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("row", rows("mann-whitney.json"), ids=named)
def test_limits_and_estimate_are_those_of_r(row: Row) -> None:
    shift = location_shift(row["e"], row["c"], row["conf"])
    assert list(shift) == pytest.approx(row["expect"], rel=0, abs=row["within"])
    assert [limit > 0 for limit in shift] == [limit > 0 for limit in row["expect"]]


@pytest.mark.parametrize("row", rows("mann-whitney.json"), ids=named)
def test_the_statistic_is_that_of_r(row: Row) -> None:
    ranks = _Ranks(row["e"], row["c"])
    assert [ranks.statistic(shift) for shift, _ in row["statistic"]] == pytest.approx(
        [g for _, g in row["statistic"]], rel=0, abs=1e-6
    )
