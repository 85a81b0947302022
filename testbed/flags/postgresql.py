"""A real PostgreSQL on loopback with an empty database, for what keeps its data there.

It refuses to run as root. Where the test bed is root, `setpriv` makes it another user first, who owns the data folder
and may pass through everybody's folders as root does: those of tests and home folders are closed to others. The
parent-death signal, which ends a child with us, would be lost by the change of user, and is kept.

Nothing here is worth keeping: it syncs nothing to disk, and everybody on loopback is let in.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import struct
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

from testbed.part import Part
from testbed.parts import PartMissing, binary
from testbed.processes import LOOPBACK, PartFailed, free_ports

if TYPE_CHECKING:
    from pathlib import Path

USER = "sluice"
DATABASE = "postgres"  # there from the beginning: no other program is needed to make one
_NOBODY = 65534
_MAKES_DATA_WITHIN_S = 60.0
_ANSWERS_WITHIN_S = 5.0
_WHO = f"user\0{USER}\0database\0{DATABASE}\0\0".encode()
_HELLO = struct.pack("!ii", 8 + len(_WHO), 196_608) + _WHO  # version 3.0 of its protocol


def _unprivileged() -> list[str | Path]:
    """What to put in front of a program that refuses to run as root; nothing where we are not."""
    if os.geteuid() != 0:
        return []
    found = shutil.which("setpriv")
    if found is None:
        raise PartMissing("PostgreSQL does not run as root, and there is no `setpriv` (util-linux): run as a user.")
    who = [f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups", "--pdeathsig=keep"]
    return [found, *who, "--inh-caps=+dac_override", "--ambient-caps=+dac_override"]


class Postgresql(Part):
    """One server; restarts keep the data.

    Attributes:
        port: Where it listens.
    """

    def __init__(self, directory: Path) -> None:
        """Choose its port; nothing is started.

        Args:
            directory: Where the data and the log go.
        """
        super().__init__("postgresql", directory)
        self.port = free_ports(1)[0]
        self._data = self.directory / "postgresql-data"

    def prepare(self) -> None:
        """Make the data folder, the first time.

        Raises:
            PartFailed: It cannot be made.
        """
        if self._data.exists():
            return
        self._data.mkdir(mode=0o700)
        if os.geteuid() == 0:
            os.chown(self._data, _NOBODY, _NOBODY)
        options = ["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", f"--username={USER}"]
        made = subprocess.run(
            [*_unprivileged(), binary("initdb"), "-D", self._data, *options],
            capture_output=True,
            text=True,
            check=False,
            timeout=_MAKES_DATA_WITHIN_S,
            cwd=self._data,
        )
        if made.returncode:
            shutil.rmtree(self._data)
            raise PartFailed(f"initdb made no data folder at {self._data}:\n{made.stdout}{made.stderr}")

    def command(self) -> list[str | Path]:
        """PostgreSQL's command line."""
        settings = {
            "listen_addresses": LOOPBACK,
            "port": self.port,
            "unix_socket_directories": "",
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "shared_buffers": "32MB",
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [*_unprivileged(), binary("postgres"), "-D", self._data, *options]

    def ready(self) -> bool:
        """Whether it lets us into the database; it listens earlier than that."""
        with suppress(OSError), socket.create_connection((LOOPBACK, self.port), timeout=1) as line:
            line.sendall(_HELLO)
            return line.recv(1) == b"R"
        return False

    def stop(self) -> None:
        """End it although clients are connected: it would wait for them after a mere SIGTERM."""
        if self.running:
            self.child.resume()
            os.kill(self.pid, signal.SIGINT)
        super().stop()

    def run(self, sql: str) -> None:
        """Run statements, for what no API of the server that uses the database can do.

        Raises:
            PartFailed: A statement failed; the message is the database's.
        """
        with (
            socket.create_connection((LOOPBACK, self.port), timeout=_ANSWERS_WITHIN_S) as line,
            line.makefile("rb") as said,
        ):
            line.sendall(_HELLO)
            for words in (None, sql):
                if words is not None:
                    line.sendall(b"Q" + struct.pack("!i", 4 + len(words.encode()) + 1) + words.encode() + b"\0")
                kind = b""
                while kind != b"Z":  # it is ready for the next
                    kind, (length,) = said.read(1), struct.unpack("!i", said.read(4))
                    told = said.read(length - 4)
                    if kind == b"E":
                        raise PartFailed(told.replace(b"\0", b" ").decode(errors="replace"))
