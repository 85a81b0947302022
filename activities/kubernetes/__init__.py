"""Kubernetes, as every adapter needs it: one client a cluster, plain JSON objects, marks, and errors in our tree."""

from activities.kubernetes.cluster import Cluster
from activities.kubernetes.connection import KubernetesConnection
from activities.kubernetes.errors import Absent, Conflict
from activities.kubernetes.kinds import (
    DEPLOYMENT,
    DESTINATION_RULE,
    DISRUPTION_BUDGET,
    ENDPOINT_SLICE,
    HTTP_ROUTE,
    INGRESS,
    POD,
    POD_AUTOSCALER,
    REPLICA_SET,
    SERVICE,
    STATEFUL_SET,
    VIRTUAL_SERVICE,
    Kind,
)
from activities.kubernetes.managing import gitops, managers, suspects
from activities.kubernetes.marks import ANNOTATION, Mark, annotated, as_annotation, guarded, mark_of, written
from activities.kubernetes.objects import Json, escaped, found_in
from activities.kubernetes.rewriting import rewrite
from activities.kubernetes.settling import unsettled

__all__ = [
    "ANNOTATION",
    "DEPLOYMENT",
    "DESTINATION_RULE",
    "DISRUPTION_BUDGET",
    "ENDPOINT_SLICE",
    "HTTP_ROUTE",
    "INGRESS",
    "POD",
    "POD_AUTOSCALER",
    "REPLICA_SET",
    "SERVICE",
    "STATEFUL_SET",
    "VIRTUAL_SERVICE",
    "Absent",
    "Cluster",
    "Conflict",
    "Json",
    "Kind",
    "KubernetesConnection",
    "Mark",
    "annotated",
    "as_annotation",
    "escaped",
    "found_in",
    "gitops",
    "guarded",
    "managers",
    "mark_of",
    "rewrite",
    "suspects",
    "unsettled",
    "written",
]
