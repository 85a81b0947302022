"""(a) How often is a healthy candidate rolled back? Under fair weather and under four kinds of foul.

In every world both versions fail alike; on the boundary the candidate is exactly as much worse as the gate tolerates,
which is the hardest world in which it must not be blamed.
"""

from collections.abc import Iterator
from typing import Any

from benchmarks.judge.bounds import MARGIN
from benchmarks.judge.lab import ALPHA, BLOCK, Lab, Section, Table, gate, merged
from benchmarks.judge.rivals import RIVALS
from benchmarks.judge.shares import Share, percent
from benchmarks.judge.world import NULLS, Counts, Floats, World

RATES = (10, 100, 1000)
HEALTHY = 0.005
TELLING = 20  # false rollbacks that α would allow: with fewer, a run cannot prove that it is kept
OURS: dict[str, tuple[int, float]] = {
    "Sluice 5 s": (5, ALPHA),
    "Sluice 15 s": (15, ALPHA),
    "Sluice 15 s α 1 %": (15, 0.01),
    "Sluice 5 s α 1 %": (5, 0.01),
}


def run(lab: Lab) -> Section:
    data: dict[str, Any] = {}
    for name, rate, world in worlds():
        found = one(lab, f"{name} {rate}", world)
        shares = {method: Share.within(times, world.seconds) for method, times in found.items()}
        data[f"{name} {rate}"] = {method: share.__dict__ | {"upper": share.upper} for method, share in shares.items()}
        for method, (_, alpha) in OURS.items():
            share = shares[method]
            seen = f"{share.hits} of {share.of}, so at most {percent(share.upper)} %"
            bar = f"false rollback ≤ {percent(alpha)} %: {name}, {rate} req/s, {method}"
            proving = alpha * share.of >= TELLING
            lab.demand(bar, kept=(share.upper if proving else share.lower) <= alpha, seen=seen)
    return Section([table(data, list(OURS), "Sluice"), table(data, list(RIVALS), "the others")], data)


def worlds() -> Iterator[tuple[str, int, World]]:
    for scenario in NULLS:
        yield from ((scenario, rate, World(rate, HEALTHY, scenario=scenario)) for rate in RATES)
    yield from (("boundary", rate, World(rate, MARGIN * HEALTHY)) for rate in RATES)


def one(lab: Lab, name: str, world: World) -> dict[str, Floats]:
    """All methods on one kind of world."""
    rng, parts = lab.random(f"false {name}"), []
    for begin in range(0, lab.sizes.null, BLOCK):
        baselines = min(BLOCK, lab.sizes.kayenta) if begin == 0 else 0
        counts = lab.draw(rng, world, min(BLOCK, lab.sizes.null - begin), baselines=baselines)
        parts.append(everybody(lab, counts, world, prove=begin == 0))
    return merged(parts)


def everybody(lab: Lab, counts: Counts, world: World, *, prove: bool) -> dict[str, Floats]:
    """Seconds until each method rolls back, from the same counts."""
    ours = {
        name: lab.judge(counts, world, gate(alpha), scrape_s, prove=prove) for name, (scrape_s, alpha) in OURS.items()
    }
    return ours | {name: rival(counts) for name, rival in RIVALS.items()}


def table(data: dict[str, Any], methods: list[str], whose: str) -> Table:
    rows = [
        [world, *(str(Share(of[method]["hits"], of[method]["of"])) for method in methods)] for world, of in data.items()
    ]
    note = (
        "Percent of healthy rollouts, in brackets the upper 95 % limit; first column: world and requests a second. "
        "On the boundary the candidate is 25 % worse, which Sluice tolerates; others may rightly see it."
    )
    return Table(f"(a) False rollbacks within an hour: {whose}", ["world", *methods], rows, note)
