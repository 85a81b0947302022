"""A shop in two versions behind a real Envoy, watched by a real Prometheus: all that a rollout needs but Temporal.

Why one object: the parts know each other's ports, so they are chosen once, and killing a part and starting it again
gives the same part. Temporal and the worker are apart (`testbed.temporal`, `testbed.worker`): most tests need only one
side.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from testbed.envoy import Envoy
from testbed.processes import LOOPBACK, wait_until
from testbed.programs import Load, Shop
from testbed.prometheus import RULES, Prometheus

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from testbed.part import Part

STABLE = "stable"
CANARY = "canary"
FIRST_SCRAPE_WITHIN_S = 10.0


class Bed:
    """Two shops, Envoy and Prometheus in one directory; a context manager.

    Attributes:
        directory: Where everything is.
        service: Name of the service, of the route configuration and of the pools.
        stable: The shop that has the traffic at first.
        candidate: The shop that is to be rolled out; its `version` label is `canary`.
        envoy: The router.
        prometheus: The metrics server.
        url: Where visitors come in.
        settings: A `sluice.toml` for workers, written on entering.
    """

    def __init__(self, directory: Path, *, service: str = "checkout", rules: Path = RULES, seed: int = 1) -> None:
        """Choose every port; nothing is started.

        Args:
            directory: Where configurations, data, logs and the settings go; made when missing.
            service: Name of the service.
            rules: Alerting rules for Prometheus, the article's by default.
            seed: Of the shops' errors, purchases and bounces.
        """
        self.directory = directory.absolute()
        self.service = service
        self.stable = Shop(self.directory, version=STABLE, service=service, seed=seed)
        self.candidate = Shop(self.directory, version=CANARY, service=service, seed=seed + 1)
        self.envoy = Envoy(
            self.directory, service=service, stable_port=self.stable.port, candidate_port=self.candidate.port
        )
        shops = [f"{LOOPBACK}:{shop.port}" for shop in (self.stable, self.candidate)]
        envoy = [self.envoy.admin_url.removeprefix("http://")]
        self.prometheus = Prometheus(self.directory, targets={"shop": shops, "envoy": envoy}, rules=rules)
        self.url = self.envoy.url
        self.settings = self.directory / "sluice.toml"
        self._loads = 0
        self._running = ExitStack()

    @property
    def parts(self) -> tuple[Part, ...]:
        """Its parts in the order of starting."""
        return (self.stable, self.candidate, self.prometheus, self.envoy)

    def start(self) -> Self:
        """Start every part and wait until both shops have been scraped; on failure nothing is left running.

        Takes 5–6 s: Prometheus hands new targets to its scrapers only every 5 s, and no option changes that.

        Returns:
            Itself.
        """
        self.settings.write_text(self.settings_text(), encoding="utf-8")
        with ExitStack() as undo:
            for part in self.parts:
                undo.callback(part.stop)
                part.launch()
            for part in self.parts:
                part.await_ready()
            wait_until(
                self._scraped,
                within_s=FIRST_SCRAPE_WITHIN_S,
                what="Prometheus has scraped both shops",
                child=self.prometheus.child,
            )
            self._running = undo.pop_all()
        return self

    def stop(self) -> None:
        """Stop every part and every load that still runs."""
        self._running.close()

    def fault(self, error_ratio: float, latency_ms: float = 0.0) -> None:
        """Make the candidate fail.

        Args:
            error_ratio: Share of its requests answered with 500, 0–1.
            latency_ms: Milliseconds added to each of its answers.
        """
        self.candidate.fault(error_ratio=error_ratio, latency_ms=latency_ms)

    def load(self, rate: float = 150.0, connections: int = 20, seconds: float | None = None) -> Load:
        """Start visitors; they end with the bed at the latest.

        Args:
            rate: Requests a second.
            connections: Connections kept open and used in turn.
            seconds: How long; until stopped by default.

        Returns:
            The running load, its first requests answered.
        """
        self._loads += 1
        name = "load" if self._loads == 1 else f"load-{self._loads}"
        load = Load(self.directory, url=self.url, rate=rate, connections=connections, seconds=seconds, name=name)
        self._running.callback(load.stop)
        return load.start()

    def settings_text(self) -> str:
        """Worker settings with the connections `edge` and `prometheus`, and the people of the examples."""
        # A JSON string is a TOML basic string, escapes included.
        return f"""[connections.edge]
kind = "envoy"
admin = {json.dumps(self.envoy.admin_url)}
routes = {json.dumps(str(self.envoy.routes))}

[connections.prometheus]
kind = "prometheus"
url = {json.dumps(self.prometheus.url)}

[people]
qa = ["ana", "bo"]
sre = ["kim"]
"""

    def _scraped(self) -> bool:
        return len(self.prometheus.query('http_requests_total{status="200"}')) == 2

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
