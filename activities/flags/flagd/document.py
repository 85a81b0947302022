"""A flag file as a whole: what one flag in it is, and what a write or the switch makes of it. Pure.

Everything but the percent's place in the targeting, the switch around it and Sluice's marks is carried over as it was,
also fields that nobody here knows; only blank space is set anew.
"""

import json
from typing import Any

from activities.flags.flagd.marks import Marks, marked, marks_of, switched, written
from activities.flags.flagd.targeting import NoPlaceError, Variants, inside, placed, share, switched_off
from activities.ports import Write
from rollout.base import Told, percent_text
from rollout.errors import Drifted, Misconfigured
from rollout.routes import FlagdRoute

Json = dict[str, Any]


class View(Told):
    """What one flag is.

    Attributes:
        enabled: its state is ENABLED.
        on: enabled and not switched off.
        percent: of users whom no rule catches, behind the switch; None if that cannot be told.
        unplaced: why not.
    """

    variants: Variants
    enabled: bool
    on: bool
    percent: float | None
    unplaced: str | None
    marks: Marks


def parsed(content: bytes, file: object) -> Json:
    """A flag file's content.

    Raises:
        Misconfigured: it is no JSON object, has a key twice (of which evaluators use one), or no flags by key.
    """
    try:
        found = json.loads(content, object_pairs_hook=_once, parse_constant=_no_number)
    except ValueError as error:  # also bytes that are no UTF-8
        raise Misconfigured(
            f"{file} is not the JSON of a flag file: {error}; put it right, nothing is written"
        ) from error
    if not isinstance(found, dict) or not isinstance(found.get("flags"), dict):
        raise Misconfigured(f'{file} has no `"flags": {{…}}`: it is no flag file, or an empty one; nothing is written')
    return found


def text_of(document: Json) -> bytes:
    """A document as it is written."""
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def flag_of(document: Json, route: FlagdRoute) -> Json:
    """The flag in a document.

    Raises:
        Misconfigured: it is not there, or is none.
    """
    flag = document["flags"].get(route.key)
    if flag is None:
        known = ", ".join(sorted(document["flags"])[:20]) or "none"
        raise Misconfigured(f"{route}: {route.file}.json has no flag {route.key!r}; it has {known}")
    sound = isinstance(flag, dict) and isinstance(flag.get("variants"), dict)
    if not sound or not isinstance(flag.get("metadata") or {}, dict):
        raise Misconfigured(f"{route}: flag {route.key!r} in {route.file}.json is no flag with `variants`")
    return dict(flag)


def view(flag: Json, route: FlagdRoute) -> View:
    """What a flag is."""
    default = flag.get("defaultVariant")
    variants = Variants(
        candidate=route.candidate,
        stable=route.stable,
        known=tuple(flag["variants"]),
        default=default if isinstance(default, str) and default else None,
        bucket_by=route.bucket_by,
    )
    enabled = flag.get("state") == "ENABLED"
    unswitched, targeting = inside(flag.get("targeting"), variants)
    percent, unplaced = None, None
    try:
        percent = share(targeting, variants)
    except NoPlaceError as error:
        unplaced = f"flag {route.key}: {error}"
    return View(
        variants=variants,
        enabled=enabled,
        on=enabled and unswitched,
        percent=percent,
        unplaced=unplaced,
        marks=marks_of(flag),
    )


def moved(document: Json, route: FlagdRoute, write: Write, now_ms: int) -> Json:
    """A document after a write, the same if there is nothing to write.

    The way back needs no place for a percent: where there is none, or where the default variant would give the
    candidate to users without a key, the flag is switched off as a whole. Nor does a way back to more than 0 %, if the
    flag is off: its percent is written behind the switch where it can be.

    Raises:
        Misconfigured: a variant is not there, or the flag cannot carry a percent.
        Drifted: the flag was switched off since this owner's last write.
    """
    flag = flag_of(document, route)
    now = view(flag, route)
    _has_stable(now, route)
    stays_off = not now.on and (write.release or not write.percent)
    if not stays_off and write.percent:
        _may_rise(now, route, write)
    # Once somebody has switched it off, it is no more "found off by us": whoever switches it on decides that.
    found_off = (_waiting(now) or (now.on and now.marks.found_off)) if now.marks.owner else not now.on
    _, targeting = inside(flag.get("targeting"), now.variants)
    try:
        aim: object = placed(targeting, write.percent, now.variants)
        off = stays_off or (not write.percent and (found_off or now.variants.default != route.stable))
    except NoPlaceError as error:
        if write.percent and not stays_off:
            raise Misconfigured(f"{route}: flag {route.key}: {error}; nothing was written") from error
        aim, off = targeting, True
    fresh = _with_targeting(flag, switched_off(aim, now.variants) if off else aim)
    owner = None if write.release else write.owner
    fresh = marked(fresh, epoch=write.epoch, owner=owner, found_off=found_off and not write.release)
    fresh = switched(fresh, _off_at(now, now_ms) if off else None)
    return document if fresh == flag else _with_flag(document, route, written(fresh, now_ms))


def turned_off(document: Json, route: FlagdRoute, now_ms: int) -> Json:
    """A document with the flag switched off for everybody, the same if it is.

    Raises:
        Misconfigured: there is no variant of stable to give.
    """
    flag = flag_of(document, route)
    now = view(flag, route)
    _has_stable(now, route)
    if now.enabled and not now.on:
        return document
    _, targeting = inside(flag.get("targeting"), now.variants)
    fresh = switched(_with_targeting(flag, switched_off(targeting, now.variants)), now_ms)
    return _with_flag(document, route, written(fresh, now_ms))


def lack(now: View, route: FlagdRoute) -> str | None:
    """What a flag lacks before anybody but stable can be given a share; None if nothing."""
    if not now.enabled:
        return (
            f"flag {route.key} has no state ENABLED, so applications use the default in their own code; set "
            f'"state": "ENABLED" and "defaultVariant": "{route.stable}" first'
        )
    if now.variants.default != route.stable:
        return (
            f"flag {route.key} has defaultVariant {now.variants.default!r}, which users without a key get at every "
            f'percent; set "defaultVariant": "{route.stable}" first'
        )
    return None


def no_off(now: View, route: FlagdRoute) -> str | None:
    """Why there is nothing to switch off to; None if there is."""
    return None if route.stable in now.variants.known else _unknown(route.stable, now, route)


def _has_stable(now: View, route: FlagdRoute) -> None:
    if missing := no_off(now, route):
        raise Misconfigured(missing)


def _waiting(now: View) -> bool:
    """Whether its owner found it off and has not raised it since."""
    return not now.on and now.marks.found_off and now.percent == 0


def _off_at(now: View, now_ms: int) -> int | None:
    """Since when a flag is off that a write leaves off; None if somebody else switched it off."""
    return now.marks.off_at if now.enabled and not now.on else now_ms


def _may_rise(now: View, route: FlagdRoute, write: Write) -> None:
    if route.candidate not in now.variants.known:
        raise Misconfigured(_unknown(route.candidate, now, route))
    ours = now.marks.owner is not None and not _waiting(now)
    if not now.on and (ours or now.marks.epoch == write.epoch):
        was = write.percent if now.percent is None else now.percent
        raise Drifted(f"{route}: somebody has switched the flag off since it was at {percent_text(was)}; it stays off")
    if found := lack(now, route):
        raise Misconfigured(f"{route}: {found}; nothing was written")


def _unknown(variant: str, now: View, route: FlagdRoute) -> str:
    known = ", ".join(now.variants.known) or "none"
    return f"{route}: flag {route.key} has no variant {variant!r}; it has {known}; nothing was written"


def _with_targeting(flag: Json, targeting: object) -> Json:
    fresh = {**flag, "state": "ENABLED", "targeting": targeting}
    if not targeting:
        del fresh["targeting"]
    return fresh


def _with_flag(document: Json, route: FlagdRoute, flag: Json) -> Json:
    return {**document, "flags": {**document["flags"], route.key: flag}}


def _once(pairs: list[tuple[str, Any]]) -> Json:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name in found if [each for each, _ in pairs].count(name) > 1)
        raise ValueError(f"key {twice!r} is there twice")
    return found


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number in JSON")
