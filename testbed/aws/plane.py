"""The data plane: HAProxy, whose rules are a Lua table that the gate replaces over the admin socket (`lua_table`).

HAProxy carries every byte; Lua only chooses.

Assumed as AWS does it: a group is drawn by weight for every request, a sticky client keeps its group whatever the
weight is as long as the rule names that group, a group without targets answers 503, and nothing fails over.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Final

from testbed.aws.account import groups_of
from testbed.lua_table import LuaTable, lua
from testbed.part import Part, answers
from testbed.parts import binary
from testbed.processes import LOOPBACK, free_ports

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from testbed.aws.wire import Params

LUA: Final = Path(__file__).with_name("plane.lua")
_MAGIC: Final = frozenset("^$()%.[]*+-?")
_CONFIGS: Final = {
    "http-header": "HttpHeaderConfig",
    "path-pattern": "PathPatternConfig",
    "host-header": "HostHeaderConfig",
    "http-request-method": "HttpRequestMethodConfig",
    "query-string": "QueryStringConfig",
}

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
    # Connections to targets are not kept: a target that restarts must not cost a request on an idle one.
    option http-server-close

frontend visitors
    bind {host}:{port}
    http-request lua.route
    http-request set-dst ipv4({host})
    http-request set-dst-port var(txn.port)
    http-response lua.answered
    default_backend targets

frontend ready
    bind {host}:{ready_port}
    http-request return status 200

backend targets
    server any 0.0.0.0:0
"""


class Haproxy(Part):
    """The HAProxy of the simulated load balancer.

    Attributes:
        url: Where visitors come in, with a slash at the end.
        admin_port: Of the admin socket.
        table: The file with the rules; written by the gate.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__("load-balancer", directory)
        self._port, self.admin_port, self._ready_port = free_ports(3)
        self.url = f"http://{LOOPBACK}:{self._port}/"
        self.table = self.directory / "plane-table.lua"

    def prepare(self) -> None:
        """Write the configuration."""
        text = CONFIGURATION.format(
            lua=LUA, host=LOOPBACK, port=self._port, admin_port=self.admin_port, ready_port=self._ready_port
        )
        (self.directory / "load-balancer.cfg").write_text(text, encoding="utf-8")

    def command(self) -> list[str | Path]:
        """HAProxy's command line."""
        return [binary("haproxy"), "-db", "-f", self.directory / "load-balancer.cfg"]

    def environment(self) -> Mapping[str, str | None]:
        """Where the table is."""
        return {"SLUICE_PLANE_TABLE": str(self.table)}

    def ready(self) -> bool:
        """Whether it answers."""
        return answers(f"http://{LOOPBACK}:{self._ready_port}/")


def pattern(wildcards: str) -> str:
    """A Lua pattern for AWS's `*` and `?`."""
    parts = []
    for char in wildcards:
        if char == "*":
            parts.append(".*")
        elif char == "?":
            parts.append(".")
        else:
            parts.append(f"%{char}" if char in _MAGIC else char)
    return f"^{''.join(parts)}$"


def rendered(rules: Iterable[Params], names: Mapping[str, str]) -> list[dict[str, object]]:
    """The rules as the data plane wants them.

    Args:
        rules: in normal form, in the order in which they are tried.
        names: target group's ARN → name.
    """
    table: list[dict[str, object]] = []
    for rule in rules:
        conditions = [_condition(condition) for condition in rule.get("Conditions") or []]
        shown: dict[str, object] = {"conditions": conditions}
        (action,) = [each for each in rule["Actions"] if each["Type"] in {"forward", "redirect", "fixed-response"}]
        if action["Type"] == "forward":
            config = action["ForwardConfig"]
            weights = {group["TargetGroupArn"]: group["Weight"] for group in config["TargetGroups"]}
            shown["groups"] = [{"name": names.get(arn, arn), "weight": weights[arn]} for arn in groups_of(rule)]
            if config["TargetGroupStickinessConfig"].get("Enabled"):
                shown["sticky_s"] = config["TargetGroupStickinessConfig"]["DurationSeconds"]
        else:
            fixed = action.get("FixedResponseConfig") or {}
            shown |= {"status": int(fixed.get("StatusCode", 503)), "body": fixed.get("MessageBody", "")}
        table.append(shown)
    return table


def _condition(condition: Params) -> dict[str, object]:
    field = condition["Field"]
    config = condition.get(_CONFIGS.get(field, "")) or {}
    values = config.get("Values") or condition.get("Values") or []
    if field == "query-string":
        values = [f"{each['Key']}={each['Value']}" if each.get("Key") else f"*={each['Value']}" for each in values]
    if field in {"http-header", "host-header"}:
        values = [value.lower() for value in values]
    shown: dict[str, object] = {"field": field, "patterns": [pattern(value) for value in values]}
    if field == "http-header":
        shown["name"] = config["HttpHeaderName"].lower()
    return shown


class Plane:
    """Shows HAProxy what the rules say now.

    Attributes:
        counts: group and what was counted (`requests`, `2xx`, … `503`) → how often, since HAProxy started.
    """

    def __init__(self, table: Path | None, admin_port: int) -> None:
        """Show nothing yet.

        Args:
            table: the file that HAProxy reads; None if there is no HAProxy.
            admin_port: of its admin socket.
        """
        self._table = LuaTable(table, admin_port) if table else None
        self._one = asyncio.Lock()
        self.counts: dict[tuple[str, str], int] = {}

    async def show(self, rules: Sequence[Mapping[str, object]], ports: Mapping[str, Sequence[int]]) -> None:
        """Put rules and targets in force; HAProxy has them when this returns, or will read them when it starts.

        Args:
            rules: from `rendered`.
            ports: name of a group → ports of the targets that take its traffic.
        """
        targets = {name: list(each) for name, each in ports.items()}
        async with self._one:
            if self._table:
                await self._table.put(f"rules={lua(list(rules))},targets={lua(targets)}")

    async def look(self) -> None:
        """Read the counters, and load the table again if this is another HAProxy that missed the last one."""
        async with self._one:
            lines = await self._table.say("plane show") if self._table else []
            if not self._table or not lines:
                return
            if lines[0] != f"serial {self._table.serial}" and self._table.shown:
                await self._table.say("plane load")
            words = [line.split(" ") for line in lines[1:]]
            self.counts = {(group, what): int(number) for group, what, number in words}
