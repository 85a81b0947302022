"""Envoy's runtime values for one service: what a write makes of them, and what a running Envoy shows of them.

A value is a file whose name is the key and whose content is the value; no name has a slash, so no key is torn into
folders. Without any value Envoy takes the weights of the route configuration: those must be all on stable, because a
layer that Envoy cannot read is left out without a word.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote

from pydantic import Field

from activities.ports import Write
from activities.routers.envoy.routes import Mark, weights_of
from rollout.base import Told
from rollout.errors import Misconfigured
from rollout.routes import EnvoyRoute

Json = dict[str, Any]

_OWN = ("forced", "epoch", "owner")


class Values(Told):
    """What some runtime values mean.

    Attributes:
        mark: who wrote last.
        split: cluster → weight, candidate first.
        forced: whether the forced-header rules are switched on.
    """

    mark: Mark
    split: dict[str, int]
    forced: bool

    @property
    def percent(self) -> float:
        """Percent on the candidate."""
        return round(100 * next(iter(self.split.values())) / (sum(self.split.values()) or 1), 2)


class Running(Told):
    """What a running Envoy shows of a service's values.

    Attributes:
        loaded: whether it has the service's layer.
        ours: key → value in the service's layer.
        overrides: key → layer and value, where another layer has the last word.
    """

    loaded: bool
    ours: dict[str, str] = Field(default_factory=dict)
    overrides: dict[str, tuple[str, str]] = Field(default_factory=dict)


def layer_of(route: EnvoyRoute) -> str:
    """Name of the service's layer in Envoy's bootstrap."""
    return f"sluice-{route.service}"


def prefix_of(route: EnvoyRoute) -> str:
    """The `runtime_key_prefix` of the service's weights, and the beginning of every other key."""
    return f"sluice.{route.service}"


def key_of(route: EnvoyRoute, name: str) -> str:
    """The key of a cluster's weight, or of `forced`, `epoch`, `owner`."""
    return f"{prefix_of(route)}.{name}"


def keys_of(route: EnvoyRoute) -> tuple[str, ...]:
    """Every key of the service."""
    return tuple(key_of(route, name) for name in (route.candidate_pool, route.stable_pool, *_OWN))


def desired_values(route: EnvoyRoute, write: Write) -> dict[str, str]:
    """Key → value after a write; all of them, since they are replaced together.

    Raises:
        Misconfigured: the percent has no whole weight, or a cluster's name cannot be a key.
    """
    weights = weights_of(write.percent, route)
    for pool in weights:
        if pool in _OWN or "/" in pool:
            raise Misconfigured(f"{route}: cluster {pool!r} cannot have a runtime value: rename it, or `weights: file`")
    forced = route.header is not None and write.header and not write.release
    # Quoted, because Envoy takes a line that begins with # for a comment and strips blanks; `:` and `/` are harmless.
    owner = {} if write.release else {"owner": quote(write.owner, safe=":/")}
    named = {**weights, "forced": 100 if forced else 0, "epoch": write.epoch, **owner}
    return {key_of(route, name): str(value) for name, value in named.items()}


def view_values(values: Mapping[str, str], route: EnvoyRoute) -> Values:
    """What values mean; without any, all traffic is on stable.

    Raises:
        Misconfigured: one is not the number it must be.
    """

    def number(name: str, default: int) -> int:
        key = key_of(route, name)
        try:
            return int(values.get(key, default))
        except ValueError as error:
            raise Misconfigured(f"{route}: the runtime value {key} is {values[key]!r}, not a whole number") from error

    split = {route.candidate_pool: number(route.candidate_pool, 0), route.stable_pool: number(route.stable_pool, 1)}
    owner = values.get(key_of(route, "owner"))
    mark = Mark(epoch=number("epoch", 0), owner=owner and unquote(owner))
    return Values(mark=mark, split=split, forced=number("forced", 0) > 0)


def shown_values(answer: Json, route: EnvoyRoute) -> Running:
    """What Envoy's answer to `/runtime?format=json` says about the service.

    Layers have the last word in the order in which Envoy lists them; an empty value is none.
    """
    layers = [str(layer) for layer in answer.get("layers", [])]
    layer, entries = layer_of(route), answer.get("entries", {})
    ours: dict[str, str] = {}
    overrides: dict[str, tuple[str, str]] = {}
    for key in keys_of(route):
        given = dict(zip(layers, map(str, entries.get(key, {}).get("layer_values", [])), strict=False))
        values = [(name, value) for name, value in given.items() if value]
        if given.get(layer):
            ours[key] = given[layer]
        if values and values[-1][0] != layer:
            overrides[key] = values[-1]
    return Running(loaded=layer in layers, ours=ours, overrides=overrides)


def asked_values(values: Mapping[str, str], running: Running, route: EnvoyRoute) -> Values:
    """What is asked of Envoy: our mark, and weights and rules of whoever has the last word on them.

    Raises:
        Misconfigured: one is not the number it must be.
    """
    last = {key: value for key, (_, value) in running.overrides.items()}
    # A mark that somebody overrides fences nobody off: only what moves traffic is taken from there.
    moving = [key_of(route, name) for name in (route.candidate_pool, route.stable_pool, "forced")]
    return view_values({**values, **{key: last[key] for key in moving if key in last}}, route)


def missing_layer(dump: Json, route: EnvoyRoute) -> str | None:
    """What to add to Envoy's bootstrap so that it reads the values; None if it is there.

    Args:
        dump: Envoy's answer to `/config_dump?mask=bootstrap.layered_runtime`.
        route: names the service.
    """
    configs = dump.get("configs", [])
    layers = [
        layer
        for config in configs
        for layer in config.get("bootstrap", {}).get("layered_runtime", {}).get("layers", [])
        if layer.get("name") == layer_of(route) and "disk_layer" in layer
    ]
    if layers:
        return None
    return (
        f"Envoy's bootstrap has no layer {layer_of(route)}; add under layered_runtime.layers: "
        f"{{name: {layer_of(route)}, disk_layer: {{symlink_root: <the folder of runtime layers>/{route.service}}}}}"
    )
