"""Many rollouts on one worker: all started at once, left alone, and all breached in the same moment."""

import asyncio
import time
from collections.abc import Callable

from temporalio.client import Client

from benchmarks.kubernetes import cost, gauges, peers
from benchmarks.kubernetes.cost import Meter
from benchmarks.kubernetes.house import FIRST, House, Missed, until
from benchmarks.kubernetes.pairs import Pair
from benchmarks.kubernetes.peers import Peers
from benchmarks.kubernetes.rows import Row, number, quantile
from benchmarks.kubernetes.size import Size
from rollout import names
from rollout.happened import Phase

AFTERWARDS_S = 10.0  # writes that come too many come within this
START_BAR_S, BREACH_BAR_S, SHARE = 10.0, 8.0, 0.99


async def crowd(house: House, client: Client, size: Size) -> list[Row]:
    """Starts, cost, breaches."""
    made = await house.pairs("crowd", size.rollouts, a_namespace=size.a_namespace)
    before = Meter.read(house.pids, house.control_plane)
    first_s = await _started(house, client, made)
    starting = Meter.read(house.pids, house.control_plane).since(before)
    await _all_bake(client, len(made))
    costs = await _cost(house, size)
    bad_at = house.gauges.set([pair.name for pair in made], gauges.BAD)
    back_s = await _all(house, made, 0, bad_at)
    await asyncio.sleep(min(AFTERWARDS_S, size.steady_s))
    writes = [len(house.sightings.of(pair.canary, bad_at)) for pair in made]
    spent = ", ".join(f"{name} {number(value)}" for name, value in starting.items())
    where = f"{size.a_namespace} Ingress pairs in each namespace share two Services with one pod each"
    n = len(made)
    return [
        _timed(
            f"{n} started at once → first weight", first_s, START_BAR_S, peers.STARTS, (where, f"meanwhile: {spent}")
        ),
        _timed(f"all {n} breached in one moment → weight 0", back_s, BREACH_BAR_S, peers.BREACHES, (_written(writes),)),
        *costs,
    ]


async def _started(house: House, client: Client, made: list[Pair]) -> list[float]:
    """Start them all; answers with the seconds from the first start to each first weight."""
    began = time.time()
    await asyncio.gather(*(house.start(client, pair) for pair in made))
    return await _all(house, made, FIRST, began)


async def _all_bake(client: Client, count: int) -> None:
    """Wait until the server's list says so: asking hundreds of rollouts again and again would be a load of its own."""
    bakes = f'{names.PHASE} = "{Phase.BAKING}" AND {names.PERCENT} = {FIRST:g} AND {names.SERVICE} STARTS_WITH "crowd"'

    async def all_do() -> bool:
        return (await client.count_workflows(bakes)).count == count

    await until(all_do, "all bake", every_s=0.5)


async def _all(house: House, made: list[Pair], percent: float, since: float) -> list[float]:
    """Seconds until each canary Ingress said so."""

    def seen() -> list[float]:
        return [at - since for pair in made if (at := house.sightings.first(pair.canary, percent, since)) is not None]

    try:
        await until(lambda: len(seen()) == len(made), f"all are at {percent:g} %", every_s=0.1)
    except Missed as error:
        raise Missed(f"{error}; {len(seen())} of {len(made)} are") from error
    return seen()


async def _cost(house: House, size: Size) -> list[Row]:
    """What it costs to watch them all."""
    await asyncio.sleep(min(5.0, size.steady_s))  # until what the starts have caused is over
    before, polls = Meter.read(house.pids, house.control_plane), cost.lateness(house.worker.metrics_url)
    await asyncio.sleep(size.steady_s)
    used = Meter.read(house.pids, house.control_plane).since(before)
    late = _late(polls, cost.lateness(house.worker.metrics_url))
    n, shown = size.rollouts, {name: (value, "" if "API" in name else "%") for name, value in used.items()}
    rows = [
        _plain(f"watching {n} at 5 %: {name.removesuffix(' %')}", value, unit, _others(name))
        for name, (value, unit) in shown.items()
    ]
    memory = [
        _plain(f"– {name} RSS", cost.rss_mib(pid), "MiB", peers.RSS if name == "worker" else Peers())
        for name, pid in house.pids.items()
    ]
    return [*rows, *memory, Row("– lateness of polls, p99 at most", [late], "ms")]


def _others(name: str) -> Peers:
    return peers.REQUESTS if "API" in name else peers.CPU if "worker" in name else Peers()


def _plain(case: str, value: float, unit: str, others: Peers) -> Row:
    return Row(case, [value], unit, *others)


def _timed(case: str, took: list[float], bar_s: float, others: Peers, notes: tuple[str, ...]) -> Row:
    met = quantile(took, SHARE) <= bar_s
    bar = f"p99 ≤ {bar_s:g} s"
    return Row(case, took, "s", *others, bar, met, share=SHARE, notes=notes)


def _written(writes: list[int]) -> str:
    return f"{max(writes)} write(s) of a canary Ingress after the breach at most"


def _late(before: list[tuple[float, float]], after: list[tuple[float, float]]) -> float:
    """Upper bound of the bucket that holds the 99th percentile of the polls in between; 0 if there were none."""
    earlier: Callable[[float], float] = dict(before).get  # type: ignore[assignment]
    counts = [(bound, count - (earlier(bound) or 0)) for bound, count in after]
    total = counts[-1][1] if counts else 0
    return next((bound for bound, count in counts if total and count >= SHARE * total), 0.0)
