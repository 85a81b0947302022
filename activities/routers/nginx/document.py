"""What Sluice and `deploy/nginx/sluice.lua` tell each other: the document of a split, and what an nginx shows of it.

The pure half of `shared_dict.py`. A document is flat, because nginx's Lua has no JSON library of its own, and
says nothing about what was before: a write replaces it as a whole, on the condition that nobody else has changed it.
"""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field

from activities.ports import Pool, RouteState, Write
from activities.routers.nginx.connection import NginxHost
from rollout.base import Told, percent_text
from rollout.errors import Misconfigured
from rollout.routes import NginxRoute

_WHOLE = 10_000  # weights are hundredths of a percent
_NAME = re.compile(r"[A-Za-z0-9._-]+")


class Document(Told):
    """What one service's split is, as `sluice.lua` reads it.

    Attributes:
        candidate: upstream that gets `weight` of 10 000 requests.
        stable: upstream that gets the others.
        weight: hundredths of a percent.
        epoch: fence of the write that made it.
        owner: who holds the route, None if nobody.
        header: request header that forces an upstream, None if none does.
        header_candidate: its value for the candidate.
        header_stable: its value for stable.
        user_header: request header that names the user.
        user_cookie: cookie that names the user, handed out where it is missing.
        max_age: of that cookie, seconds.
    """

    candidate: str
    stable: str
    weight: int = Field(ge=0, le=_WHOLE)
    epoch: int = 0
    owner: str | None = None
    header: str | None = None
    header_candidate: str | None = None
    header_stable: str | None = None
    user_header: str | None = None
    user_cookie: str | None = None
    max_age: int | None = None

    def content(self) -> bytes:
        """The document as it is sent and kept."""
        return self.model_dump_json(exclude_none=True).encode()

    def tag(self) -> str:
        """The ETag that nginx gives it."""
        return f'"{hashlib.md5(self.content(), usedforsecurity=False).hexdigest()}"'

    def shares(self) -> dict[str, float]:
        """Upstream → percent of requests, only those that get any."""
        both = {self.candidate: self.weight, self.stable: _WHOLE - self.weight}
        return {name: weight / 100 for name, weight in both.items() if weight}

    def __str__(self) -> str:
        """`epoch 7: checkout-candidate 25 %, checkout-stable 75 %`."""
        shares = ", ".join(f"{name} {percent_text(percent)}" for name, percent in self.shares().items())
        return f"epoch {self.epoch}: {shares}"


class Seed(Told):
    """The pools of a service before Sluice has ever written: everything goes to `stable`."""

    candidate: str
    stable: str


class Shown(Told):
    """What one nginx shows.

    Attributes:
        file: where it keeps the document, on its own machine.
        seed: what holds where nothing is written.
        running: the document that decides, None if there is none.
        stored: the one on disk, None if there is none that could be read.
        stored_problem: why not.
        in_flight: upstream → requests chosen for it that have not ended.
        tag: ETag of `running`.
    """

    file: str
    seed: Seed
    running: Document | None = None
    stored: Document | None = None
    stored_problem: str | None = None
    in_flight: dict[str, int] = Field(default_factory=dict)
    tag: str | None = None

    def decides(self) -> Document:
        """What decides about the next request."""
        return self.running or Document(**self.seed.model_dump(), weight=0)

    def written(self) -> Document:
        """What a restart brings back; what runs if that cannot be read."""
        return self.stored or self.decides()

    def differs(self) -> str | None:
        """Why a restart would bring back something else; None if it would not."""
        if self.stored == self.running:
            return f"all traffic goes to {self.seed.stable}: {self.stored_problem}" if self.stored_problem else None
        if self.stored is None:
            return f"it runs with {self.running}, and a restart would forget it: {self.stored_problem}"
        return f"it runs with {self.decides()}, {self.file} says {self.stored}"


class Look(NamedTuple):
    """What a host shows."""

    host: NginxHost
    shown: Shown


def desired(route: NginxRoute, write: Write) -> Document:
    """The document of one write.

    Raises:
        Misconfigured: the percent has no whole weight, or a pool is no name of an upstream.
    """
    for name in (route.candidate_pool, route.stable_pool):
        if not _NAME.fullmatch(name):
            raise Misconfigured(f"{route}: {name!r} is no name of an upstream: letters, digits, dot, dash, underscore")
    weight = round(write.percent * 100)
    if not 0 <= weight <= _WHOLE or abs(write.percent * 100 - weight) > 1e-6:
        raise Misconfigured(f"{route} cannot take {write.percent} %: 0 to 100 in steps of 0.01 is possible")
    more: dict[str, Any] = {}
    if route.header and write.header and not write.release:
        header = route.header
        more |= {"header": header.name, "header_candidate": header.candidate, "header_stable": header.stable}
    if route.sticky and weight and not write.release:
        more |= _users(route)
    return Document(
        candidate=route.candidate_pool,
        stable=route.stable_pool,
        weight=weight,
        epoch=write.epoch,
        owner=None if write.release else write.owner,
        **more,
    )


def state(route: NginxRoute, looks: Sequence[Look], healthy: dict[Pool, int], folder: Path) -> RouteState:
    """What all hosts together are; in force only if each of them says the same.

    The epoch is the lowest of all hosts, running or kept: so what was written half is written again.

    Args:
        route: names the pools.
        looks: one a host, at least one.
        healthy: pool → members fit for traffic.
        folder: where documents are kept on this machine, as the connection says.
    """
    written = [look.shown.written() for look in looks]
    percents = [each.shares().get(route.candidate_pool, 0.0) for each in written]
    problem = next(filter(None, (_problem(route, look) for look in looks)), None)
    if problem is None and any(each != written[0] for each in written):
        problem = "the hosts differ: " + "; ".join(f"{look.host.name} shows {look.shown.written()}" for look in looks)
    owner = next((each.owner for each in written if each.owner), None)
    apart = None if problem or owner else _elsewhere(looks, folder)
    return RouteState(
        percent=max(percents),
        in_force=None if problem else percents[0],
        epoch=min(found.epoch for look in looks for found in (look.shown.decides(), look.shown.written())),
        owner=owner,
        forced=any(each.header for each in written),
        healthy=healthy,
        problem=problem or apart,
        proof="" if problem else "; ".join(f"{look.host.name} shows {look.shown.decides()}" for look in looks),
    )


def _users(route: NginxRoute) -> dict[str, Any]:
    sticky = route.sticky
    if sticky is None:
        return {}
    if sticky.header:
        return {"user_header": sticky.header}
    return {"user_cookie": sticky.cookie_name, "max_age": int(sticky.ttl.total_seconds())}


def _problem(route: NginxRoute, look: Look) -> str | None:
    found = look.shown.written()
    if differs := look.shown.differs():
        return f"{look.host.name}: {differs}"
    if strangers := found.shares().keys() - {route.candidate_pool, route.stable_pool}:
        return f"{look.host.name} sends traffic to {', '.join(strangers)}, which is no pool of this route: {found}"
    kept = found.model_dump(include={"user_header", "user_cookie", "max_age"}, exclude_none=True)
    if found.owner and found.weight and kept != _users(route):
        return f"{look.host.name} no longer keeps users on their version as the spec wants: {found} was changed by hand"
    return None


def _elsewhere(looks: Sequence[Look], folder: Path) -> str | None:
    """Why the way back could not be written while nginx is away; for preflight, as the percent is in force anyway."""
    files = [Path(look.shown.file) for look in looks if look.host.ssh is None]
    if len(files) == 1 and files[0].parent.resolve() != folder.resolve():
        return (
            f"nginx keeps its documents in {files[0].parent}, the connection says folder {folder}: make them the same"
        )
    return None
