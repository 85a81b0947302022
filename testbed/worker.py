"""The product's own worker as a child process.

Why a process and not a task in the test: workers are killed in the middle of a stage, and a worker in the test's own
process would share its memory, its event loop and its luck.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, ClassVar

from testbed.part import Part
from testbed.parts import REPOSITORY
from testbed.processes import LOOPBACK, free_ports
from testbed.temporal import no_profile

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

STARTED = "worker started"


class Worker(Part):
    """`worker.py` of this repository, ready when its log says "worker started".

    Attributes:
        settings: The `sluice.toml` it reads.
        address: host:port of its Temporal server.
        metrics_url: Where it serves its own metrics.
    """

    ready_within_s: ClassVar[float] = 60.0
    stops_within_s: ClassVar[float] = 30.0

    def __init__(
        self,
        directory: Path,
        *,
        settings: Path,
        address: str,
        name: str = "worker",
        env: Mapping[str, str | None] | None = None,
    ) -> None:
        """Choose its ports; nothing is started.

        Args:
            directory: Where its log goes.
            settings: Path of its `sluice.toml`.
            address: host:port of the Temporal server.
            name: Name of the part and its log, to tell several workers apart.
            env: More variables for its environment.
        """
        super().__init__(name, directory)
        self.settings = settings
        self.address = address
        self._metrics_address = f"{LOOPBACK}:{free_ports(1)[0]}"
        self.metrics_url = f"http://{self._metrics_address}/metrics"
        self._env = dict(env or {})

    def command(self) -> list[str | Path]:
        """This Python, running the repository's composition root."""
        return [sys.executable, REPOSITORY / "worker.py"]

    def environment(self) -> Mapping[str, str | None]:
        """Its three settings and none of the user's own, and output that is not held back in a buffer."""
        return {
            **{name: None for name in os.environ if name.startswith("SLUICE_")},
            **no_profile(),
            "SLUICE_CONFIG": str(self.settings),
            "TEMPORAL_ADDRESS": self.address,
            "SLUICE_METRICS_ADDRESS": self._metrics_address,
            "SLUICE_STATE_DIRECTORY": str(self.directory / "state"),
            "PYTHONUNBUFFERED": "1",
            **self._env,
        }

    def ready(self) -> bool:
        """Whether this process (not an earlier one with the same log) says that it has started."""
        return STARTED in self.child.output()
