"""CloudWatch: what was counted, in minutes of any length.

Why events and not buckets: the length of a minute is a fault of the day, so what happened is kept with its time, and
put into minutes when somebody asks. Metrics are sparse as AWS's are: no point where nothing happened.
"""

from __future__ import annotations

from collections import defaultdict, deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from testbed.aws.contract import invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from testbed.aws.account import Account
    from testbed.aws.faults import Injector
    from testbed.aws.moto import Moto
    from testbed.aws.wire import Call, Params

NAMESPACES: Final = ("AWS/ApplicationELB", "AWS/Lambda")
MAX_QUERIES: Final = 500
MAX_EVENTS: Final = 200_000
_PLANE_METRICS: Final = {
    "requests": "RequestCount",
    "2xx": "HTTPCode_Target_2XX_Count",
    "3xx": "HTTPCode_Target_3XX_Count",
    "4xx": "HTTPCode_Target_4XX_Count",
    "5xx": "HTTPCode_Target_5XX_Count",
    "503": "HTTPCode_ELB_503_Count",
}


class Metric(NamedTuple):
    """What is counted."""

    namespace: str
    name: str
    dimensions: frozenset[tuple[str, str]]


class Counts:
    """Answers the operations of cloudwatch that read metrics."""

    def __init__(self, moto: Moto, account: Account, injector: Injector, clock: Callable[[], float]) -> None:
        """Begin at nothing.

        Args:
            moto: for what is not counted here.
            account: whose groups and load balancers.
            injector: for the length of a minute and the lag.
            clock: Unix seconds.
        """
        self._moto, self._account, self._injector, self._clock = moto, account, injector, clock
        self._events: deque[tuple[float, Metric, float]] = deque(maxlen=MAX_EVENTS)
        self._last: dict[tuple[str, str], int] = {}

    def add(self, namespace: str, name: str, dimensions: Mapping[str, str], times: float = 1) -> None:
        """Count something now."""
        self._events.append((self._clock(), Metric(namespace, name, frozenset(dimensions.items())), times))

    def follow(self, counters: Mapping[tuple[str, str], int], balancer_arn: str) -> None:
        """Take over the data plane's counters; a counter that fell is one of a proxy started again.

        Args:
            counters: group and what → how often since the start.
            balancer_arn: of the load balancer that the data plane carries.
        """
        balancer = {"LoadBalancer": balancer_arn.partition(":loadbalancer/")[2]}
        for key, now in counters.items():
            before = self._last.get(key, 0)
            more = now - before if now >= before else now
            group, what = key
            if more:
                arn = self._account.group_named(group)
                name = _PLANE_METRICS.get(what, what)
                self.add("AWS/ApplicationELB", name, balancer, more)
                if arn and what != "503":  # CloudWatch has the load balancer's own errors for the whole of it only
                    group_id = arn.rpartition(":")[2]
                    self.add("AWS/ApplicationELB", name, {**balancer, "TargetGroup": group_id}, more)
        self._last = dict(counters)

    async def handle(self, call: Call) -> Params:
        """Answer a call.

        Raises:
            Refusal: AWS's refusal, or moto's.
        """
        if call.operation == "GetMetricData":
            return self._data(call.params)
        if call.operation == "GetMetricStatistics" and call.params["Namespace"] in NAMESPACES:
            return self._statistics(call.params)
        return await self._moto.ask("cloudwatch", call.operation, call.params)

    def _data(self, params: Params) -> Params:
        queries = params.get("MetricDataQueries") or []
        if not 1 <= len(queries) <= MAX_QUERIES:
            raise invalid(f"The collection MetricDataQueries must have 1 to {MAX_QUERIES} members")
        results = []
        for query in queries:
            if "MetricStat" not in query:
                raise invalid("Metric math is not simulated: ask for metrics")
            stat = query["MetricStat"]
            _statistic(stat["Stat"], [])  # refused also where there is no point
            points = self._points(stat["Metric"], stat["Period"], params)
            shown = sorted(points.items(), reverse=params.get("ScanBy") != "TimestampAscending")
            if query.get("ReturnData", True):
                results.append(
                    {
                        "Id": query["Id"],
                        "Label": query.get("Label", stat["Metric"]["MetricName"]),
                        "Timestamps": [datetime.fromtimestamp(at, UTC) for at, _ in shown],
                        "Values": [_statistic(stat["Stat"], values) for _, values in shown],
                        "StatusCode": "Complete",
                    }
                )
        return {"MetricDataResults": results, "Messages": []}

    def _statistics(self, params: Params) -> Params:
        points = self._points(params, params["Period"], params)
        names = params.get("Statistics") or []
        datapoints = [
            {
                "Timestamp": datetime.fromtimestamp(at, UTC),
                "Unit": "Count",
                **{name: _statistic(name, values) for name in names},
            }
            for at, values in points.items()
        ]
        return {"Label": params["MetricName"], "Datapoints": datapoints}

    def _points(self, asked: Params, period_s: int, window: Params) -> dict[float, list[float]]:
        if period_s < 1 or (period_s > 30 and period_s % 60):
            raise invalid("The parameter Period must be 1, 5, 10, 30 or a multiple of 60")
        faults = self._injector.faults
        step_s = max(1, period_s // 60) * faults.minute_s
        start, end = _seconds(window["StartTime"]), _seconds(window["EndTime"])
        if start >= end:
            raise invalid("The parameter StartTime must be less than the parameter EndTime")
        start = start // step_s * step_s
        dimensions = frozenset((each["Name"], each["Value"]) for each in asked.get("Dimensions") or [])
        metric = Metric(asked["Namespace"], asked["MetricName"], dimensions)
        newest = self._clock() - faults.metrics_lag_s
        points: defaultdict[float, list[float]] = defaultdict(list)
        for at, counted, times in self._events:
            bucket = at // step_s * step_s
            if counted == metric and start <= bucket < end and at <= newest:
                points[bucket].append(times)
        return dict(points)


def _statistic(name: str, values: list[float]) -> float:
    match name:
        case "Sum" | "SampleCount":  # every sample of a counter is one request
            return sum(values)
        case "Average" | "Minimum" | "Maximum":
            return 1.0
    raise invalid(f"The statistic {name} is not simulated")


def _seconds(moment: object) -> float:
    if isinstance(moment, datetime):
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if isinstance(moment, int | float):
        return float(moment)
    return datetime.fromisoformat(str(moment)).timestamp()
