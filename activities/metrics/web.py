"""Any HTTP endpoint, through httpx: what probes and JSON gates ask.

Each question is a connection of its own without cookies: a kept-alive connection or a sticky cookie would ask the same
member for ever, and an idle connection that the server closes would look like an outage. No redirects: they lead where
the spec's author or the service chooses, with the worker's token. A body is cut at 64 KiB, also a compressed one
(unpacked no further), and appears in no error and no log.

An answer of any status is an answer, the gates judge it. A request that was sent and not answered in time is one too,
without a status: "slower than 1s" is then true. Everything else is `MetricsUnavailable`: no data, never a verdict.
"""

import asyncio
import re
import ssl
import time
import zlib
from email.message import Message
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Literal

import httpx

from activities.endpoint import Endpoint
from activities.secret_file import without
from rollout.errors import MetricsUnavailable
from rollout.judge.fetched import MOST_BYTES, Fetched, Request

_CONNECT_S = 2.0
_UNPACKED = {"", "identity"}
_PACKED = {"gzip", "x-gzip", "deflate"}
_SENT = re.compile(r"http11\.send_request_body\.complete")


class HttpConnection(Endpoint):
    """Where an HTTP service is: the way visitors come to it, or an API.

    The URL is in front of the gates' paths, headers win over those of a spec, and the time for one request is more than
    the `slower_than` of the probes.
    """

    kind: Literal["http"] = "http"


def text(raw: bytes, encoding: str, content_type: str) -> tuple[str, bool]:
    """A body as text.

    Args:
        raw: at most a little more than 64 KiB, as it came.
        encoding: the header Content-Encoding.
        content_type: the header Content-Type; UTF-8 unless it says otherwise, unreadable bytes become `�`.

    Returns:
        At most 64 KiB of it, and whether there is more.

    Raises:
        MetricsUnavailable: it is packed in a way that nobody asked for.
    """
    packed = encoding.strip().lower()
    if packed in _PACKED:
        try:
            raw = zlib.decompressobj(wbits=47).decompress(raw, MOST_BYTES + 1)
        except zlib.error as error:
            raise MetricsUnavailable(f"the body is no {packed}, though it says so") from error
    elif packed not in _UNPACKED:
        raise MetricsUnavailable(f"the body is packed with {packed[:40]!r}, though nobody asked for it")
    header = Message()
    header["Content-Type"] = content_type
    whole = raw[:MOST_BYTES]
    try:
        return whole.decode(header.get_content_charset("utf-8"), errors="replace"), len(raw) > MOST_BYTES
    except LookupError:  # a charset that nobody knows
        return whole.decode(errors="replace"), len(raw) > MOST_BYTES


class HttpSource:
    """One HTTP service."""

    def __init__(self, connection: HttpConnection) -> None:
        """Take the connection; nothing is opened before the first request."""
        self._connection = connection
        self._url = connection.url.rstrip("/")
        self._client: httpx.AsyncClient | None = None
        self._opening = asyncio.Lock()

    async def close(self) -> None:
        """Close what is open."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def fetch(self, request: Request) -> Fetched:
        """See `ports.WebSource.fetch`."""
        sent = False

        async def trace(event: str, _: Any) -> None:  # noqa: ANN401 - httpx's signature
            nonlocal sent
            sent = sent or bool(_SENT.fullmatch(event))

        limit_s = self._connection.timeout_s
        began = time.perf_counter()
        try:
            client, headers = await self._opened(), self._headers(request)
            began = time.perf_counter()  # reading certificates is not the service's time
            async with asyncio.timeout(limit_s):
                asked = client.build_request(request.method, self._url + request.path, headers=headers)
                asked.extensions["trace"] = trace
                status, raw, headers = await _answer(client, asked)
            took_ms = _since(began)
            body, cut = text(raw, headers.get("Content-Encoding", ""), headers.get("Content-Type", ""))
            return Fetched(status, took_ms, body, cut)
        except (httpx.TimeoutException, TimeoutError) as error:
            if sent:
                return Fetched(None, _since(began))
            raise MetricsUnavailable(f"{self._url}{request.path}: no connection in time") from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            # Not chained: it repeats what was answered, which may be what was sent.
            said = without(self._connection.authorization(), _reason(error))
            raise MetricsUnavailable(f"{self._url}{request.path}: {said}") from None
        except MetricsUnavailable as error:
            raise MetricsUnavailable(f"{self._url}{request.path}: {error}") from error

    async def _opened(self) -> httpx.AsyncClient:
        async with self._opening:
            if self._client is None:
                context = await asyncio.to_thread(_trusted, self._connection)
                self._client = _client(self._connection, context)
            return self._client

    def _headers(self, request: Request) -> httpx.Headers:
        headers = httpx.Headers(dict(request.headers))
        headers.update(self._connection.headers)
        if authorization := self._connection.authorization():
            headers["Authorization"] = authorization
        return headers


def _trusted(connection: HttpConnection) -> ssl.SSLContext:
    """Whom to trust; nobody for http, where nobody is asked and redirects are not followed. Reads files."""
    if connection.url.startswith("http:"):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if connection.ca_file:
        return ssl.create_default_context(cafile=connection.ca_file)
    return httpx.create_ssl_context(trust_env=False)


def _client(connection: HttpConnection, context: ssl.SSLContext) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        trust_env=False,
        follow_redirects=False,
        verify=context,
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        limits=httpx.Limits(max_keepalive_connections=0),
        headers={"User-Agent": "sluice", "Accept-Encoding": "identity"},
        # Earlier than the deadline of the whole: httpcore leaves a handshake open that is cancelled from outside.
        timeout=httpx.Timeout(connection.timeout_s, connect=min(_CONNECT_S, 0.8 * connection.timeout_s)),
    )


async def _answer(client: httpx.AsyncClient, asked: httpx.Request) -> tuple[int, bytes, httpx.Headers]:
    """Status, headers and the body, as packed as it came; a little more than 64 KiB at most."""
    answer = await client.send(asked, stream=True)
    try:
        raw = bytearray()
        async for chunk in answer.aiter_raw():
            raw += chunk
            if len(raw) > MOST_BYTES:
                break
        return answer.status_code, bytes(raw), answer.headers
    finally:
        await answer.aclose()


def _since(began: float) -> int:
    return round((time.perf_counter() - began) * 1000)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:300]}"
