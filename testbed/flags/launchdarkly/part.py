"""The stand-in as a part of the test bed: a process that can be killed, frozen and started again."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import httpx

from testbed.part import Part, answers
from testbed.parts import REPOSITORY
from testbed.processes import LOOPBACK, free_ports

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_TIMEOUT_S = 5.0


class LaunchDarkly(Part):
    """One account. A restart begins with the seed again.

    Attributes:
        url: its address, without a slash at the end: of the REST API, of the stream and of polling.
    """

    def __init__(self, directory: Path, *, seed: Mapping[str, Any], port: int | None = None) -> None:
        """Write the seed; nothing is started.

        Args:
            directory: where seed and log go.
            seed: what is there at first; see `testbed.flags.launchdarkly.__main__`.
            port: where it listens; a free one by default.
        """
        super().__init__("launchdarkly", directory)
        self._port = port or free_ports(1)[0]
        self._seed = self.directory / "launchdarkly-seed.json"
        self._seed.write_text(json.dumps(seed), encoding="utf-8")
        self.url = f"http://{LOOPBACK}:{self._port}"

    def command(self) -> list[str | Path]:
        """The stand-in's command line."""
        own: list[str | Path] = [sys.executable, "-m", "testbed.flags.launchdarkly"]
        return [*own, "--port", str(self._port), "--seed", self._seed]

    def environment(self) -> Mapping[str, str | None]:
        """Finds the repository's modules from any directory."""
        return {"PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"}

    def ready(self) -> bool:
        """Whether it answers."""
        return answers(f"{self.url}/-/ready")

    def fault(self, **fields: Any) -> None:  # noqa: ANN401 - knobs of several types
        """Change what is wrong with it, and nothing else is; see `testbed.flags.launchdarkly.faults.Faults`."""
        answer = httpx.post(f"{self.url}/-/faults", json=fields, timeout=_TIMEOUT_S, trust_env=False)
        answer.raise_for_status()
