"""A flag as the REST API shows it, read into what an adapter must know of it.

Patches name variations by ID and the API shows them by index, so both are kept. A rollout that LaunchDarkly moves by
itself (guarded, progressive) or that an experiment runs on is known by its `experimentAllocation`.
"""

import json
from typing import Any, NamedTuple

from rollout.errors import Misconfigured
from rollout.routes import LaunchDarklyRoute

Json = dict[str, Any]
WHOLE = 100_000  # weights are thousandths of a percent

_MOVERS = {
    "measuredRollout": "a guarded rollout of LaunchDarkly's own",
    "progressiveRollout": "a progressive rollout of LaunchDarkly's own",
    "experiment": "an experiment",
}


class Flag(NamedTuple):
    """One flag in one environment.

    Attributes:
        version: of the flag as a whole; changes with everything.
        config_version: of its configuration in this environment, which SDKs know too.
        modified_ms: when that was changed, Unix milliseconds.
        on: whether it is switched on.
        off: index of the variation that off serves; None: what the application's code has as default.
        shares: of the fallthrough, thousandths of a percent, by index of the variation.
        context_kind: whose key decides; None if everybody is served the same.
        bucket_by: attribute that decides instead of the key.
        mover: what moves the fallthrough by itself, in words.
        ids: of the variations.
        labels: of the variations, for messages.
        candidate: index of the candidate's variation; None if there is none.
        stable: index of stable's variation; None if there is none.
        properties: custom properties.
    """

    version: int
    config_version: int
    modified_ms: int
    on: bool
    off: int | None
    shares: tuple[int, ...]
    context_kind: str | None
    bucket_by: str | None
    mover: str | None
    ids: tuple[str, ...]
    labels: tuple[str, ...]
    candidate: int | None
    stable: int | None
    properties: dict[str, Json]

    @property
    def percent(self) -> float:
        """Percent of users whom the written configuration gives the candidate, rules and targets left aside."""
        if self.candidate is None:
            return 0
        if not self.on:
            return 100 if self.off == self.candidate else 0
        return self.shares[self.candidate] / 1000

    @property
    def split(self) -> bool:
        """Whether the fallthrough gives some users one variation and some another."""
        return max(self.shares) < WHOLE

    def misleading_off(self) -> str | None:
        """Why off would not give everybody stable's variation, as a sentence; None if it would."""
        if self.stable is None or self.off == self.stable:
            return None
        if self.off is None:
            return "it has no off variation, so off gives everybody what the application's code has as default"
        return f"its off variation is {self.labels[self.off]!r}, not stable's {self.labels[self.stable]!r}"


def parsed(answer: Json, route: LaunchDarklyRoute) -> Flag:
    """Read an answer of the REST API.

    Raises:
        Misconfigured: the flag has no such environment, is archived, or is not understood; says which.
    """
    config = (answer.get("environments") or {}).get(route.environment)
    if config is None:
        raise Misconfigured(f"{route}: project {route.project} has no environment {route.environment}")
    if answer.get("archived") or config.get("archived"):
        raise Misconfigured(f"{route} is archived: restore it, or name another flag")
    try:
        return _read(answer, config, route)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise Misconfigured(f"{route}: LaunchDarkly shows a flag that is not understood: {error!r}") from error


def _read(answer: Json, config: Json, route: LaunchDarklyRoute) -> Flag:
    variations = answer["variations"]
    fallthrough, shares = config["fallthrough"], [0] * len(variations)
    rollout = fallthrough.get("rollout") or {}
    if rollout:
        for each in rollout["variations"]:
            shares[each["variation"]] += int(each["weight"])
    else:
        shares[fallthrough["variation"]] = WHOLE
    allocation = rollout.get("experimentAllocation")
    return Flag(
        version=int(answer["_version"]),
        config_version=int(config["version"]),
        modified_ms=int(config["lastModified"]),
        on=bool(config["on"]),
        off=config.get("offVariation"),
        shares=tuple(shares),
        context_kind=(rollout.get("contextKind") or "user") if rollout else None,
        bucket_by=rollout.get("bucketBy"),
        mover=None if allocation is None else _MOVERS.get(allocation.get("type", ""), "an experiment or a release"),
        ids=tuple(str(each["_id"]) for each in variations),
        labels=tuple(each.get("name") or _spelt(each["value"]) for each in variations),
        candidate=_index(variations, route.candidate, route),
        stable=_index(variations, route.stable, route),
        properties=dict(answer.get("customProperties") or {}),
    )


def _index(variations: list[Json], wanted: str, route: LaunchDarklyRoute) -> int | None:
    """Which variation has this ID, name or value; the first of these three that any has, decides."""
    for spelt in (
        [each["_id"] for each in variations],
        [each.get("name") for each in variations],
        [_spelt(each["value"]) for each in variations],
    ):
        if spelt.count(wanted) > 1:
            raise Misconfigured(f"{route} has several variations {wanted!r}: name the one that is meant by its id")
        if wanted in spelt:
            return spelt.index(wanted)
    return None


def _spelt(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
