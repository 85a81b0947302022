"""Whether a target group still gets requests, from CloudWatch: an ALB tells nobody how many it has open.

The number is requests that arrived in the last minutes that CloudWatch knows completely, and a target that is still
draining counts as one. Metrics are sparse, so no point means no request, but only for minutes that are old enough to be
complete and that lie after the last write: until then the answer is at least 1.
"""

import time
from datetime import UTC, datetime, timedelta

from activities.aws import AwsClients
from rollout.errors import RouterUnreachable

_ASK_EVERY_S = 10.0  # points come once a minute


async def requests(aws: AwsClients, load_balancer: str, group: str, since: float) -> int:
    """Requests to a target group while it should get none.

    Args:
        aws: of the connection.
        load_balancer: its ARN.
        group: target group's ARN.
        since: when the last write was in force, Unix seconds.

    Returns:
        The requests of the connection's `quiet_for`; at least 1 as long as that begins before `since`.

    Raises:
        SluiceError: CloudWatch's answer, or none.
    """
    until = time.time() - aws.connection.metrics_lag.total_seconds()
    quiet_s = aws.connection.quiet_for.total_seconds()
    unknown = int(until - quiet_s < since)
    step = min(_ASK_EVERY_S, quiet_s / 4)
    end = datetime.fromtimestamp(until // step * step, UTC)
    query = {
        "Id": "requests",
        "MetricStat": {
            "Metric": {
                "Namespace": "AWS/ApplicationELB",
                "MetricName": "RequestCount",
                "Dimensions": [
                    {"Name": "TargetGroup", "Value": group.rpartition(":")[2]},
                    {"Name": "LoadBalancer", "Value": load_balancer.partition(":loadbalancer/")[2]},
                ],
            },
            "Period": 60,
            "Stat": "Sum",
        },
    }
    answer = await aws.recent(
        "cloudwatch",
        "get_metric_data",
        step,
        MetricDataQueries=[query],
        StartTime=end - timedelta(seconds=quiet_s),
        EndTime=end,
    )
    [result] = answer["MetricDataResults"]
    if (status := result.get("StatusCode")) != "Complete":
        raise RouterUnreachable(f"CloudWatch has only {status} of RequestCount for {group.rpartition(':')[2]}")
    arrived: float = sum(result["Values"])
    return max(round(arrived), unknown)
