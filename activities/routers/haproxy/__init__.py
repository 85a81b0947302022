"""HAProxy, moved over its runtime socket: a map that is drawn against, or the weights of servers."""

from activities.routers.haproxy.connection import HaproxyConnection
from activities.routers.haproxy.router import HaproxyRouter

__all__ = ["HaproxyConnection", "HaproxyRouter"]
