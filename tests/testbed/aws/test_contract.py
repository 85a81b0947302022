"""What AWS refuses is refused here, asked through boto3 itself; each row would be accepted by moto alone."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from testbed.aws.contract import MAX_RULES
from testbed.aws.simulated import SimulatedAws

Forward = Callable[..., list[dict[str, Any]]]


def code_of(error: pytest.ExceptionInfo[ClientError]) -> str:
    return str(error.value.response["Error"]["Code"])


def path(*patterns: str) -> list[dict[str, Any]]:
    return [{"Field": "path-pattern", "PathPatternConfig": {"Values": list(patterns)}}]


def header(name: str, *values: str) -> list[dict[str, Any]]:
    return [{"Field": "http-header", "HttpHeaderConfig": {"HttpHeaderName": name, "Values": list(values)}}]


def config(groups: list[tuple[str, int]], **sticky: Any) -> list[dict[str, Any]]:
    made = [{"TargetGroupArn": arn, "Weight": weight} for arn, weight in groups]
    return [{"Type": "forward", "ForwardConfig": {"TargetGroups": made, "TargetGroupStickinessConfig": sticky}}]


FIVE = [(f"arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/g{n}/1", 1) for n in range(6)]


@pytest.mark.parametrize(
    ("actions", "code"),
    [
        (lambda b, g: config([(b, 1000), (g, 0)]), "ValidationError"),
        (lambda b, g: config([(b, -1), (g, 1)]), "ValidationError"),
        (lambda b, _: config([(b, 1), (b, 1)]), "ValidationError"),
        (lambda _b, _g: config(FIVE), "ValidationError"),
        (lambda b, g: config([(b, 1), (g, 1)], Enabled=True), "ValidationError"),
        (lambda b, g: config([(b, 1), (g, 1)], Enabled=True, DurationSeconds=604_801), "ValidationError"),
        (lambda b, g: config([(b, 1), (g, 1)], Enabled=True, DurationSeconds=0), "ValidationError"),
        (lambda b, g: [{**config([(b, 1)])[0], "TargetGroupArn": g}], "ValidationError"),
        (lambda b, g: [*config([(b, 1)]), *config([(g, 1)])], "InvalidLoadBalancerAction"),
        (lambda b, _: config([(b + "0", 1)]), "TargetGroupNotFound"),
        (lambda _b, _g: [{"Type": "forward"}], "ValidationError"),
    ],
    ids=[
        "weight-1000",
        "weight-below-0",
        "twice-the-same-group",
        "six-groups",
        "sticky-without-duration",
        "sticky-over-a-week",
        "sticky-0s",
        "arn-contradicts-config",
        "two-forwards",
        "unknown-group",
        "forward-to-nothing",
    ],
)
def test_actions_that_aws_refuses_are_refused(
    aws: SimulatedAws, elbv2: Any, actions: Callable[[str, str], list[dict[str, Any]]], code: str
) -> None:
    before = aws.rules()
    wanted = actions(aws.group_arn("checkout-blue"), aws.group_arn("checkout-green"))
    with pytest.raises(ClientError) as error:
        elbv2.modify_listener(ListenerArn=aws.listener_arn, DefaultActions=wanted)
    assert code_of(error) == code
    with pytest.raises(ClientError) as error:
        elbv2.create_rule(ListenerArn=aws.listener_arn, Priority=7, Conditions=path("/x"), Actions=wanted)
    assert code_of(error) == code
    assert aws.rules() == before


@pytest.mark.parametrize(
    ("conditions", "priority", "code"),
    [
        (header("X" * 41, "true"), 7, "ValidationError"),
        (header("X-Canary", "t" * 129), 7, "ValidationError"),
        (header("X Canary", "true"), 7, "ValidationError"),
        (header("Host", "shop"), 7, "ValidationError"),
        (path(*(f"/{n}" for n in range(6))), 7, "ValidationError"),
        (path("/*/*/*/*/*/*/*"), 7, "ValidationError"),
        (path("/x"), 50_001, "ValidationError"),
        (path("/x"), 9, "PriorityInUse"),
    ],
)
def test_conditions_and_priorities_that_aws_refuses_are_refused(
    aws: SimulatedAws, elbv2: Any, forward: Forward, conditions: list[dict[str, Any]], priority: int, code: str
) -> None:
    elbv2.create_rule(ListenerArn=aws.listener_arn, Priority=9, Conditions=path("/9"), Actions=forward(blue=1))
    with pytest.raises(ClientError) as error:
        elbv2.create_rule(
            ListenerArn=aws.listener_arn, Priority=priority, Conditions=conditions, Actions=forward(blue=1)
        )
    assert code_of(error) == code


def test_a_default_rule_is_changed_by_its_listener_only(aws: SimulatedAws, elbv2: Any, forward: Forward) -> None:
    arn = aws.default_rule_arn
    changes: list[Callable[[], object]] = [
        lambda: elbv2.modify_rule(RuleArn=arn, Actions=forward(green=1)),
        lambda: elbv2.delete_rule(RuleArn=arn),
        lambda: elbv2.set_rule_priorities(RulePriorities=[{"RuleArn": arn, "Priority": 3}]),
    ]
    for change in changes:
        with pytest.raises(ClientError) as error:
            change()
        assert code_of(error) == "OperationNotPermitted"


def test_a_default_rule_keeps_its_name_and_its_tags_whatever_is_written(
    aws: SimulatedAws, elbv2: Any, forward: Forward
) -> None:
    elbv2.add_tags(ResourceArns=[aws.default_rule_arn], Tags=[{"Key": "sluice:owner", "Value": "rollout-1"}])
    elbv2.modify_listener(ListenerArn=aws.listener_arn, DefaultActions=forward(blue=95, green=5))
    (rule,) = elbv2.describe_rules(RuleArns=[aws.default_rule_arn])["Rules"]
    assert rule["IsDefault"]
    weights = [group["Weight"] for group in rule["Actions"][0]["ForwardConfig"]["TargetGroups"]]
    assert weights == [95, 5]
    (tags,) = elbv2.describe_tags(ResourceArns=[aws.default_rule_arn])["TagDescriptions"]
    assert tags["Tags"] == [{"Key": "sluice:owner", "Value": "rollout-1"}]
    elbv2.remove_tags(ResourceArns=[aws.default_rule_arn], TagKeys=["sluice:owner"])
    assert elbv2.describe_tags(ResourceArns=[aws.default_rule_arn])["TagDescriptions"][0]["Tags"] == []


def test_a_single_group_is_shown_in_both_places(aws: SimulatedAws, elbv2: Any, forward: Forward) -> None:
    green = aws.group_arn("checkout-green")
    (rule,) = elbv2.create_rule(
        ListenerArn=aws.listener_arn, Priority=7, Conditions=header("X-Canary", "true"), Actions=forward(green=1)
    )["Rules"]
    (action,) = rule["Actions"]
    assert action["TargetGroupArn"] == green
    assert action["ForwardConfig"]["TargetGroups"] == [{"TargetGroupArn": green, "Weight": 1}]
    assert rule["Priority"] == "7"


@pytest.mark.parametrize(
    ("tags", "code"),
    [
        ([("k" * 128, "v" * 257)], "ValidationError"),
        ([("aws:owner", "me")], "ValidationError"),
        ([("owner", "a;b")], "ValidationError"),
        ([("ow,ner", "a")], "ValidationError"),
        ([("owner", "a"), ("owner", "b")], "DuplicateTagKeys"),
        ([(f"k{number}", "v") for number in range(51)], "TooManyTags"),
    ],
)
@pytest.mark.parametrize("default", [True, False])
def test_tags_that_aws_refuses_are_refused(
    aws: SimulatedAws, elbv2: Any, tags: list[tuple[str, str]], code: str, default: bool
) -> None:
    arn = aws.default_rule_arn if default else aws.listener_arn
    with pytest.raises(ClientError) as error:
        elbv2.add_tags(ResourceArns=[arn], Tags=[{"Key": key, "Value": value} for key, value in tags])
    assert code_of(error) == code


def test_tags_of_the_tools_that_mark_rules_are_accepted(aws: SimulatedAws, elbv2: Any) -> None:
    elbv2.add_tags(ResourceArns=[aws.default_rule_arn], Tags=[{"Key": "größe/x@y", "Value": "a b_c.d:e/f=g+h-i@j"}])
    (found,) = elbv2.describe_tags(ResourceArns=[aws.default_rule_arn])["TagDescriptions"]
    assert found["Tags"] == [{"Key": "größe/x@y", "Value": "a b_c.d:e/f=g+h-i@j"}]


def test_fifty_tags_fit_and_not_one_more(aws: SimulatedAws, elbv2: Any) -> None:
    (rule,) = aws.add_rules(1)
    for arn in (aws.listener_arn, aws.default_rule_arn, rule):
        elbv2.add_tags(ResourceArns=[arn], Tags=[{"Key": f"tag-{number}"} for number in range(49)])
        elbv2.add_tags(ResourceArns=[arn], Tags=[{"Key": "tag-49"}])
        with pytest.raises(ClientError) as refused:
            elbv2.add_tags(ResourceArns=[arn], Tags=[{"Key": "tag-50"}])
        assert code_of(refused) == "TooManyTags"
        elbv2.remove_tags(ResourceArns=[arn], TagKeys=[f"tag-{number}" for number in range(50)])


def test_at_most_20_resources_tell_their_tags_at_once(aws: SimulatedAws, elbv2: Any) -> None:
    arns = aws.add_rules(21)
    assert len(elbv2.describe_tags(ResourceArns=arns[:20])["TagDescriptions"]) == 20
    with pytest.raises(ClientError) as error:
        elbv2.describe_tags(ResourceArns=arns)
    assert code_of(error) == "ValidationError"


def test_a_load_balancer_has_100_rules_besides_its_default(aws: SimulatedAws, elbv2: Any, forward: Forward) -> None:
    aws.add_rules(MAX_RULES)
    with pytest.raises(ClientError) as error:
        elbv2.create_rule(ListenerArn=aws.listener_arn, Priority=7, Conditions=path("/7"), Actions=forward(blue=1))
    assert code_of(error) == "TooManyRules"


def test_whoever_forgets_to_page_sees_a_part(aws: SimulatedAws, elbv2: Any) -> None:
    aws.add_rules(25)
    first = elbv2.describe_rules(ListenerArn=aws.listener_arn)
    assert len(first["Rules"]) == 20
    rest = elbv2.describe_rules(ListenerArn=aws.listener_arn, Marker=first["NextMarker"])
    assert [len(rest["Rules"]), rest["Rules"][-1]["IsDefault"]] == [6, True]
    assert "NextMarker" not in rest
    aws.fault(page_size=400)
    assert len(elbv2.describe_rules(ListenerArn=aws.listener_arn)["Rules"]) == 26
    with pytest.raises(ClientError) as error:
        elbv2.describe_rules(ListenerArn=aws.listener_arn, PageSize=401)
    assert code_of(error) == "ValidationError"


def test_load_balancers_and_groups_are_paged_too(aws: SimulatedAws, elbv2: Any) -> None:
    aws.add_load_balancers(3)
    aws.add_target_groups(3)
    aws.fault(page_size=2)
    for operation, key, least in (
        ("describe_load_balancers", "LoadBalancers", 4),
        ("describe_target_groups", "TargetGroups", 5),
    ):
        pages = [page[key] for page in elbv2.get_paginator(operation).paginate()]
        assert all(len(page) <= 2 for page in pages)
        assert sum(len(page) for page in pages) >= least


def test_names_that_do_not_exist_are_not_found(aws: SimulatedAws, elbv2: Any, forward: Forward) -> None:
    nobody = aws.default_rule_arn[:-1] + "x"
    changes: list[tuple[Callable[[], object], str]] = [
        (lambda: elbv2.describe_rules(RuleArns=[nobody]), "RuleNotFound"),
        (lambda: elbv2.modify_rule(RuleArn=nobody, Actions=forward(blue=1)), "RuleNotFound"),
        (lambda: elbv2.describe_rules(ListenerArn=aws.listener_arn + "x"), "ListenerNotFound"),
        (
            lambda: elbv2.describe_target_health(TargetGroupArn=aws.group_arn("checkout-blue") + "x"),
            "TargetGroupNotFound",
        ),
        (lambda: elbv2.describe_load_balancers(Names=["nobody"]), "LoadBalancerNotFound"),
    ]
    for change, code in changes:
        with pytest.raises(ClientError) as error:
            change()
        assert code_of(error) == code


def test_a_group_belongs_to_one_load_balancer(aws: SimulatedAws, elbv2: Any, forward: Forward) -> None:
    (other,) = elbv2.create_load_balancer(Name="second", Subnets=aws._subnets)["LoadBalancers"]
    with pytest.raises(ClientError) as error:
        elbv2.create_listener(
            LoadBalancerArn=other["LoadBalancerArn"], Protocol="HTTP", Port=80, DefaultActions=forward(blue=1)
        )
    assert code_of(error) == "TargetGroupAssociationLimit"


def test_a_group_of_another_protocol_fits_no_rule(aws: SimulatedAws, elbv2: Any) -> None:
    (group,) = elbv2.create_target_group(Name="tcp", Protocol="TCP", Port=80, VpcId=aws._vpc)["TargetGroups"]
    with pytest.raises(ClientError) as error:
        elbv2.modify_listener(ListenerArn=aws.listener_arn, DefaultActions=config([(group["TargetGroupArn"], 1)]))
    assert code_of(error) == "IncompatibleProtocols"
