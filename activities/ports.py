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
from rollout.mitigations import Flag
from rollout.routes import Route
from rollout.workloads import Workload

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
        finest: smallest percent above 0 that the router can send to either pool as it is now.
        proves_after_s: seconds that pass after a write, at the least, until it can be proven.
        settles_after_s: seconds after which everybody has a change that is proven, because flags are asked
            for now and then; 0 where it is there at once.
        drains_after_s: seconds that pass, at the least, until it can be said that a pool without traffic has drained.
        moving: what a router that moves traffic by itself, pod by pod, is still doing towards what is written, in
            words; not a problem: gates are judged meanwhile, and the bake begins when it has arrived.
        failed: why such a router will never arrive by itself; the candidate is to blame.
        sides: pool → what the metrics of its pods are labelled with, where the router knows it (a pod template's hash).
        problem: why it is not in force, in the router's words where it has any.
        proof: what the router shows, as words for the history.
    """

    percent: float
    in_force: float | None
    epoch: int = 0
    owner: str | None = None
    forced: bool = False
    healthy: dict[Pool, int] = Field(default_factory=dict)
    finest: float = 0.01
    proves_after_s: float = 0
    settles_after_s: float = 0
    drains_after_s: float = 0
    moving: str | None = None
    failed: str | None = None
    sides: dict[Pool, str] = Field(default_factory=dict)
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
        pause: stay where the traffic is now, for routers that move it by themselves; others ignore it.
    """

    percent: float
    epoch: int
    owner: str
    header: bool = True
    release: bool = False
    pause: bool = False


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
            Drifted: a flag that was switched off since the same write; it stays off.
            RouteRejected: the router refused the configuration; the previous one is back in place.
            RouterUnreachable: it could not be written, or only in part: what was written is told. Worth another try.
            NotReady: the pool that would get more cannot carry it yet; nothing was raised.
            NotPermitted: the worker may not write it.
            Misconfigured: a pool or a place that the router does not know, or a percent that it cannot send.
        """
        ...

    async def in_flight(self, pool: Pool) -> int | None:
        """Requests that a pool is serving right now; None if this kind of router can never tell.

        Raises:
            RouterUnreachable: the admin interface does not answer.
        """
        ...


class FlagState(RouteState):
    """What a flag is; its percent counts users, and is 0 while it is switched off, if off means stable's variation.

    Attributes:
        on: whether it is switched on in this environment.
        problem: also, with `in_force` 0, why no rollout could raise it. While it is off, nothing about its share keeps
            `in_force` from being 0.
        locked: why `turn_off` would not work, could not be proven, or would not mean stable's variation (an approval
            is required, a permission or the off variation is missing), as a sentence. What only keeps a percent from
            being placed is a `problem`.
        changed_by: while it is off, who switched it off last; else who changed it last. None if nobody knows.
        off_since_ms: when it was switched off, Unix milliseconds; None while it is on, or if nobody knows for sure.
    """

    on: bool
    locked: str | None = None
    changed_by: str | None = None
    off_since_ms: int | None = None


class FlagService(Router, Protocol):
    """One feature flag in one environment: a route whose percent counts users, and which can be switched off.

    `in_force` is what applications are given: proven by evaluating the flag for a set of keys, not by reading back
    what was written. A flag serves no requests: `in_flight` is 0.
    """

    async def read(self) -> FlagState:
        """See `Router.read`; both variations that the flag has are pools with one healthy member.

        Raises:
            RouterUnreachable: the service does not answer.
            Misconfigured: no such flag, or one that this adapter does not understand; says what to change.
            NotPermitted: the token may not read it.
        """
        ...

    async def write(self, write: Write) -> None:
        """See `Router.write`; a percent above 0 switches on what the rollout found off, and never anything else.

        A flag that carries the mark of the write's owner and is off was switched off by somebody, unless that owner
        found it off and has not raised it since. It stays off: a raise is refused whatever its epoch. `release` is
        accepted: the percent is written behind the switch, for whoever switches it on again, and the owner's mark is
        taken off; the state is then off, 0 % and in force.

        Raises:
            Drifted, RouteRejected: somebody switched it off; nothing was written.
        """
        ...

    async def turn_off(self, why: str) -> bool:
        """Switch it off for everybody, at once; no other setting is changed, and off already is fine.

        It needs no fence: nobody turns it on again but a person.

        Args:
            why: for the service's own log of changes, one line; no secret is in it.

        Returns:
            Whether this call switched it off, or may have; False if it was off already and nothing was written.

        Raises:
            RouterUnreachable: it could not be written.
            Throttled: the service wants to be asked later.
            RouteRejected: the service refused the change; nothing was written.
            NotPermitted: the token may not, or an approval is required.
            Misconfigured: no such flag, or off would not mean stable's variation.
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

    def workload(self, workload: Workload) -> "Workloads":
        """The adapter for a workload.

        Raises:
            Misconfigured: no connection of that name and kind.
        """
        ...

    def flag(self, flag: Flag) -> FlagService:
        """The adapter for a flag.

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


class Capacity(Told):
    """What the pods of a service can take.

    Attributes:
        candidate_ready: pods of the candidate that may get traffic.
        candidate_desired: pods that it shall have.
        stable_ready: ready pods of stable.
        stable_desired: pods that it shall have now.
        whole: pods that all the traffic needs: the most that stable should have had since this rollout began.
        epoch: fence that the candidate carries; 0 if none. A rollout begins with newer ones, whatever its routes carry.
        owner: workflow ID that holds the candidate, None if nobody.
        notes: what an operator should know: who else decides the number of pods, and what that will do.
    """

    candidate_ready: int
    candidate_desired: int
    stable_ready: int
    stable_desired: int
    whole: int
    epoch: int = 0
    owner: str | None = None
    notes: tuple[str, ...] = ()


class Workloads(Protocol):
    """The pods behind a route's two pools."""

    async def capacity(self) -> Capacity:
        """Count pods, and look who else scales them; writes nothing.

        Raises:
            RouterUnreachable: they cannot be counted now.
            NotPermitted: the worker may not look; says what at.
            Misconfigured: candidate or stable does not exist.
        """
        ...

    async def prepare(self, write: Write) -> Capacity:
        """See to it that the candidate can carry a percent: more pods if it needs them, never fewer.

        Fenced like a route, by a mark on the candidate. Called again until it no longer raises, then the percent may be
        raised. With `release`, at the end of a promoted rollout, it takes the owner's mark off.

        Args:
            write: the percent that will be written to the routes, with their epoch and owner.

        Raises:
            NotReady: not all pods that it needs are ready yet; says how many are, and what is known about why.
            Drifted: others take its pods away again and again.
            Superseded: the candidate carries a newer epoch.
            RouteOwned: another owner holds it.
            RouterUnreachable: it could not be read or written.
            NotPermitted: the worker may not; says what.
            Misconfigured: candidate or stable does not exist.
        """
        ...

    async def remove_candidate(self, write: Write) -> str:
        """Take the candidate's pods away, once no traffic can reach them; it stays, without pods.

        Args:
            write: epoch and owner; its percent is 0.

        Returns:
            What was done, or why nothing was, in words.

        Raises:
            Superseded: the candidate carries a newer epoch.
            RouteOwned: another owner holds it.
            RouterUnreachable: it could not be read or written.
            NotPermitted: the worker may not; says what.
        """
        ...

    async def carries(self) -> float:
        """Percent of all traffic that stable's ready pods can carry now, 0 to 100 in steps of 0.01.

        Advice for a way back, which must not wait for ever for it to grow: others may have made stable smaller for
        good, and a bad candidate is worse than a busy stable.

        Raises:
            RouterUnreachable: they cannot be counted now.
            NotPermitted: the worker may not look.
        """
        ...
