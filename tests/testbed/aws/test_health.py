"""DescribeTargetHealth tells what checks have shown, and traffic follows it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from testbed.aws.account import Account
from testbed.aws.health import Checked, Health, matches
from testbed.aws.moto import Moto
from testbed.aws.simulated import SimulatedAws
from testbed.processes import free_ports, wait_until
from testbed.programs import Shop
from tests.testbed.aws.visiting import Visits

Forward = Callable[..., list[dict[str, Any]]]
GREEN = "checkout-green"


def reasons(elbv2: Any, arn: str, *targets: dict[str, Any]) -> list[tuple[str, str]]:
    asked = {"Targets": list(targets)} if targets else {}
    found = elbv2.describe_target_health(TargetGroupArn=arn, **asked)["TargetHealthDescriptions"]
    return [(each["TargetHealth"]["State"], each["TargetHealth"].get("Reason", "")) for each in found]


@pytest.fixture
def green(aws: SimulatedAws) -> Iterator[SimulatedAws]:
    """Whatever is done to the candidate's group is undone."""
    yield aws
    aws.heal()
    aws.register(GREEN, 1)
    aws.reset()
    wait_until(lambda: aws.states(GREEN)[:1] == ["healthy"], within_s=10, what="the target is back")


def test_a_new_target_is_initial_then_healthy_and_drains_when_it_goes(green: SimulatedAws, elbv2: Any) -> None:
    arn = green.group_arn(GREEN)
    (old,) = green._targets(GREEN)
    new = {"Id": "10.0.2.99", "Port": old["Port"]}
    elbv2.register_targets(TargetGroupArn=arn, Targets=[new])
    assert reasons(elbv2, arn, new)[0][0] in {"initial", "healthy"}
    wait_until(lambda: reasons(elbv2, arn, new) == [("healthy", "")], within_s=10, what="it is healthy")
    elbv2.deregister_targets(TargetGroupArn=arn, Targets=[new])
    assert reasons(elbv2, arn, new) == [("draining", "Target.DeregistrationInProgress")]
    wait_until(
        lambda: reasons(elbv2, arn, new) == [("unused", "Target.NotRegistered")], within_s=10, what="it has drained"
    )
    elbv2.deregister_targets(TargetGroupArn=arn, Targets=[new])  # not there: no error


def test_a_group_that_no_rule_names_is_not_in_use(green: SimulatedAws, elbv2: Any, forward: Forward) -> None:
    arn = green.group_arn(GREEN)
    elbv2.modify_listener(ListenerArn=green.listener_arn, DefaultActions=forward(blue=1))
    assert ("unused", "Target.NotInUse") in reasons(elbv2, arn)
    (shown,) = elbv2.describe_target_groups(TargetGroupArns=[arn])["TargetGroups"]
    assert shown["LoadBalancerArns"] == []
    elbv2.modify_listener(ListenerArn=green.listener_arn, DefaultActions=forward(blue=1, green=0))
    wait_until(lambda: green.states(GREEN)[:1] == ["healthy"], within_s=10, what="weight 0 is enough to be checked")
    (shown,) = elbv2.describe_target_groups(TargetGroupArns=[arn])["TargetGroups"]
    assert shown["LoadBalancerArns"] == [green.load_balancer_arn]


def test_a_sick_target_gets_nothing_while_another_is_healthy(green: SimulatedAws, elbv2: Any, visits: Visits) -> None:
    arn = green.group_arn(GREEN)
    nowhere = {"Id": "10.0.2.99", "Port": free_ports(1)[0]}
    elbv2.register_targets(TargetGroupArn=arn, Targets=[nowhere])
    wait_until(
        lambda: reasons(elbv2, arn, nowhere) == [("unhealthy", "Target.FailedHealthChecks")],
        within_s=10,
        what="the dead target is seen",
    )
    green.set_weights_by_hand({GREEN: 1})
    assert visits.many(100) == {"canary": 100}


def test_a_group_with_unhealthy_targets_only_fails_open(green: SimulatedAws, elbv2: Any, visits: Visits) -> None:
    (target,) = green._targets(GREEN)
    green.fault(sick=[f"{target['Id']}:{target['Port']}"])
    wait_until(lambda: "unhealthy" in green.states(GREEN), within_s=10, what="it is seen")
    green.set_weights_by_hand({GREEN: 1})
    assert visits.many(50) == {"canary": 50}
    green.heal()
    wait_until(lambda: "healthy" in green.states(GREEN), within_s=10, what="it is healthy again")


def test_a_shop_that_dies_is_unhealthy_unless_health_lies(
    green: SimulatedAws, shops: tuple[Shop, Shop], visits: Visits
) -> None:
    candidate = shops[1]
    candidate.kill()
    try:
        wait_until(lambda: "unhealthy" in green.states(GREEN), within_s=10, what="the dead shop is seen")
        green.fault(lying_health=True)
        assert "healthy" in green.states(GREEN)
        green.set_weights_by_hand({GREEN: 1})
        assert visits.one() == "503"  # HAProxy's own: nobody listens
    finally:
        candidate.start()


def test_one_check_makes_a_new_target_healthy_and_two_failures_unhealthy() -> None:
    checked = Checked()
    assert not checked.saw("Target.Timeout", 3, 2)
    assert checked.state == "initial"
    assert checked.saw(None, 3, 2)
    assert checked.state == "healthy"
    assert [checked.saw("Target.Timeout", 3, 2) for _ in range(2)] == [False, True]
    assert (checked.state, checked.reason) == ("unhealthy", "Target.Timeout")
    assert [checked.saw(None, 3, 2) for _ in range(3)] == [False, False, True]


@pytest.mark.parametrize(
    ("matcher", "status", "expected"),
    [("200", 200, True), ("200,202", 202, True), ("200-299", 204, True), ("200-299", 300, False), ("200", 404, False)],
)
def test_statuses_are_matched(matcher: str, status: int, expected: bool) -> None:
    assert matches(matcher, status) == expected


def test_a_gate_started_again_goes_on_with_what_the_last_one_knew(tmp_path: Path) -> None:
    kept = {
        "targets": {"group": [["10.0.0.1", 80], ["10.0.0.2", 80], ["10.0.0.3", 80]]},
        "health": {"group 10.0.0.1:80": ["unhealthy", "Target.Timeout"], "group 10.0.0.2:80": ["healthy", ""]},
    }
    file = tmp_path / "gate.json"
    file.write_text(json.dumps(kept))
    health = Health(Account(Moto("http://127.0.0.1:1"), file), lambda: None, lambda: 0.0)
    assert health.live("group") == [("10.0.0.2", 80)]
