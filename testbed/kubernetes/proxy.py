"""HAProxy as the data plane: it carries every byte, and a few lines of Lua choose by a table (`lua_table`)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from testbed.lua_table import LuaTable, lua
from testbed.part import Part, answers
from testbed.parts import binary
from testbed.processes import LOOPBACK, free_ports

if TYPE_CHECKING:
    from collections.abc import Sequence

    from testbed.kubernetes.rules import Choice, Rule

LUA: Final = Path(__file__).with_name("plane.lua")

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
        self._rules = LuaTable(self.table, self._admin_port)

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
        await self._rules.put(f"rules={{{','.join(map(_rule, rules))}}}")


def _rule(rule: Rule) -> str:
    conditions = ",".join(
        f"{{of={lua(each.of)},how={lua(each.how)},value={lua(each.value)},name={lua(each.name)}}}"
        for each in rule.conditions
    )
    choices = ",".join(map(_choice, rule.choices))
    return f"{{conditions={{{conditions}}},choices={{{choices}}},empty={rule.empty}}}"


def _choice(choice: Choice) -> str:
    if not choice.address:
        return f"{{weight={choice.weight},status={choice.status},why={lua(choice.why)}}}"
    host, _, port = choice.address.rpartition(":")
    return f"{{weight={choice.weight},host={lua(host)},port={int(port)}}}"
