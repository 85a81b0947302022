"""The generated include of a service: what Sluice writes for nginx, and what it reads back from that text. Pure.

A file of its own, included in `http`, defines five variables that the operator's servers use: `$sluice_<service>_pool`
(where a request goes), `_cookie` (what to hand out), `_state` (what an admin server on loopback tells), and two of
inner use. With `upstream-weights` the file also holds the operator's upstreams, of which only weights are changed.

`map` compares strings without regard to case, other proxies do not: forced values are therefore regular expressions.
A digest in the state tells a change by hand from a write of ours; a seed that an operator wrote has an empty one.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence

from pydantic import ValidationError

from activities.ports import Write
from activities.routers.nginx import weights
from activities.routers.nginx.connection import variable
from activities.routers.nginx.text import Statement, statements
from rollout.base import Told, percent_text
from rollout.errors import Misconfigured
from rollout.routes import NginxRoute, Sticky

BEGIN, END = "# sluice begin", "# sluice end"
_WHOLE = 10_000  # hundredths of a percent
_POOL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_BLOCK = re.compile(rf"^{BEGIN}\n.*?^{END}(?:\n|\Z)", re.MULTILINE | re.DOTALL)
_DIGEST = re.compile(r'("digest":")[0-9a-f]*(")')
_CODES = {rf"\{letter}": f"\\u{ord(meant):04x}" for letter, meant in zip('"\\bfnrt', '"\\\b\f\n\r\t', strict=True)}
_HEAD = "# Written by Sluice for {}. A change by hand is noticed and reported.\n"


class Mark(Told):
    """What the last write left in the state; epoch 0 if there was none.

    Attributes:
        epoch: fence of that write.
        owner: who holds the route, None if nobody.
        percent: percent on the candidate, 0 to 100.
        forced: whether the forced-header rules are there.
        digest: of the generated text; empty in an operator's seed.
    """

    epoch: int = 0
    owner: str | None = None
    percent: float = 0
    forced: bool = False
    digest: str = ""


class Shown(Mark):
    """What a running nginx tells.

    Attributes:
        pool: where this very request would have gone: a draw.
        pid: process id of the worker that answered.
    """

    pool: str = ""
    pid: int = 0

    @property
    def mark(self) -> Mark:
        """Only what was written."""
        return Mark.model_validate(self.model_dump())


class View(Told):
    """What Sluice looks at in an include.

    Attributes:
        mark: who wrote last.
        percent: percent of requests that do not go to stable, as the directives say and whatever the mark says.
        forced: whether there are rules about a header.
        by_hand: what somebody has changed since the mark was made, None if nothing.
    """

    mark: Mark
    percent: float
    forced: bool
    by_hand: str | None = None


def desired(text: str, route: NginxRoute, write: Write) -> str:
    """The include with what one write changes.

    Args:
        text: what is there; only `upstream-weights` looks at it.
        route: names the pools, the forced header and what tells users apart.
        write: percent, epoch and owner.

    Raises:
        Misconfigured: the percent has no two decimals, a pool's name cannot be written, or the upstreams in the text
            cannot be weighed.
    """
    hundredths = round(write.percent * 100)
    if not 0 <= hundredths <= _WHOLE or abs(write.percent * 100 - hundredths) > 1e-6:
        raise Misconfigured(f"{route} cannot take {write.percent} %: 0 to 100 in steps of 0.01 is possible")
    for pool in (route.candidate_pool, route.stable_pool):
        if not _POOL.fullmatch(pool):
            raise Misconfigured(f"{route}: {pool!r} is no upstream's name; use letters, digits, dots, - and _")
    if route.mode == "upstream-weights":
        weighed = weights.weighed(text, route, hundredths, leaving=write.percent == 0)
        block = _sealed("\n".join([BEGIN, *_maps(route, write, route.service), END, ""]))
        if _BLOCK.search(weighed):
            return _BLOCK.sub(lambda _: block, weighed, count=1)
        return f"{weighed.rstrip()}\n\n{block}"
    split = f"$sluice_{variable(route.service)}_split"
    lines = [*_split(route, write, hundredths), *_maps(route, write, split), ""]
    return _sealed(_HEAD.format(route.service) + "\n".join(lines))


def view(text: str, route: NginxRoute) -> View:
    """What Sluice looks at in an include.

    Raises:
        Misconfigured: it is not an include of this service; says what to do.
    """
    where = f"{route}: {route.service}.conf"
    try:
        found = {each.words[-1]: each for each in statements(text) if each.words[0] in {"map", "split_clients"}}
        prefix = f"$sluice_{variable(route.service)}"
        state = next(each.words[1] for each in found[f"{prefix}_state"].inner if each.words[0] == "default")
        mark = Mark.model_validate_json(state)
        percent = _percent(text, found.get(f"{prefix}_split"), route)
        forced = any(each.words[0].startswith("~") for each in found[f"{prefix}_pool"].inner)
    except (KeyError, StopIteration, IndexError, ValueError) as error:
        reason = "its state is no JSON of Sluice's" if isinstance(error, ValidationError) else repr(error)
        msg = f"{where} is not an include of Sluice's ({reason}); put the seed of deploy/nginx there and reload nginx"
        raise Misconfigured(msg) from error
    by_hand = None
    if route.mode == "upstream-weights" and (leak := weights.leak(text, route)):
        by_hand = f"{route.service}.conf: {leak}"
    elif percent != mark.percent:
        by_hand = f"{route.service}.conf says {percent_text(percent)}, its mark {percent_text(mark.percent)}"
    elif mark.digest and mark.digest != digest(text):
        by_hand = f"{route.service}.conf was changed by hand since epoch {mark.epoch}: its digest does not fit"
    return View(mark=mark, percent=percent, forced=forced, by_hand=by_hand)


def shown(body: bytes) -> Shown:
    """What a running nginx tells.

    Raises:
        ValueError: that is no state of Sluice's.
    """
    return Shown.model_validate_json(body)


def strange_draw(seen: Shown, route: NginxRoute) -> str | None:
    """Why a running nginx does not draw as its own state says; None if it may. Only 0 and 100 % allow no chance."""
    split = (route.candidate_pool, route.stable_pool)
    pools = {0: split[1:], 100: split[:1]}.get(int(seen.percent) if seen.percent in {0, 100} else -1, split)
    if route.mode == "upstream-weights":
        pools = (route.service,)
    if seen.pool in pools:
        return None
    return f"nginx says {percent_text(seen.percent)} and sends a request to {seen.pool or 'nowhere'}"


def strange_visit(pools: Sequence[str | None], percent: float, route: NginxRoute) -> str | None:
    """Why visitors are not led as the state says; None if they are, or if nobody has looked.

    Between 0 and 100 % there is no wrong pool, so it only counts that one is told.
    """
    right = {0: route.stable_pool, 100: route.candidate_pool}.get(int(percent) if percent in {0, 100} else -1)
    if route.mode == "upstream-weights":
        right = route.service
    for pool in pools:
        if pool is None:
            return "visitors get no header X-Sluice-Pool: they are not led by Sluice; see deploy/nginx/nginx.conf"
        if right and pool != right:
            return f"nginx says {percent_text(percent)}, and a visitor was sent to {pool}"
    return None


def digest(text: str) -> str:
    """Of the generated part of an include: all of it, or what stands between the two markers."""
    block = _BLOCK.search(text)
    blank = _DIGEST.sub(r"\1\2", block[0] if block else text)
    return hashlib.sha256(blank.encode()).hexdigest()[:16]


def _sealed(text: str) -> str:
    return _DIGEST.sub(rf"\g<1>{digest(text)}\g<2>", text, count=1)


def _percent(text: str, split: Statement | None, route: NginxRoute) -> float:
    if route.mode == "upstream-weights":
        return weights.percent(text, route)
    if split is None:
        raise KeyError("no split_clients")
    shares = {each.words[1]: each.words[0] for each in split.inner}
    named = sum(float(share.removesuffix("%")) for share in shares.values() if share != "*")
    stable = shares.get(route.stable_pool, "0%")
    return round(100 - (100 - named if stable == "*" else float(stable.removesuffix("%"))), 2)


def _sticky(route: NginxRoute, write: Write) -> Sticky | None:
    """What keeps users; at 0 % nothing may be left that leads anyone to the candidate."""
    return route.sticky if write.percent > 0 and not write.release else None


def _split(route: NginxRoute, write: Write, hundredths: int) -> Iterator[str]:
    name, sticky = f"$sluice_{variable(route.service)}", _sticky(route, write)
    key = "$request_id"
    if sticky:
        carried = f"{name}_carried" if sticky.cookie_name else f"$http_{variable(sticky.header or '')}"
        if cookie := sticky.cookie_name:
            # Not $cookie_…: a dash in a cookie's name would end the variable's.
            yield f"map $http_cookie {name}_carried {{"
            pattern = rf"~(?:^|;\s*){cookie}=(?<sluice_carried>[^;\s]+)"
            yield f'    {_quoted(pattern)} $sluice_carried;\n    default "";\n}}'
        key = f"{name}_key"
        yield f'map {carried} {key} {{\n    "" $request_id;\n    default {carried};\n}}'
    # The candidate's range comes first and only grows: with one key, users that it has once stay its users.
    shares = {f"{hundredths / 100:.2f}%": route.candidate_pool, "*": route.stable_pool}
    if hundredths in {0, _WHOLE}:  # "0%" is refused by nginx
        shares = {"*": route.candidate_pool if hundredths else route.stable_pool}
    yield f'split_clients "{key}" {name}_split {{'
    yield from (f"    {share} {pool};" for share, pool in shares.items())
    yield "}"


def _maps(route: NginxRoute, write: Write, default: str) -> Iterator[str]:
    name, sticky = f"$sluice_{variable(route.service)}", _sticky(route, write)
    header = route.header if write.header and not write.release else None
    source = f"$http_{variable(header.name)}" if header else '""'
    yield f"map {source} {name}_pool {{"
    if header:
        yield f"    {_quoted(_exactly(header.candidate))} {route.candidate_pool};"
        yield f"    {_quoted(_exactly(header.stable))} {route.stable_pool};"
    yield f"    default {default};\n}}"
    if sticky and (cookie := sticky.cookie_name):
        given = f"{cookie}=$request_id; Path=/; Max-Age={int(sticky.ttl.total_seconds())}; HttpOnly; SameSite=Lax"
        yield f'map {name}_carried {name}_cookie {{\n    "" "{given}";\n    default "";\n}}'
    else:
        yield f'map "" {name}_cookie {{\n    default "";\n}}'
    owner = None if write.release else write.owner
    mark = Mark(epoch=write.epoch, owner=owner, percent=write.percent, forced=header is not None)
    yield f'map "" {name}_state {{\n    default {_state(mark, name)};\n}}'


def _state(mark: Mark, name: str) -> str:
    fixed = json.dumps(mark.model_dump(), separators=(",", ":"))
    # nginx reads \" \\ \t \r \n itself, and $ as a variable; \u it leaves alone.
    escaped = re.sub(r'\\["\\bfnrt]', lambda found: _CODES[found[0]], fixed)
    escaped = escaped.replace("'", "\\u0027").replace("$", "\\u0024")
    return f'\'{escaped[:-1]},"pool":"{name}_pool","pid":"$pid"}}\''


def _exactly(value: str) -> str:
    return f"~^{re.escape(value)}$"


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
