"""Alerting rules: firing is bad, pending is undecided, and a rule that cannot speak is no data."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.gates.alert import AlertGate
from rollout.judge.alert import Alert, AlertRule, chosen, firing_before, judged
from rollout.judge.threshold import fold
from rollout.judge.verdict import GateState, Verdict
from tests.rollout.given import HEAVY, NOW_MS

NAME = "CanaryHighErrorRate"
GATE = AlertGate(name=NAME)
ANNOTATED = AlertGate(annotation={"action": "auto_rollback"})
OURS = AlertGate(name=NAME, labels={"service": "checkout"})


def rule(*alerts: Alert, **changes: Any) -> AlertRule:
    return AlertRule(NAME, annotations={"action": "auto_rollback"}, alerts=alerts)._replace(**changes)


def alert(*, firing: bool = True, **labels: str) -> Alert:
    return Alert({"alertname": NAME, **labels}, firing, NOW_MS - 125_000)


def state(gate: AlertGate, *rules: AlertRule) -> GateState:
    return fold(gate, GateState(watermark_ms=NOW_MS - 1000), NOW_MS, judged(gate, rules, NOW_MS), counting=True)


def test_a_rule_that_fires_is_a_breach_at_once() -> None:
    found = state(GATE, rule(alert(service="checkout")))
    assert found.verdict is Verdict.BREACHED
    assert found.sentence == (
        'CanaryHighErrorRate {service="checkout"} is firing, active for 2m5s (limit: CanaryHighErrorRate firing)'
    )


def test_a_rule_that_is_quiet_is_healthy() -> None:
    found = state(GATE, rule())
    assert (found.verdict, found.observed_ms) == (Verdict.HEALTHY, 1000)
    assert found.sentence == "CanaryHighErrorRate does not fire, limit CanaryHighErrorRate firing"


def test_a_bake_does_not_end_while_a_rule_is_making_up_its_mind() -> None:
    found = state(GATE, rule(alert(firing=False)))
    assert found.verdict is Verdict.UNDECIDED
    assert found.sentence == (
        "CanaryHighErrorRate is pending, active for 2m5s, but it does not fire yet (limit: CanaryHighErrorRate firing)"
    )


def test_firing_is_heard_beside_pending() -> None:
    found = state(GATE, rule(alert(firing=False, pod="a"), alert(pod="b")))
    assert found.verdict is Verdict.BREACHED
    assert 'pod="b"' in found.sentence


@pytest.mark.parametrize(
    ("gate", "rules", "sentence"),
    [
        (GATE, [], "the metrics server has no alerting rule that is named CanaryHighErrorRate"),
        (GATE, [rule(name="Other")], "the metrics server has no alerting rule that is named CanaryHighErrorRate"),
        (
            ANNOTATED,
            [rule(annotations={"action": "page"})],
            'the metrics server has no alerting rule that is annotated {action="auto_rollback"}',
        ),
        (
            OURS,
            [rule(labels={"service": "payments"})],
            "the metrics server has no alerting rule that is named CanaryHighErrorRate and not for another service",
        ),
        (GATE, [rule(health="unknown")], "CanaryHighErrorRate has not been evaluated yet"),
        (GATE, [rule(health="err", error="boom")], "CanaryHighErrorRate cannot be evaluated: boom"),
        (GATE, [rule(alert(), health="err")], "CanaryHighErrorRate cannot be evaluated: the server does not say why"),
        (ANNOTATED, [rule(name="A"), rule(name="B", health="err", error="x")], "B cannot be evaluated: x"),
    ],
)
def test_a_rule_that_cannot_speak_is_no_data(gate: AlertGate, rules: list[AlertRule], sentence: str) -> None:
    found = state(gate, *rules)
    assert (found.verdict, found.sentence, found.observed_ms) == (Verdict.NO_DATA, sentence, 0)


def test_one_rule_that_cannot_speak_does_not_silence_another() -> None:
    found = state(ANNOTATED, rule(name="A", health="err"), rule(alert(), name="B"))
    assert found.verdict is Verdict.BREACHED


def test_every_annotated_rule_is_heard() -> None:
    found = state(ANNOTATED, rule(name="A"), rule(name="B"), rule(name="C", annotations={}))
    assert found.sentence.startswith("A and 1 more do not fire")
    assert state(ANNOTATED, rule(name="A"), rule(alert(), name="B")).verdict is Verdict.BREACHED


def test_an_alert_of_another_service_is_not_ours() -> None:
    assert state(OURS, rule(alert(service="payments"))).verdict is Verdict.HEALTHY
    assert state(OURS, rule(alert(service="payments"), alert(service="checkout"))).verdict is Verdict.BREACHED
    assert state(GATE, rule(alert(service="payments"))).verdict is Verdict.BREACHED


def test_an_alert_that_does_not_say_whose_it_is_may_be_ours() -> None:
    assert state(OURS, rule(alert(pod="a"))).verdict is Verdict.BREACHED


def test_what_fires_before_the_start_blocks_it() -> None:
    assert firing_before(GATE, [rule(alert())], NOW_MS) == (
        "CanaryHighErrorRate is already firing, active for 2m5s: nothing new would be noticed"
    )
    assert firing_before(GATE, [rule(alert(firing=False))], NOW_MS) is None
    assert firing_before(OURS, [rule(alert(service="payments"))], NOW_MS) is None
    assert firing_before(GATE, [rule(alert(), name="Other")], NOW_MS) is None


def test_a_rule_shows_what_fires() -> None:
    assert rule(alert(pod="a"), alert(firing=False)).firing == ('{alertname="CanaryHighErrorRate", pod="a"}',)


labels = st.dictionaries(st.sampled_from(["service", "pod"]), st.sampled_from(["checkout", "payments"]))
alerts = st.builds(lambda labels, firing: Alert(labels, firing, NOW_MS), labels, st.booleans())
rules = st.builds(
    AlertRule,
    st.sampled_from([NAME, "Other"]),
    health=st.sampled_from(["ok", "ok", "err", "unknown"]),
    labels=labels,
    annotations=st.sampled_from([{}, {"action": "auto_rollback"}]),
    alerts=st.lists(alerts, max_size=3).map(tuple),
)


@given(st.sampled_from([GATE, ANNOTATED, OURS]), st.lists(rules, max_size=4))
@HEAVY
def test_health_needs_every_chosen_rule_to_be_well_and_quiet(gate: AlertGate, all_: list[AlertRule]) -> None:
    found, ours = state(gate, *all_), chosen(gate, all_)
    if found.verdict is Verdict.HEALTHY:
        assert ours
        assert all(each.health == "ok" for each in ours)
        assert firing_before(gate, all_, NOW_MS) is None
    if found.verdict is Verdict.BREACHED:
        assert firing_before(gate, all_, NOW_MS)
