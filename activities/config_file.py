"""A configuration file that a router reads and several processes edit: one editor at a time, and no half-written state.

The lock is a file of its own beside the configuration: that one is replaced by rename, and a lock on it would be a lock
on a file that is gone. The file is never deleted and never written in place: routers notice renames only, and one that
starts without its file does not start.
"""

import asyncio
import fcntl
import json
import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from rollout.errors import Misconfigured, RouterUnreachable

_LOCK_S = 5.0
_POLL_S = 0.02


class ConfigFile:
    """One file, replaced as a whole."""

    def __init__(self, path: Path) -> None:
        """Take the path; the folder must be writable, the file must exist."""
        self.path = path

    def __str__(self) -> str:
        """The path."""
        return str(self.path)

    async def read(self) -> bytes:
        """What is in it.

        Raises:
            Misconfigured: there is no such file.
            RouterUnreachable: it cannot be read.
        """
        try:
            return await asyncio.to_thread(self.path.read_bytes)
        except FileNotFoundError as error:
            raise Misconfigured(f"{self} is missing; create it with all traffic on stable, then start again") from error
        except OSError as error:
            raise RouterUnreachable(f"{self} cannot be read: {error.strerror}") from error

    def parsed(self, content: bytes) -> dict[str, Any]:
        """Content as a JSON object.

        Raises:
            Misconfigured: it is none; says where.
        """
        try:
            found = json.loads(content)
        except ValueError as error:  # also bytes that are no UTF-8
            raise Misconfigured(f"{self} is not a JSON object: {error}") from error
        if not isinstance(found, dict):
            raise Misconfigured(f"{self} is not a JSON object but a {type(found).__name__}")
        return found

    async def replace(self, content: bytes) -> None:
        """Replace it by rename, keeping mode and owner; a reader sees the old or the new content, also after a crash.

        Raises:
            RouterUnreachable: it cannot be written; the old content is in place.
        """
        try:
            await asyncio.to_thread(self._replace, content)
        except OSError as error:
            raise RouterUnreachable(f"{self} cannot be replaced: {error.strerror}") from error

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Hold off every other process and task that edits the file.

        Raises:
            RouterUnreachable: another one held it for five seconds, or the folder is not writable.
        """
        deadline = asyncio.get_running_loop().time() + _LOCK_S
        try:
            lock = os.open(f"{self}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise RouterUnreachable(f"{self}.lock cannot be opened: {error.strerror}") from error
        try:
            while not _locked(lock):
                if asyncio.get_running_loop().time() > deadline:
                    raise RouterUnreachable(f"another process has been editing {self} for {_LOCK_S:g} s")
                await asyncio.sleep(_POLL_S)
            yield
        finally:
            os.close(lock)

    def _replace(self, content: bytes) -> None:
        old = self.path.stat()
        fresh = self.path.with_name(f".{self.path.name}.new")
        fresh.unlink(missing_ok=True)  # of an editor that died here, perhaps somebody else's
        try:
            with fresh.open("xb") as file:
                _keep_owner(file.fileno(), old)
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            fresh.rename(self.path)
        finally:
            fresh.unlink(missing_ok=True)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _locked(lock: int) -> bool:
    # Never blocks, so it needs no thread; and a thread that waits for a lock cannot be cancelled.
    with suppress(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def _keep_owner(file: int, old: os.stat_result) -> None:
    try:
        os.fchown(file, old.st_uid, old.st_gid)
    except PermissionError:
        # Only root gives files away. Harmless as long as the router may read a file that is now ours.
        if not old.st_mode & stat.S_IROTH:
            raise
    os.fchmod(file, stat.S_IMODE(old.st_mode))
