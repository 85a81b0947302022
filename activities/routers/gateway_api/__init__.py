"""Gateway API: weights of two backends in one rule of an HTTPRoute."""

from activities.routers.gateway_api.router import GatewayApiRouter

__all__ = ["GatewayApiRouter"]
