"""Many gates, one budget: shares, schedules, and evidence that adds up."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ville.evalues import combine  # type: ignore[import-untyped]  # ville ships no types

from rollout.gates import AnyGate, ErrorRatioGate, LatencyGate, ProportionGate
from rollout.judge import merge
from rollout.judge.evidence import RESERVE, Test
from rollout.judge.merge import HOLD_ALPHA, Budget, alpha_of, budgets, caught, merged, schedule, shares
from tests.rollout.given import HEAVY, LIGHT, gate

ERRORS = {"requests": "r", "errors": "e"}
NAMES = st.sampled_from(["errors", "slow", "conversion", "bounce", "cart"])
E_VALUES = st.floats(0, 1e9) | st.sampled_from([0.0, 1.0, 99.9, 100.0])


def errors(**changes: object) -> ErrorRatioGate:
    return ErrorRatioGate.model_validate(ERRORS | changes)


def conversion(**changes: object) -> ProportionGate:
    return ProportionGate.model_validate({"trials": "t", "successes": "s", "bad": "down"} | changes)


@st.composite
def gates(draw: st.DrawFn) -> dict[str, AnyGate]:
    every: dict[str, AnyGate] = {"rule": gate()}
    for name in draw(st.sets(NAMES, min_size=1)):
        every[name] = errors(weight=draw(st.floats(0.01, 1000)), on_breach=draw(st.sampled_from(["rollback", "hold"])))
    return every


# ── Shares and budgets ──────────────────────────────────────────────────────────────────────────


@given(gates())
@LIGHT
def test_each_budget_is_shared_out_in_full_and_once(every: dict[str, AnyGate]) -> None:
    found = budgets(every, 0.01)
    for budget in found:
        assert sum(budget.shares.values()) == pytest.approx(1)
    together = [name for budget in found for name in budget.shares]
    assert sorted(together) == sorted(set(every) - {"rule"})
    assert shares(every) == {name: share for budget in found for name, share in budget.shares.items()}


def test_rolling_back_and_holding_have_a_budget_each_and_rolling_back_comes_first() -> None:
    every = {"orders": conversion(), "a": errors(weight=3), "b": errors(), "rule": gate()}
    assert budgets(every, 0.02) == (
        Budget(alpha=0.02, shares={"a": 0.75, "b": 0.25}),
        Budget(alpha=HOLD_ALPHA, shares={"orders": 1.0}),
    )
    assert (alpha_of(every["a"], 0.02), alpha_of(every["orders"], 0.02)) == (0.02, HOLD_ALPHA)


def test_gates_that_do_not_count_have_no_budget() -> None:
    assert budgets({"rule": gate()}, 0.01) == ()
    assert shares({"rule": gate()}) == {}


# ── When bets are placed ────────────────────────────────────────────────────────────────────────


@given(st.lists(st.integers(0, 86_400_000), min_size=1, max_size=50))
@LIGHT
def test_the_masses_of_all_stages_are_at_most_1(bakes: list[int]) -> None:
    placed = schedule(bakes)
    assert len(placed.starts) == len(bakes)
    assert sum(placed.starts) + placed.spread + RESERVE == pytest.approx(1)
    assert min(placed.starts) > 0
    assert placed.planned_ms == sum(bakes)


def test_most_is_bet_at_the_beginning() -> None:
    assert schedule([600_000]) == ((0.5,), 0.45, 600_000)
    assert schedule([1, 2, 3]).starts == (0.45, 0.15, 0.15)


def test_what_a_person_wrote_is_what_is_judged() -> None:
    placed = schedule([1000, 2000])
    slow = LatencyGate.model_validate(
        {"histogram": "h", "slower_than": "300ms", "margin": 1.5, "proof": 3, "ignore_below": 0}
    )
    assert merge.test_for(slow, alpha=0.004, phi=2.5, stage=1, start=0.3, schedule=placed) == Test(
        kind="whose",
        bad="up",
        margin=1.5,
        proof=3,
        floor=None,
        phi=2.5,
        alpha=0.004,
        stage=1,
        start=0.3,
        spread=0.2,
        planned_ms=3000,
    )
    test = merge.test_for(conversion(), alpha=0.05, phi=1, stage=0, start=0.5, schedule=placed)
    assert (test.kind, test.bad, test.margin, test.proof, test.floor) == ("odds", "down", 1.1, 1.5, None)


# ── Merging ─────────────────────────────────────────────────────────────────────────────────────


@given(st.dictionaries(NAMES, E_VALUES, min_size=1), st.data())
@LIGHT
def test_it_is_the_weighted_mean_whatever_the_order(values: dict[str, float], data: st.DataObject) -> None:
    weights = {name: data.draw(st.floats(0.001, 1)) for name in values}
    weights = {name: weight / sum(weights.values()) for name, weight in weights.items()}
    shuffled = {name: weights[name] for name in data.draw(st.permutations(list(weights)))}
    theirs = combine(np.array(list(values.values())), weights=np.array([weights[name] for name in values]))
    assert merged(values, weights) == merged(dict(reversed(values.items())), shuffled)
    assert merged(values, weights) == pytest.approx(float(theirs))


def test_a_gate_that_has_said_nothing_counts_as_1() -> None:
    assert merged({"a": 9.0}, {"a": 0.5, "b": 0.5}) == 5


@given(gates(), st.dictionaries(NAMES, E_VALUES), st.data())
@HEAVY
def test_the_order_of_gates_does_not_matter(
    every: dict[str, AnyGate], values: dict[str, float], data: st.DataObject
) -> None:
    there = budgets(every, 0.01)
    mixed = [
        Budget(alpha=budget.alpha, shares={name: budget.shares[name] for name in data.draw(st.permutations(names))})
        for budget in there
        for names in [sorted(budget.shares)]
    ]
    turned = {name: values[name] for name in data.draw(st.permutations(sorted(values)))}
    assert caught(turned, mixed) == caught(values, there)
    reversed_ = budgets(dict(reversed(every.items())), 0.01)
    assert [budget.shares for budget in reversed_] == [pytest.approx(budget.shares) for budget in there]


@given(gates(), st.floats(0.001, 0.2), st.data())
@HEAVY
def test_whatever_one_gate_proves_on_its_own_share_the_merged_evidence_proves(
    every: dict[str, AnyGate], alpha: float, data: st.DataObject
) -> None:
    """The weighted Bonferroni rule is contained."""
    name = data.draw(st.sampled_from(sorted(shares(every))))
    own = shares(every)[name] * alpha_of(every[name], alpha)
    found = caught({name: 1.000001 / own}, budgets(every, alpha))
    assert found is not None
    assert (found.gate, found.others) == (name, ())
    assert caught({name: 0.999999 / own}, budgets(every, alpha)) is None


def test_two_gates_that_prove_too_little_prove_enough_together() -> None:
    budget = Budget(alpha=0.01, shares={"errors": 0.5, "slow": 0.5})
    assert caught({"errors": 150.0}, [budget]) is None
    assert caught({"errors": 150.0, "slow": 49.0}, [budget]) is None
    assert caught({"errors": 150.0, "slow": 50.0}, [budget]) == (("errors", "slow"), 100.0)


def test_what_contributes_less_than_a_tenth_is_not_named() -> None:
    budget = Budget(alpha=0.01, shares={"a": 0.4, "b": 0.4, "c": 0.2})
    found = caught({"a": 20.0, "b": 300.0, "c": 10.0}, [budget])
    assert found is not None
    assert (found.gate, found.others) == ("b", ())
    found = caught({"a": 31.0, "b": 300.0, "c": 61.0}, [budget])
    assert found is not None
    assert found.others == ("a", "c")


def test_the_budget_to_roll_back_is_asked_first_and_none_lends_to_another() -> None:
    every = {"orders": conversion(), "errors": errors()}
    both = budgets(every, 0.01)
    found = caught({"orders": 1e6, "errors": 101.0}, both)
    assert found is not None
    assert found.gate == "errors"
    found = caught({"orders": 21.0, "errors": 99.0}, both)
    assert found is not None
    assert found.gate == "orders"
    assert caught({"orders": 19.0, "errors": 99.0}, both) is None


def test_gates_without_a_share_and_shares_without_a_gate_say_nothing() -> None:
    assert caught({"stranger": 1e9}, [Budget(alpha=0.01, shares={"errors": 1.0})]) is None
    assert caught({"errors": 1e9}, []) is None
