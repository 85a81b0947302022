"""Asking an evaluator over OFREP, as applications do: flagd on its port 8016, or anything that speaks it.

Every user is asked about by itself, because that is the request that applications send; the bulk request is for one
user and all flags. Where several evaluators are behind one address, so many requests meet them all.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import httpx

from activities.flags.flagd.connection import FlagdConnection
from activities.flags.flagd.core import context_of
from activities.flags.flagd.marks import GENERATION
from activities.flags.flagd.probing import NOBODY, PROBES, Answer, Seen
from rollout.errors import NotPermitted, RouterUnreachable, Throttled
from rollout.routes import FlagdRoute

_AT_ONCE = 4
_FIRST = 16  # users who show that an evaluator has another file; the others need not be asked about
_LONGEST_WAIT_S = 60.0
_SAYS_WHY = {httpx.codes.BAD_REQUEST, httpx.codes.NOT_FOUND}


class Ofrep:
    """An evaluator, asked about one flag."""

    def __init__(self, url: str, route: FlagdRoute, connection: FlagdConnection, http: httpx.AsyncClient) -> None:
        """Take its address, the flag, how long it may take, and a client that follows no redirects."""
        self._where = url.rstrip("/")
        self._url = f"{self._where}/ofrep/v1/evaluate/flags/{quote(route.key, safe='')}"
        self._route, self._timeout_s, self._http = route, connection.timeout_s, http

    async def evaluated(self, generation: int | None) -> Seen:
        """What it gives the users of `PROBES`; the first of them will do if it has another generation.

        Raises:
            RouterUnreachable: no answer in time, or none that is OFREP.
            Throttled: it wants to be asked later.
            NotPermitted: it may not be asked.
        """
        async with self._in_time():
            nobody, answers = await self._answer(NOBODY), await self._answers(PROBES[:_FIRST])
            if {each.generation for each in (nobody, *answers)} == {generation}:
                answers += await self._answers(PROBES[_FIRST:])
        return Seen(who=f"evaluator {self._where}", nobody=nobody, answers=answers)

    async def reached(self) -> None:
        """See that it answers at all; raises as `evaluated` does."""
        async with self._in_time():
            await self._answer(PROBES[0])

    @asynccontextmanager
    async def _in_time(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._timeout_s):
                yield
        except TimeoutError as error:
            what = f"evaluator {self._where} has not answered for all probe keys within {self._timeout_s:g} s"
            raise RouterUnreachable(f"{self._route}: {what}") from error

    async def _answers(self, keys: Sequence[str]) -> tuple[Answer, ...]:
        lanes = await asyncio.gather(*(self._lane(keys[first::_AT_ONCE]) for first in range(_AT_ONCE)))
        return tuple(answer for lane in lanes for answer in lane)

    async def _lane(self, keys: Sequence[str]) -> list[Answer]:
        return [await self._answer(key) for key in keys]

    async def _answer(self, key: str) -> Answer:
        context = context_of(key, self._route) | ({} if key == NOBODY else {"targetingKey": key})
        try:
            answer = await self._http.post(self._url, json={"context": context}, timeout=self._timeout_s)
        except httpx.HTTPError as error:
            raise RouterUnreachable(f"{self._route}: no answer from {self._where}: {type(error).__name__}") from error
        self._refuse(answer)
        try:
            said = answer.json()
            if answer.status_code in _SAYS_WHY:
                return Answer(why=str(said["errorCode"])[:60])
            metadata: dict[str, Any] = said.get("metadata") or {}
            generation = metadata.get(GENERATION)
            return Answer(variant=said.get("variant"), generation=None if generation is None else int(generation))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise RouterUnreachable(
                f"{self._route}: {self._where} answers {answer.status_code} and no OFREP; is `ofrep` its base URL?"
            ) from error

    def _refuse(self, answer: httpx.Response) -> None:
        status = answer.status_code
        if status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
            raise NotPermitted(
                f"{self._route}: evaluator {self._where} answers {status}: let this worker evaluate there"
            )
        if status == httpx.codes.TOO_MANY_REQUESTS:
            throttled = Throttled(f"{self._route}: evaluator {self._where} was asked too often")
            after = answer.headers.get("Retry-After", "")
            if after.isdecimal():
                throttled.retry_after = timedelta(seconds=min(float(after), _LONGEST_WAIT_S))
            raise throttled
        if status != httpx.codes.OK and status not in _SAYS_WHY:
            raise RouterUnreachable(f"{self._route}: evaluator {self._where} answers {status}")
