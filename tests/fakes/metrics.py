"""A metrics server in memory: its answer is a function of the evaluation time, so asking later gives the same."""

import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from activities.query_answer import Native, NativeSeries, divided
from rollout.errors import MetricsUnavailable, Misconfigured
from rollout.judge.alert import AlertRule
from rollout.judge.counters import Series
from rollout.judge.labels import text
from rollout.judge.threshold import Vector
from rollout.queries import selector as taken_apart

GONE: Vector = {}

_AGGREGATED = re.compile(r"(?P<how>count|sum) by \((?P<by>[^)]*)\) \((?P<of>.*)\)")
_LATELY = re.compile(r"last_over_time\((?P<of>.*)\[(?P<hours>\d+)h\]\)")
_MATCHER = re.compile(r'\s*([a-zA-Z_]\w*)\s*(=~|!~|!=|=)\s*("(?:\\.|[^"\\])*")\s*(?:,|$)')


@dataclass(frozen=True)
class FakeCounter:
    """One counter, or one native histogram, and when it is scraped.

    Attributes:
        name: of the series.
        value: scrape time, Unix milliseconds → value, None where the series is not there; or the samples themselves.
        labels: label → value.
        scrape_ms: distance of scrapes, milliseconds.
        phase_ms: scrapes are at multiples of `scrape_ms`, later by this.
    """

    name: str
    value: Callable[[int], float | Native | None] | Sequence[tuple[int, float]]
    labels: dict[str, str]
    scrape_ms: int = 1000
    phase_ms: int = 0

    def points(self, after_ms: int, until_ms: int) -> list[tuple[int, float | Native]]:
        """Samples with after < time ≤ until, oldest first."""
        if not callable(self.value):
            return [(at, value) for at, value in self.value if after_ms < at <= until_ms]
        first = ((after_ms - self.phase_ms) // self.scrape_ms + 1) * self.scrape_ms + self.phase_ms
        every = [(at, self.value(at)) for at in range(first, until_ms + 1, self.scrape_ms)]
        return [(at, value) for at, value in every if value is not None]

    def last(self, after_ms: int, until_ms: int) -> float | Native | None:
        """The last sample with after < time ≤ until, found from the end."""
        if not callable(self.value):
            return next((value for _, value in reversed(self.points(after_ms, until_ms))), None)
        newest = until_ms - (until_ms - self.phase_ms) % self.scrape_ms
        values = (self.value(at) for at in range(newest, after_ms, -self.scrape_ms))
        return next((value for value in values if value is not None), None)

    def selected_by(self, written: str) -> bool:
        """Whether a plain selector selects it.

        Raises:
            Misconfigured: it is no plain selector.
        """
        try:
            name, matchers = taken_apart(written)
        except ValueError as error:
            raise Misconfigured(f"the query is refused: {error}") from error
        found = _MATCHER.findall(matchers)
        if _MATCHER.sub("", matchers).strip():
            raise Misconfigured(f"the query is refused: {matchers!r}")
        return name == self.name and all(
            _matches(self.labels.get(label, ""), how, json.loads(wanted)) for label, how, wanted in found
        )


def _matches(value: str, how: str, wanted: str) -> bool:
    alike = re.fullmatch(wanted, value) is not None if "~" in how else value == wanted
    return alike != how.startswith("!")


@dataclass
class FakeMetrics:
    """One metrics server whose every query has the same answer.

    Attributes:
        reachable: whether it answers.
        unknown: series names that it has never heard of.
        broken: why every query is wrong; None: it is not.
        rules: its alerting rules.
        counters: what it scrapes; see `count`.
        asked: evaluation times of every request: first and last, Unix milliseconds.
    """

    reachable: bool = True
    unknown: tuple[str, ...] = ()
    broken: str | None = None
    rules: tuple[AlertRule, ...] = ()
    counters: list[FakeCounter] = field(default_factory=list)
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
        times = range(start_ms, end_ms + 1, step_ms)
        if counted := _AGGREGATED.fullmatch(query):
            return {at: self._aggregated(counted["how"], counted["by"].split(", "), counted["of"], at) for at in times}
        self.asked.append((start_ms, end_ms))
        return {at: self._at(at) for at in times}

    def count(
        self,
        name: str,
        value: Callable[[int], float | Native | None] | Sequence[tuple[int, float]],
        *,
        scrape_ms: int = 1000,
        phase_ms: int = 0,
        **labels: str,
    ) -> None:
        """Scrape one more counter.

        Args:
            name: of the series: `http_requests_total`.
            value: scrape time → value, None where it is not there; a sample of a histogram for `histograms`. Or the
                samples themselves, (Unix milliseconds, value).
            scrape_ms: distance of scrapes, milliseconds; they are at multiples of it.
            phase_ms: how much later than that, milliseconds.
            labels: `version`, `instance`, …
        """
        self.counters.append(FakeCounter(name, value, labels, scrape_ms, phase_ms))

    async def samples(self, selector: str, after_ms: int, until_ms: int) -> tuple[Series, ...]:
        """See `ports.MetricSource.samples`."""
        found = []
        for labels, points in self._scraped(selector, after_ms, until_ms):
            numbers = [(at, float(value)) for at, value in points if not isinstance(value, Native)]
            if len(numbers) < len(points):
                raise Misconfigured("the selector selects native histograms, which are no counters")
            found.append(Series(labels, numbers))
        return tuple(found)

    async def histograms(
        self,
        selector: str,
        slower_than_s: float,
        after_ms: int,
        until_ms: int,
        straddle: Literal["within", "beyond"] = "within",
    ) -> tuple[tuple[Series, ...], tuple[Series, ...]]:
        """See `ports.MetricSource.histograms`."""
        found = []
        for labels, points in self._scraped(selector, after_ms, until_ms):
            natives = [(at, value) for at, value in points if isinstance(value, Native)]
            if len(natives) < len(points):
                raise Misconfigured("the selector selects no native histograms; a classic one has a series _bucket")
            found.append(NativeSeries(labels, natives))
        return divided(found, slower_than_s, straddle)

    async def alerts(self) -> tuple[AlertRule, ...]:
        """See `ports.MetricSource.alerts`."""
        self._answer()
        return self.rules

    async def missing(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """See `ports.MetricSource.missing`."""
        self._answer()
        return tuple(name for name in names if name in self.unknown)

    def _scraped(
        self, selector: str, after_ms: int, until_ms: int
    ) -> list[tuple[dict[str, str], list[tuple[int, float | Native]]]]:
        self._answer()
        if self.broken:
            raise Misconfigured(f"query {selector!r}: {self.broken}")
        self.asked.append((after_ms, until_ms))
        selected = [counter for counter in self.counters if counter.selected_by(selector)]
        found = [(counter.labels, counter.points(after_ms, until_ms)) for counter in selected]
        return [(labels, points) for labels, points in found if points]

    def _aggregated(self, how: str, by: Sequence[str], of: str, at_ms: int) -> Vector:
        """`count by (…) (selector)` and `sum by (…) (selector)` of what is scraped, or was in the last hours."""
        lately = _LATELY.fullmatch(of)
        selector = lately["of"] if lately else of
        found: Vector = {}
        for counter in self.counters:
            if not counter.selected_by(selector):
                continue
            last = counter.last(at_ms - (int(lately["hours"]) * 3_600_000 if lately else counter.scrape_ms), at_ms)
            if last is not None and (how == "count" or not isinstance(last, Native)):
                key = text({label: counter.labels[label] for label in by if label in counter.labels})
                found[key] = found.get(key, 0) + (1 if how == "count" or isinstance(last, Native) else last)
        return found

    def _at(self, moment_ms: int) -> Vector:
        return next(vector for since, vector in reversed(self._said) if since <= moment_ms)

    def _answer(self) -> None:
        if not self.reachable:
            raise MetricsUnavailable("the metrics server does not answer")
