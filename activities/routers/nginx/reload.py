"""nginx by reloads: a generated include is written on every host, tested, reloaded, and watched until it is in force.

Two modes: `split-clients` draws by a number, `upstream-weights` changes the weights of one upstream. Every reload makes
nginx close idle keep-alive connections, and a client that just sends on one loses that request: few steps, or mode
`shared-dict`, which reloads nothing.

Several hosts are one router. A raise is all or nothing: where one refuses, all get the old include back. The way back
goes to every host that can be reached, and then says which could not.
"""

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from contextlib import AsyncExitStack, suppress
from typing import TypeVar

from activities.fence import fence
from activities.finishing import finished
from activities.ports import Pool, RouteState, Write
from activities.routers.nginx.connection import NginxConnection, NginxHost, variable
from activities.routers.nginx.host import Host, Look
from activities.routers.nginx.include import Mark, Shown, View, desired, strange_draw, strange_visit, view
from activities.routers.nginx.machine import Machine, SshMachine, ThisMachine
from activities.routers.nginx.text import upstreams, uses
from activities.shared import Shared
from rollout.base import percent_text
from rollout.errors import Misconfigured, RouteRejected, RouterUnreachable, SluiceError
from rollout.routes import NginxRoute

T = TypeVar("T")

_POLL_S = 0.05
_HASTE_S = 0.3  # the most that looking first may cost the way back


class NginxRouter:
    """One service of one nginx, or of several that are moved together."""

    def __init__(self, route: NginxRoute, connection: NginxConnection, shared: Shared) -> None:
        """Take the route, the nginx that have it, and what keeps SSH connections.

        Raises:
            Misconfigured: two hosts of one machine, which would share one include; or an admin server with TLS.
        """
        if secure := [host.state for host in connection.hosts if host.state.startswith("https")]:
            raise Misconfigured(f"{route}: {secure[0]} must be http, on loopback; another machine is asked over SSH")
        local = [host.name for host in connection.hosts if host.ssh is None]
        if len(local) > 1:
            raise Misconfigured(f"{route}: {' and '.join(local)} share this machine's {connection.folder}; give `ssh`")
        self._route, self._connection = route, connection
        self._pools: dict[Pool, str] = {"candidate": route.candidate_pool, "stable": route.stable_pool}
        self._hosts = [
            Host(host, connection, route.service, _machine(host, connection, shared)) for host in connection.hosts
        ]

    async def read(self) -> RouteState:
        """See `ports.Router.read`; the epoch is the lowest, so that what was written half is written again."""
        seen = await _all(self._seen(host) for host in self._hosts)
        views = [each for each, _, _ in seen]
        problem = next((problem for _, _, problem in seen if problem), None)
        if len({each.percent for each in views}) > 1 or len({each.mark.epoch for each in views}) > 1:
            found = [f"{host.name} {percent_text(each.percent)}" for host, each in zip(self._hosts, views, strict=True)]
            problem = f"the hosts disagree: {', '.join(found)}"
        pools = dict(zip(self._pools, await _all(map(self._healthy, self._pools)), strict=True))
        marks = [mark for each, running, _ in seen for mark in (each.mark, running)]
        epoch, percent = min(mark.epoch for mark in marks), max(each.percent for each in views)
        names = ", ".join(host.name for host in self._hosts)
        owner = next((each.mark.owner for each in views if each.mark.owner), None)
        # Said without an owner only: it stops a start, and no way back has to wait for it.
        unled = await self._unled() if problem is None and owner is None else None
        return RouteState(
            percent=percent,
            in_force=None if problem else percent,
            epoch=epoch,
            owner=owner,
            forced=any(each.forced for each in views),
            healthy={pool: count for pool, count in pools.items() if count is not None},
            problem=problem or unled,
            proof="" if problem else f"nginx shows epoch {epoch} with {percent_text(percent)}, no old worker: {names}",
        )

    async def write(self, write: Write) -> None:
        """See `ports.Router.write`; returns when nginx has taken or refused it, usually after half a second.

        It finishes even if the caller is cancelled: hosts must not be left behind with different includes.
        """
        await finished(self._back(write) if write.percent == 0 else self._move(write))

    async def in_flight(self, pool: Pool) -> int:  # noqa: ARG002 - nginx does not count by pool
        """Old workers that still finish requests, of whatever pool: all that nginx itself can tell."""
        return sum(await _all(host.leaving() for host in self._hosts))

    async def _move(self, write: Write) -> None:
        async with AsyncExitStack() as locks:
            for host in self._hosts:  # always in this order, so that no two writers wait for each other
                await locks.enter_async_context(host.alone())
            looks = await _all(host.look() for host in self._hosts)
            views = [view(look.text, self._route) for look in looks]
            for each in views:
                fence(self._route, each.mark.epoch, each.mark.owner, write)
            wanted = [desired(look.text, self._route, write) for look in looks]
            running = await _all(host.shown() for host in self._hosts)
            marks = [view(text, self._route).mark for text in wanted]
            if wanted == [look.text for look in looks] and marks == [each.mark for each in running]:
                return
            for host, dump in zip(self._hosts, await _all(h.configuration() for h in self._hosts), strict=True):
                self._refuse_unknown(host, upstreams(dump), write)
                if words := self._unused(host, dump):
                    raise Misconfigured(f"{self._route}: {words}; nothing was written")
            await self._put_all(wanted, looks, [mark == each.mark for mark, each in zip(marks, running, strict=True)])
            await self._reload_all(wanted, running)

    async def _put_all(self, wanted: list[str], looks: list[Look], read: list[bool]) -> None:
        puts = [
            host.put(text, over=look.text, keep=False) if text != look.text else _nothing()
            for host, text, look in zip(self._hosts, wanted, looks, strict=True)
        ]
        ends = await asyncio.gather(*puts, return_exceptions=True)
        if failed := _failed(ends):
            await self._undo(wanted, failed, read)

    async def _reload_all(self, wanted: list[str], running: list[Shown]) -> None:
        ways = zip(self._hosts, wanted, running, strict=True)
        ends = await asyncio.gather(*(self._reload(*each) for each in ways), return_exceptions=True)
        if failed := _failed(ends):
            await self._undo(wanted, failed, [True] * len(wanted))

    async def _undo(self, wanted: list[str], failed: SluiceError, read: list[bool]) -> None:
        """Give every host that has a new include the old one back, and say why.

        Args:
            wanted: the new includes.
            failed: why.
            read: whether nginx may have read it, for each host.

        Raises:
            SluiceError: always: the failure, and which hosts could not be given the old include back.
        """
        ways = zip(self._hosts, wanted, read, strict=True)
        undone = (host.undo(text, reload=has_read) for host, text, has_read in ways)
        ends = await asyncio.gather(*undone, return_exceptions=True)
        left = "; ".join(str(end) for end in ends if isinstance(end, SluiceError))
        what = f"the old include could not be put back on {left}" if left else "the old include is back on every host"
        raise type(failed)(f"{self._route}: {failed}; {what}") from failed

    async def _reload(self, host: Host, wanted: str, running: Shown) -> None:
        """Reload and wait until nginx shows it, and only it.

        Raises:
            RouteRejected: it does not take it.
            RouterUnreachable: it does not answer any more.
        """
        look = await host.look()
        offset, master = await host.reload(wanted), look.master(running.pid)
        if not await self._taken(host, view(wanted, self._route).mark, offset, master):
            log = self._connection.error_log or "its error log"
            raise RouteRejected(
                f"{host.name}: nginx still has the configuration before, {self._connection.timeout_s:g} s after its "
                f"reload; see {log}"
            )

    async def _taken(self, host: Host, mark: Mark, offset: int, master: int | None) -> bool:
        """Whether nginx shows a mark in time; waits for old workers to leave as well, but does not insist.

        Raises:
            RouteRejected: it has logged why it does not.
            RouterUnreachable: it does not answer any more.
        """
        deadline = (loop := asyncio.get_running_loop()).time() + self._connection.timeout_s
        while True:
            late = loop.time() >= deadline
            try:
                seen = await host.shown()
            except RouterUnreachable:
                if late:
                    raise
            else:
                if seen.mark == mark:
                    if late or (await host.look()).old(seen.pid) is None:
                        return True
                elif words := await host.complaint(offset, master):
                    raise RouteRejected(f"{host.name}: nginx did not take its new configuration: {words}")
                elif late:
                    return False
            await asyncio.sleep(_POLL_S)

    async def _back(self, write: Write) -> None:
        ends = await asyncio.gather(*(self._back_on(host, write) for host in self._hosts), return_exceptions=True)
        failed = _failed(ends)
        if failed is None:
            return
        done = [host.name for host, end in zip(self._hosts, ends, strict=True) if not isinstance(end, SluiceError)]
        back = f"; {', '.join(done)} took it" if done else ""
        problems = "; ".join(str(end) for end in ends if isinstance(end, SluiceError))
        raise type(failed)(f"{self._route}: {percent_text(0)} did not reach {problems}{back}") from failed

    async def _back_on(self, host: Host, write: Write) -> None:
        """Bring one host back, whatever it runs and whether it runs: what is written is read at the next start."""
        async with host.alone():
            look = await host.look()
            with suppress(Misconfigured):  # an include that is broken has no mark to be respected
                mark = view(look.text, self._route).mark
                fence(self._route, mark.epoch, mark.owner, write)
            wanted = self._way_back(look, write)
            mark = view(wanted, self._route).mark
            running = None
            with suppress(SluiceError, TimeoutError):
                async with asyncio.timeout(_HASTE_S):
                    running = await host.shown()
            if wanted != look.text:
                known = await host.put(wanted, over=look.text, keep=True)
                if self._route.stable_pool not in known:
                    await host.undo(wanted, reload=False)
                    self._refuse_unknown(host, known, write)
            elif running and running.mark == mark:
                return
            try:
                offset = await host.reload(wanted)
                await self._taken(host, mark, offset, look.master(running.pid) if running else None)
            except (RouterUnreachable, RouteRejected):
                if running:
                    raise  # otherwise nginx is away, and reads the include when it comes back

    def _unused(self, host: Host, dump: str) -> str | None:
        """Why the split would move nobody; None if visitors are led by it."""
        name = f"sluice_{variable(self._route.service)}_pool"
        weighed = self._route.service if self._route.mode == "upstream-weights" else None
        if uses(dump, name, weighed):
            return None
        return (
            f"nginx on {host.name} sends no visitor where Sluice says: write `proxy_pass http://${name};` in a location"
        )

    async def _unled(self) -> str | None:
        """The same of any host, for the check before the start; None also if a configuration cannot be read."""
        with suppress(SluiceError):
            dumps = await _all(host.configuration() for host in self._hosts)
            return next(filter(None, map(self._unused, self._hosts, dumps)), None)
        return None

    def _way_back(self, look: Look, write: Write) -> str:
        """The include of a way back: made of the last one that nginx took where somebody has broken what is there."""
        try:
            return desired(look.text, self._route, write)
        except Misconfigured:
            if look.good is None:
                raise
            return desired(look.good, self._route, write)

    async def _seen(self, host: Host) -> tuple[View, Mark, str | None]:
        """What is written on a host, what runs there, and why the one is not the other."""
        running = await host.shown()  # first: only a look that comes later shows who was to leave for it
        look = await host.look()
        written = view(look.text, self._route)
        file = f"{self._route.service}.conf"
        problem = written.by_hand
        if problem is None and running.mark != written.mark:
            shows = f"epoch {running.epoch} with {percent_text(running.percent)}"
            problem = (
                f"nginx shows {shows}, {file} says epoch {written.mark.epoch} with {percent_text(written.percent)}"
            )
        problem = problem or look.old(running.pid) or strange_draw(running, self._route)
        if problem is None:
            try:
                problem = strange_visit(await host.visited(), running.percent, self._route)
            except RouterUnreachable as error:
                problem = f"a visitor gets no answer: {error}"
        return written, running.mark, f"{host.name}: {problem}" if problem else None

    async def _healthy(self, pool: Pool) -> int | None:
        """1 if a pool answers through every nginx; None if one does not know it."""
        found = await _all(host.healthy(pool, self._pools[pool]) for host in self._hosts)
        known = [each for each in found if each is not None]
        return min(known) if len(known) == len(found) else None

    def _refuse_unknown(self, host: Host, known: set[str], write: Write) -> None:
        # nginx itself takes a pool that it does not know, and answers its share with 502.
        needed: dict[Pool, bool] = {"candidate": write.percent > 0, "stable": write.percent < 100}
        for pool, name in self._pools.items():
            leaving = write.release or write.percent == 0  # then a pool without a share may be gone already
            if name not in known and (needed[pool] or not leaving):
                msg = (
                    f"{self._route}: nginx on {host.name} knows no upstream {name} for the {pool}; nothing was written"
                )
                raise Misconfigured(msg)


def _machine(host: NginxHost, connection: NginxConnection, shared: Shared) -> Machine:
    if host.ssh is None:
        return ThisMachine()
    ssh = host.ssh
    return shared.once(
        ("nginx-ssh", ssh, connection.ssh_key, connection.known_hosts), lambda: SshMachine(ssh, connection)
    )


async def _all(asked: Iterable[Awaitable[T]]) -> list[T]:
    """Every answer; a failure is raised when all have ended, so that nothing goes on behind the caller's back."""
    ends = await asyncio.gather(*asked, return_exceptions=True)
    if failed := _failed(ends):
        raise failed
    return [end for end in ends if not isinstance(end, BaseException)]


async def _nothing() -> None:
    """Where there is nothing to put."""


def _failed(ends: Sequence[object]) -> SluiceError | None:
    """The failure to report, one that no retry helps before others; what is no failure of ours is raised."""
    for end in ends:
        if isinstance(end, BaseException) and not isinstance(end, SluiceError):
            raise end
    errors = [end for end in ends if isinstance(end, SluiceError)]
    return min(errors, key=lambda error: isinstance(error, RouterUnreachable), default=None)
