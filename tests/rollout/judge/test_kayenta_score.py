"""Kayenta's score, thresholds and schedule: its own cases (spinnaker/kayenta, Apache License 2.0) and their edges."""

import json
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from rollout.judge.kayenta import Judged, Label, Outcome, goes_on, outcome, schedule, score, succeeds

Row = dict[str, Any]
ROWS: list[Row] = json.loads((Path(__file__).parent / "kayenta" / "scorer.json").read_text(encoding="utf-8"))["rows"]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row["name"]))
def test_we_score_as_kayenta_does(row: Row) -> None:
    said = score(
        [Judged(Label(label), (group,), critical) for label, group, critical in row["metrics"]], row["weights"]
    )
    assert said.value == row["expect"]
    assert said.groups == row.get("groups", said.groups)


def test_all_its_cases_of_a_score_are_here() -> None:
    assert len(ROWS) == 13


def test_muted_metrics_do_not_count() -> None:
    passed, failed = Judged(Label.PASS, ("a",)), Judged(Label.HIGH, ("a",), critical=True, muted=True)
    assert score([passed, failed]).value == 100
    assert score([failed]) == (0, {}, "no metric to score")


def test_errors_do_not_count_but_missing_required_data_does() -> None:
    passed, error = Judged(Label.PASS, ("a",)), Judged(Label.ERROR, ("a",))
    assert score([passed, error]).value == 100
    assert score([passed, Judged(Label.NODATA_FAIL_METRIC, ("a",))]).value == 50


def test_a_metric_counts_in_each_of_its_groups() -> None:
    said = score([Judged(Label.PASS, ("a", "b")), Judged(Label.HIGH, ("b",))], {"a": 60})
    assert said == (80, {"a": 100, "b": 50}, "")


def test_half_without_data_is_too_much() -> None:
    passed, missing = Judged(Label.PASS, ("a",)), Judged(Label.NODATA, ("a",))
    assert score([passed, missing]).reason == "half of the metrics or more have no data"
    assert score([passed, passed, missing]).value == 100


def test_a_weight_for_a_group_without_metrics_is_lost() -> None:
    assert score([Judged(Label.PASS, ("a",))], {"a": 60, "b": 40}).value == 60


def test_halves_of_a_cent_round_up() -> None:
    assert score([Judged(Label.PASS, ("a",)), Judged(Label.HIGH, ("b",))], {"a": 0.125, "b": 99.875}).value == 0.13


@pytest.mark.parametrize(
    ("value", "says"), [(95, Outcome.PASS), (94.99, Outcome.MARGINAL), (75, Outcome.MARGINAL), (74.99, Outcome.FAIL)]
)
def test_thresholds_belong_to_the_better_side(value: float, says: Outcome) -> None:
    assert outcome(value, 95, 75) is says


# GenerateCanaryAnalysisResultTaskTest.java of spinnaker/kayenta (Apache License 2.0)
@pytest.mark.parametrize(
    ("last", "marginal", "pass_", "good"),
    [(95, None, None, True), (60, 75, 95, False), (85, 75, None, True), (85, 75, 95, False), (97, 75, 95, True)],
)
def test_the_last_score_decides(last: float, marginal: float | None, pass_: float | None, good: bool) -> None:
    assert succeeds(last, pass_, marginal) is good
    assert succeeds(last, last, None)


def test_a_score_at_marginal_is_marginal_and_still_ends_the_analysis() -> None:
    assert outcome(75, 95, 75) is Outcome.MARGINAL
    assert not goes_on(75, 75)
    assert not succeeds(75, 75, 75)
    assert goes_on(75.01, 75)
    assert goes_on(0, None)


# ── The schedule ────────────────────────────────────────────────────────────────────────────────


def minutes(windows: Sequence[tuple[timedelta, timedelta]]) -> list[tuple[float, float]]:
    return [(start.total_seconds() / 60, end.total_seconds() / 60) for start, end in windows]


def m(count: float) -> timedelta:
    return timedelta(minutes=count)


# SetupAndExecuteCanariesStageTest.java of spinnaker/kayenta (Apache License 2.0)
def test_a_window_grows_from_the_start() -> None:
    assert minutes(schedule(m(15), m(3))) == [(0, 3 * number) for number in range(1, 6)]


def test_a_warm_up_moves_every_window() -> None:
    assert minutes(schedule(m(15), m(3), warmup=m(4))) == [(4, 3 * number + 4) for number in range(1, 6)]


def test_a_lookback_slides_the_window() -> None:
    windows = minutes(schedule(m(25), m(5), lookback=m(5)))
    assert windows == [((number - 1) * 5, number * 5) for number in range(1, 6)]


def test_without_an_interval_there_is_one_judgement_at_the_end() -> None:
    for interval in (None, m(0), m(3), m(4)):
        assert minutes(schedule(m(3), interval)) == [(0, 3)]


def test_a_lookback_may_reach_back_before_the_start() -> None:
    assert minutes(schedule(m(5), lookback=m(8))) == [(-3, 5)]
    assert minutes(schedule(m(5), lookback=m(-8))) == [(0, 5)]


def test_a_last_part_of_an_interval_is_not_judged() -> None:
    assert minutes(schedule(m(10), m(4))) == [(0, 4), (0, 8)]


@pytest.mark.parametrize(("lifetime", "interval"), [(m(0), None), (m(-1), None), (m(5), m(-1))])
def test_a_lifetime_of_nothing_is_refused(lifetime: timedelta, interval: timedelta | None) -> None:
    with pytest.raises(ValueError, match="above 0"):
        schedule(lifetime, interval)
