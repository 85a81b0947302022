"""(d) Looking more often must not make a false alarm likelier, only a true one sooner.

The same counts, scraped every 1, 5, 15 and 60 s. A z-test that is asked as often shows what it costs when a method
does not allow for that. On the boundary, where the gate may be wrong most often.
"""

from typing import Any

from benchmarks.judge.bounds import MARGIN
from benchmarks.judge.falses import HEALTHY
from benchmarks.judge.lab import ALPHA, Lab, Section, Table, gate, merged
from benchmarks.judge.rivals import z_test
from benchmarks.judge.shares import Delays, Share, percent
from benchmarks.judge.world import Counts, Floats, World

SCRAPES = (1, 5, 15, 60)
RATE = 100
BLOCK = 500  # an hour of seconds is five times as long
BAD = (0.02, 0.05)


def run(lab: Lab) -> Section:
    some = lab.sizes.bad // 2
    edge = judged(lab, World(RATE, MARGIN * HEALTHY), 4 * some)
    plain = judged(lab, World(RATE, HEALTHY), 4 * some)
    bad = {p: judged(lab, World(RATE, p), some) for p in BAD}
    rows, data = [], {}
    for scrape in SCRAPES:
        falses = {"boundary": share(edge, scrape), "plain": share(plain, scrape), "z": share(plain, -scrape)}
        delays = {p: Delays(found[str(scrape)], 3600) for p, found in bad.items()}
        rows.append([f"{scrape} s", *map(str, falses.values()), *map(str, delays.values())])
        medians = {str(p): delay.quantile(0.5) for p, delay in delays.items()}
        data[str(scrape)] = {"false": {k: v.value for k, v in falses.items()}, "median": medians}
        for where in ("boundary", "plain"):
            value = falses[where]
            seen = f"{value.hits} of {value.of}, so at most {percent(value.upper)} %"
            lab.demand(f"false rollback ≤ 0.10 %: {where}, scrape {scrape} s", kept=value.lower <= ALPHA, seen=seen)
    steady(lab, data)
    head = ["scrape", "false on the boundary", "false, plain", "z-test as often, plain", "2 %: median / p95", "5 %"]
    note = f"{RATE} requests a second. Percent of rollouts with the upper 95 % limit; seconds."
    return Section([Table("(d) Looking more often", head, rows, note)], data)


def steady(lab: Lab, data: dict[str, Any]) -> None:
    """The median moves by two intervals at most: one rounds up to a scrape, one because no scrape may decide alone."""
    for p in map(str, BAD):
        for scrape in SCRAPES[1:]:
            moved = data[str(scrape)]["median"][p] - data["1"]["median"][p]
            name = f"median moves by two scrapes at most: {scrape} s, {100 * float(p):.0f} %"
            lab.demand(name, kept=moved <= 2 * scrape, seen=f"by {moved:.0f} s")


def share(found: dict[str, Floats], key: int) -> Share:
    return Share.within(found[str(key)])


def judged(lab: Lab, world: World, paths: int) -> dict[str, Floats]:
    """Seconds by scrape, ours; and the z-test's by minus scrape."""
    rng = lab.random(f"peeking {world.p_c}")
    parts = []
    for done in range(0, paths, BLOCK):
        counts = lab.draw(rng, world, min(BLOCK, paths - done), scrape_s=1)
        parts.append(one(lab, counts, world, prove=done == 0))
    return merged(parts)


def one(lab: Lab, counts: Counts, world: World, *, prove: bool) -> dict[str, Floats]:
    ours = {str(scrape): lab.judge(counts, world, gate(), scrape, prove=prove) for scrape in SCRAPES}
    return ours | {str(-scrape): z_test(counts, every_s=scrape) for scrape in SCRAPES}
