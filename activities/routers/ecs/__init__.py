"""Two ECS services behind one rule of a load balancer: scaled before traffic rises."""

from activities.routers.ecs.router import EcsRouter

__all__ = ["EcsRouter"]
