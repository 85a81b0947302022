"""A Lua table that a running HAProxy reads anew when it is told: both data planes of the test bed choose by one.

Why Lua and not maps, slots or reloads: rules come and go with their headers, and a table replaced inside one running
process changes everything in one step without closing a connection. The table is a file, so that a proxy killed and
started again goes on with what it had.
"""

from __future__ import annotations

import asyncio
import os
import string
import time
from typing import TYPE_CHECKING, Final

from testbed.processes import LOOPBACK

if TYPE_CHECKING:
    from pathlib import Path

TIMEOUT_S: Final = 5.0
_PLAIN: Final = frozenset(string.ascii_letters + string.digits + " ^$().*-_/%:+=?[]")


def lua(value: object) -> str:
    """A value as Lua writes it.

    Raises:
        TypeError: it is of a kind that the table does not have.
    """
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case str():
            return '"' + "".join(chr(b) if chr(b) in _PLAIN else f"\\{b:03d}" for b in value.encode()) + '"'
        case dict():
            return "{" + ",".join(f"[{lua(key)}]={lua(item)}" for key, item in value.items()) + "}"
        case list() | tuple():
            return "{" + ",".join(lua(item) for item in value) + "}"
    raise TypeError(f"no Lua for {value!r}")


class LuaTable:
    """The table of one HAProxy.

    Attributes:
        serial: of what was put last; rises over restarts of this process too.
    """

    def __init__(self, file: Path, admin_port: int) -> None:
        """Put nothing yet.

        Args:
            file: what HAProxy reads.
            admin_port: of its admin socket.
        """
        self._file, self._admin_port = file, admin_port
        self.serial = time.time_ns() // 1000
        self._shown = ""

    @property
    def shown(self) -> bool:
        """Whether anything was put."""
        return bool(self._shown)

    async def put(self, body: str) -> None:
        """Put fields in force; HAProxy has them when this returns, or will read them when it starts.

        Args:
            body: the table's fields, as Lua writes them.

        Raises:
            RuntimeError: HAProxy did not take them.
        """
        if body == self._shown:
            return
        self.serial += 1
        draft = self._file.with_name(f".{self._file.name}.{os.getpid()}")
        draft.write_text(f"return {{serial={self.serial},{body}}}\n", encoding="utf-8")
        draft.replace(self._file)
        answer = await self.say("plane load")
        if answer and answer != [f"serial {self.serial}"]:
            raise RuntimeError(f"HAProxy did not take the rules: {answer}")
        self._shown = body

    async def say(self, command: str) -> list[str]:
        """Lines of the answer to a command; none if HAProxy does not run: it reads the table when it starts."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                reader, writer = await asyncio.open_connection(LOOPBACK, self._admin_port)
                try:
                    writer.write(f"{command}\n".encode())
                    return (await reader.read()).decode().strip().splitlines()
                finally:
                    writer.close()
                    await writer.wait_closed()
        except OSError:  # TimeoutError is one
            return []
