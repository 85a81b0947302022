"""What applications are given: evaluated with Unleash's own engine, the one in its SDKs, from what it gives to them.

What is written must be what is given, and of 200 users that nobody else has a plausible number must see the feature.

A share is of those whom the strategy's constraints and segments let through, and no invented user is one of them: they
are left out. Flags that this one depends on are not: while they are off, nobody is given this one.
"""

import json
from typing import Any

from yggdrasil_engine.engine import UnleashEngine  # type: ignore[import-untyped]  # it brings no types

from activities.flags.unleash.strategy import Found
from activities.probing import plausible, probes
from rollout.base import percent_text
from rollout.routes.flags import UnleashRoute

Json = dict[str, Any]

PROBES = probes(200)


def feature_in(given: Json, route: UnleashRoute) -> Json | str:
    """The flag in what applications are given, or why it is not there."""
    whose = (given.get("query") or {}).get("environment")
    if whose not in {None, route.environment}:
        return f"the client token is one of environment {whose}, not {route.environment}"
    every = {each.get("name"): each for each in given["features"]}
    return every.get(route.key) or f"applications are not given {route.key}: is the client token of its project?"


def difference(feature: Json, now: Found) -> str | None:
    """Why what is given is not yet what is written; None if it is. While it is off, only the switch counts."""
    strategies = feature.get("strategies") or []
    if bool(feature.get("enabled")) != now.on:
        return f"applications are still told that it is {'off' if now.on else 'on'}"
    if not now.on:
        return None
    if len(strategies) != 1:
        return f"applications are given {len(strategies)} strategies"
    parameters = strategies[0].get("parameters") or {}
    if parameters != now.parameters:
        return f"applications are still given rollout {parameters.get('rollout')!r}"
    return None


def seen_by(feature: Json, given: Json, stickiness: str) -> int:
    """How many of the invented users see the feature; blocks for some milliseconds.

    Args:
        feature: the flag as applications are given it.
        given: all that they are given.
        stickiness: the field of the context that tells users apart.
    """
    free = [{**each, "constraints": [], "segments": []} for each in feature.get("strategies") or []]
    needed = {each.get("feature") for each in feature.get("dependencies") or []}
    parents = [each for each in given["features"] if each.get("name") in needed]
    state = {
        "version": 2,
        "features": [{**feature, "strategies": free}, *parents],
        "segments": given.get("segments", []),
    }
    engine = UnleashEngine()
    engine.take_state(json.dumps(state))
    contexts = [{"userId": key, "sessionId": key, "properties": {stickiness: key}} for key in PROBES]
    return sum(engine.check_enabled(feature["name"], each).is_enabled for each in contexts)


def implausible(seen: int, percent: float) -> str | None:
    """Why so many of the invented users contradict the percent; None if they do not."""
    if seen in plausible(percent, len(PROBES)):
        return None
    return f"{seen} of {len(PROBES)} invented users would be given it, which is not {percent_text(percent)}"
