"""A flag in a file of flagd's format: the percent in its targeting, proven by evaluating it as applications do.

There is no flag server with an interface to write to: flagd watches the file, or the application evaluates it itself.
`document` says what becomes of the file; here it is written and proven, by an evaluator that speaks OFREP where there
is one. Rejected: proof by reading the file back, which shows neither a typo that evaluators serve differently nor an
evaluator that has lost the file and keeps serving what it read long ago.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from activities.config_file import unusable
from activities.fence import fence
from activities.finishing import finished
from activities.flags.flagd.connection import FlagdConnection
from activities.flags.flagd.core import NotEvaluatedError, evaluated
from activities.flags.flagd.document import View, flag_of, lack, moved, no_off, text_of, turned_off, view
from activities.flags.flagd.file import FlagFile
from activities.flags.flagd.ofrep import Ofrep
from activities.flags.flagd.probing import Seen, doubt
from activities.flags.flagd.targeting import FINEST, weight_of
from activities.flags.flagd.typos import typos
from activities.ports import FlagState, Pool, Write
from activities.shared import Shared
from rollout.base import percent_text
from rollout.errors import Misconfigured
from rollout.routes import FlagdRoute

Json = dict[str, Any]

log = logging.getLogger("sluice.flags")


class FlagdFlag:
    """One flag in one file."""

    def __init__(self, route: FlagdRoute, connection: FlagdConnection, shared: Shared) -> None:
        """Take the flag, where its file is, and what adapters share."""
        self._route, self._connection, self._threads = route, connection, shared.threads
        self._file = FlagFile(connection.folder / f"{route.file}.json")
        self._ofrep = Ofrep(connection.ofrep, route, connection, shared.http) if connection.ofrep else None

    async def read(self) -> FlagState:
        """See `ports.FlagService.read`.

        A flag with a targeting that has no place for a percent is read as the share of probe keys that see the
        candidate, and is not in force at any percent; it can still be switched off.
        """
        content, document = await self._file.document()
        flag = flag_of(document, self._route)
        written = view(flag, self._route)
        name, seen = self._file.path.name, None
        problem: str | None = None
        untaken: str | None = None
        try:
            seen = await self._seen(content, flag, written)
            problem = doubt(seen, written, name)
        except NotEvaluatedError as error:
            problem = untaken = f"{name} is not taken by evaluators: {error}"
        percent = self._percent(written, seen)
        marks = written.marks
        pools: dict[Pool, str] = {"candidate": self._route.candidate, "stable": self._route.stable}
        return FlagState(
            on=written.on,
            percent=percent,
            in_force=None if problem else percent,
            epoch=marks.epoch,
            owner=marks.owner,
            healthy={pool: 1 for pool, name in pools.items() if name in written.variants.known},
            finest=FINEST,
            problem=problem or (None if percent or marks.owner else self._lack(document, written)),
            proof="" if problem or seen is None else f"{seen.who} has {self._said(written)}: {seen.counts()}",
            settles_after_s=self._connection.applications_look_every_s,
            locked=no_off(written, self._route) or await self._file.unwritable() or untaken,
            changed_by=_who(written),
            off_since_ms=None if written.on else marks.off_at,
        )

    async def write(self, write: Write) -> None:
        """See `ports.Router.write`; a typo anywhere in the file keeps a raise off, but not the way back."""
        if weight_of(write.percent) is None:
            raise Misconfigured(
                f"{self._route}: {percent_text(write.percent)} is finer than {FINEST:g} %; nothing was written"
            )
        if write.percent and self._ofrep and not (write.release and await self._off()):
            await self._ofrep.reached()  # the way back is written blind: an evaluator reads it as soon as it can
        await finished(self._write(write))

    async def turn_off(self, why: str) -> bool:
        """See `ports.FlagService.turn_off`; the reason goes to the log, a flag file has no place for it."""
        done = await finished(self._edited(lambda document: turned_off(document, self._route, _now_ms())))
        if done:
            log.warning("flag switched off flag=%s why=%s", self._route, " ".join(why.split())[:300])
        return done

    async def in_flight(self, pool: Pool) -> int:  # noqa: ARG002 - a flag serves no requests
        """See `ports.Router.in_flight`."""
        return 0

    async def _write(self, write: Write) -> None:
        def change(document: Json) -> Json:
            marks = view(flag_of(document, self._route), self._route).marks
            fence(self._route, marks.epoch, marks.owner, write)
            return moved(document, self._route, write, _now_ms())

        await self._edited(change, raised=write.percent > 0)

    async def _edited(self, change: Callable[[Json], Json], *, raised: bool = False) -> bool:
        """Whether the file had to be changed; nobody else edits it meanwhile who asks for the lock.

        Args:
            change: gives the new document, or the same.
            raised: more users may see the feature, if it is on afterwards: then everything must be right.
        """
        async with self._file.alone():
            before, document = await self._file.document()
            after = change(document)
            if after == document:
                return False
            content = text_of(after)
            if raised and view(flag_of(after, self._route), self._route).on:
                await self._refuse_unsound(content, after)
            try:
                await self._file.exchange(before, content)
            except OSError as error:
                raise unusable(f"{self._file} cannot be replaced", error) from error
            return True

    async def _refuse_unsound(self, content: bytes, document: Json) -> None:
        """See to it that evaluators will serve what is about to be written.

        Raises:
            Misconfigured: they will not; says why.
        """
        name, flag = self._file.path.name, flag_of(document, self._route)
        problem: str | None = next((f"{name}: {each}" for each in typos(document)), None)
        if problem is None:
            try:
                seen = await self._in_thread(content, flag)
                problem = doubt(seen, view(flag, self._route), f"the new {name}")
            except NotEvaluatedError as error:
                problem = f"{name} is not taken by evaluators: {error}"
        if problem:
            raise Misconfigured(f"{self._route}: {problem}; nothing was written")

    async def _off(self) -> bool:
        _, document = await self._file.document()
        return not view(flag_of(document, self._route), self._route).on

    async def _seen(self, content: bytes, flag: Json, written: View) -> Seen:
        if self._ofrep:
            return await self._ofrep.evaluated(written.marks.generation)
        return await self._in_thread(content, flag)

    async def _in_thread(self, content: bytes, flag: Json) -> Seen:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, evaluated, content, flag, self._route)

    def _percent(self, written: View, seen: Seen | None) -> float:
        if not written.on:
            return 0.0
        if written.percent is not None:
            return round(written.percent, 4)
        if not seen:
            return 0.0
        count = sum(each.variant == self._route.candidate for each in seen.answers)
        return round(100 * count / len(seen.answers), 2)

    def _lack(self, document: Json, written: View) -> str | None:
        """Why no rollout could begin with this flag, for preflight; None if one could."""
        typo = next((f"{self._file.path.name}: {each}" for each in typos(document)), None)
        return written.unplaced or typo or lack(written, self._route)

    def _said(self, written: View) -> str:
        if written.marks.generation is None:
            return "a flag that was never written"
        return f"generation {written.marks.generation} of epoch {written.marks.epoch}"


def _who(written: View) -> str | None:
    """Who switched it off, if it is off, else who changed it last; None if that was not us."""
    marks = written.marks
    if not written.on:
        return None if marks.off_at is None else "sluice"
    if not marks.intact:
        return None
    return f"sluice for {marks.owner}" if marks.owner else "sluice"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
