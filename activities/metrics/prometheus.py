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
import json
import time
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

import requests
from prometheus_api_client.prometheus_connect import PrometheusConnect
from pydantic import ConfigDict, Field, StringConstraints
from urllib3 import Retry
from urllib3.exceptions import HTTPError

from rollout.base import Written
from rollout.errors import MetricsUnavailable, Misconfigured
from rollout.judge.threshold import Vector

T = TypeVar("T")

_MOST_POINTS = 10_000  # a series; the server's own limit is 11 000
_MOST_BYTES = 16 * 2**20
_CONNECT_S = 2.0
_HINTS = {
    401: "is the token there and valid?",
    403: "is the token allowed to query?",
    404: "does the URL lack a path in front of /api/v1?",
}


class PrometheusConnection(Written):
    """Where a Prometheus is.

    Attributes:
        kind: always "prometheus".
        url: base URL, in front of `/api/v1`; without user and password.
        token_file: file with a bearer token, read for every request, so that it may rotate.
        headers: more headers, such as `X-Scope-OrgID`.
        ca_file: certificates to trust instead of the public ones, PEM.
        timeout_s: for one request as a whole, seconds.
    """

    model_config = ConfigDict(hide_input_in_errors=True)

    kind: Literal["prometheus"] = "prometheus"
    url: str = Field(pattern=r"^https?://[^@\s?#]+$")
    token_file: Path | None = None
    headers: dict[
        Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]+$")],
        Annotated[str, StringConstraints(pattern=r"^[!-~]([ -~]*[!-~])?$")],
    ] = Field(default_factory=dict, repr=False)
    ca_file: Path | None = None
    timeout_s: float = Field(default=5, gt=0)


class Answer(NamedTuple):
    """One answer to a query.

    Attributes:
        kind: "matrix", "vector", "scalar" or "string".
        result: as the server gave it.
    """

    kind: str
    result: list[Any]


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


def decoded(status: int, content_type: str, body: bytes) -> Answer:
    """What a response says.

    Raises:
        MetricsUnavailable: it is no complete answer.
        Misconfigured: Prometheus says that the query is wrong.
    """
    try:
        said = dict(json.loads(body))
    except (TypeError, ValueError) as error:
        what = f"HTTP {status} with {content_type or 'nothing'} instead of JSON"
        raise MetricsUnavailable(f"{what}; {_HINTS.get(status, 'is a login page or a proxy in front?')}") from error
    if said.get("status") != "success" or status != 200:
        words = str(said.get("error", ""))[:500]
        if status in {400, 422} and words:
            raise Misconfigured(f"the query is refused: {words}")
        raise MetricsUnavailable(": ".join(filter(None, [f"HTTP {status}", words, _HINTS.get(status)])))
    if said.get("warnings"):
        raise MetricsUnavailable(f"the data may be partial: {'; '.join(map(str, said['warnings']))[:500]}")
    data = said.get("data") or {}
    return Answer(data.get("resultType", ""), data.get("result", []))


def vectors(answer: Answer, times: range) -> dict[int, Vector]:
    """The vector at every one of these times; a scalar is a vector with one nameless element.

    Raises:
        Misconfigured: it is nothing that can be compared with a number, or two series differ in their name only.
        MetricsUnavailable: it is about other times than asked for.
    """
    found: dict[int, Vector] = {at_ms: {} for at_ms in times}
    for series in _series(answer):
        if "histogram" in series or "histograms" in series:
            raise Misconfigured("the query answers histograms; wrap it in histogram_quantile(…) or histogram_count(…)")
        labels = _text(series["metric"])
        for at_s, value in [series["value"]] if "value" in series else series["values"]:
            vector = found.get(round(at_s * 1000))
            if vector is None:
                raise MetricsUnavailable("answer for other times than asked for: does a cache align queries to steps?")
            if labels in vector:
                raise Misconfigured(f"the query answers two series that differ in their name only: {labels or '{}'}")
            vector[labels] = float(value)
    return found


def _duration(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"


def _series(answer: Answer) -> list[dict[str, Any]]:
    if answer.kind == "scalar":
        return [{"metric": {}, "value": answer.result}]
    if answer.kind in {"matrix", "vector"}:
        return answer.result
    raise Misconfigured(f"the query answers a {answer.kind or 'nothing'}, not numbers")


def _text(labels: dict[str, str]) -> str:
    shown = [f"{name}={json.dumps(labels[name], ensure_ascii=False)}" for name in sorted(labels) if name != "__name__"]
    return f"{{{', '.join(shown)}}}" if shown else ""


class _Client(PrometheusConnect):
    """One request, as it is: no retries, no redirects, no environment, one deadline."""

    def __init__(self, connection: PrometheusConnection) -> None:
        session = requests.Session()
        session.trust_env = False  # a .netrc entry would replace the Authorization header
        session.verify = str(connection.ca_file) if connection.ca_file else True
        once = Retry(total=0, raise_on_status=False, respect_retry_after_header=False)
        super().__init__(url=connection.url.rstrip("/"), retry=once, session=session, method="POST")
        self._connection = connection

    def ask(self, path: str, form: dict[str, str], read: Callable[[Answer], T]) -> T:
        """Send one query as a form, and read the answer, all in the caller's thread.

        Raises:
            MetricsUnavailable: no complete answer in time.
            Misconfigured: Prometheus says that the query is wrong.
        """
        limit_s = self._connection.timeout_s
        deadline = time.monotonic() + limit_s
        try:
            with self._session.post(
                f"{self.url}/api/v1/{path}",
                data=form,
                headers=self._headers(),
                timeout=(min(_CONNECT_S, limit_s), limit_s),
                allow_redirects=False,
                stream=True,
            ) as response:
                body = _body(response, deadline)
            return read(decoded(response.status_code, response.headers.get("Content-Type", ""), body))
        except (requests.Timeout, TimeoutError) as error:
            raise MetricsUnavailable(f"{self.url}: no complete answer within {limit_s:g} s") from error
        except (requests.RequestException, HTTPError, OSError) as error:
            raise MetricsUnavailable(f"{self.url}: {_reason(error)}") from error
        except (MetricsUnavailable, Misconfigured) as error:
            raise type(error)(f"{self.url}: {error}") from error
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise MetricsUnavailable(f"{self.url}: the answer is not understood: {_reason(error)}") from error

    def _headers(self) -> dict[str, str]:
        file = self._connection.token_file
        if not file:
            return self._connection.headers
        try:
            token = file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            token = ""
        if not token.isprintable() or not token or " " in token:
            # Not chained and not quoted: whatever is in there may be a secret.
            raise MetricsUnavailable(f"{file} cannot be read or holds no token") from None
        return {**self._connection.headers, "Authorization": f"Bearer {token}"}


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
        self._asked: dict[tuple[str, int, int, int], asyncio.Future[dict[int, Vector]]] = {}

    def close(self) -> None:
        """Close idle connections."""
        self._client.close()

    async def evaluate(self, query: str, start_ms: int, end_ms: int, step_ms: int) -> dict[int, Vector]:
        """See `ports.MetricSource.evaluate`."""
        key = (query, start_ms, end_ms, step_ms)
        if key not in self._asked:
            self._asked[key] = asyncio.ensure_future(self._evaluate(*key))
            self._asked[key].add_done_callback(
                lambda done: (self._asked.pop(key), done.cancelled() or done.exception())
            )
        return await asyncio.shield(self._asked[key])  # one caller that gives up does not take it from the others

    async def missing(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """See `ports.MetricSource.missing`."""
        if not names:
            return ()
        query = f'count by (__name__) (last_over_time({{__name__=~"{"|".join(names)}"}}[1h]))'
        form = {"query": query, "timeout": _duration(self._connection.timeout_s)}
        found = await self._ask("query", form, lambda answer: {each["metric"]["__name__"] for each in _series(answer)})
        return tuple(name for name in names if name not in found)

    async def _evaluate(self, query: str, start_ms: int, end_ms: int, step_ms: int) -> dict[int, Vector]:
        found: dict[int, Vector] = {}
        for times in ticks(start_ms, end_ms, step_ms):
            form = desired(query, times, self._connection.timeout_s)
            found |= await self._ask("query_range", form, partial(vectors, times=times))
        return found

    async def _ask(self, path: str, form: dict[str, str], read: Callable[[Answer], T]) -> T:
        loop = asyncio.get_running_loop()
        try:
            # The thread keeps its deadline between bytes of a body only; a server that drips headers is left alone.
            async with asyncio.timeout(2 * self._connection.timeout_s):
                return await loop.run_in_executor(self._executor, self._client.ask, path, form, read)
        except TimeoutError as error:
            raise MetricsUnavailable(f"{self._connection.url}: no answer, or no free thread to ask in") from error
