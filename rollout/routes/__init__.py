"""Routes: the places where traffic is split, as the user writes them. A closed union on `kind`."""

from typing import Annotated, TypeAlias

from pydantic import Tag

from rollout.base import by_kind
from rollout.routes.aws import AlbRoute, AlbSticky, EcsRoute, LambdaAliasRoute
from rollout.routes.base import BaseRoute, ForcedHeader, ProxyRoute, Sticky
from rollout.routes.envoy import EnvoyRoute
from rollout.routes.flags import FlagdRoute, FlagRoute, LaunchDarklyRoute, UnleashRoute
from rollout.routes.haproxy import HaproxyRoute
from rollout.routes.kubernetes import (
    GatewayApiRoute,
    IngressNginxRoute,
    IstioRoute,
    KubernetesRoute,
    ReplicasRoute,
    RollingUpdateRoute,
)
from rollout.routes.nginx import NginxRoute

Route = Annotated[
    Annotated[EnvoyRoute, Tag("envoy")]
    | Annotated[NginxRoute, Tag("nginx")]
    | Annotated[HaproxyRoute, Tag("haproxy")]
    | Annotated[AlbRoute, Tag("alb")]
    | Annotated[EcsRoute, Tag("ecs")]
    | Annotated[LambdaAliasRoute, Tag("lambda-alias")]
    | Annotated[GatewayApiRoute, Tag("gateway-api")]
    | Annotated[IngressNginxRoute, Tag("ingress-nginx")]
    | Annotated[IstioRoute, Tag("istio")]
    | Annotated[ReplicasRoute, Tag("replicas")]
    | Annotated[RollingUpdateRoute, Tag("rolling-update")]
    | Annotated[LaunchDarklyRoute, Tag("launchdarkly")]
    | Annotated[UnleashRoute, Tag("unleash")]
    | Annotated[FlagdRoute, Tag("flagd")],
    by_kind(
        "envoy",
        "nginx",
        "haproxy",
        "alb",
        "ecs",
        "lambda-alias",
        "gateway-api",
        "ingress-nginx",
        "istio",
        "replicas",
        "rolling-update",
        "launchdarkly",
        "unleash",
        "flagd",
    ),
]
"""Every kind of route."""

TrafficRoute: TypeAlias = (
    EnvoyRoute
    | NginxRoute
    | HaproxyRoute
    | AlbRoute
    | EcsRoute
    | LambdaAliasRoute
    | GatewayApiRoute
    | IngressNginxRoute
    | IstioRoute
    | ReplicasRoute
    | RollingUpdateRoute
)
"""The kinds that split requests."""

__all__ = [
    "AlbRoute",
    "AlbSticky",
    "BaseRoute",
    "EcsRoute",
    "EnvoyRoute",
    "FlagRoute",
    "FlagdRoute",
    "ForcedHeader",
    "GatewayApiRoute",
    "HaproxyRoute",
    "IngressNginxRoute",
    "IstioRoute",
    "KubernetesRoute",
    "LambdaAliasRoute",
    "LaunchDarklyRoute",
    "NginxRoute",
    "ProxyRoute",
    "ReplicasRoute",
    "RollingUpdateRoute",
    "Route",
    "Sticky",
    "TrafficRoute",
    "UnleashRoute",
]
