"""What a running HAProxy has in memory of one service: the map, and the servers of its backends.

Everything here is gone after a restart; the files that a start reads are another business (`map_file`,
`state_file`). Whether the map is used at all is haproxy.cfg's: HAProxy shows its configuration to nobody.
"""

import asyncio
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from activities.routers.haproxy.map_file import Entries, payload
from activities.routers.haproxy.servers import Row
from activities.routers.haproxy.socket import Command, HaproxySocket, command, entries, table
from rollout.durations import text as duration_text
from rollout.errors import Misconfigured, NotPermitted, NotReady, RouterUnreachable, SluiceError
from rollout.routes import HaproxyRoute

_LINE_BYTES = 8_000  # HAProxy's own limit is its buffer, 16 384 by default
_POLL_S = 0.02
_WAKE_S = 3.0  # the first check after maintenance comes within `inter` (or `fastinter`), 2 s by default


class Seen(NamedTuple):
    """What HAProxy showed.

    Attributes:
        level: what the socket may do: user, operator or admin.
        entries: of the map; None if HAProxy has no such map.
        rows: backend → `show servers state`; None if there is no such backend.
        texts: the same as HAProxy printed it.
        pins: whether users may be kept on a server: one of these backends has a cookie of HAProxy's own, or there is a
            stick table, of which no command shows who uses it. Only asked with server weights.
    """

    level: str
    entries: Entries | None
    rows: dict[str, list[Row] | None]
    texts: dict[str, str]
    pins: bool


class Memory:
    """The memory of one HAProxy, as far as it is about one service."""

    def __init__(self, socket: HaproxySocket, file: Path, backends: Iterable[str], route: HaproxyRoute) -> None:
        """Take the socket.

        Args:
            socket: where to ask.
            file: the map's path, by which HAProxy knows it: the very one in haproxy.cfg.
            backends: names of the backends that matter.
            route: for messages.
        """
        self._socket, self._file, self._where = socket, file, str(route)
        self._key = "weight" if route.mode == "map" else "epoch"
        self._backends = tuple(backends)
        self._by_weights = route.mode == "server-weights"

    async def look(self) -> Seen:
        """Everything at once.

        Raises:
            RouterUnreachable: no answer, or one that is not understood.
            NotPermitted: the socket may not be opened.
            Misconfigured: a backend has a name that no command can have.
        """
        commands = [command("show", "cli", "level"), command("show", "map", str(self._file))]
        commands += [command("show", "servers", "state", name) for name in self._backends]
        if self._by_weights:  # of all servers, as a name may also be that of a frontend
            commands += [command("show", "stat", "-1", "4", "-1"), command("show", "table")]
        level, shown, *answers = await self._socket.ask(*commands)
        found = entries(shown)
        texts = dict(zip(self._backends, answers, strict=False))
        rows = {name: self._table(text) for name, text in texts.items()}
        memory = None if found is None else dict(reversed(found))  # of a key twice, the first counts
        pins = self._by_weights and self._completed(rows, *answers[-2:])
        return Seen(level.strip(), memory, rows, texts, pins)

    def _completed(self, rows: dict[str, list[Row] | None], stat: str, stick_tables: str) -> bool:
        """Add to the servers what only `show stat` says of them; whether users may be kept on one of them."""
        told = {(row["pxname"], row["svname"]): row for row in self._table(stat) or ()}
        pins = bool(stick_tables)
        for backend, found in rows.items():
            for row in found or ():
                more = told.get((backend, row["srv_name"]), {})
                row["bck"] = more.get("bck", "0")
                pins = pins or bool(more.get("cookie"))
        return pins

    async def sessions(self, backend: str) -> list[Row]:
        """Rows of `show stat` for a backend and its servers; none if there is no such backend.

        Raises:
            RouterUnreachable: no answer, or one that is not understood.
        """
        [states] = await self._socket.ask(command("show", "servers", "state", backend))
        servers = self._table(states)
        if not servers:
            return []
        # By number: a name may also be that of a frontend, which would be shown instead.
        [text] = await self._socket.ask(command("show", "stat", servers[0]["be_id"], "6", "-1"))
        return self._table(text) or []

    async def refuse_young(self, hard_stop_after: timedelta) -> None:
        """Nothing if HAProxy runs so long that no process of before it still does; only that one knows its requests.

        Raises:
            RouterUnreachable: it does not, or does not say how long.
        """
        if not hard_stop_after:
            return
        [shown] = await self._socket.ask(command("show", "info"))
        found = re.search(r"^Uptime_sec: (\d+)$", shown, re.MULTILINE)
        if not found:
            raise RouterUnreachable(f"{self._where}: HAProxy does not say how long it runs: {shown[:80]!r}")
        if int(found[1]) <= hard_stop_after.total_seconds():
            raise RouterUnreachable(
                f"{self._where}: HAProxy runs for {found[1]} s only; a process that it replaced may serve requests for "
                f"{duration_text(hard_stop_after)} (`hard_stop_after` of the connection), and nobody can count those"
            )

    async def prepare(self, wanted: Entries) -> int:
        """Load a new version of the map that no request sees yet; returns its number.

        Raises:
            Misconfigured: HAProxy has no such map.
            RouterUnreachable: no answer.
        """
        [answer] = await self._socket.ask(command("prepare", "map", str(self._file)))
        found = re.fullmatch(r"New version created: (\d+)", answer)
        if answer.startswith("Unknown map"):
            raise self.unknown_map()
        if not found:
            msg = f"{self._where}: HAProxy prepares no new version of {self._file}: {answer!r}"
            raise Misconfigured(f"{msg}; HAProxy 2.4 is the oldest that can")
        await self._socket.do(command("add", "map", f"@{found[1]}", str(self._file)), payload=payload(wanted))
        return int(found[1])

    async def commit(self, version: int) -> None:
        """Make a prepared version the one that requests see; HAProxy does it at once.

        Raises:
            RouterUnreachable: no answer, or another process than the one that prepared it.
            Misconfigured: HAProxy refuses.
        """
        asked = command("commit", "map", f"@{version}", str(self._file))
        [answer] = await self._socket.ask(asked)
        if answer.startswith("Version number"):
            raise RouterUnreachable(f"{self._where}: HAProxy was reloaded in the middle of a write: {answer}")
        self._socket.refuse(asked, answer)

    async def drop(self, version: int) -> None:
        """Throw a prepared version away."""
        with suppress(SluiceError):
            await self._socket.do(command("clear", "map", f"@{version}", str(self._file)))

    async def do(self, commands: Sequence[Command]) -> None:
        """Carry out commands, in order, in as few lines as HAProxy's buffer allows."""
        line: list[Command] = []
        for each in commands:
            if line and sum(map(len, line)) + 2 * len(line) + len(each) > _LINE_BYTES:
                await self._socket.do(*line)
                line = []
            line.append(each)
        if line:
            await self._socket.do(*line)

    async def awake(self, backend: str, names: Iterable[str]) -> None:
        """Wait until a health check has seen one of these servers well, just out of maintenance.

        A server that leaves maintenance is UP at once and one failed check away from DOWN; only a passed check lifts it
        to the full height. One without checks is UP for HAProxy whatever it does.

        Raises:
            NotReady: none is well within three seconds, or all were found down.
        """
        waiting = set(names)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _WAKE_S
        while True:
            rows = [row for row in await self.sessions(backend) if row.get("svname") in waiting]
            if any(_is_well(row) for row in rows):
                return
            if loop.time() > deadline or all(row["status"].startswith("DOWN") for row in rows):
                told = "; ".join(
                    f"{row['svname']} is {row['status']} {row.get('last_chk', '')}".strip() for row in rows
                )
                raise NotReady(f"{self._where}: no candidate server is well out of maintenance: {told}")
            await asyncio.sleep(_POLL_S)

    def unknown_map(self) -> Misconfigured:
        """What to say when HAProxy has no such map."""
        line = f"http-request set-var(txn.sluice) str({self._key}),map({self._file},0)"
        return Misconfigured(
            f"{self._where}: HAProxy knows no map {self._file}; haproxy.cfg must read it by this very path, such as by "
            f"`{line}`, and be reloaded"
        )

    def refuse_low_level(self, seen: Seen) -> None:
        """Nothing if the socket may do everything.

        Raises:
            NotPermitted: it may not. HAProxy 2.6 lets every level change maps, which is no reason to rely on it.
        """
        if seen.level != "admin":
            raise NotPermitted(
                f"{self._where}: HAProxy's socket {self._socket} has level {seen.level}: its `stats socket` line needs "
                f"`level admin`; nothing was written"
            )

    def _table(self, text: str) -> list[Row] | None:
        try:
            return table(text)
        except ValueError as error:
            raise RouterUnreachable(f"{self._where}: HAProxy's answer is not understood: {error}") from error


def is_gone(error: SluiceError) -> bool:
    """Whether nobody listens at all, so that HAProxy will read its files when it comes back."""
    return isinstance(error.__cause__, ConnectionRefusedError | FileNotFoundError)


def _is_well(row: Row) -> bool:
    if not row.get("check_status"):
        return row["status"] == "no check"
    height = int(row["check_rise"] or 0) + int(row["check_fall"] or 0) - 1
    return row["status"].startswith("UP") and int(row["check_health"] or 0) >= height
