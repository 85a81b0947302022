"""Envoy, as the user writes it."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from rollout.base import Name
from rollout.routes.base import ProxyRoute

Cluster = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:|-]*$", max_length=200)]
"""A cluster's name, as Istio and others write them: `outbound|80||checkout`."""


class EnvoyRoute(ProxyRoute):
    """Weighted clusters in an Envoy route configuration.

    The connection names Envoy's admin address and the folder of route files; the file is `<service>.json` there and the
    route configuration's name is `service`. With `weights: runtime` nothing is written into route files: the weights
    are runtime values, which Envoy reads from a folder of the connection.
    """

    connects_to: ClassVar[str] = "envoy"

    kind: Literal["envoy"] = "envoy"
    service: Name = Field(description="name of the route configuration, and of its file without `.json`")
    candidate: Cluster | None = Field(
        default=None, description="cluster of the candidate; default `<service>-candidate`"
    )
    stable: Cluster | None = Field(default=None, description="cluster of stable; default `<service>-stable`")
    weights: Literal["file", "runtime"] = Field(
        default="file", description="where weights are written: the route file, or Envoy's runtime"
    )

    @model_validator(mode="after")
    def _users_need_the_file(self) -> Self:
        if self.sticky and self.weights == "runtime":
            msg = (
                "users are kept on a version by what is written into the route file; use weights file, or drop `sticky`"
            )
            raise ValueError(msg)
        return self
