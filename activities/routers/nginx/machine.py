"""Machines on which an nginx runs: the worker's own, or another one over SSH; commands, files, locks, addresses.

Everything is a script for `sh`, so that both are asked alike, and so that what must not stop half-way (put a file in
place, test it, put the old one back) is one command: it finishes although the worker dies or the connection breaks.
Paths may be relative; then the folder is that of the worker, or the SSH user's home.
"""

import asyncio
import os
import shlex
import signal
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

import asyncssh

from activities.config_file import ConfigFile
from activities.finishing import not_left_behind
from activities.routers.nginx.connection import NginxConnection
from activities.routers.nginx.scripts import LOCK_S
from rollout.errors import Misconfigured, NotPermitted, RouterUnreachable

_KILLED_S = 1
_LOOPBACK = ("127.", "localhost", "::1")
_PAGE_BYTES = 1_000_000
# asyncio kills its child when the loop ends. That is this shell; what it runs goes on, and ends by itself.
_DETACHED = 'exec 3<&0; script=$1; shift; sh -c "$script" sluice "$@" <&3 3<&- & wait $!'
_HOLD = f'flock -w {LOCK_S} "$1" sh -c "echo held; cat >/dev/null"'


class Done(NamedTuple):
    """How a script ended: its exit code, what it printed, and what it complained."""

    code: int
    out: bytes
    err: str


class Page(NamedTuple):
    """An HTTP answer; names of header fields in lower case."""

    status: int
    fields: dict[str, str]
    body: bytes


class Reads(Protocol):
    """The reading half of a connection."""

    async def read(self, n: int = -1, /) -> bytes:
        """At most n bytes, nothing at the end."""
        ...


class Writes(Protocol):
    """The writing half of a connection."""

    def write(self, data: bytes, /) -> None:
        """Send."""
        ...

    def close(self) -> None:
        """Close."""
        ...


class Machine(Protocol):
    """Where scripts run."""

    async def run(self, script: str, *words: str, content: bytes = b"", within_s: float) -> Done:
        """Run a script for `sh`.

        Args:
            script: finds the words as `$1`, `$2`, ….
            words: its arguments.
            content: its standard input.
            within_s: how long it may take, seconds.

        Raises:
            RouterUnreachable: the machine is not there, or it took longer.
            NotPermitted: the machine lets nobody in with this key.
            Misconfigured: the machine's host key is not known.
        """
        ...

    def alone(self, file: str) -> AbstractAsyncContextManager[None]:
        """Hold off every other editor of a file, on that machine.

        Raises:
            RouterUnreachable: another one held it for five seconds.
        """
        ...

    async def reach(self, host: str, port: int) -> tuple[Reads, Writes]:
        """A connection to an address, as seen from that machine if it is loopback.

        Raises:
            OSError: nobody accepts.
            RouterUnreachable: the machine is not there.
        """
        ...


async def page(machine: Machine, url: str, within_s: float) -> Page:
    """Ask by a connection of its own: an old worker would go on answering on one that is kept open.

    Args:
        machine: where a loopback address is meant.
        url: `http://` only.
        within_s: how long it may take, seconds.

    Raises:
        RouterUnreachable: no complete answer in time.
    """
    where = urlsplit(url)
    target = (where.path or "/") + (f"?{where.query}" if where.query else "")
    request = f"GET {target} HTTP/1.0\r\nHost: {where.netloc}\r\nConnection: close\r\n\r\n"
    try:
        async with asyncio.timeout(within_s):
            reader, writer = await machine.reach(where.hostname or "", where.port or 80)
            try:
                writer.write(request.encode())
                answer = b""
                while chunk := await reader.read(65_536):
                    answer += chunk
                    if len(answer) > _PAGE_BYTES:
                        raise ValueError("an endless answer")
            finally:
                writer.close()
        return _page(answer)
    except (OSError, TimeoutError, ValueError, IndexError, asyncssh.Error) as error:
        raise RouterUnreachable(f"no answer from nginx at {url}: {error!r}") from error


class ThisMachine:
    """The worker's own machine."""

    async def run(self, script: str, *words: str, content: bytes = b"", within_s: float) -> Done:
        """See `Machine.run`; a caller that is cancelled leaves the script to itself, which then ends as it would."""
        pipe = asyncio.subprocess.PIPE
        arguments = ("-c", _DETACHED, "sluice", script, *words)
        process = await asyncio.create_subprocess_exec(
            "sh", *arguments, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
        )
        ending = asyncio.ensure_future(process.communicate(content))
        not_left_behind(ending)
        try:
            async with asyncio.timeout(within_s):
                out, err = await asyncio.shield(ending)
        except TimeoutError as error:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            await asyncio.wait({ending}, timeout=_KILLED_S)  # what runs as another user may stay, with its pipes
            raise RouterUnreachable(f"a command on this machine took longer than {within_s:g} s") from error
        return Done(process.returncode or 0, out, err.decode(errors="replace").strip())

    def alone(self, file: str) -> AbstractAsyncContextManager[None]:
        """See `Machine.alone`; the lock is the one that other adapters take as well."""
        return ConfigFile(Path(file)).alone()

    async def reach(self, host: str, port: int) -> tuple[Reads, Writes]:
        """See `Machine.reach`."""
        return await asyncio.open_connection(host, port)


class SshMachine:
    """A machine over SSH; one connection, opened when it is first needed and again after it broke."""

    def __init__(self, ssh: str, connection: NginxConnection) -> None:
        """Take `user@host` or `user@host:port`, and where keys are."""
        self._name = ssh
        self._user, _, place = ssh.partition("@")
        parts = urlsplit(f"//{place}")
        self._host, self._port = parts.hostname or place, parts.port or 22
        self._keys = [str(connection.ssh_key)] if connection.ssh_key else ()
        # Never None: that would believe any host key.
        self._known = str(connection.known_hosts) if connection.known_hosts else ()
        self._timeout_s = connection.timeout_s
        self._opening = asyncio.Lock()
        self._open: asyncssh.SSHClientConnection | None = None

    async def run(self, script: str, *words: str, content: bytes = b"", within_s: float) -> Done:
        """See `Machine.run`."""
        command = shlex.join(["sh", "-c", script, "sluice", *words])
        ssh, process = await self._connected(), None
        try:
            async with asyncio.timeout(within_s):
                process = await ssh.create_process(command, input=content, encoding=None)
                done = await process.wait()
        except (asyncssh.Error, OSError, TimeoutError) as error:
            await self._doubt(ssh)
            raise RouterUnreachable(f"{self._name} did not finish a command: {error!r}") from error
        finally:
            if process is not None:
                process.close()  # only this command: others go on over the same connection
        out, err = _bytes(done.stdout), _bytes(done.stderr)
        if done.exit_status is None:
            raise RouterUnreachable(f"{self._name} broke off a command, signal {done.exit_signal}")
        return Done(done.exit_status, out, err.decode(errors="replace").strip())

    @asynccontextmanager
    async def alone(self, file: str) -> AsyncIterator[None]:
        """See `Machine.alone`; the lock falls with the connection."""
        ssh, holder = await self._connected(), None
        command = shlex.join(["sh", "-c", _HOLD, "sluice", f"{file}.lock"])
        try:
            async with asyncio.timeout(LOCK_S + self._timeout_s):
                holder = await ssh.create_process(command, encoding=None)
                held = (await holder.stdout.readline()).strip() == b"held"
                complaint = "" if held else _bytes(await holder.stderr.read()).decode(errors="replace").strip()
        except (asyncssh.Error, OSError, TimeoutError) as error:
            if holder is not None:
                holder.close()
            await self._doubt(ssh)
            raise RouterUnreachable(f"{self._name} gave no lock on {file}: {error!r}") from error
        try:
            if not held:
                self._no_lock(file, complaint)
            yield
        finally:
            holder.stdin.write_eof()
            with suppress(asyncssh.Error, OSError, TimeoutError):
                async with asyncio.timeout(self._timeout_s):
                    await holder.wait()
            holder.close()

    async def reach(self, host: str, port: int) -> tuple[Reads, Writes]:
        """See `Machine.reach`."""
        if not host.startswith(_LOOPBACK):
            return await asyncio.open_connection(host, port)
        return await (await self._connected()).open_connection(host, port, encoding=None)

    async def aclose(self) -> None:
        """Close the connection."""
        if self._open is not None:
            self._open.close()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._timeout_s):
                    await self._open.wait_closed()
            self._open = None

    async def _connected(self) -> asyncssh.SSHClientConnection:
        async with self._opening:
            if self._open is not None and not self._open.is_closed():
                return self._open
            try:
                async with asyncio.timeout(self._timeout_s):
                    self._open = await asyncssh.connect(
                        self._host,
                        self._port,
                        username=self._user,
                        client_keys=self._keys,
                        known_hosts=self._known,
                        config=(),
                        preferred_auth="publickey",
                        keepalive_interval=5,
                    )
            except asyncssh.HostKeyNotVerifiable as error:
                msg = f"the host key of {self._name} is not known: compare it, then add it to `known_hosts`"
                raise Misconfigured(msg) from error
            except asyncssh.PermissionDenied as error:
                msg = f"{self._name} accepts no key of this worker: add its public key to authorized_keys there"
                raise NotPermitted(msg) from error
            except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
                raise Misconfigured(f"the key for {self._name} cannot be used: {error}") from error
            except (asyncssh.Error, OSError, TimeoutError) as error:
                raise RouterUnreachable(f"{self._name} cannot be reached by SSH: {error!r}") from error
            return self._open

    async def _doubt(self, ssh: asyncssh.SSHClientConnection) -> None:
        """Abort a connection that does not answer any more; one whose command was only slow has others under way."""
        with suppress(asyncssh.Error, OSError, TimeoutError):
            async with asyncio.timeout(self._timeout_s):
                await ssh.run(":")
                return
        ssh.abort()
        if self._open is ssh:
            self._open = None

    def _no_lock(self, file: str, complaint: str) -> None:
        if "not found" in complaint:
            raise Misconfigured(f"{self._name} has no `flock`, with which editors of {file} hold each other off")
        if "denied" in complaint:
            raise NotPermitted(f"{self._name} may not write the folder of {file}: {complaint}")
        reason = complaint or f"another process has been editing it for {LOCK_S} s"
        raise RouterUnreachable(f"{file} on {self._name} cannot be locked: {reason}")


def _page(answer: bytes) -> Page:
    head, gap, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if not gap or len(body) < int(fields.get("content-length", "0")):
        raise ValueError("the answer breaks off")
    return Page(int(first.split(" ", 2)[1]), fields, body)


def _bytes(printed: object) -> bytes:
    return bytes(printed) if isinstance(printed, bytes | bytearray | memoryview) else str(printed or "").encode()
