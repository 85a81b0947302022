"""What counts prove, carried from scrape to scrape and from stage to stage: the state of one sequential gate.

Three questions are kept as e-processes (`mixture.py`), each a few numbers:

- `worse`: is the candidate more than `margin` times worse than stable? Carried over the whole rollout: one budget.
- `above`: is its share of events above the floor at all? The evidence to roll back is the lesser of the two.
- `fine`: is it surely *not* `proof` times worse? Begun anew in every stage, because it speaks of this stage.

Three guards are not optional; without them every published test fails when errors come in bursts or pods differ: the
margin, the dispersion φ (logarithms are divided by it), and a cap on what one scrape may prove.
Source: `docs/judge.md`. On ties: none. On zeros and missing sides: nothing moves.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import log
from typing import Literal, NamedTuple

from rollout.judge import odds
from rollout.judge.mixture import Mixture

WORSE = (1.5, 2.0, 3.0, 5.0, 9.0, 16.0, 30.0, 60.0, 120.0)  # alternatives, as multiples of the margin
HIGHER = (2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 400.0, 800.0)  # as multiples of the floor
FINE = (0.35, 0.5, 0.625)  # as multiples of `proof`
NOT_EXCLUDED = (0.2, 0.35, 0.5, 0.625, 0.8, 0.9)  # as multiples of the ratio to be excluded
CAP, MOST_CAP = 0.6, 0.9  # of log(1/α); see `cap`
BETA = 0.05  # chance to call a candidate proven that is worse by `proof`, a stage
MOST_SHARE = 0.9  # of a floor's alternative
PROOF_CAP = CAP * log(1 / BETA)
RESERVE = 0.05  # mass kept for bakes that take longer than planned


class Batch(NamedTuple):
    """One scrape of both sides, as increments.

    Attributes:
        span_ms: time it covers, milliseconds.
        n_c: trials of the candidate.
        x_c: events among them.
        n_b: trials of stable.
        x_b: events among them.
    """

    span_ms: int
    n_c: int
    x_c: int
    n_b: int
    x_b: int


@dataclass(frozen=True, slots=True)
class Test:
    """How a gate is judged in a stage; fixed before its first scrape.

    Attributes:
        kind: `whose` for rare events, `odds` for proportions.
        bad: whether more or fewer events are worse.
        margin: ratio to stable that is tolerated; above 1.
        proof: ratio that must be excluded for a proof of health; above `margin`.
        floor: share of events that is never blamed, 0 to 1; None: no floor.
        phi: dispersion, 1 or more.
        alpha: this gate's share of the rollout's false-alarm budget; sets the cap.
        stage: number of the stage; a new number releases `start` and begins `fine` anew.
        start: mass released at the stage's first batch.
        spread: mass spread evenly over `planned_ms`, for regressions that begin later.
        planned_ms: all planned time of this gate, over all its stages, milliseconds.
    """

    __test__ = False  # not one of pytest's

    kind: Literal["whose", "odds"] = "whose"
    bad: Literal["up", "down"] = "up"
    margin: float = 1.25
    proof: float = 2.0
    floor: float | None = 0.001
    phi: float = 1.0
    alpha: float = 0.001
    stage: int = 0
    start: float = 0.5
    spread: float = 0.45
    planned_ms: int = 3_600_000


class Tally(NamedTuple):
    """Trials and events, candidate's and stable's."""

    n_c: int = 0
    x_c: int = 0
    n_b: int = 0
    x_b: int = 0

    def plus(self, batch: Batch) -> "Tally":
        """With one more batch."""
        return Tally(self.n_c + batch.n_c, self.x_c + batch.x_c, self.n_b + batch.n_b, self.x_b + batch.x_b)

    def crossed(self, bad: Literal["up", "down"]) -> tuple[int, int]:
        """Numerator and denominator of how many times worse than stable the candidate is; either may be 0."""
        higher, lower = self.x_c * self.n_b, self.x_b * self.n_c
        return (higher, lower) if bad == "up" else (lower, higher)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything known after some batches; small, and exact when written as JSON and read again.

    Attributes:
        worse: against "not worse than the margin", whole rollout.
        above: against "not above the floor", whole rollout.
        fine: against "worse by `proof`", this stage.
        total: counts of the whole rollout.
        here: counts of this stage.
        stage: number of the stage that was seen last; -1 before the first batch.
        elapsed_ms: time covered by all batches, milliseconds.
    """

    worse: Mixture = Mixture()
    above: Mixture = Mixture()
    fine: Mixture = Mixture()
    total: Tally = Tally()
    here: Tally = Tally()
    stage: int = -1
    elapsed_ms: int = 0

    @property
    def value(self) -> float:
        """The e-value for "the candidate is worse": at most α of healthy rollouts ever see it reach 1/α."""
        return min(self.worse.value, self.above.value) if self.above.worth else self.worse.value

    @property
    def proven_fine(self) -> bool:
        """Whether a worsening by `proof` is excluded in this stage."""
        return bool(self.fine.worth) and self.fine.value >= 1 / BETA


def update(test: Test, before: Evidence, batch: Batch) -> Evidence:
    """Fold one batch.

    Args:
        test: how to judge; may differ from the last batch's in `stage` and `start` only.
        before: the evidence so far.
        batch: what one scrape brought; any size, also empty.
    """
    table = _table(test)
    entered = test.stage != before.stage
    elapsed = before.elapsed_ms + batch.span_ms
    mass = _released(test, elapsed) - _released(test, before.elapsed_ms) + (test.start if entered else 0.0)
    _, n_c, x_c, n_b, x_b = _turned(test, batch)
    logs = table.ratio(n_c, x_c, n_b, x_b, test.margin, table.worse)
    worse = before.worse.after(mass, logs, test.phi, table.cap)
    above = before.above
    if test.floor is not None:
        above = above.after(mass, odds.above(n_c, x_c, test.floor, table.higher), test.phi, table.cap)
    fine = Mixture() if entered else before.fine
    fine = fine.after(1.0, table.ratio(n_c, x_c, n_b, x_b, test.proof, table.fine), test.phi, PROOF_CAP)
    here = (Tally() if entered else before.here).plus(batch)
    return Evidence(worse, above, fine, before.total.plus(batch), here, test.stage, elapsed)


def not_excluded(test: Test, here: Tally) -> float | None:
    """How much worse the candidate could still be: the greatest ratio that this stage's counts do not exclude.

    An anytime-valid upper limit at 95 %, as a risk ratio ("could still be up to 2.9× worse"). From the stage's sums:
    the split between the sides is constant within a stage, and then the sums carry all that the batches do.

    Returns:
        A ratio of 1 or more; None when nothing is excluded, because one side has counted nothing.
    """
    n_c, x_c, n_b, x_b = here
    if test.bad == "down":  # fewer is worse: stable then plays the candidate's part
        n_c, x_c, n_b, x_b = n_b, x_b, n_c, x_c

    def excluded(ratio: float) -> bool:
        logs = odds.whose(n_c, x_c, n_b, x_b, ratio, tuple([ratio * part for part in NOT_EXCLUDED]))
        return Mixture().after(1.0, logs, test.phi).value >= 1 / BETA

    low, high = 1.0, 1000.0
    if not excluded(high):
        return None
    if excluded(low):
        return low
    while high / low > 1.005:
        middle = (low * high) ** 0.5
        low, high = (low, middle) if excluded(middle) else (middle, high)
    return high


class _Table(NamedTuple):
    """What does not change from batch to batch."""

    ratio: Callable[[int, int, int, int, float, tuple[float, ...]], list[float]]
    worse: tuple[float, ...]
    higher: tuple[float, ...]
    fine: tuple[float, ...]
    cap: float


def cap(alpha: float) -> float:
    """What one scrape may prove at most, as a logarithm: two must agree, whatever the burst.

    0.6·log(1/α), as measured at α = 0.001 and below. A budget of a whole percent would make that so small that three or
    four scrapes must agree, so as much as at 0.001 is allowed, up to 0.9·log(1/α): with half of the mass placed, one
    scrape then still proves less than 1/α.
    """
    needed = log(1 / alpha)
    return max(CAP * needed, min(MOST_CAP * needed, CAP * log(1000)))


@lru_cache(maxsize=1024)
def _table(test: Test) -> _Table:
    floor = test.floor or 0.0
    return _Table(
        ratio=odds.whose if test.kind == "whose" else odds.odds,
        worse=tuple([test.margin * times for times in WORSE]),
        higher=tuple([min(floor * times, MOST_SHARE) for times in HIGHER]),
        fine=tuple([test.proof * times for times in FINE]),
        cap=cap(test.alpha),
    )


def _turned(test: Test, batch: Batch) -> Batch:
    """With events that are worse when there are more of them."""
    if test.bad == "up":
        return batch
    return Batch(batch.span_ms, batch.n_c, batch.n_c - batch.x_c, batch.n_b, batch.n_b - batch.x_b)


def _released(test: Test, elapsed_ms: int) -> float:
    """Mass released by the passing of time: `spread` over the planned time, then the reserve, ever more slowly."""
    planned = max(test.planned_ms, 1)
    if elapsed_ms <= planned:
        return test.spread * elapsed_ms / planned
    return test.spread + RESERVE * (1 - planned / elapsed_ms)
