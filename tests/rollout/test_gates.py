"""A threshold gate is a value and one limit, however it was written; a gate that counts names counters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from rollout.gates import CountingGate, ErrorRatioGate, Gate, LatencyGate, ProportionGate, ThresholdGate, Versions
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


# ── Gates that count ────────────────────────────────────────────────────────────────────────────

ERRORS: dict[str, object] = {"kind": "error-ratio", "requests": 'r{job="x"}', "errors": 'r{code=~"5.."}'}
SLOW: dict[str, object] = {"kind": "latency", "histogram": 'took_seconds{job="x"}', "slower_than": "300ms"}
ORDERS: dict[str, object] = {"kind": "proportion", "trials": "sessions", "successes": "orders", "bad": "down"}
GATES: TypeAdapter[object] = TypeAdapter(Gate)


def counting(fields: dict[str, object], **changes: object) -> CountingGate:
    read = GATES.validate_python(fields | changes)
    assert isinstance(read, CountingGate)
    return read


def test_the_kind_decides_what_is_read() -> None:
    kinds = [type(GATES.validate_python(fields)) for fields in (ERRORS, SLOW, ORDERS, {"query": "x", "above": 1})]
    assert kinds == [ErrorRatioGate, LatencyGate, ProportionGate, ThresholdGate]


@pytest.mark.parametrize("fields", [ERRORS, SLOW, ORDERS])
@pytest.mark.parametrize("alias", [True, False])
def test_a_gate_that_counts_survives_the_wire_under_both_of_its_names(fields: dict[str, object], alias: bool) -> None:
    there = counting(fields, dispersion=2.5, require="proof", versions={"label": "track", "candidate": "b"})
    assert GATES.validate_json(there.model_dump_json(by_alias=alias)) == there


@pytest.mark.parametrize("fields", [ERRORS, SLOW, ORDERS])
def test_every_gate_that_counts_compares(fields: dict[str, object]) -> None:
    assert counting(fields).compares
    assert not gate().compares


def test_errors_are_counted_among_requests() -> None:
    there = counting(ERRORS)
    assert (there.trials, there.events, there.counts_good) == (ERRORS["requests"], ERRORS["errors"], False)
    assert (there.noun, there.bad, there.floor) == ("errors", "up", 0.001)
    assert there.limit == "more than 1.25× stable's errors, proven by counts"
    assert (there.margin, there.proof, there.dispersion, there.weight, there.min_requests) == (1.25, 2, "auto", 1, 50)


def test_a_share_of_zero_is_no_floor() -> None:
    assert counting(ERRORS, ignore_below=0).floor is None
    assert counting(SLOW, ignore_below=0).floor is None


@pytest.mark.parametrize(
    ("limit", "buckets"),
    [("300ms", "0\\\\.3"), ("1s", "1|1\\\\.0"), ("2.5s", "2\\\\.5"), ("2m", "120|120\\\\.0")],
)
def test_slow_requests_are_those_that_their_bucket_does_not_hold(limit: str, buckets: str) -> None:
    """Servers spell whole seconds differently: both spellings are one bucket."""
    there = counting(SLOW, slower_than=limit)
    assert there.trials == 'took_seconds_count{job="x"}'
    assert there.events == f'took_seconds_bucket{{job="x",le=~"{buckets}"}}'
    assert there.counts_good
    assert there.noun.startswith("requests slower than ")


def test_conversions_are_odds_with_limits_of_their_own() -> None:
    there = counting(ORDERS)
    assert (there.trials, there.events, there.noun, there.bad, there.floor) == (
        "sessions",
        "orders",
        "successes",
        "down",
        None,
    )
    assert (there.margin, there.proof, there.on_breach) == (1.1, 1.5, "hold")
    assert there.limit == "odds lower than stable's by more than 1.1×, proven by counts"
    assert "higher than stable's" in counting(ORDERS, bad="up").limit


def test_both_versions_are_asked_for_at_once() -> None:
    there = counting(ERRORS, versions={"label": "track", "candidate": "v2.0", "stable": "v1"})
    assert there.of_versions(there.trials) == 'r{job="x",track=~"v2\\\\.0|v1"}'
    assert Versions() == Versions(label="version", candidate="canary", stable="stable")


def test_which_way_is_worse_must_be_said() -> None:
    with pytest.raises(ValidationError, match="Field required"):
        ProportionGate.model_validate({"trials": "t", "successes": "s"})
