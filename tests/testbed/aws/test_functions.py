"""An alias of a Lambda function: a revision that fences, weights that are checked, versions that are drawn."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from math import sqrt
from typing import Any

import pytest
from botocore.exceptions import ClientError

from testbed.aws.simulated import SimulatedAws
from testbed.processes import wait_until

ALIAS = {"FunctionName": "checkout", "Name": "live"}


def weights(**versions: float) -> dict[str, Any]:
    return {"AdditionalVersionWeights": {name.lstrip("v"): weight for name, weight in versions.items()}}


@pytest.fixture
def functions(aws: SimulatedAws) -> Any:
    route = aws.lambda_route("cloud")
    assert (route["function"], route["alias"], route["stable"], route["candidate"]) == ("checkout", "live", "1", "2")
    aws.reset()
    return aws.client("lambda")


def test_a_stale_revision_is_refused_and_every_change_makes_a_new_one(functions: Any) -> None:
    first = functions.get_alias(**ALIAS)["RevisionId"]
    assert functions.get_alias(**ALIAS)["RevisionId"] == first
    changed = functions.update_alias(**ALIAS, RoutingConfig=weights(v2=0.05), RevisionId=first)
    assert changed["RevisionId"] != first
    assert functions.get_alias(**ALIAS)["RevisionId"] == changed["RevisionId"]
    with pytest.raises(functions.exceptions.PreconditionFailedException) as error:
        functions.update_alias(**ALIAS, RoutingConfig=weights(v2=0.5), RevisionId=first)
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 412
    shown = functions.get_alias(**ALIAS)
    assert shown["RoutingConfig"] == weights(v2=0.05)
    assert functions.list_aliases(FunctionName="checkout")["Aliases"][0]["RevisionId"] == shown["RevisionId"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"RoutingConfig": weights(v2=1.5)}, "InvalidParameterValueException"),
        ({"RoutingConfig": weights(v1=0.5)}, "InvalidParameterValueException"),
        ({"RoutingConfig": weights(v2=0.1, v3=0.1)}, "InvalidParameterValueException"),
        ({"RoutingConfig": weights(v9=0.1)}, "ResourceNotFoundException"),
        ({"FunctionVersion": "9"}, "ResourceNotFoundException"),
        ({"FunctionVersion": "$LATEST", "RoutingConfig": weights(v2=0.1)}, "InvalidParameterValueException"),
    ],
)
def test_routings_that_aws_refuses_are_refused(functions: Any, change: dict[str, Any], code: str) -> None:
    before = functions.get_alias(**ALIAS)
    with pytest.raises(ClientError) as error:
        functions.update_alias(**ALIAS, **change)
    assert error.value.response["Error"]["Code"] == code
    after = functions.get_alias(**ALIAS)
    assert (after["RevisionId"], after["FunctionVersion"]) == (before["RevisionId"], before["FunctionVersion"])


def test_invocations_are_drawn_by_the_weights(aws: SimulatedAws, functions: Any) -> None:
    functions.update_alias(**ALIAS, RoutingConfig=weights(v2=0.25))
    seen = Counter(aws.invoke("checkout:live") for _ in range(300))
    assert abs(seen["2"] - 75) <= 5 * sqrt(300 * 0.25 * 0.75)
    functions.update_alias(**ALIAS, FunctionVersion="2", RoutingConfig=weights())
    assert {aws.invoke("checkout:live") for _ in range(20)} == {"2"}
    assert functions.invoke(FunctionName="checkout", Qualifier="1")["ExecutedVersion"] == "1"
    with pytest.raises(functions.exceptions.ResourceNotFoundException):
        functions.invoke(FunctionName="checkout", Qualifier="nobody")


def test_the_effect_of_a_write_can_lag(aws: SimulatedAws, functions: Any) -> None:
    aws.fault(effect_delay_s=1.0)
    functions.update_alias(**ALIAS, FunctionVersion="2", RoutingConfig=weights())
    assert aws.invoke("checkout:live") == "1"
    wait_until(lambda: aws.invoke("checkout:live") == "2", within_s=10, what="the write is in effect")


def test_a_busy_function_says_so(aws: SimulatedAws, functions: Any) -> None:
    aws.fault(lambda_busy=True)
    with pytest.raises(functions.exceptions.ResourceConflictException):
        functions.update_alias(**ALIAS, RoutingConfig=weights(v2=0.5))


def test_invocations_are_counted_by_version(aws: SimulatedAws, functions: Any) -> None:
    began = datetime.now(UTC) - timedelta(seconds=1)
    functions.update_alias(**ALIAS, FunctionVersion="2", RoutingConfig=weights())
    for _ in range(5):
        aws.invoke("checkout:live")
    dimensions = {"FunctionName": "checkout", "Resource": "checkout:live", "ExecutedVersion": "2"}
    metric = {
        "Namespace": "AWS/Lambda",
        "MetricName": "Invocations",
        "Dimensions": [{"Name": name, "Value": value} for name, value in dimensions.items()],
    }
    (result,) = aws.client("cloudwatch").get_metric_data(
        MetricDataQueries=[{"Id": "a", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Sum"}}],
        StartTime=began,
        EndTime=datetime.now(UTC) + timedelta(seconds=5),
    )["MetricDataResults"]
    assert sum(result["Values"]) >= 5
