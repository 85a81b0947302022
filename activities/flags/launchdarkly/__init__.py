"""LaunchDarkly: the fallthrough of a flag, moved by semantic patches and proven by LaunchDarkly's own SDK."""

from activities.flags.launchdarkly.connection import LaunchDarklyConnection
from activities.flags.launchdarkly.flag import LaunchDarklyFlag

__all__ = ["LaunchDarklyConnection", "LaunchDarklyFlag"]
