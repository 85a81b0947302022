"""Where health is read."""

from typing import Literal, Protocol

from rollout.judge.alert import AlertRule
from rollout.judge.counters import Series
from rollout.judge.fetched import Fetched, Request
from rollout.judge.threshold import Vector


class MetricSource(Protocol):
    """A metrics server."""

    async def evaluate(self, query: str, start_ms: int, end_ms: int, step_ms: int) -> dict[int, Vector]:
        """Evaluate an expression at start, start + step, … ≤ end.

        Args:
            query: the expression.
            start_ms: first evaluation time, Unix milliseconds.
            end_ms: last possible evaluation time, Unix milliseconds.
            step_ms: distance, milliseconds.

        Returns:
            For every evaluation time the vector at that time, empty where nothing answers. NaN stays NaN.

        Raises:
            MetricsUnavailable: no (complete) answer: connection, timeout, 5xx, warnings about partial data.
            Misconfigured: the server says that the query is wrong.
        """
        ...

    async def samples(self, selector: str, after_ms: int, until_ms: int) -> tuple[Series, ...]:
        """Raw samples of counters, nothing computed: after < time ≤ until.

        Args:
            selector: a plain selector.
            after_ms: Unix milliseconds, exclusive.
            until_ms: Unix milliseconds, inclusive; later than `after_ms`.

        Raises:
            MetricsUnavailable: no (complete) answer.
            Misconfigured: the server says that the selector is wrong, or what it selects is no counter.
        """
        ...

    async def histograms(
        self,
        selector: str,
        slower_than_s: float,
        after_ms: int,
        until_ms: int,
        straddle: Literal["within", "beyond"] = "within",
    ) -> tuple[tuple[Series, ...], tuple[Series, ...]]:
        """Raw samples of native histograms, as two counters each: after < time ≤ until.

        Args:
            selector: a plain selector.
            slower_than_s: the limit, in the histogram's unit; an observation of exactly this is within it.
            after_ms: Unix milliseconds, exclusive.
            until_ms: Unix milliseconds, inclusive; later than `after_ms`.
            straddle: where a bucket that lies across the limit is counted. To blame a candidate for no more than is
                certain, ask at once with "within" for its series and with "beyond" for stable's: that is one request.

        Returns:
            All observations, and those within the limit; the same series in the same order.

        Raises:
            MetricsUnavailable: no (complete) answer.
            Misconfigured: the server says that the selector is wrong, or what it selects is no native histogram.
        """
        ...

    async def alerts(self) -> tuple[AlertRule, ...]:
        """Every alerting rule that the server evaluates, and what is pending or firing now.

        Raises:
            MetricsUnavailable: no (complete) answer.
        """
        ...

    async def missing(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Which of these series names the server has never heard of (in its last hour).

        Raises:
            MetricsUnavailable: no answer.
        """
        ...


class WebSource(Protocol):
    """A place that answers HTTP requests."""

    async def fetch(self, request: Request) -> Fetched:
        """Send one request; redirects are not followed.

        Args:
            request: the path is below the connection's URL, whose own headers win.

        Returns:
            The answer of whatever status; without a status if the request was sent and nothing complete came in time.

        Raises:
            MetricsUnavailable: it could not be sent, or the answer cannot be read.
        """
        ...
