"""When a `kayenta` gate is judged."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from rollout.gates import KayentaGate
from rollout.judge.judgements import MOST_AT_ONCE, Canary, due, remarks, times, unfit, window
from rollout.judge.kayenta import schedule
from tests.rollout.given import LIGHT, MINUTE, NOW_MS

HOUR = 60 * MINUTE
FRESH = Canary(NOW_MS)


def gate(**changes: Any) -> KayentaGate:
    return KayentaGate.model_validate({"metrics": [{"name": "latency", "candidate": "c", "stable": "s"}]} | changes)


def minutes(after_ms: int) -> float:
    return (after_ms - NOW_MS) / 60_000


def shown(number: int, **changes: Any) -> tuple[float, float, bool]:
    """From, until (minutes into the stage), and whether it decides."""
    found = window(gate(**changes), HOUR, NOW_MS, number)
    return minutes(found.start_ms), minutes(found.end_ms), found.last


def test_windows_grow_from_the_moment_the_traffic_had_moved() -> None:
    assert [shown(number) for number in (1, 2, 3)] == [(0, 20, False), (0, 40, False), (0, 60, True)]


def test_a_lookback_is_a_window_s_length_and_a_warm_up_comes_first() -> None:
    assert [shown(number, lookback="30m") for number in (1, 3)] == [(-10, 20, False), (30, 60, True)]
    assert [shown(number, warm_up="5m") for number in (1, 3)] == [(5, 25, False), (5, 65, True)]


def test_an_interval_longer_than_the_bake_is_the_bake() -> None:
    assert shown(1, interval="2h") == (0, 60, True)


def test_after_the_last_one_it_goes_on_every_interval() -> None:
    assert shown(5) == (0, 100, True)
    assert shown(5, lookback="20m") == (80, 100, True)


def test_points_begin_with_the_window_and_end_before_it_does() -> None:
    found = times(gate(), window(gate(), HOUR, NOW_MS, 1))
    assert [minutes(at_ms) for at_ms in found] == list(range(20))


@pytest.mark.parametrize(("passed", "numbers"), [(0, []), (19.9, []), (20, [1]), (59.9, [1, 2]), (80, [1, 2, 3, 4])])
def test_a_window_is_due_at_its_end(passed: float, numbers: list[int]) -> None:
    assert [each.number for each in due(gate(), FRESH, HOUR, NOW_MS + round(passed * 60_000))] == numbers


def test_what_is_settled_is_not_due_and_after_the_end_nothing_is() -> None:
    late = NOW_MS + 1000 * 60_000
    assert due(gate(), replace(FRESH, done=2), HOUR, late)[0].number == 3
    assert due(gate(), replace(FRESH, done=3, ended=True), HOUR, late) == ()


def test_a_long_absence_comes_in_parts() -> None:
    found = due(gate(interval="1m"), FRESH, HOUR, NOW_MS + 3_600_000)
    assert [each.number for each in found] == list(range(1, MOST_AT_ONCE + 1))


@given(
    st.timedeltas(MINUTE, HOUR),
    st.timedeltas(MINUTE, 2 * HOUR),
    st.sampled_from([timedelta(0), MINUTE, HOUR]),
    st.timedeltas(timedelta(0), HOUR),
)
@LIGHT
def test_the_bake_s_windows_are_kayenta_s(
    lifetime: timedelta, interval: timedelta, lookback: timedelta, warm_up: timedelta
) -> None:
    asked = gate(interval=interval, lookback=lookback, warm_up=warm_up)
    planned = schedule(lifetime, interval, lookback, warm_up)
    for number, (start, end) in enumerate(planned, 1):
        found = window(asked, lifetime, NOW_MS, number)
        assert (found.number, found.of, found.last) == (number, len(planned), number == len(planned))
        assert found.start_ms == NOW_MS + round(start / timedelta(milliseconds=1))
        assert found.end_ms == NOW_MS + round(end / timedelta(milliseconds=1))
        assert len(times(asked, found)) > 0


def test_what_a_server_or_a_worker_could_not_bear_is_unfit() -> None:
    assert unfit(gate(), HOUR) is None
    assert unfit(gate(interval="1m", lookback="1m"), 24 * HOUR) == (
        "interval 1m makes 1440 judgements of a bake of 1d; 1000 is the most: write a longer one"
    )
    assert unfit(gate(step="1s"), 3 * HOUR) == (
        "step 1s makes 10800 points a side of a bake of 3h; 10000 is the most: write a longer one"
    )
    assert unfit(gate(step="1s", lookback="1h"), 3 * HOUR) is None
    assert unfit(gate(step="1s", interval="4h"), 3 * HOUR) is not None


def test_what_a_bake_leaves_out_is_remarked() -> None:
    assert remarks(gate(interval="1h"), HOUR) == ()
    assert remarks(gate(), 50 * MINUTE) == (
        "its first judgement has 20 points a side; Kayenta asks for 50",
        "the last 10m of a bake of 50m are never judged",
    )
    assert remarks(gate(warm_up="5m", step="10s"), HOUR) == ("with its warm-up it keeps the stage for 1h5m, not 1h",)


def test_what_is_known_survives_being_written_down() -> None:
    wire = TypeAdapter(Canary)
    known = Canary(NOW_MS, done=2, ended=True, score=33.33, labels={"latency": "High"})
    assert wire.validate_json(wire.dump_json(known)) == known
