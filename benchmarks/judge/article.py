"""(f) The service of the article that began this project: 350 requests a minute, 5 % for an hour, 25 %, then 50 %.

Small traffic, so the question is what can be known at all at 5 %, and what the 25 % and 50 % stages catch.
"""

from typing import Any

import numpy as np

from benchmarks.judge.falses import HEALTHY
from benchmarks.judge.lab import ALPHA, BLOCK, Lab, Section, Table, gate, merged
from benchmarks.judge.rivals import alert, flagger
from benchmarks.judge.shares import Delays, Share, percent
from benchmarks.judge.world import Floats, Stage, World

RATE = 350 / 60
STAGES = (Stage(0.05, 3600), Stage(0.25, 1800), Stage(0.5, 3600))
TIMES = (1, 2, 4, 10, 40)
OURS = {"Sluice α 0.1 %": ALPHA, "Sluice α 1 %": 0.01}  # one of ten gates; the only gate
ENDS = np.cumsum([stage.seconds for stage in STAGES])


def run(lab: Lab) -> Section:
    data: dict[str, Any] = {}
    rows = []
    for times in TIMES:
        world = World(RATE, times * HEALTHY, stages=STAGES)
        for method, told in cell(lab, world, lab.sizes.article if times == 1 else lab.sizes.bad).items():
            data[f"{times}× {method}"] = told
            rows.append([f"{times}×", method, *told["by stage"], told["text"], f"{told['served']:.0f}"])
            if times == 1 and method in OURS:
                blamed = Share(told["blamed"], told["of"])
                seen = f"{blamed.hits} of {blamed.of}, so at most {percent(blamed.upper)} %"
                lab.demand(f"blamed falsely, article's service: {method}", kept=blamed.lower <= OURS[method], seen=seen)
    head = ["candidate's errors", "method", "found by the end of 5 %", "of 25 %", "of 50 %"]
    head += ["median / p95 s", "bad responses served"]
    note = (
        "Stable fails at 0.5 %. Found, as rollouts out of all, cumulative; 1× is healthy: whoever is found is blamed "
        "falsely. Served: candidate's errors until rollback or end, mean."
    )
    return Section([Table("(f) The article's service", head, rows, note)], data)


def cell(lab: Lab, world: World, paths: int) -> dict[str, dict[str, Any]]:
    rng, parts, served = lab.random(f"article {world.p_c}"), [], []
    for done in range(0, paths, BLOCK):
        counts = lab.draw(rng, world, min(BLOCK, paths - done))
        found = {name: lab.judge(counts, world, gate(alpha, world), prove=done == 0) for name, alpha in OURS.items()}
        found |= {"article's rule": alert(counts), "Flagger 5×60 s": flagger(counts)}
        parts.append(found)
        served.append({name: counts.served(times) for name, times in found.items()})
    bad = merged(served)
    return {name: told(times, bad[name]) for name, times in merged(parts).items()}


def told(found: Floats, served: Floats) -> dict[str, Any]:
    shares = [Share.within(found, float(end)) for end in ENDS]
    return {
        "by stage": [f"{share.hits} of {share.of}" for share in shares],
        "blamed": shares[-1].hits,
        "of": shares[-1].of,
        "text": str(Delays(found, float(ENDS[-1]))),
        "served": float(served.mean()),
    }
