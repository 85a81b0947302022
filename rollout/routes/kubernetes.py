"""Kubernetes: weights in an HTTPRoute, a canary Ingress or a VirtualService, pods by number, its own rolling update.

The connection names a cluster; everything a route names is in one namespace of it.
"""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from rollout.routes.base import BaseRoute, HeaderRoute, TwoNamed

ObjectName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)]
"""The name of a Kubernetes object."""

Place = ObjectName | Annotated[int, Field(ge=0, le=63)]
"""An entry of a list: its name, or its position counted from 0."""


class GatewayApiRoute(TwoNamed, HeaderRoute):
    """Weights of two backends in one rule of an HTTPRoute; whether its parent is a Gateway or, in a mesh, a Service.

    Other rules, filters, and fields that Sluice does not know stay as they are.
    """

    connects_to: ClassVar[str] = "kubernetes"

    kind: Literal["gateway-api"] = "gateway-api"
    namespace: ObjectName
    http_route: ObjectName = Field(description="name of the HTTPRoute")
    rule: Place = Field(default=0, description="which of its rules splits: its name, or its position from 0")
    candidate: ObjectName = Field(description="Service of the candidate, a backend of that rule")
    stable: ObjectName = Field(description="Service of stable, a backend of that rule")

    @property
    def place(self) -> str:
        """Namespace, HTTPRoute and rule."""
        return f"{self.namespace}/{self.http_route} rule {self.rule}"


class IngressNginxRoute(TwoNamed, HeaderRoute):
    """A second Ingress with ingress-nginx's canary annotations.

    It is made at the first write, with the rules of stable's Ingress, if it is not there. ingress-nginx was retired by
    its maintainers in March 2026: a `gateway-api` route is what comes after it.
    """

    connects_to: ClassVar[str] = "kubernetes"

    kind: Literal["ingress-nginx"] = "ingress-nginx"
    namespace: ObjectName
    ingress: ObjectName = Field(description="name of stable's Ingress; never written")
    candidate_ingress: ObjectName | None = Field(
        default=None, description="name of the candidate's Ingress; default `<ingress>-canary`"
    )
    candidate: ObjectName = Field(description="Service of the candidate")
    stable: ObjectName = Field(description="Service of stable, the backend of stable's Ingress")

    @property
    def canary_ingress(self) -> str:
        """Name of the candidate's Ingress."""
        return self.candidate_ingress or f"{self.ingress}-canary"

    @property
    def place(self) -> str:
        """Namespace and stable's Ingress."""
        return f"{self.namespace}/{self.ingress}"

    @model_validator(mode="after")
    def _a_header_that_forces_both(self) -> Self:
        # Any other value that is asked for forces the candidate only; requests with stable's would go by the weight.
        if self.header is not None and (self.header.candidate, self.header.stable) != ("always", "never"):
            msg = (
                "ingress-nginx forces a version by two values only: "
                f"write header: {{name: {self.header.name}, candidate: always, stable: never}}"
            )
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _two_ingresses(self) -> Self:
        if self.canary_ingress == self.ingress:
            msg = f"candidate_ingress is stable's own Ingress, {self.ingress}: name another, or leave it out"
            raise ValueError(msg)
        return self


class IstioRoute(TwoNamed, HeaderRoute):
    """Weights of two destinations in one HTTP route of a VirtualService.

    They are told apart by their subsets of one host (`host` is given), or they are two hosts.
    """

    connects_to: ClassVar[str] = "kubernetes"

    kind: Literal["istio"] = "istio"
    namespace: ObjectName
    virtual_service: ObjectName = Field(description="name of the VirtualService")
    http: Place = Field(default=0, description="which of its HTTP routes splits: its name, or its position from 0")
    host: ObjectName | None = Field(
        default=None, description="the host whose subsets `candidate` and `stable` are; left out, they are hosts"
    )
    candidate: ObjectName = Field(description="subset, or host, of the candidate")
    stable: ObjectName = Field(description="subset, or host, of stable")

    @property
    def place(self) -> str:
        """Namespace, VirtualService and HTTP route."""
        return f"{self.namespace}/{self.virtual_service} http {self.http}"


class ReplicasRoute(TwoNamed):
    """No router: two Deployments behind one Service share its connections by the number of their pods.

    All pods together stay as many as stable has at the start. So 5 % takes 20 of them, and what is reached is what
    whole pods give; users are not told apart, and connections that are kept open follow late.
    """

    connects_to: ClassVar[str] = "kubernetes"

    kind: Literal["replicas"] = "replicas"
    namespace: ObjectName
    service: ObjectName = Field(description="the Service that selects the pods of both")
    candidate: ObjectName = Field(description="Deployment of the candidate; it starts with 0 replicas")
    stable: ObjectName = Field(description="Deployment of stable")

    @property
    def place(self) -> str:
        """Namespace and Service."""
        return f"{self.namespace}/{self.service}"


class RollingUpdateRoute(BaseRoute):
    """The rolling update of a Deployment, or of a StatefulSet by its `partition`: pods are replaced in place.

    A Deployment knows 0 % and 100 %: how it gets from one to the other is its own (`maxSurge`, `maxUnavailable`,
    readiness), and gates are judged all the way. A StatefulSet can stop at every pod, so any percent of whole pods is a
    stage. The way back is the pod template that was found at the start, not the revision before.
    """

    connects_to: ClassVar[str] = "kubernetes"

    kind: Literal["rolling-update"] = "rolling-update"
    namespace: ObjectName
    deployment: ObjectName | None = Field(default=None, description="name of the Deployment")
    stateful_set: ObjectName | None = Field(default=None, description="name of the StatefulSet, instead")
    container: ObjectName | None = Field(default=None, description="which container; default: the only one")
    image: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@-]*$", max_length=500, description="the candidate's image, complete"
    )

    @model_validator(mode="after")
    def _one_workload(self) -> Self:
        if (self.deployment is None) == (self.stateful_set is None):
            msg = "name a `deployment` or a `stateful_set`, one of them"
            raise ValueError(msg)
        return self

    @property
    def workload(self) -> str:
        """Name of the Deployment or StatefulSet."""
        return str(self.deployment or self.stateful_set)

    @property
    def candidate_pool(self) -> str:
        """The pods with the candidate's image."""
        return f"{self.workload} with {self.image}"

    @property
    def stable_pool(self) -> str:
        """The pods as they were found."""
        return f"{self.workload} as it was"

    @property
    def in_place(self) -> bool:
        """Whether there is one pool, whose members are replaced."""
        return True

    @property
    def place(self) -> str:
        """Namespace, kind and name."""
        return f"{self.namespace}/{'Deployment' if self.deployment else 'StatefulSet'} {self.workload}"


KubernetesRoute = GatewayApiRoute | IngressNginxRoute | IstioRoute | ReplicasRoute | RollingUpdateRoute
"""Every route that is an object of a cluster."""
