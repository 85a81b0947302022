"""A real Temporal development server on loopback, with or without its web page.

Why the released development server and not the SDK's test environment: a rollout's promises are about servers that are
killed and come back, so the tests need a database on disk and the same ports after a restart.
"""

from __future__ import annotations

import os
import socket
import subprocess
from typing import TYPE_CHECKING

from rollout import names
from testbed.part import Part
from testbed.parts import binary
from testbed.processes import LOOPBACK, PartFailed, free_ports

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# The server's default of 20 polls a second makes short activities look slow: 50 in a row take 1.65 s instead of 0.6 s.
DYNAMIC_CONFIG = {"history.transferProcessorMaxPollRPS": "5000"}
COMMAND_TIMEOUT_S = 20.0


def no_profile() -> dict[str, str | None]:
    """Changes of the environment that keep the user's own Temporal settings (cloud, TLS, keys) out of the test bed.

    Returns:
        None for every `TEMPORAL_` variable that is set, and a profile file that does not exist.
    """
    mine: dict[str, str | None] = {name: None for name in os.environ if name.startswith("TEMPORAL_")}
    return {**mine, "TEMPORAL_CONFIG_FILE": os.devnull}


def _own_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("TEMPORAL_")}


class TemporalServer(Part):
    """The development server: gRPC on `address`, web page on `ui_url`, namespace `default`.

    Attributes:
        address: host:port for clients and workers.
        port: The gRPC port.
        ui_url: Address of the web page, None without one.
        database: File that keeps histories over restarts, None when in memory.
    """

    def __init__(
        self,
        directory: Path,
        *,
        ui: bool = True,
        in_memory: bool = False,
        port: int | None = None,
        ui_port: int | None = None,
        dynamic_config: Mapping[str, str] | None = None,
    ) -> None:
        """Choose ports and files; nothing is started.

        Args:
            directory: Where the database and the log go.
            ui: Whether to serve the web page.
            in_memory: Whether histories are lost with the process.
            port: gRPC port, a free one by default.
            ui_port: Port of the web page, a free one by default.
            dynamic_config: Server settings, JSON values by key, added to `DYNAMIC_CONFIG`.
        """
        super().__init__("temporal", directory)
        free = free_ports(2)
        self.port = port or free[0]
        self.address = f"{LOOPBACK}:{self.port}"
        self.ui_port = (ui_port or free[1]) if ui else None
        self.ui_url = f"http://{LOOPBACK}:{self.ui_port}" if ui else None
        self.database = None if in_memory else self.directory / "temporal.db"
        self._dynamic_config = {**DYNAMIC_CONFIG, **(dynamic_config or {})}
        self._had_database = False

    def prepare(self) -> None:
        """Note whether the database is older than this start."""
        self._had_database = self.database is not None and self.database.exists()

    def command(self) -> list[str | Path]:
        """The server's command line."""
        words: list[str | Path] = [binary("temporal"), "server", "start-dev", "--ip", LOOPBACK]
        words += ["--port", str(self.port), "--log-level", "warn"]
        words += ["--headless"] if self.ui_port is None else ["--ui-port", str(self.ui_port)]
        if self.database is not None:
            words += ["--db-filename", self.database]
        for name, kind in names.SEARCH_ATTRIBUTES.items():
            words += ["--search-attribute", f"{name}={kind}"]
        for key, value in self._dynamic_config.items():
            words += ["--dynamic-config-value", f"{key}={value}"]
        return words

    def environment(self) -> Mapping[str, str | None]:
        """Nothing of the user's own Temporal settings reaches the server."""
        return no_profile()

    def ready(self) -> bool:
        """Whether the frontend reports itself healthy."""
        try:
            socket.create_connection((LOOPBACK, self.port), timeout=0.5).close()
        except OSError:
            return False  # far cheaper than asking a server that is not there
        return self.ask("operator", "cluster", "health").returncode == 0

    def settle(self) -> None:
        """Register search attributes in a database that already had its namespace: the option is ignored there."""
        if not self._had_database:
            return
        words = ["operator", "search-attribute", "create"]
        for name, kind in names.SEARCH_ATTRIBUTES.items():
            words += ["--name", name, "--type", kind]
        answer = self.ask(*words)
        if answer.returncode != 0:
            raise PartFailed(f"Temporal refused the search attributes: {answer.stderr.strip() or answer.stdout}")

    def ask(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the Temporal command line against this server.

        Args:
            words: Command and options, such as `"workflow", "list"`.

        Returns:
            The finished process with its texts; a command that hangs counts as exit code 1.
        """
        argv = [str(binary("temporal")), *words, "--address", self.address, "--disable-config-file"]
        try:
            return subprocess.run(
                argv, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False, env=_own_environment()
            )
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(argv, 1, "", f"no answer within {COMMAND_TIMEOUT_S:g} s")
