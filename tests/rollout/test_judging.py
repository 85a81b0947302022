"""How each gate that counts is judged in a stage: out of the spec, the plan and one budget."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout import judging
from rollout.judge.evidence import RESERVE, Test
from rollout.judge.merge import HOLD_ALPHA
from rollout.plan import Judged, Plan, stages
from rollout.spec import RolloutSpec
from tests.rollout.given import HEAVY, ladder, planned, spec

ERRORS = {"kind": "error-ratio", "requests": "r", "errors": "e"}
SLOW = {"kind": "latency", "histogram": "h", "slower_than": "1s", "weight": 3}
ORDERS = {"kind": "proportion", "trials": "t", "successes": "s", "bad": "down"}
RULE = {"query": "x", "above": 1}
STICKY = {"kind": "envoy", "connection": "edge-1", "service": "checkout", "sticky": {}}
LADDER = ladder(
    {"percent": 5, "bake": "10m"},
    {"percent": 25, "bake": "20m", "gates": ["slow", "rule"]},
    {"percent": 50, "bake": "30m"},
    {"percent": 100, "bake": "1h"},
)
EVERY = {"errors": ERRORS, "slow": SLOW, "orders": ORDERS, "rule": RULE}


def wanted(**changes: Any) -> RolloutSpec:
    return spec(**{"strategy": LADDER, "gates": EVERY, "routes": [STICKY], "approvals": None} | changes)


def plan_of(whole: RolloutSpec, **phis: float) -> Plan:
    return planned(whole, judged={name: Judged(phi=phi) for name, phi in phis.items()})


def test_only_gates_that_count_and_are_watched_have_a_test() -> None:
    whole = wanted()
    names = [sorted(judging.tests(whole, plan_of(whole), index)) for index in range(4)]
    assert names == [["errors", "orders", "slow"], ["slow"], ["errors", "orders", "slow"], []]


def test_a_test_is_the_gates_words_its_share_and_its_stage() -> None:
    whole = wanted(policy={"false_rollback": 0.04})
    there = judging.tests(whole, plan_of(whole, errors=2.5), 2)
    assert there["errors"] == Test(
        margin=1.25,
        proof=2.0,
        floor=0.001,
        phi=2.5,
        alpha=0.04 / 4,
        stage=2,
        start=0.3,
        spread=0.2,
        planned_ms=40 * 60_000,
    )
    assert (there["slow"].alpha, there["slow"].phi) == (0.04 * 3 / 4, 3.0)
    assert (there["orders"].kind, there["orders"].bad, there["orders"].alpha) == ("odds", "down", HOLD_ALPHA)


def test_without_history_bursts_are_assumed() -> None:
    whole = wanted()
    assert judging.tests(whole, plan_of(whole), 0)["errors"].phi == Judged().phi == 3


def test_a_gate_counts_its_own_stages_only() -> None:
    rungs = stages(wanted())
    assert judging.watched_in(rungs, "errors") == (0, 2)
    assert judging.watched_in(rungs, "slow") == (0, 1, 2)
    assert judging.schedule_of(rungs, "errors").planned_ms == 40 * 60_000
    assert judging.schedule_of(rungs, "slow").starts == (0.45, 0.15, 0.15)


def test_a_gate_that_does_not_count_has_no_test() -> None:
    whole = wanted()
    with pytest.raises(TypeError, match=r"^gate rule is a threshold: it has no test$"):
        judging.test_of(whole, stages(whole), "rule", 0, 1.0)


@given(
    st.lists(st.tuples(st.integers(1, 86_400), st.sets(st.sampled_from(["errors", "slow"]))), min_size=1, max_size=8),
    st.floats(0.001, 0.2),
    st.floats(0.01, 100),
)
@HEAVY
def test_over_the_whole_rollout_no_budget_and_no_mass_is_spent_twice(
    rungs: list[tuple[int, set[str]]], alpha: float, weight: float
) -> None:
    named = [
        {"percent": number, "bake": 10 + bake, "gates": sorted(names)}
        for number, (bake, names) in enumerate(rungs, start=1)
    ]
    whole = wanted(
        strategy=ladder({"percent": 0.5, "gates": ["errors", "slow"]}, *named, {"percent": 100}),
        gates={"errors": ERRORS | {"weight": weight}, "slow": SLOW},
        policy={"false_rollback": alpha, "max_duration": "30d"},
    )
    plan = plan_of(whole)
    every = [judging.tests(whole, plan, index) for index in range(len(plan.stages))]
    assert sum(test.alpha for test in every[0].values()) == pytest.approx(alpha)
    for name in ("errors", "slow"):
        mine = [tests[name] for tests in every if name in tests]
        assert {test.alpha for test in mine} == {mine[0].alpha}
        assert {test.planned_ms for test in mine} == {mine[0].planned_ms}
        assert sum(test.start for test in mine) + mine[0].spread + RESERVE == pytest.approx(1)
        assert [test.stage for test in mine] == [index for index, tests in enumerate(every) if name in tests]
