"""The pods behind the routes, around a shift of traffic: enough before it, none left after it has come back.

Apart from `traffic.py` because a rollout without a workload has none of it.
"""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from activities.ports import Connections, Write
from rollout.base import percent_text
from rollout.errors import SluiceError
from rollout.messages import DrainPool, RestoreTraffic, ShiftTraffic

LOOK_SECONDS = 0.5  # the most that looking at stable's pods may cost the way back


async def prepared(connections: Connections, order: ShiftTraffic) -> None:
    """See to it that the candidate's pods can carry what they are about to get.

    Raises:
        NotReady: not all that it needs are ready yet.
        SluiceError: as in `ports.Workloads.prepare`.
    """
    # What is only put right, or told to stay, must not wait for pods; a preview at 0 % is reached like any percent.
    stays = (order.reassert or order.pause) and order.percent <= order.expected and not order.release
    if order.workload is not None and not stays:
        write = Write(percent=order.percent, epoch=order.epoch, owner=order.owner, release=order.release)
        await connections.workload(order.workload).prepare(write)


async def kept_on_candidate(connections: Connections, order: RestoreTraffic, begun: datetime) -> float:
    """Percent that must stay on the candidate for now, because stable's ready pods could not carry it; usually 0.

    Stable that cannot be looked at is not waited for, and none is waited for longer than `capped_for`: others may have
    made it smaller for good, and a bad candidate is worse than a busy stable. It is not worse than none at all: while
    stable has no ready pod, the traffic stays.

    Args:
        connections: where to look.
        order: the way back.
        begun: when it was ordered first, whatever attempt this is.
    """
    if order.workload is None:
        return 0
    with suppress(SluiceError, TimeoutError):
        async with asyncio.timeout(LOOK_SECONDS):
            carried = await connections.workload(order.workload).carries()
        if carried == 0 or datetime.now(UTC) - begun < order.capped_for:
            return round(100 - carried, 2)
    return 0


def still_kept(kept: float, order: RestoreTraffic) -> str:
    """Why a way back has not ended."""
    if kept == 100:
        return "the traffic stays where it is: stable has no ready pod at all; give it some"
    return (
        f"{percent_text(kept)} stay on the candidate: stable's ready pods carry {percent_text(100 - kept)} and no more "
        f"now; followed as they grow, for {order.capped_for / timedelta(seconds=1):g} s at most"
    )


async def removed(connections: Connections, order: DrainPool) -> str | None:
    """Take the candidate's pods away after a way back; what was done, or why not. It never fails: traffic is back."""
    workload = order.workload
    if workload is None or order.pool != "candidate" or not workload.remove_candidate:
        return None
    try:
        write = Write(percent=0, epoch=order.epoch, owner=order.owner, header=False, release=True)
        return await connections.workload(workload).remove_candidate(write)
    except SluiceError as error:
        return f"the candidate's pods were left: {error}"
