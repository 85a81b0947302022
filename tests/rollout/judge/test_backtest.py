"""Recorded health through a spec's gates: what is caught and when, and what is told."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.judge.evidence import Batch, Evidence, update
from rollout.judge.samples import BadLine
from tests.rollout.given import LIGHT, ladder
from tests.rollout.judge.recordings import CONVERSION, ERRORS, RULE, counts, judged, one, replayed, traffic, value

FIELDS = ["run", "verdict", "gate", "at", "percent", "reason", "gates"]
GATE_FIELDS = ["verdict", "evidence", "candidate", "stable", "excludes_above"]


# ── What is caught ──────────────────────────────────────────────────────────────────────────────


def test_many_errors_are_caught_in_seconds_and_the_run_stops() -> None:
    found = one(judged(errors=ERRORS), traffic(0.2, 0.005))
    assert (found.verdict, found.gate, found.percent) == ("breached", "errors", 5)
    assert found.at <= 15
    n_c, x_c = found.gates["errors"].candidate or (0, 0)
    assert n_c < 5 * 15 * 2
    assert x_c >= 4
    assert found.reason.startswith(f"errors: candidate {x_c} of {n_c} (")
    assert found.reason.endswith("; would roll back")


def test_a_healthy_run_is_healthy_and_says_what_is_excluded() -> None:
    found = one(judged(errors=ERRORS), [*traffic(0.005, 0.005), *traffic(0.005, 0.005, percent=50, since=600)])
    assert (found.run, found.verdict, found.gate, found.at, found.percent) == (None, "healthy", None, 1200, 50)
    excluded = found.gates["errors"].excludes_above
    assert excluded is not None
    assert 1 < excluded < 2
    assert "proven not 2× worse" in found.reason


def test_little_traffic_is_undecided_and_says_what_is_left_open() -> None:
    found = one(judged(errors=ERRORS), traffic(0.005, 0.005, rate=350 / 60, every=15))
    assert found.verdict == "undecided"
    assert "not excluded: up to" in found.reason


def test_the_run_stops_at_its_first_breach_and_later_lines_change_nothing() -> None:
    short = list(traffic(0.2, 0.005, seconds=60))
    stopped = one(judged(errors=ERRORS), short)
    assert stopped == one(judged(errors=ERRORS), [*short, *traffic(0, 0.5, since=60), counts(9999, [0, 0], [0, 0])])


def test_evidence_is_the_fold_s_own_and_carried_through_the_stages() -> None:
    test = judged(errors=ERRORS)
    lines = [*traffic(0.006, 0.005), *traffic(0.006, 0.005, percent=50, since=600)]
    found = one(test, lines)
    state, terms = Evidence(), test.terms["errors"]
    for line in lines:
        sides = line["counts"]["errors"]
        asked = terms.test(int(line["percent"] == 50), terms.schedule.starts[line["percent"] == 50])
        state = update(asked, state, Batch(5000, *sides["candidate"], *sides["stable"]))
    assert found.gates["errors"].evidence == state.value
    assert found.gates["errors"].candidate == (state.total.n_c, state.total.x_c)


def test_a_rule_is_caught_when_its_time_is_over() -> None:
    found = one(judged(hard_5xx=RULE), [value(at, 0.2) for at in range(0, 600, 15)])
    assert (found.verdict, found.gate, found.at) == ("breached", "hard-5xx", 120)
    assert found.reason == "hard-5xx: 0.2, beyond its limit for 2m (limit: above 0.05 for 2m); would roll back"
    gate = found.gates["hard-5xx"]
    assert (gate.evidence, gate.candidate, gate.stable, gate.excludes_above) == (None, None, None, None)


def test_an_empty_result_starts_a_rule_s_clock_anew_but_a_failed_query_does_not() -> None:
    def said(middle: object) -> float:
        return one(judged(hard_5xx=RULE), [value(at, middle if at == 60 else 0.2) for at in range(0, 600, 15)]).at

    assert (said(None), said("NaN"), said(0.01), said("error")) == (195, 195, 195, 120)


def test_a_pending_rule_is_undecided() -> None:
    assert one(judged(hard_5xx=RULE), [value(at, 0.2) for at in range(0, 60, 15)]).verdict == "undecided"


def test_two_gates_that_are_each_almost_sure_are_sure_together() -> None:
    lines = [
        {"at": line["at"], "percent": 5, "counts": {"errors": sides, "latency": sides}}
        for line in traffic(0.02, 0.005)
        for sides in line["counts"].values()
    ]
    slow = {"kind": "latency", "histogram": "h", "slower_than": 0.3}
    found = one(judged(errors=ERRORS, latency=slow), lines)
    alone = one(judged(errors=ERRORS, latency=slow), traffic(0.02, 0.005))
    assert found.at < alone.at
    assert "with latency" in found.reason


def test_a_breach_of_a_gate_that_only_holds_says_so() -> None:
    lines = traffic(0.02, 0.05, rate=300, gate="conversion", every=15, percent=50)
    found = one(judged(conversion=CONVERSION), lines)
    assert (found.verdict, found.gate) == ("breached", "conversion")
    assert found.reason.endswith("; would hold")


def test_a_breach_that_rolls_back_goes_before_one_that_holds() -> None:
    now = {"query": "x", "above": 0.05}
    test = judged(a={**now, "on_breach": "hold"}, b=now)
    found = one(test, [{"at": 1, "percent": 5, "values": {"a": 1, "b": 1}}])
    assert found.gate == "b"
    assert found.gates["a"].verdict == "breached"


def test_dispersion_makes_it_slower_and_the_spec_s_own_is_stronger_than_the_caller_s() -> None:
    lines = list(traffic(0.05, 0.005))
    quick, slow = (one(judged(errors=ERRORS, phi=phi), lines).at for phi in (1, 3))
    assert quick < slow
    assert one(judged(errors={**ERRORS, "dispersion": 3}, phi=1), lines).at == slow


# ── Stages ──────────────────────────────────────────────────────────────────────────────────────


def test_before_the_rollout_and_at_a_hundred_percent_nothing_is_compared() -> None:
    before = [counts(at, [0, 0], [500, 2], percent=0) for at in range(5, 3600, 5)]
    at_five = [{**line, "at": line["at"] + 3600} for line in traffic(0.005, 0.005)]
    after = [counts(at, [500, 400], [0, 0], percent=100) for at in range(4205, 4800, 5)]
    found = one(judged(errors=ERRORS), [*before, *at_five, *after])
    assert found.verdict == "healthy"
    assert (
        found.gates["errors"].excludes_above
        == one(judged(errors=ERRORS), traffic(0.005, 0.005)).gates["errors"].excludes_above
    )


def test_time_before_the_rollout_spends_no_bets() -> None:
    before = [counts(at, [0, 0], [500, 2], percent=0) for at in range(5, 36_000, 5)]
    shifted = [{**line, "at": line["at"] + 36_000} for line in traffic(0.2, 0.005)]
    late = one(judged(errors=ERRORS), [*before, *shifted])
    assert late.at - 36_000 == one(judged(errors=ERRORS), traffic(0.2, 0.005)).at


def test_proportions_are_not_judged_before_they_have_matured() -> None:
    gate = {**CONVERSION, "matures_in": "5m"}
    unripe = list(traffic(0.0, 0.05, rate=300, seconds=300, gate="conversion", every=15, percent=50))
    ripe = list(traffic(0.05, 0.05, rate=300, seconds=300, gate="conversion", every=15, percent=50, since=300))
    found = one(judged(conversion=gate), [*unripe, *ripe])
    assert found.verdict != "breached"
    assert (found.gates["conversion"].candidate or (0, 0))[0] == sum(
        line["counts"]["conversion"]["candidate"][0] for line in ripe
    )
    alone = one(judged(conversion=gate), unripe)
    assert (alone.verdict, alone.reason) == ("undecided", "conversion: counts never matured")
    assert one(judged(conversion=CONVERSION), unripe).verdict == "breached"


def test_a_change_of_percent_begins_the_wait_anew() -> None:
    gate = {**CONVERSION, "matures_in": "5m"}
    ripe = list(traffic(0.05, 0.05, rate=300, gate="conversion", every=15))
    unripe = list(traffic(0.0, 0.05, rate=300, seconds=300, gate="conversion", every=15, percent=50, since=600))
    assert one(judged(conversion=gate), [*ripe, *unripe]).verdict != "breached"


LATER = ladder(
    {"percent": 5, "bake": "10m", "gates": ["errors"]},
    {"percent": 25, "bake": "10m", "gates": ["hard-5xx"]},
    {"percent": 50, "bake": "10m"},
    {"percent": 100},
)


def test_a_rule_is_not_judged_where_the_spec_does_not_watch_it() -> None:
    test = judged(errors=ERRORS, hard_5xx=RULE, stages=LATER)
    early = [value(at, 0.2) for at in range(0, 600, 15)]
    found = one(test, [{**line, "values": {"hard-5xx": 0.2}} for line in traffic(0.005, 0.005)])
    assert (found.verdict, found.gate) == ("healthy", None)
    assert found.gates["hard-5xx"].sentence == "the spec watches it at no percent of this run"
    climbed = one(judged(errors=ERRORS, hard_5xx=RULE, stages=LATER), [*early, value(600, 0.2, percent=50)])
    assert climbed.gates["hard-5xx"].verdict == "undecided", "its two minutes begin when it is watched"
    elsewhere = one(judged(errors=ERRORS, hard_5xx=RULE, stages=LATER), [value(at, 0.2, 7) for at in range(0, 600, 15)])
    assert (elsewhere.verdict, elsewhere.at) == ("breached", 120), "at a percent of nobody's all are watched"
    before = one(judged(errors=ERRORS, hard_5xx=RULE, stages=LATER), [value(at, 0.2, 0) for at in range(0, 600, 15)])
    assert before.verdict != "breached", "before the start none is"


def test_counts_spend_no_bets_where_the_spec_does_not_watch_them() -> None:
    first, last = list(traffic(0.005, 0.005)), list(traffic(0.05, 0.005, percent=50, since=1200))
    unwatched = list(traffic(0.9, 0.005, percent=25, since=600))
    beside = one(judged(errors=ERRORS, hard_5xx=RULE, stages=LATER), [*first, *unwatched, *last])
    without = [{"at": line["at"], "percent": 25} for line in unwatched]
    assert beside == one(judged(errors=ERRORS, hard_5xx=RULE, stages=LATER), [*first, *without, *last])
    at_once = one(
        judged(errors=ERRORS, hard_5xx=RULE, stages=LATER), [*first, *traffic(0.05, 0.005, percent=50, since=600)]
    )
    assert (beside.gate, beside.percent, beside.at) == ("errors", 50, at_once.at + 600)
    assert beside.gates["errors"].evidence == at_once.gates["errors"].evidence


# ── Runs and shapes ─────────────────────────────────────────────────────────────────────────────


def test_runs_are_told_in_the_order_of_their_first_lines_even_when_mixed() -> None:
    bad, good = traffic(0.2, 0.005), traffic(0.005, 0.005)
    mixed = [{"run": run, **line} for pair in zip(bad, good, strict=True) for run, line in zip("zb", pair, strict=True)]
    found = replayed(judged(errors=ERRORS), mixed)
    assert [(outcome.run, outcome.verdict) for outcome in found] == [("z", "breached"), ("b", "healthy")]
    assert found[0].at == one(judged(errors=ERRORS), traffic(0.2, 0.005)).at


def test_the_object_has_exactly_the_promised_fields() -> None:
    found = one(judged(errors=ERRORS, hard_5xx=RULE), [counts(5, [10, 1], [100, 1])]).as_json()
    assert list(found) == FIELDS
    assert all(list(gate) == GATE_FIELDS for gate in found["gates"].values())
    assert json.loads(json.dumps(found, allow_nan=False)) == found | {"gates": json.loads(json.dumps(found["gates"]))}
    assert found["gates"]["errors"]["candidate"] == (10, 1)
    assert found["gates"]["errors"]["excludes_above"] is None


def test_lines_are_in_time_order_within_a_run() -> None:
    with pytest.raises(BadLine, match="at: 4 s comes after 5 s of run a; lines must be in time order"):
        replayed(
            judged(hard_5xx=RULE),
            [{"run": "a", **value(5, 0)}, {"run": "b", **value(1, 0)}, {"run": "a", **value(4, 0)}],
        )


def test_one_time_has_one_value_but_may_have_many_counts() -> None:
    with pytest.raises(BadLine, match="hard-5xx: there is a value for 5 s already"):
        replayed(judged(hard_5xx=RULE), [value(5, 0), value(5, 0)])
    found = one(judged(errors=ERRORS), [counts(5, [10, 0], [90, 1]), counts(5, [10, 1], [90, 0])])
    assert (found.gates["errors"].candidate, found.gates["errors"].stable) == ((20, 1), (180, 1))


scrapes = st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(1, 900), st.integers(0, 1))


@LIGHT
@given(st.lists(scrapes, min_size=1, max_size=30), st.integers(0, 29))
def test_worse_data_of_the_candidate_never_turns_a_breach_into_health(
    steps: list[tuple[int, int, int, int]], since: int
) -> None:
    def run(*, worse: bool) -> tuple[bool, float]:
        lines = [
            counts(5 * number, [n_c + 50, n_c + 50 if worse and number >= since else min(x_c, n_c)], [n_b, x_b])
            for number, (n_c, x_c, n_b, x_b) in enumerate(steps, 1)
        ]
        found = one(judged(errors=ERRORS), lines)
        return found.verdict == "breached", found.at

    (was, before), (still, after) = run(worse=False), run(worse=True)
    assert (still, after) == (was, before) or (still and after <= before)


def test_what_cannot_be_replayed_is_named() -> None:
    test = judged(hard_5xx={**RULE, "requests": "sum(increase(r[5m]))"})
    assert test.notes == ("hard-5xx: replayed by its value alone, without `requests` and `unless_baseline`",)
