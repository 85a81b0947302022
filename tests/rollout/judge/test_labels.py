"""Labels as text, and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.judge.labels import parsed, text, without
from tests.rollout.given import LIGHT

sets = st.dictionaries(st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_.]{0,8}", fullmatch=True), st.text(max_size=12), max_size=4)


@given(sets)
@LIGHT
def test_what_is_written_can_be_read(labels: dict[str, str]) -> None:
    labels.pop("__name__", None)
    assert parsed(text(labels)) == labels


def test_names_are_sorted_and_the_series_own_is_left_out() -> None:
    labels = {"version": "canary", "pod": 'a "b", c', "__name__": "up"}
    assert text(labels) == '{pod="a \\"b\\", c", version="canary"}'
    assert text({"__name__": "up"}) == text({}) == ""


@pytest.mark.parametrize("written", ["", "a", "{", "{}", '{a="b"', "{a=1}", "{a=}", '{a="b}', 'up{a="b"}', "{=}"])
def test_other_text_is_no_error(written: str) -> None:
    assert set(parsed(written)) <= {"a", "up{a"}


def test_one_label_less() -> None:
    assert without('{pod="x, y", version="canary"}', "version") == '{pod="x, y"}'
    assert without('{version="canary"}', "version") == ""
    assert without('{pod="x"}', "version") == '{pod="x"}'
