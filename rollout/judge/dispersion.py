"""How many events usually come at once: the dispersion φ, from stable's own past.

The sequential tests take events for independent. Real errors come in bursts (one bad query, one restarting pod), and
then every such test blames healthy releases. φ says how much more the events of two halves of *the same release*
differ than independent ones would, and all evidence is divided by it. Two halves of one release share outages, drifts
and busy hours, so those do not count as dispersion; a variance over time, which needs no pods, would count them.

Source: `docs/judge.md`; for a split of the pods into halves A and B, and blocks of τ = 15, 60, 300 s,

    φ_τ = [Σ (x_A - K·π)² + 7.5] / [Σ v + 5],   v = K·π·(1 - π),

with K events in both halves and π = n_A / (n_A + n_B) trials of the block in A. That is Pearson's statistic of the
binomial split of K, drawn towards 1.5 by five imaginary events. Where proportions are not rare, K events among N trials
leave less room and the split is hypergeometric: v = K·π·(1 - π)·(N - K)/(N - 1). The coarse scales see what lasts
longer than a scrape, from fewer blocks: they count one standard error less, times 1 - √(2/blocks). The result is
φ = max(1, max_τ φ_τ), each φ_τ the mean over five splits. Dividing logarithms by φ is exact for clusters of constant
size φ.

Zeros: a block without events, or with one half idle, adds nothing. No data: φ = 3, and the source says so.

Where there are no two pods (a single one; a recording, which knows no pods) `neighbours` takes blocks that follow each
other for the two halves. An outage's edges then look like bursts, so the past is cut into up to eight parts and the
median of their φ_τ counts: an outage or two spoils few of them. What it cannot see: pods that differ, and bursts so
rare that most parts have none.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from hashlib import blake2b
from itertools import pairwise
from math import sqrt
from statistics import median
from typing import Literal

from pydantic import Field

from rollout.base import Told
from rollout.durations import text

BLOCK_S = 15
"""Length of the blocks that are handed in, seconds."""

ASSUMED = 3.0
"""φ where the past says nothing."""

SPLITS = 5
SCALES = (1, 4, 20)  # in blocks: 15, 60, 300 s
NEIGHBOURS = (1, 4, 12)  # in blocks
TOWARDS, IMAGINED = 1.2, 5.0
PARTS = 8
LEAST_PAIRS = 6  # in a part: the median of a square is less than half of its mean
LEAST_TIME = timedelta(minutes=30)
LEAST_EVENTS = 20

Block = tuple[int, int]
"""Trials and events of one pod in one block."""

_Sums = list[int]


class Dispersion(Told):
    """How many events usually come at once.

    Attributes:
        phi: 1 for independent events.
        source: where that is known from, for people: `estimated from 6h of 12 pods, 843 errors`.
    """

    phi: float = Field(ge=1)
    source: str


def given(phi: float) -> Dispersion:
    """What the spec says itself."""
    return Dispersion(phi=phi, source="given in the spec")


def assumed(why: str = "no history") -> Dispersion:
    """Nothing is known, for a reason."""
    return Dispersion(phi=ASSUMED, source=f"{why}: {ASSUMED:g} assumed")


def dispersion(
    pods: Mapping[str, Sequence[Block]], *, kind: Literal["whose", "odds"] = "whose", noun: str = "errors"
) -> Dispersion:
    """Estimate φ from stable's past.

    Args:
        pods: for every pod of stable, one (trials, events) for each block of 15 s, oldest first; the same blocks for
            all, (0, 0) where a pod was not there or was not scraped.
        kind: `odds` for proportions that are not rare.
        noun: what an event is called.

    Raises:
        ValueError: pods have different numbers of blocks.
    """
    if len({len(blocks) for blocks in pods.values()}) > 1:
        msg = f"the pods must have the same blocks, not {sorted({len(blocks) for blocks in pods.values()})} of them"
        raise ValueError(msg)
    seen = {pod: blocks for pod, blocks in pods.items() if any(trials for trials, _ in blocks)}
    if not seen:
        return assumed()
    trials, events = _summed(seen.values())
    lasted = timedelta(seconds=BLOCK_S * _extent(trials))
    if lasted < LEAST_TIME:
        return assumed(f"only {text(lasted)} of history")
    if sum(events) < LEAST_EVENTS:
        return assumed(f"only {sum(events)} {noun} in {text(lasted)} of history")
    if len(seen) < 2:
        phi = neighbours(next(iter(seen.values())), kind=kind)
        source = f"estimated from neighbouring scrapes of one pod, {text(lasted)}, {sum(events)} {noun}"
        return Dispersion(phi=phi, source=source)
    halves = [_summed(seen[pod] for pod in _half(seen, split)) for split in range(SPLITS)]
    phi = max(_at_scale(halves, (trials, events), scale, kind) for scale in SCALES)
    source = f"estimated from {text(lasted)} of {len(seen)} pods, {sum(events)} {noun}"
    return Dispersion(phi=max(1.0, phi), source=source)


def neighbours(blocks: Iterable[Block], *, kind: Literal["whose", "odds"] = "whose") -> float:
    """Estimate φ from one series, by comparing blocks that follow each other.

    There is no least number of events: φ_τ is drawn towards 1.2 by five imaginary ones, shared among the parts. That
    is 1.2 where nothing happened, and half of the way to the truth with twenty events (what two neighbours have
    together varies by a quarter). Towards 1.5 a short incident is seen 15 % later and no burst is forgiven more often.

    Args:
        blocks: trials and events, oldest first; of any length, but all of about the same.
        kind: `odds` for proportions that are not rare.

    Returns:
        φ, 1 or more.
    """
    rows = list(blocks)
    trials, events = [n for n, _ in rows], [x for _, x in rows]
    return max(1.0, *[_between(trials, events, scale, kind) for scale in NEIGHBOURS])


def _between(trials: _Sums, events: _Sums, scale: int, kind: Literal["whose", "odds"]) -> float:
    """The median φ_τ of all parts, for blocks of one length."""
    every_n, every_x = _coarser(trials, scale), _coarser(events, scale)
    pairs = []
    for at in range(len(every_n) % 2, len(every_n), 2):
        n_a, n_b, x_a, both = every_n[at], every_n[at + 1], every_x[at], every_x[at] + every_x[at + 1]
        if both and n_a and n_b:
            share = n_a / (n_a + n_b)
            pairs.append(((x_a - both * share) ** 2, _variance(n_a + n_b, both, share, kind)))
    parts = min(PARTS, max(1, len(pairs) // LEAST_PAIRS))
    drawn = (TOWARDS * IMAGINED / parts, IMAGINED / parts)
    cuts = [number * len(pairs) // parts for number in range(parts + 1)]
    found = []
    for start, end in pairwise(cuts):
        squares, variance = (sum(column) for column in zip(*pairs[start:end], drawn, strict=True))
        found.append(squares / variance)
    return float(median(found)) * _less(scale, len(pairs))


def _half(pods: Mapping[str, object], split: int) -> list[str]:
    """Half of the pods, by a hash: the same on every host, and another half for every split."""
    drawn = sorted(pods, key=lambda pod: (blake2b(f"{split}:{pod}".encode(), digest_size=8).digest(), pod))
    return drawn[: len(drawn) // 2]


def _summed(pods: Iterable[Sequence[Block]]) -> tuple[_Sums, _Sums]:
    """Trials and events of several pods together, block by block."""
    rows = list(zip(*pods, strict=True))
    return [sum([n for n, _ in row]) for row in rows], [sum([x for _, x in row]) for row in rows]


def _extent(trials: _Sums) -> int:
    """Blocks from the first to the last in which anything was counted."""
    busy = [number for number, count in enumerate(trials) if count]
    return busy[-1] - busy[0] + 1 if busy else 0


def _coarser(blocks: _Sums, scale: int) -> _Sums:
    """Sums of `scale` blocks each; what is left over is the oldest."""
    return [sum(blocks[at : at + scale]) for at in range(len(blocks) % scale, len(blocks), scale)]


def _at_scale(
    halves: Sequence[tuple[_Sums, _Sums]], whole: tuple[_Sums, _Sums], scale: int, kind: Literal["whose", "odds"]
) -> float:
    """The mean φ_τ of all splits, for blocks of one length."""
    every_n, every_x = (_coarser(blocks, scale) for blocks in whole)
    found = []
    for half in halves:
        half_n, half_x = (_coarser(blocks, scale) for blocks in half)
        squares, variance, blocks = 7.5, 5.0, 0
        for n_a, x_a, n, events in zip(half_n, half_x, every_n, every_x, strict=True):
            if not events or not 0 < n_a < n:
                continue
            share = n_a / n
            squares += (x_a - events * share) ** 2
            variance += _variance(n, events, share, kind)
            blocks += 1
        found.append(squares / variance * _less(scale, blocks))
    return sum(found) / len(found)


def _variance(trials: int, events: int, share: float, kind: Literal["whose", "odds"]) -> float:
    """Variance of how independent events fall on two halves, one of which has this share of the trials."""
    binomial = events * share * (1 - share)
    return binomial * (trials - events) / (trials - 1) if kind == "odds" else binomial


def _less(scale: int, blocks: int) -> float:
    """What the coarse scales count less: one standard error, so nothing up to two blocks."""
    return max(0.0, 1 - sqrt(2 / max(blocks, 1))) if scale > 1 else 1.0
