"""One LaunchDarkly flag: read over the REST API, moved by semantic patches, believed when the SDK gives it.

The percent is that of the default rule ("fallthrough"). Individual targets and rules come before it and are left alone:
whom they give the candidate, they give it at 0 % too, and only off takes it from everybody. A flag that was off when
its rollout began is off again when it is back at 0 %.

Off is never switched on again by a write of the rollout that it happened in: in the flag's own mark is whether it was
found off.
"""

import asyncio

from activities.fence import fence
from activities.finishing import finished
from activities.flags.launchdarkly import patches
from activities.flags.launchdarkly.answers import Conflict
from activities.flags.launchdarkly.api import LaunchDarklyApi
from activities.flags.launchdarkly.connection import LaunchDarklyConnection
from activities.flags.launchdarkly.evaluator import Evaluator
from activities.flags.launchdarkly.marks import Mark, marks, told
from activities.flags.launchdarkly.proof import doubt
from activities.flags.launchdarkly.shape import Flag, Json, parsed
from activities.ports import FlagState, Pool, Write
from activities.shared import Shared
from rollout.base import percent_text
from rollout.errors import Misconfigured, RouteRejected, RouterUnreachable
from rollout.routes import LaunchDarklyRoute

_FINEST = 0.001  # weights are thousandths of a percent
_TRIES = 4
_BETWEEN_TRIES_S = 0.1


class LaunchDarklyFlag:
    """The adapter."""

    def __init__(self, route: LaunchDarklyRoute, connection: LaunchDarklyConnection, shared: Shared) -> None:
        """Take the route, where LaunchDarkly is, and what adapters share."""
        self._route = route
        self._evaluates = connection.sdk_key_file is not None
        self._api = shared.once(("launchdarkly", connection), lambda: LaunchDarklyApi(connection, shared.http))
        self._sdk = shared.once(("launchdarkly-sdk", connection), lambda: Evaluator(connection, shared.threads))

    async def read(self) -> FlagState:
        """See `ports.FlagService.read`.

        LaunchDarkly knows when the flag's configuration here was changed last, not when it was switched: who has
        changed something else since it was switched off is taken for who did, and that moment for `off_since_ms`.
        """
        flag = await self._look()
        last = patches.newest(flag, self._route)
        who, locked, (problem, proof, unprovable) = await asyncio.gather(
            self._api.author(self._route, flag.version, flag.modified_ms),
            self._locked(flag),
            self._proof(flag),
        )
        if problem is None and flag.mover and not last.owner:
            problem = self._moved(flag)
        pools: dict[Pool, int | None] = {"candidate": flag.candidate, "stable": flag.stable}
        return FlagState(
            percent=flag.percent,
            in_force=flag.percent if proof else None,
            epoch=last.epoch,
            owner=last.owner,
            healthy={pool: 1 for pool, index in pools.items() if index is not None},
            finest=_FINEST,
            problem=problem,
            proof=proof,
            on=flag.on,
            locked=locked or unprovable,
            changed_by=who,
            off_since_ms=None if flag.on else flag.modified_ms,
        )

    async def write(self, write: Write) -> None:
        """See `ports.Router.write`."""
        await finished(self._write(write))

    async def turn_off(self, why: str) -> bool:
        """See `ports.FlagService.turn_off`; changes that wait there for their time or an approval do not stop it."""
        return await finished(self._turn_off(why))

    async def in_flight(self, pool: Pool) -> int:  # noqa: ARG002 - the port's signature
        """See `ports.Router.in_flight`: a flag serves no requests."""
        return 0

    async def _look(self) -> Flag:
        return parsed(await self._api.flag(self._route), self._route)

    async def _locked(self, flag: Flag) -> str | None:
        """Why it could not be switched off; a rollout that holds it is told by its writes what LaunchDarkly refuses."""
        if why := self._no_off(flag):
            return why
        if patches.newest(flag, self._route).owner:
            return None
        return await self._api.locked(self._route, flag.version)

    async def _proof(self, flag: Flag) -> tuple[str | None, str, str | None]:
        """Why it is not in force; if it is, what shows it; and why nothing can be shown at all."""
        if flag.mover and flag.on:
            return self._moved(flag), "", None
        if not flag.on and (misleading := flag.misleading_off()):
            return f"{self._route} is off, and {misleading}", "", None
        told_ = f"version {flag.config_version}, {told(patches.newest(flag, self._route))}"
        if not self._evaluates:
            return None, f"read back, not evaluated (set sdk_key_file): LaunchDarkly shows {told_}", None
        seen = await self._sdk.look(self._route.key, self._route.context_kind, flag.config_version)
        if isinstance(seen, str):
            unseen = f"{self._route}: {seen}"
            return unseen, "", unseen
        if reason := doubt(flag, seen):
            return f"{self._route}: {reason}", "", None
        given = sum(1 for _, index in seen.given if index == flag.candidate)
        return None, f"the SDK has {told_} and gives the candidate to {given} of {len(seen.given)} probe keys", None

    def _no_off(self, flag: Flag) -> str | None:
        """Why off would not give everybody stable's variation; None if it would."""
        if flag.stable is None:
            return f"{self._route} has no variation {self._route.stable!r}; nothing was written"
        if misleading := flag.misleading_off():
            return f"{self._route} cannot be switched off: {misleading}; set stable's variation as its off variation"
        return None

    def _moved(self, flag: Flag) -> str:
        return f"refused: {flag.mover} moves the default rule of {self._route}: stop it there, or wait for its end"

    async def _write(self, write: Write) -> None:
        async with self._api.alone(self._route):
            conflict: Conflict | None = None
            for _ in range(_TRIES):
                flag = await self._look()
                last = patches.newest(flag, self._route)
                fence(self._route, last.epoch, last.owner, write)
                wanted = patches.desired(flag, self._route, write)
                if not wanted:
                    return
                words = f"Sluice: {write.owner}, {percent_text(write.percent)}, epoch {write.epoch}"
                try:
                    # The way back does not wait for what others have planned.
                    after = await self._api.patch(
                        self._route, wanted, patches.comment(words), ignore_conflicts=not write.percent
                    )
                except Conflict as error:
                    conflict = error
                    await asyncio.sleep(_BETWEEN_TRIES_S)
                    continue
                await self._give_way(flag, after, write)
                return
            raise RouterUnreachable(f"{conflict}; {_TRIES} tries") from conflict

    async def _give_way(self, before: Flag, answer: Json, write: Write) -> None:
        """Undo a write that somebody was faster than: between our look and our patch.

        Undoing may be overtaken as well; it has come to an end when the one whose percent was put back is still the
        newest. Of several others, those who must give way themselves do so after us, by the same rule.

        Raises:
            Superseded: the other write is newer.
            RouteOwned: it is somebody else's.
        """
        known = {each.key for each in marks(before.properties, self._route.environment)}
        winner: Mark | None = None
        for _ in range(_TRIES * _TRIES):
            after = parsed(answer, self._route)
            held = marks(after.properties, self._route.environment)
            stronger = [each for each in held if each.key not in known and _beats(each, write)]
            if winner is None and not stronger:
                return
            if winner and (not stronger or stronger[-1] == winner):
                fence(self._route, winner.epoch, winner.owner, write)
            winner = stronger[-1]
            undoing = patches.give_way(after, self._route, winner, write)
            words = f"Sluice: {write.owner} came too late with epoch {write.epoch} and gives way"
            try:
                answer = await self._api.patch(
                    self._route, undoing, patches.comment(words), ignore_conflicts=not winner.percent
                )
            except Conflict:
                await asyncio.sleep(_BETWEEN_TRIES_S)
                answer, winner = await self._api.flag(self._route), None
        raise RouterUnreachable(f"{self._route}: others write it all the time; it is as the last of them left it")

    async def _turn_off(self, why: str) -> bool:
        conflict: Conflict | None = None
        for _ in range(_TRIES):
            flag = await self._look()
            if misleading := self._no_off(flag):
                raise Misconfigured(misleading)
            if not flag.on:
                return False
            try:
                words = patches.comment(f"Sluice: {why}") if why.strip() else "Sluice"
                await self._api.patch(self._route, patches.OFF, words, ignore_conflicts=True)
            except Conflict as error:
                conflict = error
                await asyncio.sleep(_BETWEEN_TRIES_S)
            else:
                return True
        raise RouteRejected(f"{conflict}; {_TRIES} tries, nothing was written") from conflict


def _beats(other: Mark, write: Write) -> bool:
    """Whether a write would have been kept off, had it seen this mark."""
    return other.epoch > write.epoch or other.owner not in {None, write.owner}
