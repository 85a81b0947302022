"""A shop in two versions behind a real router, watched by a real Prometheus: all that a rollout needs but Temporal.

Why one object: the parts know each other's ports, so they are chosen once, and killing a part and starting it again
gives the same part. Temporal and the worker are apart (`testbed.temporal`, `testbed.worker`): most tests need only one
side.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

import httpx

from testbed.aws.simulated import SimulatedAws
from testbed.edge import Edge, edge
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
FLAGS = "flags"
"""The connection of the flag, its folder in the bed's directory, and its file there."""
SHOPS_LOOK_EVERY_S = 0.2
"""How often shops look at the flag file, at most: `testbed.feature` says every 0.1 s, and a busy machine is late."""


class FlaggedShop(Shop):
    """A shop that asks a flag for every visitor."""

    def __init__(self, directory: Path, *, version: str, service: str, seed: int, file: Path, flag: str) -> None:
        """Choose its port; nothing is started.

        Args:
            directory: Where its log goes.
            version: What it calls itself.
            service: Name of the service.
            seed: Of its errors, purchases and bounces.
            file: Where the flag is.
            flag: Its key.
        """
        super().__init__(directory, version=version, service=service, seed=seed)
        self._flag: tuple[str | Path, ...] = ("--flag-file", file, "--flag", flag)

    def command(self) -> list[str | Path]:
        """The shop's command line."""
        return [*super().command(), *self._flag]


class Bed:
    """Two shops, Envoy and Prometheus in one directory; a context manager.

    Attributes:
        directory: Where everything is.
        service: Name of the service, and the beginning of the pools' names.
        stable: The shop that has the traffic at first.
        candidate: The shop that is to be rolled out; its `version` label is `canary`.
        edge: The router.
        prometheus: The metrics server.
        url: Where visitors come in.
        settings: A `sluice.toml` for workers, written on entering.
        flag: Key of the feature flag that both shops ask, None without one.
        flag_file: Where that flag is, in flagd's format.
    """

    def __init__(
        self,
        directory: Path,
        *,
        service: str = "checkout",
        rules: Path = RULES,
        seed: int = 1,
        router: str = "envoy",
        flag: str | None = None,
    ) -> None:
        """Choose every port; nothing is started.

        Args:
            directory: Where configurations, data, logs and the settings go; made when missing.
            service: Name of the service.
            rules: Alerting rules for Prometheus, the article's by default.
            seed: Of the shops' errors, purchases and bounces.
            router: Which router stands in front, see `edge.ALL_EDGES`.
            flag: Key of a feature flag, on for everybody at first, which both shops ask for every visitor; what it
                turns on is code that only the candidate has.
        """
        self.directory = directory.absolute()
        self.service = service
        self.flag = flag
        self.flag_file = self.directory / FLAGS / f"{FLAGS}.json"
        self.stable = self._shop(STABLE, seed)
        self.candidate = self._shop(CANARY, seed + 1)
        self.edge: Edge = edge(
            router, self.directory, service=service, stable_port=self.stable.port, candidate_port=self.candidate.port
        )
        shops = [f"{LOOPBACK}:{shop.port}" for shop in (self.stable, self.candidate)]
        targets = {"shop": shops}
        if isinstance(self.edge, Envoy):
            targets["envoy"] = [self.edge.admin_url.removeprefix("http://")]
        self.prometheus = Prometheus(self.directory, targets=targets, rules=rules)
        self.url = self.edge.url
        self.settings = self.directory / "sluice.toml"
        self._loads = 0
        self._running = ExitStack()

    @property
    def parts(self) -> tuple[Part, ...]:
        """Its parts in the order of starting."""
        return (self.stable, self.candidate, self.prometheus, *self.edge.parts)

    @property
    def envoy(self) -> Envoy:
        """The router, where it is an Envoy.

        Raises:
            TypeError: It is another one.
        """
        if not isinstance(self.edge, Envoy):
            raise TypeError(f"the router of this bed is a {type(self.edge).__name__}, not an Envoy")
        return self.edge

    def start(self) -> Self:
        """Start every part and wait until both shops have been scraped; on failure nothing is left running.

        Takes 5–6 s: Prometheus hands new targets to its scrapers only every 5 s, and no option changes that. A cluster
        takes longer.

        Returns:
            Itself.
        """
        self.settings.write_text(self.settings_text(), encoding="utf-8")
        if self.flag is not None:
            self.turn_flag_on()
        behind = (self.stable, self.candidate, self.prometheus)
        with ExitStack() as undo:
            for part in behind:
                undo.callback(part.stop)
                part.launch()
            undo.callback(self.edge.stop)
            self.edge.start()
            for part in behind:
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

    def fault_of_feature(self, error_ratio: float) -> None:
        """Make what the flag turns on fail; only the candidate has that code.

        Args:
            error_ratio: Share of the candidate's requests, of visitors to whom the feature is shown, answered with
                500, 0–1.
        """
        self.candidate.fault(flagged_error_ratio=error_ratio)

    def turn_flag_on(self) -> None:
        """Show the feature to everybody, as a person would who writes the file anew: without anybody's mark.

        Raises:
            ValueError: This bed has no flag.
        """
        if self.flag is None:
            raise ValueError("this bed has no flag; name one when making it")
        flag = {
            "state": "ENABLED",
            "variants": {"on": True, "off": False},
            "defaultVariant": "off",
            "targeting": {"fractional": [["on", 100], ["off", 0]]},
        }
        self.flag_file.parent.mkdir(exist_ok=True)
        draft = self.flag_file.with_name(f".{self.flag_file.name}.draft")  # shops never see half a file
        draft.write_text(json.dumps({"flags": {self.flag: flag}}, indent=2) + "\n", encoding="utf-8")
        draft.replace(self.flag_file)

    def variations(self) -> dict[str, str]:
        """What both shops give a visitor now, by version: `{"stable": "on", "canary": "on"}`; costs each one visit.

        Raises:
            httpx.HTTPError: A shop does not answer.
            KeyError: This bed has no flag.
        """
        visits = {shop.version: httpx.get(f"{shop.url}/", trust_env=False) for shop in (self.stable, self.candidate)}
        return {version: str(visit.json()["variation"]) for version, visit in visits.items()}

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
        """Worker settings: connections `edge`, `prometheus`, `shop` and with a flag `flags`; the examples' people."""
        return f"""{self.edge.settings("edge")}
[connections.prometheus]
kind = "prometheus"
url = {json.dumps(self.prometheus.url)}

[connections.shop]
kind = "http"
url = {json.dumps(self.url.rstrip("/"))}
{self._connection_of_flags()}
[people]
qa = ["ana", "bo"]
sre = ["kim"]
"""

    @property
    def worker_environment(self) -> dict[str, str]:
        """What a worker of this bed needs in its environment: credentials, where the router's API wants some."""
        return dict(self.edge.environment) if isinstance(self.edge, SimulatedAws) else {}

    def _shop(self, version: str, seed: int) -> Shop:
        if self.flag is None:
            return Shop(self.directory, version=version, service=self.service, seed=seed)
        return FlaggedShop(
            self.directory, version=version, service=self.service, seed=seed, file=self.flag_file, flag=self.flag
        )

    def _connection_of_flags(self) -> str:
        if self.flag is None:
            return ""
        return f"""
[connections.{FLAGS}]
kind = "flagd"
folder = {json.dumps(str(self.flag_file.parent))}
applications_look_every_s = {SHOPS_LOOK_EVERY_S}
"""

    def _scraped(self) -> bool:
        return len(self.prometheus.query('http_requests_total{status="200"}')) == 2

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
