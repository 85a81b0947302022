"""Lines of a recording from a metrics server's raw samples: the same as `samples.read` reads from a file.

Whoever has the server asks it (`MetricSource.samples`, `MetricSource.evaluate`), in as many pieces as it likes, and
folds the samples with `counters.fold`, as a rollout does; here batches get their times and all gates are joined line by
line. What a server knows better than a file stays: vectors keep their label sets.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from rollout.judge.counters import Counters
from rollout.judge.evidence import Batch, Tally
from rollout.judge.samples import Line
from rollout.judge.threshold import Vector


class Timed(NamedTuple):
    """A batch and when it ended, Unix milliseconds."""

    at_ms: int
    batch: Batch


def timed(after: Counters, batches: Sequence[Batch]) -> list[Timed]:
    """When the batches of one fold ended.

    Args:
        after: the state that the fold gave; its last batch ended at `closed_ms`.
        batches: what the fold gave, oldest first, each beginning where the one before ended.
    """
    ended, at_ms = [], after.closed_ms
    for batch in reversed(batches):
        ended.append(Timed(at_ms, batch))
        at_ms -= batch.span_ms
    return ended[::-1]


def observed_percent(counts: Mapping[str, Iterable[Timed]]) -> float:
    """The candidate's part of all that was counted, percent with two decimals; 0 where nothing was."""
    batches = [each.batch for series in counts.values() for each in series]
    ours, stable = sum(batch.n_c for batch in batches), sum(batch.n_b for batch in batches)
    return round(100 * ours / (ours + stable), 2) if ours + stable else 0.0


def lines(
    since_ms: int,
    percent: float,
    counts: Mapping[str, Iterable[Timed]],
    values: Mapping[str, Mapping[int, Vector | None]],
) -> list[Line]:
    """One run, line by line.

    Args:
        since_ms: when the run began, Unix milliseconds; what ended before is left out.
        percent: percent of traffic on the candidate, all the time.
        counts: of gates that count: their batches.
        values: of the others: the vector at each evaluation time (Unix milliseconds); None where the query failed.
    """
    counted: dict[int, dict[str, Tally]] = {}
    for name, series in counts.items():
        for at_ms, (_, *tally) in series:
            counted.setdefault(at_ms, {})[name] = Tally(*tally)
    asked: dict[int, dict[str, Vector | None]] = {}
    for name, vectors in values.items():
        for at_ms, vector in vectors.items():
            asked.setdefault(at_ms, {})[name] = vector
    times = sorted(at_ms for at_ms in {*counted, *asked} if at_ms >= since_ms)
    return [
        Line(None, (at_ms - since_ms) / 1000, percent, counted.get(at_ms, {}), asked.get(at_ms, {})) for at_ms in times
    ]
