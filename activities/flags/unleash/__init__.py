"""Unleash: the gradual rollout of a flag in one environment, through the admin API."""

from activities.flags.unleash.connection import UnleashConnection
from activities.flags.unleash.flag import UnleashFlag

__all__ = ["UnleashConnection", "UnleashFlag"]
