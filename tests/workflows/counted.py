"""Both versions' counters, in a whole rollout: requests flow steadily, split as the router was told."""

import time
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any

from tests.workflows.trial import Trial, Trials

REQUESTS = "http_requests_total"
ERRORS = {"kind": "error-ratio", "requests": REQUESTS, "errors": f'{REQUESTS}{{status="500"}}', "dispersion": 1}
PER_S = 400.0


@dataclass
class Shop:
    """Both versions' counters: requests flow steadily since long before the rollout, split as the router was told.

    Attributes:
        failing: share of failing requests on a version, from a moment on; oldest first.
    """

    trial: Trial
    failing: dict[str, list[tuple[int, float]]] = field(
        default_factory=lambda: {"canary": [(0, 0.005)], "stable": [(0, 0.005)]}
    )
    began_ms: int = field(default_factory=lambda: now_ms() - 120_000)

    def open(self) -> "Shop":
        for version in ("canary", "stable"):
            for status in ("200", "500"):
                self.trial.metrics.count(
                    REQUESTS,
                    partial(self._total, version, bad=status == "500"),
                    version=version,
                    status=status,
                    instance=f"{version}:80",
                    job="shop",
                )
        return self

    def fails(self, version: str, share: float) -> None:
        """From now on so many of a version's requests fail."""
        self.failing[version].append((now_ms(), share))

    def hide(self, version: str) -> None:
        """Nobody scrapes it any more."""
        metrics = self.trial.metrics
        metrics.counters = [each for each in metrics.counters if each.labels["version"] != version]

    def _total(self, version: str, at_ms: int, *, bad: bool) -> float | None:
        if at_ms < self.began_ms:
            return None
        offset_ms = now_ms() - round(time.monotonic() * 1000)
        written = [(round(each.at * 1000) + offset_ms, each.write.percent / 100) for each in self.trial.router.written]
        splits = [(0, 0.0), *written]
        turns = {since for since, _ in (*splits, *self.failing[version]) if self.began_ms < since < at_ms}
        total = 0.0
        for start, end in pairwise(sorted({self.began_ms, at_ms, *turns})):
            split, failing = _at(splits, start), _at(self.failing[version], start)
            share = split if version == "canary" else 1 - split
            total += (end - start) / 1000 * PER_S * share * (failing if bad else 1 - failing)
        return float(round(total))


def _at(turns: list[tuple[int, float]], moment_ms: int) -> float:
    return next(value for since, value in reversed(turns) if since <= moment_ms)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def counting(trials: Trials, strategy: dict[str, Any] | None = None, **spec: Any) -> tuple[Trial, Shop]:
    gates = spec.pop("gates", {"errors": ERRORS})
    trial = trials.trial(strategy, **spec)
    trial.spec["gates"] = {name: {**gate, "connection": trial.service} for name, gate in gates.items()}
    return trial, Shop(trial).open()
