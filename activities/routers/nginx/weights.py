"""The weights of an upstream: which servers are the candidate's, what share they have, and giving them another one.

The plain form of many sites: `upstream checkout { server a weight=95; server b weight=5; }`. The servers of a pool are
those that the pool's own upstream lists, in the same file; a `weight` or `down` there is the operator's and counts
within the pool. In the service's upstream `weight` and `down` are ours, all else stays byte for byte.

nginx knows no weight 0, so a pool without a share is `down`. So is, always, a `backup` that is not stable's: nginx
would send everybody there as soon as stable's servers fail. A server of the service that no pool lists is a stranger,
perhaps the candidate's old address: it stops a raise, is `down` on the way back, and nothing is in force until then.
"""

import math
import re

from activities.routers.nginx.text import Statement, statements
from rollout.errors import Misconfigured
from rollout.routes import NginxRoute

_OURS = re.compile(r"\s+(?:weight=\d+|down)(?=[\s;])")
_WHOLE = 10_000  # hundredths of a percent


def weighed(text: str, route: NginxRoute, hundredths: int, *, leaving: bool) -> str:
    """The text with weights that give the candidate exactly its share.

    Args:
        text: the include.
        route: names the upstreams.
        hundredths: of a percent, 0 to 10 000.
        leaving: on the way back; what stable does not list is `down`, whoever lists it.

    Raises:
        Misconfigured: the pools' servers cannot be told, or a pool that shall have a share has no server.
    """
    servers, backups, candidate, stable = _pools(text, route)
    listed = {**candidate, **stable}
    strangers = [each for each in servers if each not in listed]
    strangers += [each.words[1] for each in backups if each.words[1] not in listed]
    if strangers and not leaving:
        raise Misconfigured(
            f"{route}: upstream {route.service} has {', '.join(strangers)}, which neither {route.candidate_pool} nor "
            f"{route.stable_pool} lists: list it in one of them"
        )
    pools = (
        {name: weight for name, weight in candidate.items() if name in servers},
        {name: weight for name, weight in stable.items() if name in servers},
    )
    sums = [sum(pool.values()) for pool in pools]
    shares = (hundredths, _WHOLE - hundredths)
    for total, share, name in zip(sums, shares, (route.candidate_pool, route.stable_pool), strict=True):
        if share and not total:
            raise Misconfigured(f"{route}: upstream {route.service} has no server of {name} that could take a share")
    # A pool without a share takes no part in the arithmetic, whether it has servers or not.
    factors = (shares[0] * (sums[1] or 1), shares[1] * (sums[0] or 1))
    weights = {name: weight * factors[0] for name, weight in pools[0].items()}
    weights |= {name: weight * factors[1] for name, weight in pools[1].items()}
    common = math.gcd(*weights.values()) or 1
    shares_of = [(statement, weights.get(name, 0) // common) for name, statement in servers.items()]
    shares_of += [(each, 0) for each in backups if each.words[1] not in stable]
    made = text
    # From the end, so that offsets in front of it stay right.
    for statement, weight in sorted(shares_of, key=lambda each: each[0].start, reverse=True):
        bare = _OURS.sub("", text[statement.start : statement.end]).removesuffix(";")
        line = f"{bare} weight={weight};" if weight else f"{bare} down;"
        made = made[: statement.start] + line + made[statement.end :]
    return made


def percent(text: str, route: NginxRoute) -> float:
    """Percent of requests that stable's servers do not get by the weights, 0 to 100 with two decimals.

    Raises:
        ValueError: the text is no configuration.
        Misconfigured: the pools' servers cannot be told.
    """
    servers, _, _, stable = _pools(text, route)
    weights = {name: _weight(statement) for name, statement in servers.items()}
    ours = sum(weight for name, weight in weights.items() if name not in stable)
    return round(100 * ours / (sum(weights.values()) or 1), 2)


def leak(text: str, route: NginxRoute) -> str | None:
    """What in the service's upstream may take requests although no share says so; None if nothing.

    Raises:
        Misconfigured: the pools' servers cannot be told.
    """
    servers, backups, candidate, stable = _pools(text, route)
    up = [each for each in (*servers.values(), *backups) if "down" not in each.words]
    where = f"upstream {route.service} has {{}} up, which"
    if strangers := [each.words[1] for each in up if each.words[1] not in {**candidate, **stable}]:
        return f"{where.format(', '.join(strangers))} neither {route.candidate_pool} nor {route.stable_pool} lists"
    if spare := [each.words[1] for each in up if "backup" in each.words and each.words[1] in candidate]:
        return f"{where.format(', '.join(spare))} is a backup of {route.candidate_pool}: it gets all if stable fails"
    return None


def _pools(
    text: str, route: NginxRoute
) -> tuple[dict[str, Statement], list[Statement], dict[str, int], dict[str, int]]:
    """Servers of the service's upstream, its backups apart, and server → weight of the two pools."""
    try:
        everything = statements(text)
    except ValueError as error:
        raise Misconfigured(f"{route}: {route.service}.conf cannot be understood: {error}; repair it") from error
    found = {each.words[1]: each for each in everything if each.words[0] == "upstream" and len(each.words) == 2}
    if route.service not in found:
        raise Misconfigured(
            f"{route}: {route.service}.conf has no upstream {route.service} whose servers can be weighed"
        )
    every = [each for each in found[route.service].inner if each.words[0] == "server" and len(each.words) > 1]
    lines = [each for each in every if "backup" not in each.words]
    backups = [each for each in every if "backup" in each.words]
    servers = {each.words[1]: each for each in lines}
    if len(servers) < len(lines):
        raise Misconfigured(f"{route}: upstream {route.service} has a server twice; weights would not add up")
    candidate, stable = (
        {each.words[1]: _weight(each) for each in found[name].inner if each.words[0] == "server"}
        if name in found
        else None
        for name in (route.candidate_pool, route.stable_pool)
    )
    if candidate is None and stable is None:
        pools = f"{route.candidate_pool} and {route.stable_pool}"
        raise Misconfigured(f"{route}: {route.service}.conf tells no pools apart: add upstreams {pools} to it")
    if stable is None:
        stable = {name: 1 for name in servers if name not in (candidate or {})}
    if candidate is None:
        candidate = {name: 1 for name in servers if name not in stable}
    if both := sorted(candidate.keys() & stable.keys()):
        raise Misconfigured(f"{route}: {', '.join(both)} is in both {route.candidate_pool} and {route.stable_pool}")
    return servers, backups, candidate, stable


def _weight(server: Statement) -> int:
    if "down" in server.words:
        return 0
    return next((int(word[7:]) for word in server.words if word.startswith("weight=")), 1)
