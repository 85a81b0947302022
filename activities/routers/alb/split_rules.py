"""The actions of a load balancer's rule, read and rewritten: pure functions on what AWS describes.

A rule's actions are replaced as a whole, so everything that is not a weight is copied: actions before the forward
(authentication), their order, other target groups. AWS never tells an OIDC client secret; a rewritten action says
`UseExistingClientSecret` instead. Weights are whole numbers up to 999, relative to their sum: most percents with two
decimals have no exact pair, so the nearest is taken, and read back as the percent that it stands for.
"""

import copy
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from functools import lru_cache

from activities.aws import Json
from activities.ports import Pool
from rollout.base import Told

_POOLS: tuple[Pool, Pool] = ("candidate", "stable")
_HEAVIEST = 999
_HOW_CLOSE = Fraction(2, 10_000)  # of the share; two hundredths of a percent


class Traffic(Told):
    """What a forward action does with traffic; equal ones do the same.

    Attributes:
        shares: target group's ARN → share of the requests, those without one left out; empty if all weights are zero.
        sticky_s: how long users stay on a target group, seconds; None if they do not.
    """

    shares: dict[str, Fraction]
    sticky_s: int | None = None


@lru_cache(maxsize=1024)
def weights(percent: float) -> tuple[int, int]:
    """The smallest weights of candidate and stable for a percent, or those that come nearest.

    Raises:
        ValueError: none come near; says which percents there are.
    """
    wanted = Fraction(round(percent * 100), 10_000)
    if not 0 <= wanted <= 1:
        raise ValueError(f"{percent} % is not between 0 and 100")
    if wanted in {0, 1}:
        return (int(wanted), 1 - int(wanted))
    best = min(_pairs(wanted), key=lambda pair: (abs(_share(*pair) - wanted), sum(pair)))
    if abs(_share(*best) - wanted) > _HOW_CLOSE:
        raise ValueError(f"weights up to {_HEAVIEST} cannot give {percent:g} %; the least is 0.1 %, the most 99.9 %")
    return best


def percent_of(actions: list[Json], groups: Mapping[Pool, str], written: Iterable[float] = ()) -> float:
    """Percent on the candidate, of what goes to the two pools; two decimals.

    Args:
        actions: of a rule.
        groups: pool → target group's ARN.
        written: percents that may have been written; one is taken if the weights are those that stand for it.
    """
    there = weighed(forwarded(actions), groups)
    if not sum(there):
        return 0
    share = _share(*there)
    meant = (percent for percent in written if share == _share(*weights(percent)))
    return next(meant, round(float(100 * share), 2))


def weighed(found: Mapping[str, int], groups: Mapping[Pool, str]) -> tuple[int, int]:
    """Weights of candidate and stable; 0 for a pool that is not there."""
    candidate, stable = (found.get(groups.get(pool, ""), 0) for pool in _POOLS)
    return candidate, stable


def forwarded(actions: list[Json]) -> dict[str, int]:
    """Target group's ARN → weight, of the forward action; empty if there is none."""
    forward = _forward(actions)
    if forward is None:
        return {}
    listed = forward.get("ForwardConfig", {}).get("TargetGroups", [])
    single = forward.get("TargetGroupArn")
    return {group["TargetGroupArn"]: int(group.get("Weight", 1)) for group in listed} or ({single: 1} if single else {})


def stickiness(actions: list[Json]) -> Json:
    """How users are kept on a target group, as AWS writes it."""
    forward = _forward(actions) or {}
    found: Json = forward.get("ForwardConfig", {}).get("TargetGroupStickinessConfig", {})
    return found


def traffic(actions: list[Json]) -> Traffic:
    """What the actions do with traffic, however it is written."""
    found, sticky = forwarded(actions), stickiness(actions)
    total = sum(found.values())
    return Traffic(
        shares={arn: Fraction(weight, total) for arn, weight in found.items() if weight},
        sticky_s=int(sticky.get("DurationSeconds", 0)) if sticky.get("Enabled") else None,
    )


def split(actions: list[Json], groups: Mapping[Pool, str], percent: float, sticky: Json, *, refer: bool) -> list[Json]:
    """The actions with another percent.

    Args:
        actions: as described; not changed.
        groups: pool → target group's ARN; a pool that is gone may be missing if it gets nothing.
        percent: for the candidate.
        sticky: how users are kept on a target group, as AWS writes it.
        refer: name the candidate even if it gets nothing: only then does AWS check its targets.

    Raises:
        ValueError: no weights come near the percent.
    """
    found = forwarded(actions)
    wanted = weights(percent)
    there = weighed(found, groups)
    if sum(there) and _share(*there) == _share(*wanted):
        wanted = there  # the operator's way to say the same stays
    for pool, weight in zip(_POOLS, wanted, strict=True):
        arn = groups.get(pool)
        if arn and (arn in found or weight or (pool == "candidate" and refer)):
            found[arn] = weight
    config = {"TargetGroups": [{"TargetGroupArn": arn, "Weight": weight} for arn, weight in found.items()]}
    return list(_rewritten(actions, {**config, **({"TargetGroupStickinessConfig": sticky} if sticky else {})}))


def only(actions: list[Json], group: str) -> list[Json]:
    """The actions with everything forwarded to one target group, for a rule of its own.

    Raises:
        ValueError: they cannot be copied into another rule.
    """
    if any(action["Type"] == "authenticate-oidc" for action in actions):
        raise ValueError("it authenticates by OIDC, and AWS does not tell the client secret that another rule needs")
    return list(_rewritten(actions, {"TargetGroups": [{"TargetGroupArn": group, "Weight": 1}]}))


def same(one: list[Json], other: list[Json]) -> bool:
    """Whether two lists of actions say the same, down to weights and groups without any."""
    return _normal(one) == _normal(other)


def _pairs(wanted: Fraction) -> Iterator[tuple[int, int]]:
    """For every weight of the lighter side the best one of the other."""
    light = min(wanted, 1 - wanted)
    for weight in range(1, _HEAVIEST + 1):
        heavy = min(max(round(weight * (1 - light) / light), 1), _HEAVIEST)
        yield (weight, heavy) if light == wanted else (heavy, weight)


def _share(candidate: int, stable: int) -> Fraction:
    return Fraction(candidate, candidate + stable)


def _forward(actions: list[Json]) -> Json | None:
    return next((action for action in actions if action["Type"] == "forward"), None)


def _rewritten(actions: list[Json], forward: Json) -> Iterator[Json]:
    for action in copy.deepcopy(actions):
        if action["Type"] == "forward":
            action.pop("TargetGroupArn", None)  # says it twice, and may only be there with one target group
            action["ForwardConfig"] = forward
        elif action["Type"] == "authenticate-oidc":
            action["AuthenticateOidcConfig"] = {**action["AuthenticateOidcConfig"], "UseExistingClientSecret": True}
        yield action


def _normal(actions: list[Json]) -> tuple[list[Json], dict[str, int], int | None]:
    rest = [{key: value for key, value in action.items() if key != "Order"} for action in _rewritten(actions, {})]
    return rest, forwarded(actions), traffic(actions).sticky_s
