"""(g) How many batches a second does one core of the product's own code fold?"""

import time

from benchmarks.judge.lab import Lab, Section, Table, gate
from benchmarks.judge.world import World
from rollout.judge.evidence import Batch, Evidence, update

NEEDED = 50_000
RUNS = 15


def run(lab: Lab) -> Section:
    data = {rate: speed(lab, rate) for rate in (10, 100, 1000)}
    slowest, allowed = min(data.values()), NEEDED * (0.5 if lab.quick else 1.0)  # a CI machine may be half as fast
    seen = f"{slowest:,.0f} updates a second, {slowest / NEEDED:.2f} of {NEEDED:,}"
    lab.demand(f"speed ≥ {allowed:,.0f} updates a second", kept=slowest >= allowed, seen=seen)
    rows = [[f"{rate} req/s", f"{value:,.0f}", f"{value / NEEDED:.2f}"] for rate, value in data.items()]
    table = Table("(g) Speed of the product's update", ["batches of 5 s", "updates a second", "of 50 000"], rows)
    return Section([table], {str(rate): value for rate, value in data.items()})


def speed(lab: Lab, rate: float) -> float:
    """The best of some runs over an hour of batches: other programs on the machine only ever slow it down."""
    counts = lab.draw(lab.random(f"speed {rate}"), World(rate, 0.005), 1)
    columns = (part[:, 0].tolist() for part in (counts.n_c, counts.x_c, counts.n_b, counts.x_b))
    batches = [Batch(5000, *row) for row in zip(*columns, strict=True)]
    test, best = gate(), float("inf")
    for _ in range(RUNS):
        state, begun = Evidence(), time.perf_counter()
        for batch in batches:
            state = update(test, state, batch)
        best = min(best, time.perf_counter() - begun)
    return len(batches) / best
