"""Envoy: weighted clusters in a route configuration that Envoy reads from a file.

`routes` says what becomes of the file; here it is written, and read back from the running Envoy. The alternative,
which writes no route file, is `runtime`.

Read-back compares mark, weights, rules and hash policies, never the version alone: an identical resource under a new
version leaves the version in Envoy's dump as it was (1.40). Every listener that asks for the route configuration must
show it. Why Envoy refused a file is in its log and nowhere else; over the admin interface one only sees a counter move.
"""

import asyncio
import json
import re
from contextlib import suppress

import httpx

from activities.config_file import ConfigFile
from activities.fence import fence
from activities.finishing import finished
from activities.ports import Pool, RouteState, Write
from activities.routers.envoy import sticky_users
from activities.routers.envoy.admin import UNANSWERED, EnvoyAdmin
from activities.routers.envoy.connection import EnvoyConnection
from activities.routers.envoy.routes import Json, View, desired, shown, view, weights_of
from activities.routers.envoy.strays import strays, why
from rollout.base import percent_text
from rollout.errors import Misconfigured, RouteRejected, RouterUnreachable
from rollout.routes import EnvoyRoute

__all__ = ["EnvoyConnection", "EnvoyRouter"]

_SETTLE_S, _POLL_S = 2.0, 0.02
_HASTE_S = 0.3  # the most that looking first may cost the way back


class EnvoyRouter:
    """One route configuration of one Envoy."""

    def __init__(self, route: EnvoyRoute, connection: EnvoyConnection, http: httpx.AsyncClient) -> None:
        """Take the route, the Envoy that has it, and a client that follows no redirects and knows no proxies.

        Raises:
            Misconfigured: the connection names no folder of route files.
        """
        if connection.routes is None:
            raise Misconfigured(f"{route}: connection {route.connection!r} names no folder `routes` of route files")
        self._route = route
        self._file = ConfigFile(connection.routes / f"{route.service}.json")
        self._admin = EnvoyAdmin(route, connection, http)

    async def read(self) -> RouteState:
        """See `ports.Router.read`."""
        document = self._file.parsed(await self._file.read())
        written = view(document, self._route)
        running = await self._shown()
        problem = await self._problem(written, running, document.get("version_info", ""))
        leaks, lacks = self._strays(document)
        problem = problem or (lacks if written.percents()[0] else leaks) or self._lost_users(document, written)
        # What speaks against sticky users is for preflight; the percent is in force all the same.
        unfit = None if problem or written.mark.owner else await self._unfit(document)
        weights = ", ".join(f"{name} {weight}" for name, weight in written.splits[0].items())
        return RouteState(
            percent=max(written.percents()),
            in_force=None if problem else written.percents()[0],
            epoch=written.mark.epoch,
            owner=written.mark.owner,
            forced=bool(written.forced),
            healthy=await self._admin.healthy(),
            problem=problem or lacks or unfit,
            proof="" if problem else f'Envoy shows "{running[0][0]}": {weights}',
        )

    async def write(self, write: Write) -> None:
        """See `ports.Router.write`; takes up to about two seconds, until Envoy shows or refuses it.

        It finishes even if the caller is cancelled: stopping between the rename and Envoy's refusal would leave a file
        behind with which Envoy serves nothing after its next start.
        """
        await finished(self._write(write))

    async def in_flight(self, pool: Pool) -> int:
        """See `ports.Router.in_flight`; a pool that Envoy does not know serves none."""
        return await self._admin.in_flight(pool)

    async def _write(self, write: Write) -> None:
        async with self._file.alone():
            previous = await self._file.read()
            document = self._file.parsed(previous)
            mark = view(document, self._route).mark
            fence(self._route, mark.epoch, mark.owner, write)
            wanted = desired(document, self._route, write)
            aim, again = view(wanted, self._route), wanted == document
            before: int | None = None
            try:
                async with asyncio.timeout(None if write.percent else _HASTE_S):
                    if again and await self._shows(aim):
                        return
                    await self._admin.refuse_unknown(weights_of(write.percent, self._route), write)
                    before, _ = await self._refusals()
            except (*UNANSWERED, TimeoutError):
                if write.percent > 0:
                    raise  # the way back, though, is written blind: Envoy reads it as soon as it can
            # What is written but not shown was missed: Envoy notices renames, so the same file is renamed in again.
            fresh = previous if again else json.dumps(wanted, indent=2, ensure_ascii=False).encode() + b"\n"
            await self._file.replace(fresh)
            if before is not None and await self._is_refused(aim, before):
                if not again:
                    await self._file.replace(previous)
                left = "it was written before, and is left" if again else "the previous file is back"
                raise RouteRejected(
                    f"{self._route}: Envoy refused {self._file} with {percent_text(write.percent)}; {left}, "
                    f"and traffic never changed. The reason is in Envoy's log: config update rejected"
                )

    def _strays(self, document: Json) -> tuple[str | None, str | None]:
        """Why not even 0 % is true, and why nothing above 0 % could be; the first is always a reason for both."""
        found = sorted(strays(document["resources"][0], self._route), key=lambda stray: not stray.leaks)
        words = [f"{self._file.path.name}: {why(stray, self._route)}" for stray in found[:1]]
        return (words[0] if found and found[0].leaks else None), (words[0] if words else None)

    def _lost_users(self, document: Json, written: View) -> str | None:
        """Why users are not kept on their version although the last write kept them; None if they are."""
        mark = written.mark
        if not (self._route.sticky and mark.owner and mark.percent):
            return None
        last = Write(percent=mark.percent, epoch=mark.epoch, owner=mark.owner)
        try:
            wanted = view(desired(document, self._route, last), self._route)
        except Misconfigured as error:
            return str(error)
        if wanted.sticky == written.sticky:
            return None
        return f"{self._file.path.name} no longer keeps users on their version: its hash policy was changed"

    async def _unfit(self, document: Json) -> str | None:
        """Why this Envoy could not keep users on a version; None if it can, or if nobody asks for it."""
        if self._route.sticky is None:
            return None
        try:
            planned = desired(document, self._route, Write(percent=1, epoch=0, owner=""))
            problem = sticky_users.too_old(str((await self._admin.ask("/server_info")).get("version", "")))
            if problem or not any("gives" in each for each in view(planned, self._route).sticky):
                return problem
            kinds = ("static_listeners", "dynamic_listeners")
            listeners = [await self._admin.ask("/config_dump", resource=kind) for kind in kinds]
        except (Misconfigured, *UNANSWERED) as error:
            return str(error)  # not raised: the way back reads too, and must not depend on this
        return sticky_users.without_ids(listeners, document, self._route.service)

    async def _is_refused(self, wanted: View, before: int) -> bool:
        """Whether Envoy refuses what was written; no means that it shows it, or has said nothing in time."""
        deadline = (loop := asyncio.get_running_loop()).time() + _SETTLE_S
        while loop.time() < deadline:
            with suppress(*UNANSWERED):
                if await self._shows(wanted):
                    return False
                if (await self._refusals())[0] > before:
                    return True
            await asyncio.sleep(_POLL_S)
        return False

    async def _problem(self, written: View, running: list[tuple[str, View]], version: str) -> str | None:
        """Why the file is not in force, None if it is."""
        file = self._file.path.name
        others = [(there, seen) for there, seen in running if seen != written]
        if running and not others:
            odd = len(set(written.percents())) > 1 or not all(sum(split.values()) for split in written.splits)
            return f"the routes of {file} disagree or weigh nothing: {written}" if odd else None
        problem = f"Envoy has no route configuration {self._route.service}: no listener asks, or {file} is broken"
        for there, seen in others[:1]:
            more = " under another mark, header rule or hash policy" if str(seen) == str(written) else ""
            problem = f'Envoy shows version "{there}" with {seen}, {file} says {written}{more}'
        refused, accepted = await self._refusals()
        if refused and version not in accepted:
            problem += f"; it refused {refused} updates since it started, for reasons that are in its log"
        return problem

    async def _shows(self, wanted: View) -> bool:
        running = await self._shown()
        return bool(running) and all(seen == wanted for _, seen in running)

    async def _shown(self) -> list[tuple[str, View]]:
        dump = await self._admin.ask("/config_dump", resource="dynamic_route_configs")
        try:
            return shown(dump, self._route)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise RouterUnreachable(f"{self._route}: Envoy's config dump is not understood: {error}") from error

    async def _refusals(self) -> tuple[int, set[str]]:
        """How many route files Envoy has refused since it started, and the versions that it accepted last."""
        name = re.escape(self._route.service)
        asked = rf"\.rds\.{name}\.(update_rejected|update_failure|version_text)$"
        answer = await self._admin.ask("/stats", format="json", filter=asked)
        stats = [(each["name"], each["value"]) for each in answer.get("stats", []) if "name" in each]
        versions = {str(value) for name, value in stats if name.endswith(".version_text")}
        return sum(int(value) for name, value in stats if not name.endswith(".version_text")), versions
