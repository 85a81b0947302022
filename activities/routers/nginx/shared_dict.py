"""nginx without reloads: the split lives in a dict that all workers share, and changes in it are in force at once.

`deploy/nginx/sluice.lua` runs inside nginx and has the other half: it takes one JSON document a service over its admin
server, compares and sets in one step (`If-Match`), keeps it on disk, and picks the pool of every request. A reload per
change, as with `split-clients`, was measured to drop 39 requests; this drops none.

What the admin server shows is what decides about the next request, in every worker: the workers have no copies. So
read-back is proof here. It also shows the document on disk, which is what a restart brings back; while the two differ
nothing is called in force, as the next restart would undo it.

An nginx that is away takes nothing, and need not: its document is on disk. Where that disk is this machine's own, the
way back is written there, and nginx starts with it. If nginx was only deaf, it reads it within a second.
"""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from urllib.parse import quote

import httpx
from pydantic import ValidationError

from activities.config_file import ConfigFile
from activities.fence import fence
from activities.finishing import finished
from activities.ports import Pool, RouteState, Write
from activities.routers.nginx.connection import NginxConnection, NginxHost
from activities.routers.nginx.document import Document, Look, Seed, Shown, desired, state
from activities.shared import Shared
from rollout.errors import (
    Misconfigured,
    NotPermitted,
    RouteRejected,
    RouterUnreachable,
    SluiceError,
)
from rollout.routes import NginxRoute

_TRIES = 12  # lost races against other writers, each of whom got further
_HASTE_S = 0.3  # the most that asking for stable may cost the way back
_NO_CONTENT, _PRECONDITION_FAILED, _BAD_GATEWAY, _DISK = 204, 412, 502, 507


class _Unasked(Exception):
    """Pools cannot be asked for, because the admin server does not have the location for it."""


class NginxDictRouter:
    """One service of one nginx, or of several that are moved together."""

    def __init__(self, route: NginxRoute, connection: NginxConnection, shared: Shared) -> None:
        """Take the route, the nginx that have it, and what adapters share.

        Raises:
            Misconfigured: a host has `visitors` for this service, which would be looked at in other modes only.
        """
        if any(route.service in host.visitors for host in connection.hosts):
            raise Misconfigured(f"{route}: `visitors` of {route.service} is for modes that reload; take it out")
        self._route, self._connection, self._http = route, connection, shared.http
        self._pools: dict[Pool, str] = {"candidate": route.candidate_pool, "stable": route.stable_pool}
        local = [host for host in connection.hosts if host.ssh is None]
        # Two nginx of one machine cannot keep their documents in one folder: whose would it be?
        self._local = local[0].name if len(local) == 1 else None
        self._file = ConfigFile(connection.folder / f"{route.service}.json")

    async def read(self) -> RouteState:
        """See `ports.Router.read`."""
        looks = await asyncio.gather(*map(self._look, self._connection.hosts))
        healthy: dict[Pool, int] = {}
        unasked = None
        try:
            found = zip(self._pools, await asyncio.gather(*map(self._fit, self._pools.values())), strict=True)
            healthy = {pool: fit for pool, fit in found if fit is not None}
        except _Unasked as error:
            unasked = str(error)  # not raised: the way back reads too, and needs no healthy pool
        seen = state(self._route, looks, healthy, self._connection.folder)
        return seen.model_copy(update={"problem": seen.problem or unasked})

    async def write(self, write: Write) -> None:
        """See `ports.Router.write`.

        It finishes even if the caller is cancelled: else some hosts would have it and others not.
        """
        await finished(self._move(write) if write.percent else self._take_back(write))

    async def in_flight(self, pool: Pool) -> int:
        """See `ports.Router.in_flight`; counted from the choice of the pool to the end of the answer."""
        looks = await asyncio.gather(*map(self._look, self._connection.hosts))
        return sum(look.shown.in_flight.get(self._pools[pool], 0) for look in looks)

    async def _move(self, write: Write) -> None:
        """All hosts or none."""
        wanted = desired(self._route, write)
        looks = await asyncio.gather(*map(self._look, self._connection.hosts))
        for look in looks:
            self._fence(look.shown, write)
        pools = self._pools.values()
        await self._refuse_unknown(name for name in pools if not write.release or name in wanted.shares())
        ends = await asyncio.gather(*(self._put(look, wanted, write) for look in looks), return_exceptions=True)
        if not (errors := [end for end in ends if isinstance(end, BaseException)]):
            return
        # Also where the error came from: an answer that was lost says nothing about what was done.
        changed = [look for look in looks if look.shown.running != wanted]
        undone = await asyncio.gather(*(self._undo(look, wanted) for look in changed), return_exceptions=True)
        if left := [str(end) for end in undone if end is not None]:
            raise RouterUnreachable(f"{errors[0]}; it may still be in force: {'; '.join(left)}") from errors[0]
        raise errors[0]

    async def _take_back(self, write: Write) -> None:
        """Wherever it can be done; then the rest is named."""
        wanted, hosts = desired(self._route, write), self._connection.hosts
        ends = await asyncio.gather(
            *(self._take_back_on(host, wanted, write) for host in hosts), return_exceptions=True
        )
        errors = [end for end in ends if isinstance(end, BaseException)]
        for error in errors:
            if not isinstance(error, RouterUnreachable):
                raise error
        if errors:
            raise RouterUnreachable("; ".join(map(str, errors))) from errors[0]

    async def _take_back_on(self, host: NginxHost, wanted: Document, write: Write) -> None:
        try:
            look = await self._look(host)
        except RouterUnreachable as away:
            if host.name != self._local:
                raise
            try:
                await self._leave_behind(wanted, write)
            except (Misconfigured, RouterUnreachable) as error:
                raise RouterUnreachable(f"{away}; nor could its document be changed: {error}") from error
            return
        self._fence(look.shown, write)
        with suppress(_Unasked, TimeoutError):
            async with asyncio.timeout(_HASTE_S):
                known = await self._fit_on(host, wanted.stable) is not None
            if not known:
                raise Misconfigured(f"{self._at(host)} knows no upstream {wanted.stable}; nothing was written")
        await self._put(look, wanted, write)

    async def _leave_behind(self, wanted: Document, write: Write) -> None:
        """Write what nginx will start with."""
        async with self._file.alone():
            try:
                kept = Document.model_validate_json(await self._file.read())
            except ValidationError as error:
                raise Misconfigured(f"{self._file} is no document of sluice.lua: {error}") from error
            self._fence(Shown(file="", seed=Seed(candidate="", stable=""), running=kept), write)
            if kept != wanted:
                await self._file.replace(wanted.content())

    async def _put(self, look: Look, wanted: Document, write: Write) -> None:
        for _ in range(_TRIES):
            if look.shown.running == wanted and look.shown.stored == wanted:
                return
            status, words = await self._change("PUT", look, wanted.content(), look.shown.tag)
            if status == _NO_CONTENT:
                return
            if status != _PRECONDITION_FAILED:
                raise self._refusal(look.host, status, words, back=wanted.weight == 0)
            look = await self._look(look.host)
            self._fence(look.shown, write)
        raise RouterUnreachable(f"{self._at(look.host)}: others changed {self._route.service} each time; try again")

    async def _undo(self, look: Look, wanted: Document) -> None:
        """Put back what was there, unless somebody else has changed it meanwhile."""
        before = look.shown.running
        method, content = ("PUT", before.content()) if before else ("DELETE", b"")
        status, words = await self._change(method, look, content, wanted.tag())
        if status not in {_NO_CONTENT, _PRECONDITION_FAILED}:
            raise self._refusal(look.host, status, words, back=False)

    def _refusal(self, host: NginxHost, status: int, words: str, *, back: bool) -> SluiceError:
        where = self._at(host)
        if status == _DISK and back:
            return RouterUnreachable(f"{where} runs with 0 %, but that is not on disk, so a restart undoes it: {words}")
        if status == _DISK:
            return RouteRejected(f"{where} cannot keep the document, so nothing was changed: {words}")
        if status >= 500:
            return RouterUnreachable(f"{where} answered {status}: {words}")
        return RouteRejected(f"{where} refused the document, nothing was changed: {status}, {words}")

    def _fence(self, shown: Shown, write: Write) -> None:
        for found in filter(None, (shown.running, shown.stored)):
            fence(self._route, found.epoch, None, write)
        fence(self._route, 0, shown.decides().owner, write)

    async def _refuse_unknown(self, names: Iterable[str]) -> None:
        for name in names:
            try:
                fit = await self._fit(name)
            except _Unasked as error:
                raise Misconfigured(str(error)) from error
            if fit is None:
                raise Misconfigured(f"{self._route}: nginx knows no upstream {name}; nothing was written")

    async def _fit(self, name: str) -> int | None:
        """Members of a pool that can take traffic, 0 or 1, as the worst host says; None if one does not know it."""
        found = await asyncio.gather(*(self._fit_on(host, name) for host in self._connection.hosts))
        fits = [fit for fit in found if fit is not None]
        return min(fits) if len(fits) == len(found) else None

    async def _fit_on(self, host: NginxHost, name: str) -> int | None:
        url = f"{host.state.rstrip('/')}/sluice-pool/{quote(name, safe='')}{self._connection.ready}"
        try:
            answer = await self._ask("GET", url)
        except (httpx.HTTPError, TimeoutError):
            return 0  # the admin server answers, the pool behind it does not
        # nginx tells which member it asked; it has none to tell where no upstream has that name, nor an address.
        if "sluice-upstream" in answer.headers:
            return int(answer.is_success)
        if answer.status_code == _BAD_GATEWAY:
            return None
        where = f"{self._at(host)} answered {answer.status_code} to /sluice-pool/"
        raise _Unasked(f"{where}: take that location over from deploy/nginx/lua.conf")

    async def _look(self, host: NginxHost) -> Look:
        try:
            answer = await self._ask("GET", self._url(host))
            self._allowed(host, answer)
            shown = Shown.model_validate_json(answer.raise_for_status().content)
            return Look(host, shown.model_copy(update={"tag": answer.headers.get("etag")}))
        except (httpx.HTTPError, TimeoutError, ValidationError) as error:
            msg = f"{self._at(host)} does not answer as sluice.lua at {self._url(host)}: {error!r}"
            raise RouterUnreachable(msg) from error

    async def _change(self, method: str, look: Look, content: bytes, tag: str | None) -> tuple[int, str]:
        """Change what is in force if it is still what the tag says; status and words of the answer."""
        condition = {"If-Match": tag} if tag else {"If-None-Match": "*"}
        try:
            answer = await self._ask(method, self._url(look.host), content, condition)
        except (httpx.HTTPError, TimeoutError) as error:
            raise RouterUnreachable(f"{self._at(look.host)} did not answer to {method}: {error!r}") from error
        self._allowed(look.host, answer)
        return answer.status_code, answer.text.strip()[:500]

    def _allowed(self, host: NginxHost, answer: httpx.Response) -> None:
        if answer.status_code in {401, 403}:
            where = f"{self._at(host)} answered {answer.status_code} at {self._url(host)}"
            raise NotPermitted(f"{where}: let this worker GET, PUT and DELETE /sluice/ on nginx's admin server")
        if answer.status_code == 404:
            where = f"{self._at(host)} knows no service {self._route.service} at {self._url(host)}"
            raise Misconfigured(f"{where}: name it in sluice.setup, see deploy/nginx/lua.conf")

    async def _ask(
        self, method: str, url: str, content: bytes | None = None, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        seconds = self._connection.timeout_s
        async with asyncio.timeout(seconds):
            return await self._http.request(method, url, content=content, headers=headers, timeout=seconds)

    def _url(self, host: NginxHost) -> str:
        return f"{host.state.rstrip('/')}/sluice/{quote(self._route.service, safe='')}"

    def _at(self, host: NginxHost) -> str:
        return f"{self._route}: nginx {host.name}"
