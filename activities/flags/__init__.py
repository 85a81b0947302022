"""Flags: one folder for each flag service. An adapter is a router of users and a switch."""

from typing import assert_never

from activities.flags.flagd import FlagdConnection, FlagdFlag
from activities.flags.launchdarkly import LaunchDarklyConnection, LaunchDarklyFlag
from activities.flags.unleash import UnleashConnection, UnleashFlag
from activities.ports import FlagService
from activities.shared import Shared, of_kind
from rollout.mitigations import Flag
from rollout.routes import FlagdRoute, LaunchDarklyRoute, UnleashRoute

FlagConnection = LaunchDarklyConnection | UnleashConnection | FlagdConnection
"""Every kind of connection to a flag service."""


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
            return LaunchDarklyFlag(flag, of_kind(LaunchDarklyConnection, connection, flag, "flag"), shared)
        case UnleashRoute():
            return UnleashFlag(flag, of_kind(UnleashConnection, connection, flag, "flag"), shared)
        case FlagdRoute():
            return FlagdFlag(flag, of_kind(FlagdConnection, connection, flag, "flag"), shared)
        case _ as unreachable:
            assert_never(unreachable)
