"""Prometheus, and everything that speaks its HTTP API, through `prometheus-api-client`.

The package gives its name, its session and its adapter; `ask` replaces its own query methods, which put a POST's query
into the URL, drop warnings and the result's type, retry for up to 14 s behind the caller's back and follow redirects
with the tenant's header. Temporal retries; here one call is one request with one deadline.

What is "wrong" (Misconfigured) and what is "no answer" (MetricsUnavailable)? Only Prometheus itself, saying in its own
JSON that a query is bad (400) or cannot be executed (422), makes a query wrong: asking again cannot help. Everything
else is no answer, also 401, 403, 404, login pages and redirects: tokens rotate and proxies have bad minutes in the
middle of a rollout, and then it is the policy for missing data that shall decide. Before a start both refuse alike.
An answer with warnings may be partial (a store of Thanos is away): complete-looking half data is no answer either.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from functools import partial
from typing import Any, Literal, TypeVar

import requests
from prometheus_api_client.prometheus_connect import PrometheusConnect
from requests.adapters import HTTPAdapter
from urllib3 import Retry
from urllib3.exceptions import HTTPError

from activities import rules_answer
from activities.endpoint import Endpoint
from activities.query_answer import (
    Answer,
    NativeSeries,
    Straddle,
    decoded,
    divided,
    natives,
    sampled,
    series_of,
    vectors,
)
from activities.secret_file import without
from rollout.errors import MetricsUnavailable, Misconfigured
from rollout.judge.alert import AlertRule
from rollout.judge.counters import Series
from rollout.judge.threshold import Vector

T = TypeVar("T")

_MOST_POINTS = 10_000  # a series; the server's own limit is 11 000
_MOST_BYTES = 16 * 2**20
_CONNECT_S = 2.0
_CONNECTIONS = 64  # kept open


class PrometheusConnection(Endpoint):
    """Where a Prometheus is: the URL in front of `/api/v1`; more headers are such as `X-Scope-OrgID`."""

    kind: Literal["prometheus"] = "prometheus"


def ticks(start_ms: int, end_ms: int, step_ms: int) -> list[range]:
    """Evaluation times, Unix milliseconds, in chunks that one request may ask for."""
    whole = range(start_ms, end_ms + 1, step_ms)
    return [whole[first : first + _MOST_POINTS] for first in range(0, len(whole), _MOST_POINTS)]


def desired(query: str, times: range, timeout_s: float) -> dict[str, str]:
    """Form of a range query for these times, at least one.

    The step is sent in milliseconds: Prometheus multiplies a decimal one with 1e9 and cuts, and 1.001 s would be 1 s.
    So is the timeout, which must be a duration, and "2.5s" is none.
    """
    return {
        "query": query,
        "start": f"{times[0] / 1000:.3f}",
        "end": f"{times[-1] / 1000:.3f}",
        "step": f"{times.step}ms",
        "timeout": _duration(timeout_s),
    }


def raw(selector: str, after_ms: int, until_ms: int, timeout_s: float) -> dict[str, str]:
    """Form of an instant query for the samples of a selector.

    The range's left edge is in it for Prometheus 2 and outside for Prometheus 3; what is too old is dropped afterwards.
    """
    return {
        "query": f"{selector}[{until_ms - after_ms}ms]",
        "time": f"{until_ms / 1000:.3f}",
        "timeout": _duration(timeout_s),
    }


def _duration(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"


class _Client(PrometheusConnect):
    """One request, as it is: no retries, no redirects, no environment, one deadline."""

    def __init__(self, connection: PrometheusConnection) -> None:
        session = requests.Session()
        session.trust_env = False  # a .netrc entry would replace the Authorization header
        session.verify = str(connection.ca_file) if connection.ca_file else True
        once = Retry(total=0, read=False, raise_on_status=False, respect_retry_after_header=False)
        super().__init__(url=connection.url.rstrip("/"), retry=once, session=session, method="POST")
        # One connection for each thread: of more than ten, the library's own adapter would close those that come back.
        session.mount(self.url, HTTPAdapter(max_retries=once, pool_maxsize=_CONNECTIONS))
        self._connection = connection

    def ask(self, path: str, form: dict[str, str], read: Callable[[Answer], T]) -> T:
        """Send one query as a form, and read the answer, all in the caller's thread.

        Raises:
            MetricsUnavailable: no complete answer in time.
            Misconfigured: Prometheus says that the query is wrong.
        """
        return self.send("POST", path, form, lambda *answer: read(decoded(*answer)))

    def send(
        self, method: Literal["GET", "POST"], path: str, fields: dict[str, str], read: Callable[[int, str, bytes], T]
    ) -> T:
        """Send one request and read status, content type and body of the answer, all in the caller's thread.

        Raises:
            MetricsUnavailable: no complete answer in time.
            Misconfigured: what `read` says is wrong.
        """
        limit_s, authorization = self._connection.timeout_s, self._connection.authorization()
        deadline = time.monotonic() + limit_s
        try:
            with self._session.request(
                method,
                f"{self.url}/api/v1/{path}",
                data=fields if method == "POST" else None,
                params=fields if method == "GET" else None,
                headers=self._connection.headers | ({"Authorization": authorization} if authorization else {}),
                timeout=(min(_CONNECT_S, limit_s), limit_s),
                allow_redirects=False,
                stream=True,
            ) as response:
                body = _body(response, deadline)
            return read(response.status_code, response.headers.get("Content-Type", ""), body)
        except (requests.Timeout, TimeoutError) as error:
            raise MetricsUnavailable(f"{self.url}: no complete answer within {limit_s:g} s") from error
        # Not chained: both repeat what was answered, which may be what was sent.
        except (requests.RequestException, HTTPError, OSError) as error:
            raise MetricsUnavailable(f"{self.url}: {without(authorization, _reason(error))}") from None
        except (MetricsUnavailable, Misconfigured) as error:
            raise type(error)(f"{self.url}: {without(authorization, str(error))}") from None
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            said = without(authorization, _reason(error))
            raise MetricsUnavailable(f"{self.url}: the answer is not understood: {said}") from None


def _body(response: requests.Response, deadline: float) -> bytes:
    """The whole body; `timeout` alone starts anew with every byte that drips in."""
    body = bytearray()
    while chunk := response.raw.read1(65536, decode_content=True):
        body += chunk
        if len(body) > _MOST_BYTES:
            raise MetricsUnavailable(f"answer of more than {_MOST_BYTES >> 20} MiB: aggregate in the query")
        if time.monotonic() > deadline:
            raise TimeoutError
    return bytes(body)


def _reason(error: Exception) -> str:
    """The innermost cause in short: urllib3 wraps `Connection refused` four times."""
    while error.args and isinstance(inner := getattr(error.args[0], "reason", error.args[-1]), Exception):
        error = inner
    return f"{type(error).__name__}: {str(error)[:300]}"


class PrometheusSource:
    """One Prometheus; identical questions that meet (many rollouts, one tick) share one request."""

    def __init__(self, connection: PrometheusConnection, executor: Executor) -> None:
        """Take the connection and the threads in which the client may block."""
        self._client = _Client(connection)
        self._connection = connection
        self._executor = executor
        self._asked: dict[tuple[object, ...], asyncio.Future[Any]] = {}

    def close(self) -> None:
        """Close idle connections."""
        self._client.close()

    async def evaluate(self, query: str, start_ms: int, end_ms: int, step_ms: int) -> dict[int, Vector]:
        """See `ports.MetricSource.evaluate`."""
        return await self._once(self._evaluate, query, start_ms, end_ms, step_ms)

    async def samples(self, selector: str, after_ms: int, until_ms: int) -> tuple[Series, ...]:
        """See `ports.MetricSource.samples`."""
        return await self._once(self._samples, selector, after_ms, until_ms)

    async def histograms(
        self, selector: str, slower_than_s: float, after_ms: int, until_ms: int, straddle: Straddle = "within"
    ) -> tuple[tuple[Series, ...], tuple[Series, ...]]:
        """See `ports.MetricSource.histograms`."""
        return divided(await self._once(self._natives, selector, after_ms, until_ms), slower_than_s, straddle)

    async def missing(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """See `ports.MetricSource.missing`."""
        return await self._once(self._missing, names) if names else ()

    async def _missing(self, names: tuple[str, ...]) -> tuple[str, ...]:
        query = f'count by (__name__) (last_over_time({{__name__=~"{"|".join(names)}"}}[1h]))'
        form = {"query": query, "timeout": _duration(self._connection.timeout_s)}
        found = await self._ask(
            "query", form, lambda answer: {each["metric"]["__name__"] for each in series_of(answer)}
        )
        return tuple(name for name in names if name not in found)

    async def alerts(self) -> tuple[AlertRule, ...]:
        """See `ports.MetricSource.alerts`."""
        return await self._once(self._alerts)

    async def _alerts(self) -> tuple[AlertRule, ...]:
        asked = partial(self._client.send, "GET", rules_answer.PATH, rules_answer.PARAMETERS, rules_answer.decoded)
        return await self._in_thread(asked)

    async def _samples(self, selector: str, after_ms: int, until_ms: int) -> tuple[Series, ...]:
        form = raw(selector, after_ms, until_ms, self._connection.timeout_s)
        return await self._ask("query", form, partial(sampled, after_ms=after_ms, until_ms=until_ms))

    async def _natives(self, selector: str, after_ms: int, until_ms: int) -> tuple[NativeSeries, ...]:
        form = raw(selector, after_ms, until_ms, self._connection.timeout_s)
        return await self._ask("query", form, partial(natives, after_ms=after_ms, until_ms=until_ms))

    async def _once(self, ask: Callable[..., Coroutine[Any, Any, T]], *question: object) -> T:
        """Ask, unless somebody else is already waiting for the answer to the same question."""
        key = (ask.__name__, *question)
        if key not in self._asked:
            self._asked[key] = asyncio.ensure_future(ask(*question))
            self._asked[key].add_done_callback(
                lambda done: (self._asked.pop(key), done.cancelled() or done.exception())
            )
        answer: T = await asyncio.shield(self._asked[key])  # one who gives up does not take it from the others
        return answer

    async def _evaluate(self, query: str, start_ms: int, end_ms: int, step_ms: int) -> dict[int, Vector]:
        found: dict[int, Vector] = {}
        for times in ticks(start_ms, end_ms, step_ms):
            form = desired(query, times, self._connection.timeout_s)
            found |= await self._ask("query_range", form, partial(vectors, times=times))
        return found

    async def _ask(self, path: str, form: dict[str, str], read: Callable[[Answer], T]) -> T:
        return await self._in_thread(partial(self._client.ask, path, form, read))

    async def _in_thread(self, asked: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        try:
            # The thread keeps its deadline between bytes of a body only; a server that drips headers is left alone.
            async with asyncio.timeout(2 * self._connection.timeout_s):
                return await loop.run_in_executor(self._executor, asked)
        except TimeoutError as error:
            raise MetricsUnavailable(f"{self._connection.url}: no answer, or no free thread to ask in") from error
