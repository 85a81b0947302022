"""The adapter without a router: `split` counts, `standing` says where a move is, `fitness` what is in its way."""

from activities.routers.replicas.router import ReplicasRouter

__all__ = ["ReplicasRouter"]
