"""CloudWatch counts what HAProxy carried, sparsely, in minutes of any length."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from testbed.aws.simulated import SimulatedAws
from testbed.processes import wait_until
from tests.testbed.aws.visiting import Visits

Asked = Callable[..., tuple[list[datetime], list[float]]]
BLUE, GREEN = "checkout-blue", "checkout-green"


def dimensions(aws: SimulatedAws, group: str | None = None) -> list[dict[str, str]]:
    named = [{"Name": "LoadBalancer", "Value": aws.load_balancer_arn.partition(":loadbalancer/")[2]}]
    if group:
        named.append({"Name": "TargetGroup", "Value": aws.group_arn(group).rpartition(":")[2]})
    return named


@pytest.fixture
def counted(aws: SimulatedAws) -> Asked:
    """Points of a group since a moment, oldest first."""

    def ask(group: str | None, since: datetime, metric: str = "RequestCount") -> tuple[list[datetime], list[float]]:
        named = dimensions(aws, group)
        stat = {
            "Metric": {"Namespace": "AWS/ApplicationELB", "MetricName": metric, "Dimensions": named},
            "Period": 60,
            "Stat": "Sum",
        }
        (result,) = aws.client("cloudwatch").get_metric_data(
            MetricDataQueries=[{"Id": "asked", "MetricStat": stat}],
            StartTime=since,
            EndTime=datetime.now(UTC) + timedelta(seconds=5),
            ScanBy="TimestampAscending",
        )["MetricDataResults"]
        assert result["StatusCode"] == "Complete"
        return result["Timestamps"], result["Values"]

    return ask


@pytest.fixture
def since(counted: Asked) -> datetime:
    """A second that has just begun, with nothing of earlier tests still to be counted in it."""
    long_ago = datetime.now(UTC) - timedelta(hours=1)

    def settled() -> bool:
        before = counted(None, long_ago)
        time.sleep(0.25)
        return counted(None, long_ago) == before

    wait_until(settled, within_s=10, what="nothing is left to be counted")
    began = int(time.time())
    wait_until(lambda: int(time.time()) > began, within_s=2, what="a second has begun")
    return datetime.fromtimestamp(int(time.time()), UTC)


def test_requests_are_counted_by_group_and_nothing_is_no_point(
    aws: SimulatedAws, visits: Visits, counted: Asked, since: datetime
) -> None:
    visits.many(40)
    wait_until(lambda: sum(counted(BLUE, since)[1]) == 40, within_s=10, what="40 requests are counted")
    assert counted(GREEN, since) == ([], [])
    assert sum(counted(None, since)[1]) == 40
    assert sum(counted(BLUE, since, "HTTPCode_Target_2XX_Count")[1]) == 40
    assert counted(BLUE, since, "HTTPCode_Target_5XX_Count") == ([], [])
    assert all(at >= since for at in counted(BLUE, since)[0])
    answer = aws.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/ApplicationELB",
        MetricName="RequestCount",
        Dimensions=dimensions(aws, BLUE),
        StartTime=since,
        EndTime=since + timedelta(seconds=30),
        Period=60,
        Statistics=["Sum"],
    )
    assert sum(point["Sum"] for point in answer["Datapoints"]) == 40  # the older operation tells the same


def test_the_load_balancers_own_503s_are_no_groups_requests(
    aws: SimulatedAws, visits: Visits, counted: Asked, since: datetime
) -> None:
    aws.set_weights_by_hand({BLUE: 0, GREEN: 0})
    visits.many(10)
    wait_until(lambda: sum(counted(None, since, "HTTPCode_ELB_503_Count")[1]) == 10, within_s=10, what="10 are counted")
    assert counted(BLUE, since) == counted(GREEN, since) == ([], [])


def test_a_minute_is_as_long_as_the_test_wants(
    aws: SimulatedAws, visits: Visits, counted: Asked, since: datetime
) -> None:
    visits.many(10)
    wait_until(lambda: sum(counted(BLUE, since)[1]) == 10, within_s=10, what="the first are counted")
    first_second = counted(BLUE, since)[0][-1]
    wait_until(lambda: time.time() >= first_second.timestamp() + 1, within_s=5, what="the next second has begun")
    visits.many(10)
    wait_until(lambda: sum(counted(BLUE, since)[1]) == 20, within_s=10, what="the others are counted")
    assert len(counted(BLUE, since)[0]) >= 2
    aws.fault(minute_s=100_000)
    (at,), (count,) = counted(BLUE, since)
    assert count >= 20
    assert at.timestamp() % 100_000 == 0


def test_counts_can_come_late(aws: SimulatedAws, visits: Visits, counted: Asked, since: datetime) -> None:
    aws.fault(metrics_lag_s=0.5)
    sent_at = time.time()
    visits.many(10)
    wait_until(lambda: sum(counted(BLUE, since)[1]) == 10, within_s=10, what="they are counted at last")
    assert time.time() - sent_at >= 0.5


@pytest.mark.parametrize("change", [{"Period": 61}, {"Stat": "p99"}])
def test_questions_that_cannot_be_answered_are_refused(aws: SimulatedAws, change: dict[str, Any]) -> None:
    metric = {
        "Namespace": "AWS/ApplicationELB",
        "MetricName": "RequestCount",
        "Dimensions": dimensions(aws),
    }
    with pytest.raises(ClientError) as error:
        aws.client("cloudwatch").get_metric_data(
            MetricDataQueries=[{"Id": "a", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Sum", **change}}],
            StartTime=datetime.now(UTC) - timedelta(hours=1),
            EndTime=datetime.now(UTC),
        )
    assert error.value.response["Error"]["Code"] == "ValidationError"
