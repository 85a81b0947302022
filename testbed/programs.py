"""The test bed's own programs as parts: the shops and the load.

Why apart from the programs themselves: starting a child must not import what the child imports, and a program must be
readable without knowing who starts it.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import httpx

from testbed.part import Part, answers
from testbed.parts import REPOSITORY
from testbed.processes import LOOPBACK, free_ports
from testbed.report import LoadReport

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

REQUEST_TIMEOUT_S = 5.0
_OWN_MODULES: dict[str, str | None] = {"PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"}


class Shop(Part):
    """One version of the shop.

    Attributes:
        port: Where it listens.
        url: Its address, without a slash at the end.
        version: What it calls itself in metrics and `X-Version`.
    """

    def __init__(self, directory: Path, *, version: str, service: str = "checkout", seed: int = 1) -> None:
        super().__init__(f"shop-{version}", directory)
        self.version = version
        self.port = free_ports(1)[0]
        self.url = f"http://{LOOPBACK}:{self.port}"
        self._service = service
        self._seed = seed

    def command(self) -> list[str | Path]:
        """The shop's command line."""
        words: list[str | Path] = [sys.executable, "-m", "testbed.shop", "--port", str(self.port)]
        return [*words, "--version", self.version, "--service", self._service, "--seed", str(self._seed)]

    def environment(self) -> Mapping[str, str | None]:
        """Finds the repository's modules from any directory."""
        return _OWN_MODULES

    def ready(self) -> bool:
        """Whether it answers."""
        return answers(f"{self.url}/ready")

    def fault(self, **fields: float) -> None:
        """Change what is wrong with it; see `testbed.shop.Fault` for the fields. A restart forgets it.

        Raises:
            httpx.HTTPError: When the shop does not answer or refuses a field.
        """
        answer = httpx.post(f"{self.url}/-/fault", json=fields, timeout=REQUEST_TIMEOUT_S, trust_env=False)
        answer.raise_for_status()


class Load(Part):
    """Steady visitors of one address.

    Attributes:
        file: Where the report is rewritten four times a second.
    """

    def __init__(
        self,
        directory: Path,
        *,
        url: str,
        rate: float = 150.0,
        connections: int = 20,
        seconds: float | None = None,
        name: str = "load",
    ) -> None:
        """Choose what to send; nothing is started.

        Args:
            directory: Where the log and the report go.
            url: Address to visit.
            rate: Requests a second.
            connections: Connections kept open and used in turn.
            seconds: How long; until stopped by default.
            name: Name of the part, its log and its report.
        """
        super().__init__(name, directory)
        self.file = self.directory / f"{name}.json"
        self._options = ["--url", url, "--rate", str(rate), "--connections", str(connections)]
        if seconds is not None:
            self._options += ["--seconds", str(seconds)]

    def prepare(self) -> None:
        """Forget the report of an earlier start, so that `ready` does not believe it."""
        self.file.unlink(missing_ok=True)

    def command(self) -> list[str | Path]:
        """The load's command line."""
        return [sys.executable, "-m", "testbed.load", *self._options, "--report", self.file]

    def environment(self) -> Mapping[str, str | None]:
        """Finds the repository's modules from any directory."""
        return _OWN_MODULES

    def ready(self) -> bool:
        """Whether a first request has ended, well or not."""
        return self.file.exists() and self.report().requests > 0

    def report(self) -> LoadReport:
        """The newest complete report; at most 0.25 s old while the load runs."""
        return LoadReport.model_validate(json.loads(self.file.read_text(encoding="utf-8")))

    def finish(self) -> LoadReport:
        """Stop sending, wait for the requests in flight, and return the last report."""
        self.stop()
        return self.report()
