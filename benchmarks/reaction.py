"""How fast many rollouts on one worker react: abort and breach → first router write, poll lateness, history.

Real: the Temporal server (with its database), the worker, the workflow, the activities. In memory: routers and metrics,
so that what is measured is Sluice and Temporal and not a proxy. Three questions in one run, all at the same load:

1. rollouts aborted one by one at random moments: command sent → first write of 0 %;
2. rollouts breached one by one at random phases of the poll: bad value visible → first write of 0 %;
3. every rollout that is left breached in the same second.

Reaction to a breach is also given as a ratio to the poll: a perfect poller has a mean of 0.5 and a maximum of 1.
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, Never

from temporalio.client import Client, WorkflowHandle

import worker
from activities.ports import MetricSource, Router, RouteState, Write
from rollout import names
from rollout.judge.threshold import Vector
from rollout.mitigations import Flag
from rollout.routes import Route
from rollout.workloads import Workload
from testbed.temporal import TemporalServer
from workflows.converter import DATA_CONVERTER

POLL_S = 5.0


@dataclass
class Place:
    """A route in memory, with the times at which it was read and first brought back."""

    percent: float = 0.0
    epoch: int = 0
    owner: str | None = None
    bad: bool = False
    back_at: float | None = None
    asked_at: list[float] = field(default_factory=list)

    async def read(self) -> RouteState:
        healthy: dict[Any, int] = {"candidate": 1, "stable": 1}
        return RouteState(
            percent=self.percent, in_force=self.percent, epoch=self.epoch, owner=self.owner, healthy=healthy
        )

    async def write(self, write: Write) -> None:
        if write.percent == 0 and self.percent > 0:
            self.back_at = time.time()
        self.percent, self.epoch = write.percent, write.epoch
        self.owner = None if write.release else write.owner

    async def in_flight(self, _pool: str) -> int:
        return 0


class World:
    """Every route and metric, by service."""

    def __init__(self) -> None:
        self.places: dict[str, Place] = {}

    def router(self, route: Route) -> Router:
        return self.places[route.place]

    def metrics(self, _connection: str) -> MetricSource:
        return self

    def people(self, _group: str) -> tuple[str, ...]:
        return ()

    async def evaluate(self, query: str, start_ms: int, end_ms: int, step_ms: int) -> dict[int, Vector]:
        place = self.places[query]
        place.asked_at.append(time.time())
        return {at: {"": 1.0 if place.bad else 0.0} for at in range(start_ms, end_ms + 1, step_ms)}

    async def missing(self, _names: tuple[str, ...]) -> tuple[str, ...]:
        return ()

    # The rest of the ports: the benchmark's gates are rules, and nobody asks for these.
    def web(self, _connection: str) -> Never:
        raise NotImplementedError

    def workload(self, _workload: Workload) -> Never:
        raise NotImplementedError

    def flag(self, _flag: Flag) -> Never:
        raise NotImplementedError

    async def samples(self, _selector: str, _after_ms: int, _until_ms: int) -> Never:
        raise NotImplementedError

    async def histograms(self, *_: object, **__: object) -> Never:
        raise NotImplementedError

    async def alerts(self) -> Never:
        raise NotImplementedError


def spec(service: str) -> dict[str, Any]:
    return {
        "service": service,
        "environment": "bench",
        "release": {"candidate": "2", "stable": "1"},
        "strategy": {"kind": "canary", "stages": [{"percent": 5, "bake": "1h"}, {"percent": 100, "bake": "1m"}]},
        "routes": [{"kind": "envoy", "connection": "memory", "service": service}],
        "gates": {"bad": {"kind": "threshold", "query": service, "above": 0.5}},
        "policy": {"poll": f"{POLL_S}s", "drain": "1s"},
    }


async def measure(client: Client, world: World, count: int, probes: int, rng: random.Random) -> dict[str, Any]:
    services = [f"s{number}" for number in range(count)]
    world.places.update({service: Place() for service in services})
    handles: dict[str, WorkflowHandle[Any, Any]] = {}
    started = time.time()
    for service in services:
        handles[service] = await client.start_workflow(
            names.ROLLOUT, spec(service), id=f"rollout:bench/{service}", task_queue=names.TASK_QUEUE
        )
    await until(lambda: all(place.percent == 5 for place in world.places.values()))
    at_five_s = time.time() - started
    await asyncio.sleep(3 * POLL_S)  # a steady state to measure in, not a condition
    lateness = [gap - POLL_S for place in world.places.values() for gap in gaps(place.asked_at)]
    left = list(services)
    aborts = [await abort(handles[service], world.places[service], rng) for service in take(left, probes, rng)]
    breaches = [await breach(world.places[service], rng) for service in take(left, probes, rng)]
    now = time.time()
    for service in left:
        world.places[service].bad = True
    await until(lambda: all(world.places[service].back_at is not None for service in left))
    together = [(world.places[service].back_at or 0) - now for service in left]
    await asyncio.gather(*(handle.result() for handle in handles.values()), return_exceptions=True)
    events = [len((await handles[service].fetch_history()).events) for service in services[:10]]
    return {
        "rollouts": count,
        "poll_s": POLL_S,
        "all_at_5_percent_s": round(at_five_s, 2),
        "poll_lateness_p99_ms": round(1000 * at(lateness, 0.99)),
        "abort_to_write_ms": {"n": probes, "p50": round(1000 * at(aborts, 0.5)), "p99": round(1000 * at(aborts, 0.99))},
        "breach_to_write_s": {"n": probes, "p50": round(at(breaches, 0.5), 2), "p99": round(at(breaches, 0.99), 2)},
        "breach_to_write_over_poll": {
            "p50": round(at(breaches, 0.5) / POLL_S, 2),
            "max": round(max(breaches) / POLL_S, 2),
        },
        "all_breached_at_once_s": {
            "n": len(together),
            "p50": round(at(together, 0.5), 2),
            "p99": round(at(together, 0.99), 2),
        },
        "history_events": max(events),
    }


async def abort(handle: WorkflowHandle[Any, Any], place: Place, rng: random.Random) -> float:
    await asyncio.sleep(rng.uniform(0, 0.3))
    sent = time.time()
    await handle.signal(names.ABORT)
    await until(lambda: place.back_at is not None)
    return (place.back_at or 0) - sent


async def breach(place: Place, rng: random.Random) -> float:
    await asyncio.sleep(rng.uniform(0, 0.3))
    place.bad, visible = True, time.time()
    await until(lambda: place.back_at is not None)
    return (place.back_at or 0) - visible


async def until(condition: Callable[[], bool], within_s: float = 120) -> None:
    end = time.time() + within_s
    while not condition():
        if time.time() > end:
            raise TimeoutError("a rollout did not get there")
        await asyncio.sleep(0.002)


def take(left: list[str], count: int, rng: random.Random) -> list[str]:
    taken = rng.sample(left, count)
    left[:] = [service for service in left if service not in taken]
    return taken


def gaps(times: list[float]) -> Iterable[float]:
    return (after - before for before, after in pairwise(times))


def at(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


async def run(count: int, probes: int, seed: int) -> dict[str, Any]:
    world = World()
    with tempfile.TemporaryDirectory() as folder, TemporalServer(Path(folder), ui=False) as server:
        client = await Client.connect(server.address, data_converter=DATA_CONVERTER)
        settings = worker.Settings(connections={}, graceful_stop=timedelta(seconds=1))
        async with worker.build(client, settings, world):
            return await measure(client, world, count, probes, random.Random(seed))


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rollouts", type=int, default=300, help="concurrent rollouts")
    parser.add_argument("--probes", type=int, default=40, help="aborts, and breaches, one by one")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="20 rollouts, 5 probes")
    chosen = parser.parse_args(arguments)
    count, probes = (20, 5) if chosen.quick else (chosen.rollouts, chosen.probes)
    print(json.dumps(asyncio.run(run(count, probes, chosen.seed)), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
