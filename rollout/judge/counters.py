"""From raw samples of cumulative counters to batches of increments: what every scrape brought, counted once.

`rate()` and `increase()` were rejected: they extrapolate to fractions and lose a series' first increments, which are
exactly the first errors. All is decided by sample times alone, so that any cutting of the same samples into polls (also
one catch-up after a crash) gives the same batches and the same state, bit for bit. How a counter grows is in
`scrapes.py`; here is when that counts:

- Samples at or before `since` are the baseline. A series first seen later was born later and counts in full; that is
  how the first error of a series that did not exist is seen. Only when nothing at all was seen before (nobody scraped)
  can a birth not be told from a late look: then the first minute of samples is the baseline. And a pod that begins with
  more than both sides have ever counted was not born but found late: its first sample is its baseline.
- Samples are folded in up to the watermark, the time until which every live pod has told everything: all its trials,
  and all its events unless these lag 1.5 scrapes behind (its error series went with a restart). Two queries that
  straddle a scrape thus do no harm; events that still come without their trials wait for them: always x ≤ n.
- A pod that says nothing for 3 scrapes, while others do, is silent and not waited for. Should it return, all that it
  has counted meanwhile comes with the next batch.
- A batch closes when every live pod has reported since the last one. A gap in which nobody reported closes it too, and
  then every pod gets 3 scrapes to report: what one side did in an outage must not meet the other side's calm minute.
- Where there is nothing at all for longer than `LOOK_BACK_MS`, the watermark follows 3 scrapes behind.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from rollout.errors import Misconfigured
from rollout.gates.counting import Versions
from rollout.judge.evidence import Batch, Tally
from rollout.judge.pods import SILENT, Pod, told_until
from rollout.judge.scrapes import Kind, Scraped, Series, Side, grown, scraped

__all__ = ["LOOK_BACK_MS", "MOST_SERIES", "Counters", "Pod", "Series", "begin", "fold", "wanted_after"]

LOOK_BACK_MS = 300_000
MINUTE_MS = 60_000
PLAUSIBLE = 1000  # trials of a pod that was just born
FORGOTTEN_MS = 3_600_000  # only where there is no room: a pod that was silent for so long does not come back
MOST_SERIES = 2000


@dataclass(frozen=True, slots=True)
class Counters:
    """Where every counter is, and the batch that is not complete. Exact when written as JSON and read again.

    Attributes:
        since_ms: start of counting; what was counted before is not ours, Unix milliseconds.
        at_ms: time of the last sample folded in, Unix milliseconds.
        watermark_ms: samples after this are to be asked for, Unix milliseconds.
        closed_ms: end of the last batch, Unix milliseconds.
        scrape_ms: scrape interval, the longest of the live pods'; a minute until it is known, milliseconds.
        observed_ms: time since `since_ms` in which both sides were seen, milliseconds; a gap of more than 3 scrapes
            counts as one scrape.
        newest: side → time of the newest sample of its trials, folded in or not, Unix milliseconds; 0 for none ever.
        rest: increments of the batch that is not complete.
        counted: trials of both sides since the start.
        pods: side and identifying labels → pod.
    """

    since_ms: int
    at_ms: int
    watermark_ms: int
    closed_ms: int
    scrape_ms: int = MINUTE_MS
    observed_ms: int = 0
    newest: dict[Side, int] = field(default_factory=lambda: {"candidate": 0, "stable": 0})
    rest: Tally = Tally()
    counted: int = 0
    pods: dict[str, Pod] = field(default_factory=dict)

    @property
    def silent(self) -> tuple[str, ...]:
        """Pods that reported since the start and are no longer waited for, sorted."""
        oldest_ms = self.at_ms - SILENT * self.scrape_ms
        lost = [name for name, pod in self.pods.items() if pod.last_ms > self.since_ms and pod.alive_ms < oldest_ms]
        return tuple(sorted(lost))


def begin(since_ms: int) -> Counters:
    """Nothing is known yet; counting starts at this time, Unix milliseconds."""
    before_ms = since_ms - LOOK_BACK_MS
    return Counters(since_ms=since_ms, at_ms=before_ms, watermark_ms=before_ms, closed_ms=before_ms)


def wanted_after(counters: Counters) -> int:
    """After which time samples are to be asked for, Unix milliseconds, exclusive; at first `LOOK_BACK_MS` too early."""
    return counters.watermark_ms


def fold(
    counters: Counters,
    versions: Versions,
    trials: Sequence[Series],
    events: Sequence[Series],
    *,
    good: bool,
    until_ms: int,
) -> tuple[Counters, list[Batch]]:
    """Fold what a poll brought.

    Args:
        counters: the state before.
        versions: which series are whose; others are ignored.
        trials: samples since `wanted_after`.
        events: the same of the events; asked up to the same time.
        good: whether `events` count the trials without the event; the same in every fold.
        until_ms: until when samples were asked for, Unix milliseconds; later ones are ignored.

    Returns:
        The state after, and the batches that are complete, oldest first.

    Raises:
        Misconfigured: more than `MOST_SERIES` series.
    """
    folding = _Folding(counters)
    for series in scraped(versions, trials, events, good=good):
        folding.hear(series, until_ms)
    return folding.done(until_ms), folding.batches


class _Folding:
    """One fold: hear all series, then take their samples in the order of time."""

    def __init__(self, before: Counters) -> None:
        self.batches: list[Batch] = []
        self._asked_after = before.watermark_ms
        self._since, self._at, self._closed = before.since_ms, before.at_ms, before.closed_ms
        self._scrape, self._observed, self._counted = before.scrape_ms, before.observed_ms, before.counted
        self._rest, self._newest = list(before.rest), dict(before.newest)
        self._pods = {name: pod._replace(values=dict(pod.values)) for name, pod in before.pods.items()}
        self._series = sum([len(pod.values) for pod in self._pods.values()])
        self._told = {name: [pod.trial_ms, pod.event_ms] for name, pod in self._pods.items()}
        self._seen: dict[Side, int] = {"candidate": 0, "stable": 0}
        for pod in self._pods.values():
            self._seen[pod.side] = max(self._seen[pod.side], pod.alive_ms)
        self._samples: dict[int, list[tuple[Scraped, tuple[int, ...]]]] = {}

    def hear(self, series: Scraped, until_ms: int) -> None:
        """Sort a series' samples by time."""
        last = 0
        for at, value in series.points:
            if self._asked_after < at <= until_ms:
                self._samples.setdefault(at, []).append((series, value))
                last = max(last, at)
        if last:
            told = self._told.setdefault(series.pod, [0, 0])
            events = series.kind == "events"
            told[events] = max(told[events], last)
            if not events:
                self._newest[series.side] = max(self._newest[series.side], last)

    def done(self, until_ms: int) -> Counters:
        """Take everything up to the watermark."""
        waiting = sorted(self._samples, reverse=True)
        newest = max([each for told in self._told.values() for each in told], default=0)
        quiet = until_ms - max(newest, self._since) > LOOK_BACK_MS
        complete = until_ms if quiet else told_until(self._told.values(), self._scrape)
        while waiting and waiting[-1] <= complete:
            if self._take(waiting.pop()) and not quiet:
                complete = told_until(self._told.values(), self._scrape)
        watermark = max(self._at, until_ms - SILENT * self._scrape) if quiet else self._at
        return Counters(
            since_ms=self._since,
            at_ms=self._at,
            watermark_ms=watermark,
            closed_ms=self._closed,
            scrape_ms=self._scrape,
            observed_ms=self._observed,
            newest=self._newest,
            rest=Tally(*self._rest),
            counted=self._counted,
            pods=self._pods,
        )

    def _take(self, at: int) -> bool:
        """Take all samples of one time; whether the scrape interval is another one now."""
        limit = SILENT * self._scrape
        if self._pods and at - self._at > limit:
            self._finish()
            for name, pod in self._pods.items():
                if pod.alive_ms >= self._at - limit:
                    self._pods[name] = pod._replace(alive_ms=at)
                    self._seen[pod.side] = at
        elif not self._pods and at > self._since:
            self._since = at + MINUTE_MS
        self._report(at)
        late = self._seen_late(at)
        for series, value in self._samples[at]:
            self._count(series, value, counts=at > self._since and series.pod not in late)
        passed = at - max(self._at, self._since)
        if passed > 0 and at - min(self._seen.values()) <= limit:
            self._observed += self._scrape if passed > limit else passed
        self._at = at
        return self._close()

    def _report(self, at: int) -> None:
        """Note who has reported at this time."""
        reported: dict[str, tuple[Side, set[Kind]]] = {}
        for series, _ in self._samples[at]:
            reported.setdefault(series.pod, (series.side, set()))[1].add(series.kind)
        for name, (side, kinds) in reported.items():
            pod = (self._pods.get(name) or Pod(side, 0, 0, at, 0, {})).reported(at, kinds)
            self._pods[name] = pod
            self._seen[side] = max(self._seen[side], pod.alive_ms)

    def _seen_late(self, at: int) -> set[str]:
        """Pods whose counters cannot have begun since the start: more in one scrape than both sides ever counted."""
        begun: dict[str, int] = {}
        for series, value in self._samples[at]:
            before = self._pods[series.pod].values.get(series.key)
            if series.kind != "events" and (before is None or value[0] < before[0]):
                begun[series.pod] = begun.get(series.pod, 0) + value[0]
        most = max(PLAUSIBLE, self._counted)
        return {pod for pod, trials in begun.items() if trials > most}

    def _count(self, series: Scraped, value: tuple[int, ...], *, counts: bool) -> None:
        """Add a sample's increments, or only keep it as the baseline."""
        values = self._pods[series.pod].values
        before = values.get(series.key)
        values[series.key], (n, x) = grown(series.kind, before, value)
        if counts:
            first = 0 if series.side == "candidate" else 2
            self._rest[first] += n
            self._counted += n
            self._rest[first + 1] += x
        if before is None:
            self._series += 1
            if self._series > MOST_SERIES:
                self._make_room()

    def _close(self) -> bool:
        """Close the batch if every live pod has reported; whether the scrape interval is another one now."""
        start = self._closed if self._at <= self._since else max(self._closed, self._since)
        oldest = self._at - SILENT * self._scrape
        if any(pod.last_ms <= start and pod.alive_ms >= oldest for pod in self._pods.values()):
            return False
        self._finish()
        before, steps = self._scrape, [pod.step_ms for pod in self._pods.values() if pod.alive_ms >= oldest]
        self._scrape = max(steps, default=0) or before
        return self._scrape != before

    def _finish(self) -> None:
        """End the batch with the last sample; before the start there is none."""
        start = max(self._closed, self._since)
        if self._at > start:
            n_c, x_c, n_b, x_b = self._rest
            batch = Batch(self._at - start, n_c, min(x_c, n_c), n_b, min(x_b, n_b))
            self.batches.append(batch)
            self._rest = [0, x_c - batch.x_c, 0, x_b - batch.x_b]
        self._closed = self._at

    def _make_room(self) -> None:
        oldest = max(pod.alive_ms for pod in self._pods.values()) - FORGOTTEN_MS
        for name in [name for name, pod in self._pods.items() if pod.alive_ms < oldest]:
            self._series -= len(self._pods.pop(name).values)
        if self._series > MOST_SERIES:
            raise Misconfigured(
                f"more than {MOST_SERIES} series to count; narrow the selector to one service, and sum labels such as"
                " paths away with a recording rule"
            )
