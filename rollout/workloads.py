"""Where the pods of a service live, so that there are enough of them before traffic comes, and none left afterwards.

Optional: a rollout without a workload moves traffic only, between pools that somebody else keeps large enough.
"""

from typing import ClassVar, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from rollout.base import Name, Written
from rollout.routes.kubernetes import ObjectName


class KubernetesDeploymentWorkload(Written):
    """Two Deployments of one namespace: the candidate's is scaled up before each raise; stable's is never touched.

    The candidate's gets the percent's share of as many pods as stable has, rounded up, and never fewer than it has. One
    that a HorizontalPodAutoscaler scales is left to that: Sluice waits for its pods and changes no number.
    """

    connects_to: ClassVar[str] = "kubernetes"

    kind: Literal["kubernetes-deployment"] = "kubernetes-deployment"
    connection: Name = Field(description="name of the connection in the worker's settings")
    namespace: ObjectName
    candidate: ObjectName = Field(description="Deployment of the candidate; any number of replicas, 0 too")
    stable: ObjectName = Field(description="Deployment of stable; never written")
    spare: float = Field(
        default=0,
        ge=0,
        le=400,
        description="pods of the candidate beyond its share, percent: for pods that are slower while they are new",
    )
    remove_candidate: bool = Field(
        default=True, description="scale the candidate to 0 once a way back has drained it; false keeps it to look at"
    )

    @model_validator(mode="after")
    def _two_deployments(self) -> Self:
        if self.candidate == self.stable:
            msg = f"candidate and stable are the same Deployment, {self.stable}: the way back would scale it to 0"
            raise ValueError(msg)
        return self

    def __str__(self) -> str:
        """`kubernetes-deployment prod-eu/shop/checkout-canary`."""
        return f"{self.kind} {self.connection}/{self.namespace}/{self.candidate}"


Workload: TypeAlias = KubernetesDeploymentWorkload
"""Every kind of workload; told apart by `kind`."""
