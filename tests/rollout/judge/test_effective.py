"""Too few requests are undecided, stable's own trouble excuses, and missing answers excuse nothing."""

from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.gates.ceiling import CeilingGate
from rollout.gates.threshold import ThresholdGate
from rollout.judge.effective import effective
from rollout.judge.threshold import Excuse, Vector, fold
from rollout.judge.verdict import GateState, Verdict
from tests.rollout.given import HEAVY, NOW_MS, gate

CANARY, STABLE = '{version="canary"}', '{version="stable"}'
COUNTED = gate(requests="n", **{"for": 0})
BESIDE = gate(unless_baseline="y", **{"for": 0})
BOTH = gate(requests="n", unless_baseline="y", **{"for": 0})
RANK = {Verdict.NO_DATA: 0, Verdict.HEALTHY: 0, Verdict.UNDECIDED: 1, Verdict.BREACHED: 2}


def judged(rule: ThresholdGate | CeilingGate, *answers: Vector) -> GateState:
    return fold(rule, GateState(watermark_ms=NOW_MS), NOW_MS + 1000, effective(rule, answers), counting=True)


def excuse(rule: ThresholdGate, *answers: Vector) -> Excuse | None:
    [*found] = effective(rule, answers).excuses.values()
    return found[0] if found else None


def test_without_options_nothing_is_excused() -> None:
    assert effective(gate(), [{"": 0.9}]) == ({"": 0.9}, "", {})


@pytest.mark.parametrize(
    ("requests", "verdict", "sentence"),
    [
        ({"": 19.9}, "undecided", "0.5, but of 19 requests only, too few to judge (limit: {})"),
        ({}, "undecided", "0.5, but nobody says of how many requests (at least 20 are needed) (limit: {})"),
        ({"": nan}, "undecided", "0.5, but nobody says of how many requests (at least 20 are needed) (limit: {})"),
        ({"": 20.0}, "breached", "0.5, beyond its limit for 0s (limit: {})"),
    ],
)
def test_a_ratio_of_a_few_requests_is_no_verdict(requests: Vector, verdict: str, sentence: str) -> None:
    state = judged(COUNTED, {"": 0.5}, requests)
    assert state.verdict == verdict
    assert state.sentence == sentence.format("above 0.05, from 20 requests on")


def test_a_good_ratio_of_a_few_requests_is_no_health() -> None:
    assert judged(COUNTED, {"": 0.0}, {"": 3}).verdict is Verdict.UNDECIDED
    assert judged(COUNTED, {"": 0.0}, {"": 30}).verdict is Verdict.HEALTHY


def test_no_value_is_no_data_whatever_was_counted() -> None:
    assert judged(COUNTED, {}, {"": 100}).verdict is Verdict.NO_DATA
    assert judged(COUNTED, {"": nan}, {"": 0}).verdict is Verdict.NO_DATA


def test_an_outage_of_both_versions_is_not_the_candidate_s() -> None:
    state = judged(BESIDE, {CANARY: 0.12}, {STABLE: 0.11})
    assert state.verdict is Verdict.HEALTHY
    assert state.sentence == f"0.12 for {CANARY}, but stable has 0.11 (limit: above 0.05, if above 2× stable's)"
    assert judged(BESIDE, {CANARY: 0.23}, {STABLE: 0.11}).verdict is Verdict.BREACHED


@pytest.mark.parametrize("baseline", [{}, {"": nan}, {"": inf}, {'{pod="z"}': 0.9}, {STABLE: 0.9, CANARY: 0.9}])
def test_without_a_baseline_bad_is_bad(baseline: Vector) -> None:
    assert judged(BESIDE, {CANARY: 0.12}, baseline).verdict is Verdict.BREACHED


def test_label_sets_are_matched_without_the_version() -> None:
    value = {'{path="/a", version="canary"}': 0.2, '{path="/b", version="canary"}': 0.2}
    baseline = {'{path="/a", version="stable"}': 0.15, '{path="/b", version="stable"}': 0.001}
    assert list(effective(BESIDE, [value, baseline]).excuses) == ['{path="/a", version="canary"}']


def test_one_nameless_answer_is_about_all() -> None:
    value = {'{path="/a"}': 0.2, '{path="/b"}': 0.2}
    assert len(effective(COUNTED, [value, {"": 5}]).excuses) == 2
    assert len(effective(COUNTED, [value, {"": 5, '{path="/a"}': 50}]).excuses) == 1


def test_too_few_requests_come_before_the_baseline() -> None:
    assert excuse(BOTH, {"": 0.2}, {"": 5}, {"": 0.2}) == Excuse("of 5 requests only, too few to judge", decided=False)
    assert excuse(BOTH, {"": 0.2}, {"": 50}, {"": 0.2}) == Excuse("stable has 0.2", decided=True)
    assert excuse(BOTH, {"": 0.01}, {"": 50}, {"": 0.2}) is None


def test_every_query_has_an_answer() -> None:
    with pytest.raises(ValueError, match=r"^3 answers are wanted, not 2$"):
        effective(BOTH, [{"": 0.1}, {"": 50}])


def test_a_ceiling_of_its_own_is_not_about_stable_s_pods() -> None:
    own = CeilingGate(query="memory", above=0.9)
    assert judged(own, {STABLE: 0.99, CANARY: 0.5}).verdict is Verdict.HEALTHY
    assert judged(own, {STABLE: 0.5, CANARY: 0.99}).verdict is Verdict.BREACHED
    assert judged(own, {"": 0.99}).verdict is Verdict.BREACHED
    alone = judged(own, {STABLE: 0.5})
    assert (alone.verdict, alone.sentence) == (Verdict.NO_DATA, "the query answers for stable only")


numbers = st.sampled_from([0.0, 0.04, 0.06, 0.2, 0.9, 5.0, 25.0, nan, inf]) | st.floats(0, 100)
vectors = st.dictionaries(st.sampled_from(["", CANARY, '{pod="a"}', '{pod="a", version="stable"}']), numbers)


@given(st.sampled_from([COUNTED, BESIDE, BOTH]), vectors, vectors, vectors, st.floats(0, 10))
@HEAVY
def test_a_worse_value_is_never_judged_better(
    rule: ThresholdGate, value: Vector, one: Vector, other: Vector, more: float
) -> None:
    answers = [one, other][: len(rule.queries) - 1]
    worse = {labels: number + more for labels, number in value.items()}
    assert RANK[judged(rule, worse, *answers).verdict] >= RANK[judged(rule, value, *answers).verdict]


@given(st.sampled_from([COUNTED, BOTH]), vectors)
@HEAVY
def test_missing_answers_never_make_health_and_never_a_verdict_from_too_few(rule: ThresholdGate, value: Vector) -> None:
    nothing: list[Vector] = [{}] * (len(rule.queries) - 1)
    verdict = judged(rule, value, *nothing).verdict
    assert verdict in {Verdict.UNDECIDED, Verdict.NO_DATA}


@given(vectors, vectors)
@HEAVY
def test_a_baseline_only_ever_excuses(value: Vector, baseline: Vector) -> None:
    plain, beside = judged(gate(**{"for": 0}), value), judged(BESIDE, value, baseline)
    assert set(beside.active) <= set(plain.active)
    assert judged(BESIDE, value, {}).verdict is plain.verdict
