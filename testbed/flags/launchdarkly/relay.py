"""LaunchDarkly's real Relay Proxy, between an account (the stand-in, or the real one) and SDKs.

It keeps its own connection to the account and gives SDKs what it has; while the account is away it goes on with what it
had. It has no API to change anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from testbed.part import Part
from testbed.parts import binary
from testbed.processes import LOOPBACK, free_ports

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_TIMEOUT_S = 2.0


class Relay(Part):
    """One relay for one environment.

    Attributes:
        url: its address, without a slash at the end: where SDKs stream from and poll.
    """

    def __init__(self, directory: Path, *, upstream: str, sdk_key: str) -> None:
        """Choose its port; nothing is started.

        Args:
            directory: where the log goes.
            upstream: address of the account's streaming and polling endpoints.
            sdk_key: of the environment; given to the process in its environment, not on its command line.
        """
        super().__init__("ld-relay", directory)
        self._port = free_ports(1)[0]
        self._upstream, self._sdk_key = upstream, sdk_key
        self.url = f"http://{LOOPBACK}:{self._port}"

    def command(self) -> list[str | Path]:
        """The relay's command line."""
        return [binary("ld-relay"), "--from-env"]

    def environment(self) -> Mapping[str, str | None]:
        """Where to listen and whom to ask; no proxy in between."""
        return {
            "PORT": str(self._port),
            "LD_ENV_production": self._sdk_key,
            "STREAM_URI": self._upstream,
            "BASE_URI": self._upstream,
            "http_proxy": None,
            "HTTP_PROXY": None,
        }

    def ready(self) -> bool:
        """Whether it has the environment's flags."""
        try:
            answer = httpx.get(f"{self.url}/status", timeout=_TIMEOUT_S, trust_env=False)
        except httpx.HTTPError:
            return False
        return answer.status_code == 200 and answer.json().get("status") == "healthy"
