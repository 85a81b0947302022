"""Routers: one file or folder for each way to move traffic."""

from typing import assert_never

from activities.aws import AwsClients, AwsConnection
from activities.kubernetes import Cluster, KubernetesConnection
from activities.ports import Router
from activities.routers.alb import AlbRouter
from activities.routers.ecs import EcsRouter
from activities.routers.envoy import EnvoyConnection, EnvoyRouter, EnvoyRuntimeRouter
from activities.routers.gateway_api import GatewayApiRouter
from activities.routers.haproxy import HaproxyConnection, HaproxyRouter
from activities.routers.ingress_nginx import IngressNginxRouter
from activities.routers.istio import IstioRouter
from activities.routers.lambda_alias import LambdaAliasRouter
from activities.routers.nginx import NginxConnection, NginxDictRouter, NginxRouter
from activities.routers.replicas import ReplicasRouter
from activities.routers.rolling_update import RollingUpdateRouter
from activities.shared import Shared, of_kind
from rollout.routes import (
    AlbRoute,
    EcsRoute,
    EnvoyRoute,
    GatewayApiRoute,
    HaproxyRoute,
    IngressNginxRoute,
    IstioRoute,
    KubernetesRoute,
    LambdaAliasRoute,
    NginxRoute,
    ReplicasRoute,
    RollingUpdateRoute,
    TrafficRoute,
)

RouterConnection = EnvoyConnection | NginxConnection | HaproxyConnection | AwsConnection | KubernetesConnection
"""Every kind of connection to a router."""


def router_for(route: TrafficRoute, connection: object, shared: Shared) -> Router:
    """The adapter for a route.

    Args:
        route: as the user wrote it.
        connection: of the name that the route gives, whatever kind it is.
        shared: what adapters share.

    Raises:
        Misconfigured: the connection is not of the kind that the route wants.
    """
    match route:
        case EnvoyRoute(weights="runtime"):
            return EnvoyRuntimeRouter(route, of_kind(EnvoyConnection, connection, route, "route"), shared.http)
        case EnvoyRoute():
            return EnvoyRouter(route, of_kind(EnvoyConnection, connection, route, "route"), shared.http)
        case NginxRoute(mode="shared-dict"):
            return NginxDictRouter(route, of_kind(NginxConnection, connection, route, "route"), shared)
        case NginxRoute():
            return NginxRouter(route, of_kind(NginxConnection, connection, route, "route"), shared)
        case HaproxyRoute():
            return HaproxyRouter(route, of_kind(HaproxyConnection, connection, route, "route"))
        case EcsRoute():  # before its parent
            aws = _aws(route, connection, shared)
            return EcsRouter(route, aws, AlbRouter(route, aws))
        case AlbRoute():
            return AlbRouter(route, _aws(route, connection, shared))
        case LambdaAliasRoute():
            return LambdaAliasRouter(route, _aws(route, connection, shared))
        case GatewayApiRoute() | IngressNginxRoute() | IstioRoute() | ReplicasRoute() | RollingUpdateRoute():
            return _in_cluster(route, _cluster(route, connection, shared))
        case _ as unreachable:
            assert_never(unreachable)


def _aws(route: TrafficRoute, connection: object, shared: Shared) -> AwsClients:
    found = of_kind(AwsConnection, connection, route, "route")
    return shared.once(found, lambda: AwsClients(found, shared.threads))


def _in_cluster(route: KubernetesRoute, cluster: Cluster) -> Router:
    match route:
        case GatewayApiRoute():
            return GatewayApiRouter(route, cluster)
        case IngressNginxRoute():
            return IngressNginxRouter(route, cluster)
        case IstioRoute():
            return IstioRouter(route, cluster)
        case ReplicasRoute():
            return ReplicasRouter(route, cluster)
        case RollingUpdateRoute():
            return RollingUpdateRouter(route, cluster)
        case _ as unreachable:
            assert_never(unreachable)


def _cluster(route: TrafficRoute, connection: object, shared: Shared) -> Cluster:
    found = of_kind(KubernetesConnection, connection, route, "route")
    return shared.once(found, lambda: Cluster(found))
