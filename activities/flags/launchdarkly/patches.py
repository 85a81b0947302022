"""What is asked of LaunchDarkly for a write: the instructions of one semantic patch. Pure; the asking is elsewhere."""

from activities.flags.launchdarkly.marks import Mark, mark, marked, marks, unmarked
from activities.flags.launchdarkly.shape import WHOLE, Flag, Json
from activities.ports import Write
from rollout.base import percent_text
from rollout.errors import Misconfigured, RouteRejected
from rollout.routes import LaunchDarklyRoute

OFF: list[Json] = [{"kind": "turnFlagOff"}]


def newest(flag: Flag, route: LaunchDarklyRoute) -> Mark:
    """What the last write left."""
    return (marks(flag.properties, route.environment) or (Mark(),))[-1]


def desired(flag: Flag, route: LaunchDarklyRoute, write: Write) -> list[Json]:
    """Instructions that bring a flag to where a write wants it; none if it is there.

    Args:
        flag: as it is.
        route: which.
        write: percent, epoch and owner; the fence has let it through.

    Raises:
        Misconfigured: a variation is missing, no weight says this percent, or something else moves the fallthrough.
        RouteRejected: somebody switched it off since this rollout began, and only a person switches it on again.
    """
    last = newest(flag, route)
    # Once somebody has switched it off, it is no more "found off": whoever switches it on decides that.
    found_off = last.found_off and (flag.on or not last.percent) if last.owner else not flag.on
    own = mark(
        route.environment,
        write.epoch,
        write.owner,
        released=write.release,
        percent=write.percent,
        found_off=found_off and not write.release,
    )
    turned = []
    if write.percent and not flag.on and not write.release:
        _refuse_switched_off(last, route, write)
        turned = [{"kind": "turnFlagOn"}]
    elif not write.percent and flag.on and found_off and not flag.misleading_off():
        turned = OFF
    if write.release and not flag.on:
        weighed = _weights_behind_off(flag, route, write)
    else:
        weighed = weights(flag, route, write.percent)
    return [*weighed, *turned, *marked(marks(flag.properties, route.environment), own, route.environment)]


def give_way(flag: Flag, route: LaunchDarklyRoute, winner: Mark, write: Write) -> list[Json]:
    """Instructions that undo a write that came too late: the percent of one that was faster, and our mark is gone.

    Args:
        flag: as it is after both.
        route: which.
        winner: the mark of the one that was faster.
        write: the one that came too late.
    """
    turned = OFF if winner.found_off and not winner.percent and flag.on and not flag.misleading_off() else []
    own = mark(
        route.environment, write.epoch, write.owner, released=write.release, percent=write.percent, found_off=False
    )
    mine = [each for each in marks(flag.properties, route.environment) if each.key == own.key]
    return [*weights(flag, route, winner.percent), *turned, *unmarked(mine)]


def weights(flag: Flag, route: LaunchDarklyRoute, percent: float) -> list[Json]:
    """The instruction that gives the candidate its percent and stable the rest; none if they have it.

    Other variations keep what they have.

    Raises:
        Misconfigured: see `desired`.
    """
    share = thousandths(route, percent)
    if flag.stable is None or (flag.candidate is None and share):
        missing = route.stable if flag.stable is None else route.candidate
        raise Misconfigured(f"{route} has no variation {missing!r}; it has {', '.join(map(repr, flag.labels))}")
    if flag.candidate is None or (flag.shares[flag.candidate] == share):
        return []
    if flag.mover:
        raise Misconfigured(
            f"refused: {flag.mover} moves the default rule of {route}: stop it there, or wait until it has ended"
        )
    pair = flag.shares[flag.candidate] + flag.shares[flag.stable]
    if share > pair:
        raise Misconfigured(
            f"{route}: other variations have {percent_text((WHOLE - pair) / 1000)} of the default rule, so the "
            f"candidate cannot have {percent_text(percent)}; take it from them first"
        )
    if flag.split and flag.context_kind != route.context_kind and share:
        raise Misconfigured(
            f"{route} is split by the key of {flag.context_kind!r} contexts and the spec says {route.context_kind!r}: "
            f"changing that would give users another variation than they had; change one of them"
        )
    after = list(flag.shares)
    after[flag.candidate], after[flag.stable] = share, pair - share
    instruction: Json = {
        "kind": "updateFallthroughVariationOrRollout",
        "rolloutContextKind": flag.context_kind if flag.split and flag.context_kind else route.context_kind,
        "rolloutWeights": dict(zip(flag.ids, after, strict=True)),
    }
    return [{**instruction, **({"rolloutBucketBy": flag.bucket_by} if flag.bucket_by else {})}]


def _weights_behind_off(flag: Flag, route: LaunchDarklyRoute, write: Write) -> list[Json]:
    """Those of a way back that nobody is given, as the flag is off and stays off: what cannot be placed is no reason.

    Raises:
        Misconfigured: there is no whole number for the percent.
    """
    thousandths(route, write.percent)
    try:
        return weights(flag, route, write.percent)
    except Misconfigured:
        return []


def thousandths(route: LaunchDarklyRoute, percent: float) -> int:
    """The weight of a percent.

    Raises:
        Misconfigured: there is no whole number for it.
    """
    whole = round(percent * 1000)
    if not 0 <= whole <= WHOLE or abs(percent * 1000 - whole) > 1e-6:
        raise Misconfigured(f"{route} cannot take {percent} %: 0 to 100 in steps of 0.001 is possible")
    return whole


def comment(text: str) -> str:
    """One line for LaunchDarkly's log of changes."""
    line = " ".join(text.split())
    return line if len(line) <= 300 else f"{line[:299]}…"


def _refuse_switched_off(last: Mark, route: LaunchDarklyRoute, write: Write) -> None:
    """Nothing if the flag is off because it was found so; else somebody switched it off, and it stays off."""
    waiting = last.found_off and not last.percent  # it was found off, and no user had it yet
    if last.epoch < write.epoch and (last.owner is None or waiting):
        return
    raise RouteRejected(
        f"{route} was switched off since {last.owner or 'a rollout'} wrote {percent_text(last.percent)}; only a person "
        f"switches it on again; nothing was written"
    )
