"""Somebody changes or deletes the canary Ingress by hand: when is it noticed, and does `resume` put it right?"""

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple

from temporalio.client import Client

from benchmarks.kubernetes import peers
from benchmarks.kubernetes.house import FIRST, House, Missed, Running, until
from benchmarks.kubernetes.pairs import Pair
from benchmarks.kubernetes.peers import Peers
from benchmarks.kubernetes.rows import Row
from benchmarks.kubernetes.size import Size
from rollout import names
from rollout.happened import Phase
from testbed.kubernetes import Api
from testbed.kubernetes.objects import NGINX

FOREIGN = 40.0
SLACK_S = 0.5  # of a look at the route, and of the workflow


class Act(NamedTuple):
    """What somebody does.

    Attributes:
        case: in words.
        prefix: of the names of the Ingresses that it is done to.
        do: does it.
        left: percent that it leaves; None if the Ingress is gone.
        others: what the peers do about it.
    """

    case: str
    prefix: str
    do: Callable[[Api, Pair], None]
    left: float | None
    others: Peers


class Noticed(NamedTuple):
    """One sample, seconds: until the rollout was held, and from `resume` until our weight was back."""

    held_s: float
    back_s: float
    reason: str


def _edit(api: Api, pair: Pair) -> None:
    namespace, name = pair.canary
    weights = {f"{NGINX}canary-weight": f"{FOREIGN * 100:g}", f"{NGINX}canary-weight-total": "10000"}
    api.patch("Ingress", name, {"metadata": {"annotations": weights}}, namespace, fieldManager="kubectl-edit")


def _delete(api: Api, pair: Pair) -> None:
    namespace, name = pair.canary
    api.delete("Ingress", name, namespace)


EDIT = Act("canary-weight edited by hand", "edit", _edit, FOREIGN, peers.EDITED)
DELETE = Act("canary Ingress deleted by hand", "delete", _delete, None, peers.DELETED)


async def edited(house: House, client: Client, size: Size) -> list[Row]:
    """The weight becomes 40 %."""
    return await _case(house, client, size, EDIT)


async def deleted(house: House, client: Client, size: Size) -> list[Row]:
    """It is gone, so stable gets everything."""
    return await _case(house, client, size, DELETE)


async def _case(house: House, client: Client, size: Size, act: Act) -> list[Row]:
    made = await house.pairs(act.prefix, size.samples)
    poll_s = size.hands_poll_s
    seen = list(await asyncio.gather(*(_sample(house, client, pair, act, poll_s) for pair in made)))
    held = [each.held_s for each in seen]
    bar, met = f"held within a poll ({poll_s:g} s)", max(held) <= poll_s + SLACK_S
    return [
        Row(f"{act.case} → held", held, "s", *act.others, bar, met, notes=(seen[0].reason,)),
        Row("– `resume` → our weight is back", [each.back_s for each in seen]),
    ]


async def _sample(house: House, client: Client, pair: Pair, act: Act, poll_s: float) -> Noticed:
    run = await house.start(client, pair, {"policy": {"poll": f"{poll_s:g}s"}})
    await run.baking()
    await asyncio.sleep(house.rng.uniform(poll_s, 2 * poll_s))
    acted_at = time.time()
    await asyncio.to_thread(act.do, house.control_plane.api, pair)
    held = await run.until(lambda now: now.phase is Phase.HELD, "it is held")
    assert held.progress.held
    await asyncio.sleep(poll_s)
    await _not_adopted(house, run, acted_at, act.left)
    resumed_at = time.time()
    await run.handle.execute_update(names.RESUME, {"by": "bench"})
    canary = pair.canary
    await until(lambda: house.sightings.first(canary, FIRST, resumed_at) is not None, f"{pair.name} is put right")
    back_at = house.sightings.first(canary, FIRST, resumed_at) or 0
    return Noticed(held.progress.held.since.timestamp() - acted_at, back_at - resumed_at, held.progress.held.reason)


async def _not_adopted(house: House, run: Running, acted_at: float, left: float | None) -> None:
    """Nobody fights with whoever did it, and nobody goes on from there.

    Raises:
        Missed: somebody does.
    """
    seen = [each.percent for each in house.sightings.of(run.pair.canary, acted_at)]
    told = (await run.status()).percent
    if seen != [left] or told != FIRST:
        raise Missed(f"{run.pair.name}: the foreign weight was touched or adopted: {seen}, told {told:g} %")
