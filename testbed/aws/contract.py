"""What AWS refuses and moto accepts: the published contract of load balancers' rules, tags and pages.

Pure functions on decoded parameters. Only the codes are AWS's; the sentences are ours.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Final

from testbed.aws.wire import Params, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MAX_WEIGHT: Final = 999
MAX_GROUPS: Final = 5
MAX_STICKY_S: Final = 604_800
MAX_RULES: Final = 100  # of a load balancer, its default rules not counted
MAX_PRIORITY: Final = 50_000
MAX_TAGS: Final = 50
MAX_ARNS_OF_TAGS: Final = 20
MAX_PAGE: Final = 400
MAX_HEADER_NAME: Final = 40
MAX_VALUE: Final = 128
MAX_VALUES: Final = 5
MAX_WILDCARDS: Final = 6
MAX_TAG_KEY: Final = 128
MAX_TAG_VALUE: Final = 256
ROUTING: Final = ("forward", "redirect", "fixed-response")
_CONFIGS: Final = {
    "http-header": "HttpHeaderConfig",
    "path-pattern": "PathPatternConfig",
    "host-header": "HostHeaderConfig",
    "http-request-method": "HttpRequestMethodConfig",
    "query-string": "QueryStringConfig",
    "source-ip": "SourceIpConfig",
}
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_TAG_PUNCTUATION: Final = frozenset("_.:/=+-@")


def invalid(message: str) -> Refusal:
    """A ValidationError."""
    return Refusal("ValidationError", message)


def check_actions(actions: Sequence[Params]) -> None:
    """Refuse actions that AWS refuses.

    Raises:
        Refusal: says what is wrong with them.
    """
    routing = [action for action in actions if action.get("Type") in ROUTING]
    if len(routing) != 1:
        raise Refusal("InvalidLoadBalancerAction", "An action list has exactly one forward, redirect or fixed-response")
    last = max(actions, key=lambda action: int(action.get("Order", 0) or 0))
    if len(actions) > 1 and last is not routing[0]:
        raise Refusal("InvalidLoadBalancerAction", "The forward, redirect or fixed-response comes last by Order")
    for action in actions:
        if action["Type"] == "forward":
            _check_forward(action)


def _check_forward(action: Params) -> None:
    config = action.get("ForwardConfig") or {}
    groups = config.get("TargetGroups") or []
    single = action.get("TargetGroupArn")
    if not groups and not single:
        raise invalid("A forward action names a target group")
    if single and groups and [group.get("TargetGroupArn") for group in groups] != [single]:
        raise invalid("TargetGroupArn contradicts ForwardConfig: name one target group in both, or only ForwardConfig")
    if len(groups) > MAX_GROUPS:
        raise invalid(f"A forward action has at most {MAX_GROUPS} target groups, got {len(groups)}")
    arns = [group.get("TargetGroupArn") for group in groups]
    if None in arns:
        raise invalid("A target group of a forward action has a TargetGroupArn")
    if len(set(arns)) != len(arns):
        raise invalid("The target groups of a forward action are unique")
    for group in groups:
        weight = group.get("Weight", 1)
        if not 0 <= weight <= MAX_WEIGHT:
            raise invalid(f"Weight '{weight}' must be between '0-{MAX_WEIGHT}' inclusive")
    sticky = config.get("TargetGroupStickinessConfig") or {}
    duration_s = sticky.get("DurationSeconds")
    if duration_s is None and sticky.get("Enabled"):
        raise invalid("DurationSeconds is required while target group stickiness is enabled")
    if duration_s is not None and not 1 <= duration_s <= MAX_STICKY_S:
        raise invalid(f"DurationSeconds '{duration_s}' must be between '1-{MAX_STICKY_S}' inclusive")


def check_conditions(conditions: Sequence[Params]) -> None:
    """Refuse conditions that AWS refuses.

    Raises:
        Refusal: says what is wrong with them.
    """
    if not conditions:
        raise invalid("A rule has at least one condition")
    everything = [value for condition in conditions for value in _values_of(condition)]
    if len(everything) > MAX_VALUES:
        raise invalid(f"A rule has at most {MAX_VALUES} condition values, got {len(everything)}")
    if sum(value.count("*") + value.count("?") for value in everything) > MAX_WILDCARDS:
        raise invalid(f"A rule has at most {MAX_WILDCARDS} wildcards")


def _values_of(condition: Params) -> list[str]:
    field = condition.get("Field", "")
    if field not in _CONFIGS:
        raise invalid(f"Condition field '{field}' must be one of {', '.join(sorted(_CONFIGS))}")
    config = condition.get(_CONFIGS[field]) or {}
    values = list(config.get("Values") or condition.get("Values") or [])
    if field == "query-string":
        values = [each for value in values for each in (value.get("Key"), value.get("Value")) if each is not None]
    if not values:
        raise invalid(f"A {field} condition has at least one value")
    if field == "http-header":
        name = config.get("HttpHeaderName", "")
        if not _HEADER_NAME.fullmatch(name) or len(name) > MAX_HEADER_NAME:
            raise invalid(f"The name of an HTTP header has 1 to {MAX_HEADER_NAME} token characters, got '{name}'")
        if name.lower() == "host":
            raise invalid("Use a host-header condition for the Host header")
    for value in values:
        if not 1 <= len(value) <= MAX_VALUE:
            raise invalid(f"A condition value has 1 to {MAX_VALUE} characters")
    return values


def check_priority(priority: int, taken: Iterable[str]) -> None:
    """Refuse a priority out of range or in use.

    Raises:
        Refusal: ValidationError or PriorityInUse.
    """
    if not 1 <= priority <= MAX_PRIORITY:
        raise invalid(f"Priority '{priority}' must be between '1-{MAX_PRIORITY}' inclusive")
    if str(priority) in taken:
        raise Refusal("PriorityInUse", f"Priority '{priority}' is currently in use")


def untagged(params: Params) -> Params:
    """The same request without tags; AWS's client refuses an empty list of them."""
    return {key: value for key, value in params.items() if key != "Tags"}


def check_tags(tags: Sequence[Params], existing: Mapping[str, str]) -> None:
    """Refuse tags that AWS refuses.

    Args:
        tags: those to add.
        existing: those that the resource has.

    Raises:
        Refusal: ValidationError, DuplicateTagKeys or TooManyTags.
    """
    keys = [tag.get("Key", "") for tag in tags]
    if len(set(keys)) != len(keys):
        raise Refusal("DuplicateTagKeys", "A tag key was specified more than once")
    for tag in tags:
        key, value = tag.get("Key", ""), tag.get("Value") or ""
        if not 1 <= len(key) <= MAX_TAG_KEY or key.lower().startswith("aws:"):
            raise invalid(f"A tag key has 1 to {MAX_TAG_KEY} characters and does not begin with aws:, got '{key}'")
        if len(value) > MAX_TAG_VALUE:
            raise invalid(f"A tag value has at most {MAX_TAG_VALUE} characters")
        for text in (key, value):
            if bad := [char for char in text if not _may_be_in_a_tag(char)]:
                raise invalid(f"Tags have letters, digits, spaces and _.:/=+-@ only, got '{bad[0]}' in '{text}'")
    if len({*existing, *keys}) > MAX_TAGS:
        raise Refusal("TooManyTags", f"A resource has at most {MAX_TAGS} tags")


def _may_be_in_a_tag(char: str) -> bool:
    return char in _TAG_PUNCTUATION or unicodedata.category(char)[0] in "LNZ"


def page(params: Params, items: Sequence[Params], key: str, limit: int) -> tuple[list[Params], str | None]:
    """One page.

    Args:
        params: with `PageSize` and `Marker`.
        items: all, in order.
        key: what identifies an item.
        limit: length of a page when the caller asks for more or for nothing.

    Returns:
        The page, and the marker of the next one if there is one.

    Raises:
        Refusal: the page size is out of range, or the marker is of nothing.
    """
    size = params.get("PageSize")
    if size is not None and not 1 <= size <= MAX_PAGE:
        raise invalid(f"PageSize '{size}' must be between '1-{MAX_PAGE}' inclusive")
    start = 0
    if marker := params.get("Marker"):
        start = next((place for place, item in enumerate(items, 1) if item[key] == marker), 0)
        if not start:
            raise invalid("The marker is not valid")
    end = start + min(size or limit, limit)
    found = list(items[start:end])
    return found, found[-1][key] if found and end < len(items) else None


def normal(action: Params) -> Params:
    """A forward action as AWS shows it: a single target group in both places."""
    if action.get("Type") != "forward":
        return action
    config = action.get("ForwardConfig") or {}
    groups = config.get("TargetGroups") or [{"TargetGroupArn": action.get("TargetGroupArn"), "Weight": 1}]
    groups = [{"TargetGroupArn": group["TargetGroupArn"], "Weight": group.get("Weight", 1)} for group in groups]
    sticky = config.get("TargetGroupStickinessConfig") or {"Enabled": False}
    shown = {**action, "ForwardConfig": {"TargetGroups": groups, "TargetGroupStickinessConfig": sticky}}
    shown.pop("TargetGroupArn", None)
    if len(groups) == 1:
        shown["TargetGroupArn"] = groups[0]["TargetGroupArn"]
    return shown
