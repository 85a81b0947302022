"""HAProxy: a share of draws in a map, or weights of servers, moved over the runtime socket without a reload.

Both live twice: in HAProxy's memory, which the socket changes at once and a restart forgets, and in files, which only a
start reads. A raise is prepared first (a new version of the map that nobody sees yet), then written into the files, and
only then made valid; whatever fails is undone. The way back takes whatever it can reach, memory first: a folder that
cannot be written does not keep users on the candidate, and an HAProxy that is away finds its files at 0 %.

Read-back compares memory and files, key by key and server by server. That the frontend really looks at the map is
haproxy.cfg's business (`deploy/haproxy/haproxy.cfg` is an example): the socket shows no configuration.
"""

import asyncio
from collections.abc import Iterable
from contextlib import AsyncExitStack, suppress

from activities.config_file import ConfigFile
from activities.fence import fence
from activities.finishing import finished
from activities.ports import Pool, RouteState, Write
from activities.routers.haproxy import map_file
from activities.routers.haproxy.connection import HaproxyConnection
from activities.routers.haproxy.map_file import Entries, Mark
from activities.routers.haproxy.memory import Memory, Seen, is_gone
from activities.routers.haproxy.servers import Move, Pools, Row, Server, pools, servers, strangers
from activities.routers.haproxy.socket import HaproxySocket
from activities.routers.haproxy.state_file import remembered, state_file
from activities.routers.haproxy.weights import chosen, finest, weighed
from rollout.errors import Misconfigured, RouteRejected, RouterUnreachable, SluiceError
from rollout.routes import HaproxyRoute

_HASTE_S = 0.3  # the most that looking first may cost the way back


class HaproxyRouter:
    """One service of one HAProxy."""

    def __init__(self, route: HaproxyRoute, connection: HaproxyConnection) -> None:
        """Take the route and the HAProxy that has it."""
        self._route = route
        self._file = ConfigFile(connection.folder / f"{route.service}.map")
        self._state = ConfigFile(connection.folder / f"{route.service}.state")
        self._pools: dict[Pool, str] = {"candidate": route.candidate_pool, "stable": route.stable_pool}
        self._by_weights = route.mode == "server-weights"
        socket = HaproxySocket(connection.socket, connection.timeout_s, str(route))
        backends = [route.service] if self._by_weights else self._pools.values()
        self._memory = Memory(socket, self._file.path, backends, route)
        self._hard_stop_after = connection.hard_stop_after

    async def read(self) -> RouteState:
        """See `ports.Router.read`."""
        written = map_file.parsed(await self._file.read(), self._route)
        mark = map_file.mark(written, self._route)
        seen = await self._memory.look()
        if seen.entries is None:
            raise self._memory.unknown_map()
        problem = map_file.difference(seen.entries, written, self._file.path.name)
        percent, told = mark.percent or 0.0, f"weight {written.get('weight', '0')} of {map_file.WHOLE}"
        coarse = 100 / map_file.WHOLE
        if self._by_weights:
            coarse = finest(self._members(seen))
            restarted = remembered((await self._state.read()).decode(errors="replace"))
            percent, told, off = weighed(self._members(seen), mark, restarted, self._route)
            problem = problem or self._strange(seen) or off
        # What the spec asks and haproxy.cfg does not do is for preflight; the percent is in force all the same.
        unfit = None if problem or mark.owner else map_file.unfit(written, self._route)
        return RouteState(
            percent=percent,
            in_force=None if problem else percent,
            epoch=mark.epoch,
            owner=mark.owner,
            forced=mark.forced,
            healthy=self._healthy(seen, mark),
            finest=coarse,
            problem=problem or unfit,
            proof="" if problem else f"HAProxy shows epoch {mark.epoch}: {told}",
        )

    async def write(self, write: Write) -> None:
        """See `ports.Router.write`; a raise after a rollback takes until the candidate's next health check.

        It finishes even if the caller is cancelled: stopping in the middle would leave memory and files apart.

        Raises:
            Misconfigured: a name, the percent or a line of haproxy.cfg does not fit; nothing was written.
            NotPermitted: the socket has too low a level.
            NotReady: no candidate server passes a health check after its maintenance.
        """
        await finished(self._raise_to(write) if write.percent > 0 else self._bring_back(write))

    async def in_flight(self, pool: Pool) -> int:
        """See `ports.Router.in_flight`; waiting requests count, a pool that HAProxy does not know serves none.

        Raises:
            RouterUnreachable: it does not answer, or a process that it replaced may still serve requests.
        """
        if self._by_weights:
            rows = await self._memory.sessions(self._route.service)
            every = self._servers((await self._memory.look()).rows[self._route.service] or ())
            mine = {each.name for each in pools(every, self._route)[pool]}
            found = sum(int(row["scur"]) + int(row["qcur"]) for row in rows if row["svname"] in mine)
        else:
            rows = await self._memory.sessions(self._pools[pool])
            found = sum(int(row["scur"]) for row in rows if row["svname"] == "BACKEND")  # those in its queue are in it
        await self._memory.refuse_young(self._hard_stop_after)  # last: a reload in between is seen, too
        return found

    async def _raise_to(self, write: Write) -> None:
        async with self._file.alone():
            previous = await self._file.read()
            written = map_file.parsed(previous, self._route)
            seen = await self._memory.look()
            self._fence(written, seen, write)
            wanted = map_file.desired(written, self._route, write, pins=seen.pins)
            self._refuse_unfit(written, seen, write)
            move = self._move(seen, write, wanted)
            state = await self._state.read() if self._by_weights else b""
            if self._is_there(seen, written, wanted, state, move):
                return
            self._memory.refuse_low_level(seen)
            version = await self._memory.prepare(wanted)
            try:
                await self._memory.do(move.wake())
                if move.asleep:
                    await self._memory.awake(move.backend, move.asleep)
                if self._by_weights:
                    await self._keep_state(seen, move)
                await self._file.replace(map_file.rendered(previous, wanted, self._route))
                await self._memory.do(move.commands())
                await self._memory.commit(version)
                await self._verify(wanted, write)
            except BaseException as error:  # also a worker that ends
                await self._memory.drop(version)
                await self._undo(previous, state, written, move)
                if isinstance(error, Misconfigured):
                    raise RouteRejected(f"{error}; what was there before is back") from error
                raise

    async def _undo(self, previous: bytes, state: bytes, written: Entries, move: Move) -> None:
        """Put everything back that can be reached; what cannot is noticed by `read`."""

        async def memory() -> None:
            await self._memory.do(move.undo())
            if (await self._memory.look()).entries != written:
                await self._memory.commit(await self._memory.prepare(written))

        async def files() -> None:
            for file, content in ((self._state, state), (self._file, previous)):
                if (file is self._file or self._by_weights) and await file.read() != content:
                    await file.replace(content)

        for step in (files, memory):
            with suppress(SluiceError):
                await step()

    async def _bring_back(self, write: Write) -> None:
        """Stable gets everything, in memory and in the files; each as far as it can be reached."""
        problems: list[SluiceError] = []
        async with AsyncExitStack() as stack:
            previous, written, state = await self._found(stack, problems)
            seen = await self._glimpse()
            self._fence(written, seen, write)
            found = written or (seen and seen.entries) or {}
            wanted = map_file.desired(found, self._route, write, pins=seen.pins if seen else self._by_weights)
            with suppress(SluiceError):  # servers that make no sense are told by the steps
                move = self._move(seen, write, wanted) if seen else None
                if seen and move and not problems and self._is_there(seen, written, wanted, state, move):
                    return

            async def files() -> None:
                # First the weights: with an old mark they are noticed, with a new mark old ones could be believed.
                if self._by_weights:
                    await self._keep_state(seen, self._move(seen, write, wanted) if seen else None)
                if previous is not None:
                    await self._file.replace(map_file.rendered(previous, wanted, self._route))

            async def memory() -> None:
                now = seen or await self._memory.look()
                move = self._move(now, write, wanted)
                await self._memory.do([*move.commands(), *move.wake()])  # who is woken may be seen by header alone
                await self._memory.commit(await self._memory.prepare(wanted))
                await self._verify(wanted, write)

            for step in (memory, files) if seen else (files, memory):
                try:
                    await step()
                except SluiceError as error:
                    if step is files or not is_gone(error):  # who is away reads the files at the next start
                        problems.append(error)
        if problems:
            words = "; ".join(dict.fromkeys(map(str, problems)))
            raise type(problems[0])(f"{words}; whatever else could be reached is at 0 %") from problems[0]

    async def _found(self, stack: AsyncExitStack, problems: list[SluiceError]) -> tuple[bytes | None, Entries, bytes]:
        """The map file (None if it cannot be read), what is in it, and the state file; locked until the stack ends.

        Raises:
            RouterUnreachable: somebody else is writing and does not end; two at once could leave anything.
        """
        previous, written, state = None, Entries(), b""
        try:
            await stack.enter_async_context(self._file.alone())
        except SluiceError as error:
            if error.__cause__ is None:
                raise
            problems.append(error)  # no lock can be made in this folder, by nobody
        try:
            previous = await self._file.read()
            written = map_file.parsed(previous, self._route)
            state = await self._state.read() if self._by_weights else b""
        except SluiceError as error:
            problems.append(error)
        return previous, written, state

    async def _glimpse(self) -> Seen | None:
        with suppress(SluiceError, TimeoutError):
            async with asyncio.timeout(_HASTE_S):
                return await self._memory.look()
        return None

    def _is_there(self, seen: Seen, written: Entries, wanted: Entries, state: bytes, move: Move) -> bool:
        """Whether memory and files are what a write asks for."""
        known = {each.name: each for each in remembered(state.decode(errors="replace"))}
        return (
            seen.entries == written == wanted
            and move.is_done
            and all(name in known and known[name].weight == weight for name, weight in move.wanted.items())
            and all(known[each.name].parked == move.park for each in move.members["candidate"])
        )

    async def _verify(self, wanted: Entries, write: Write) -> None:
        """Read back.

        Raises:
            Misconfigured: HAProxy said yes and shows something else.
        """
        seen = await self._memory.look()
        problem = map_file.difference(seen.entries or {}, wanted, "what was written")
        if not problem and not self._move(seen, write, wanted).is_done:
            problem = "HAProxy shows other weights than it was given"
        if problem:
            raise Misconfigured(f"{self._route}: {problem}: somebody else writes, too, or haproxy.cfg uses two maps")

    async def _keep_state(self, seen: Seen | None, move: Move | None) -> None:
        """Write the weights that a restart brings back; blind, the old file without the candidate's servers."""
        text = (await self._state.read()).decode(errors="replace")
        found = pools(remembered(text), self._route)
        try:
            if seen is not None and move is not None:
                text = state_file(seen.texts[self._route.service], move.wanted, move.parked)
            elif found["stable"]:
                parked = [each.name for each in found["candidate"]]
                text = state_file(text, chosen(found, 0, self._route), parked)
            else:
                return  # never written by us: a restart brings back haproxy.cfg's own weights
        except ValueError as error:
            raise Misconfigured(f"{self._route}: {self._state} cannot be written anew: {error}") from error
        await self._state.replace(text.encode())

    def _members(self, seen: Seen) -> Pools:
        every = self._servers(seen.rows[self._route.service] or ())
        return pools((each for each in every if not each.backup), self._route)

    def _servers(self, rows: Iterable[Row]) -> list[Server]:
        try:
            return servers(rows)
        except (KeyError, ValueError) as error:
            raise RouterUnreachable(f"{self._route}: HAProxy's servers are not understood: {error!r}") from error

    def _strange(self, seen: Seen) -> str | None:
        """Why the servers of the backend are no two pools; None if they are."""
        every = self._servers(seen.rows[self._route.service] or ())
        names = f"{self._pools['candidate']} or {self._pools['stable']}"
        if found := strangers(every, self._route):
            return f"server {found[0]} has traffic, too, and its name begins with neither {names}"
        spare = [each.name for each in pools(every, self._route)["candidate"] if each.backup]
        what = "has all traffic as soon as stable is down, and none before: take the word `backup` from it"
        return f"server {spare[0]} of the candidate {what}" if spare else None

    def _move(self, seen: Seen, write: Write, wanted: Entries) -> Move:
        if not self._by_weights:
            return Move()
        members = self._members(seen)
        park = write.percent == 0 and map_file.FORCE_CANDIDATE not in wanted
        weights = chosen(members, write.percent, self._route)
        return Move(backend=self._route.service, members=members, wanted=weights, park=park)

    def _healthy(self, seen: Seen, mark: Mark) -> dict[Pool, int]:
        """Servers able to take traffic; those that we left in maintenance are, until a check says otherwise."""
        if not self._by_weights:
            found = {pool: seen.rows[name] for pool, name in self._pools.items()}
            return {
                pool: sum(each.up and not each.away and each.weight > 0 for each in self._servers(rows))
                for pool, rows in found.items()
                if rows is not None
            }
        return {
            pool: sum((each.up and not each.away) or (each.parked and mark.leads_nobody) for each in members)
            for pool, members in self._members(seen).items()
            if members
        }

    def _fence(self, written: Entries, seen: Seen | None, write: Write) -> None:
        for found in (written, (seen.entries if seen else None) or {}):
            fence(self._route, *map_file.fence(found), write)

    def _refuse_unfit(self, written: Entries, seen: Seen, write: Write) -> None:
        # HAProxy itself takes a share for a backend that its configuration never uses.
        if seen.entries is None:
            raise self._memory.unknown_map()
        if not write.release and (problem := map_file.unfit(written, self._route)):
            raise Misconfigured(f"{self._route}: {problem}; nothing was written")
        members: dict[Pool, int] = self._healthy(seen, Mark())
        for pool, name in self._pools.items():
            idle = write.percent == 100 and pool == "stable"
            if pool not in members and not (write.release and idle):
                what = f"server whose name begins with {name}" if self._by_weights else f"backend {name}"
                raise Misconfigured(f"{self._route}: HAProxy knows no {what} for the {pool}; nothing was written")
        if self._by_weights and (problem := self._strange(seen)):
            raise Misconfigured(f"{self._route}: {problem}; nothing was written")
