"""Lambda: the alias of a function, weighted between two published versions.

One call, `UpdateAlias`, moves weights and mark together: the mark stands behind the operator's own words in the alias's
description. The alias's RevisionId makes it a compare-and-set, so two workers cannot overwrite each other and nothing
has to be locked in AWS. Tags were rejected as a place for the mark: they belong to the function, not to the alias, and
are written by another call.

AWS draws the version for every invocation: nobody stays on one, and no header chooses. There is nothing to drain: an
invocation ends on the version it began on; events that are queued or retried are drawn anew when they run.
AWS publishes no bound for how soon a weight counts, so what the alias shows is believed only after `settle`.
"""

import asyncio
import re
import time
from dataclasses import dataclass
from typing import NamedTuple

from activities.aws import AwsClients, Json, code_of
from activities.fence import fence
from activities.finishing import finished
from activities.ports import Pool, RouteState, Write
from rollout.base import Told, percent_text
from rollout.errors import (
    Drifted,
    Misconfigured,
    NotPermitted,
    RouteRejected,
    RouterUnreachable,
    SluiceError,
)
from rollout.routes import LambdaAliasRoute

_WHOLE = 10_000  # weights are hundredths of a percent; AWS takes them as a fraction
_LONGEST = 256  # characters of a description
_MARK = re.compile(r"\[sluice epoch=(?P<epoch>\d+)(?: owner=(?P<owner>.+))? percent=(?P<percent>\d+(?:\.\d+)?)\]")
_TRIES, _PAUSE_S = 5, 0.1
_HASTE_S = 1.0  # the most that looking first may cost the way back, if the alias is remembered; or at versions, a proof
_STATES = 5  # versions are remembered so many times longer than the alias: published ones hardly change


class Mark(Told):
    """What the last write left in the description; epoch 0 if there was none.

    Attributes:
        epoch: fence.
        owner: who holds the alias, None if nobody.
        percent: what was written; the weights say what is there now.
        words: the operator's own description, before the mark.
    """

    epoch: int = 0
    owner: str | None = None
    percent: float | None = None
    words: str = ""


class View(NamedTuple):
    """An alias as Sluice looks at it.

    Attributes:
        shares: version → percent of the invocations; versions without a share are left out.
        mark: who wrote last.
    """

    shares: dict[str, float]
    mark: Mark

    def others(self, route: LambdaAliasRoute) -> list[str]:
        """Versions with a share that are neither candidate nor stable."""
        return [version for version in self.shares if version not in {route.candidate, route.stable}]

    def __str__(self) -> str:
        """`5 % to version 2, 95 % to version 1`."""
        return ", ".join(f"{percent_text(share)} to version {version}" for version, share in self.shares.items())


def view(alias: Json) -> View:
    """What an alias does, from AWS's answer to GetAlias."""
    shares = {version: round(weight * 100, 6) for version, weight in _weights(alias).items()}
    shares[alias["FunctionVersion"]] = round(100 - sum(shares.values()), 6)
    return View({version: share for version, share in shares.items() if share}, _mark(alias.get("Description") or ""))


def desired(alias: Json, route: LambdaAliasRoute, write: Write) -> Json:
    """The request that makes one write; without the RevisionId.

    Args:
        alias: AWS's answer to GetAlias.
        route: names the two versions.
        write: percent, epoch and owner.

    Raises:
        Misconfigured: the percent has no whole weight, or the mark does not fit behind the operator's description.
    """
    candidate = round(write.percent * 100)
    if not 0 <= candidate <= _WHOLE or abs(write.percent * 100 - candidate) > 1e-6:
        raise Misconfigured(f"{route} cannot take {write.percent} %: 0 to 100 in steps of 0.01 is possible")
    weights = {route.candidate: candidate / _WHOLE} if 0 < candidate < _WHOLE else {}
    return {
        "FunctionName": route.function,
        "Name": route.alias,
        "FunctionVersion": route.candidate if candidate == _WHOLE else route.stable,
        "RoutingConfig": {"AdditionalVersionWeights": weights},
        "Description": _described(_mark(alias.get("Description") or "").words, route, write),
    }


def is_fit(version: Json) -> bool:
    """Whether a version can take invocations, from AWS's answer to GetFunctionConfiguration.

    An idle version that AWS has made Inactive wakes up at its next invocation, but fails that one.
    """
    return str(version.get("State", "Active")) == "Active"


def _weights(alias: Json) -> dict[str, float]:
    return (alias.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}


def _mark(description: str) -> Mark:
    start = description.rfind("[sluice epoch=")
    found = _MARK.fullmatch(description[start:]) if start >= 0 else None
    if found is None:
        return Mark(words=description)
    return Mark.model_validate({**found.groupdict(), "words": description[:start].removesuffix(" ")})


def _described(words: str, route: LambdaAliasRoute, write: Write) -> str:
    owner = "" if write.release else f" owner={write.owner}"
    mark = f"[sluice epoch={write.epoch}{owner} percent={write.percent:g}]"
    room = _LONGEST - len(mark) - 1
    if len(words) > room:
        if not _is_leaving(write) or len(mark) > _LONGEST:
            raise Misconfigured(
                f"{route}: the alias's description has {len(words)} characters and must leave room for Sluice's mark; "
                f"shorten it to {max(room, 0)}"
            )
        words = words[: max(room - 1, 0)] + "…" * (room > 0)  # traffic goes back, whatever the description says
    return f"{words} {mark}" if words else mark


def _is_leaving(write: Write) -> bool:
    return write.release or write.percent == 0


@dataclass(frozen=True)
class _Known:
    """The alias as last seen, and since when (monotonic seconds) its revision is known to be there."""

    alias: Json
    since: float


class LambdaAliasRouter:
    """One alias of one function."""

    def __init__(self, route: LambdaAliasRoute, aws: AwsClients) -> None:
        """Take the route and the region's clients."""
        self._route, self._aws = route, aws
        self._key = ("lambda-alias", route.function, route.alias)
        self._pools: dict[Pool, str] = {"candidate": route.candidate, "stable": route.stable}

    async def read(self) -> RouteState:
        """See `ports.Router.read`.

        What AWS says about the versions is for those who want to raise: without it the alias is read all the same, and
        no version counts as able to take invocations.
        """
        remember_s = self._aws.connection.remember.total_seconds()
        states = asyncio.ensure_future(self._told(_STATES * remember_s))
        try:
            alias = await self._seen(remember_s)
            healthy, untold = await states
        finally:
            states.cancel()
        seen = view(alias)
        wrong, unsettled = self._wrong(seen), self._unsettled()
        percent = seen.shares.get(self._route.candidate, 0)
        return RouteState(
            percent=percent,
            in_force=None if wrong or unsettled else percent,
            epoch=seen.mark.epoch,
            owner=seen.mark.owner,
            healthy=healthy,
            proves_after_s=self._aws.connection.settle.total_seconds(),
            # What was just released may be taken again, and a rollout that runs meets what is untold at its next raise.
            problem=wrong or (unsettled if seen.mark.owner else untold),
            proof="" if wrong or unsettled else self._proof(seen),
        )

    async def write(self, write: Write) -> None:
        """See `ports.Router.write`; finishes even if the caller is cancelled.

        Raises:
            Drifted: the alias leads to a version that is neither candidate nor stable; only the way back overwrites it.
        """
        await finished(self._write(write))

    async def in_flight(self, pool: Pool) -> int:
        """Always none: Lambda shows no running invocations of a version, and ends each where it began."""
        del pool
        return 0

    async def _write(self, write: Write) -> None:
        refused = ""
        async with self._aws.alone(self._key):
            for _ in range(_TRIES):
                alias = await self._to_replace(write, refused)
                seen = view(alias)
                fence(self._route, seen.mark.epoch, seen.mark.owner, write)
                request = desired(alias, self._route, write)
                if _same(alias, request):
                    return
                if write.percent > 0:  # the way back, though, overwrites whatever it finds and asks nothing more
                    self._refuse_drift(seen)
                    await self._refuse_unknown(write)
                if await self._updated(request, alias["RevisionId"]):
                    return
                refused = alias["RevisionId"]
                await asyncio.sleep(_PAUSE_S)
        raise RouterUnreachable(f"{self._route}: others were changing the alias at {_TRIES} tries; nothing was written")

    async def _updated(self, request: Json, revision: str) -> bool:
        """Whether the request was carried out; False if the alias is of another revision by now, or busy."""
        try:
            alias = await self._aws.call("lambda", "update_alias", **request, RevisionId=revision)
        except Misconfigured as error:
            if code_of(error) in {"PreconditionFailedException", "ResourceConflictException"}:
                return False
            if code_of(error) == "InvalidParameterValueException":
                raise RouteRejected(f"{self._route}: {error}; the alias is as it was") from error
            raise
        self._remember(alias)
        return True

    async def _to_replace(self, write: Write, refused: str) -> Json:
        """The alias as it is; on the way back the one last seen if AWS does not answer.

        That is safe: if anything has changed since, the update is refused because of the RevisionId.
        """
        known: _Known | None = self._aws.memory.get(self._key) if write.percent == 0 else None
        if known and known.alias["RevisionId"] == refused:
            known = None
        try:
            async with asyncio.timeout(_HASTE_S if known else None):
                return await self._seen(within_s=0, urgent=write.percent == 0)
        except (RouterUnreachable, NotPermitted, TimeoutError):
            if known is None:
                raise
            return known.alias

    async def _seen(self, within_s: float, *, urgent: bool = False) -> Json:
        names: Json = {"FunctionName": self._route.function, "Name": self._route.alias}
        try:
            alias = await self._aws.recent("lambda", "get_alias", within_s=within_s, urgent=urgent, **names)
        except Misconfigured as error:
            if code_of(error) != "ResourceNotFoundException":
                raise
            raise Misconfigured(
                f"{self._route}: function {self._route.function} or its alias {self._route.alias} does not exist in "
                f"{self._aws.connection.region}; create the alias on version {self._route.stable}, or name another"
            ) from error
        self._remember(alias)
        return alias

    def _remember(self, alias: Json) -> None:
        known: _Known | None = self._aws.memory.get(self._key)
        if known is None or known.alias["RevisionId"] != alias["RevisionId"]:
            # Nobody's alias was written long ago, or by a person; any other may have been a moment ago.
            fresh = known is not None or _mark(alias.get("Description") or "").owner is not None
            self._aws.memory[self._key] = _Known(alias, time.monotonic() if fresh else float("-inf"))

    async def _told(self, within_s: float) -> tuple[dict[Pool, int], str | None]:
        """Pool → 1 if its version can take invocations; and why that is not known, if AWS does not tell soon."""
        try:
            async with asyncio.timeout(_HASTE_S):
                states = await self._states(within_s)
        except (SluiceError, TimeoutError) as error:
            late = f"lambda GetFunctionConfiguration was not answered within {_HASTE_S:g} s"
            return dict.fromkeys(self._pools, 0), str(error) or late
        return {pool: int(is_fit(state)) for pool, state in states.items() if state is not None}, None

    async def _states(self, within_s: float) -> dict[Pool, Json | None]:
        found = await asyncio.gather(*(self._version(number, within_s) for number in self._pools.values()))
        return dict(zip(self._pools, found, strict=True))

    async def _version(self, number: str, within_s: float) -> Json | None:
        """AWS's description of a published version; None if there is none."""
        names: Json = {"FunctionName": self._route.function, "Qualifier": number}
        try:
            return await self._aws.recent("lambda", "get_function_configuration", within_s=within_s, **names)
        except Misconfigured as error:
            if code_of(error) == "ResourceNotFoundException":
                return None
            raise

    def _wrong(self, seen: View) -> str | None:
        """Which version has a share that should have none; None if there is none."""
        if not (others := seen.others(self._route)):
            return None
        return (
            f"alias {self._route.place} leads to version {', '.join(others)}, neither the candidate "
            f"{self._route.candidate} nor stable {self._route.stable}: somebody else changed it"
        )

    def _proof(self, seen: View) -> str:
        """What the alias shows, and for how long."""
        known: _Known = self._aws.memory[self._key]
        age_s = time.monotonic() - known.since
        since = "since before it was first looked at" if age_s == float("inf") else f"for {age_s:.0f} s"
        return f"alias {self._route.place} of epoch {seen.mark.epoch} gives {seen}; described so {since}"

    def _unsettled(self) -> str | None:
        """Why invocations may not yet get what the alias shows; None if they do."""
        known: _Known = self._aws.memory[self._key]
        settle_s = self._aws.connection.settle.total_seconds()
        age_s = time.monotonic() - known.since
        return None if age_s >= settle_s else f"written {age_s:.1f} s ago; AWS is believed after {settle_s:g} s"

    def _refuse_drift(self, seen: View) -> None:
        if wrong := self._wrong(seen):
            raise Drifted(f"{wrong}; nothing was written")

    async def _refuse_unknown(self, write: Write) -> None:
        for pool, state in (await self._states(within_s=0)).items():
            has_share = pool == "candidate" or write.percent < 100
            if state is None and (has_share or not write.release):
                raise Misconfigured(
                    f"{self._route}: function {self._route.function} has no published version {self._pools[pool]} for "
                    f"the {pool}; nothing was written"
                )


def _same(alias: Json, request: Json) -> bool:
    """Whether the alias is already what the request makes of it."""
    kept = ("FunctionVersion", "Description")
    return all(alias.get(key) == request[key] for key in kept) and _weights(alias) == _weights(request)
