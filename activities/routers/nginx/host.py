"""One nginx on its machine: its include put in place and tested, its reload watched, what it shows.

Two things count as proof that a configuration is in force, and neither alone does: a worker that says so on a
connection of its own, and that no worker accepts any more that ran before the last reload. After a reload the old ones
go on accepting for 0.1 to 0.5 s. Each reload therefore leaves their process ids beside the include, for every reader.

The exit code of `nginx -s reload` proves nothing: with a port taken by somebody else it is 0, the old configuration
stays, and only the error log says why.
"""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import NamedTuple, TypeVar

from activities.ports import Pool
from activities.routers.nginx.connection import NginxConnection, NginxHost, variable
from activities.routers.nginx.include import Shown, shown
from activities.routers.nginx.machine import Done, Machine, page
from activities.routers.nginx.scripts import LOG, LOOK, MISSING, OVERTAKEN, PLACES, PUT, RELOAD, UNDO, UNWRITABLE
from activities.routers.nginx.text import upstreams
from rollout.errors import Misconfigured, NotPermitted, RouteRejected, RouterUnreachable, SluiceError

T = TypeVar("T")

_UNSEEN_S = 2  # where processes cannot be seen: age of a reload, whole seconds, after which old workers are gone
_POOL_S = 2.0  # a pool that has not said by then that it is ready is not
_VISITS = 4
_COMMAND_S = 4  # a command may take so many times the timeout of a request: it tests a whole configuration

_WORKER = re.compile(r"\s*(\d+)\s+(\d+)\s+(\d+)\s+nginx: worker process(.*)")
# pid, name, state, …, and as the 22nd field when it started
_STARTED = re.compile(r"(\d+) \(.*\) \S (?:\S+ ){18}(\d+) .*")
# Ticks are hundredths of a second. The workers of one reload start together, those of the next at least 0.1 s later,
# because the master waits so long before it lets the old ones go.
_TOGETHER_TICKS = 5
_DENIED = re.compile(
    r"permission denied|not permitted|password is required|not allowed to|not in the sudoers", re.IGNORECASE
)
_EMERG = re.compile(r"\[emerg\] (\d+)#\d+: (.*)")


class Worker(NamedTuple):
    """A process of nginx: its id, its master's, its age in seconds, and whether it only finishes what it has."""

    pid: int
    master: int
    age_s: int
    leaving: bool


class Look(NamedTuple):
    """What is on a host.

    Attributes:
        text: the include.
        workers: of every nginx on the machine, none if they cannot be seen.
        before: processes that ran before the last reload of ours.
        reloaded_s: how long that is ago, seconds; None if there was none.
        started: process → when it started, in ticks; what cannot be seen is missing.
        good: the last include of ours that nginx has taken, None if there is none.
    """

    text: str
    workers: tuple[Worker, ...]
    before: frozenset[int]
    reloaded_s: int | None
    started: dict[int, int]
    good: str | None = None

    def master(self, pid: int) -> int | None:
        """The master of a worker, None if it cannot be seen."""
        return next((each.master for each in self.workers if each.pid == pid), None)

    def old(self, pid: int) -> str | None:
        """Why workers of the configuration before may still accept requests; None if it is proven that none does.

        Args:
            pid: of a worker that has shown the configuration in question.
        """
        if self.reloaded_s is None:
            return None
        if (master := self.master(pid)) is None:
            young = self.reloaded_s < _UNSEEN_S
            return "nginx's processes cannot be seen, and its reload is too fresh to be believed" if young else None
        accept = [each for each in self.workers if each.master == master and not each.leaving]
        # A process younger than the reload has only been given the number of one that is gone.
        old = [each.pid for each in accept if each.pid in self.before and each.age_s + 2 >= self.reloaded_s]
        if self.reloaded_s < _UNSEEN_S and pid in self.started:
            # Of a reload by somebody else, a moment before ours: it came too late to be noted.
            born = self.started[pid] - _TOGETHER_TICKS
            old += [each.pid for each in accept if self.started.get(each.pid, born) < born and each.pid not in old]
        return f"old workers still accept requests: process {', '.join(map(str, old))}" if old else None


def look_of(printed: bytes) -> Look:
    """What the script printed, understood.

    Raises:
        ValueError: it is something else.
    """
    text, before, processes, stats, good = printed.split(b"\0")
    lines = before.decode(errors="replace").splitlines()
    ages = [int(line.split()[1]) for line in lines if line.startswith("age ")]
    found = [_WORKER.fullmatch(line) for line in processes.decode(errors="replace").splitlines()]
    return Look(
        text=text.decode(),
        workers=tuple(
            Worker(int(each[1]), int(each[2]), int(each[3]), leaving="shutting down" in each[4])
            for each in found
            if each
        ),
        before=frozenset(int(line.split()[0]) for line in lines if not line.startswith("age ")),
        reloaded_s=ages[0] if ages else None,
        started={int(pid): int(ticks) for pid, ticks in _STARTED.findall(stats.decode(errors="replace"))},
        good=good.decode(errors="replace") or None,
    )


class Host:
    """One nginx, for one service."""

    def __init__(self, host: NginxHost, connection: NginxConnection, service: str, machine: Machine) -> None:
        """Take where it is and how it is reached."""
        self.name = host.name
        self._connection, self._machine, self._visitors = connection, machine, host.visitors.get(service)
        self._file = str(connection.folder / f"{service}.conf")
        self._patience_s = min(connection.timeout_s, _POOL_S)
        self._admin = f"{host.state.rstrip('/')}/sluice/{variable(service)}"

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Hold off every other editor of the include on this host.

        Raises:
            RouterUnreachable: another one held it for five seconds, or the host is not there.
        """
        async with AsyncExitStack() as held:
            await self._named(held.enter_async_context(self._machine.alone(self._file)))
            yield

    async def shown(self) -> Shown:
        """What the running nginx says about itself.

        Raises:
            RouterUnreachable: it does not answer.
            Misconfigured: it answers something else.
        """
        url = f"{self._admin}/state"
        answer = await self._named(page(self._machine, url, self._connection.timeout_s))
        try:
            if answer.status == 200:
                return shown(answer.body)
        except ValueError:
            pass
        if answer.status >= 500:
            raise RouterUnreachable(f"{self.name}: {url} answers {answer.status}")
        raise Misconfigured(f"{self.name}: {url} does not tell the state; add deploy/nginx/checkout.locations for it")

    async def look(self) -> Look:
        """The include, and the processes.

        Raises:
            RouterUnreachable: the host is not there.
            Misconfigured: there is no include.
            NotPermitted: it may not be read.
        """
        done = await self._run(LOOK, self._file)
        if done.code:
            raise self._problem(done, "read")
        try:
            return look_of(done.out)
        except (ValueError, IndexError) as error:
            raise Misconfigured(f"{self.name}: {self._file} is not a text that can be read: {error}") from error

    async def healthy(self, pool: Pool, name: str) -> int | None:
        """1 if a pool answers through this nginx, 0 if it does not, None if nginx knows no such upstream.

        Never fails: whether traffic is back must be seen although a pool hangs or the configuration is broken.
        """
        with suppress(RouterUnreachable):
            answer = await page(self._machine, f"{self._admin}/{pool}{self._connection.ready}", self._patience_s)
            if answer.fields.get("x-sluice-pool") == name and 200 <= answer.status < 300:
                return 1
        with suppress(SluiceError):
            return 0 if name in await self.upstreams() else None
        return 0

    async def upstreams(self) -> set[str]:
        """Upstreams of the configuration that is written now; nginx itself takes a pool that does not exist.

        Raises:
            RouteRejected: the configuration is not in order; nothing was written.
        """
        return upstreams(await self.configuration())

    async def configuration(self) -> str:
        """The whole configuration that is written now.

        Raises:
            RouteRejected: it is not in order.
        """
        done = await self._run(f'{PLACES}shift\n"$@" -T', self._file, *self._connection.nginx)
        if done.code:
            raise self._problem(done, "tested as it is")
        return done.out.decode(errors="replace")

    async def visited(self) -> tuple[str | None, ...]:
        """Where a few visitors were led, each on a connection of its own; None each that was not told. None if unset.

        Raises:
            RouterUnreachable: no answer in time.
        """
        if self._visitors is None:
            return ()
        asked = (page(self._machine, self._visitors, self._patience_s) for _ in range(_VISITS))
        answers = await self._named(asyncio.gather(*asked))
        return tuple(answer.fields.get("x-sluice-pool") for answer in answers)

    async def put(self, text: str, *, over: str, keep: bool) -> set[str]:
        """Put an include in place and let nginx test it; a refused one is taken back.

        Args:
            text: the include.
            over: the include that was seen; if another one is there by then, nothing is written.
            keep: leave it there although nginx refuses the configuration.

        Returns:
            The upstreams of the configuration as it is then.

        Raises:
            RouteRejected: nginx refuses the configuration; says why.
            RouterUnreachable: the host is not there, or somebody else has changed the include.
            NotPermitted: the folder may not be written, or nginx may not be run.
        """
        content = text.encode()
        words = (_digest(over), "keep" if keep else "", str(len(content)), *self._connection.nginx)
        done = await self._run(PUT, self._file, *words, content=content)
        if done.code:
            raise self._problem(done, "put in place")
        return upstreams(done.out.decode(errors="replace"))

    async def undo(self, text: str, *, reload: bool) -> None:
        """Put back what this include has replaced, if it is there.

        Args:
            text: the include to be replaced.
            reload: whether nginx may have read it.
        """
        done = await self._run(UNDO, self._file, "-", _digest(text))
        if done.code:
            raise self._problem(done, "taken back")
        if done.out and reload:
            await self.reload(None, back=True)

    async def reload(self, text: str | None, *, back: bool = False) -> int:
        """Ask for a reload, after noting who accepts requests now.

        Args:
            text: the include that nginx shall read; if another one is there by then, nothing is done. None: any.
            back: to the configuration that ran before the last reload.

        Returns:
            Where the error log ended before, bytes.

        Raises:
            RouteRejected: nginx could not be asked, or refused at once.
        """
        log = self._connection.error_log
        words = (_digest(text) if text else "-", str(log or ""), "back" if back else "", *self._connection.nginx)
        done = await self._run(RELOAD, self._file, *words)
        if done.code:
            raise self._problem(done, "reloaded")
        return int(done.out.split()[0]) if done.out.split() else 0

    async def complaint(self, offset: int, master: int | None) -> str | None:
        """What the master has logged as an emergency since then; None if nothing, or if the log cannot be read."""
        if self._connection.error_log is None:
            return None
        done = await self._run(LOG, str(self._connection.error_log), str(offset))
        found = _EMERG.findall(done.out.decode(errors="replace"))
        return next((words for pid, words in found if master in {None, int(pid)}), None)

    async def leaving(self) -> int:
        """Workers that only finish what they have: each serves at least one request, or keeps a connection open.

        Raises:
            RouterUnreachable: nginx does not answer.
        """
        seen, look = await asyncio.gather(self.shown(), self.look())
        master = look.master(seen.pid)
        return sum(each.leaving and each.master == master for each in look.workers)

    async def _run(self, script: str, *words: str, content: bytes = b"") -> Done:
        within_s = _COMMAND_S * self._connection.timeout_s
        return await self._named(self._machine.run(script, *words, content=content, within_s=within_s))

    async def _named(self, asked: Awaitable[T]) -> T:
        """The same, and where it failed."""
        try:
            return await asked
        except SluiceError as error:
            raise type(error)(f"{self.name}: {error}") from error

    def _problem(self, done: Done, what: str) -> SluiceError:
        """Why a script did not end well, in the words of what it ran."""
        complaints = [line for line in done.err.splitlines() if "[warn]" not in line and "[notice]" not in line]
        words = "; ".join(complaints[:3]) or f"exit code {done.code}"
        if done.code == MISSING:
            return Misconfigured(f"{self.name}: {self._file} is missing; put the seed of deploy/nginx there")
        if "not found" in words and f"{self._connection.nginx[0]}" in words:
            return Misconfigured(f"{self.name} has no command {self._connection.nginx[0]}: {words}")
        if _DENIED.search(words) and "bind()" not in words:
            return NotPermitted(f"{self.name}: {self._file} could not be {what}: {words}; allow the worker's user that")
        if "flock: not found" in words or "sha256sum: not found" in words:
            return Misconfigured(f"{self.name} needs `flock` and `sha256sum`: {words}")
        if done.code in {UNWRITABLE, OVERTAKEN}:
            return RouterUnreachable(f"{self.name}: {self._file} could not be {what}: {words}")
        return RouteRejected(f"{self.name}: {self._file} could not be {what}: {words}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
