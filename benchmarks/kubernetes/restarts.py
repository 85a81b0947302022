"""The worker is killed in a bake of 30 s and comes back some seconds later: how long was the bake?"""

import asyncio
import time
from datetime import timedelta
from typing import NamedTuple

from temporalio.client import Client

from benchmarks.kubernetes import peers
from benchmarks.kubernetes.house import FIRST, House, Missed, Running
from benchmarks.kubernetes.pairs import Pair
from benchmarks.kubernetes.rows import Row, number
from benchmarks.kubernetes.size import Size
from rollout.happened import StageRecord

BAKE_S = 30.0
AT_ONCE = 5  # rollouts that one kill hits, each at another moment of its bake
AWAY_S = (1.0, 5.0)
STARTING_S = 3.0  # about what passes between a start and its bake


class Hit(NamedTuple):
    """One bake in which the worker was killed, seconds.

    Attributes:
        after_s: of the bake, when it was killed.
        observed_s: of the bake, as the record of the stage says.
        took_s: by the clock.
        late_s: from when it was due, or from the worker's return if that was later, to its end.
    """

    after_s: float
    observed_s: float
    took_s: float
    late_s: float


async def killed(house: House, client: Client, size: Size) -> list[Row]:
    """SIGKILL at random moments of the bakes."""
    made = await house.pairs("restart", size.samples)
    hits: list[Hit] = []
    for first in range(0, size.samples, AT_ONCE):
        hits += await _one_kill(house, client, made[first : first + AT_ONCE])
    if not hits:
        raise Missed("every bake was over before the worker was killed")
    observed = [hit.observed_s for hit in hits]
    off = max(abs(each - BAKE_S) for each in observed)
    when = ", ".join(number(hit.after_s) for hit in hits)
    how = f"killed after {when} s of the bake; one kill hits up to {AT_ONCE} rollouts; back 1 to 5 s later, and ready"
    case, bar = f"worker killed in a {BAKE_S:g} s bake: observed bake", f"{BAKE_S:g} ± 1 s"
    return [
        Row(case, observed, "s", *peers.RESTART, bar, off <= 1, notes=(how,)),
        Row("– the same by the clock", [hit.took_s for hit in hits]),
        Row("– its end after it was due, or after the worker was back", [hit.late_s for hit in hits]),
    ]


async def _one_kill(house: House, client: Client, made: list[Pair]) -> list[Hit]:
    """Start rollouts at random moments, kill the worker while all of them bake, bring it back, wait for their ends."""
    runs: list[Running] = []
    ahead = sorted(house.rng.uniform(2, BAKE_S - 3) for _ in made)[::-1]  # s of the bake when it is killed
    for pair, mine, following in zip(made, ahead, [*ahead[1:], 0.0], strict=True):
        runs.append(await _baking(house, client, pair))
        await asyncio.sleep(max(0.0, mine - following - (STARTING_S if following else 0)))
    killed_at = time.time()
    house.worker.kill()
    await asyncio.sleep(house.rng.uniform(*AWAY_S))
    await asyncio.to_thread(house.worker.start)
    back_at = time.time()
    results = await asyncio.gather(*(run.handle.result() for run in runs))
    hits = [_hit(result.stages[0], killed_at, back_at) for result in results]
    return [hit for hit in hits if hit.after_s < BAKE_S]


async def _baking(house: House, client: Client, pair: Pair) -> Running:
    stages = [{"percent": FIRST, "bake": f"{BAKE_S:g}s"}, {"percent": 100, "bake": "10s"}]
    strategy = {"kind": "canary", "stages": stages}
    run = await house.start(client, pair, {"strategy": strategy, "policy": {"drain": "1s"}})
    await run.baking()
    return run


def _hit(stage: StageRecord, killed_at: float, back_at: float) -> Hit:
    assert stage.arrived_at
    assert stage.left_at
    began, ended = stage.arrived_at.timestamp(), stage.left_at.timestamp()
    due = max(began + BAKE_S, back_at)
    return Hit(killed_at - began, stage.baked / timedelta(seconds=1), ended - began, ended - due)
