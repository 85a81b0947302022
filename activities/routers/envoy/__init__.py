"""Envoy: weights in a route file that Envoy reads, or in its runtime."""

from activities.routers.envoy.connection import EnvoyConnection
from activities.routers.envoy.file import EnvoyRouter
from activities.routers.envoy.runtime import EnvoyRuntimeRouter

__all__ = ["EnvoyConnection", "EnvoyRouter", "EnvoyRuntimeRouter"]
