"""A threshold gate is a value and one limit, however it was written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rollout.gates import ThresholdGate
from tests.rollout.given import ARTICLE, LIGHT, gate

ONE_LIMIT = (
    "Value error, a threshold gate needs one of `above` and `below` (or a query that ends in `> number` or `< number`)"
)
limits = st.floats(allow_nan=False, allow_infinity=False)
values = st.floats(allow_nan=False)


def complaint(**fields: object) -> str:
    with pytest.raises(ValidationError) as refused:
        ThresholdGate.model_validate(fields)
    return refused.value.errors()[0]["msg"]


def test_an_alerting_rule_pasted_word_for_word_becomes_a_value_and_a_limit() -> None:
    pasted = ThresholdGate.model_validate({"query": f"{ARTICLE} > 0.05", "for": "2m"})
    assert pasted == ThresholdGate.model_validate({"query": ARTICLE, "above": 0.05, "for": "2m"})
    assert pasted.limit == "above 0.05 for 2m"


def test_less_than_becomes_below() -> None:
    pasted = ThresholdGate.model_validate({"query": "up < 1"})
    assert (pasted.query, pasted.above, pasted.below, pasted.limit) == ("up", None, 1.0, "below 1")


@pytest.mark.parametrize(
    "fields",
    [
        {"query": "x"},
        {"query": "x", "above": 1, "below": 0},
        {"query": "x", "above": None, "below": None},
        {"query": "x >= 1"},
        {"query": "a > 1 and b > 2"},
        {"query": "x > 1", "above": None},
    ],
)
def test_there_is_exactly_one_limit(fields: dict[str, object]) -> None:
    assert complaint(**fields) == ONE_LIMIT


@pytest.mark.parametrize("limit", ["nan", "inf", float("-inf")])
@pytest.mark.parametrize("side", ["above", "below"])
def test_a_limit_that_no_value_can_pass_is_refused(side: str, limit: object) -> None:
    assert complaint(query="x", **{side: limit}) == "Input should be a finite number"


def test_a_query_is_neither_empty_nor_endless() -> None:
    assert "at least 1 character" in complaint(query="", above=1)
    assert "at most 10000 characters" in complaint(query="x" * 10_001, above=1)


def test_nan_is_never_bad_and_infinity_is_beyond_every_limit_on_its_side() -> None:
    assert not gate(above=1).is_bad(float("nan"))
    assert not gate(above=None, below=1).is_bad(float("nan"))
    assert gate(above=1).is_bad(float("inf"))
    assert gate(above=None, below=1).is_bad(float("-inf"))


def test_a_value_on_the_limit_is_not_beyond_it() -> None:
    assert not gate(above=0.05).is_bad(0.05)
    assert not gate(above=None, below=0.0).is_bad(0.0)


@given(limits, values)
@LIGHT
def test_above_and_below_are_the_comparisons_of_promql(limit: float, value: float) -> None:
    assert gate(above=limit).is_bad(value) == (value > limit)
    assert gate(above=None, below=limit).is_bad(value) == (value < limit)


@given(limits, st.booleans(), st.booleans())
@LIGHT
def test_a_gate_survives_the_wire_under_both_of_its_names(limit: float, over: bool, alias: bool) -> None:
    there = gate(**{"above": limit} if over else {"above": None, "below": limit})
    assert ThresholdGate.model_validate_json(there.model_dump_json(by_alias=alias)) == there
