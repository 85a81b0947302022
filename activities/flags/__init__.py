"""Flags: one folder for each flag service. An adapter is a router of users and a switch."""

from typing import TypeVar, assert_never

from activities.flags.flagd import FlagdConnection, FlagdFlag
from activities.flags.launchdarkly import LaunchDarklyConnection, LaunchDarklyFlag
from activities.flags.unleash import UnleashConnection, UnleashFlag
from activities.ports import FlagService
from activities.shared import Shared
from rollout.errors import Misconfigured
from rollout.mitigations import Flag
from rollout.routes import FlagdRoute, LaunchDarklyRoute, UnleashRoute

FlagConnection = LaunchDarklyConnection | UnleashConnection | FlagdConnection
"""Every kind of connection to a flag service."""

C = TypeVar("C", LaunchDarklyConnection, UnleashConnection, FlagdConnection)


def flag_for(flag: Flag, connection: object, shared: Shared) -> FlagService:
    """The adapter for a flag.

    Args:
        flag: as the user wrote it.
        connection: of the name that the flag gives, whatever kind it is.
        shared: what adapters share.

    Raises:
        Misconfigured: the connection is not of the kind that the flag wants.
    """
    match flag:
        case LaunchDarklyRoute():
            return LaunchDarklyFlag(flag, _of(LaunchDarklyConnection, connection, flag), shared)
        case UnleashRoute():
            return UnleashFlag(flag, _of(UnleashConnection, connection, flag), shared)
        case FlagdRoute():
            return FlagdFlag(flag, _of(FlagdConnection, connection, flag), shared)
        case _ as unreachable:
            assert_never(unreachable)


def _of(wanted: type[C], connection: object, flag: Flag) -> C:
    if isinstance(connection, wanted):
        return connection
    kind = getattr(connection, "kind", "unknown")
    raise Misconfigured(f"connection {flag.connection!r} is of kind {kind}, the flag wants {flag.connects_to}")
