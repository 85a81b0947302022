"""Workloads: one file for each kind of pods that are scaled along with the traffic."""

from typing import assert_never

from activities.kubernetes import Cluster, KubernetesConnection
from activities.ports import Workloads
from activities.shared import Shared, of_kind
from activities.workload.kubernetes_deployment import KubernetesDeployments
from rollout.workloads import KubernetesDeploymentWorkload, Workload


def workload_for(workload: Workload, connection: object, shared: Shared) -> Workloads:
    """The adapter for a workload.

    Args:
        workload: as the user wrote it.
        connection: of the name that the workload gives, whatever kind it is.
        shared: what adapters share; a route into the same cluster uses the same client.

    Raises:
        Misconfigured: the connection is not of the kind that the workload wants.
    """
    match workload:
        case KubernetesDeploymentWorkload():
            return KubernetesDeployments(workload, _cluster(workload, connection, shared))
        case _ as unreachable:
            assert_never(unreachable)


def _cluster(workload: Workload, connection: object, shared: Shared) -> Cluster:
    found = of_kind(KubernetesConnection, connection, workload, "workload")
    return shared.once(found, lambda: Cluster(found))
