"""(c) A candidate that is healthy for half an hour and then is not: a leak, a cron job, a cache that ran out.

A bet that was placed at the start has lost its worth by then, so mass is also placed at every scrape. Compared: that,
all mass at the start, and the same fault from the first request ("fresh").
"""

from typing import Any

from benchmarks.judge.lab import Lab, Section, Table, gate
from benchmarks.judge.rivals import RIVALS
from benchmarks.judge.shares import Delays, Share, percent
from benchmarks.judge.world import Floats, World
from rollout.judge.evidence import Test

TURNS_S, REST_S = 1800, 1800
MOST = 2.5  # times the fresh delay
OTHERS = ("article's rule", "Flagger 5×60 s", "Lindon–Malek")


def run(lab: Lab) -> Section:
    data = {f"{rate} req/s, {100 * p:.0f} %": cell(lab, rate, p) for rate in (100, 1000) for p in (0.02, 0.05, 0.2)}
    names = ["Sluice 5 s", "all mass at the start", *OTHERS]
    rows = [
        [world, told["fresh"], told["methods"]["Sluice 5 s"], f"{told['ratio']:.2f}"]
        + [told["methods"][name] for name in names[1:]]
        for world, told in data.items()
    ]
    note = (
        "Median / p95 seconds after the change, within the remaining half hour. "
        "“early”: percent that were rolled back before it, while healthy."
    )
    head = ["world", "Sluice 5 s, bad from the start", "Sluice 5 s", "ratio of medians", *names[1:]]
    return Section([Table("(c) A candidate that turns bad after 30 minutes", head, rows, note)], data)


def cell(lab: Lab, rate: float, p_c: float) -> dict[str, Any]:
    rng, paths = lab.random(f"late {rate} {p_c}"), lab.sizes.bad
    fresh, late = World(rate, p_c), World(rate, p_c, bad_from_s=TURNS_S)
    at_once = Delays(lab.judge(lab.draw(rng, fresh, paths), fresh, gate()), REST_S)
    counts = lab.draw(rng, late, paths)
    single = Test(start=1.0, spread=0.0)
    found = {"Sluice 5 s": lab.judge(counts, late, gate()), "all mass at the start": lab.judge(counts, late, single)}
    found |= {name: RIVALS[name](counts) for name in OTHERS}
    ours = Delays(after(found["Sluice 5 s"]), REST_S).quantile(0.5)
    ratio = ours / at_once.quantile(0.5)
    name = f"late change ≤ {MOST} × fresh: {rate} req/s, {100 * p_c:.0f} %"
    lab.demand(name, kept=ratio <= MOST, seen=f"{ours:.0f} s, {ratio:.2f} times")
    return {"fresh": str(at_once), "ratio": ratio, "methods": {name: told(times) for name, times in found.items()}}


def after(found: Floats) -> Floats:
    """Delays of those that were not rolled back before there was a reason."""
    return found[found > TURNS_S] - TURNS_S


def told(found: Floats) -> str:
    early = Share.within(found, TURNS_S)
    text = str(Delays(after(found), REST_S)) if early.hits < early.of else "none left"
    return f"{text}; early {percent(early.value)}" if early.hits else text
