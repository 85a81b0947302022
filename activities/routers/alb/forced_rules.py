"""The two rules that force a version by a header: pure functions on what AWS describes.

Each is a copy of the split rule, with its conditions and its other actions, that asks for the header too and stands
above it: a smaller number wins. They are found again by their tags, never by memory, so those of a worker that died are
found too. One rule cannot do it: a condition has many values, but a rule has one list of actions.

A load balancer compares header values without case, and `*` and `?` in them are wildcards.
"""

import copy
import re
from collections.abc import Mapping, Sequence

from activities.aws import Json
from activities.ports import Pool
from activities.routers.alb import split_rules
from rollout.base import Told
from rollout.routes import ForcedHeader

SIDE, OF = "sluice:forced", "sluice:rule"
_LOWEST = 50_000  # the largest number a rule can have; the default rule comes after it


class Forced(Told):
    """A forced rule as it should be.

    Attributes:
        side: which version it forces.
        conditions: as AWS takes them.
        actions: as AWS takes them.
        transforms: of requests, as the split rule has them.
    """

    side: Pool
    conditions: list[Json]
    actions: list[Json]
    transforms: list[Json]

    def fits(self, rule: Json) -> bool:
        """Whether a described rule is this one, down to its conditions."""
        conditions = [_normal(each) for each in rule.get("Conditions", [])]
        return (
            sorted(map(repr, conditions)) == sorted(repr(_normal(each)) for each in self.conditions)
            and split_rules.same(rule["Actions"], self.actions)
            and rule.get("Transforms", []) == self.transforms
        )


def wanted(split: Json, header: ForcedHeader, groups: Mapping[Pool, str]) -> list[Forced]:
    """The two rules for a split rule.

    Args:
        split: as described.
        header: name and values.
        groups: pool → target group's ARN.

    Raises:
        ValueError: a load balancer cannot force by this header, or the split rule cannot be copied; says why.
    """
    if header.candidate.lower() == header.stable.lower():
        raise ValueError(f"it compares without case, so {header.candidate} and {header.stable} are one value")
    if header.name.lower() == "host" or len(header.name) > 40:
        raise ValueError(f"it takes no condition on the header {header.name}: another name of at most 40 letters will")
    return [
        Forced(
            side=side,
            conditions=[*map(_taken, split.get("Conditions", [])), _condition(header.name, value)],
            actions=split_rules.only(split["Actions"], groups[side]),
            transforms=split.get("Transforms", []),
        )
        for side, value in _values(header)
        if side in groups
    ]


def might_be(rule: Json) -> bool:
    """Whether a rule has the shape of a forced one: only then is it worth asking for its tags."""
    by_header = any(condition.get("Field") == "http-header" for condition in rule.get("Conditions", []))
    return by_header and len(split_rules.forwarded(rule["Actions"])) == 1


def name_of(split: Json) -> str:
    """What the tags of forced rules call the split rule: the last part of its ARN, or `default`."""
    return "default" if split.get("IsDefault") else str(split["RuleArn"]).rpartition("/")[2]


def tags(side: Pool, split: Json) -> list[Json]:
    """The tags by which a forced rule is found."""
    return [{"Key": SIDE, "Value": side}, {"Key": OF, "Value": name_of(split)}]


def priority(split: Json) -> int:
    """A rule's number; the default rule's is beyond all others."""
    return _LOWEST + 1 if split.get("IsDefault") else int(split["Priority"])


def free_priorities(rules: list[Json], split: Json, ours: Sequence[Json]) -> list[int]:
    """Free numbers between the split rule and the next one above it, nearest first.

    Never beyond that one: a copy of the split rule would take requests from it, such as those that it refuses.

    Args:
        rules: every rule of the listener.
        split: the rule that splits.
        ours: its forced rules that are there; they are in nobody's way.
    """
    taken = {priority(each) for each in rules}
    above = _next_above(rules, split, ours)
    lowest = priority(above) if above else 0
    return [number for number in range(priority(split) - 1, lowest, -1) if number not in taken]


def room(rules: list[Json], split: Json, ours: Sequence[Json] = ()) -> str:
    """What to renumber so that forced rules have room."""
    above = _next_above(rules, split, ours)
    name = split["Priority"]
    if above is None:
        return f"two free priorities before {name} are needed: number it higher"
    between = f"two free priorities between rule {above['Priority']} and rule {name} are needed"
    if split.get("IsDefault"):
        return f"{between}: number rule {above['Priority']} {_LOWEST - 2} or lower"
    return f"{between}: number rule {name} higher, or rule {above['Priority']} lower"


def jumped(rules: list[Json], split: Json, forced: Json, ours: Sequence[Json]) -> list[str]:
    """Numbers of others' rules between a forced rule and the split rule: it takes requests from them."""
    return [each["Priority"] for each in _others(rules, split, ours) if priority(each) > priority(forced)]


def values_of(split: Json) -> int:
    """How many values the conditions of a rule compare with."""
    return sum(len(values) for each in map(_normal, split.get("Conditions", [])) for values in _compared(each))


def _others(rules: list[Json], split: Json, ours: Sequence[Json]) -> list[Json]:
    """Rules above the split rule that are not its forced ones."""
    mine = {each["RuleArn"] for each in ours}
    return [each for each in rules if priority(each) < priority(split) and each["RuleArn"] not in mine]


def _next_above(rules: list[Json], split: Json, ours: Sequence[Json]) -> Json | None:
    return max(_others(rules, split, ours), key=priority, default=None)


def _compared(condition: Json) -> tuple[list[str], list[str]]:
    return condition["values"], condition["regexes"]


def _values(header: ForcedHeader) -> tuple[tuple[Pool, str], tuple[Pool, str]]:
    return ("candidate", header.candidate), ("stable", header.stable)


def _condition(name: str, value: str) -> Json:
    return {
        "Field": "http-header",
        "HttpHeaderConfig": {"HttpHeaderName": name, "Values": [re.sub(r"([*?\\])", r"\\\1", value)]},
    }


def _taken(condition: Json) -> Json:
    """A described condition as AWS takes it: values are described twice, and may be given once."""
    found = {key: value for key, value in copy.deepcopy(condition).items() if value}
    if any(key.endswith("Config") for key in found):
        found.pop("Values", None)
        found.pop("RegexValues", None)
    return found


def _normal(condition: Json) -> Json:
    """A condition in the one form in which two that say the same are equal."""
    field, found = condition["Field"], _taken(condition)
    config: Json = next((value for key, value in found.items() if key.endswith("Config")), found)
    values, regexes = config.get("Values", []), config.get("RegexValues", [])
    name = config.get("HttpHeaderName", "").lower()
    return {"field": field, "name": name, "values": sorted(map(repr, values)), "regexes": sorted(regexes)}
