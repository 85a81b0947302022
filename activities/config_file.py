"""A configuration file that a router reads and several processes edit: one editor at a time, and no half-written state.

The lock is a file of its own beside the configuration: that one is replaced by rename, and a lock on it would be a lock
on a file that is gone. The file is never deleted and never written in place: routers notice renames only, and one that
starts without its file does not start.
"""

import asyncio
import errno
import fcntl
import json
import os
import stat
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from rollout.errors import Misconfigured, NotPermitted, RouterUnreachable

_LOCK_S = 5.0
_POLL_S = 0.02
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


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
            NotPermitted: this worker may not read it.
            RouterUnreachable: it cannot be read for another reason.
        """
        try:
            return await asyncio.to_thread(self.path.read_bytes)
        except FileNotFoundError as error:
            raise Misconfigured(f"{self} is missing; create it with all traffic on stable, then start again") from error
        except OSError as error:
            raise unusable(f"{self} cannot be read", error) from error

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
            NotPermitted: this worker may not write in the folder; the old content is in place.
            RouterUnreachable: it cannot be written for another reason; the old content is in place.
        """
        try:
            await asyncio.to_thread(self._replace, content)
        except OSError as error:
            raise unusable(f"{self} cannot be replaced", error) from error

    def alone(self) -> AbstractAsyncContextManager[None]:
        """Hold off every other process and task that edits the file; see the function of this name."""
        return alone(self.path)

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


@asynccontextmanager
async def alone(path: Path) -> AsyncIterator[None]:
    """Hold off every other process and task that edits a path: a file, or whatever else is replaced as a whole.

    Raises:
        NotPermitted: this worker may not write in the folder.
        RouterUnreachable: another one held it for five seconds, or there is no such folder.
    """
    deadline = asyncio.get_running_loop().time() + _LOCK_S
    try:
        lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise unusable(f"{path}.lock cannot be opened", error) from error
    try:
        while not _locked(lock):
            if asyncio.get_running_loop().time() > deadline:
                raise RouterUnreachable(f"another process has been editing {path} for {_LOCK_S:g} s")
            await asyncio.sleep(_POLL_S)
        yield
    finally:
        os.close(lock)


def unusable(what: str, error: OSError) -> NotPermitted | RouterUnreachable:
    """The error to raise when the system refuses a path: trying again helps only if it is no matter of permission.

    Args:
        what: what failed, with the path; the system's own words are added.
        error: what the system said.
    """
    said = f"{what}: {error.strerror}"
    if error.errno in _FORBIDDEN:
        return NotPermitted(f"{said}; let this worker read and write there (owner, mode or a read-only mount)")
    return RouterUnreachable(said)


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
