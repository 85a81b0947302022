"""A real HAProxy whose shares are moved over its runtime socket, rendered from the example that operators copy.

Why rendered and not written here: see `testbed.envoy`. Only addresses, ports, paths and the pace of the health checks
are replaced, plus two more sockets: one over TCP, and one that may do too little.

What was measured with this configuration on HAProxy 2.6.12: `prepare map`, `add map` and `commit map` work on a socket
of any level, `set server` on level admin only; a server that leaves maintenance has traffic before its first health
check; an empty server state file or none is a warning, one that holds only its version is not.
"""

from __future__ import annotations

import csv
import json
import re
import shutil
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

from testbed.part import Part
from testbed.parts import REPOSITORY, binary
from testbed.processes import LOOPBACK, free_ports
from testbed.template import render as replaced

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLE = REPOSITORY / "deploy" / "haproxy"
TEMPLATE = EXAMPLE / "haproxy.cfg"
SEEDS = EXAMPLE / "sluice"
CHECK_EVERY = "100ms"

_ADMIN = "stats socket /run/haproxy/admin.sock mode 660 level admin"
_PATH_BYTES = 80  # a socket's path has 108 bytes at most, and HAProxy adds to it while it binds
_EXAMPLES = {"map": "checkout", "server-weights": "search"}


def render(
    template: str,
    *,
    folder: Path,
    sockets: dict[str, str],
    ports: dict[str, int],
    shops: dict[str, int],
    names: dict[str, str],
) -> str:
    """Turn the operators' example into one for loopback.

    Args:
        template: `deploy/haproxy/haproxy.cfg`.
        folder: Directory of the map files.
        sockets: Address of each runtime socket → its level; the first one takes the place of the example's.
        ports: Service of the example → where its visitors come in.
        shops: `stable` and `candidate` → port of the shop.
        names: Service of the example → what it shall be called.

    Returns:
        The text of the configuration.

    Raises:
        KeyError: When the template lacks a place that is to be replaced.
    """
    lines = [f"stats socket {address} mode 600 level {level}" for address, level in sockets.items()]
    places = {
        _ADMIN: "\n    ".join(lines),
        "/etc/haproxy/sluice": str(folder),
        "bind :8080": f"bind {LOOPBACK}:{ports['checkout']}",
        "bind :8081": f"bind {LOOPBACK}:{ports['search']}",
        "shop-stable:8000": f"{LOOPBACK}:{shops['stable']}",
        "shop-candidate:8000": f"{LOOPBACK}:{shops['candidate']}",
        "inter 2s": f"inter {CHECK_EVERY}",
    }
    template = re.sub(rf"\b({'|'.join(names)})\b", lambda found: names[found[0]], template)
    return replaced(template, places)


class Haproxy(Part):
    """One HAProxy in front of two shops.

    Attributes:
        url: Where visitors come in, with a slash at the end.
        service: Name of the mode's service.
        folder: Directory of the map files; kept over restarts, as a router keeps its weights.
        socket: Address of the runtime socket.
        tcp_socket: The same over TCP.
        user_socket: A socket that may look, and no more.
    """

    def __init__(
        self,
        directory: Path,
        *,
        stable_port: int,
        candidate_port: int,
        service: str | None = None,
        mode: Literal["map", "server-weights"] = "map",
    ) -> None:
        """Choose ports and names; nothing is started.

        Args:
            directory: Where its configuration, map files and sockets are.
            stable_port: Of the stable shop.
            candidate_port: Of the candidate shop.
            service: Name of the mode's service, the example's by default; the other one of the example is there, too.
            mode: How its traffic is split.
        """
        super().__init__("haproxy", directory)
        self.mode = mode
        self.service = service or _EXAMPLES[mode]
        self._names = {name: name for name in _EXAMPLES.values()}
        if self.service in self._names:
            self._names[self.service] = _EXAMPLES[mode]  # the other one makes way
        self._names[_EXAMPLES[mode]] = self.service
        checkout, search, tcp, user = free_ports(4)
        self._ports = {"checkout": checkout, "search": search}
        self._shops = {"stable": stable_port, "candidate": candidate_port}
        self.url = f"http://{LOOPBACK}:{self._ports[_EXAMPLES[mode]]}/"
        self.folder = self.directory / "sluice"
        self.tcp_socket = f"{LOOPBACK}:{tcp}"
        self.socket = self._unix("admin") or self.tcp_socket
        self.user_socket = self._unix("user") or f"{LOOPBACK}:{user}"

    @property
    def parts(self) -> tuple[Part, ...]:
        """Itself."""
        return (self,)

    def prepare(self) -> None:
        """Seed the files of the services, unless they are there, and write the configuration."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for seed, file in self._seeds():
            if not file.exists():
                shutil.copyfile(seed, file)
        (self.directory / "haproxy.cfg").write_text(self.configuration(), encoding="utf-8")

    def configuration(self) -> str:
        """What HAProxy is started with."""
        sockets = {self.socket: "admin", self.tcp_socket: "admin", self.user_socket: "user"}
        return render(
            TEMPLATE.read_text(encoding="utf-8"),
            folder=self.folder,
            sockets=sockets,
            ports=self._ports,
            shops=self._shops,
            names=self._names,
        )

    def _seeds(self) -> list[tuple[Path, Path]]:
        """Every file of the example, and where it is used."""
        return [(seed, self.folder / f"{self._names[seed.stem]}{seed.suffix}") for seed in SEEDS.iterdir()]

    def _unix(self, name: str) -> str | None:
        path = str(self.directory / f"{name}.sock")
        return path if len(path) < _PATH_BYTES else None

    def command(self) -> list[str | Path]:
        """HAProxy's command line; it stays in the foreground."""
        return [binary("haproxy"), "-f", self.directory / "haproxy.cfg"]

    def ready(self) -> bool:
        """Whether it has checked every server that it checks."""
        with suppress(OSError):
            rows = csv.DictReader(self.ask("show stat -1 4 -1").removeprefix("# ").splitlines())
            return all(row["check_status"] not in {"INI", "* INI"} for row in rows)
        return False

    def ask(self, command: str) -> str:
        """Send a line to the runtime socket, as an operator does by hand, and return the answer.

        Raises:
            OSError: When nobody answers.
        """
        unix = self.socket.startswith("/")
        with socket.socket(socket.AF_UNIX if unix else socket.AF_INET) as line:
            line.settimeout(2)
            host, _, port = self.socket.rpartition(":")
            line.connect(self.socket if unix else (host, int(port)))
            line.sendall(f"{command}\n".encode())
            return b"".join(iter(lambda: line.recv(65_536), b"")).decode()

    def settings(self, name: str) -> str:
        """A connection of that name for the worker's settings, TOML; it is restarted at times, but never reloaded."""
        # A JSON string is a TOML basic string, escapes included.
        return f"""[connections.{name}]
kind = "haproxy"
socket = {json.dumps(self.socket)}
folder = {json.dumps(str(self.folder))}
hard_stop_after = "0s"
"""

    def route(self, connection: str) -> dict[str, Any]:
        """The route of a spec."""
        header = {"name": "X-Canary", "candidate": "true", "stable": "false"}
        route = {"kind": "haproxy", "connection": connection, "service": self.service, "mode": self.mode}
        return {**route, "header": header}

    def reset(self) -> None:
        """Back to how it was delivered: everything on stable, no mark; without a restart where it runs."""
        for seed, file in self._seeds():
            fresh = file.with_suffix(".operator")
            shutil.copyfile(seed, fresh)
            fresh.rename(file)
        if not self.running:
            return
        backend = self._names["search"]
        for steps in ("stable-1 weight 100", "stable-1 state ready", "candidate-1 state ready", "candidate-1 weight 0"):
            self.ask(f"set server {backend}/{backend}-{steps}")
        for seed, file in self._seeds():
            if seed.suffix != ".map":
                continue
            version = self.ask(f"prepare map {file}").strip().rpartition(" ")[2]
            lines = [line for line in seed.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
            self.ask(f"add map @{version} {file} <<\n" + "".join(f"{line}\n" for line in lines))
            self.ask(f"commit map @{version} {file}")
