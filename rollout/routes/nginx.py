"""nginx, as the user writes it."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from rollout.routes.base import Pool, ProxyRoute, Service


class NginxRoute(ProxyRoute):
    """A service of one or several nginx that are moved together.

    `split-clients` and `upstream-weights` rewrite one generated include and reload nginx; `shared-dict` changes the
    split in running workers, without a reload, and needs nginx's Lua module.
    """

    connects_to: ClassVar[str] = "nginx"

    kind: Literal["nginx"] = "nginx"
    service: Service = Field(description="name of the generated include, without `.conf`, and of the variables in it")
    candidate: Pool | None = Field(default=None, description="upstream of the candidate; default `<service>-candidate`")
    stable: Pool | None = Field(default=None, description="upstream of stable; default `<service>-stable`")
    mode: Literal["split-clients", "upstream-weights", "shared-dict"] = Field(
        default="split-clients",
        description="how traffic is split: by a drawn number, by one upstream's weights, or in Lua without reloads",
    )

    @model_validator(mode="after")
    def _weights_know_nobody(self) -> Self:
        if self.sticky and self.mode == "upstream-weights":
            msg = "an upstream's weights know no users; use mode split-clients or shared-dict, or drop `sticky`"
            raise ValueError(msg)
        return self
