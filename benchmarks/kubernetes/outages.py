"""Prometheus is killed, or hangs, under a healthy canary: how long does the canary keep its weight?"""

import asyncio
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from temporalio.client import Client

from benchmarks.kubernetes import peers
from benchmarks.kubernetes.house import FIRST, House, Missed, Running, gate, until
from benchmarks.kubernetes.pairs import Pair
from benchmarks.kubernetes.peers import Peers
from benchmarks.kubernetes.rows import Row
from benchmarks.kubernetes.size import Size
from rollout.happened import Phase
from testbed.prometheus import Prometheus

HOLD_S = 300.0  # `policy.no_data.hold` by default


class Away(NamedTuple):
    """How a Prometheus goes away and comes back."""

    how: str
    go: Callable[[Prometheus], Any]
    back: Callable[[Prometheus], Any]
    others: Peers


KILLED = Away("killed", lambda part: part.kill(), lambda part: part.start(), peers.KILLED)
HUNG = Away("hung (SIGSTOP)", lambda part: part.pause(), lambda part: part.resume(), peers.HUNG)


async def away(house: House, client: Client, size: Size) -> list[Row]:
    """Both at once, each with a Prometheus of its own."""
    [one, other] = await house.pairs("outage", 2)
    ways = ((one, "first", KILLED), (other, "second", HUNG))
    for _, name, _ in ways:
        await asyncio.to_thread(house.spare[name].start)
    try:
        return list(await asyncio.gather(*(_case(house, client, size, *way) for way in ways)))
    finally:
        for part in house.spare.values():
            part.stop()


async def _case(house: House, client: Client, size: Size, pair: Pair, name: str, way: Away) -> Row:
    part = house.spare[name]
    await house.scraped([pair.name], part)
    run = await house.start(client, pair, {"gates": {"errors": gate(pair, name)}})
    await run.baking()
    await asyncio.sleep(house.rng.uniform(5, 10))
    way.go(part)
    kept_s = await _kept_s(house, run, size.outage_s)
    await asyncio.to_thread(way.back, part)
    notes = await _afterwards(run, size.outage_s)
    case = f"Prometheus {way.how}: a healthy canary keeps its weight for"
    bar, met = f"≥ {size.outage_s:g} s (watched so long; limit {HOLD_S:g} s)", kept_s >= size.outage_s
    return Row(case, [kept_s], "s", *way.others, bar, met, notes=notes)


async def _kept_s(house: House, run: Running, watched_s: float) -> float:
    """Seconds until the weight is another one, as long as it is watched."""
    began, canary = time.time(), run.pair.canary
    end = began + watched_s
    over = lambda: time.time() >= end or house.sightings.percent(canary) != FIRST  # noqa: E731
    await until(over, "the outage is over", within_s=2 * watched_s)
    return time.time() - began


async def _afterwards(run: Running, watched_s: float) -> tuple[str, ...]:
    """What the rollout says once there is data again: it still bakes, and nobody was blamed."""
    said = (await run.status()).progress.blind

    async def sees() -> bool:
        return (await run.status()).progress.blind is None

    await until(sees, f"{run.pair.name} sees again", every_s=0.25)
    now = await run.status()
    if (now.phase, now.percent) != (Phase.BAKING, FIRST):
        raise Missed(f"{run.pair.name} no longer bakes at {FIRST:g} %: {now.phase}, {now.reason}")
    told = f"it said: {said}" if said else f"{watched_s:g} s are too short for it to say anything"
    return (f"{told}; with data again it goes on baking",)
