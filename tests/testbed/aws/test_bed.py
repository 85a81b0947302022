"""The whole account: routes and settings that the product accepts, services that scale, and a way back to the start."""

import tomllib
from datetime import timedelta
from typing import Any

from pydantic import TypeAdapter

from activities.aws import AwsConnection
from rollout.routes import AlbRoute, LambdaAliasRoute, Route
from testbed.aws.simulated import SimulatedAws

ROUTE: TypeAdapter[Route] = TypeAdapter(Route)


def test_routes_are_routes_of_the_product(aws: SimulatedAws) -> None:
    route = ROUTE.validate_python(aws.route("cloud"))
    assert isinstance(route, AlbRoute)
    assert (route.candidate_pool, route.stable_pool, route.place) == (
        "checkout-green",
        "checkout-blue",
        "shop:80 rule default",
    )
    assert isinstance(ROUTE.validate_python(aws.lambda_route("cloud")), LambdaAliasRoute)


def test_settings_name_the_account_and_no_secret(aws: SimulatedAws) -> None:
    settings = tomllib.loads(aws.settings("cloud", quiet_for="9s"))["connections"]["cloud"]
    connection = AwsConnection.model_validate(settings)
    assert (connection.endpoint_url, connection.region) == (aws.endpoint_url, aws.region)
    assert connection.quiet_for == timedelta(seconds=9)
    assert aws.environment["AWS_ACCESS_KEY_ID"] not in settings.values()


def test_reset_takes_everything_back(aws: SimulatedAws, elbv2: Any) -> None:
    aws.set_weights_by_hand({"checkout-blue": 1, "checkout-green": 9}, sticky_s=60)
    aws.add_rules(2)
    elbv2.add_tags(ResourceArns=[aws.default_rule_arn, aws.listener_arn], Tags=[{"Key": "owner", "Value": "me"}])
    aws.fault(deny=["ModifyRule"])
    aws.reset()
    (rule,) = aws.rules()
    config = rule["Actions"][0]["ForwardConfig"]
    assert [group["Weight"] for group in config["TargetGroups"]] == [1, 0]
    assert config["TargetGroupStickinessConfig"] == {"Enabled": False}
    described = elbv2.describe_tags(ResourceArns=[aws.default_rule_arn, aws.listener_arn])["TagDescriptions"]
    assert [each["Tags"] for each in described] == [[], []]


def test_services_beyond_the_gate_are_motos(aws: SimulatedAws) -> None:
    assert aws.client("sts").get_caller_identity()["Account"] == "123456789012"
