"""Unleash's HTTP API: one request at a time, and what its refusals mean.

No answer is quoted but for the names of permissions: an answer may hold a token (`/api/admin/user` returns the one it
was asked with), and a failure inside the server is told with the whole strategy. There are no redirects: they would
take the token to wherever they lead.
"""

import asyncio
import json
import re
import ssl
from datetime import timedelta
from typing import Any, Literal

import httpx

from activities.flags.unleash.connection import UnleashConnection
from activities.secret_file import secret
from rollout.errors import Misconfigured, NotPermitted, RouteRejected, RouterUnreachable, Throttled

Json = dict[str, Any]

SPOKEN = "6.1.0"
"""Version of the protocol between server and SDKs that our evaluator speaks; an older one would get other answers."""

_LONGEST_WAIT_S = 60.0
_PERMISSION = re.compile(r'"([A-Z_]{1,64})"')
_NAME = re.compile(r"[A-Z][A-Za-z]{1,60}Error")  # nothing else: a token may be letters and digits too
_CHANGED_MEANWHILE = "Test operation failed"  # of a JSON patch; it is told as a failure inside the server


class Absent(Misconfigured):
    """What was asked for is not there."""


class Changed(RouterUnreachable):
    """Somebody else changed it since it was read; nothing was written."""


class UnleashApi:
    """One for a connection: its HTTP client, what applications were given last, and a lock for every flag."""

    def __init__(self, connection: UnleashConnection) -> None:
        """Take the connection; nothing is opened before the first request."""
        self._connection = connection
        self._url = connection.url.rstrip("/")
        self._client: httpx.AsyncClient | None = None
        self._opening = asyncio.Lock()
        self._locks: dict[str, asyncio.Lock] = {}
        self._given: tuple[str, Json] | None = None

    async def aclose(self) -> None:
        """Close what is open."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def lock(self, place: str) -> asyncio.Lock:
        """What keeps two writers in this process apart."""
        return self._locks.setdefault(place, asyncio.Lock())

    async def admin(self, method: Literal["GET", "POST", "PATCH"], path: str, body: object = None) -> Any:  # noqa: ANN401 - JSON
        """Ask the admin API.

        Args:
            method: HTTP's.
            path: behind `/api/admin`; parts that come from a spec need no quoting.
            body: JSON to send, None for nothing.

        Returns:
            The decoded answer; None if it is empty.

        Raises:
            Absent: 404.
            Changed: a patch found something else than it expects.
            NotPermitted: 401 or 403.
            RouteRejected: 400, 409 and other refusals.
            Throttled: 429.
            RouterUnreachable: no answer in time, or none that is understood, or a failure inside the server.
        """
        answer = await self._request(method, f"/api/admin{path}", secret(self._connection.token_file, "token"), body)
        if not answer.content:
            return None
        return self._decoded(answer)

    async def given(self) -> Json:
        """All flags, as applications are given them now.

        Raises:
            NotPermitted: the client token is refused.
            Misconfigured: there is no client token.
            RouterUnreachable: no answer.
        """
        if self._connection.client_token_file is None:
            raise Misconfigured("no client_token_file in the connection: nothing can be proven without one")
        known = self._given
        headers = {"Unleash-Client-Spec": SPOKEN} | ({"If-None-Match": known[0]} if known else {})
        ours = secret(self._connection.client_token_file, "token")
        answer = await self._request("GET", "/api/client/features", ours, headers=headers)
        if known and answer.status_code == httpx.codes.NOT_MODIFIED:
            return known[1]
        found = self._decoded(answer)
        if not isinstance(found, dict) or not isinstance(found.get("features"), list):
            raise RouterUnreachable(f"{self._url}/api/client/features holds no features: is it an Unleash?")
        tag = answer.headers.get("ETag")
        self._given = (tag, found) if tag else None
        return found

    async def _request(
        self, method: str, path: str, key: str, body: object = None, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        limit_s = self._connection.timeout_s
        what = f"{method} {self._url}{path.partition('?')[0]}"
        content = None if body is None else json.dumps(body)
        kind = {} if body is None else {"Content-Type": "application/json"}
        try:
            client = await self._opened()
            async with asyncio.timeout(limit_s):
                answer = await client.request(
                    method,
                    self._url + path,
                    content=content,
                    headers={"Authorization": key, **kind, **(headers or {})},
                )
        except (httpx.TimeoutException, TimeoutError):
            raise RouterUnreachable(f"Unleash did not answer {what} within {limit_s:g} s") from None
        except (httpx.HTTPError, OSError) as error:
            # Not chained: httpx quotes what is no HTTP, which may be what was sent.
            raise RouterUnreachable(f"Unleash did not answer {what} ({type(error).__name__})") from None
        _refuse(answer, what)
        return answer

    async def _opened(self) -> httpx.AsyncClient:
        async with self._opening:
            if self._client is None:
                context = await asyncio.to_thread(_trusted, self._connection)
                self._client = httpx.AsyncClient(
                    trust_env=False, follow_redirects=False, verify=context, timeout=self._connection.timeout_s
                )
            return self._client

    def _decoded(self, answer: httpx.Response) -> Any:  # noqa: ANN401 - JSON
        try:
            return answer.json()
        except ValueError:
            raise RouterUnreachable(f"{self._url} answers no JSON: is it an Unleash?") from None


def _trusted(connection: UnleashConnection) -> ssl.SSLContext:
    """Whom to trust; nobody for http, where nobody is asked. Reads files."""
    if connection.url.startswith("http:"):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if connection.ca_file:
        return ssl.create_default_context(cafile=connection.ca_file)
    return httpx.create_ssl_context(trust_env=False)


def _refuse(answer: httpx.Response, what: str) -> None:
    """Raise what a status means; none of its words."""
    match answer.status_code:
        case 401:
            raise NotPermitted(f"Unleash does not accept the token for {what}; renew it")
        case 403:
            raise NotPermitted(f"{what} is not allowed: {_missing(answer)}")
        case 404:
            raise Absent(f"{what}: there is no such thing in Unleash")
        case 429:
            error = Throttled(f"Unleash was asked too often: {what}")
            error.retry_after = timedelta(seconds=_wait_s(answer))
            raise error
        case 500 if _said(answer, "message").startswith(_CHANGED_MEANWHILE):
            raise Changed(f"{what}: somebody else changed the strategy at the same moment; nothing was written")
        case status if status >= 500 or status in {408, 425}:
            raise RouterUnreachable(f"{what} failed inside Unleash, or on the way to it ({status})")
        case status if status >= 400:
            name = _said(answer, "name")
            raise RouteRejected(f"{what} was refused ({status}{f' {name}' if _NAME.fullmatch(name) else ''})")
        case status if status >= 300 and status != httpx.codes.NOT_MODIFIED:
            raise Misconfigured(f"{what} leads elsewhere ({status}): the connection's url must be Unleash's own")


def _missing(answer: httpx.Response) -> str:
    """Why somebody may not, and what helps: nothing but the names of permissions is taken from the answer."""
    names = dict.fromkeys(_PERMISSION.findall(_said(answer, "message")))
    if "SKIP_CHANGE_REQUEST" in names:
        return "changes must be approved there by a change request, unless the token may skip that"
    if names:
        return f"the token lacks the permission {', '.join(names)}"
    return "the token is of another kind, or for something else"


def _wait_s(answer: httpx.Response) -> float:
    """Seconds that it wants to be left alone; both headers count seconds."""
    for header in ("Retry-After", "RateLimit-Reset"):
        told = answer.headers.get(header, "")
        if re.fullmatch(r"\d{1,9}", told):
            return min(max(float(told), 1.0), _LONGEST_WAIT_S)
    return Throttled.retry_after.total_seconds()


def _said(answer: httpx.Response, field: str) -> str:
    try:
        return str(answer.json().get(field, ""))
    except (AttributeError, ValueError):
        return ""
