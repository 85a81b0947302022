"""The REST API of LaunchDarkly, one client for a connection: what was refused for asking too often is not asked again.

`launchdarkly-api`, the generated client, was rejected: it cannot send semantic patches, and takes seconds to import.
"""

import asyncio
import json
import time
from collections import defaultdict
from datetime import timedelta
from typing import Any, NamedTuple

import httpx

from activities.flags.launchdarkly.answers import refusal, safe_message
from activities.flags.launchdarkly.connection import LaunchDarklyConnection
from activities.flags.launchdarkly.shape import Json
from activities.secret_file import secret
from rollout.errors import RouterUnreachable, SluiceError, Throttled
from rollout.routes import LaunchDarklyRoute

VERSION = "20240415"
SEMANTIC = "application/json; domain-model=launchdarkly.semanticpatch"
_PATIENCE_S = 1.0  # for a limit that ends so soon, waiting is better than an error
_LOG_LAGS_MS = 2000
_LOCKED_S = 30.0


class Known(NamedTuple):
    """Something that is believed for a while.

    Attributes:
        version: of the flag that it was learnt for.
        until: `time.monotonic()`.
        said: what was learnt.
    """

    version: int
    until: float
    said: str | None


class LaunchDarklyApi:
    """One client."""

    def __init__(self, connection: LaunchDarklyConnection, http: httpx.AsyncClient) -> None:
        """Take the connection; nothing is opened."""
        self._connection, self._http = connection, http
        self._url = connection.url.rstrip("/")
        self._not_before = time.monotonic()
        self._authors: dict[str, Known] = {}
        self._locked: dict[str, Known] = {}
        self._writers: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def aclose(self) -> None:
        """Nothing is open."""

    def alone(self, route: LaunchDarklyRoute) -> asyncio.Lock:
        """Held while a flag is written, so that writers of one worker do not meet at LaunchDarkly."""
        return self._writers[route.place]

    async def flag(self, route: LaunchDarklyRoute) -> Json:
        """A flag with the configuration of one environment.

        Raises:
            RouterUnreachable: no answer, or one that is no flag.
            NotPermitted: the token may not.
            Misconfigured: no such flag.
        """
        return await self._ask("GET", _flag(route), {"env": route.environment}, f"{route} cannot be read")

    async def patch(
        self,
        route: LaunchDarklyRoute,
        instructions: list[Json],
        comment: str,
        *,
        ignore_conflicts: bool = False,
        dry_run: bool = False,
    ) -> Json:
        """Carry out a semantic patch, all of it or nothing; the answer is the flag afterwards.

        Args:
            route: which flag.
            instructions: what to do, in order.
            comment: for LaunchDarkly's log of changes.
            ignore_conflicts: also if a change that waits there will fail because of it.
            dry_run: only see whether it would be done.

        Raises:
            Conflict: somebody else changed it at the same time.
            RouteRejected: LaunchDarkly refuses it.
            RouterUnreachable: no answer; it may have been done.
            NotPermitted: the token may not, or an approval is required.
            Misconfigured: no such flag.
        """
        body = {"environmentKey": route.environment, "comment": comment, "instructions": instructions}
        query = {"ignoreConflicts": "true"} if ignore_conflicts else {}
        query |= {"dryRun": "true"} if dry_run else {}
        # An answer without an environment filter has all of them.
        return await self._ask("PATCH", _flag(route), query, f"{route} cannot be changed", body)

    async def author(self, route: LaunchDarklyRoute, version: int, modified_ms: int) -> str | None:
        """Who changed it last, asked once a version; None if the log does not say, or may not be read.

        Args:
            route: which flag.
            version: of the flag as a whole.
            modified_ms: when its configuration changed; an older entry of the log is not about that.
        """
        known = self._authors.get(route.place)
        if known and known.version == version:
            return known.said
        spec = f"proj/{route.project}:env/{route.environment}:flag/{route.key}"
        query = {"spec": spec, "limit": "1"}
        try:
            answer = await self._ask("GET", "/api/v2/auditlog", query, f"{route}: the log cannot be read")
            entry = (answer.get("items") or [{}])[0]
            if int(entry.get("date", 0)) + _LOG_LAGS_MS < modified_ms:
                return None
            said = _who(entry)
        except (Throttled, RouterUnreachable):
            return None
        except (SluiceError, AttributeError, TypeError, ValueError, LookupError):
            said = None
        self._authors[route.place] = Known(version, 0, said)
        return said

    async def locked(self, route: LaunchDarklyRoute, version: int) -> str | None:
        """Why Sluice could not switch the flag off, found by a dry run that is believed for a while; None if it could.

        Raises:
            RouterUnreachable: no answer.
        """
        known = self._locked.get(route.place)
        if known and known.version == version and known.until > time.monotonic():
            return known.said
        try:
            await self.patch(route, [{"kind": "turnFlagOff"}], "", dry_run=True)
            said = None
        except RouterUnreachable:
            raise
        except SluiceError as error:
            said = str(error)
        self._locked[route.place] = Known(version, time.monotonic() + _LOCKED_S, said)
        return said

    async def _ask(self, method: str, path: str, query: dict[str, str], where: str, body: Json | None = None) -> Json:
        wait_s = self._not_before - time.monotonic()
        if wait_s > _PATIENCE_S:
            error = Throttled(f"{where}: LaunchDarkly wants to be asked again in {wait_s:.1f} s")
            error.retry_after = timedelta(seconds=wait_s)
            raise error
        await asyncio.sleep(max(wait_s, 0))
        token = secret(self._connection.token_file, "token")
        headers = {"Authorization": token, "LD-API-Version": VERSION, "User-Agent": "sluice"}
        content = None
        if body is not None:
            headers["Content-Type"], content = SEMANTIC, json.dumps(body).encode()
        try:
            async with asyncio.timeout(self._connection.timeout_s):
                answer = await self._http.request(
                    method,
                    self._url + path,
                    params=query,
                    headers=headers,
                    content=content,
                    timeout=self._connection.timeout_s,
                )
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:  # also TimeoutError
            # Not chained: httpx quotes what is no HTTP, which may be what was sent.
            raise RouterUnreachable(f"{where}: {self._url} does not answer ({type(error).__name__})") from None
        return self._understood(answer, where, token)

    def _understood(self, answer: httpx.Response, where: str, token: str) -> Json:
        try:
            decoded: Any = answer.json()
        except ValueError:
            decoded = None
        if answer.is_success and isinstance(decoded, dict):
            return decoded
        if answer.is_success or answer.is_redirect:
            raise RouterUnreachable(f"{where}: what answers at {self._url} is not LaunchDarkly's API; check the url")
        error = refusal(answer.status_code, answer.headers, safe_message(decoded, token), where)
        if isinstance(error, Throttled) and error.retry_after:
            self._not_before = time.monotonic() + error.retry_after.total_seconds()
        raise error


def _flag(route: LaunchDarklyRoute) -> str:
    return f"/api/v2/flags/{route.project}/{route.key}"


def _who(entry: Json) -> str | None:
    """A person by address, a service by its token's name; never the end of the token, which is in there too."""
    member, token = entry.get("member") or {}, entry.get("token") or {}
    name = f"{member.get('firstName', '')} {member.get('lastName', '')}".strip()
    return member.get("email") or name or token.get("name") or (entry.get("subject") or {}).get("name")
