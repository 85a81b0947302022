"""What a write makes of a rule, and what a described rule shows: pure functions on a `Site`.

How users are kept on a target group: as the route or else the operator wants it while both pools get traffic, and not
at all at 0 and 100 %. There AWS's cookie would beat the weight, for up to seven days. So what the operator had is put
back at the end only if it is harmless there: "on" stays off, and the proof says so.
"""

from activities.aws import Json
from activities.ports import Pool
from activities.routers.alb import forced_rules, marks, split_rules
from activities.routers.alb.finding import Site
from activities.routers.alb.forced_rules import Forced
from activities.routers.alb.marks import Mark
from rollout.base import Told, percent_text
from rollout.errors import Misconfigured
from rollout.routes import AlbRoute

_FORCED = 2  # rules of the forced header
_VALUES, _RULES, _TAGS = 5, 100, 50  # AWS's limits: of a rule, of a load balancer, of anything
_TAGS_NEEDED = 3  # two epochs beside each other, and how users were kept


class Wanted(Told):
    """What a write makes of a rule.

    Attributes:
        actions: of the split rule.
        forced: the forced-header rules that shall be there.
    """

    actions: list[Json]
    forced: list[Forced]


def wanted(site: Site, route: AlbRoute, mark: Mark, *, refer: bool) -> Wanted:
    """What a site becomes by a write.

    Args:
        site: as described.
        route: names pools, header and stickiness.
        mark: of the write.
        refer: name the candidate in the rule even if it gets nothing.

    Raises:
        Misconfigured: an application load balancer cannot do it; says why.
    """
    try:
        sticky = _sticky(site, route, mark)
        actions = split_rules.split(site.actions, site.groups, mark.percent, sticky, refer=refer)
        return Wanted(actions=actions, forced=_forced(site, route) if mark.header and mark.owner else [])
    except ValueError as error:
        raise Misconfigured(f"{route} cannot be at {percent_text(mark.percent)}: {error}") from error


def percent(site: Site) -> float:
    """Percent on the candidate in the described rule."""
    return split_rules.percent_of(site.actions, site.groups, [mark.percent for mark in site.marks])


def has_forced(site: Site) -> bool:
    """Whether both forced-header rules are there."""
    return {side for side, _ in site.forced} == {"candidate", "stable"}


def standing(site: Site, forced: Forced) -> Json | None:
    """The described rule that is a forced rule as it should be, above the split rule and below others' rules."""
    above = forced_rules.priority(site.rule)
    for side, rule in site.forced:
        fits = side == forced.side and forced_rules.priority(rule) < above and forced.fits(rule)
        if fits and not forced_rules.jumped(site.rules, site.rule, rule, _ours(site)):
            return rule
    return None


def wrong(site: Site, route: AlbRoute) -> str | None:
    """Why what is described is not what was written; None if it is."""
    mark = site.done
    if site.marks and (newest := site.marks[0]).epoch > mark.epoch:
        return f"the write of epoch {newest.epoch} ({percent_text(newest.percent)}) began and did not end"
    if not sum(split_rules.forwarded(site.actions).values()):
        return "the weights of its rule are all zero: every request is answered with 503"
    if mark.owner is None:
        return _wrong_released(site, mark)
    expected = wanted(site, route, mark, refer=False)
    found, meant = split_rules.traffic(site.actions), split_rules.traffic(expected.actions)
    if found.shares != meant.shares:
        now, then = weights_text(site.actions), weights_text(expected.actions)
        return f"its rule says {now}; epoch {mark.epoch} wrote {then}{site.suspect()}"
    if found.sticky_s != meant.sticky_s:
        now, then = _sticky_text(found.sticky_s), _sticky_text(meant.sticky_s)
        return f"stickiness of its rule is {now}; epoch {mark.epoch} wrote {then}{site.suspect()}"
    jumped = {number for _, rule in site.forced for number in _jumped(site, rule)}
    if jumped and expected.forced:
        numbers = ", ".join(sorted(jumped, key=int))
        room = forced_rules.room(site.rules, site.rule, _ours(site))
        return f"its forced-header rules take requests from others' rules that stand between ({numbers}): {room}"
    if lost := [each.side for each in expected.forced if not standing(site, each)]:
        return f"the forced-header rule for the {' and the '.join(lost)} is gone or was changed"
    if len(site.forced) > len(expected.forced):
        return "it has forced-header rules that should not be there"
    return None


def unfit(site: Site, route: AlbRoute) -> str | None:
    """Why no rollout should begin here, and what to change; None if one may."""
    if owned := site.owned():
        return owned
    shares = split_rules.traffic(site.actions).shares
    if others := [arn for arn in shares if arn not in site.groups.values()]:
        return f"it forwards to {', '.join(map(group_name, others))} as well: only two target groups may get traffic"
    try:
        wanted_rules = _forced(site, route)
    except ValueError as error:
        return f"no header can force a version here: {error}; leave `header` out"
    if wanted_rules and not site.forced and (lack := _no_room(site)):
        return f"{lack}; or leave `header` out"
    strange = [key for key in site.tags.get(site.marked, {}) if not key.startswith(("aws:", *marks.OWN))]
    if len(strange) + _TAGS_NEEDED > _TAGS:
        what = "listener" if site.is_default else f"rule {site.rule['Priority']}"
        return f"its {what} has {len(strange)} tags of {_TAGS}, and {_TAGS_NEEDED} must be free: take some off"
    return None


def weights_text(actions: list[Json]) -> str:
    """`checkout-green 1, checkout-blue 19`."""
    return ", ".join(f"{group_name(arn)} {weight}" for arn, weight in split_rules.forwarded(actions).items())


def group_name(arn: str) -> str:
    """The name in a target group's ARN."""
    return arn.split("/")[1]


def proof(site: Site, healthy: dict[Pool, int]) -> str:
    """What the described rule shows, in words."""
    counts = ", ".join(f"{pool} {count}" for pool, count in healthy.items())
    words = f"rule {site.rule['Priority']} forwards {weights_text(site.actions)}; epoch {site.done.epoch}"
    kept = site.sticky_before
    if kept.get("Enabled") and split_rules.traffic(site.actions).sticky_s is None:
        words += f"; stickiness ({kept.get('DurationSeconds')} s) stays off: its cookies would beat the weights"
    return f"{words}; healthy targets: {counts}"


def _sticky(site: Site, route: AlbRoute, mark: Mark) -> Json:
    before = site.sticky_before
    if not 0 < mark.percent < 100:
        return {**before, "Enabled": False} if before or split_rules.stickiness(site.actions) else {}
    if route.sticky and mark.owner:
        return {"Enabled": True, "DurationSeconds": int(route.sticky.ttl.total_seconds())}
    return before


def _no_room(site: Site) -> str | None:
    """Why the two rules of the forced header cannot be made; None if they can."""
    if len(forced_rules.free_priorities(site.rules, site.rule, _ours(site))) < _FORCED:
        return forced_rules.room(site.rules, site.rule)
    if (values := forced_rules.values_of(site.rule)) >= _VALUES:
        return f"its conditions have {values} values of {_VALUES}, and the forced header needs one more: split the rule"
    if (there := sum(not rule.get("IsDefault") for rule in site.rules)) + _FORCED > _RULES:
        return f"no room for the two rules of the forced header: {there} rules of {_RULES} are there; delete some"
    return None


def _wrong_released(site: Site, mark: Mark) -> str | None:
    """The same for a route that nobody holds: traffic that somebody moved since is his, cookies never are."""
    if site.forced:
        return "forced-header rules of a rollout that ended are left"
    if not mark.epoch:
        return None
    found, now = split_rules.traffic(site.actions), percent(site)
    if found.sticky_s is not None and now in {0, 100}:
        text = f"stickiness of its rule is {_sticky_text(found.sticky_s)}, and its cookies beat the weights"
        return f"{text}: switch it off; a rollout keeps users if the route says `sticky`{site.suspect()}"
    expected = split_rules.traffic(split_rules.split(site.actions, site.groups, mark.percent, {}, refer=False))
    if now and found.shares != expected.shares:
        then = percent_text(mark.percent)
        return f"its rule says {weights_text(site.actions)}; epoch {mark.epoch} left {then}{site.suspect()}"
    return None


def _ours(site: Site) -> list[Json]:
    return [rule for _, rule in site.forced]


def _jumped(site: Site, rule: Json) -> list[str]:
    return forced_rules.jumped(site.rules, site.rule, rule, _ours(site))


def _forced(site: Site, route: AlbRoute) -> list[Forced]:
    return forced_rules.wanted(site.rule, route.header, site.groups) if route.header else []


def _sticky_text(seconds: int | None) -> str:
    return "off" if seconds is None else f"on for {seconds} s"
