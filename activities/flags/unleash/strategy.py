"""What a flag is in one environment, and what has to be done to move it; pure.

Unleash has no versions: what a rollout must remember stands in the title of the strategy that carries the share, where
people see it and where the same request changes it: `Slowly [Sluice default/production/new-checkout: epoch 3, held by
rollout:prod/checkout, was off]`. The place is in it because strategies are copied from environment to environment.

Several enabled strategies are OR-ed, none means everybody: exactly one, a gradual rollout, must be enabled, or what is
written would not be the share of users. Its constraints and segments are left alone: the share is of those whom they
let through. Variants are left alone too: they divide those who see the feature.

A change is a JSON patch that first tests what was read, so one that comes between is noticed; a whole strategy that is
sent back without its stickiness would deal out the users anew.
"""

import re
from dataclasses import dataclass, replace
from typing import Any

from activities.ports import Pool, Write
from rollout.base import percent_text
from rollout.errors import Misconfigured, RouteRejected
from rollout.routes.flags import UnleashRoute

Json = dict[str, Any]

GRADUAL = "flexibleRollout"
_ON, _OFF = frozenset({"on", "true", "enabled"}), frozenset({"off", "false", "disabled"})
_WHOLE = re.compile(r"0*(100|\d{1,2})")
_MARK = re.compile(
    r"\s*\[Sluice (?P<place>\S+): epoch (?P<epoch>\d{1,18})(?:, held by (?P<owner>.+?))?(?P<off>, was off)?\]",
    re.DOTALL,
)


@dataclass(frozen=True)
class Mark:
    """What a write leaves behind.

    Attributes:
        epoch: its fence; 0 if there was none.
        owner: who holds the flag, None if nobody.
        was_off: whether the flag was off before the rollout, so that the way back switches it off again.
    """

    epoch: int = 0
    owner: str | None = None
    was_off: bool = False

    def text(self, place: str) -> str:
        """As it stands in the title."""
        held, off = f", held by {self.owner}" if self.owner else "", ", was off" if self.was_off else ""
        return f"[Sluice {place}: epoch {self.epoch}{held}{off}]"


@dataclass(frozen=True)
class Found:
    """A flag in one environment, as the admin API shows it.

    Attributes:
        on: whether it is switched on.
        strategy: the one that carries the share; empty if none does, or several could.
        others: enabled strategies besides, in words; with any of them the share is not what users get.
        mark: of the last write.
    """

    on: bool
    strategy: Json
    others: str | None
    mark: Mark

    @property
    def parameters(self) -> Json:
        """The strategy's own: `rollout`, `stickiness`, `groupId`."""
        return dict(self.strategy.get("parameters") or {})

    @property
    def share(self) -> int | None:
        """Percent that is written; None if it is no whole number from 0 to 100."""
        written = self.parameters.get("rollout")
        return int(written) if isinstance(written, str) and _WHOLE.fullmatch(written) else None

    @property
    def percent(self) -> float:
        """Percent of users who are given the feature, as far as it can be said."""
        return float(self.share or 0) if self.on else 0.0


@dataclass(frozen=True)
class Patch:
    """Change the strategy.

    Attributes:
        strategy: its id.
        operations: a JSON patch.
    """

    strategy: str
    operations: tuple[Json, ...]


@dataclass(frozen=True)
class Switch:
    """Switch the flag.

    Attributes:
        on: where to.
    """

    on: bool


Step = Patch | Switch


def environment(feature: Json, route: UnleashRoute) -> Json:
    """The part of a feature that is about the route's environment.

    Raises:
        Misconfigured: it is archived, or the environment is not there.
    """
    if feature.get("archived"):
        raise Misconfigured(f"{route} is archived: revive it, or take it out of the spec")
    every = {each["name"]: each for each in feature.get("environments", [])}
    if route.environment not in every:
        known = ", ".join(sorted(every)) or "none"
        raise Misconfigured(f"{route}: Unleash knows no environment {route.environment} there; it has {known}")
    return dict(every[route.environment])


def found(feature: Json, route: UnleashRoute) -> Found:
    """What is there.

    Raises:
        Misconfigured: it is archived, or the environment is not there.
    """
    here = environment(feature, route)
    enabled = [each for each in here.get("strategies", []) if not each.get("disabled")]
    gradual = [each for each in enabled if each.get("name") == GRADUAL]
    ours = [each for each in gradual if _mark(each, route) != Mark()] or gradual
    if len(ours) != 1:
        mark = max((_mark(each, route) for each in ours), key=lambda one: one.epoch, default=Mark())
        return Found(bool(here.get("enabled")), {}, _amount(enabled), mark)
    others = None if len(enabled) == 1 else _amount(enabled)
    return Found(bool(here.get("enabled")), ours[0], others, _mark(ours[0], route))


def _amount(enabled: list[Json]) -> str:
    if not enabled:
        return "has no enabled strategy, which means everybody as soon as it is on"
    names = ", ".join(str(each.get("title") or each.get("name")) for each in enabled)
    return f"has {len(enabled)} enabled {'strategy' if len(enabled) == 1 else 'strategies, which add up'} ({names})"


def healthy(route: UnleashRoute) -> dict[Pool, int]:
    """The variations that a flag of Unleash has: on and off."""
    named: dict[Pool, bool] = {"candidate": route.candidate in _ON, "stable": route.stable in _OFF}
    return {pool: 1 for pool, there in named.items() if there}


def no_off(route: UnleashRoute) -> str | None:
    """Why off does not mean stable; None if it does."""
    if "stable" in healthy(route):
        return None
    return f"{route}: off is not {route.stable!r}; a flag of Unleash is on or off, so stable is `off`"


def steps(now: Found, route: UnleashRoute, write: Write) -> tuple[Step, ...]:
    """What has to be done, in order; nothing if it is done already. Assumes that the fence let the write pass.

    A flag that was off is switched on while its share is 0: only the last step gives anybody anything, and only it is
    marked with the share. Whoever finds the flag off with a share of ours knows that somebody switched it off.

    Raises:
        Misconfigured: a percent, a variation or a stickiness that Unleash does not have, or other strategies.
        RouteRejected: somebody switched it off since our last write.
    """
    if not now.strategy:
        if write.release and not now.on and now.mark == Mark():
            return ()  # it is off, and nothing of ours is there
        raise Misconfigured(f"{route} {now.others}; exactly one must be enabled, and be a gradual rollout")
    return _down(now, route, write) if write.percent == 0 else _up(now, route, write)


def _down(now: Found, route: UnleashRoute, write: Write) -> tuple[Step, ...]:
    first: tuple[Step, ...] = (Switch(on=False),) if now.on and now.mark.was_off else ()
    return first + _patch(now, route, 0, _after(write, was_off=_was_off(now) and not write.release))


def _up(now: Found, route: UnleashRoute, write: Write) -> tuple[Step, ...]:
    if write.percent != int(write.percent):
        raise Misconfigured(f"{route}: Unleash knows whole percents only, not {percent_text(write.percent)}")
    percent = int(write.percent)
    if write.release and not now.on:
        return _patch(now, route, percent, _after(write), users=False)
    if "candidate" not in healthy(route):
        raise Misconfigured(f"{route} has no variation {route.candidate!r}: a flag of Unleash is on or off")
    if now.others:
        raise Misconfigured(f"{route} {now.others}; exactly one must be enabled, and be a gradual rollout")
    mark = _after(write, was_off=_was_off(now) and not write.release)
    if now.on:
        return _patch(now, route, percent, mark)
    if now.mark.owner and not _was_off(now):
        raise RouteRejected(
            f"{route} was switched off since our last write; only a person switches it on again; nothing was written"
        )
    waiting = _patch(now, route, 0, mark)
    ready = replace(now, strategy=patched(now.strategy, waiting))
    return (*waiting, Switch(on=True), *_patch(ready, route, percent, mark))


def _was_off(now: Found) -> bool:
    """Whether the rollout found it off: the one that holds it, unless somebody switched it off since, or the next."""
    if not now.mark.owner:
        return not now.on
    return now.mark.was_off and (now.on or now.share == 0)


def _after(write: Write, *, was_off: bool = False) -> Mark:
    return Mark(write.epoch, None if write.release else write.owner, was_off)


def _patch(now: Found, route: UnleashRoute, percent: int, mark: Mark, *, users: bool = True) -> tuple[Patch, ...]:
    """The change to a share and a mark, guarded by what was read; nothing if it is so already.

    Args:
        now: what is there.
        route: the flag.
        percent: the share.
        mark: to leave.
        users: any percent above 0 is given to users, so what tells them apart must be as the spec says.
    """
    parameters = {"rollout": str(percent)} | (_stickiness(now, route) if percent and users else {})
    title = f"{_MARK.sub('', now.strategy.get('title') or '').strip()} {mark.text(route.place)}".strip()
    wanted = {f"/parameters/{name}": value for name, value in parameters.items()} | {"/title": title}
    present = {f"/parameters/{name}": now.parameters.get(name) for name in parameters}
    present["/title"] = now.strategy.get("title")
    if wanted == present:
        return ()
    guards = {"/title": now.strategy.get("title"), "/parameters": now.parameters}
    tests: list[Json] = [{"op": "test", "path": path, "value": value} for path, value in guards.items()]
    changes: list[Json] = [
        {"op": "add", "path": path, "value": value} for path, value in wanted.items() if present[path] != value
    ]
    return (Patch(str(now.strategy["id"]), (*tests, *changes)),)


def _stickiness(now: Found, route: UnleashRoute) -> Json:
    """The field that tells users apart, if it has to be written.

    Raises:
        Misconfigured: users would be drawn anew: at every look, or once because it changes in the middle.
    """
    there = now.parameters.get("stickiness")
    if route.stickiness in {None, there}:
        if there == "random":
            raise Misconfigured(f"{route}: with stickiness `random` users are drawn anew at every look; choose another")
        return {}
    if now.percent not in {0, 100}:
        raise Misconfigured(
            f"{route} tells users apart by {there}, the spec wants {route.stickiness}: a change at "
            f"{percent_text(now.percent)} would deal them out anew"
        )
    return {"stickiness": route.stickiness}


def patched(strategy: Json, changes: tuple[Patch, ...]) -> Json:
    """The strategy as it is after these changes."""
    after = {**strategy, "parameters": dict(strategy.get("parameters") or {})}
    for operation in (each for change in changes for each in change.operations if each["op"] == "add"):
        where, _, name = operation["path"].rpartition("/")
        (after["parameters"] if where else after)[name] = operation["value"]
    return after


def holds(now: Found, write: Write) -> bool:
    """Whether a write is there, whoever has switched the flag off since."""
    mark = replace(now.mark, was_off=False)
    return now.share == int(write.percent) and mark == _after(write)


def _mark(strategy: Json, route: UnleashRoute) -> Mark:
    """The mark of this place; those of others came along with a copy."""
    for each in _MARK.finditer(strategy.get("title") or ""):
        if each["place"] == route.place:
            return Mark(int(each["epoch"]), each["owner"], each["off"] is not None)
    return Mark()
