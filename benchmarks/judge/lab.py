"""What the sections share: sizes, random numbers, the proof, the bars, and how a result is told.

Every set of rollouts gets its own generator, seeded by its name, so that one section gives the same numbers whether it
runs alone or with all others.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from benchmarks.judge import history
from benchmarks.judge.ours import NEVER, Proof, Twin, starts, times
from benchmarks.judge.world import Counts, Floats, World, simulate
from rollout.judge.dispersion import dispersion
from rollout.judge.evidence import Test
from rollout.judge.merge import Schedule, schedule

ALPHA = 0.001
BLOCK = 2000  # rollouts at once: their state stays in the processor's cache


@dataclass(frozen=True)
class Sizes:
    """How many rollouts of each kind."""

    null: int
    bad: int
    article: int
    histories: int
    kayenta: int


FULL = Sizes(null=20_000, bad=2000, article=10_000, histories=200, kayenta=300)
QUICK = Sizes(null=1000, bad=400, article=400, histories=40, kayenta=20)


@dataclass(frozen=True)
class Table:
    """One Markdown table."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    def __str__(self) -> str:
        lines = [f"\n### {self.title}\n", *([self.note, ""] if self.note else [])]
        lines += [f"| {' | '.join(self.head)} |", "|" + "---|" * len(self.head)]
        return "\n".join(lines + [f"| {' | '.join(row)} |" for row in self.rows])


@dataclass(frozen=True)
class Section:
    """Tables for people, and the same numbers for programs and plots."""

    tables: Sequence[Table]
    data: dict[str, Any]


@dataclass(frozen=True)
class Bar:
    """A promise, and whether this run keeps it."""

    name: str
    kept: bool
    seen: str


@dataclass
class Lab:
    """One run of the benchmark."""

    seed: int
    quick: bool
    proof: Proof
    bars: list[Bar] = field(default_factory=list)
    pools: dict[tuple[float, str], Floats] = field(default_factory=dict)

    @property
    def sizes(self) -> Sizes:
        return QUICK if self.quick else FULL

    def random(self, name: str) -> np.random.Generator:
        return np.random.default_rng([self.seed, zlib.crc32(name.encode())])

    def demand(self, name: str, *, kept: bool, seen: str) -> None:
        self.bars.append(Bar(name, kept, seen))

    def phi(self, rng: np.random.Generator, world: World, paths: int) -> Floats:
        """A dispersion for each rollout, from a pool of simulated histories."""
        key = (world.rate, world.scenario)
        if key not in self.pools:
            self.pools[key] = self.pool(world, self.random(f"history {key}"))
        return rng.choice(self.pools[key], paths)

    def pool(self, world: World, rng: np.random.Generator) -> Floats:
        """Dispersions from some histories; the first is also given to the product's own estimator."""
        found = []
        for number in range(self.sizes.histories):
            n, x = history.pods(rng, world)
            found.append(history.phi(n, x))
            if number == 0:
                theirs = dispersion(history.by_pod(n, x)).phi
                self.proof.compare(found[0], theirs)
        return np.array(found)

    def draw(
        self, rng: np.random.Generator, world: World, paths: int, *, baselines: int = 0, scrape_s: int = 5
    ) -> Counts:
        """Rollouts with their dispersion."""
        counts = simulate(rng, world, paths, scrape_s=scrape_s, baselines=baselines)
        return replace(counts, phi=self.phi(rng, world, paths))

    def judge(
        self, counts: Counts, world: World, test: Test, scrape_s: int | None = None, *, prove: bool = True
    ) -> Floats:
        """Seconds until our gate rolls back; some of them also by the product."""
        counts = counts.every(scrape_s or counts.scrape_s)
        begins = starts(world.stages, masses(world, test), counts.scrape_s)
        values = Twin(test, counts.phi).feed(counts, begins)
        if prove:
            self.proof.replay(test, counts, begins, values)
        return times(values >= 1 / test.alpha, counts.scrape_s)

    def judge_long(self, rng: np.random.Generator, world: World, counts: Counts, test: Test, hours: int) -> Floats:
        """The same, going on after the drawn hour with new hours for those that are undecided."""
        twin = Twin(test, counts.phi)
        begins = starts(world.stages, masses(world, test), counts.scrape_s)
        left, found, now = np.arange(counts.paths), np.full(counts.paths, NEVER), counts
        for hour in range(hours):
            values = twin.feed(now, begins if hour == 0 else {})
            if hour == 0:
                self.proof.replay(test, now, begins, values)
            hit = times(values >= 1 / test.alpha, counts.scrape_s)
            found[left] = hit + hour * world.seconds
            undecided = np.flatnonzero(np.isinf(hit))
            left = left[undecided]
            if not len(left):
                break
            twin.keep(undecided)
            now = simulate(rng, world, len(left), scrape_s=counts.scrape_s)
        return found


def gate(alpha: float = ALPHA, world: World = World(0, 0)) -> Test:  # noqa: B008 - frozen
    """The product's defaults for one gate that is watched in all stages."""
    placed = planned(world)
    return Test(alpha=alpha, start=placed.starts[0], spread=placed.spread, planned_ms=placed.planned_ms)


def planned(world: World) -> Schedule:
    """When the product places its bets."""
    return schedule([stage.seconds * 1000 for stage in world.stages])


def masses(world: World, test: Test) -> tuple[float, ...]:
    """Mass at the start of each stage; the test's own when there is only one."""
    return (test.start,) if len(world.stages) == 1 else planned(world).starts


def merged(parts: Sequence[dict[str, Floats]]) -> dict[str, Floats]:
    """Blocks of rollouts as one."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
