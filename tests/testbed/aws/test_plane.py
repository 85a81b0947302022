"""The load balancer really splits, really keeps sticky clients, and loses nothing while it is changed."""

from collections.abc import Callable
from math import sqrt
from pathlib import Path
from typing import Any

import pytest

from testbed.aws.plane import Haproxy, pattern, rendered
from testbed.aws.simulated import SimulatedAws
from testbed.lua_table import lua
from testbed.processes import wait_until
from testbed.programs import Load, Shop
from tests.testbed.aws.visiting import Visits

Forward = Callable[..., list[dict[str, Any]]]
REQUESTS = 2_000


def canary_header(aws: SimulatedAws, elbv2: Any, actions: list[dict[str, Any]], value: str = "true") -> str:
    condition = {"Field": "http-header", "HttpHeaderConfig": {"HttpHeaderName": "X-Canary", "Values": [value]}}
    taken = {rule["Priority"] for rule in aws.rules()}
    priority = next(number for number in range(1, 100) if str(number) not in taken)
    made = elbv2.create_rule(ListenerArn=aws.listener_arn, Priority=priority, Conditions=[condition], Actions=actions)
    return str(made["Rules"][0]["RuleArn"])


@pytest.mark.parametrize("percent", [5, 25, 50, 100, 0])
def test_traffic_is_split_as_the_weights_say(
    aws: SimulatedAws, elbv2: Any, forward: Forward, visits: Visits, percent: int
) -> None:
    elbv2.modify_listener(ListenerArn=aws.listener_arn, DefaultActions=forward(blue=100 - percent, green=percent))
    requests = REQUESTS if 0 < percent < 100 else REQUESTS // 4
    seen = visits.many(requests)
    share = percent / 100
    assert seen.total() == seen["canary"] + seen["stable"] == requests
    assert abs(seen["canary"] - requests * share) <= 5 * sqrt(requests * share * (1 - share))


def test_weights_are_relative_to_their_sum(aws: SimulatedAws, elbv2: Any, forward: Forward, visits: Visits) -> None:
    elbv2.modify_listener(ListenerArn=aws.listener_arn, DefaultActions=forward(blue=999, green=999))
    assert 400 < visits.many(1000)["canary"] < 600


def test_a_rule_of_a_header_wins_over_the_default_rule_and_goes_again(
    aws: SimulatedAws, elbv2: Any, forward: Forward, visits: Visits
) -> None:
    arn = canary_header(aws, elbv2, forward(green=1))
    assert visits.many(50, X_Canary="TRUE") == {"canary": 50}  # values are compared without case
    assert visits.many(50, X_Canary="false") == visits.many(50) == {"stable": 50}
    elbv2.delete_rule(RuleArn=arn)
    assert visits.many(50, X_Canary="true") == {"stable": 50}


def test_rules_are_tried_by_priority_and_wildcards_count(
    aws: SimulatedAws, elbv2: Any, forward: Forward, visits: Visits
) -> None:
    def create(priority: int, colour: str, *conditions: dict[str, Any]) -> None:
        elbv2.create_rule(
            ListenerArn=aws.listener_arn,
            Priority=priority,
            Conditions=list(conditions),
            Actions=forward(**{colour: 1}),
        )

    create(
        20,
        "green",
        {"Field": "http-header", "HttpHeaderConfig": {"HttpHeaderName": "X-User", "Values": ["qa-?", "vip*"]}},
    )
    create(10, "blue", {"Field": "http-header", "HttpHeaderConfig": {"HttpHeaderName": "X-User", "Values": ["vip-0"]}})
    create(
        30,
        "green",
        {"Field": "path-pattern", "PathPatternConfig": {"Values": ["/"]}},
        {"Field": "query-string", "QueryStringConfig": {"Values": [{"Key": "v", "Value": "2"}]}},
        {"Field": "host-header", "HostHeaderConfig": {"Values": ["*.shop.test"]}},
    )
    answers = [visits.one(X_User=user) for user in ("vip-0", "vip-1", "QA-7", "qa-77", "me")]
    assert answers == ["stable", "canary", "canary", "stable", "stable"]
    assert visits.one("/?a=1&v=2", Host="eu.shop.test:80") == "canary"
    assert visits.one("/?v=22", Host="eu.shop.test") == visits.one("/?v=2", Host="shop.test") == "stable"


def test_a_fixed_response_is_the_load_balancers_own(aws: SimulatedAws, elbv2: Any, visits: Visits) -> None:
    fixed = [{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "418", "MessageBody": "tea"}}]
    canary_header(aws, elbv2, fixed)
    assert visits.one(X_Canary="true") == "418"


def test_a_sticky_client_keeps_its_group_at_weight_0_until_stickiness_ends(
    aws: SimulatedAws, elbv2: Any, forward: Forward, visits: Visits
) -> None:
    change = {"ListenerArn": aws.listener_arn}
    elbv2.modify_listener(**change, DefaultActions=forward(sticky_s=3600, blue=0, green=1))
    assert visits.one() == "canary"
    cookie = visits.cookie
    assert cookie is not None
    assert cookie.startswith("AWSALBTG=")
    elbv2.modify_listener(**change, DefaultActions=forward(sticky_s=3600, blue=1, green=0))
    assert visits.many(50, Cookie=f"a=b; {cookie}") == {"canary": 50}
    assert visits.many(50) == {"stable": 50}
    elbv2.modify_listener(**change, DefaultActions=forward(blue=1, green=0))
    assert visits.many(50, Cookie=cookie) == {"stable": 50}


def test_a_cookie_ends_with_its_duration_and_with_its_group(
    aws: SimulatedAws, elbv2: Any, forward: Forward, visits: Visits
) -> None:
    elbv2.modify_listener(ListenerArn=aws.listener_arn, DefaultActions=forward(sticky_s=3600, blue=1, green=0))
    assert visits.one(Cookie="AWSALBTG=checkout-green.1000000000") == "stable"
    assert visits.one(Cookie="AWSALBTG=checkout-green.9999999999") == "canary"
    elbv2.modify_listener(ListenerArn=aws.listener_arn, DefaultActions=forward(sticky_s=3600, blue=1))
    assert visits.one(Cookie="AWSALBTG=checkout-green.9999999999") == "stable"


def test_a_share_of_an_empty_group_is_503_and_nobody_takes_over(aws: SimulatedAws, visits: Visits) -> None:
    aws.set_weights_by_hand({"checkout-blue": 1, "checkout-green": 1})
    aws.register("checkout-green", 0)
    try:
        seen = visits.many(400)
        assert set(seen) == {"stable", "503"}
        assert 120 < seen["503"] < 280
    finally:
        aws.register("checkout-green", 1)
        aws.reset()
        wait_until(lambda: aws.states("checkout-green") == ["healthy"], within_s=10, what="the target is back")


def test_weights_that_are_all_0_answer_503(aws: SimulatedAws, elbv2: Any, forward: Forward, visits: Visits) -> None:
    elbv2.modify_listener(ListenerArn=aws.listener_arn, DefaultActions=forward(blue=0, green=0))
    assert visits.many(20) == {"503": 20}


def test_changing_weights_and_rules_under_load_loses_nothing(
    aws: SimulatedAws, elbv2: Any, forward: Forward, tmp_path: Path
) -> None:
    with Load(tmp_path, url=aws.url, rate=300, connections=20) as load:
        for number in range(40):
            percent = (5, 25, 50, 100, 0)[number % 5]
            elbv2.modify_listener(
                ListenerArn=aws.listener_arn, DefaultActions=forward(blue=100 - percent, green=percent)
            )
            elbv2.delete_rule(RuleArn=canary_header(aws, elbv2, forward(green=1)))
            aws.refresh()  # learning everything anew forgets nothing in between
        wait_until(lambda: load.report().requests > 1000, within_s=20, what="enough requests were sent")
        report = load.finish()
    assert report.dropped == {}
    assert report.bad_responses == 0
    assert 0 < report.versions["canary"] < report.requests


def test_a_load_balancer_killed_and_started_again_has_the_rules_of_now(aws: SimulatedAws, visits: Visits) -> None:
    aws.set_weights_by_hand({"checkout-blue": 0, "checkout-green": 1})
    aws.haproxy.kill()
    aws.set_weights_by_hand({"checkout-blue": 1, "checkout-green": 0})
    aws.haproxy.start()
    with Visits(aws.url) as later:
        assert later.many(50) == {"stable": 50}


def test_a_gate_killed_and_started_again_is_the_same_aws(aws: SimulatedAws, elbv2: Any, visits: Visits) -> None:
    elbv2.add_tags(ResourceArns=[aws.default_rule_arn], Tags=[{"Key": "owner", "Value": "me"}])
    aws.set_weights_by_hand({"checkout-blue": 0, "checkout-green": 1})
    aws.gate.kill()
    assert visits.many(50) == {"canary": 50}  # the data plane does not need the control plane
    aws.gate.start()
    assert aws.rules()[-1]["RuleArn"] == aws.default_rule_arn
    (found,) = elbv2.describe_tags(ResourceArns=[aws.default_rule_arn])["TagDescriptions"]
    assert found["Tags"] == [{"Key": "owner", "Value": "me"}]
    assert aws.states("checkout-green") == ["healthy"]  # as the last gate knew
    aws.set_weights_by_hand({"checkout-blue": 1, "checkout-green": 0})
    assert visits.many(50) == {"stable": 50}


def test_a_gate_that_dies_and_comes_back_costs_no_visitor_anything(aws: SimulatedAws, tmp_path: Path) -> None:
    with Load(tmp_path, url=aws.url, rate=200, connections=10) as load:
        aws.gate.kill()
        aws.gate.start()
        aws.set_weights_by_hand({"checkout-blue": 0, "checkout-green": 1})
        wait_until(lambda: load.report().versions["canary"] > 0, within_s=10, what="the new gate is in charge")
        report = load.finish()
    assert report.dropped == {}


def test_a_value_is_written_as_lua_reads_it() -> None:
    assert lua({"a": [1, True, 'x"\n']}) == '{["a"]={1,true,"x\\034\\010"}}'
    with pytest.raises(TypeError, match="no Lua"):
        lua(1.5)


@pytest.mark.parametrize(("wildcards", "expected"), [("/a*", "^/a.*$"), ("v-?.x", "^v%-.%.x$"), ("%d", "^%%d$")])
def test_wildcards_become_lua_patterns(wildcards: str, expected: str) -> None:
    assert pattern(wildcards) == expected


def test_a_source_address_fits_nobody() -> None:
    rule = {
        "Conditions": [{"Field": "source-ip", "SourceIpConfig": {"Values": ["10.0.0.0/8"]}}],
        "Actions": [{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "200"}}],
    }
    (shown,) = rendered([rule], {})
    assert shown == {"conditions": [{"field": "source-ip", "patterns": []}], "status": 200, "body": ""}


def test_without_a_table_the_load_balancer_refuses(tmp_path: Path, shops: tuple[Shop, Shop]) -> None:
    with Haproxy(tmp_path) as haproxy, Visits(haproxy.url) as visits:
        assert visits.one() == "503"
