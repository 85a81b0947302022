"""Silence is not health: recordings in which something was not heard."""

import pytest

from tests.rollout.given import ladder
from tests.rollout.judge.recordings import ERRORS, RULE, Written, counts, judged, one, traffic, value


@pytest.mark.parametrize(
    "lines",
    [
        [{"at": 5, "percent": 5}],
        [counts(at, [0, 0], [500, 2]) for at in range(5, 600, 5)],
        [counts(at, [25, 0], [0, 0]) for at in range(5, 600, 5)],
        [counts(at, [0, 0], [0, 0]) for at in range(5, 600, 5)],
    ],
)
def test_a_side_that_never_counted_is_no_data(lines: list[Written]) -> None:
    found = one(judged(errors=ERRORS), lines)
    assert found.verdict == "no-data"
    assert "counted nothing in the whole run" in found.reason


def test_a_gate_that_falls_silent_ends_without_data() -> None:
    healthy = list(traffic(0.005, 0.005))
    silent = [{"at": at, "percent": 5} for at in range(605, 1200, 5)]
    assert one(judged(errors=ERRORS), [*healthy, *silent[:50]]).verdict == "healthy"
    found = one(judged(errors=ERRORS), [*healthy, *silent])
    assert (found.verdict, found.reason) == ("no-data", "errors: nothing was counted in the last 9m55s")


def test_a_candidate_that_vanishes_while_stable_counts_is_a_routing_failure() -> None:
    lost = [counts(at, [0, 0], [475, 2]) for at in range(605, 640, 5)]
    found = one(judged(errors=ERRORS), [*traffic(0.005, 0.005), *lost])
    assert found.verdict == "no-data"
    assert "routing: the candidate counts nothing while stable counted" in found.reason


def test_a_gate_that_is_not_watched_any_more_may_be_silent() -> None:
    test = judged(errors=ERRORS, hard_5xx={**RULE, "standing": True})
    last = [value(at, 0.01, percent=100) for at in range(605, 3000, 5)]
    lines = [{**line, "values": {"hard-5xx": 0.01}} for line in traffic(0.005, 0.005)]
    assert one(test, [*lines, *last]).verdict == "healthy"


def test_a_gate_that_is_watched_at_no_percent_of_the_run_decides_nothing() -> None:
    later = ladder({"percent": 5, "bake": "10m", "gates": ["errors"]}, {"percent": 100, "bake": "10m"})
    found = one(judged(errors=ERRORS, hard_5xx=RULE, stages=later), traffic(0.005, 0.005))
    assert (found.verdict, found.gates["hard-5xx"].verdict) == ("healthy", "no-data")
    heard = [{**line, "values": {"hard-5xx": None}} for line in traffic(0.005, 0.005)]
    assert one(judged(errors=ERRORS, hard_5xx=RULE, stages=later), heard).verdict == "no-data"
    elsewhere = one(judged(errors=ERRORS, hard_5xx=RULE, stages=later), traffic(0.005, 0.005, percent=7))
    assert (elsewhere.verdict, elsewhere.reason) == ("no-data", "hard-5xx: not asked yet")


@pytest.mark.parametrize("number", [None, "NaN", "error", float("nan")])
def test_a_rule_without_an_answer_is_no_data(number: object) -> None:
    assert one(judged(hard_5xx=RULE), [value(at, number) for at in range(0, 60, 15)]).verdict == "no-data"


def test_a_rule_whose_queries_go_on_failing_ends_without_data() -> None:
    lines = [value(0, 0.01), *(value(at, "error") for at in range(15, 600, 15))]
    assert one(judged(hard_5xx=RULE), lines[:10]).verdict == "healthy"
    found = one(judged(hard_5xx=RULE), lines)
    assert (found.verdict, found.reason) == ("no-data", "hard-5xx: no answer in the last 9m45s")


def test_worst_news_first() -> None:
    test = judged(errors=ERRORS, hard_5xx=RULE)
    healthy = [{**line, "values": {"hard-5xx": 0.01}} for line in traffic(0.005, 0.005)]
    assert one(test, healthy).verdict == "healthy"
    pending = [value(at, 0.2) for at in range(605, 650, 5)]
    assert one(judged(errors=ERRORS, hard_5xx=RULE), [*healthy, *pending]).verdict == "undecided"
    assert one(judged(errors=ERRORS, hard_5xx=RULE), [*healthy, value(605, None)]).verdict == "no-data"
