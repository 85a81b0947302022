"""Istio: weights of two destinations in one HTTP route of a VirtualService."""

from activities.routers.istio.router import IstioRouter

__all__ = ["IstioRouter"]
