"""(b) How soon is a bad candidate found, next to what any test could do and to what people use.

The candidate is bad from its first request. Where an hour is too short for some rollouts our gate watches on, with the
masses planned for the hour, so that a mean exists; the others are told within the hour.
"""

from typing import Any

from benchmarks.judge.bounds import Bars, bars
from benchmarks.judge.falses import HEALTHY, OURS, RATES
from benchmarks.judge.lab import Lab, Section, Table, gate
from benchmarks.judge.rivals import RIVALS, known
from benchmarks.judge.shares import Delays
from benchmarks.judge.world import Floats, World

FAILING = (0.01, 0.02, 0.05, 0.2)
HOURS = {(10, 0.01): 48, (10, 0.02): 8, (100, 0.01): 8}  # elsewhere two are plenty

PERCENT = "Sluice 5 s α 1 %"

SLOWEST = 2.3  # times the mean: a twentieth of the rollouts may take longer


def run(lab: Lab) -> Section:
    data: dict[str, Any] = {}
    for rate in RATES:
        for p_c in FAILING:
            data[f"{rate} req/s, {100 * p_c:.0f} %"] = cell(lab, rate, p_c)
    return Section([ours(data), at_a_percent(data), theirs(data)], data)


def cell(lab: Lab, rate: float, p_c: float) -> dict[str, Any]:
    world, rng = World(rate, p_c), lab.random(f"delay {rate} {p_c}")
    counts = lab.draw(rng, world, lab.sizes.bad, baselines=lab.sizes.kayenta)
    hours = HOURS.get((int(rate), p_c), 2)
    bar, percent = bars(rate, p_c, HEALTHY), bars(rate, p_c, HEALTHY, alpha=0.01)
    told: dict[str, Any] = {"bound": bar.bound, "must": bar.must, "moonshot": bar.moonshot, "methods": {}}
    told |= {"bound α 1 %": percent.bound, "must α 1 %": percent.must}
    for name, (scrape_s, alpha) in OURS.items():
        long = lab.judge_long(rng, world, counts.every(scrape_s), gate(alpha), hours)
        told["methods"][name] = summary(long, 3600, hours * 3600)
    for name, rival in RIVALS.items():
        told["methods"][name] = summary(rival(counts), 3600, 3600)
    told["methods"]["knows both ratios"] = summary(known(counts, p_c, HEALTHY), 3600, 3600)
    name = f"{rate} req/s, {100 * p_c:.0f} %"
    demands(lab, name, told["methods"]["Sluice 5 s"], bar)
    in_time(lab, f"{name}, α 1 % with the bar of 0.1 %", told["methods"][PERCENT], bar)
    return told


def in_time(lab: Lab, world: str, told: dict[str, Any], bar: Bars) -> None:
    mean = told["mean"]
    seen = "not always found" if mean is None else f"{mean:.1f} s ± {told['error']:.1f}, must be {bar.must:.1f} s"
    lab.demand(f"mean delay: {world}", kept=mean is not None and mean <= bar.must, seen=seen)


def demands(lab: Lab, world: str, told: dict[str, Any], bar: Bars) -> None:
    in_time(lab, world, told, bar)
    mean, late = told["mean"], told["p95"]
    kept = mean is not None and late is not None and late <= SLOWEST * mean
    lab.demand(f"p95 ≤ {SLOWEST} × mean: {world}", kept=kept, seen=f"{late} s")


def summary(found: Floats, within_s: float, horizon_s: float) -> dict[str, Any]:
    """Numbers of one method: text and share within the hour, moments over the whole horizon."""
    long, short = Delays(found, horizon_s), Delays(found, within_s)
    return {
        "text": str(short),
        "share": short.share.value,
        "mean": long.mean,
        "error": long.error,
        "median": finite(long.quantile(0.5)),
        "p95": finite(long.quantile(0.95)),
    }


def finite(value: float) -> float | None:
    """As JSON has no infinity."""
    return value if value < float("inf") else None


def ours(data: dict[str, Any]) -> Table:
    rows = []
    for name, told in data.items():
        fast, slow = told["methods"]["Sluice 5 s"], told["methods"]["Sluice 15 s"]
        row = [name, *numbers(fast), ratio(fast["mean"], told["bound"]), f"{told['bound']:.4g}"]
        row += [f"{told[bar]:.4g} {met(fast['mean'], told[bar])}" for bar in ("must", "moonshot")]
        rows.append([*row, " / ".join(numbers(slow)), told["methods"]["Sluice 15 s α 1 %"]["text"]])
    head = ["world", "mean s", "median", "p95", "mean / t*", "t*", "must", "moonshot"]
    head += ["15 s scrapes: mean / median / p95", "15 s, α 1 %: median / p95 in 1 h"]
    note = "Sluice at 5 s scrapes, α 0.1 %. t*: no test at this α with this margin can have a smaller mean."
    return Table("(b) Delay until a bad candidate is rolled back: Sluice", head, rows, note)


def at_a_percent(data: dict[str, Any]) -> Table:
    rows = []
    for name, told in data.items():
        seen, bound = told["methods"][PERCENT], told["bound α 1 %"]
        row = [name, *numbers(seen), ratio(seen["mean"], bound), f"{bound:.4g}"]
        rows.append([*row, *(f"{told[bar]:.4g} {met(seen['mean'], told[bar])}" for bar in ("must α 1 %", "must"))])
    head = ["world", "mean s", "median", "p95", "mean / t*", "t*", "must, with log 100", "must, with log 1000"]
    note = (
        "5 s scrapes. α 1 % is a rollout whose only gate this is. t* = log(100)/I; must = 1.5·log(1/α)/I + 10 s. With "
        "log 100 it is told, not demanded: what it costs not to know how bad the candidate is does not shrink with α."
    )
    return Table("(b) Delay until a bad candidate is rolled back: Sluice at α 1 %", head, rows, note)


def numbers(told: dict[str, Any]) -> list[str]:
    """Mean, median, p95."""
    return ["—" if told[key] is None else f"{told[key]:.0f}" for key in ("mean", "median", "p95")]


def ratio(mean: float | None, bound: float) -> str:
    return "—" if mean is None else f"{mean / bound:.2f}"


def met(mean: float | None, bar: float) -> str:
    return "met" if mean is not None and mean <= bar else "not met"


def theirs(data: dict[str, Any]) -> Table:
    names = ["Sluice 5 s", "Sluice 15 s", *RIVALS, "knows both ratios"]
    rows = [[world, *(told["methods"][name]["text"] for name in names)] for world, told in data.items()]
    note = "Median / p95 in seconds, and the share found within the hour where it is not all. Compare with (a)."
    return Table("(b) Delay until a bad candidate is rolled back: all methods", ["world", *names], rows, note)
