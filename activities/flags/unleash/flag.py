"""One flag of Unleash in one environment.

`strategy` says what is there and what becomes of it, `evaluation` what applications are given; here it is asked and
told. Nothing waits in here: Unleash gives a change to applications about a second after it was written, and they ask
for changes every few seconds; the first is proven, the second is `settles_after_s`.

There is no compare-and-set but the patch that tests what was read. What a patch does not cover (a switch, a second
strategy that somebody adds) is looked for once more right after the write.
"""

import asyncio
from contextlib import suppress
from datetime import datetime
from typing import Any

from activities.fence import fence
from activities.finishing import finished
from activities.flags.unleash import strategy
from activities.flags.unleash.api import Absent, Json, UnleashApi
from activities.flags.unleash.connection import UnleashConnection
from activities.flags.unleash.evaluation import difference, feature_in, implausible, seen_by
from activities.flags.unleash.permission import Permissions
from activities.flags.unleash.strategy import Found, Patch, Step
from activities.ports import FlagState, Pool, Write
from activities.shared import Shared
from rollout.base import percent_text
from rollout.errors import Misconfigured, Permanent, RouterUnreachable, SluiceError
from rollout.routes.flags import UnleashRoute

_REVISION_S = 1.0  # how often every server of Unleash looks for a newer configuration
_FINEST = 1.0
_SWITCHED = ("feature-environment-disabled", "feature-environment-enabled")


class UnleashFlag:
    """A `FlagService`."""

    def __init__(self, route: UnleashRoute, connection: UnleashConnection, shared: Shared) -> None:
        """Take the flag, the Unleash that has it, and what adapters share."""
        self._route, self._connection, self._shared = route, connection, shared
        key = ("unleash", connection.model_dump_json())
        self._api = shared.once(key, lambda: UnleashApi(connection))
        self._permissions = shared.once((*key, "permissions"), lambda: Permissions(self._api))
        self._feature = f"/projects/{route.project}/features/{route.key}"
        self._here = f"{self._feature}/environments/{route.environment}"

    async def read(self) -> FlagState:
        """See `ports.FlagService.read`."""
        now, newest, lacks = await asyncio.gather(self._found(), self._newest(), self._permissions.lacking(self._route))
        changed_by, off_since_ms = await self._changed(now, newest)
        problem, proof, unprovable = self._malformed(now) if now.on else None, "", None
        try:
            feature, given = await self._given()
            if problem is None:
                problem, proof = await self._proven(now, feature, given)
        except Permanent as error:
            unprovable = f"{self._route}: {error}"
            problem = problem or unprovable
        except SluiceError as error:
            problem = problem or f"{self._route}: {error}"
        unfit = None if problem or now.mark.owner else self._unfit(now) or lacks.share
        return FlagState(
            percent=now.percent,
            in_force=None if problem else now.percent,
            epoch=now.mark.epoch,
            owner=now.mark.owner,
            healthy=strategy.healthy(self._route),
            finest=_FINEST,
            problem=problem or unfit,
            proof=proof,
            on=now.on,
            locked=lacks.off or strategy.no_off(self._route) or unprovable,
            settles_after_s=self._connection.refresh_s + _REVISION_S,
            changed_by=changed_by,
            off_since_ms=off_since_ms,
        )

    async def write(self, write: Write) -> None:
        """See `ports.Router.write`; one to three requests, and it finishes even if the caller is cancelled."""
        await finished(self._write(write))

    async def turn_off(self, why: str) -> bool:  # noqa: ARG002 - Unleash's log of changes takes no words
        """See `ports.FlagService.turn_off`; the strategy stays as it is, only the switch is thrown."""
        return await finished(self._turn_off())

    async def in_flight(self, pool: Pool) -> int:  # noqa: ARG002 - the port's signature
        """A flag serves no requests."""
        return 0

    async def _write(self, write: Write) -> None:
        async with self._api.lock(self._here):
            now = await self._found()
            fence(self._route, now.mark.epoch, now.mark.owner, write)
            steps = strategy.steps(now, self._route, write)
            for step in steps:
                await self._do(step)
            if steps:
                await self._verify(write)

    async def _turn_off(self) -> bool:
        if misleading := strategy.no_off(self._route):
            raise Misconfigured(misleading)
        async with self._api.lock(self._here):
            if not strategy.environment(await self._shown(), self._route).get("enabled"):
                return False
            await self._do(strategy.Switch(on=False))
            return True

    async def _do(self, step: Step) -> None:
        if isinstance(step, Patch):
            await self._api.admin("PATCH", f"{self._here}/strategies/{step.strategy}", list(step.operations))
        else:
            await self._api.admin("POST", f"{self._here}/{'on' if step.on else 'off'}")

    async def _verify(self, write: Write) -> None:
        """Look whether the write is there.

        Raises:
            Superseded: a newer write came at the same moment.
            RouteOwned: another owner did.
            RouterUnreachable: somebody else changed it at the same moment; what is there now is for the next read.
        """
        after = await self._found()
        fence(self._route, after.mark.epoch, after.mark.owner, write)
        if not strategy.holds(after, write):
            raise RouterUnreachable(
                f"{self._route} was changed by somebody else while it was brought to {percent_text(write.percent)}"
            )

    async def _found(self) -> Found:
        return strategy.found(await self._shown(), self._route)

    async def _shown(self) -> Json:
        """The flag as the admin API shows it.

        Raises:
            Misconfigured: there is none, or it is archived; Unleash does not tell these apart.
        """
        try:
            shown = await self._api.admin("GET", self._feature)
        except Absent as error:
            place = f"project {self._route.project} of Unleash"
            raise Misconfigured(f"{self._route}: {place} has no flag {self._route.key}, or it is archived") from error
        if not isinstance(shown, dict):
            raise RouterUnreachable(f"{self._route}: what answers is no Unleash")
        return shown

    def _malformed(self, now: Found) -> str | None:
        """Why nobody can say what the written share is; None if it is clear."""
        if now.others:
            return f"{self._route} {now.others}; exactly one must be enabled"
        if now.share is None:
            # Unleash accepts everything; its engine takes most of it for 0, older SDKs take 150 for everybody.
            there = str(now.parameters.get("rollout"))[:20]
            return f"{self._route}: rollout is {there!r} there, no whole percent: nobody can say who sees the feature"
        return None

    def _unfit(self, now: Found) -> str | None:
        """Why a rollout could not raise it, for preflight."""
        try:
            strategy.steps(now, self._route, Write(percent=1, epoch=now.mark.epoch, owner=""))
        except Misconfigured as error:
            return str(error)
        return None

    async def _given(self) -> tuple[Json, Json]:
        """The flag as applications are given it, and all that they are given.

        Raises:
            Permanent: with this client token, nobody will ever see it.
            RouterUnreachable: nobody sees it now.
        """
        given = await self._api.given()
        feature = feature_in(given, self._route)
        if isinstance(feature, str):
            raise Misconfigured(feature)
        return feature, given

    async def _proven(self, now: Found, feature: Json, given: Json) -> tuple[str | None, str]:
        """Why applications are not given what is written, or the proof that they are."""
        if problem := difference(feature, now):
            return f"{self._route}: {problem}", ""
        stickiness = str(now.parameters.get("stickiness") or "default")
        loop = asyncio.get_running_loop()
        seen = await loop.run_in_executor(self._shared.threads, seen_by, feature, given, stickiness)
        if problem := implausible(seen, now.percent):
            return f"{self._route}: {problem}", ""
        limits = feature["strategies"][0] if now.on else {}
        whom = (
            " of those whom its constraints let through" if limits.get("constraints") or limits.get("segments") else ""
        )
        share = percent_text(now.percent) if now.on else "off"
        return (
            None,
            f"applications are given {share}{whom}, written with epoch {now.mark.epoch}: {seen} of 200 invented users",
        )

    async def _changed(self, now: Found, newest: Json) -> tuple[str | None, int | None]:
        """Who switched it off last, and when, if it is off; else who changed it last, and None.

        Args:
            now: what is there.
            newest: the last of its changes in this environment.
        """
        if now.on:
            return _by(newest), None
        if newest.get("type") not in _SWITCHED:
            newest = await self._newest(f"&type=IS_ANY_OF:{','.join(_SWITCHED)}")
        if newest.get("type") != _SWITCHED[0]:
            return None, None  # it was never on, or was switched in a way that leaves no such change
        with suppress(KeyError, TypeError, ValueError):
            return _by(newest), round(datetime.fromisoformat(newest["createdAt"]).timestamp() * 1000)
        return None, None

    async def _newest(self, narrower: str = "") -> Json:
        """The last change of the flag in this environment, as Unleash tells it; nothing if that cannot be seen."""
        query = f"feature=IS:{self._route.key}&environment=IS:{self._route.environment}&limit=1{narrower}"
        told: Any = None
        with suppress(SluiceError):
            told = await self._api.admin("GET", f"/search/events?{query}")
        with suppress(AttributeError, IndexError, KeyError, TypeError, ValueError):
            return dict(told["events"][0])
        return {}


def _by(change: Json) -> str | None:
    who = change.get("createdBy")
    return None if who is None else str(who)[:200]
