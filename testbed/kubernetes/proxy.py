"""HAProxy as the data plane: it carries every byte, and a few lines of Lua choose by a table that is replaced at once.

Why Lua and not maps, slots or reloads: routes come and go with their headers, and a table replaced inside one running
process changes everything in one step without closing a connection. The table is a file, so that a proxy killed and
started again goes on with what it had.
"""

from __future__ import annotations

import asyncio
import os
import string
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from testbed.part import Part, answers
from testbed.parts import binary
from testbed.processes import LOOPBACK, free_ports

if TYPE_CHECKING:
    from collections.abc import Sequence

    from testbed.kubernetes.rules import Choice, Rule

LUA: Final = Path(__file__).with_name("plane.lua")
TIMEOUT_S: Final = 5.0
_PLAIN: Final = frozenset(string.ascii_letters + string.digits + " .,-_/:=")

CONFIGURATION: Final = """\
global
    # One thread: Lua has one state for all of them anyway.
    nbthread 1
    maxconn 4000
    lua-load {lua}
    stats socket ipv4@{host}:{admin_port} level admin
    stats timeout 1m

defaults
    mode http
    timeout connect 2s
    timeout client 75s
    timeout server 60s
    timeout http-keep-alive 75s
    # Connections to shops are not kept: a shop that restarts must not cost a request on an idle one.
    option http-server-close

frontend visitors
    bind {host}:{port}
    http-request lua.route
    http-request set-dst var(txn.host)
    http-request set-dst-port var(txn.port)
    default_backend shops

frontend ready
    bind {host}:{ready_port}
    http-request return status 200

backend shops
    server any 0.0.0.0:0
"""


class Proxy(Part):
    """The HAProxy.

    Attributes:
        url: Where visitors come in, with a slash at the end.
        table: The file with the rules.
    """

    def __init__(self, directory: Path, *, name: str = "plane") -> None:
        super().__init__(name, directory)
        self._port, self._admin_port, self._ready_port = free_ports(3)
        self.url = f"http://{LOOPBACK}:{self._port}/"
        self.table = self.directory / f"{name}-table.lua"
        self._serial = time.time_ns() // 1000  # rises over restarts
        self._shown = ""

    def prepare(self) -> None:
        """Write the configuration."""
        text = CONFIGURATION.format(
            lua=LUA, host=LOOPBACK, port=self._port, admin_port=self._admin_port, ready_port=self._ready_port
        )
        self._configuration.write_text(text, encoding="utf-8")

    @property
    def _configuration(self) -> Path:
        return self.directory / f"{self.name}.cfg"

    def command(self) -> list[str | Path]:
        """HAProxy's command line."""
        return [binary("haproxy"), "-db", "-f", self._configuration]

    def environment(self) -> dict[str, str | None]:
        """Where the table is."""
        return {"SLUICE_PLANE_TABLE": str(self.table)}

    def ready(self) -> bool:
        """Whether it answers."""
        return answers(f"http://{LOOPBACK}:{self._ready_port}/")

    async def show(self, rules: Sequence[Rule]) -> None:
        """Put rules in force; the proxy has them when this returns, or will read them when it starts.

        Raises:
            RuntimeError: The proxy did not take them.
        """
        body = f"rules={{{','.join(map(_rule, rules))}}}"
        if body == self._shown:
            return
        self._serial += 1
        draft = self.table.with_name(f".{self.table.name}.{os.getpid()}")
        draft.write_text(f"return {{serial={self._serial},{body}}}\n", encoding="utf-8")
        draft.replace(self.table)
        answer = await self._say("plane load")
        if answer not in ("", f"serial {self._serial}"):
            raise RuntimeError(f"{self.name} did not take the rules: {answer}")
        self._shown = body

    async def _say(self, command: str) -> str:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                reader, writer = await asyncio.open_connection(LOOPBACK, self._admin_port)
                try:
                    writer.write(f"{command}\n".encode())
                    return (await reader.read()).decode().strip()
                finally:
                    writer.close()
                    await writer.wait_closed()
        except OSError:  # TimeoutError is one
            return ""  # not running: it reads the table when it starts


def _rule(rule: Rule) -> str:
    conditions = ",".join(
        f"{{of={_text(each.of)},how={_text(each.how)},value={_text(each.value)},name={_text(each.name)}}}"
        for each in rule.conditions
    )
    choices = ",".join(map(_choice, rule.choices))
    return f"{{conditions={{{conditions}}},choices={{{choices}}},empty={rule.empty}}}"


def _choice(choice: Choice) -> str:
    if not choice.address:
        return f"{{weight={choice.weight},status={choice.status},why={_text(choice.why)}}}"
    host, _, port = choice.address.rpartition(":")
    return f"{{weight={choice.weight},host={_text(host)},port={int(port)}}}"


def _text(value: str) -> str:
    """A string as Lua writes it."""
    return '"' + "".join(chr(b) if chr(b) in _PLAIN else f"\\{b:03d}" for b in value.encode()) + '"'
