"""Sluice on a real Kubernetes control plane, next to what Argo Rollouts and Flagger needed there.

    python -m benchmarks.kubernetes [--quick] [--only CASE …] [--json FILE] [-n N]

Real: kube-apiserver, etcd, the controllers, Prometheus with a scrape every second, Temporal's server (its database in
memory, eager activities), the worker as a process. Played: pods (by kwok), and nobody follows the annotations. The full
run takes a quarter of an hour. The exit code is 1 if a bar was missed.
"""

import argparse
import asyncio
import dataclasses
import json
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path

from temporalio.client import Client, WorkflowFailureError
from temporalio.service import RPCError

from benchmarks.kubernetes import breaches, crowd, hands, outages, peers, restarts
from benchmarks.kubernetes.house import House, Missed
from benchmarks.kubernetes.rows import Row, table
from benchmarks.kubernetes.size import QUICK, Size
from testbed.kubernetes import ApiRefused
from testbed.processes import PartFailed

Case = Callable[[House, Client, Size], Awaitable[list[Row]]]
CASES: dict[str, Case] = {
    "breach": breaches.at_defaults,
    "breach-1s": breaches.at_a_poll_of_a_second,
    "unready": breaches.stable_unready,
    "restart": restarts.killed,
    "outage": outages.away,
    "edit": hands.edited,
    "delete": hands.deleted,
    "crowd": crowd.crowd,  # the last: nobody tidies up after it
}


async def measured(house: House, chosen: list[str], size: Size) -> dict[str, list[Row]]:
    """The rows of each case, in the table's order."""
    client, found = await house.connect(), {}
    for name in (each for each in CASES if each in chosen):
        began = time.monotonic()
        try:
            found[name] = await CASES[name](house, client, size)
        except (Missed, PartFailed, RPCError, WorkflowFailureError, ApiRefused) as error:  # the others still count
            found[name] = [Row(name, [], bar="to be measured", met=False, notes=(f"{type(error).__name__}: {error}",))]
        house.control_plane.check()
        took_s, load = time.monotonic() - began, os.getloadavg()[0]
        print(f"{name} took {took_s:.0f} s; load {load:.1f}", file=sys.stderr, flush=True)
    return found


def run(chosen: list[str], size: Size, seed: int, keep: Path | None) -> dict[str, list[Row]]:
    """Start everything, measure, end everything."""
    with ExitStack() as over:
        folder = keep or Path(over.enter_context(tempfile.TemporaryDirectory(prefix="sluice-bench-")))
        house = over.enter_context(House(folder, seed))
        return asyncio.run(measured(house, chosen, size))


def told(found: dict[str, list[Row]], size: Size, seed: int) -> str:
    """Everything as JSON."""
    rows = {name: [row.told() for row in each] for name, each in found.items()}
    whole = {"size": dataclasses.asdict(size), "seed": seed, "peers": peers.SENTENCE, "cases": rows}
    return json.dumps(whole, indent=2)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kubernetes", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one sample each, 3 rollouts at once, short outages")
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES), metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every single value there")
    parser.add_argument("-n", type=int, help="samples of each case with single rollouts")
    parser.add_argument("--rollouts", type=int, help="how many at once")
    parser.add_argument("--a-namespace", type=int, help="how many of them share a namespace")
    parser.add_argument("--outage", type=float, help="seconds that Prometheus stays away")
    parser.add_argument("--seed", type=int, default=1, help="of every moment that is chosen by chance")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="leave logs and data there")
    options = parser.parse_args(arguments)
    asked = {"samples": options.n, "rollouts": options.rollouts, "a_namespace": options.a_namespace}
    asked["outage_s"] = options.outage
    given = {name: value for name, value in asked.items() if value is not None}
    size = dataclasses.replace(QUICK if options.quick else Size(), **given)
    found = run(options.only, size, options.seed, options.keep)
    rows = [row for each in found.values() for row in each]
    print(f"{table(rows)}\n\n{peers.SENTENCE}")
    if options.json:
        options.json.write_text(told(found, size, options.seed) + "\n", encoding="utf-8")
    missed = [row.case for row in rows if row.met is False]
    print("\n".join(f"NOT MET  {case}" for case in missed) or "every bar is met")
    return 1 if missed else 0


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)  # not sys.exit: see worker.py
