"""Flag files in flagd's format."""

from activities.flags.flagd.connection import FlagdConnection
from activities.flags.flagd.flag import FlagdFlag

__all__ = ["FlagdConnection", "FlagdFlag"]
