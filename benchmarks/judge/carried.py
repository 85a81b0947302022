"""(e) One budget for the whole rollout, evidence carried from stage to stage; or anew in each with a third of it.

5, 25 and 50 % for ten minutes each, a candidate slightly bad from the first request.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.judge.lab import ALPHA, Lab, Section, Table, gate
from benchmarks.judge.shares import Delays
from benchmarks.judge.world import Counts, Floats, Stage, World

MINUTES_10 = 600
STAGES = (Stage(0.05, MINUTES_10), Stage(0.25, MINUTES_10), Stage(0.5, MINUTES_10))


def run(lab: Lab) -> Section:
    data: dict[str, Any] = {}
    for rate in (10, 100):
        for p_c in (0.01, 0.02):
            data[f"{rate} req/s, {100 * p_c:.0f} %"] = cell(lab, rate, p_c)
    rows = [[world, *(told[way][key] for way in told for key in ("text", "served"))] for world, told in data.items()]
    head = ["world", "carried: median / p95", "bad responses served", "restarted, α/3 each", "bad responses served"]
    note = "Seconds since the first request, the share found within the 30 minutes where it is not all; mean served."
    return Section([Table("(e) Carried over the stages, or begun anew", head, rows, note)], data)


def cell(lab: Lab, rate: float, p_c: float) -> dict[str, dict[str, str]]:
    world = World(rate, p_c, stages=STAGES)
    counts = lab.draw(lab.random(f"carried {rate} {p_c}"), world, lab.sizes.bad)
    found = {"carried": lab.judge(counts, world, gate(ALPHA, world)), "restarted": restarted(lab, counts, world)}
    return {way: {"text": str(Delays(t, 1800)), "served": f"{counts.served(t).mean():.0f}"} for way, t in found.items()}


def restarted(lab: Lab, counts: Counts, world: World) -> Floats:
    """Every stage on its own."""
    found, begin = np.full(counts.paths, np.inf), 0
    for stage in world.stages:
        alone = replace(world, stages=(stage,))
        test = gate(ALPHA / len(world.stages), alone)
        now = lab.judge(counts.rows(begin, begin + stage.seconds), alone, test)
        found = np.minimum(found, now + begin)
        begin += stage.seconds
    return found
