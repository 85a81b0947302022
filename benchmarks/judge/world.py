"""The simulated world: requests and errors of both versions, one row a scrape, one column a rollout.

Requests arrive as a Poisson process and fail independently, so errors and successes are drawn as two independent
Poisson counts (thinning): the same distribution as requests first and a binomial draw after, several times faster.
Nothing here knows about any method. Scrapes of both versions are taken at the same instants and without lag: add your
own lag to every column of every table.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Scenario = Literal["plain", "outage", "drift", "burst", "pods"]
NULLS: tuple[Scenario, ...] = ("plain", "outage", "drift", "burst", "pods")

CLUSTER = 3.0  # errors in a burst on average, geometric: a dispersion of 5
SPREAD = 0.15  # σ of the logarithm of a pod's own factor
NEW_PODS, OLD_PODS = 2, 38


@dataclass(frozen=True)
class Stage:
    """So much for the candidate, so long."""

    share: float
    seconds: int


HOUR = (Stage(0.05, 3600),)


@dataclass(frozen=True)
class World:
    """One kind of rollout.

    Attributes:
        rate: requests a second, both versions together.
        p_c: candidate's share of failing requests, before the scenario acts.
        p_b: stable's.
        scenario: what happens to both alike.
        bad_from_s: until then the candidate fails as stable does, seconds after its first request.
        stages: the candidate's share of traffic over time.
    """

    rate: float
    p_c: float
    p_b: float = 0.005
    scenario: Scenario = "plain"
    bad_from_s: int = 0
    stages: tuple[Stage, ...] = HOUR

    @property
    def seconds(self) -> int:
        return sum([stage.seconds for stage in self.stages])


@dataclass(frozen=True)
class Counts:
    """Increments; arrays of shape (scrapes, rollouts), oldest first.

    Attributes:
        scrape_s: seconds a row covers.
        n_c: candidate's requests, and `x_c` its errors.
        n_b: stable's, and `x_b`.
        n_e: a fresh baseline's as large as the candidate (Kayenta asks for one), and `x_e`; for few rollouts.
        phi: dispersion measured before each rollout.
    """

    scrape_s: int
    n_c: Ints
    x_c: Ints
    n_b: Ints
    x_b: Ints
    n_e: Ints = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    x_e: Ints = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    phi: Floats = field(default_factory=lambda: np.ones(0))

    @property
    def paths(self) -> int:
        return len(self.n_c[0])

    def every(self, seconds: int) -> "Counts":
        """The same, scraped less often."""
        times = seconds // self.scrape_s
        if times == 1:
            return self
        six = (self.n_c, self.x_c, self.n_b, self.x_b, self.n_e, self.x_e)
        n_c, x_c, n_b, x_b, n_e, x_e = (_gathered(rows, times) for rows in six)
        return Counts(seconds, n_c, x_c, n_b, x_b, n_e, x_e, self.phi)

    def rows(self, begin_s: int, end_s: int) -> "Counts":
        """Some of the time; without the fresh baseline."""
        part = slice(begin_s // self.scrape_s, end_s // self.scrape_s)
        n_c, x_c, n_b, x_b = (rows[part] for rows in (self.n_c, self.x_c, self.n_b, self.x_b))
        return Counts(self.scrape_s, n_c, x_c, n_b, x_b, phi=self.phi)

    def served(self, until_s: Floats) -> Floats:
        """Candidate's errors that people met until then, or until the end."""
        rows = (np.minimum(until_s, len(self.x_c) * self.scrape_s) / self.scrape_s).astype(int) - 1
        met: Floats = np.cumsum(self.x_c, 0)[rows, np.arange(self.paths)].astype(float)
        return met


def _gathered(rows: Ints, times: int) -> Ints:
    if not rows.size:
        return rows
    whole: Ints = rows.reshape(rows.shape[0] // times, times, rows.shape[1]).sum(1)
    return whole


def simulate(rng: np.random.Generator, world: World, paths: int, *, scrape_s: int = 5, baselines: int = 0) -> Counts:
    """Draw some rollouts, without their history (`history.py`)."""
    rows = world.seconds // scrape_s
    at = np.arange(rows) * scrape_s
    ends = np.cumsum([stage.seconds for stage in world.stages])
    share = np.array([stage.share for stage in world.stages])[np.searchsorted(ends, at, side="right")]
    p_b = world.p_b * np.ones(rows)
    p_c = np.where(at < world.bad_from_s, world.p_b, world.p_c)
    p_b, p_c = weather(world.scenario, p_b, at), weather(world.scenario, p_c, at)
    total = world.rate * scrape_s

    def side(part: Floats, p: Floats, columns: int, pods: int) -> tuple[Ints, Ints]:
        own = factors(rng, columns, pods).mean(0) if world.scenario == "pods" else np.ones(columns)
        return drawn(rng, (total * part)[:, None], np.outer(p, own), bursts=world.scenario == "burst")

    n_c, x_c = side(share, p_c, paths, NEW_PODS)
    n_b, x_b = side(1 - share, p_b, paths, OLD_PODS)
    n_e, x_e = side(share, p_b, baselines, NEW_PODS)
    return Counts(scrape_s, n_c, x_c, n_b, x_b, n_e, x_e)


def weather(scenario: Scenario, p: Floats, at_s: Ints, outage_s: int = 1200) -> Floats:
    """What happens to the error ratio of everybody: ten points more for two minutes, or a swing of ×0.3 to ×3."""
    if scenario == "outage":
        return p + 0.1 * ((at_s >= outage_s) & (at_s < outage_s + 120))
    if scenario == "drift":
        return p * 10 ** (0.5 * np.sin(2 * np.pi * at_s / 3600))
    return p


def factors(rng: np.random.Generator, columns: int, pods: int) -> Floats:
    """Every pod's own factor on its error ratio, (pods, columns)."""
    return np.exp(SPREAD * rng.standard_normal((pods, columns)) - SPREAD**2 / 2)


def drawn(rng: np.random.Generator, mean: Floats, p: Floats, *, bursts: bool) -> tuple[Ints, Ints]:
    """Requests and errors, for a mean number of requests and a share that fails."""
    if not bursts:
        failed = rng.poisson(mean * p)
        return failed + rng.poisson(mean * (1 - p)), failed
    n = rng.poisson(np.broadcast_to(mean, p.shape))
    clusters = rng.poisson(mean * p / CLUSTER)
    more = rng.negative_binomial(np.maximum(clusters, 1), 1 / CLUSTER)
    return n, np.minimum(clusters + np.where(clusters > 0, more, 0), n)
