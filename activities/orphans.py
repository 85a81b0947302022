"""Work that a killed worker leaves behind, taken back as soon as a worker is started again on the same machine.

The server learns of a killed worker by its silence, seconds later; in the last seconds of a bake, or in the middle of a
way back, that is long. Whoever is started again can know at once: every attempt that runs has its task token in a file,
and the files of a process that holds the lock of its folder no longer are orphans. Each is reported to the server as
failed, which hands it out again with its last heartbeat. Where nothing is kept (another machine), the silence tells.
So it does of those that were being called off: they are not handed out again, and only silence brings their heartbeat.
"""

import asyncio
import base64
import fcntl
import hashlib
import json
import logging
import os
import platform
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import IO, Any, NamedTuple, Self

from temporalio import activity
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.client import Client
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.service import RPCError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

log = logging.getLogger("sluice.orphans")

_LOCK, _FRESH = "lock", "."
_AT_ONCE = timedelta(milliseconds=1)
_MOST_AT_ONCE = 20


class Attempt(NamedTuple):
    """An attempt of an activity: its task token, and whose it is."""

    token: bytes
    workflow: str
    run: str
    activity: str

    def text(self) -> str:
        """As it is kept in a file."""
        return json.dumps([base64.b64encode(self.token).decode(), *self[1:]])

    @classmethod
    def of(cls, text: str) -> Self:
        """As it was kept.

        Raises:
            ValueError, TypeError: it was not, or only in part.
        """
        token, *whose = json.loads(text)
        return cls(base64.b64decode(token), *whose)


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
        try:
            self._lock = _locked(fresh)
        except OSError:  # a file system without locks
            shutil.rmtree(fresh, ignore_errors=True)
            raise
        self._own = fresh.rename(folder / name)

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002 - SDK name
        """Put the keeping around an activity."""
        return _Kept(next, self)

    @contextmanager
    def kept(self, attempt: Attempt) -> Iterator[None]:
        """Have an attempt in a file for as long as the body runs; a full disk keeps nobody from working."""
        file = self._own / hashlib.sha256(attempt.token).hexdigest()[:32]
        with suppress(OSError):
            file.write_text(attempt.text(), encoding="utf-8")
        try:
            yield
        finally:
            with suppress(OSError):
                file.unlink(missing_ok=True)

    async def take_back(self, client: Client) -> int:
        """Tell the server which attempts died with their worker; answers with how many there were."""
        taken = 0
        for dead in await asyncio.to_thread(self._others):
            try:
                lock = _locked(dead)
            except OSError:  # its process lives, as ours does
                continue
            with lock:
                attempts = _found(dead)
                seats = asyncio.Semaphore(_MOST_AT_ONCE)
                await asyncio.gather(*(_fail(client, attempt, seats) for attempt in attempts))
                shutil.rmtree(dead, ignore_errors=True)
            taken += len(attempts)
        if taken:
            log.warning("a worker was killed here; its attempts are begun anew attempts=%d", taken)
        return taken

    def _others(self) -> list[Path]:
        with suppress(OSError):
            return [each for each in self._folder.iterdir() if each.is_dir() and not each.name.startswith(_FRESH)]
        return []

    def close(self) -> None:
        """Leave nothing behind."""
        shutil.rmtree(self._own, ignore_errors=True)
        self._lock.close()


class _Kept(ActivityInboundInterceptor):
    def __init__(self, following: ActivityInboundInterceptor, orphans: Orphans) -> None:
        super().__init__(following)
        self._orphans = orphans

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002, ANN401 - SDK signature
        info = activity.info()
        attempt = Attempt(info.task_token, info.workflow_id or "", info.workflow_run_id or "", info.activity_id)
        with self._orphans.kept(attempt):
            return await super().execute_activity(input)


def folder(state: Path, client: Client, task_queue: str) -> Path:
    """Where workers of one machine, server, namespace and task queue keep what they run.

    The machine too: on a disk that several share, locks of the others may not be seen.
    """
    place = f"{platform.node()} {client.service_client.config.target_host} {client.namespace} {task_queue}"
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


def _found(dead: Path) -> list[Attempt]:
    """What a killed worker had in hand; what cannot be read is left to the silence."""
    found = []
    with suppress(OSError):
        for file in [each for each in dead.iterdir() if each.name != _LOCK]:
            with suppress(OSError, ValueError, TypeError):
                found.append(Attempt.of(file.read_text(encoding="utf-8")))
    return found


async def _fail(client: Client, attempt: Attempt, seats: asyncio.Semaphore) -> None:
    killed = ApplicationError(
        "its worker was killed",
        type="WorkerKilled",
        next_retry_delay=_AT_ONCE,
        category=ApplicationErrorCategory.BENIGN,
    )
    async with seats:
        with suppress(RPCError):  # over, or handed out again already
            described = await client.get_workflow_handle(attempt.workflow, run_id=attempt.run).describe()
            pending = {each.activity_id: each.state for each in described.raw_description.pending_activities}
            if pending.get(attempt.activity) == PendingActivityState.PENDING_ACTIVITY_STATE_STARTED:
                await client.get_async_activity_handle(task_token=attempt.token).fail(killed)
