"""The product's gate for thousands of rollouts at once, and the proof that it is the product's.

`rollout.judge.evidence.update` folds one batch of one rollout; here numpy folds one row of all of them. That would be a
second implementation to trust, so `Proof` replays randomly chosen rollouts of the very same run through the product and
compares every e-value at every scrape.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import log

import numpy as np

from benchmarks.judge.world import Bools, Counts, Floats, Ints, Stage
from rollout.judge import evidence
from rollout.judge.evidence import Batch, Evidence, Test
from rollout.judge.mixture import MOST

NEVER = np.inf
SAME = 1e-9  # relative difference of two e-values that are one


class Twin:
    """What `Evidence` is to one rollout, for many; the arrays are (alternatives, rollouts)."""

    def __init__(self, test: Test, phi: Floats) -> None:
        floor = test.floor or 0.0
        self.test, self.phi, self.elapsed_ms, self.rest = test, phi, 0, 1.0
        self.cap = evidence.cap(test.alpha)
        self.ratios = test.margin * np.array(evidence.WORSE)[:, None]
        shares = np.minimum(floor * np.array(evidence.HIGHER), evidence.MOST_SHARE)[:, None]
        self.with_it, self.without = np.log(shares / floor), np.log((1 - shares) / (1 - floor))
        self.worse = np.zeros((len(self.ratios), len(phi)))
        self.above = np.zeros((len(shares), len(phi)))

    def feed(self, counts: Counts, starts: Mapping[int, float]) -> Floats:
        """Fold some scrapes.

        Args:
            counts: of these rollouts.
            starts: mass that a stage releases, by the row that is its first.

        Returns:
            The e-value after every scrape, (scrapes, rollouts).
        """
        values = np.empty(counts.n_c.shape)
        for row in range(len(values)):
            mass = self._time(counts.scrape_s * 1000) + starts.get(row, 0.0)
            placed = min(mass, self.rest)
            self.rest -= placed
            self._row(placed, counts.n_c[row], counts.x_c[row], counts.n_b[row], counts.x_b[row])
            values[row] = np.minimum(self.worse.mean(0), self.above.mean(0)) + self.rest
        return values

    def keep(self, chosen: Ints) -> None:
        """Forget all other rollouts."""
        self.worse, self.above, self.phi = self.worse[:, chosen], self.above[:, chosen], self.phi[chosen]

    def _time(self, span_ms: int) -> float:
        before, self.elapsed_ms = self.elapsed_ms, self.elapsed_ms + span_ms
        return self._released(self.elapsed_ms) - self._released(before)

    def _released(self, elapsed_ms: int) -> float:
        planned = self.test.planned_ms
        if elapsed_ms <= planned:
            return self.test.spread * elapsed_ms / planned
        return self.test.spread + evidence.RESERVE * (1 - planned / elapsed_ms)

    def _row(self, placed: float, n_c: Ints, x_c: Ints, n_b: Ints, x_b: Ints) -> None:
        seen = (n_c > 0) & (n_b > 0)
        k_c, events = np.where(seen, x_c, 0), np.where(seen, x_c + x_b, 0)
        a, b = np.where(seen, n_c, 1).astype(float), np.where(seen, n_b, 1).astype(float)
        null = self.test.margin
        base = events * np.log(null * a + b) - k_c * log(null)
        logs = base + k_c * np.log(self.ratios) - events * np.log(self.ratios * a + b)
        self._fold(self.worse, placed, logs)
        self._fold(self.above, placed, x_c * self.with_it + np.maximum(n_c - x_c, 0) * self.without)

    def _fold(self, worth: Floats, placed: float, logs: Floats) -> None:
        logs /= self.phi
        np.minimum(logs, self.cap, out=logs)
        np.exp(logs, out=logs)
        worth += placed
        worth *= logs
        np.minimum(worth, MOST, out=worth)


def starts(stages: Sequence[Stage], masses: Sequence[float], scrape_s: int) -> dict[int, float]:
    """The mass of every stage, by the row of its first scrape."""
    rows = np.cumsum([0, *(stage.seconds // scrape_s for stage in stages)])
    return {int(row): mass for row, mass in zip(rows[:-1], masses, strict=True)}


def times(hits: Bools, scrape_s: int) -> Floats:
    """Seconds from the first row to the end of the first one that is hit, a column; infinite where none is."""
    return np.where(hits.any(0), (hits.argmax(0) + 1.0) * scrape_s, NEVER)


@dataclass
class Proof:
    """Replays some rollouts of this run through the product.

    Attributes:
        rng: chooses them.
        a_call: how many of each set of rollouts.
        paths: how many were replayed.
        scrapes: how many batches these had.
        difference: greatest relative difference of two e-values, or two φ.
        phis: how many dispersions were compared.
    """

    rng: np.random.Generator
    a_call: int = 2
    paths: int = 0
    scrapes: int = 0
    difference: float = 0.0
    phis: int = 0

    @property
    def holds(self) -> bool:
        return self.difference <= SAME

    def __str__(self) -> str:
        return (
            f"{self.paths} paths ({self.scrapes:,} scrapes) and {self.phis} dispersions; "
            f"greatest relative difference {self.difference:.1e}"
        )

    def compare(self, mine: float, theirs: float) -> None:
        """A dispersion of ours with the product's."""
        self.difference, self.phis = max(self.difference, abs(mine - theirs) / theirs), self.phis + 1

    def replay(self, test: Test, counts: Counts, begins: Mapping[int, float], values: Floats) -> None:
        """Compare the twin's e-values with the product's for some of the rollouts."""
        some = self.rng.permutation(counts.paths)[: self.a_call]
        for path in some:
            mine = values[:, path]
            theirs = product(test, counts, begins, int(path))
            apart = float(np.max(np.abs(mine - theirs) / theirs))
            self.difference = apart if not apart <= self.difference else self.difference  # so that NaN stays
            self.paths, self.scrapes = self.paths + 1, self.scrapes + len(theirs)


def product(test: Test, counts: Counts, begins: Mapping[int, float], path: int) -> Floats:
    """The e-value after every scrape of one rollout, from the code that ships."""
    test = replace(test, phi=float(counts.phi[path]))
    columns = (counts.n_c[:, path], counts.x_c[:, path], counts.n_b[:, path], counts.x_b[:, path])
    state, values, stage = Evidence(), [], -1
    for row, batch in enumerate(zip(*(column.tolist() for column in columns), strict=True)):
        if row in begins:
            stage += 1
            test = replace(test, stage=stage, start=begins[row])
        state = evidence.update(test, state, Batch(counts.scrape_s * 1000, *batch))
        values.append(state.value)
    return np.array(values)
