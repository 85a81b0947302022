"""A gauge turns bad at a random moment of the poll: how long until the canary Ingress says 0."""

import asyncio
from typing import Any, NamedTuple

from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import ApplicationError

from benchmarks.kubernetes import gauges, peers
from benchmarks.kubernetes.house import House, Missed, Running, until
from benchmarks.kubernetes.pairs import CANDIDATE, STABLE, Pair, make_unready, ready
from benchmarks.kubernetes.peers import Peers
from benchmarks.kubernetes.rows import Row
from benchmarks.kubernetes.size import Size

DEFAULT_POLL_S, FAST_POLL_S = 5.0, 1.0
BARS_S = {DEFAULT_POLL_S: 6.0, FAST_POLL_S: 2.0}
STABLE_PODS = 10


class Breach(NamedTuple):
    """One sample.

    Attributes:
        run: whose.
        bad_at: Unix seconds.
        took_s: until the weight was 0.
    """

    run: Running
    bad_at: float
    took_s: float


async def at_defaults(house: House, client: Client, size: Size) -> list[Row]:
    """A poll every 5 s, as it is by default."""
    return await _case(house, client, size, DEFAULT_POLL_S, peers.BREACH)


async def at_a_poll_of_a_second(house: House, client: Client, size: Size) -> list[Row]:
    """The fastest poll that a spec may ask for."""
    return await _case(house, client, size, FAST_POLL_S, peers.BREACH_FASTEST)


async def stable_unready(house: House, client: Client, size: Size) -> list[Row]:
    """One of stable's ten pods is not ready at the breach, and the pods are Sluice's business."""
    seen = []
    for number in range(size.samples):
        [pair] = await house.pairs(f"unready{number}", 1, stable=STABLE_PODS)
        run = await house.start(client, pair, {"workload": _workload(pair), "policy": _policy(DEFAULT_POLL_S)})
        await run.baking()
        await _one_unready(house, pair)
        seen.append(await _breached(house, run, DEFAULT_POLL_S))
    case = f"the same with a `workload`, 9 of stable's {STABLE_PODS} pods ready at the breach"
    return [_times(case, seen, DEFAULT_POLL_S, peers.UNREADY), await _writes(house, seen, peers.UNREADY_WRITES)]


async def _case(house: House, client: Client, size: Size, poll_s: float, others: Peers) -> list[Row]:
    seen = []
    for pair in await house.pairs(f"breach{poll_s:g}", size.samples):
        run = await house.start(client, pair, {"policy": _policy(poll_s)})
        await run.baking()
        seen.append(await _breached(house, run, poll_s))
    case = f"breach → weight 0, poll {poll_s:g} s{' (the default)' if poll_s == DEFAULT_POLL_S else ''}"
    return [_times(case, seen, poll_s, others), await _writes(house, seen, Peers())]


async def _breached(house: House, run: Running, poll_s: float) -> Breach:
    """Turn the gauge bad at a random moment, and wait until the weight is 0."""
    await asyncio.sleep(house.rng.uniform(poll_s, 2 * poll_s))
    bad_at = house.gauges.set([run.pair.name], gauges.BAD)
    canary = run.pair.canary
    await until(lambda: house.sightings.first(canary, 0, bad_at) is not None, f"{run.pair.name} goes back")
    return Breach(run, bad_at, (house.sightings.first(canary, 0, bad_at) or 0) - bad_at)


async def _one_unready(house: House, pair: Pair) -> None:
    api, left = house.control_plane.api, STABLE_PODS - 1
    make_unready(api, pair.namespace)
    await until(lambda: ready(api, pair.namespace, STABLE) == left, f"{left} of stable's pods are ready")


def _times(case: str, seen: list[Breach], poll_s: float, others: Peers) -> Row:
    took = [each.took_s for each in seen]
    bar_s = BARS_S[poll_s]
    return Row(case, took, "s", *others, f"≤ {bar_s:g} s", met=max(took) <= bar_s)


async def _writes(house: House, seen: list[Breach], others: Peers) -> Row:
    """How often each canary Ingress was written since its breach, up to the end of its rollout."""
    await asyncio.gather(*(rolled_back(each.run) for each in seen))
    counts = [float(len(house.sightings.of(each.run.pair.canary, each.bad_at))) for each in seen]
    case = "– writes of the canary Ingress from that breach to the end of the rollout"
    return Row(case, counts, "", *others, "1", met=set(counts) == {1.0})


async def rolled_back(run: Running) -> None:
    """Wait for the end, which must be a way back because of a breach.

    Raises:
        Missed: it ended otherwise.
    """
    try:
        await run.handle.result()
    except WorkflowFailureError as error:
        if isinstance(error.cause, ApplicationError) and error.cause.type == "RolledBack":
            return
        raise Missed(f"{run.pair.name} ended with {error.cause!r}") from error
    raise Missed(f"{run.pair.name} was promoted")


def _policy(poll_s: float) -> dict[str, str]:
    return {"poll": f"{poll_s:g}s", "drain": "1s"}  # what drains has weight 0 already


def _workload(pair: Pair) -> dict[str, Any]:
    place = {"kind": "kubernetes-deployment", "connection": "cluster", "namespace": pair.namespace}
    return {**place, "candidate": CANDIDATE, "stable": STABLE}
