"""Raw samples of cumulative counters: whose they are, what belongs together, and by how much they grew.

- Increment: v_t - v_{t-1}; after a fall (a restart) v_t. Values are rounded half to even *before* they are subtracted,
  so that what is rounded away now is not lost for later. NaN, infinite and negative samples do not exist.
- Events are counted on their own: without a series there were none. Where the trials *without* the event are counted
  (a histogram's bucket), a scrape counts only if it has both, for the same labels without `le`: x = max(0, Δn - Δgood),
  measured against the most that was seen, so that exporters that read the two a moment apart add nothing up. Where the
  trials fall both start anew; where only the good ones fall, the scrape contradicts itself: a new baseline.
"""

from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from math import inf
from typing import Literal, NamedTuple

from rollout.gates.counting import Versions

POD = ("namespace", "pod", "job", "instance")

Side = Literal["candidate", "stable"]
Kind = Literal["trials", "events", "pairs"]


class Series(NamedTuple):
    """Raw samples of one cumulative counter, as scraped.

    Attributes:
        labels: label → value, without `__name__`.
        points: (Unix milliseconds, value), oldest first; values only fall when the counter was reset.
    """

    labels: Mapping[str, str]
    points: Sequence[tuple[int, float]]


class Scraped(NamedTuple):
    """The samples of one series, or of two that are read together.

    Attributes:
        pod: side and identifying labels: `candidate shop 10.0.0.7:8000`.
        side: whose they are.
        kind: what is counted; pairs are trials and the good ones among them.
        key: digest of kind and labels, short because it is kept.
        points: (Unix milliseconds, values), oldest first.
    """

    pod: str
    side: Side
    kind: Kind
    key: str
    points: Sequence[tuple[int, tuple[int, ...]]]


def scraped(versions: Versions, trials: Sequence[Series], events: Sequence[Series], *, good: bool) -> Iterator[Scraped]:
    """Sort series by side and pod; those of other versions are left out.

    Args:
        versions: which series are whose.
        trials: samples of the trials.
        events: samples of the events.
        good: whether `events` count the trials without the event.
    """
    for kind, labels, points in _paired(trials, events) if good else _single(trials, events):
        version = labels.get(versions.label)
        if version == versions.candidate or version == versions.stable:  # noqa: PLR1714 - a set would be made each time
            side: Side = "candidate" if version == versions.candidate else "stable"
            pod = " ".join([side, *[labels[label] for label in POD if label in labels]])
            written = "\0".join([kind, *sorted([f"{name}={value}" for name, value in labels.items()])])
            yield Scraped(pod, side, kind, blake2b(written.encode(), digest_size=6).hexdigest(), points)


def grown(kind: Kind, before: tuple[int, ...] | None, now: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, int]]:
    """By how much a counter grew.

    Args:
        kind: what it counts.
        before: what was kept of its last sample; None for a counter that was born since.
        now: the sample.

    Returns:
        What to keep, and the increments of trials and events; of pairs never more events than trials.
    """
    if kind == "pairs":
        return _pair(before, now)
    more = now[0] - before[0] if before and now[0] >= before[0] else now[0]
    return now, ((more, 0) if kind == "trials" else (0, more))


_Points = list[tuple[int, tuple[int, ...]]]


def _single(trials: Sequence[Series], events: Sequence[Series]) -> Iterator[tuple[Kind, Mapping[str, str], _Points]]:
    for series in trials:
        yield "trials", series.labels, [(at, (round(value),)) for at, value in series.points if 0 <= value < inf]
    for series in events:
        yield "events", series.labels, [(at, (round(value),)) for at, value in series.points if 0 <= value < inf]


def _paired(trials: Sequence[Series], goods: Sequence[Series]) -> Iterator[tuple[Kind, Mapping[str, str], _Points]]:
    """Scrapes that have both. Servers and versions spell `le` differently, so two series may be one bucket."""
    known: dict[frozenset[tuple[str, str]], dict[int, int]] = {}
    for series in goods:
        bucket = frozenset([label for label in series.labels.items() if label[0] != "le"])
        known.setdefault(bucket, {}).update([(at, round(value)) for at, value in series.points if 0 <= value < inf])
    for series in trials:
        good = known.get(frozenset(series.labels.items()), {})
        points: _Points = [
            (at, (round(value), good[at])) for at, value in series.points if at in good and 0 <= value < inf
        ]
        yield "pairs", series.labels, points


def _pair(before: tuple[int, ...] | None, now: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, int]]:
    """Kept are the trials, the good ones, and the most bad ones that were seen."""
    trials, good = now
    bad = max(0, trials - good)
    if before is None or trials < before[0]:
        return (trials, good, bad), (trials, bad)
    if good < before[1]:
        return (trials, good, bad), (0, 0)
    most = max(bad, before[2])
    return (trials, good, most), (trials - before[0], most - before[2])
