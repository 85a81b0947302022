"""Bets on blocks of a gauge: is the candidate's median pod above stable's upper quarter more often than not?

Null hypothesis: whatever came before, a block is bad with probability ½ at most. Each block, a share λ of the fortune
is bet on "bad" at even odds; by Ville's inequality the mean fortune over four λ reaches 1000 with probability 1/1000 at
most, in however many blocks:

    E = ¼ · Σ_{λ in .25, .5, .75, .95} Π_j (1 + λ if block j is bad, 1 - λ if it is good)

which depends on how many blocks were bad and how many good, so two integers carry it. Thirteen bad blocks in a row are
enough. Source: `docs/judge.md`. A block is never counted as good for want of data; it is skipped.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import exp, log1p
from statistics import median, quantiles
from typing import Literal

STAKES = (0.25, 0.5, 0.75, 0.95)
ENOUGH = 1000.0
LEAST_STABLE = 3  # pods, for an upper quarter
_MOST_LOG = 700.0  # a float ends at e^709

Samples = Mapping[str, tuple[float, ...]]
"""Pod (its label set as text) → finite samples of one block, oldest first."""


@dataclass(frozen=True, slots=True)
class Bets:
    """Everything known after some ticks; exact when written as JSON and read again.

    The samples of the running block are in here too (pods × ticks a block), because a median needs them.

    Attributes:
        bad: blocks in which the candidate was worse.
        good: blocks in which it was not.
        last: how the last block ended; None before the first one's end.
        candidate: of the last block that was not skipped, the candidate's median pod.
        stable: of that block, stable's upper quarter.
        since_ms: when the running block began, Unix milliseconds; None before the first tick.
        broken: whether a tick of the running block had no sample of the candidate.
        candidates: the candidate's samples of the running block.
        stables: stable's.
    """

    bad: int = 0
    good: int = 0
    last: Literal["bad", "good", "skipped"] | None = None
    candidate: float = 0.0
    stable: float = 0.0
    since_ms: int | None = None
    broken: bool = False
    candidates: dict[str, tuple[float, ...]] = field(default_factory=dict)
    stables: dict[str, tuple[float, ...]] = field(default_factory=dict)

    @property
    def value(self) -> float:
        """The e-value: at most 1/1000 of healthy rollouts ever see it reach 1000."""
        logs = [self.bad * log1p(stake) + self.good * log1p(-stake) for stake in STAKES]
        return sum(exp(min(each, _MOST_LOG)) for each in logs) / len(STAKES)


def compared(candidates: Samples, stables: Samples, worse_than: float) -> tuple[bool, float, float]:
    """One block's outcome.

    Args:
        candidates: samples of the candidate's pods, at least one pod.
        stables: samples of stable's pods, at least two pods.
        worse_than: by how much more is still tolerated; 0.2 is a fifth.

    Returns:
        Whether the candidate was worse, its median pod, and stable's upper quarter (linear between pods, numpy's
        default). A tie is not worse. Below zero the tolerance is taken from the size of the number.
    """
    own = median([median(samples) for samples in candidates.values()])
    quarter = quantiles([median(samples) for samples in stables.values()], n=4, method="inclusive")[2]
    return own > quarter + worse_than * abs(quarter), own, quarter
