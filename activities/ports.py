"""What the activities ask of the world: small protocols, one implementation a backend, contract suites for each.

The alternative, one fat "provider" interface, was rejected: Argo Rollouts' has 54 methods, 30 of which return nil.
"""

from typing import Literal, Protocol

from pydantic import Field

from rollout.base import Told
from rollout.judge.alert import AlertRule
from rollout.judge.counters import Series
from rollout.judge.fetched import Fetched, Request
from rollout.judge.threshold import Vector
from rollout.routes import Route

Pool = Literal["candidate", "stable"]


class RouteState(Told):
    """What a route is, as the router itself shows it.

    Attributes:
        percent: percent on the candidate in the written configuration, 0 to 100.
        in_force: percent that the running router proves, None while it shows anything else than what is written.
        epoch: fence of the last write Sluice made; 0 if none.
        owner: workflow ID that holds the route, None if nobody.
        forced: whether the forced-header rules are there.
        healthy: pool → members able to take traffic; a pool that the router does not know is missing here.
        problem: why it is not in force, in the router's words where it has any.
        proof: what the router shows, as words for the history.
    """

    percent: float
    in_force: float | None
    epoch: int = 0
    owner: str | None = None
    forced: bool = False
    healthy: dict[Pool, int] = Field(default_factory=dict)
    problem: str | None = None
    proof: str = ""


class Write(Told):
    """One write to a route.

    Attributes:
        percent: wanted percent on the candidate.
        epoch: fence: refused if the route carries a newer one.
        owner: who will hold the route afterwards; the mark of nobody if `release`.
        header: whether the forced-header rules shall be there (if the route asks for them at all).
        release: take the owner's mark off; the epoch stays as a fence.
    """

    percent: float
    epoch: int
    owner: str
    header: bool = True
    release: bool = False


class Router(Protocol):
    """One place where traffic is split."""

    async def read(self) -> RouteState:
        """Read what is written and what is in force.

        Raises:
            RouterUnreachable: the admin interface or the configuration cannot be read.
            Misconfigured: what is there is not a configuration this adapter understands; says where.
        """
        ...

    async def write(self, write: Write) -> None:
        """Write once; proof is the caller's business (`read` until it is in force).

        Fenced and atomic: a reader sees the old or the new configuration, and an older epoch never replaces a newer.

        Raises:
            Superseded: the route carries a newer epoch.
            RouteOwned: another owner holds the route.
            RouteRejected: the router refused the configuration; the previous one is back in place.
            RouterUnreachable: it could not be written.
        """
        ...

    async def in_flight(self, pool: Pool) -> int:
        """Requests that a pool is serving right now.

        Raises:
            RouterUnreachable: the admin interface does not answer.
        """
        ...


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


class Connections(Protocol):
    """The named connections of the worker's settings, turned into adapters."""

    def router(self, route: Route) -> Router:
        """The adapter for a route.

        Raises:
            Misconfigured: no connection of that name and kind.
        """
        ...

    def metrics(self, connection: str) -> MetricSource:
        """The metrics server of that name.

        Raises:
            Misconfigured: no connection of that name and kind.
        """
        ...

    def web(self, connection: str) -> WebSource:
        """The HTTP service of that name.

        Raises:
            Misconfigured: no connection of that name and kind.
        """
        ...

    def people(self, group: str) -> tuple[str, ...]:
        """Members of a group.

        Raises:
            Misconfigured: no group of that name.
        """
        ...
