"""A flag file on disk: read whole, replaced by rename while nobody else edits it, never made and never deleted.

Evaluators go by the time of the last change, so that must move forward with every replacement: twice within one tick of
the clock, or after a file from the future, they would never read it again.
"""

import asyncio
import os
from typing import Any

from activities.config_file import ConfigFile
from activities.flags.flagd.document import parsed
from rollout.errors import Misconfigured, RouterUnreachable

Json = dict[str, Any]

_AGAIN_S, _TIMES = 0.1, 4  # an editor that writes in place is done by then
_STEP_NS = 10_000_000


class FlagFile(ConfigFile):
    """One flag file."""

    async def document(self) -> tuple[bytes, Json]:
        """Its content, as it is and parsed; looked at again for a moment if somebody seems to be writing it.

        Raises:
            Misconfigured: it is missing, empty, or no flag file.
            NotPermitted: this worker may not read it.
            RouterUnreachable: it cannot be read for another reason.
        """
        for left in reversed(range(_TIMES)):
            content = await self._content()
            try:
                return content, parsed(content, self)
            except Misconfigured:
                if not left:
                    raise
            await asyncio.sleep(_AGAIN_S)
        raise AssertionError  # pragma: no cover - the last look returns or raises

    async def unwritable(self) -> str | None:
        """Why it could not be replaced, as far as that can be seen without trying; None if it could."""
        folder = self.path.parent
        if await asyncio.to_thread(os.access, folder, os.W_OK | os.X_OK):
            return None
        return f"{self} cannot be replaced: this worker may not write in {folder}, or it is mounted read-only"

    async def exchange(self, before: bytes, after: bytes) -> None:
        """Replace its content if it is still what it was.

        Raises:
            RouterUnreachable: somebody else has changed it meanwhile, or it cannot be written; nothing was.
            NotPermitted: this worker may not write in the folder; nothing was written.
            Misconfigured: it is gone.
        """
        if await self._content() != before:
            raise RouterUnreachable(f"{self} was changed by somebody else while it was edited; nothing was written")
        old_ns = (await asyncio.to_thread(self.path.stat)).st_mtime_ns
        await self.replace(after)
        await asyncio.to_thread(self._forward, old_ns)

    async def _content(self) -> bytes:
        try:
            return await self.read()
        except Misconfigured as error:
            raise Misconfigured(
                f"{self} is missing: applications keep what they read last, or use the defaults in their code. Put it "
                f"back, and restart a flagd that watches it; it is not made anew here"
            ) from error

    def _forward(self, old_ns: int) -> None:
        now = self.path.stat()
        if now.st_mtime_ns < old_ns + _STEP_NS:
            os.utime(self.path, ns=(now.st_atime_ns, old_ns + _STEP_NS))
