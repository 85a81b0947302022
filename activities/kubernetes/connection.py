"""The settings of a connection to a Kubernetes cluster."""

from datetime import timedelta
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from rollout.base import Written
from rollout.durations import Duration


class KubernetesConnection(Written):
    """One cluster. A worker may have several.

    Attributes:
        kind: always "kubernetes".
        kubeconfig: file with address and credentials; by default what kubectl takes (`KUBECONFIG`, `~/.kube/config`).
        context: of that file; by default its current one.
        in_cluster: the worker runs as a pod of that cluster and uses its service account.
        timeout_s: for connecting and for each answer, seconds.
        settle: how long after a write to wait until a router that confirms nothing (ingress-nginx, Istio) is believed
            to have it in force.
    """

    kind: Literal["kubernetes"] = "kubernetes"
    kubeconfig: Path | None = None
    context: str | None = None
    in_cluster: bool = False
    timeout_s: float = Field(default=3, gt=0)
    settle: Duration = timedelta(seconds=2)

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if self.in_cluster and (self.kubeconfig or self.context):
            msg = "a worker inside the cluster uses its service account: drop `kubeconfig` and `context`"
            raise ValueError(msg)
        return self
