"""Routes: the places where traffic is split, as the user writes them. A closed union on `kind`."""

from typing import Literal, Self

from pydantic import Field, model_validator

from rollout.base import Name, Written


class ForcedHeader(Written):
    """A request header that forces a version, whatever the percent: how QA sees the candidate at 5 %."""

    name: str = Field(default="X-Canary", pattern=r"^[A-Za-z0-9-]+$")
    candidate: str = Field(default="true", min_length=1, description="value that forces the candidate")
    stable: str = Field(default="false", min_length=1, description="value that forces stable")

    @model_validator(mode="after")
    def _two_values(self) -> Self:
        if self.candidate == self.stable:
            msg = f"header {self.name} cannot force both candidate and stable by the same value {self.stable!r}"
            raise ValueError(msg)
        return self


class EnvoyRoute(Written):
    """Weighted clusters in an Envoy route configuration served from a file.

    The connection names Envoy's admin address and the folder of route files; the file is `<service>.json` there and the
    route configuration's name is `service`.
    """

    kind: Literal["envoy"] = "envoy"
    connection: Name = Field(description="name of the Envoy in the worker's settings")
    service: Name = Field(description="name of the route configuration, and of its file without `.json`")
    candidate: str | None = Field(default=None, description="cluster of the candidate; default `<service>-candidate`")
    stable: str | None = Field(default=None, description="cluster of stable; default `<service>-stable`")
    header: ForcedHeader | None = Field(default=None, description="forced routing, while the rollout lasts")

    @model_validator(mode="after")
    def _two_pools(self) -> Self:
        if self.candidate_pool == self.stable_pool:
            msg = f"candidate and stable are the same pool, {self.stable_pool}: there is nothing to split"
            raise ValueError(msg)
        return self

    @property
    def candidate_pool(self) -> str:
        """The Envoy cluster that serves the candidate."""
        return self.candidate or f"{self.service}-candidate"

    @property
    def stable_pool(self) -> str:
        """The Envoy cluster that serves stable."""
        return self.stable or f"{self.service}-stable"

    def __str__(self) -> str:
        """`envoy edge-1/checkout`."""
        return f"{self.kind} {self.connection}/{self.service}"


Route = EnvoyRoute
"""Every kind of route; a union on `kind` as soon as there are two."""
