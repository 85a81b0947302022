"""Durations are read as people write them, and written so that they read the same."""

from contextlib import suppress
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from rollout.durations import LONGEST, Duration, text
from tests.rollout.given import LIGHT

DURATION: TypeAdapter[timedelta] = TypeAdapter(Duration)
EXAMPLES = "write a duration such as 90s, 5m, 1h30m, PT5M or a number of seconds"
any_duration = st.timedeltas(min_value=timedelta(0), max_value=LONGEST)


def complaint(value: object) -> str:
    with pytest.raises(ValidationError) as refused:
        DURATION.validate_python(value)
    return refused.value.errors()[0]["msg"]


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("90s", 90),
        ("5m", 300),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("1d", 86_400),
        ("500ms", 0.5),
        ("1m500ms", 60.5),
        (" 5m ", 300),
        ("0s", 0),
        ("PT5M", 300),
        ("P1DT1S", 86_401),
        (90, 90),
        (0.25, 0.25),
        (timedelta(minutes=2), 120),
    ],
)
def test_a_duration_is_read_as_people_write_it(written: object, seconds: float) -> None:
    assert DURATION.validate_python(written) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("duration", "written"),
    [
        (timedelta(0), "0s"),
        (timedelta(seconds=45), "45s"),
        (timedelta(seconds=2.5), "2.5s"),
        (timedelta(seconds=90), "1m30s"),
        (timedelta(minutes=90), "1h30m"),
        (timedelta(days=1, seconds=10), "1d10s"),
        (timedelta(microseconds=1), "0.000001s"),
        (timedelta(seconds=600), "10m"),
    ],
)
def test_a_duration_is_shown_as_people_write_it(duration: timedelta, written: str) -> None:
    assert text(duration) == written


@pytest.mark.parametrize("value", ["", "5", "m", "-5m", "5 m", "1h 30m", "5M", "ten minutes", "1e3s", "00:05", True])
def test_what_is_no_duration_is_answered_with_examples(value: object) -> None:
    assert complaint(value) == f"Value error, {EXAMPLES}"


@pytest.mark.parametrize("value", ["P", "P5", None, [], {}, float("nan"), float("inf"), 1e30])
def test_other_nonsense_is_refused(value: object) -> None:
    assert complaint(value)


@pytest.mark.parametrize("value", [-1, timedelta(seconds=-1)])
def test_a_duration_is_not_negative(value: object) -> None:
    assert complaint(value) == "Input should be greater than or equal to 0 seconds"


@pytest.mark.parametrize("value", ["366d", "99999999999d", "9" * 400 + "d", 365 * 86_400 + 1, "P400D"])
def test_nothing_lasts_longer_than_a_year_and_nothing_overflows(value: object) -> None:
    assert complaint(value) == "Input should be less than or equal to 365 days"


@given(any_duration)
@LIGHT
def test_reading_what_was_shown_gives_the_same_duration(duration: timedelta) -> None:
    assert DURATION.validate_python(text(duration)) == duration


@given(any_duration)
@LIGHT
def test_a_duration_survives_the_wire(duration: timedelta) -> None:
    assert DURATION.validate_json(DURATION.dump_json(duration)) == duration


@given(st.text())
@LIGHT
def test_any_text_is_a_duration_or_a_sentence(written: str) -> None:
    with suppress(ValidationError):
        assert timedelta(0) <= DURATION.validate_python(written) <= LONGEST
