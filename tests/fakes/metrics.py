"""A metrics server in memory: its answer is a function of the evaluation time, so asking later gives the same."""

import time
from dataclasses import dataclass, field

from rollout.errors import MetricsUnavailable, Misconfigured
from rollout.judge.threshold import Vector

GONE: Vector = {}


@dataclass
class FakeMetrics:
    """One metrics server whose every query has the same answer.

    Attributes:
        reachable: whether it answers.
        unknown: series names that it has never heard of.
        broken: why every query is wrong; None: it is not.
        asked: evaluation times of every request: first and last, Unix milliseconds.
    """

    reachable: bool = True
    unknown: tuple[str, ...] = ()
    broken: str | None = None
    asked: list[tuple[int, int]] = field(default_factory=list)
    _said: list[tuple[int, Vector]] = field(default_factory=lambda: [(0, {"": 0.0})])

    def say(self, answer: float | Vector) -> None:
        """From now on every query has this value, or this vector."""
        vector = answer if isinstance(answer, dict) else {"": answer}
        self._said.append((time.time_ns() // 1_000_000, vector))

    async def evaluate(self, query: str, start_ms: int, end_ms: int, step_ms: int) -> dict[int, Vector]:
        """See `ports.MetricSource.evaluate`."""
        self._answer()
        if self.broken:
            raise Misconfigured(f"query {query!r}: {self.broken}")
        self.asked.append((start_ms, end_ms))
        return {at: self._at(at) for at in range(start_ms, end_ms + 1, step_ms)}

    async def missing(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """See `ports.MetricSource.missing`."""
        self._answer()
        return tuple(name for name in names if name in self.unknown)

    def _at(self, moment_ms: int) -> Vector:
        return next(vector for since, vector in reversed(self._said) if since <= moment_ms)

    def _answer(self) -> None:
        if not self.reachable:
            raise MetricsUnavailable("the metrics server does not answer")
