"""Work that a killed worker leaves behind, taken back as soon as a worker is started again on the same machine.

The server learns of a killed worker by its silence, seconds later; in the last seconds of a bake, or in the middle of a
way back, that is long. Whoever is started again can know at once: every attempt that runs has its task token in a file,
and the files of a process that holds the lock of its folder no longer are orphans. Each is reported to the server as
failed, which hands it out again with its last heartbeat. Where nothing is kept (another machine), the silence tells.
"""

import asyncio
import fcntl
import hashlib
import logging
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.service import RPCError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

log = logging.getLogger("sluice.orphans")

_LOCK, _FRESH = "lock", "."
_AT_ONCE = timedelta(milliseconds=1)
_MOST_AT_ONCE = 20


class Orphans(Interceptor):
    """Keeps the tokens of what this process runs, in a folder that is gone after a clean end."""

    def __init__(self, folder: Path) -> None:
        """Make a folder of one's own and lock it.

        Args:
            folder: of all workers of this machine that work for the same server, namespace and task queue.

        Raises:
            OSError: it cannot be made or locked.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        name = f"{os.getpid()}-{secrets.token_hex(4)}"
        fresh = folder / f"{_FRESH}{name}"  # nobody takes it for a dead one's before it is locked
        fresh.mkdir(mode=0o700)
        self._lock = _locked(fresh)
        self._own = fresh.rename(folder / name)

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002 - SDK name
        """Put the keeping around an activity."""
        return _Kept(next, self)

    @contextmanager
    def kept(self, token: bytes) -> Iterator[None]:
        """Have a token in a file for as long as the body runs; a full disk keeps nobody from working."""
        file = self._own / hashlib.sha256(token).hexdigest()[:32]
        with suppress(OSError):
            file.write_bytes(token)
        try:
            yield
        finally:
            with suppress(OSError):
                file.unlink(missing_ok=True)

    async def take_back(self, client: Client) -> int:
        """Tell the server which attempts died with their worker; answers with how many there were."""
        taken = 0
        for dead in [each for each in self._folder.iterdir() if not each.name.startswith(_FRESH)]:
            try:
                lock = _locked(dead)
            except OSError:  # its process lives, as ours does
                continue
            with lock:
                tokens = [file.read_bytes() for file in dead.iterdir() if file.name != _LOCK]
                seats = asyncio.Semaphore(_MOST_AT_ONCE)
                await asyncio.gather(*(_fail(client, token, seats) for token in tokens))
                shutil.rmtree(dead, ignore_errors=True)
            taken += len(tokens)
        if taken:
            log.warning("a worker was killed here; its attempts are begun anew attempts=%d", taken)
        return taken

    def close(self) -> None:
        """Leave nothing behind."""
        shutil.rmtree(self._own, ignore_errors=True)
        self._lock.close()


class _Kept(ActivityInboundInterceptor):
    def __init__(self, following: ActivityInboundInterceptor, orphans: Orphans) -> None:
        super().__init__(following)
        self._orphans = orphans

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002, ANN401 - SDK signature
        with self._orphans.kept(activity.info().task_token):
            return await super().execute_activity(input)


def folder(state: Path, client: Client, task_queue: str) -> Path:
    """Where workers of one server, namespace and task queue keep what they run."""
    place = f"{client.service_client.config.target_host} {client.namespace} {task_queue}"
    return state / hashlib.sha256(place.encode()).hexdigest()[:16]


def _locked(own: Path) -> IO[bytes]:
    """The lock of a process's folder; the system gives it up when the process ends, however it does.

    Raises:
        OSError: another process has it.
    """
    lock = (own / _LOCK).open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise
    return lock


async def _fail(client: Client, token: bytes, seats: asyncio.Semaphore) -> None:
    killed = ApplicationError(
        "its worker was killed",
        type="WorkerKilled",
        next_retry_delay=_AT_ONCE,
        category=ApplicationErrorCategory.BENIGN,
    )
    async with seats:
        with suppress(RPCError):  # over, or handed out again already
            await client.get_async_activity_handle(task_token=token).fail(killed)
