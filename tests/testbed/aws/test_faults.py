"""Every fault does what it says, seen by a plain boto3 client."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError

from testbed.aws.faults import Faults, Injector
from testbed.aws.moto import client
from testbed.aws.simulated import SimulatedAws
from testbed.aws.wire import Call, Refusal
from testbed.processes import wait_until
from tests.testbed.aws.visiting import Visits

Forward = Callable[..., list[dict[str, Any]]]


def asks(call: Callable[[], object]) -> str:
    """The code that a call is answered with, or `ok`."""
    try:
        call()
    except ClientError as error:
        return f"{error.response['Error']['Code']} {error.response['ResponseMetadata']['HTTPStatusCode']}"
    return "ok"


def green_weight(aws: SimulatedAws) -> int:
    (action,) = aws.rules()[-1]["Actions"]
    weights = {group["TargetGroupArn"]: group["Weight"] for group in action["ForwardConfig"]["TargetGroups"]}
    return int(weights[aws.group_arn("checkout-green")])


@pytest.fixture
def to_green(aws: SimulatedAws, elbv2: Any, forward: Forward) -> Callable[[], object]:
    return lambda: elbv2.modify_listener(ListenerArn=aws.listener_arn, DefaultActions=forward(blue=90, green=10))


def test_throttling_hits_every_call_or_every_nth(aws: SimulatedAws, elbv2: Any) -> None:
    aws.fault(throttle=["DescribeLoad*"])
    assert asks(elbv2.describe_load_balancers) == "Throttling 400"
    assert asks(elbv2.describe_target_groups) == "ok"
    aws.fault(throttle_every=3)
    assert [asks(elbv2.describe_load_balancers) for _ in range(6)] == ["ok", "ok", "Throttling 400"] * 2


def test_every_service_is_throttled_and_denied_in_its_own_words(aws: SimulatedAws) -> None:
    calls = [
        aws.client("elbv2").describe_load_balancers,
        aws.client("cloudwatch").list_metrics,
        aws.client("ecs").list_clusters,
        aws.client("lambda").list_functions,
    ]
    aws.fault(throttle=["*"])
    expected = ["Throttling 400", "Throttling 400", "ThrottlingException 400", "TooManyRequestsException 429"]
    assert [asks(call) for call in calls] == expected
    aws.heal()
    aws.fault(deny=["*"])
    denied = ["AccessDenied 403", "AccessDenied 403", "AccessDeniedException 400", "AccessDeniedException 403"]
    assert [asks(call) for call in calls] == denied
    aws.heal()
    assert [asks(call) for call in calls] == ["ok"] * 4


def test_a_refusal_names_the_permission(aws: SimulatedAws, elbv2: Any) -> None:
    aws.fault(deny=["DescribeRules"])
    with pytest.raises(ClientError, match="not authorized to perform: elasticloadbalancing:DescribeRules"):
        elbv2.describe_rules(ListenerArn=aws.listener_arn)


def test_the_bucket_of_describing_calls_runs_dry(aws: SimulatedAws, elbv2: Any) -> None:
    aws.fault(bucket=[5, 0.001])
    assert [asks(elbv2.describe_load_balancers) for _ in range(7)] == ["ok"] * 5 + ["Throttling 400"] * 2


async def test_the_bucket_fills_with_time() -> None:
    now = 0.0
    injector = Injector(Faults(), lambda: now)
    injector.change(Faults(bucket=(2, 10)))
    call = Call("elbv2", "DescribeRules")
    for _ in range(2):
        await injector.before(call)
    with pytest.raises(Refusal, match="Rate exceeded"):
        await injector.before(call)
    now = 0.1
    await injector.before(call)
    await injector.before(Call("elbv2", "ModifyRule"))  # writes have another bucket


def test_503_has_no_effect(aws: SimulatedAws, to_green: Callable[[], object]) -> None:
    aws.fault(unavailable=["ModifyListener"])
    assert asks(to_green) == "ServiceUnavailable 503"
    assert green_weight(aws) == 0


def test_a_dropped_call_has_no_effect_and_a_lost_answer_has(aws: SimulatedAws, to_green: Callable[[], object]) -> None:
    aws.fault(drop=["ModifyListener"])
    with pytest.raises(ConnectionClosedError):
        to_green()
    assert green_weight(aws) == 0
    aws.fault(drop=[], lose_answer=["ModifyListener"])
    with pytest.raises(ConnectionClosedError):
        to_green()
    assert green_weight(aws) == 10
    assert [call["error"] for call in aws.calls("ModifyListener")] == ["dropped", "dropped"]


def test_a_hanging_call_is_never_answered(aws: SimulatedAws) -> None:
    impatient = client("elbv2", aws.endpoint_url, read_timeout_s=0.2)
    aws.fault(hang=["Describe*"])
    with pytest.raises(ReadTimeoutError):
        impatient.describe_load_balancers()
    aws.heal()
    assert impatient.describe_load_balancers()["LoadBalancers"]


def test_a_delayed_call_is_done_and_answered_late(aws: SimulatedAws, to_green: Callable[[], object]) -> None:
    aws.fault(delay=["ModifyListener"], delay_s=0.3)
    began_s = time.monotonic()
    to_green()
    assert time.monotonic() - began_s >= 0.3
    assert green_weight(aws) == 10


def test_a_call_can_be_carried_out_long_after_its_caller_gave_up(
    aws: SimulatedAws, forward: Forward, to_green: Callable[[], object]
) -> None:
    impatient = client("elbv2", aws.endpoint_url, read_timeout_s=0.2)
    aws.fault(delay_effect=["ModifyListener"], delay_effect_s=1.0)
    with pytest.raises(ReadTimeoutError):
        impatient.modify_listener(ListenerArn=aws.listener_arn, DefaultActions=forward(blue=30, green=70))
    assert green_weight(aws) == 0
    aws.heal()
    to_green()
    assert green_weight(aws) == 10
    wait_until(lambda: green_weight(aws) == 70, within_s=10, what="the late call is carried out")


def test_the_effect_can_lag_behind_the_answer(aws: SimulatedAws, visits: Visits, elbv2: Any, forward: Forward) -> None:
    aws.fault(effect_delay_s=1.0)
    began_s = time.monotonic()
    elbv2.modify_listener(ListenerArn=aws.listener_arn, DefaultActions=forward(blue=0, green=1))
    assert green_weight(aws) == 1
    assert visits.one() == "stable"
    wait_until(lambda: visits.one() == "canary", within_s=10, what="the write is in effect")
    assert time.monotonic() - began_s >= 1.0


def test_a_late_effect_never_undoes_a_newer_one(
    aws: SimulatedAws, visits: Visits, elbv2: Any, forward: Forward
) -> None:
    aws.fault(effect_delay_s=0.3)
    elbv2.modify_listener(ListenerArn=aws.listener_arn, DefaultActions=forward(blue=0, green=1))
    aws.heal()
    elbv2.modify_listener(ListenerArn=aws.listener_arn, DefaultActions=forward(blue=1, green=0))
    until_s = time.monotonic() + 0.6
    while time.monotonic() < until_s:
        assert visits.one() == "stable"


def test_somebody_else_writes_after_every_nth_write(aws: SimulatedAws, to_green: Callable[[], object]) -> None:
    aws.fault(writer_every=2, writer_weights={"checkout-blue": 1, "checkout-green": 77})
    to_green()
    assert green_weight(aws) == 10
    to_green()
    assert green_weight(aws) == 77


def test_calls_are_remembered_with_what_they_asked(aws: SimulatedAws, to_green: Callable[[], object]) -> None:
    aws.forget_calls()
    before_s = time.time()
    to_green()
    (call,) = aws.calls()
    assert (call["service"], call["operation"], call["error"]) == ("elbv2", "ModifyListener", None)
    assert call["params"]["ListenerArn"] == aws.listener_arn
    assert before_s - 1 <= call["at"] <= time.time() + 1
    aws.forget_calls()
    assert aws.calls() == []


@pytest.mark.parametrize("fields", [{"throtle": ["*"]}, {"throttle_every": 0}, {"minute_s": 0}, {"delay_s": "long"}])
def test_a_fault_that_does_not_exist_is_refused(aws: SimulatedAws, fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        aws.fault(**fields)


def test_faults_add_up_until_healed(aws: SimulatedAws, elbv2: Any) -> None:
    aws.fault(deny=["DescribeRules"])
    aws.fault(page_size=7)
    assert asks(lambda: elbv2.describe_rules(ListenerArn=aws.listener_arn)) == "AccessDenied 403"
    aws.heal()
    assert asks(lambda: elbv2.describe_rules(ListenerArn=aws.listener_arn)) == "ok"


def test_weights_of_unknown_groups_and_rules_are_nobodys(aws: SimulatedAws) -> None:
    with pytest.raises(ValueError, match="TargetGroupNotFound"):
        aws.set_weights_by_hand({"checkout-red": 1})
    with pytest.raises(ValueError, match="RuleNotFound"):
        aws.set_weights_by_hand({"checkout-blue": 1}, rule_arn=aws.default_rule_arn + "x")
