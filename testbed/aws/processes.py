"""The processes of the simulated AWS as parts: moto and the gate. The third, HAProxy, is in `testbed.aws.plane`.

Why apart from what they run: starting a child must not import what the child imports, and moto is not small.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, ClassVar

from testbed.part import Part, answers
from testbed.parts import REPOSITORY
from testbed.processes import LOOPBACK, free_ports

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from testbed.aws.plane import Haproxy


class MotoServer(Part):
    """moto as a server of its own. It keeps everything in memory: a restart is an empty account.

    Attributes:
        url: Its address, without a slash at the end.
    """

    stops_within_s: ClassVar[float] = 3.0

    def __init__(self, directory: Path) -> None:
        super().__init__("moto", directory)
        self._port = free_ports(1)[0]
        self.url = f"http://{LOOPBACK}:{self._port}"

    def command(self) -> list[str | Path]:
        """The command line of moto's server."""
        return [sys.executable, "-m", "moto.server", "-H", LOOPBACK, "-p", str(self._port)]

    def environment(self) -> Mapping[str, str | None]:
        """Without the requests' log, and ECS without containers to look for."""
        return {"PYTHONUNBUFFERED": "1", "MOTO_ECS_NEW_ARN": "true"}

    def ready(self) -> bool:
        """Whether it answers."""
        return answers(f"{self.url}/moto-api/data.json")


class Gate(Part):
    """The gate as a part.

    Attributes:
        url: For every AWS client, without a slash at the end.
    """

    stops_within_s: ClassVar[float] = 5.0

    def __init__(
        self, directory: Path, *, moto: MotoServer, haproxy: Haproxy, listener: str, furnish: Callable[[], None]
    ) -> None:
        """Choose its port; nothing is started.

        Args:
            directory: Where its state and log go.
            moto: What it stands before.
            haproxy: What it shows the rules to.
            listener: Load balancer and port that HAProxy carries: `shop:80`.
            furnish: Makes the resources; called after every start.
        """
        super().__init__("aws-gate", directory)
        self._furnish = furnish
        self._port = free_ports(1)[0]
        self.url = f"http://{LOOPBACK}:{self._port}"
        self._options: list[str | Path] = ["--moto", moto.url, "--state", self.directory / "aws-gate.json"]
        self._options += ["--table", haproxy.table, "--admin-port", str(haproxy.admin_port)]
        self._options += ["--listener", listener]

    def command(self) -> list[str | Path]:
        """The gate's command line."""
        return [sys.executable, "-m", "testbed.aws.gate", "--port", str(self._port), *self._options]

    def environment(self) -> Mapping[str, str | None]:
        """Finds the repository's modules from any directory."""
        return {"PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"}

    def ready(self) -> bool:
        """Whether it answers."""
        return answers(f"{self.url}/-/ready")

    def settle(self) -> None:
        """Make the resources, unless they are there."""
        self._furnish()
