"""Weights of the servers of one backend: which ones come nearest to a percent.

All servers of a pool keep the proportions of the weights that the operator gave them; a pool whose servers all have
weight 0 there is weighed evenly. HAProxy's weights are whole numbers up to 256, so not every percent can be had; the
one that is had instead is told, and one too far off is refused.
"""

import math
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache

from activities.routers.haproxy.map_file import Mark
from activities.routers.haproxy.servers import Pools, Server, share
from rollout.base import percent_text
from rollout.errors import Misconfigured
from rollout.routes import HaproxyRoute

MOST = 256
_SAME = 1e-9
_FAR = 0.2  # relative distance between the percent that is wanted and the one that is had


def chosen(members: Pools, percent: float, route: HaproxyRoute) -> dict[str, int]:
    """Server → weight that comes nearest to the percent; the same for the same servers, whatever their weights are now.

    Of all scales of both pools (256 each) the pair is taken whose share is nearest; of equal ones that with the largest
    weights. At 0 % the candidate's servers have weight 0, at 100 % stable's.

    Raises:
        Misconfigured: the nearest share is more than 20 % off, or nobody would have any weight.
    """
    if percent < 100 and not members["stable"]:
        raise Misconfigured(
            f"{route}: no server of backend {route.service} has a name that begins with {route.stable_pool}"
        )
    every = [*members["candidate"], *members["stable"]]
    given = (tuple(each.initial for each in members[pool]) for pool in ("candidate", "stable"))
    found = dict(zip((each.name for each in every), _nearest(*given, percent), strict=True))
    off = abs(achieved(found, members) - percent)
    if off > _FAR * percent and off > _SAME:
        counts = f"{len(members['candidate'])} and {len(members['stable'])} servers"
        raise Misconfigured(
            f"{route} cannot take {percent:g} %: the weights of {counts} give {achieved(found, members):.3g} % at "
            f"best; take another step, or mode map, which goes in steps of 0.01"
        )
    return found


def achieved(wanted: dict[str, int], members: Pools) -> float:
    """Percent on the candidate that chosen weights give."""
    mine = sum(wanted[each.name] for each in members["candidate"])
    return 100 * mine / (sum(wanted.values()) or 1)


def finest(members: Pools) -> float:
    """Smallest percent above 0 that can be had on the candidate."""
    smallest, largest = (
        _scales(tuple(each.initial for each in members["candidate"]))[0],
        _scales(tuple(each.initial for each in members["stable"]))[-1],
    )
    mine = sum(smallest)
    return round(100 * mine / ((mine + sum(largest)) or 1), 3)


def weighed(
    members: Pools, mark: Mark, restarted: Iterable[Server], route: HaproxyRoute
) -> tuple[float, str, str | None]:
    """What the weights of a backend's servers say.

    Args:
        members: the servers as HAProxy shows them.
        mark: of the last write.
        restarted: the servers as a restart would bring them back.
        route: names them.

    Returns:
        Percent on the candidate: the mark's if the weights are exactly what it gives, else computed. The weights in
        words. Why the percent is not in force, None if it is.
    """
    every = [*members["candidate"], *members["stable"]]
    weights = {each.name: each.weight for each in every}
    percent = round(share(members), 2)
    told = f"{share(members):.4g} % by weights " + ", ".join(f"{name} {weight}" for name, weight in weights.items())
    if mark.percent is not None:
        with suppress(Misconfigured):
            wanted = chosen(members, mark.percent, route)
            deserted = [each for each in members.values() if each and all(one.away for one in each)]
            # One server away is as one that is down. All of a pool away is another split.
            if wanted == weights and not any(wanted[each[0].name] for each in deserted):
                percent = mark.percent
                told = f"{achieved(wanted, members):.4g} % by weights {told.partition(' by weights ')[2]}"
        if percent != mark.percent:
            return percent, told, f"HAProxy shows {told}, {route.service}.map says {percent_text(mark.percent)}"
    open_ = [each.name for each in members["candidate"] if not each.parked] if mark.leads_nobody else []
    if open_:
        name = f"{route.service}/{open_[0]}"
        off = f"HAProxy shows {name} out of maintenance, so users whom a cookie keeps there reach it"
        return percent, told, f"{off}: `set server {name} state maint`"
    now, then = ({each.name: 0 if each.parked else each.weight for each in them} for them in (every, restarted))
    for name, weight in now.items():
        if then.get(name, weight) != weight:
            return percent, told, f"HAProxy shows weight {weight} of {name}, {route.service}.state says {then[name]}"
    return percent, told, None


@lru_cache(maxsize=256)
def _nearest(candidate: tuple[int, ...], stable: tuple[int, ...], percent: float) -> tuple[int, ...]:
    """Weights of the candidate's servers and then of stable's, for the weights that the operator gave them."""
    mine = _scales(candidate) if percent > 0 else [(0,) * len(candidate)]
    others = _scales(stable) if percent < 100 else [(0,) * len(stable)]
    sums = [(sum(each), each) for each in reversed(others)]
    best, off = (*mine[-1], *others[-1]), math.inf
    for one in reversed(mine):
        weight = sum(one)
        for other, each in sums:
            distance = abs(100 * weight / ((weight + other) or 1) - percent)
            if distance < off - _SAME:
                best, off = (*one, *each), distance
    return best


def _scales(initial: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Every size of a pool's weights, smallest first, in the operator's proportions; nobody falls to 0 by rounding."""
    shape = initial if any(initial) else (1,) * len(initial)
    most = max(shape, default=1)
    sizes = [tuple(max(round(size * each / most), 1) if each else 0 for each in shape) for size in range(1, MOST + 1)]
    return sizes if initial else [()]
