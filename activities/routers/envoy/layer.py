"""The folder of one Envoy runtime layer: a symlink that is swapped, so that all its values change at once.

Envoy watches for the symlink's rename and then reads every layer anew, file by file and through the symlinks. A swap of
another service in that moment is read half: measured on 1.40, candidate 0 of one version met stable 0 of the next, and
three of 60 000 requests had nowhere to go. So one swap at a time in the whole folder, until Envoy has read it.

A layer holds nothing but the values of its service: whatever else lies in it is gone after the next write.
"""

import asyncio
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from activities.config_file import alone, unusable
from rollout.errors import Misconfigured

_KEPT = 3  # versions besides the one in use: for Envoy, which may be reading, and for whoever wants to see what was


class RuntimeLayer:
    """The values of one service, replaced as a whole."""

    def __init__(self, folder: Path, service: str) -> None:
        """Take the folder of all layers, which must be writable, and the service, which has a symlink in it."""
        self._folder, self._service = folder, service
        self._link = folder / service
        self._version = re.compile(rf"\.{re.escape(service)}\.[a-z0-9_]{{8}}")  # as mkdtemp names them

    def __str__(self) -> str:
        """The path of the symlink."""
        return str(self._link)

    def alone(self) -> AbstractAsyncContextManager[None]:
        """Hold off everybody else who edits the service's values; errors as of `config_file.alone`."""
        return alone(self._folder / f".{self._service}")

    def swapping(self) -> AbstractAsyncContextManager[None]:
        """Hold off every other swap in the folder; no service's name begins with an underscore."""
        return alone(self._folder / "._swap")

    async def read(self) -> dict[str, str]:
        """Key → value; nothing if nothing was ever written.

        Raises:
            Misconfigured: a folder is where the symlink must be.
            NotPermitted: this worker may not read it.
            RouterUnreachable: it cannot be read for another reason.
        """
        try:
            return await asyncio.to_thread(self._read)
        except OSError as error:
            raise unusable(f"{self} cannot be read", error) from error

    async def replace(self, values: Mapping[str, str]) -> None:
        """Replace all values at once; a reader of the symlink sees the old or the new version, also after a crash.

        Raises:
            NotPermitted: this worker may not write in the folder; the old values are in place.
            RouterUnreachable: it cannot be written for another reason; the old values are in place.
        """
        try:
            await asyncio.to_thread(self._replace, values)
        except OSError as error:
            raise unusable(f"{self} cannot be replaced", error) from error

    def _read(self) -> dict[str, str]:
        for _ in range(3):  # a version may be cleaned away while it is read
            try:
                if not self._link.is_symlink():
                    self._link.lstat()
                    raise Misconfigured(f"{self} is no symlink: move it away, Sluice makes the symlink by itself")
                files = [path for path in (self._folder / self._link.readlink()).iterdir() if path.is_file()]
                return {path.name: path.read_text("utf-8", "replace").strip() for path in files}
            except FileNotFoundError:
                continue
        return {}

    def _replace(self, values: Mapping[str, str]) -> None:
        version = Path(tempfile.mkdtemp(prefix=f".{self._service}.", dir=self._folder))
        try:
            for name, value in values.items():
                with (version / name).open("x", encoding="utf-8") as file:
                    os.fchmod(file.fileno(), 0o644)  # Envoy is somebody else, and drops a layer that it cannot read
                    file.write(value)
                    file.flush()
                    os.fsync(file.fileno())
            version.chmod(0o755)
            _sync(version)
            fresh = self._folder / f".{self._service}.link"
            fresh.unlink(missing_ok=True)  # of an editor that died here
            fresh.symlink_to(version.name)  # relative: the folder may be mounted elsewhere for Envoy
            fresh.rename(self._link)
        except BaseException:
            shutil.rmtree(version, ignore_errors=True)
            raise
        _sync(self._folder)
        self._clean(version)

    def _clean(self, current: Path) -> None:
        versions = [path for path in self._folder.iterdir() if self._version.fullmatch(path.name) and path != current]
        for old in sorted(versions, key=lambda path: path.lstat().st_mtime_ns)[:-_KEPT]:
            shutil.rmtree(old, ignore_errors=True)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
