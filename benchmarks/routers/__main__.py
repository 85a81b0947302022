"""Change the weights of a router a hundred times while visitors keep coming, and count what they lose.

    python -m benchmarks.routers [--router envoy haproxy …] [--changes 100] [--requests 20000] [--write FILE]

Every router is the real program behind the product's own adapter, with two fast upstreams (nginx answering by itself).
The weight goes 0 → 100 → 0 → … under constant load: 40 keep-alive connections, no retries. For each change: how long
the write took, how long until the adapter called it proven, and how long old answers kept coming. Then the weight stays
at 1 % and at 5 % while so many requests are counted.
"""

import argparse
import asyncio
import math
import os
import sys
import tempfile
import time
import tomllib
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from activities.connecting import OnlyNamed, connected
from activities.ports import Router, Write
from benchmarks.routers.crowd import Crowd, Visit, split_of
from benchmarks.routers.upstream import Upstream
from rollout.routes import Route
from testbed.edge import EDGES, edge

OWNER = "rollout:bench/checkout"
LEAST_BETWEEN_S = 0.35
SHARES = (1.0, 5.0)
NEVER_DROPS = ("envoy", "haproxy", "nginx", "alb")
_ROUTE: TypeAdapter[Route] = TypeAdapter(Route)


@dataclass
class Result:
    """What was measured on one router; times in milliseconds."""

    router: str
    requests: int
    lost: Counter[str]
    lost_again: int
    written_ms: list[float]
    proven_ms: list[float]
    last_old_ms: list[float]
    shares: dict[float, float]
    counted: int

    def row(self) -> list[str]:
        cells = [self.router, f"{self.lost.total()} of {self.requests}", str(self.lost_again)]
        cells += [spread(each) for each in (self.written_ms, self.proven_ms, self.last_old_ms)]
        return cells + [f"{share:.2f} %" for share in self.shares.values()]


def spread(values: list[float]) -> str:
    """p50 / p95 / max."""
    ordered = sorted(values)
    at = [ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)] for share in (0.5, 0.95, 1)]
    return " / ".join(f"{value:.0f}" if value >= 10 else f"{value:.1f}" for value in at)


async def proven(router: Router, percent: float, epoch: int) -> None:
    async with asyncio.timeout(30):
        while True:
            state = await router.read()
            if state.in_force == percent and state.epoch == epoch:
                return
            await asyncio.sleep(0.002)


@dataclass
class Changes:
    """What a series of changes took; times in seconds."""

    written_s: list[float]
    proven_s: list[float]
    last_old_s: list[float]
    visits: list[Visit]


async def move(router: Router, percent: float, epoch: int) -> tuple[float, float]:
    """Seconds until it was written, and until it was proven."""
    began = time.monotonic()
    await router.write(Write(percent=percent, epoch=epoch, owner=OWNER))
    written = time.monotonic() - began
    await proven(router, percent, epoch)
    return written, time.monotonic() - began


async def changed(url: str, router: Router, epochs: range) -> Changes:
    """Move everything there and back, once for each epoch, while visitors come."""
    times, moments = [], []
    async with Crowd(url) as crowd:
        await asyncio.sleep(1)
        for number, epoch in enumerate(epochs):
            percent, began = 0 if number % 2 else 100, time.monotonic()
            times.append(await move(router, percent, epoch))
            moments.append((began, "stable" if percent else "canary"))
            await asyncio.sleep(max(0.1, LEAST_BETWEEN_S - (time.monotonic() - began)))
        await asyncio.sleep(1)
    ends = [began for began, _ in moments[1:]] + [math.inf]
    old = [
        max((visit.sent_at - began for visit in crowd.since(began, end) if visit.version == gone), default=0.0)
        for (began, gone), end in zip(moments, ends, strict=True)
    ]
    return Changes([written for written, _ in times], [seen for _, seen in times], old, crowd.visits)


async def measure(name: str, url: str, router: Router, changes: int, requests: int) -> Result:
    epoch = int(time.time())
    await move(router, 0, epoch)
    seen = await changed(url, router, range(epoch + 1, epoch + 1 + changes))
    epoch += changes
    shares = {}
    for number, percent in enumerate(SHARES, start=1):
        await move(router, percent, epoch + number)
        shares[percent] = 100 * (await split_of(url, requests))["canary"] / requests
    await router.write(Write(percent=0, epoch=epoch + 9, owner=OWNER, header=False, release=True))
    written, shown, old = (
        [1000 * each for each in times] for times in (seen.written_s, seen.proven_s, seen.last_old_s)
    )
    return Result(
        router=name,
        requests=len(seen.visits),
        lost=Counter(visit.lost for visit in seen.visits if visit.lost),
        lost_again=sum(visit.lost_again for visit in seen.visits),
        written_ms=written,
        proven_ms=shown,
        last_old_ms=old,
        shares=shares,
        counted=requests,
    )


async def of(name: str, changes: int, requests: int) -> Result:
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as place, ExitStack() as running:
        folder = Path(place)
        stable, candidate = (running.enter_context(Upstream(folder, version)) for version in ("stable", "canary"))
        ports: dict[str, Any] = {"stable_port": stable.port, "candidate_port": candidate.port}
        front = edge(name, folder, service="checkout", **ports)
        for part in front.parts:
            running.enter_context(part)
        os.environ.update(getattr(front, "environment", {}) if name == "alb" else {})
        settings = OnlyNamed.model_validate(tomllib.loads(front.settings("edge")))
        async with connected(settings) as connections:
            router = connections.router(_ROUTE.validate_python(front.route("edge")))
            return await measure(name, front.url, router, changes, requests)


HEAD = ("router", "lost", "lost again when retried", "written, ms", "proven, ms", "last old answer, ms", "1 %", "5 %")


def table(results: list[Result]) -> str:
    rows = [HEAD, ["---"] * len(HEAD), *(result.row() for result in results)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def complaints(results: list[Result]) -> list[str]:
    """What of the promises does not hold."""
    found = []
    for result in results:
        if result.lost and result.router in NEVER_DROPS:
            found.append(f"{result.router} lost {dict(result.lost)}")
        if result.lost_again:
            found.append(f"{result.router}: {result.lost_again} requests were lost again when retried")
        for share, measured in result.shares.items():
            sigma = math.sqrt(share * (100 - share) / result.counted)
            if abs(measured - share) > 4 * sigma:
                found.append(f"{result.router}: {measured:.2f} % at {share:g} %, more than 4 sigma away")
    return found


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.routers", description=__doc__.splitlines()[0])
    parser.add_argument("--router", nargs="+", choices=EDGES, default=list(EDGES), help="default: all")
    parser.add_argument("--changes", type=int, default=100, help="of the weight, of each router")
    parser.add_argument("--requests", type=int, default=20_000, help="counted at each share")
    parser.add_argument("--write", type=Path, help="file for the table, Markdown")
    options = parser.parse_args(arguments)
    results = []
    for name in options.router:
        results.append(asyncio.run(of(name, options.changes, options.requests)))
        print(" | ".join(results[-1].row()), dict(results[-1].lost), flush=True)
    print(f"\n{table(results)}\n\ntimes: p50 / p95 / max, from the beginning of the write")
    if options.write:
        options.write.write_text(table(results) + "\n", encoding="utf-8")
    short = complaints(results)
    print("\n".join(f"NOT AS PROMISED  {sentence}" for sentence in short) or "as promised")
    return 1 if short else 0


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)  # not sys.exit: see worker.py
